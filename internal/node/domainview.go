package node

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/domains"
	"github.com/seed-3d8c1042/switchboard/internal/link"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/members"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// tellLinks is how often a node tells the others how its links are, and counts what
	// waits for them.
	tellLinks = 2 * time.Second
	// linksOld is when what another node told counts no more.
	linksOld = 10 * time.Second
)

// network is what the HTTP interface sees of domains.
type network struct{ *node }

// Domains implements api.Domains.
func (n network) Domains(ctx context.Context) (api.DomainsAnswer, error) {
	answer := api.DomainsAnswer{
		Domain: n.opts.Settings.Domain, Neighbours: []api.DomainNeighbour{}, Domains: []api.OtherDomain{}, Links: []api.DomainLink{},
	}
	a := n.abroad
	if a == nil {
		return answer, nil
	}
	answer.Source = showSource(a.source.State())
	v := a.view.Load()
	if v == nil {
		return answer, nil
	}
	answer.Version = int64(v.network.Version)
	for _, d := range v.routes.Neighbours() {
		one, err := a.neighbour(ctx, d)
		if err != nil {
			return answer, err
		}
		answer.Neighbours = append(answer.Neighbours, one)
	}
	for _, d := range v.network.Domains {
		if d.Name == a.self {
			continue
		}
		next, _ := v.routes.Next(d.Name)
		answer.Domains = append(answer.Domains, api.OtherDomain{
			Domain: d.Name, URLs: d.URLs, Next: next, Path: v.routes.Path(d.Name), Cost: v.routes.Cost(d.Name),
		})
	}
	for _, l := range v.network.Links {
		answer.Links = append(answer.Links, api.DomainLink(l))
	}
	return answer, nil
}

func showSource(s domains.State) *api.DomainSource {
	return &api.DomainSource{
		From: s.From, Following: s.Following, Stored: s.Stored, Since: api.Time(s.Since), Confirmed: api.Time(s.Confirmed),
		Trouble: s.Trouble, Kind: s.Kind, Troubled: api.Time(s.Troubled),
	}
}

// neighbour shows a neighbour.
func (a *abroad) neighbour(ctx context.Context, d domains.Neighbour) (api.DomainNeighbour, error) {
	one := api.DomainNeighbour{Domain: d.Name, Cost: d.Cost}
	one.Receiving, one.RoundTrip = a.receiving(d.Name)
	user := d.User()
	one.Sending = a.sending(d)
	m, err := a.node.office.Mailbox(ctx, user)
	one.SetWaiting(m.Messages, m.Bytes, api.Time(m.Oldest))
	return one, err
}

// sending shows the connection that a neighbour has made, on whichever node. Where
// there is none, whoever refused it or lost it last says why.
func (a *abroad) sending(d domains.Neighbour) api.LinkState {
	if sessions := a.node.hub.Sessions(d.User()); len(sessions) > 0 {
		newest := sessions[len(sessions)-1]
		return api.LinkState{State: api.LinkUp, Since: api.Time(newest.Since), Node: a.nameOf(newest.Node)}
	}
	now := time.Now()
	id, last := a.told.findLost(d.Name, now)
	if own, ok := a.lost.find(d.Name); ok && own.At.After(last.At) {
		id, last = "", own
	}
	return api.LinkState{State: api.LinkDown, Since: api.Time(last.Since), Why: last.says(d.Name, now), Node: a.nameOf(id)}
}

// nameOf returns the name of another node; empty for this one.
func (a *abroad) nameOf(id string) string {
	if id == "" || id == a.node.id {
		return ""
	}
	for _, m := range a.node.members.List() {
		if m.ID == id {
			return m.Name
		}
	}
	return id
}

