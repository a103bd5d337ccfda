package mailbox

import (
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// pass says that everything up to delivery n has arrived at the client.
func (c *core) pass(now time.Time, id wire.ID, n uint64) {
	if s := c.sessions[id]; s != nil {
		s.pass(n)
		c.pump(now, s)
	}
}

func (s *session) pass(n uint64) {
	for s.passed < len(s.flight) && s.flight[s.passed].n <= n {
		if f := &s.flight[s.passed]; !f.done {
			s.open -= int(f.size)
		}
		s.passed++
	}
}

// proof says that everything up to delivery n is proved.
func (c *core) proof(now time.Time, id wire.ID, n uint64) {
	s := c.sessions[id]
	if s == nil {
		return
	}
	s.provedTo = max(s.provedTo, min(n, s.nextN-1))
	s.pass(n)
	c.prove(now, s)
	if s.user.lanes != nil || len(s.user.sessions) > maxHolders {
		c.pumpUser(now, s.user) // a lane may have moved, a message be free for one more
	} else {
		c.pump(now, s)
	}
}

// prove takes the proofs that were reported as far as it can: a confirmation
// may need the message's body, which may have to be read.
func (c *core) prove(now time.Time, s *session) {
	for c.proveSome(now, s) {
	}
}

// proveSome takes as many proofs as one batch holds with their confirmations,
// and says whether there may be more.
func (c *core) proveSome(now time.Time, s *session) (more bool) {
	if c.down {
		return false
	}
	var ords, before []uint64
	var confirm []messageRecord
	u, n, size := s.user, uint64(0), 0
	for ; s.proved < len(s.flight) && s.flight[s.proved].n <= s.provedTo; s.proved++ {
		if more = size > c.tune.batch; more {
			break
		}
		f := &s.flight[s.proved]
		if e := u.entries.find(f.ord); e != nil && !f.done {
			if e.waits() {
				if e.flags&(flagConfirm|flagReport) != 0 {
					m, ok := c.toConfirm(u, e, f)
					if !ok {
						break
					}
					confirm = append(confirm, m)
					size += c.noticeBytes(&m)
				}
				ords = append(ords, f.ord)
				e.state |= entrySettled
			} else {
				before = append(before, f.ord)
			}
			e.holders--
		}
		n = f.n
		if f.lane >= 0 {
			c.freeLane(u, s, uint8(f.lane))
			f.lane = -1
		}
	}
	for _, ord := range before {
		c.dropPassed(u, ord)
	}
	switch {
	case n == 0:
	case len(ords) == 0:
		c.settleAfter(s, n)
	default:
		p := c.journal.hold(32 + 10*len(ords) + size)
		defer c.journal.letGo()
		p.settles = append(p.settles, settle{s, n})
		c.writeProved(now, p, s, ords, confirm)
	}
	return more
}

// confirmBytes is how much a delivery on its way keeps of its message for the
// confirmation. Nearly every reference is shorter: its proof waits for no read,
// and counts also when the session closes right after it.
const confirmBytes = 512

// forConfirmation returns a copy of what a confirmation needs, nil when that is
// too much to keep.
func (m *messageRecord) forConfirmation() *messageRecord {
	if len(m.from)+len(m.reference) > confirmBytes {
		return nil
	}
	return &messageRecord{id: m.id, flags: m.flags, from: slices.Clone(m.from), reference: slices.Clone(m.reference)}
}

// toConfirm returns what the confirmation of a delivery needs, or has its
// message read and returns false.
func (c *core) toConfirm(u *user, e *entry, f *flight) (messageRecord, bool) {
	if f.confirm != nil {
		return *f.confirm, true
	}
	return c.body(u, e)
}

// settleAfter settles proofs that need no record, because others proved the
// same before, as soon as what was written till now is stored.
func (c *core) settleAfter(s *session, n uint64) {
	if p := c.journal.newest(); p != nil {
		p.settles = append(p.settles, settle{s, n})
		return
	}
	c.settled(s, n)
}

// writeProved writes that messages are proved by s, their confirmations, and what
// subscribers hear of it, in one batch: either all survive or none.
func (c *core) writeProved(now time.Time, p *pending, s *session, ords []uint64, confirm []messageRecord) {
	u := s.user
	if !u.relay { // what is for another shard is on its way still; it counts there
		c.counts.proved += uint64(len(ords))
	}
	p.buf = appendGone(p.buf, goneProved, u.id, ords)
	for _, ord := range ords {
		e := u.entries.find(ord)
		c.settleEntry(u, e, p)
		u.settled++
		c.dropPassedBut(u, s, ord)
	}
	if u.link != nil {
		c.takenOut(u, p.seq, ords)
	}
	for i := range confirm {
		m := &confirm[i]
		if m.flags&flagConfirm != 0 {
			c.notify(now, notice{
				to: wire.UserID(m.from), about: u.id, id: m.id.Derive("confirmation"),
				frame: wire.AppendConfirmation(nil, m.reference),
			})
		}
		if m.flags&flagReport != 0 {
			c.reportMessage(now, eventDelivered, m, u.id)
		}
	}
}

// awaits says whether the session is still to get a message, also if another
// has proved it meanwhile.
func (s *session) awaits(ord uint64) bool {
	if s.cursor > ord {
		return false
	}
	_, skip := slices.BinarySearch(s.skip, ord)
	return !skip
}

// mayLose says whether a message is on its way to a session of another node, where
// it may be lost: then the session is still to get it, also if another has proved
// it meanwhile.
func (c *core) mayLose(s *session, ord uint64) bool {
	return s.Node != c.node &&
		slices.ContainsFunc(s.flight[s.proved:], func(f flight) bool { return f.ord == ord && !f.done })
}

// settledFrom returns what is proved, from ord on.
func (u *user) settledFrom(ord uint64) []uint64 {
	if u.settled == 0 {
		return nil
	}
	var ords []uint64
	for i := u.entries.at(ord); i < len(u.entries.list); i++ {
		if e := &u.entries.list[i]; !e.dead() && e.settled() {
			ords = append(ords, e.ord)
		}
	}
	return ords
}

// dropPassed kills a proved entry that no session is still to get, or may have to
// get again.
func (c *core) dropPassed(u *user, ord uint64) { c.dropPassedBut(u, nil, ord) }

// dropPassedBut is dropPassed where one session has just proved the entry.
func (c *core) dropPassedBut(u *user, by *session, ord uint64) {
	e := u.entries.find(ord)
	if e == nil || !e.settled() {
		return
	}
	if u.lanes == nil && slices.ContainsFunc(u.sessions, func(s *session) bool { return s.awaits(ord) || s != by && c.mayLose(s, ord) }) {
		if u.settled <= c.tune.lag {
			return
		}
		c.counts.droppedLag++
	}
	u.settled--
	u.entries.kill(e)
}

// dropSettled kills the proved entries that were kept for a session that ended.
func (c *core) dropSettled(u *user) {
	for _, ord := range u.settledFrom(0) {
		c.dropPassed(u, ord)
	}
}

// settled forgets deliveries whose proof is in the log.
func (c *core) settled(s *session, n uint64) {
	if c.sessions[s.ID] != s {
		return
	}
	if s.Each {
		c.settledOne(s, n)
		return
	}
	i := 0
	for i < s.proved && s.flight[i].n <= n {
		i++
	}
	s.proved -= i
	s.passed -= i
	s.flight = cut(s.flight, i)
	c.effects = append(c.effects, effect{kind: effSettled, outlet: s.Outlet, n: n})
}

// cut removes the first n of what is on its way. The memory of a short list is
// used again, that of a long one is let go bit by bit.
func cut(list []flight, n int) []flight {
	const short = 16
	switch {
	case cap(list) <= short:
		return list[:copy(list, list[n:])]
	case len(list) == n:
		return nil
	}
	return list[n:]
}
