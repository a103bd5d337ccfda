package match

import (
	"io"
	"math"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// core is the state machine of one shard. Its methods are its events; they take the
// time, change the state, append records to its journal and leave what nodes are to
// be told: in now, or beside the records that must be stored first. It is used by one
// goroutine at a time.
//
// What is recorded counts here at once: who has left is free, who is matched is not.
// Others hear of it when it is stored; when it cannot be, this core is thrown away and
// another one made of the log.
type core struct {
	shard  int
	term   uint64
	heard  uint64 // the highest term in the log
	limits Limits
	tune   tuning
	random io.Reader
	base   time.Time     // from which times are counted
	clock  time.Duration // of the event under way
	seq    uint64

	pools   map[Pool]*pool
	tickets map[wire.ID]*ticket // those who wait, and members of matches
	matches map[wire.ID]*match
	nodes   map[string]*node
	waiting int
	dues    dues
	search  search
	later   []heldBack // entries, in the order in which they came; see admit

	// held says that nobody is matched: nodes of gather may still come with tickets
	// that are older than those that are here, until settle.
	held   bool
	gather map[string]bool
	settle time.Duration

	journal journal
	now     tells // what may be told at once
	counts  counts
}

// counts are totals since the start.
type counts struct {
	made, ended, timedOut, refused, replaced uint64
}

// pool is one pool.
type pool struct {
	name         Pool
	devices      map[string]*ticket
	compartments map[kind]*compartment
}

// node is a node that has told of its sessions.
type node struct {
	id      string
	epoch   uint64 // of the conversation with it; 0: there is none
	syncing bool   // it is still telling what it has
}

// match is a live match.
type match struct {
	id        wire.ID
	pool      *pool
	members   []*ticket // in the order in which they came
	ambiguous bool
	home      *batch // with its record
	size      int    // of that, in bytes
}

// settleTime is how long a new owner waits for the tickets of other nodes.
const settleTime = 2 * time.Second

// tuning holds sizes, which tests make small.
type tuning struct {
	leaf  int // how many tickets a leaf of a tree has before it is divided
	batch int // how many bytes a batch has before the next one begins, and are copied forward with one at most
	slack int // how many bytes the log may have beyond twice what the live matches need, before what is at its head is copied forward
	// trimStep is how many bytes must be dead at the head before they are purged, which
	// holds up appends.
	trimStep int
}

func defaultTuning() tuning {
	return tuning{leaf: 24, batch: 128 << 10, slack: 4 << 20, trimStep: 1 << 20}
}

func newCore(shard int, term uint64, limits Limits, random io.Reader, now time.Time, tune tuning) *core {
	return &core{
		shard: shard, term: term, limits: limits, random: random, base: now, tune: tune,
		pools:   make(map[Pool]*pool),
		tickets: make(map[wire.ID]*ticket),
		matches: make(map[wire.ID]*match),
		nodes:   make(map[string]*node),
		journal: journal{term: term, tune: tune},
	}
}

// at sets the time of the event under way.
func (c *core) at(now time.Time) { c.clock = max(c.clock, now.Sub(c.base)) }

// begin follows the replay. Of nodes, which are alive, the tickets are waited for; the
// members of matches who are on others are gone.
func (c *core) begin(now time.Time, nodes []string) {
	c.at(now)
	c.gather = make(map[string]bool)
	for _, id := range nodes {
		c.gather[id] = true
	}
	c.held, c.settle = true, c.clock+settleTime
	for id := range c.nodes {
		if !c.gather[id] {
			c.forget(id)
		}
	}
	c.journal.takeOver()
	c.release()
}

// release ends the time in which nobody is matched, if it is over: then all who wait
// are looked at, the oldest first.
func (c *core) release() {
	if !c.held || len(c.gather) > 0 && c.clock < c.settle {
		return
	}
	c.gather = nil
	c.letIn()
	c.held = false
	for _, t := range c.byAge() {
		if t.wait != nil {
			c.seek(t)
		}
	}
}

// sync begins a conversation with a node, which tells all that it has, and then synced.
func (c *core) sync(now time.Time, id string, epoch uint64) {
	c.at(now)
	n := c.node(id)
	n.epoch, n.syncing = epoch, true
	c.unsay(n, func(*entry) bool { return true })
}

// synced ends it: what the node had, and does not know any more, is over.
func (c *core) synced(now time.Time, id string) {
	c.at(now)
	n := c.node(id)
	n.syncing = false
	c.sweep(n, func(t *ticket) bool { return t.epoch != n.epoch })
	delete(c.gather, id)
	c.letIn()
	c.release()
}

// lost says that a node is gone.
func (c *core) lost(now time.Time, id string) {
	c.at(now)
	c.forget(id)
	delete(c.gather, id)
	c.letIn()
	c.release()
}

// forget ends all that a node has.
func (c *core) forget(id string) {
	if n := c.nodes[id]; n != nil {
		n.epoch = 0
		c.unsay(n, func(*entry) bool { return true })
		c.sweep(n, func(*ticket) bool { return true })
		delete(c.nodes, id)
	}
}

// sweep ends those tickets of a node.
func (c *core) sweep(n *node, those func(*ticket) bool) {
	var gone []*ticket
	for _, t := range c.tickets {
		if t.node == n && those(t) {
			gone = append(gone, t)
		}
	}
	sortByAge(gone)
	for _, t := range gone {
		c.drop(t)
	}
}

// node returns a node's state, made when there is none.
func (c *core) node(id string) *node {
	n := c.nodes[id]
	if n == nil {
		n = &node{id: id}
		c.nodes[id] = n
	}
	return n
}

// prepare finds out all that a ticket has while it waits.
func (c *core) prepare(t *ticket) {
	w := t.wait
	w.reach = math.Inf(1)
	w.query = w.request.query
	if len(w.widen.Ranges) > 0 {
		w.query = w.query.clone()
	}
	w.located = w.request.located
	if w.located {
		w.spot = w.at.place(w.plane)
	}
	w.widenTo(min(w.widen.steps(), int((c.clock-t.at)/w.widen.step())))
	limit := c.limits.Timeout
	if w.timeout > 0 {
		limit = min(limit, w.timeout)
	}
	if w.gesture != NoGesture {
		limit = min(limit, c.limits.GestureWindow)
	}
	w.until = t.at + limit
	w.elapsed = w.min == w.max
	if patience := w.patience; !w.elapsed {
		if patience == 0 {
			patience = c.limits.Patience
		}
		w.loses = t.at + min(patience, limit/2) // a smaller group is better than none
		w.elapsed = w.loses <= c.clock
	}
	k := kind{w.key, w.gesture, w.plane}
	home := t.pool.compartments[k]
	if home == nil {
		home = &compartment{kind: k, pool: t.pool, tree: tree{leaf: c.tune.leaf}}
		t.pool.compartments[k] = home
	}
	home.users++
	w.home = home
	w.next = w.nextDue(t.at)
	c.waiting++
}

// nextDue returns when there is something to do for a ticket.
func (w *wait) nextDue(at time.Duration) time.Duration {
	next := w.until
	if w.step < w.widen.steps() {
		next = min(next, at+time.Duration(w.step+1)*w.widen.step())
	}
	if !w.elapsed {
		next = min(next, w.loses)
	}
	return next
}

// seek has a ticket matched, if it can be, or lets it stand in its tree.
func (c *core) seek(t *ticket) {
	tree := &t.wait.home.tree
	if !c.held {
		if t.wait.leaf != nil {
			tree.remove(t)
		}
		if others, ambiguous := c.partners(t); others != nil {
			c.make(append(others, t), ambiguous)
			return
		}
	}
	if t.wait.leaf == nil {
		tree.insert(t)
	}
}

// cancel takes a ticket back that waits.
func (c *core) cancel(now time.Time, from string, id wire.ID) {
	c.at(now)
	n := c.node(from)
	switch t := c.tickets[id]; {
	case t == nil:
		c.unsay(n, func(e *entry) bool { return e.id == id })
		c.journal.stored(&c.now).to(c.shard, n).why(evCanceled, id, Over) // after the match that it may have had
	case t.match != nil:
		c.journal.stored(&c.now).to(c.shard, n).one(evTooLate, id)
	default:
		c.now.to(c.shard, n).why(evCanceled, id, Asked)
		c.remove(t)
	}
}

// hold says that a device knows that it is in a match, with so many members.
func (c *core) hold(now time.Time, from string, id wire.ID, members int) {
	c.at(now)
	n := c.node(from)
	t := c.tickets[id]
	if t == nil || t.match == nil {
		c.journal.stored(&c.now).to(c.shard, n).why(evLeft, id, Over)
		return
	}
	t.node, t.epoch = n, n.epoch
	if len(t.match.members) != members {
		c.tellMatch(n, t.match)
	}
}

// quit takes a device out of its match.
func (c *core) quit(now time.Time, from string, id wire.ID) {
	c.at(now)
	if t := c.tickets[id]; t != nil && t.match != nil {
		t.node = c.node(from)
		c.leave(t, Asked)
		return
	}
	c.journal.stored(&c.now).to(c.shard, c.node(from)).why(evLeft, id, Asked)
}

// gone says that the session of a ticket has ended.
func (c *core) gone(now time.Time, from string, id wire.ID) {
	c.at(now)
	c.unsay(c.node(from), func(e *entry) bool { return e.id == id })
	if t := c.tickets[id]; t != nil {
		c.drop(t)
	}
}

// drop ends what nobody wants any more, whatever it is.
func (c *core) drop(t *ticket) {
	switch {
	case c.tickets[t.id] != t: // it went with another one
	case t.match != nil:
		c.leave(t, Over)
	default:
		c.remove(t)
	}
}

// tick does what is due.
func (c *core) tick(now time.Time) {
	c.at(now)
	c.release()
	for len(c.dues) > 0 && c.dues[0].wait.next <= c.clock {
		c.due(c.dues[0])
	}
}

// due does the next thing for a ticket.
func (c *core) due(t *ticket) {
	w := t.wait
	if w.until <= c.clock {
		c.timeOut(t)
		return
	}
	if !w.elapsed && w.loses <= c.clock {
		w.elapsed = true
	}
	if step := int((c.clock - t.at) / w.widen.step()); w.step < min(step, w.widen.steps()) {
		if w.leaf != nil {
			w.home.tree.remove(t)
		}
		w.widenTo(min(step, w.widen.steps()))
	}
	w.next = w.nextDue(t.at)
	c.dues.moved(t)
	c.seek(t)
}

func (c *core) timeOut(t *ticket) {
	c.counts.timedOut++
	c.now.to(c.shard, t.node).one(evTimedOut, t.id)
	c.remove(t)
}

// nextDue returns when tick has something to do; false when nothing is to come.
func (c *core) nextDue() (time.Time, bool) {
	switch {
	case c.held && (len(c.dues) == 0 || c.settle < c.dues[0].wait.next):
		return c.base.Add(c.settle), true
	case len(c.dues) > 0:
		return c.base.Add(c.dues[0].wait.next), true
	}
	return time.Time{}, false
}