// receiving shows the connection that this domain has made to a neighbour, on
// whichever node, and the round trip there.
func (a *abroad) receiving(neighbour string) (api.LinkState, float64) {
	id, s := a.told.find(neighbour, time.Now())
	for _, own := range a.links.List() {
		if own.Domain == neighbour && own.Mine {
			id, s = "", own
		}
	}
	if s.Domain == "" {
		return api.LinkState{State: api.LinkDown, Why: "no node of this domain has tried yet"}, 0
	}
	show := api.LinkState{State: api.LinkDown, Since: api.Time(s.Since), Why: s.Why, URL: s.URL, Node: a.nameOf(id)}
	switch {
	case s.Waits > 0:
		show.State = api.LinkWaiting
		if show.Why == "" {
			show.Why = "the neighbour routes by a newer description of the network than this domain has"
		}
	case s.Up:
		show.State = api.LinkUp
	}
	return show, float64(s.RoundTrip.Microseconds()) / 1000
}

// Trace implements api.Domains.
func (n network) Trace(ctx context.Context, user wire.UserID) (api.TraceAnswer, error) {
	answer := api.TraceAnswer{User: user, Path: []string{}, Local: true, Domain: n.opts.Settings.Domain}
	if answer.Domain != "" {
		answer.Path = []string{answer.Domain}
	}
	a := n.abroad
	if a == nil || a.view.Load() == nil {
		return answer, nil
	}
	v := a.view.Load()
	hop := v.next(user)
	answer.Version = int64(v.network.Version)
	if hop.Local {
		return answer, nil
	}
	answer.Local, answer.Domain, answer.Path = false, hop.Domain, []string{}
	if hop.Link == "" {
		return answer, nil
	}
	answer.Path, answer.Cost = v.routes.Path(hop.Domain), v.routes.Cost(hop.Domain)
	answer.Next, _ = v.routes.Next(hop.Domain)
	for _, d := range v.routes.Neighbours() {
		if d.Name != answer.Next {
			continue
		}
		one, err := a.neighbour(ctx, d)
		if err != nil {
			return answer, err
		}
		answer.SetWaiting(&one)
	}
	return answer, nil
}

// Home implements api.Domains.
func (n network) Home(user wire.UserID) (home api.Home, here bool) {
	a := n.abroad
	if a == nil {
		return home, true
	}
	home.Domain, here = a.home(user.App(), user.Number())
	if !here && home.Domain != "" {
		home.URL = a.homeURL(home.Domain)
	}
	return home, here
}

// lostLink is why the link from a neighbour is not there, as the node knows that
// refused it or had it last.
type lostLink struct {
	Domain string // the neighbour
	Why    string
	Since  time.Time // it is so
	At     time.Time // it was seen last
}

// lostNews is for how long what was seen last of a link from a neighbour is taken for
// how it is: one that is refused tries again within seconds.
const lostNews = time.Minute

// says returns it as a sentence about the neighbour; the zero value knows nothing.
func (l lostLink) says(neighbour string, now time.Time) string {
	away := neighbour + " is not connected to this domain"
	switch {
	case l.Why == "":
		return away
	case now.Sub(l.At) > lostNews:
		return away + "; what was seen last: " + l.Why
	}
	return l.Why
}

// lostLinks are those that this node has refused or lost. It grows with the number of
// neighbours only.
type lostLinks struct {
	mu sync.Mutex
	by map[string]lostLink
}

// note takes in why there is no link from a neighbour.
func (l *lostLinks) note(domain, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = make(map[string]lostLink)
	}
	now := time.Now()
	since := now
	if before := l.by[domain]; before.Why == why {
		since = before.Since
	}
	l.by[domain] = lostLink{domain, why, since, now}
}

func (l *lostLinks) find(domain string) (lostLink, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, ok := l.by[domain]
	return last, ok
}

func (l *lostLinks) list() []lostLink {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.by))
}

// tellsOfLink is what a node tells the others of a link: how the one is that it has
// made, or why one that a neighbour has made is not there any more. Nodes that do not
// know of the second yet see one to no domain, and pass it over.
type tellsOfLink struct {
	link.State
	Lost *lostLink `json:",omitempty"`
}

// toldLinks is how the links are that other nodes of this domain have, as they told
// last.
type toldLinks struct {
	mu sync.Mutex
	by map[string]toldBy
}

type toldBy struct {
	at   time.Time
	list []tellsOfLink
}

