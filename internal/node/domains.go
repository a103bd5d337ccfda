package node

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/domains"
	"github.com/seed-3d8c1042/switchboard/internal/link"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/members"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// networkFile is where in the data folder the last good description of all domains
// is kept.
const networkFile = "network.json"

// networkTime is how long a start waits for the description of all domains before the
// operator is told: a meta server that is there has given it by then.
const networkTime = 3 * time.Second

// abroad is what a node has of other domains; nil where there are none.
type abroad struct {
	node   *node
	self   string
	source *domains.Source
	links  *link.Links
	mover  *mover
	view   atomic.Pointer[view]                 // nil before there is a description
	known  chan struct{}                        // closed when there is one
	hub    atomic.Pointer[delivery.Hub]         // nil before the rooms are built: a keeper may be there by then
	users  atomic.Pointer[map[wire.UserID]bool] // of the links of all domains that were described since the start
	names  atomic.Pointer[map[string]bool]      // of the apps that are configured, here or in the network

	refreshing sync.Mutex // held while the source is asked out of turn
	told       toldLinks
	lost       lostLinks
	backlog    *backlog
}

// view is a description, and what is asked of it for each message.
type view struct {
	network    *domains.Network
	routes     *domains.Routes
	hops       map[string]delivery.Hop // by domain
	neighbours map[wire.UserID]string  // by link user
}

// viewFrom makes ready what is asked of a description by the domain self.
func viewFrom(self string, n *domains.Network) *view {
	v := &view{network: n, routes: n.Routes(self), hops: make(map[string]delivery.Hop), neighbours: make(map[wire.UserID]string)}
	for _, d := range n.Domains {
		hop := delivery.Hop{Domain: d.Name, Graph: n.Version, Local: d.Name == self}
		if next, ok := v.routes.Next(d.Name); ok {
			neighbour, _ := n.Domain(next)
			hop.Link = neighbour.User()
		}
		v.hops[d.Name] = hop
	}
	for _, d := range v.routes.Neighbours() {
		v.neighbours[d.User()] = d.Name
	}
	return v
}

// Next implements delivery.Domains. Before there is a description everybody lives
// here: what is kept for others goes on when it is known that they are.
func (a *abroad) Next(user wire.UserID) delivery.Hop {
	v := a.view.Load()
	if v == nil {
		return delivery.Hop{Local: true}
	}
	return v.next(user)
}

func (v *view) next(user wire.UserID) delivery.Hop {
	domain, ranged := v.network.Home(user.App(), user.Number())
	switch {
	case !ranged:
		return delivery.Hop{Local: true, Graph: v.network.Version}
	case domain == "":
		return delivery.Hop{Graph: v.network.Version}
	}
	return v.hops[domain]
}

