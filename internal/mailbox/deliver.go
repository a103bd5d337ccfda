package mailbox

import (
	"slices"
	"time"
)

// stored says that the batch in flight is synced: now its senders are told and
// its messages delivered.
func (c *core) stored(now time.Time, seq uint64) {
	p := c.journal.stored(seq)
	c.cache.put(now, seq, p.buf)
	for _, m := range p.messages {
		c.effects = append(c.effects, effect{kind: effStored, message: m.message, id: m.id})
	}
	for i := range p.forwards {
		c.effects = append(c.effects, effect{kind: effForwarded, forwarded: &p.forwards[i]})
	}
	for _, s := range p.settles {
		c.settled(s.session, s.n)
	}
	for _, u := range p.users {
		c.pumpUser(now, u)
	}
	step := c.tune.trimStep
	if c.full {
		step /= 16 // room matters more than time
	}
	if below := c.journal.purgeable(step); below > 0 {
		c.purge = below
	}
	if !c.owned {
		c.owned = true
		for _, s := range c.sessions {
			s.said = nil // this log is all that there is
		}
		c.letGo(now)
	}
	c.clean()
}

func (c *core) pumpUser(now time.Time, u *user) {
	for _, s := range u.sessions {
		c.prove(now, s)
		c.pump(now, s)
	}
}

// pump hands to a session what it may have now: first what was given back,
// then, in turn, live messages and what it fetches, until its window is full.
func (c *core) pump(now time.Time, s *session) {
	if c.down || c.heldUp(s.user) {
		return
	}
	window := c.tune.window
	if s.Window > 0 {
		window = s.Window
	}
	for s.open < window {
		if done, blocked := c.pumpReturned(now, s); done {
			continue
		} else if blocked {
			return
		}
		first, second := c.pumpLive, c.pumpFetch
		if s.fetchNow {
			first, second = second, first
		}
		s.fetchNow = !s.fetchNow
		if !first(now, s) && !second(now, s) {
			return
		}
	}
}

// pumpReturned hands over the next message that another session gave back. One
// that cannot be read now keeps its place, and holds up nothing.
func (c *core) pumpReturned(now time.Time, s *session) (done, blocked bool) {
	for i := 0; i < len(s.returned); {
		e := s.user.entries.find(s.returned[i])
		switch {
		case e == nil || !e.waits() || e.holders > 0 || c.expired(now, e):
		case c.unread(s.user, e):
			i++
			continue
		case !c.hand(s, e):
			return false, true
		default:
			done = true
		}
		s.returned = slices.Delete(s.returned, i, i+1)
		if done {
			return true, false
		}
	}
	if len(s.returned) == 0 {
		s.returned = nil
	}
	return false, false
}

// pumpLive hands over the next message of the sequence.
func (c *core) pumpLive(now time.Time, s *session) bool {
	es := &s.user.entries
	for i := es.at(s.cursor); i < len(es.list); {
		e := &es.list[i]
		if !c.journal.holds(e.ord) {
			return false
		}
		if s.user.relay && c.unread(s.user, e) {
			return false // its receiver takes nothing that comes out of order
		}
		ord, over := e.ord, c.passesOver(now, s, e)
		if !over && !c.hand(s, e) {
			return false
		}
		s.cursor = ord + 1
		if e.settled() {
			c.dropPassed(s.user, ord)
			i = es.at(s.cursor) // the list may be shorter now
		} else {
			i++
		}
		if !over {
			return true
		}
	}
	return false
}

// passesOver says whether the session's own sequence leaves the entry out.
func (c *core) passesOver(now time.Time, s *session, e *entry) bool {
	if e.dead() || e.claimed() || c.expired(now, e) || c.unread(s.user, e) || e.settled() && !s.awaits(e.ord) {
		return true
	}
	return s.user.lanes != nil && !s.user.shared(s, e)
}

// pumpFetch hands over the next message of the current fetch, or ends it.
func (c *core) pumpFetch(now time.Time, s *session) bool {
	if len(s.fetches) == 0 {
		return false
	}
	es := &s.user.entries
	if s.fetches[0] > 0 {
		for i := es.at(s.fetchAt); i < len(es.list) && es.list[i].ord < s.mark; i++ {
			e := &es.list[i]
			if !c.fetchable(now, s, e) {
				continue
			}
			if !c.handFetched(s, e) {
				return false
			}
			e.state |= entryClaimed
			s.fetchAt = e.ord + 1
			s.fetches[0]--
			return true
		}
	}
	s.fetches = s.fetches[1:]
	s.fetchAt = 0
	left := 0
	for i := range es.list {
		if es.list[i].ord >= s.mark {
			break
		}
		if c.fetchable(now, s, &es.list[i]) {
			left++
		}
	}
	c.effects = append(c.effects, effect{kind: effFetchDone, outlet: s.Outlet, left: left, id: s.ID})
	return true
}

// fetchable says whether a fetch of the session would find the entry: it was
// missed, is stored, and on its way to nobody.
func (c *core) fetchable(now time.Time, s *session, e *entry) bool {
	return e.waits() && e.holders == 0 && c.journal.holds(e.ord) && e.ord < s.mark && !c.expired(now, e) && !c.unread(s.user, e)
}

func (c *core) expired(now time.Time, e *entry) bool {
	return e.expires != 0 && int64(e.expires) <= now.Unix()
}

// hand puts a message on its way to the session, unless its body has to be
// read first.
func (c *core) hand(s *session, e *entry) bool { return c.handAs(s, e, false) }

// handFetched is hand for what a fetch brings.
func (c *core) handFetched(s *session, e *entry) bool { return c.handAs(s, e, true) }

func (c *core) handAs(s *session, e *entry, fetched bool) bool {
	if !c.journal.holds(e.ord) || e.holders == maxHolders {
		return false
	}
	m, ok := c.body(s.user, e)
	if !ok {
		return false
	}
	f := flight{n: s.nextN, ord: e.ord, size: e.size, lane: -1, fetched: fetched}
	if lanes := s.user.lanes; lanes != nil && lanes.lane[e.lane].owner == s {
		f.lane = int16(e.lane)
		lanes.lane[e.lane].busy++
	}
	if e.flags&(flagConfirm|flagReport) != 0 {
		f.confirm = m.forConfirmation()
	}
	s.nextN++
	s.flight = append(s.flight, f)
	s.open += int(e.size)
	e.holders++
	if !s.user.relay { // see writeProved
		c.counts.delivered++
	}
	c.effects = append(c.effects, effect{
		kind: effDeliver, outlet: s.Outlet,
		delivery: Delivery{N: f.n, Ord: f.ord, Fetched: fetched, ID: m.id, Frame: m.frame},
	})
	if s.Link && s.user.link != nil {
		d := &c.effects[len(c.effects)-1].delivery
		d.Log, d.Low = c.logName, c.low(s.user)
	}
	return true
}
