package mailbox

import (
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Sessions are registered anew when their keeper changes, or the link between
// their connector and it broke: the connector says what they were given, and
// what was lost on the way is delivered before anything later.

// heldUp says that nothing is delivered to a user for now.
func (c *core) heldUp(u *user) bool { return c.held || u.away > 0 }

// detach says that the sessions of a node are to be registered anew.
func (c *core) detach(node string) {
	for _, s := range c.sessions {
		if s.Node == node && !s.away {
			s.away = true
			s.user.away++
		}
	}
}

// reopen registers a session anew.
func (c *core) reopen(now time.Time, h Held) {
	if c.dead.has(h.ID) { // it was closed because its node was dead, and is so for good
		c.effects = append(c.effects, effect{kind: effGone, outlet: h.Outlet})
		return
	}
	old := c.sessions[h.ID]
	if h.NextN == 0 {
		if old == nil && c.stale[h.ID].seq == 0 {
			c.open(now, h.Session)
			c.sessions[h.ID].fetches = slices.Clone(h.Fetches)
			c.pump(now, c.sessions[h.ID])
			return
		}
		c.begin(&h, old)
	}
	s := c.place(now, h)
	c.tellMark(s)
	c.proveHeld(now, s)
	c.goOn(now, s.user)
}

// begin fills in what a session begins with whose connector never heard that it
// was open, and so was given nothing.
func (c *core) begin(h *Held, old *session) {
	h.NextN, h.fresh = 1, old == nil || old.fresh
	if h.Mark = c.markFor(c.user(h.User)); old != nil {
		h.Mark = old.mark
	}
	if h.Cursor = h.Mark; h.Push {
		h.Cursor = 0
	}
}

// place puts a session where its connector says that it stands.
func (c *core) place(now time.Time, h Held) *session {
	u := c.user(h.User)
	s := c.sessions[h.ID]
	if s == nil {
		s = &session{user: u}
		c.sessions[h.ID] = s
		c.forwarders += forwarder(u)
		u.sessions = append(u.sessions, s)
	}
	had := c.takeBack(s)
	s.Session, s.unopened, s.said = h.Session, false, nil
	if !c.owned { // whoever wrote until now may have given it what this core knows nothing of
		s.said = &h
	}
	s.nextN, s.provedTo, s.fetches, s.fetchAt = h.NextN, h.ProvedTo, slices.Clone(h.Fetches), h.fetchAt
	s.mark, s.cursor, s.fresh = min(h.Mark, c.journal.storedOrd), min(h.Cursor, c.journal.storedOrd), h.fresh
	switch {
	case !s.Push:
		s.cursor = max(s.cursor, s.mark)
	case s.nextN == 1:
		s.cursor = 0
	}
	s.setAway(h.away)
	for i := range h.Given {
		c.give(s, &h.Given[i])
	}
	s.pass(max(h.PassedTo, h.ProvedTo))
	for _, ord := range had {
		c.missedOut(s, ord, ord >= s.cursor)
	}
	for _, ord := range slices.Concat(s.returned, h.returned) {
		c.missedOut(s, ord, ord >= s.cursor && u.lanes == nil) // with lanes, others may have to get it
	}
	c.placeInLog(now, s)
	if (s.Master || h.shared) && (u.lanes == nil || s.mark < u.lanes.mark) {
		if u.lanes == nil {
			c.makeLanes(u, s.mark)
		}
		u.lanes.mark = s.mark
	}
	if u.lanes != nil {
		c.layLanes(u)
	}
	c.dropSettled(u)
	return s
}

// takeBack takes from a session what is on its way to it, and returns what of
// that came by itself.
func (c *core) takeBack(s *session) (ords []uint64) {
	for i, f := range s.flight {
		e := s.user.entries.find(f.ord)
		if e == nil || i < s.proved || f.done {
			continue
		}
		if e.holders--; e.holders == 0 {
			e.state &^= entryClaimed
			s.user.roomFrom = min(s.user.roomFrom, f.ord)
		}
		if !f.fetched {
			ords = append(ords, f.ord)
		}
	}
	s.flight, s.proved, s.passed, s.open = nil, 0, 0, 0
	return ords
}

// give puts on a session's way what it was given.
func (c *core) give(s *session, g *Given) {
	f := flight{n: g.N, ord: g.Ord, size: g.Size, lane: -1, fetched: g.Fetched, confirm: g.confirm}
	if f.ord >= c.journal.storedOrd {
		f.ord = 0 // the log lost what it had synced; the place will be another message's
	}
	if e := s.user.entries.find(f.ord); e != nil {
		if e.holders == maxHolders {
			f.ord = 0
		} else {
			e.holders++
			if f.fetched && e.waits() {
				e.state |= entryClaimed
			}
		}
	}
	f.done = g.Proved && s.Each
	s.flight = append(s.flight, f)
	if !f.done {
		s.open += int(f.size)
	}
}

// missedOut has a session get what was lost on the way to it, or waited to be
// given to it, unless it is still to come to that by itself.
func (c *core) missedOut(s *session, ord uint64, comes bool) {
	e := s.user.entries.find(ord)
	if e == nil || !e.waits() || comes || slices.ContainsFunc(s.flight, func(f flight) bool { return f.ord == ord }) {
		s.returned = slices.DeleteFunc(s.returned, func(o uint64) bool { return o == ord })
		return
	}
	s.giveBack(ord)
}

// placeInLog finds the session's opened record, or writes it.
func (c *core) placeInLog(now time.Time, s *session) {
	if s.seq != 0 {
		return
	}
	if log, there := c.stale[s.ID]; there {
		delete(c.stale, s.ID)
		s.seq = log.seq
		return
	}
	c.logOpened(now, s)
}

// proveHeld proves what the session has proved, as its connector says, where the
// log does not have that.
func (c *core) proveHeld(now time.Time, s *session) {
	for _, f := range slices.Clone(s.flight) { // which becomes shorter where the log has it
		if f.done {
			c.proveOne(s, &f)
		}
	}
	c.prove(now, s)
}

func (s *session) setAway(away bool) {
	switch {
	case away && !s.away:
		s.user.away++
	case s.away && !away:
		s.user.away--
	}
	s.away = away
}

// registered says that a node has registered all its sessions anew.
func (c *core) registered(now time.Time, node string) {
	c.closeAll(now, func(s *session) bool { return s.away && s.Node == node })
	c.came(now, node)
}

// closeNode says that a node is dead.
func (c *core) closeNode(now time.Time, node string) {
	c.detach(node) // nothing goes from one of them to another
	c.closeAll(now, func(s *session) bool { return s.Node == node })
	c.came(now, node)
}

// closeAll closes the sessions that did not come.
func (c *core) closeAll(now time.Time, which func(*session) bool) {
	var list []*session
	for _, s := range c.sessions {
		if which(s) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *session) int { return compareIDs(a.ID, b.ID) })
	for _, s := range list {
		c.dead.add(s.ID)
		c.end(s)
	}
	for _, s := range list {
		c.logClosed(now, s.record(), s.seq)
	}
	for _, s := range list {
		c.ended(now, s)
	}
}

