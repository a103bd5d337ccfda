package mailbox

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// stored says that the batch in flight is synced: now its senders are told and
// its messages delivered.
func (c *core) stored(now time.Time, seq uint64) {
	p := c.journal.stored(seq)
	c.cache.put(seq, p.buf)
	for _, m := range p.messages {
		c.effects = append(c.effects, effect{kind: effStored, message: m.message})
	}
	for _, s := range p.settles {
		c.settled(s.session, s.n)
	}
	for _, u := range p.users {
		c.pumpUser(now, u)
	}
	if below := c.journal.purgeable(p, c.tune.trimStep); below > 0 {
		c.purge = below
	}
	c.clean()
}

// settled forgets deliveries whose proof is in the log.
func (c *core) settled(s *session, n uint64) {
	if c.sessions[s.ID] != s {
		return
	}
	i := 0
	for i < s.proved && s.flight[i].n <= n {
		i++
	}
	s.flight = s.flight[i:]
	s.proved -= i
	s.passed -= i
	if len(s.flight) == 0 {
		s.flight = nil
	}
	c.effects = append(c.effects, effect{kind: effSettled, outlet: s.Outlet, n: n})
}

// loaded brings a batch that was asked for in reads; nil when the log no
// longer has it.
func (c *core) loaded(now time.Time, seq uint64, batch []byte) {
	waiting := c.cache.waiting[seq]
	delete(c.cache.waiting, seq)
	if batch != nil {
		c.cache.put(seq, batch)
	}
	for _, u := range waiting {
		if u == nil {
			if batch == nil {
				c.copying = seq // it cannot be read: the head stays here until a restart
			}
			c.clean()
			continue
		}
		if batch == nil {
			c.lost(u, seq)
		}
		c.expireUser(now, u)
		c.pumpUser(now, u)
		c.release(u)
	}
}

// lost drops what the index believes to be in a batch that cannot be read. For
// proved messages, kept for a lagging session, that is how it goes. Others are
// only passed over: the log keeps them, and a restart looks again.
func (c *core) lost(u *user, seq uint64) {
	var ords []uint64
	for i := range u.entries.list {
		if e := &u.entries.list[i]; !e.dead() && e.seq == seq {
			ords = append(ords, e.ord)
		}
	}
	for _, ord := range ords {
		e := u.entries.find(ord)
		if e.settled() {
			c.counts.droppedLag++
			u.settled--
		} else {
			c.counts.lost++
			c.uncount(u, e)
		}
		u.entries.kill(e)
	}
}

// body returns an entry's message, or asks for its batch and returns false.
func (c *core) body(u *user, e *entry) (messageRecord, bool) {
	batch := c.journal.pending(e.seq) // copied forward just now
	if batch == nil {
		batch = c.cache.batches[e.seq]
	}
	if batch == nil {
		c.want(e.seq, u)
		return messageRecord{}, false
	}
	m, err := messageAt(batch, e.off)
	if err == nil && m.ord != e.ord {
		err = fmt.Errorf("message %d stands where %d should", m.ord, e.ord)
	}
	if err != nil {
		panic(fmt.Sprintf("mailbox: batch %d at %d: %v", e.seq, e.off, err))
	}
	return m, true
}

// messageAt parses the message whose body begins at off. The rest of the batch
// behind it does no harm: the body says itself where it ends.
func messageAt(batch []byte, off uint32) (messageRecord, error) {
	if int64(off) >= int64(len(batch)) {
		return messageRecord{}, errors.New("no record there")
	}
	return parseMessage(batch[off:], false)
}

