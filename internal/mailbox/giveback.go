package mailbox

import "slices"

// giveBack returns what a closed session did not prove.
func (c *core) giveBack(u *user, s *session) {
	var ords []uint64
	for _, f := range s.flight[s.proved:] {
		if e := u.entries.find(f.ord); e != nil && !f.done {
			e.holders--
			if e.holders == 0 {
				e.state &^= entryClaimed
				u.roomFrom = min(u.roomFrom, f.ord)
			}
			ords = append(ords, f.ord)
		}
	}
	for _, ord := range append(ords, s.returned...) {
		e := u.entries.find(ord)
		if e == nil || !e.waits() || e.holders > 0 {
			continue
		}
		c.bequeath(u, e)
	}
}

// bequeath has a message that came back go to another session: to one that is
// still to come to it, else to the first one, before anything later.
func (c *core) bequeath(u *user, e *entry) {
	if u.lanes != nil {
		t := u.lanes.lane[e.lane].owner
		if e.ord < u.lanes.mark {
			t.giveBack(e.ord)
			return
		}
		t.cursor = min(t.cursor, e.ord) // what it has is held and passed over
		return
	}
	if len(u.sessions) == 0 {
		return
	}
	for _, t := range u.sessions {
		if t.cursor <= e.ord {
			return
		}
	}
	u.sessions[0].giveBack(e.ord)
}

// giveBack notes a message that the session is to get before anything later.
func (s *session) giveBack(ord uint64) {
	if i, there := slices.BinarySearch(s.returned, ord); !there {
		s.returned = slices.Insert(s.returned, i, ord)
	}
}

// passedOver has sessions get what they went past and nobody has: what waits
// again because the log lost that it was gone, or could not be read.
func (c *core) passedOver(u *user, which func(*entry) bool) {
	for i := range u.entries.list {
		if e := &u.entries.list[i]; e.waits() && e.holders == 0 && which(e) {
			if u.lanes != nil {
				c.laneBack(u, e)
			} else {
				c.sequenceBack(u, e)
			}
		}
	}
}

// laneBack makes the session that is to get an entry by itself look for it once
// more.
func (c *core) laneBack(u *user, e *entry) {
	t := u.lanes.lane[e.lane].owner
	if e.ord < u.lanes.mark {
		t = u.pusher(e.lane)
	}
	if t != nil {
		t.cursor = min(t.cursor, e.ord) // what it has is held and passed over
	}
}

// sequenceBack gives an entry to the first session that was to get it by
// itself, unless one is still to come to it.
func (c *core) sequenceBack(u *user, e *entry) {
	var heir *session
	for _, t := range u.sessions {
		if e.ord < t.mark && !t.Push {
			continue
		}
		if t.cursor <= e.ord {
			return
		}
		if heir == nil {
			heir = t
		}
	}
	if heir != nil {
		heir.giveBack(e.ord)
	}
}