// came says that no session of a node will be registered anew any more.
func (c *core) came(now time.Time, node string) {
	delete(c.gather, node)
	if !c.down {
		c.closeStale(now)
		c.letGo(now)
	}
}

// closeStale ends the sessions that a predecessor left open and that nobody can
// register anew.
func (c *core) closeStale(now time.Time) {
	ids := make([]wire.ID, 0, len(c.stale))
	for id, old := range c.stale {
		if !c.gather[old.node] {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareIDs)
	for _, id := range ids {
		old := c.stale[id]
		delete(c.stale, id)
		c.dead.add(id)
		c.logClosed(now, old.sessionRecord, old.seq)
	}
}

// closeUnseen closes a session that was not registered anew before it ended.
func (c *core) closeUnseen(now time.Time, id wire.ID) {
	if old, there := c.stale[id]; there && !c.down {
		delete(c.stale, id)
		c.logClosed(now, old.sessionRecord, old.seq)
	}
}

func compareIDs(a, b wire.ID) int { return slices.Compare(a[:], b[:]) }

// letGo ends the time in which nothing is delivered, if nothing is waited for.
func (c *core) letGo(now time.Time) {
	if !c.held || !c.owned || len(c.gather) > 0 {
		return
	}
	c.held = false
	users := make([]*user, 0, len(c.users))
	for _, u := range c.users {
		if len(u.sessions) > 0 {
			users = append(users, u)
		}
	}
	slices.SortFunc(users, func(a, b *user) int { return strings.Compare(string(a.id), string(b.id)) })
	for _, u := range users {
		c.goOn(now, u)
	}
}

// goOn delivers to a user again whose sessions are all registered: first what
// they went past and nobody has.
func (c *core) goOn(now time.Time, u *user) {
	if c.down || c.heldUp(u) {
		return
	}
	if u.lanes != nil {
		c.layLanes(u)
	}
	c.passedOver(u, func(*entry) bool { return true })
	for _, s := range u.sessions {
		c.settleMark(u, s)
	}
	c.pumpUser(now, u)
}

// settleMark gives a session that was opened while nothing was delivered the
// mark that it would have had.
func (c *core) settleMark(u *user, s *session) {
	if !s.fresh {
		return
	}
	s.fresh = false
	mark := min(s.mark, c.markFor(u))
	if mark == s.mark {
		return
	}
	c.setMark(s, mark)
	if u.lanes == nil && !s.Push {
		s.cursor = mark
	}
}

// mostDead is how many sessions are remembered that were closed for their
// node: more than a dead one is likely to have.
const mostDead = 1 << 16

// deadSessions are the sessions that were closed because their node was dead or did not
// register them. A node that comes back all the same cannot open them again: what
// was told of their end would be told twice.
type deadSessions struct {
	ids   map[wire.ID]bool
	order []wire.ID // the oldest first
}

func (d *deadSessions) has(id wire.ID) bool { return d.ids[id] }

func (d *deadSessions) add(id wire.ID) {
	if d.ids == nil {
		d.ids = make(map[wire.ID]bool)
	}
	if len(d.order) == mostDead {
		delete(d.ids, d.order[0])
		d.order = d.order[1:]
	}
	d.ids[id] = true
	d.order = append(d.order, id)
}

// Detach says that the sessions of a node are to be registered anew, because
// the link to it broke: until then nothing is delivered to their users.
func (k *Keeper) Detach(node string) { k.post(event{kind: evDetach, node: node}) }

// Reopen registers a session anew, whatever the keeper knew of it. One that was
// closed because its node was taken for dead stays closed, and its Outlet is told,
// see Ender.
func (k *Keeper) Reopen(h Held) {
	k.mu.Lock()
	if delete(k.fetches, h.ID); len(h.Fetches) > 0 {
		k.fetches[h.ID] = len(h.Fetches)
	}
	k.mu.Unlock()
	k.post(event{kind: evReopen, held: &h})
}

// Registered says that a node has registered all its sessions anew: those that
// did not come are closed.
func (k *Keeper) Registered(node string) { k.post(event{kind: evRegistered, node: node}) }

// CloseNode says that a node is dead: its sessions are closed.
func (k *Keeper) CloseNode(node string) { k.post(event{kind: evCloseNode, node: node}) }
