package bus

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Servers with one name and one secret need not be of one cluster: two halves may have
// been formed apart. If they met, each would take the other's streams for its own, and
// delete what it does not know. So a cluster has an ID from the moment it is formed on.
// Every server that keeps streams notes it beside them, see folder.go. It is part of the
// cluster's name to the engine, so a server that calls another one sees from the first
// line that comes whether they belong together, and of the name by which a server signs
// in, see gate. No server runs on a store without an ID.
//
// Who has none yet looks for it first, with a server that keeps nothing. It calls those
// that it knows, and reads that line, see probe.go; and servers of a cluster that
// call it are refused, but say of which one they are. When there is none, and all servers
// look that are needed to form one, the one whose name comes first asks the others
// whether it may, and takes an ID by chance. The others then find it. Which of them it is
// matters to nobody afterwards.
//
// That those who look do not meet those of a cluster has a reason: while it has no
// leader, the engine reckons with every server that it has met, for ever.

const (
	// whoSubject is where servers that look ask who else does.
	whoSubject = "sb.cluster.who"
	// formSubject is where they are asked whether they let another one form the cluster.
	formSubject = "sb.cluster.form"

	// lookPause is how often a server that looks asks.
	lookPause = 50 * time.Millisecond
	// lookFirst is how long it asks at least before it forms a cluster.
	lookFirst = 300 * time.Millisecond
	// lookOn is how long it asks for others when a cluster has answered, but not every
	// server that it knows of; and how long one that waits for nobody looks at all. Who was
	// not there is tried once more in that time.
	lookOn = 1100 * time.Millisecond
	// lookProbe is how often it calls those that it knows.
	lookProbe = 200 * time.Millisecond
	// lookFresh is how old an answer of a server that looks may be. What servers of a cluster
	// say is good for as long as the search lasts.
	lookFresh = time.Second
	// grantTime is how long a server that let another one form a cluster lets no third do so.
	grantTime = 5 * time.Second
	// lookAgain is how often a server that looks has the names of its peers looked up.
	lookAgain = time.Second
)

// errTwoClusters is of a server that reaches two clusters, and cannot be of both.
var errTwoClusters = errors.New("there is more than one cluster of that name and secret")

// self is what a server that looks says of itself when it is asked.
type self struct {
	Node   string `json:"node"`
	Stores bool   `json:"stores,omitempty"` // it is to keep streams
	Kept   bool   `json:"kept,omitempty"`   // it has streams, which were made before clusters had IDs
	Form   string `json:"form,omitempty"`   // the ID that it asks leave for
	Leave  bool   `json:"leave,omitempty"`  // it lets who asks form the cluster

	Members []string `json:"members,omitempty"` // who keeps streams with it, as far as it knows
}

// with says whether two servers have kept streams together; also when neither knows.
func (s *self) with(other *self) bool {
	return len(s.Members) == 0 || len(other.Members) == 0 ||
		slices.Contains(s.Members, memberName(other.Node)) || slices.Contains(other.Members, memberName(s.Node))
}

// engineName is the cluster's name to the engine. Without an ID it is that of those who
// look.
func (c *Cluster) engineName() string { return c.Name + "." + c.id }

// signature is the name by which a server signs in to others. None of its parts has a
// space.
func (c *Cluster) signature() string {
	return strings.Join([]string{userPrefix + protocol, c.id, c.Name, c.Node, c.does()}, " ")
}

const (
	storesStreams = "stores"
	usesStreams   = "uses"
)

// does says whether the server keeps streams.
func (c *Cluster) does() string {
	if c.NoStore {
		return usesStreams
	}
	return storesStreams
}

// signed is such a name in its parts.
type signed struct{ version, id, name, node, does string }

// takeApart takes it apart. Of a server that is none of Switchboard's it is false.
func takeApart(user string) (s signed, ours bool) {
	rest, ours := strings.CutPrefix(user, userPrefix)
	parts := append(strings.Split(rest, " "), "", "", "", "")
	return signed{parts[0], parts[1], parts[2], parts[3], parts[4]}, ours
}

// answer answers what is asked at a subject, unless there is nothing to say.
func (e *engine) answer(subject string, f func(question []byte) *self) error {
	_, err := e.reads.Subscribe(subject, func(m *nats.Msg) {
		if s := f(m.Data); s != nil {
			b, _ := json.Marshal(s) // which cannot fail
			_ = m.Respond(b)        // who hears nothing asks again
		}
	})
	if err == nil {
		err = e.reads.Flush()
	}
	if err != nil {
		return fmt.Errorf("listen for questions of other servers: %w", err)
	}
	return nil
}

// look is a server's search for its cluster.
type look struct {
	e    *engine
	self self
	id   string // of the cluster that it would form
	now  func() time.Time

	inbox string // where answers come

	mu      sync.Mutex
	heard   map[string]heard  // what other servers said, by their names
	formed  map[string]string // clusters by the names of their servers
	first   time.Time         // when the first of a cluster answered
	leaves  map[string]self   // who lets this one form the cluster
	granted string            // whom this server lets do so
	until   time.Time         // until when
}