// hear takes what a node told.
func (t *toldLinks) hear(node string, message []byte, now time.Time) {
	var list []tellsOfLink
	if json.Unmarshal(message, &list) != nil {
		return // of another version of the program; it is for people only
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = make(map[string]toldBy)
	}
	for id, b := range t.by {
		if now.Sub(b.at) > linksOld {
			delete(t.by, id)
		}
	}
	t.by[node] = toldBy{now, list}
}

// find returns the link to a neighbour, and which node has it.
func (t *toldLinks) find(neighbour string, now time.Time) (node string, s link.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, b := range t.by {
		for _, one := range b.list {
			if one.Domain == neighbour && now.Sub(b.at) <= linksOld {
				return id, one.State
			}
		}
	}
	return "", link.State{}
}

// findLost returns why the link from a neighbour is not there, as another node saw it
// last, and which one.
func (t *toldLinks) findLost(neighbour string, now time.Time) (node string, last lostLink) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, b := range t.by {
		for _, one := range b.list {
			if l := one.Lost; l != nil && l.Domain == neighbour && now.Sub(b.at) <= linksOld && l.At.After(last.At) {
				node, last = id, *l
			}
		}
	}
	return node, last
}

// tell tells the other nodes how the links are that this one has, and counts what
// waits for neighbours, until ctx ends.
func (a *abroad) tell(ctx context.Context) error {
	tick := time.NewTicker(tellLinks)
	defer tick.Stop()
	for {
		a.tellOthers()
		a.backlog.count(ctx, a)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (a *abroad) tellOthers() {
	if a.node.links == nil {
		return
	}
	list := []tellsOfLink{}
	for _, s := range a.links.List() {
		if s.Mine {
			list = append(list, tellsOfLink{State: s})
		}
	}
	for _, l := range a.lost.list() {
		list = append(list, tellsOfLink{Lost: &l})
	}
	message, err := json.Marshal(list)
	if err != nil {
		return // our own values have a JSON
	}
	for _, m := range a.node.members.List() {
		if m.ID != a.node.id && m.Status != members.Unreachable {
			tagged{a.node.links, tagLinks}.Send(m.ID, message) // the next one comes soon
		}
	}
}

// backlog counts what waits for neighbours, in the mailboxes that this node keeps:
// all nodes together have all of it.
type backlog struct {
	messages, bytes, oldest *prometheus.GaugeVec
}

func newBacklog(to prometheus.Registerer) (*backlog, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "switchboard_link_" + name, Help: help}, []string{"domain"})
	}
	b := &backlog{
		messages: gauge("waiting_messages", "Messages that wait for a neighbour, or for others behind it, and those that are on their way there."),
		bytes:    gauge("waiting_bytes", "Bytes of their frames."),
		oldest:   gauge("waiting_seconds", "How long the oldest of them has waited."),
	}
	for _, c := range []prometheus.Collector{b.messages, b.bytes, b.oldest} {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// count looks at the mailboxes.
func (b *backlog) count(ctx context.Context, a *abroad) {
	v := a.view.Load()
	if v == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellLinks)
	defer cancel()
	seen := make(map[string]mailbox.Mailbox)
	for user, domain := range v.neighbours {
		keeper := a.node.office.Keeper(a.node.office.ShardOf(user))
		if keeper == nil {
			continue
		}
		m, err := keeper.Mailbox(ctx, user)
		if err != nil {
			return // what is known stays for now
		}
		seen[domain] = m
	}
	for _, g := range []*prometheus.GaugeVec{b.messages, b.bytes, b.oldest} {
		g.Reset()
	}
	for domain, m := range seen {
		b.messages.WithLabelValues(domain).Set(float64(m.Messages))
		b.bytes.WithLabelValues(domain).Set(float64(m.Bytes))
		waited := time.Duration(0)
		if m.Messages > 0 && !m.Oldest.IsZero() {
			waited = max(0, time.Since(m.Oldest))
		}
		b.oldest.WithLabelValues(domain).Set(waited.Seconds())
	}
}