// want has a batch read for a user, or for cleaning when u is nil.
func (c *core) want(seq uint64, u *user) {
	list, asked := c.cache.waiting[seq]
	if !asked {
		c.reads = append(c.reads, seq)
	}
	for _, w := range list {
		if w == u {
			return
		}
	}
	c.cache.waiting[seq] = append(list, u)
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
	if c.down {
		return
	}
	for s.open < c.tune.window {
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

// pumpReturned hands over the next message that another session gave back.
func (c *core) pumpReturned(now time.Time, s *session) (done, blocked bool) {
	for len(s.returned) > 0 {
		e := s.user.entries.find(s.returned[0])
		if e == nil || !e.waits() || e.holders > 0 || c.expired(now, e) {
			s.returned = s.returned[1:]
			continue
		}
		if !c.hand(s, e) {
			return false, true
		}
		s.returned = s.returned[1:]
		return true, false
	}
	s.returned = nil
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
	if e.dead() || e.claimed() || c.expired(now, e) || e.settled() && !s.awaits(e.ord) {
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
			if !c.hand(s, e) {
				return false
			}
			e.state |= entryClaimed
			s.flight[len(s.flight)-1].fetched = true
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
	c.effects = append(c.effects, effect{kind: effFetchDone, outlet: s.Outlet, left: left, session: s.ID})
	return true
}

// fetchable says whether a fetch of the session would find the entry: it was
// missed, is stored, and on its way to nobody.
func (c *core) fetchable(now time.Time, s *session, e *entry) bool {
	return e.waits() && e.holders == 0 && c.journal.holds(e.ord) && e.ord < s.mark && !c.expired(now, e)
}

func (c *core) expired(now time.Time, e *entry) bool {
	return e.expires != 0 && int64(e.expires) <= now.Unix()
}

// hand puts a message on its way to the session, unless its body has to be
// read first.
func (c *core) hand(s *session, e *entry) bool {
	if !c.journal.holds(e.ord) {
		return false
	}
	m, ok := c.body(s.user, e)
	if !ok {
		return false
	}
	f := flight{n: s.nextN, ord: e.ord, size: e.size, lane: -1}
	if lanes := s.user.lanes; lanes != nil && lanes.lane[e.lane].owner == s {
		f.lane = int16(e.lane)
		lanes.lane[e.lane].busy++
	}
	s.nextN++
	s.flight = append(s.flight, f)
	s.open += int(e.size)
	e.holders++
	c.counts.delivered++
	c.effects = append(c.effects, effect{
		kind: effDeliver, outlet: s.Outlet,
		delivery: Delivery{N: f.n, ID: m.id, Frame: m.frame},
	})
	return true
}

// pass says that everything up to delivery n has arrived at the client.
func (c *core) pass(now time.Time, id wire.ID, n uint64) {
	if s := c.sessions[id]; s != nil {
		s.pass(n)
		c.pump(now, s)
	}
}

func (s *session) pass(n uint64) {
	for s.passed < len(s.flight) && s.flight[s.passed].n <= n {
		s.open -= int(s.flight[s.passed].size)
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
	c.prove(now, s)
	s.pass(n)
	if s.user.lanes != nil {
		c.pumpUser(now, s.user) // a lane may have moved
	} else {
		c.pump(now, s)
	}
}

// prove takes the proofs that were reported as far as it can: a confirmation
// needs the message's body, which may have to be read.
func (c *core) prove(now time.Time, s *session) {
	if c.down || s.proved == len(s.flight) || s.flight[s.proved].n > s.provedTo {
		return
	}
	var ords []uint64
	var confirm []messageRecord
	u, n := s.user, uint64(0)
	for ; s.proved < len(s.flight) && s.flight[s.proved].n <= s.provedTo; s.proved++ {
		f := &s.flight[s.proved]
		if e := u.entries.find(f.ord); e != nil {
			if e.waits() {
				if e.flags&flagConfirm != 0 {
					m, ok := c.body(u, e)
					if !ok {
						break
					}
					confirm = append(confirm, m)
				}
				ords = append(ords, f.ord)
				e.state |= entrySettled
			}
			e.holders--
		}
		n = f.n
		if f.lane >= 0 {
			c.freeLane(u, uint8(f.lane))
			f.lane = -1
		}
	}
	if n == 0 {
		return
	}
	p, letGo := c.journal.hold(32 + 10*len(ords))
	defer letGo()
	p.settles = append(p.settles, settle{s, n})
	if len(ords) > 0 {
		c.writeProved(now, p, u, ords, confirm)
	}
}

// writeProved writes that u's messages are proved, and their confirmations, in
// one batch: either both survive or neither.
func (c *core) writeProved(now time.Time, p *pending, u *user, ords []uint64, confirm []messageRecord) {
	c.counts.proved += uint64(len(ords))
	p.buf = appendGone(p.buf, goneProved, u.id, ords)
	for _, ord := range ords {
		e := u.entries.find(ord)
		c.settleEntry(u, e, p)
		u.settled++
		c.dropPassed(u, ord)
	}
	for _, m := range confirm {
		c.notify(now, notice{
			to: wire.UserID(m.from), about: u.id, id: m.id.Derive("confirmation"),
			frame: wire.AppendConfirmation(nil, m.reference),
		})
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

// dropPassed kills a proved entry that no session is still to get.
func (c *core) dropPassed(u *user, ord uint64) {
	e := u.entries.find(ord)
	if e == nil || !e.settled() {
		return
	}
	if u.lanes == nil && slices.ContainsFunc(u.sessions, func(s *session) bool { return s.awaits(ord) }) {
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