type heard struct {
	self
	at time.Time
}

// identify finds out of which cluster this server is. It returns when that is known.
func (o *Options) identify(ctx context.Context, kept bool) (id string, err error) {
	opts, cluster := *o, *o.Cluster
	opts.Cluster = &cluster
	l := &look{
		e:    &engine{opts: &opts, failed: make(chan struct{}), quit: make(chan struct{}), bell: make(chan struct{}, 1), differs: make(chan string, 1)},
		self: self{Node: cluster.Node, Stores: o.stores(), Kept: kept}, id: strings.ToLower(rand.Text()[:12]), now: time.Now,
		heard: make(map[string]heard), formed: make(map[string]string), leaves: make(map[string]self),
	}
	if kept {
		l.self.Members = o.members()
	}
	cluster.NoStore, cluster.looks = true, l.meets
	defer l.e.stop()
	if err := l.start(ctx); err != nil {
		return "", err
	}
	l.e.wg.Add(3)
	go l.e.lookForPeers(lookAgain)
	go l.e.sayWhoDiffers()
	go l.probe()
	return l.run(ctx)
}

// start runs the server that looks.
func (l *look) start(ctx context.Context) error {
	if err := l.e.startServer(ctx); err != nil {
		return err
	}
	if err := l.e.connect(ctx); err != nil {
		return err
	}
	l.inbox = l.e.reads.NewInbox()
	if _, err := l.e.reads.Subscribe(l.inbox, func(m *nats.Msg) { l.take(m.Data) }); err != nil {
		return fmt.Errorf("ask other servers for their cluster: %w", err)
	}
	if err := l.e.answer(whoSubject, func([]byte) *self { s := l.self; return &s }); err != nil {
		return err
	}
	return l.e.answer(formSubject, l.leave)
}