// openAbroad prepares to know other domains, if there are any.
func (n *node) openAbroad() (err error) {
	s := n.opts.Settings
	if s.Meta == "" {
		return nil
	}
	a := &abroad{node: n, self: s.Domain, known: make(chan struct{})}
	secured, err := s.MetaTLS()
	if err != nil {
		return err
	}
	a.source, err = domains.NewSource(domains.SourceOptions{
		URL: s.Meta, Secret: string(s.MetaSecret), Self: s.Domain, File: filepath.Join(s.Data, networkFile),
		TLS: secured, Log: n.log, Metrics: n.metrics, Now: time.Now,
	})
	if err != nil {
		return fmt.Errorf("learn which domains there are (setting meta): %w", err)
	}
	a.links, err = link.New(link.Options{
		Self: s.Domain, Network: a.inEffect, Secret: a.secret, TLS: s.LinkTLS, Forward: a.forward, Mine: a.mine, Stale: a.refresh,
		Metrics: n.metrics, Log: n.log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	if a.mover, err = newMover(a, n.metrics); err != nil {
		return err
	}
	if a.backlog, err = newBacklog(n.metrics); err != nil {
		return err
	}
	n.abroad = a
	a.nameApps()
	if now := a.source.Current(); now != nil {
		a.see(now)
	}
	n.warnBareLinks()
	return nil
}

// see takes a description.
func (a *abroad) see(n *domains.Network) {
	a.noteLinks(n)
	first := a.view.Swap(viewFrom(a.self, n)) == nil
	a.nameApps()
	if first {
		close(a.known)
	}
}

// noteLinks notes as whom domains sign in.
func (a *abroad) noteLinks(n *domains.Network) {
	users := make(map[wire.UserID]bool)
	if had := a.users.Load(); had != nil {
		maps.Copy(users, *had)
	}
	for _, d := range n.Domains {
		users[d.User()] = true
	}
	a.users.Store(&users)
}

// inEffect returns the description that messages are routed by; nil before there is
// one. The source may have a newer one for a moment.
func (a *abroad) inEffect() *domains.Network {
	if v := a.view.Load(); v != nil {
		return v.network
	}
	return nil
}

// nameApps notes which apps there are.
func (a *abroad) nameApps() {
	names := make(map[string]bool)
	for _, app := range a.node.settings.Load().Apps {
		names[app.Name] = true
	}
	if v := a.view.Load(); v != nil {
		for _, app := range v.network.Apps {
			names[app.Name] = true
		}
	}
	a.names.Store(&names)
}

// run keeps up what a node has of other domains until ctx ends. The rooms are built.
func (a *abroad) run(ctx context.Context) error {
	var all errgroup.Group
	all.Go(func() error { return a.source.Run(ctx) })
	all.Go(func() error { return a.mover.run(ctx) })
	all.Go(func() error { return a.tell(ctx) })
	stop := a.source.Watch(a.changed)
	defer stop()
	defer a.node.members.Watch(func([]members.Member) { a.links.Stir() })()
	return all.Wait()
}

// changed is told of each description, the first one included, one at a time.
func (a *abroad) changed(n *domains.Network) {
	a.see(n)
	a.node.log.Info("the description of all domains is in effect", "version", n.Version, "domains", len(n.Domains), "apps", len(n.Apps))
	a.node.applyApps()
	a.node.warnOpenApps(n)
	a.warnStrangers(n)
	a.links.Stir()
	a.mover.stir()
}

// warnOpenApps tells the operator of apps of the network that let strangers in; of
// those of the settings the command does.
func (n *node) warnOpenApps(d *domains.Network) {
	s := n.settings.Load()
	for _, a := range d.Apps {
		own := slices.ContainsFunc(s.Apps, func(b config.App) bool { return b.Name == a.Name })
		if !own && !a.AuthEnabled && s.Reachable() {
			n.log.Warn("this app lets anyone in, and clients can come from anywhere: its authEnabled is false in the description of all domains", "app", a.Name, "listen", s.Listen)
		}
	}
}

// warnStrangers tells the operator of secrets for links to domains that there are not:
// a slip there is seen only when the link stays down.
func (a *abroad) warnStrangers(n *domains.Network) {
	for _, what := range n.Unknown(a.node.settings.Load().LinkNames()) {
		a.node.log.Warn("a secret in links.secrets is for no domain", "err", what)
	}
}

// refresh asks the source out of turn, once at a time. It does not wait.
func (a *abroad) refresh() {
	if !a.refreshing.TryLock() {
		return
	}
	go func() {
		defer a.refreshing.Unlock()
		_ = a.source.Reload() // the source itself says what is wrong
	}()
}

// reloadAbroad has new settings count between domains, too: names of apps, secrets
// that are in a file, and, where the description is one, that.
func (n *node) reloadAbroad() {
	if n.abroad == nil {
		return
	}
	n.abroad.nameApps()
	n.warnBareLinks()
	if d := n.abroad.inEffect(); d != nil {
		n.abroad.warnStrangers(d)
	}
	n.abroad.refresh()
}

// awaitNetwork waits until there is a description: without one nobody can be told
// whether he lives here. It returns false when the node is to end before.
func (n *node) awaitNetwork(ctx context.Context) bool {
	a := n.abroad
	select {
	case <-a.known:
		return true
	default:
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	late := time.NewTimer(networkTime)
	defer late.Stop()
	for {
		n.stage.because("waiting for the description of all domains", cmp.Or(a.source.State().Trouble, "the meta server has not answered yet"))
		select {
		case <-a.known:
			return true
		case <-n.refused:
			return false
		case <-ctx.Done():
			return false
		case <-late.C:
			n.log.Warn("no client is let in before the description of all domains is there: the meta server has not given it yet, and there is no copy of an earlier start", "meta", a.source.State().From)
		case <-tick.C:
		}
	}
}

// home says where a user of an app lives, for who signs in.
func (a *abroad) home(app string, number int64) (domain string, local bool) {
	v := a.view.Load()
	if v == nil {
		return "", true
	}
	domain, ranged := v.network.Home(app, number)
	return domain, !ranged || domain == a.self
}

// homeURL returns where clients of a domain connect.
func (a *abroad) homeURL(domain string) string {
	v := a.view.Load()
	if v == nil {
		return ""
	}
	d, ok := v.network.Domain(domain)
	if !ok || len(d.URLs) == 0 {
		return ""
	}
	at, err := domains.SocketURL(d.URLs[0])
	if err != nil {
		return ""
	}
	return at
}

func (a *abroad) secret(neighbour string) (string, error) {
	secret, err := a.node.settings.Load().LinkSecret(neighbour)
	return string(secret), err
}

// link says which neighbour's link a user is, for who signs in.
func (a *abroad) link(user wire.UserID) (apps.Link, bool) {
	v := a.view.Load()
	if v == nil {
		return apps.Link{}, false
	}
	domain, ok := v.neighbours[user]
	if !ok {
		return apps.Link{}, false
	}
	secret, err := a.secret(domain)
	return apps.Link{
		Domain: domain, Secret: secret, Err: err, Open: a.node.settings.Load().InsecureLinks, Certificate: a.node.settings.Load().Links.RequireCertificate,
		Loopback: v.onThisMachine(a.self) && v.onThisMachine(domain),
	}, true
}

// onThisMachine says whether all URLs of a domain are loopback addresses.
func (v *view) onThisMachine(domain string) bool {
	d, ok := v.network.Domain(domain)
	for _, raw := range d.URLs {
		u, err := url.Parse(raw)
		if err != nil || !loopbackHost(u.Hostname()) {
			return false
		}
	}
	return ok
}

func loopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// warnBareLinks tells the operator of links that anybody could take.
func (n *node) warnBareLinks() {
	if n.settings.Load().BareLinks() {
		n.log.Warn("links without a secret may come up between any addresses (insecureLinks): anyone who reaches this domain can take what is meant for a neighbour")
	}
}

// mine says whether this node is to have the link to a neighbour: of those that are
// up and keep shards the one with the highest hash, the same on all nodes.
func (a *abroad) mine(neighbour string) bool {
	n := a.node
	if !n.serving.Load() || !n.members.Valid() {
		return false
	}
	best, most := "", uint64(0)
	for _, m := range n.members.List() {
		processor := false
		for _, role := range m.Roles {
			processor = processor || role == config.RoleProcessor
		}
		if m.Status != members.Up || !processor {
			continue
		}
		if sum := spread(m.ID, neighbour); best == "" || sum > most {
			best, most = m.ID, sum
		}
	}
	return best == n.id
}

// spread is a hash of two words, the same on all nodes: FNV-1a, and what spreads its
// last bytes over all bits.
func spread(a, b string) uint64 {
	const prime = 1099511628211
	sum := uint64(14695981039346656037)
	for _, text := range []string{a, "\x00", b} {
		for i := range len(text) {
			sum = (sum ^ uint64(text[i])) * prime
		}
	}
	sum = (sum ^ sum>>33) * 0xff51afd7ed558ccd
	return sum ^ sum>>33
}

// forward takes what came over a link.
func (a *abroad) forward(f *wire.Forward, from delivery.Neighbour, done func(error)) {
	a.node.hub.Forward(f, from, done)
}

// isLink says whether a user is the link to another domain, or was to one that is not
// described any more: what waits for that one has to go somewhere.
func (a *abroad) isLink(user wire.UserID) bool {
	if users := a.users.Load(); users != nil && (*users)[user] {
		return true
	}
	app := user.App()
	digits, numbered := strings.CutPrefix(app, "domain")
	if !strings.HasPrefix(app, "link_") && !(numbered && digits != "" && strings.Trim(digits, "0123456789") == "") {
		return false
	}
	return user.Number() == 1 && !a.knows(app)
}

// knows says whether there is an app of a name, in the settings or the network.
func (a *abroad) knows(app string) bool { return (*a.names.Load())[app] }

// wrap makes of a notice of a keeper what waits for a link.
func (a *abroad) wrap(x mailbox.Notice) (to wire.UserID, frame []byte, ok bool) {
	hub := a.hub.Load()
	if hub == nil {
		return "", nil, false // it goes on later, when the mover sees it
	}
	return hub.Wrap(delivery.Notice{To: x.To, From: x.From, ID: x.ID, Presence: x.Presence, Expires: x.Expires, Frame: x.Frame})
}
