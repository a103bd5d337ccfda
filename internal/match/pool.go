package match

import (
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// pool returns a pool, made when there is none.
func (c *core) pool(name Pool) *pool {
	p := c.pools[name]
	if p == nil {
		p = &pool{name: name, devices: make(map[string]*ticket), compartments: make(map[kind]*compartment)}
		c.pools[name] = p
	}
	return p
}

// stop ends the waiting of a ticket, which stays its device's.
func (c *core) stop(t *ticket) {
	w := t.wait
	if w.leaf != nil {
		w.home.tree.remove(t)
	}
	if w.home.users--; w.home.users == 0 {
		delete(t.pool.compartments, w.home.kind)
	}
	c.dues.remove(t)
	c.waiting--
	t.wait = nil
}

// remove takes a ticket that waits out of its pool.
func (c *core) remove(t *ticket) {
	c.stop(t)
	c.free(t)
}

// free forgets a ticket.
func (c *core) free(t *ticket) {
	delete(c.tickets, t.id)
	delete(t.pool.devices, t.device)
	if len(t.pool.devices) == 0 {
		delete(c.pools, t.pool.name)
	}
}

// make makes a match of tickets that wait.
func (c *core) make(members []*ticket, ambiguous bool) {
	sortByAge(members)
	id, err := wire.NewID(c.base.Add(c.clock), c.random)
	if err != nil {
		panic(err) // chance does not fail
	}
	m := &match{id: id, pool: members[0].pool, members: members, ambiguous: ambiguous}
	c.matches[id] = m
	for _, t := range members {
		c.stop(t)
		t.match = m
	}
	c.counts.made++
	c.journal.matched(c, m)
	for i, t := range members {
		if !slices.ContainsFunc(members[:i], func(u *ticket) bool { return u.node == t.node }) {
			c.tellMatch(t.node, m)
		}
	}
}

// tellMatch tells a node of a match, when all of that is stored.
func (c *core) tellMatch(n *node, m *match) {
	c.journal.stored(&c.now).to(c.shard, n).match(m)
}

// leave takes a member out of its match, and ends that when only one is left.
func (c *core) leave(t *ticket, why Reason) {
	m := t.match
	m.members = slices.DeleteFunc(slices.Clone(m.members), func(u *ticket) bool { return u == t })
	ended := len(m.members) < 2
	if ended {
		c.journal.ended(m)
	} else {
		c.journal.left(m, t)
	}
	tells := c.journal.stored(&c.now)
	if why != Over {
		tells.to(c.shard, t.node).why(evLeft, t.id, why)
	}
	for i, u := range m.members {
		if !slices.ContainsFunc(m.members[:i], func(v *ticket) bool { return v.node == u.node }) {
			tells.to(c.shard, u.node).peerLeft(m.id, t.id, ended)
		}
	}
	c.free(t)
	if !ended {
		return
	}
	c.counts.ended++
	for _, u := range m.members {
		c.free(u)
	}
	delete(c.matches, m.id)
}

// byAge returns all who wait, the oldest first.
func (c *core) byAge() []*ticket {
	all := slices.Clone(c.dues)
	sortByAge(all)
	return all
}

func sortByAge(list []*ticket) {
	slices.SortFunc(list, func(a, b *ticket) int {
		switch {
		case a == b:
			return 0
		case older(a, b):
			return -1
		}
		return 1
	})
}

// wall returns one of the core's times as a time of day in Unix milliseconds.
func (c *core) wall(at time.Duration) int64 { return c.base.Add(at).UnixMilli() }

// sinceBase returns a time of day as one of the core's.
func (c *core) sinceBase(unixMilli int64) time.Duration {
	return time.Duration(unixMilli-c.base.UnixMilli()) * time.Millisecond
}
