package match

import (
	"bytes"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// entry is what a node says of a ticket that waits.
type entry struct {
	request
	id     wire.ID
	pool   Pool
	device string
	props  Properties
	waited time.Duration
	age    time.Duration // of its session
}

// heldBack is an entry that is taken in later, and when it came.
type heldBack struct {
	from *node
	at   time.Duration
	entry
}

// enter puts a ticket into its pool. One that is known is told again how it stands.
func (c *core) enter(now time.Time, from string, e *entry) {
	c.at(now)
	n := c.node(from)
	if t := c.tickets[e.id]; t != nil {
		t.node, t.epoch = n, n.epoch
		if t.match == nil {
			c.now.to(c.shard, n).one(evWaiting, e.id)
		} else {
			c.tellMatch(n, t.match)
		}
		return
	}
	t := &ticket{
		id: e.id, device: e.device, node: n, epoch: n.epoch, at: c.clock - e.waited, began: c.clock - e.age, seq: c.seq,
		props: e.props, wait: &wait{request: e.request},
	}
	c.seq++
	if !c.admit(e, t) {
		return
	}
	p := c.pool(e.pool)
	t.pool = p
	p.devices[t.device] = t
	c.tickets[t.id] = t
	c.prepare(t)
	c.now.to(c.shard, n).one(evWaiting, t.id)
	c.dues.add(t)
	if t.wait.until <= c.clock {
		c.timeOut(t)
		return
	}
	c.seek(t)
}

// admit says whether a ticket may wait beside what its device has in the pool, and in
// the shard. What the device had by an earlier conversation does not count: a node says
// what it still has before what is new, so of the same node that is over; another node
// may still say that it has it, and until it has told all the entry is held back.
func (c *core) admit(e *entry, t *ticket) bool {
	tell := c.now.to(c.shard, t.node)
	full := c.waiting+len(c.later) >= c.limits.Tickets || len(c.matches) >= c.limits.Matches
	u := c.standing(e)
	if u != nil && !u.said() && u.node == t.node {
		c.drop(u)
		u = nil
	}
	switch {
	case u == nil:
	case !u.said() && (u.node.syncing || c.gather[u.node.id]) && !full:
		c.later = append(c.later, heldBack{t.node, c.clock, *e})
		return false
	case e.replace && (u.began < t.began || u.began == t.began && bytes.Compare(u.id[:], t.id[:]) < 0):
		c.counts.replaced++
		c.replace(u)
	case e.replace:
		tell.why(evCanceled, t.id, Replaced)
		return false
	default:
		c.counts.refused++
		tell.refused(t.id, refusedWaits, u.match != nil)
		return false
	}
	if full {
		c.counts.refused++
		tell.refused(t.id, refusedFull, false)
		return false
	}
	return true
}

// standing returns what the device of an entry has in its pool.
func (c *core) standing(e *entry) *ticket {
	if p := c.pools[e.pool]; p != nil {
		return p.devices[e.device]
	}
	return nil
}

// said says whether the node of a ticket has said in this conversation that it has it.
func (t *ticket) said() bool { return t.epoch != 0 && t.epoch == t.node.epoch }

// letIn takes in what was held back; what has to wait for yet another node is again.
func (c *core) letIn() {
	list := c.later
	c.later = nil
	for i := range list {
		b := &list[i]
		b.waited, b.age = b.waited+c.clock-b.at, b.age+c.clock-b.at
		c.enter(c.base.Add(c.clock), b.from.id, &b.entry)
	}
}

// unsay forgets those entries of a node that are held back.
func (c *core) unsay(n *node, those func(*entry) bool) {
	c.later = slices.DeleteFunc(c.later, func(b heldBack) bool { return b.from == n && those(&b.entry) })
}

// replace ends a ticket, or its part in a match, for another one of the same device.
func (c *core) replace(t *ticket) {
	if t.match != nil {
		c.leave(t, Replaced)
		return
	}
	c.now.to(c.shard, t.node).why(evCanceled, t.id, Replaced)
	c.remove(t)
}