// probe calls those that this server knows, until the engine stops.
func (l *look) probe() {
	defer l.e.wg.Done()
	ctx, cancel := l.e.untilQuit()
	defer cancel()
	tick := time.NewTicker(lookProbe)
	defer tick.Stop()
	for {
		var all sync.WaitGroup
		for _, address := range *l.e.addresses.Load() {
			all.Go(func() {
				if p, err := l.e.opts.Cluster.probe(ctx, address); err == nil && p.stores && p.trusts {
					l.meets(p.id, p.node)
				}
			})
		}
		all.Wait()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// meets is told of a server of a cluster that keeps streams.
func (l *look) meets(id, node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first.IsZero() {
		l.first = l.now()
	}
	l.formed[node] = id
	delete(l.heard, node)
}

// say says something to all that are reached, who answer in the inbox. The connection breaks, and is
// made anew at once, when the server takes in other addresses, as they come one by one where pods are
// started: what is not heard then is said again.
func (l *look) say(subject string, b []byte) error {
	err := l.e.reads.PublishRequest(subject, l.inbox, b)
	if err != nil && !l.e.reads.IsClosed() {
		return nil
	}
	return err
}

// ask asks all that are reached, and waits a moment for answers.
func (l *look) ask(ctx context.Context, tick *time.Ticker) error {
	if err := l.say(whoSubject, nil); err != nil {
		return fmt.Errorf("ask other servers for their cluster: %w", err)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-tick.C:
		return nil
	}
}

func (l *look) run(ctx context.Context) (id string, err error) {
	tick := time.NewTicker(lookPause)
	defer tick.Stop()
	began, said := l.now(), l.now()
	for {
		l.e.opts.wait("%s; %s", l.waits(), l.e.company())
		if err := l.ask(ctx, tick); err != nil {
			return "", fmt.Errorf("%w; %s: %w", l.waits(), l.e.company(), err)
		}
		id, ask, err := l.decide(began)
		if id != "" || err != nil {
			return id, err
		}
		if ask {
			b, _ := json.Marshal(self{Node: l.self.Node, Form: l.id}) // which cannot fail
			if err := l.say(formSubject, b); err != nil {
				return "", fmt.Errorf("ask other servers for leave: %w", err)
			}
		}
		if l.now().Sub(said) >= sayEvery {
			said = l.now()
			l.e.opts.Logger.Info("this server has no cluster yet", "err", l.waits(), "connected", strings.Join(l.e.neighbours(), " "))
		}
	}
}

// decide says which cluster this server is of, if that is clear by now, or whether to
// ask for leave to form one.
func (l *look) decide(began time.Time) (id string, ask bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	servers := l.servers(now)
	found := slices.Compact(slices.Sorted(maps.Values(l.formed)))
	all := len(servers) >= len(*l.e.addresses.Load())
	switch {
	case len(found) > 1 && (all || now.Sub(l.first) >= lookFirst): // so that it names all of them
		return "", false, l.tooMany(found)
	case len(found) == 1 && (all || now.Sub(l.first) >= lookOn):
		return found[0], false, l.stranger()
	case len(found) > 0 || !l.self.Stores:
		return "", false, nil
	}
	if err := l.stranger(); err != nil {
		return "", false, err
	}
	// Without a cluster: is it on this one to form it?
	wait := lookFirst
	if l.e.opts.Cluster.Sole {
		wait = lookOn
	}
	if now.Sub(began) < wait || !l.enough(servers) || slices.Min(names(servers)) != l.self.Node {
		clear(l.leaves)
		return "", false, nil
	}
	if l.granted != "" && l.granted != l.self.Node && now.Before(l.until) {
		return "", false, nil
	}
	l.granted, l.until = l.self.Node, now.Add(grantTime)
	l.leaves[l.self.Node] = l.self
	if l.enough(slices.Collect(maps.Values(l.leaves))) {
		return l.id, false, nil
	}
	return "", true, nil
}

// servers returns who keeps streams, or is to, of all that answer, this one included. mu
// is held.
func (l *look) servers(now time.Time) []self {
	list := []self{}
	if l.self.Stores {
		list = append(list, l.self)
	}
	for _, h := range l.heard {
		if h.Stores && now.Sub(h.at) < lookFresh {
			list = append(list, h.self)
		}
	}
	for node := range l.formed {
		list = append(list, self{Node: node, Stores: true})
	}
	return list
}

func names(list []self) (all []string) {
	for _, s := range list {
		all = append(all, s.Node)
	}
	return all
}

// enough says whether servers may form a cluster: all that are looked for, as many as
// the engine waits for with an empty store. Of servers that were one before clusters had
// IDs more than half are enough.
func (l *look) enough(servers []self) bool {
	if l.e.opts.Cluster.Sole {
		return true
	}
	routes, kept := len(*l.e.addresses.Load()), 0
	for _, s := range servers {
		if s.Kept {
			kept++
		}
	}
	return len(servers) >= max(2, routes) || kept > routes/2
}

// take takes in an answer.
func (l *look) take(b []byte) {
	var s self
	if json.Unmarshal(b, &s) != nil || s.Node == "" || s.Node == l.self.Node {
		return // nobody's, or this server's own
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch _, formed := l.formed[s.Node]; {
	case s.Form == "" && !formed:
		l.heard[s.Node] = heard{s, l.now()}
	case s.Form == l.id && s.Leave:
		l.leaves[s.Node] = s
	}
}

// leave answers a server that asks whether it may form the cluster: one at a time may.
func (l *look) leave(question []byte) *self {
	var s self
	if json.Unmarshal(question, &s) != nil || s.Form == "" || s.Node == l.self.Node || !l.self.Stores {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	answer := l.self
	answer.Form = s.Form
	if answer.Leave = len(l.formed) == 0 && (l.granted == s.Node || !now.Before(l.until)); answer.Leave {
		l.granted, l.until = s.Node, now.Add(grantTime)
	}
	return &answer
}

// stranger says which servers have streams of another cluster than this one's, where they
// were made before clusters had IDs. Of those that have an ID one is enough that has kept
// streams with this one: who came to it later has not. mu is held.
func (l *look) stranger() error {
	if !l.self.Kept {
		return nil
	}
	var others, formed []string
	for _, h := range l.heard {
		if h.Kept && !h.with(&l.self) {
			others = append(others, h.Node)
		}
	}
	for node := range l.formed {
		if len(l.self.Members) == 0 || slices.Contains(l.self.Members, memberName(node)) {
			formed = nil
			break
		}
		formed = append(formed, node)
	}
	if others = append(others, formed...); len(others) == 0 {
		return nil
	}
	slices.Sort(others)
	return fmt.Errorf("%w: this server and %s have streams that were formed apart; name the servers of one cluster only in cluster.peers, and give the other one another cluster.name", errTwoClusters, strings.Join(others, ", "))
}

// tooMany names the clusters that were found, and their servers. mu is held.
func (l *look) tooMany(found []string) error {
	var each []string
	for _, id := range found {
		each = append(each, fmt.Sprintf("%s (%s)", id, l.of(id)))
	}
	return fmt.Errorf("%w: this server reaches %s, which were formed apart and have messages of their own each; "+
		"name the servers of one of them only in cluster.peers, and give the other one another cluster.name", errTwoClusters, strings.Join(each, " and "))
}

// of names the servers of a cluster. mu is held.
func (l *look) of(id string) string {
	var names []string
	for node, its := range l.formed {
		if its == id {
			names = append(names, node)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// waits says what is being waited for.
func (l *look) waits() error {
	if !l.self.Stores {
		return errNoProcessor
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	here := names(l.servers(l.now()))
	slices.SortFunc(here, cmp.Compare)
	return fmt.Errorf("waiting for the other servers: no cluster has answered, and to form one all that are looked for must be there, %d at least; there are %s",
		max(2, len(*l.e.addresses.Load())), strings.Join(here, ", "))
}

// errNoProcessor is of a server without streams that reaches nobody who has some.
var errNoProcessor = errors.New("waiting for a processor of the cluster: none is reached, and what is stored is with them")
