package mailbox

import (
	"bytes"
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What the model says about deliveries.

func (m *model) noteHanded(effects []effect) {
	m.handed = make(map[key]bool)
	for _, e := range effects {
		if e.kind == effDeliver {
			m.handed[key{e.outlet.(*client).User, e.delivery.ID}] = true
		}
	}
}

// delivered checks one delivery.
func (m *model) delivered(c *client, d Delivery) {
	x := m.box(c.User).byID(d.ID)
	switch {
	case m.heldUp(c.User):
		m.Fatalf("%s: (p) a delivery to %s, of whose user a session is to be registered anew", m.what, c)
	case !c.open || m.core.down:
		m.Fatalf("%s: a delivery to %s, which is closed, or while the log is down", m.what, c)
	case x == nil || !m.isStored(x):
		m.Fatalf("%s: (a) %s gets a message that is not stored, ID %s", m.what, c, d.ID)
	case !bytes.Equal(d.Frame, x.record.frame):
		m.Fatalf("%s: %s gets message %d as %q, sent was %q", m.what, c, x.ord, d.Frame, x.record.frame)
	case d.N != uint64(len(c.got))+1:
		m.Fatalf("%s: delivery %d to %s follows %d", m.what, d.N, c, len(c.got))
	case c.has(x):
		m.Fatalf("%s: (b) %s gets message %d twice", m.what, c, x.ord)
	case c.onTheWay() >= m.tune.window:
		m.Fatalf("%s: (h) %s gets a message with %d bytes on the way, the window is %d", m.what, c, c.onTheWay(), m.tune.window)
	case m.expired(x):
		m.Fatalf("%s: (n) %s gets message %d, which is expired", m.what, c, x.ord)
	case x.gone != 0 && x.gone != goneProved:
		m.Fatalf("%s: (d) %s gets message %d, which is gone for reason %d", m.what, c, x.ord, x.gone)
	case x.gone == goneProved && c.opened > x.goneStep:
		m.Fatalf("%s: (e) %s gets message %d, proved before it opened", m.what, c, x.ord)
	}
	m.checkLow(c, x, d)
	how := m.manner(c, d.N, x)
	switch shared := m.shared(c.User); {
	case how == fetchedMail:
		m.checkFetched(c, x)
	case how == returnedMail:
		m.checkReturned(c, x)
	case shared:
		m.checkShared(c, x)
	default:
		m.checkLive(c, x)
	}
	m.checkOwed(c, x)
	c.byID[d.ID] = len(c.got)
	c.got = append(c.got, receipt{n: d.N, ord: x.ord, id: d.ID, mail: x, size: x.size(), step: m.step, how: how})
	delete(m.box(c.User).owed, d.ID)
	if !m.shared(c.User) {
		m.unshared[x.key()] = true
	}
}

// shared says whether a user's messages are shared out among its sessions.
func (m *model) shared(user wire.UserID) bool {
	u := m.core.users[user]
	return u != nil && u.lanes != nil
}

// manner says why a session gets a message now.
func (m *model) manner(c *client, n uint64, x *mail) manner {
	s := m.core.sessions[c.ID]
	i := slices.IndexFunc(s.flight, func(f flight) bool { return f.n == n })
	if i < 0 {
		m.Fatalf("%s: delivery %d to %s is not on its way", m.what, n, c)
	}
	if s.flight[i].fetched {
		return fetchedMail
	}
	_, owed := m.box(c.User).owed[x.record.id]
	if m.unread[x.key()] && x.ord < c.liveTo {
		return returnedMail
	}
	if owed && (x.ord < c.liveTo || m.shared(c.User) || x.ord < c.mark && !c.Push) {
		return returnedMail
	}
	return live
}

// excused says whether a session may go without a message that was stored
// while it was to get everything.
func (m *model) excused(c *client, x *mail) bool {
	switch {
	case c.has(x), m.expired(x), m.claimed[x.key()], m.unread[x.key()], m.wasShared[x.key()]:
		return true
	case x.gone != 0 && (c.lost[x.record.id] || x.goneStep <= c.freshTo):
		return true // others had it meanwhile
	case x.gone == 0:
		return m.left[x.key()] // it waits again because the log lost that it was gone
	case x.gone == goneProved:
		return c.opened > x.goneStep || m.core.counts.droppedLag > 0 || m.lostAt > c.opened
	}
	return true
}

// due says whether a session gets a message by itself.
func (c *client) due(x *mail) bool { return c.Push || x.ord >= c.mark }

// checkLive: by itself a session gets everything after its mark, in order,
// without gaps; with push everything.
func (m *model) checkLive(c *client, x *mail) {
	if !c.due(x) {
		m.Fatalf("%s: (c) %s gets message %d unasked, its mark is %d", m.what, c, x.ord, c.mark)
	}
	if x.ord <= c.liveTo {
		m.Fatalf("%s: (c) %s gets message %d after %d", m.what, c, x.ord, c.liveTo)
	}
	for _, y := range m.box(c.User).mails {
		if y.ord > c.liveTo && y.ord < x.ord && c.due(y) && !m.excused(c, y) {
			m.Fatalf("%s: (c) %s gets message %d, but did not get %d", m.what, c, x.ord, y.ord)
		}
	}
	for _, other := range m.of(c.User) {
		if other.has(x) && other.receipt(x).how == fetchedMail && x.gone == 0 {
			m.Fatalf("%s: (i) %s gets message %d, which %s fetched", m.what, c, x.ord, other)
		}
	}
	c.liveTo = x.ord
}

// checkFetched: a fetch brings what was missed and nobody has, oldest first.
func (m *model) checkFetched(c *client, x *mail) {
	switch {
	case len(c.wanted) == 0 || c.fetchN == c.wanted[0]:
		m.Fatalf("%s: (i) %s gets message %d by a fetch, but wants none", m.what, c, x.ord)
	case x.ord <= c.fetchTo:
		m.Fatalf("%s: (i) a fetch of %s brings message %d after %d", m.what, c, x.ord, c.fetchTo)
	case !m.canFetch(c, x):
		m.Fatalf("%s: (i) %s fetches message %d, which it cannot", m.what, c, x.ord)
	}
	for _, y := range m.box(c.User).mails {
		if y.ord > c.fetchTo && y.ord < x.ord && m.canFetch(c, y) {
			m.Fatalf("%s: (i) a fetch of %s brings message %d before %d", m.what, c, x.ord, y.ord)
		}
	}
	c.fetchTo = x.ord
	c.fetchN++
	m.claimed[x.key()] = true
}

func (m *model) canFetch(c *client, x *mail) bool {
	return x.gone == 0 && m.isStored(x) && x.ord < c.mark && !m.expired(x) && m.held(x) == nil && !m.unreadNow(x)
}

// fetchable returns, for every client that fetches, what it would find.
func (m *model) fetchable() map[*client]int {
	left := make(map[*client]int)
	for _, c := range m.clients {
		if len(c.wanted) == 0 {
			continue
		}
		for _, x := range m.box(c.User).mails {
			if m.canFetch(c, x) {
				left[c]++
			}
		}
	}
	return left
}

// fetched checks the end of a fetch. before is what it would have found before
// this event; other parts of the event may have changed that before or after
// the core counted.
func (m *model) fetched(c *client, left int, before map[*client]int) {
	if len(c.wanted) == 0 {
		m.Fatalf("%s: (i) a fetch of %s ends that did not begin", m.what, c)
	}
	now := m.fetchable()[c]
	if lo, hi := min(now, before[c]), max(now, before[c]); left < lo || left > hi {
		m.Fatalf("%s: (i) %s hears that %d are left, the model says %d", m.what, c, left, now)
	}
	if c.fetchN < c.wanted[0] {
		for _, x := range m.box(c.User).mails {
			if x.ord > c.fetchTo && m.canFetch(c, x) {
				m.Fatalf("%s: (i) a fetch of %s ends after %d of %d and leaves message %d", m.what, c, c.fetchN, c.wanted[0], x.ord)
			}
		}
	}
	c.wanted = c.wanted[1:]
	c.fetchN, c.fetchTo = 0, 0
}

// settled checks that proofs are in the log.
func (m *model) settled(c *client, n uint64) {
	if c.Each {
		r := c.got[n-1]
		x := m.box(c.User).byID(r.id)
		if !c.each[r.id] || x.gone == 0 || x.goneSeq > m.log.last() {
			m.Fatalf("%s: (e) the proof of message %d is not in the log, or nobody proved it, but settled", m.what, x.ord)
		}
		return
	}
	if n > c.proved {
		m.Fatalf("%s: proofs up to %d are settled, %s proved up to %d", m.what, n, c, c.proved)
	}
	c.done = max(c.done, n)
	for _, r := range c.got[:n] {
		x := m.box(c.User).byID(r.id)
		if x.gone == 0 || x.goneSeq > m.log.last() {
			m.Fatalf("%s: (e) the proof of message %d is not in the log, but settled", m.what, x.ord)
		}
	}
}

// giveBack notes what a session that ends did not prove, and others are to get.
func (m *model) giveBack(c *client) {
	b := m.box(c.User)
	if len(m.of(c.User)) == 0 {
		clear(b.owed)
		return
	}
	for id := range b.owed {
		b.owed[id] = m.step // its heir may have been c
	}
	for _, r := range c.got {
		x := b.byID(r.id)
		if x == nil || x.gone != 0 || m.held(x) != nil || m.byItself(x) {
			continue
		}
		if r.n <= c.proved && m.tookProof(c, r.n) {
			continue // it was proved, but the log lost that
		}
		if m.core.down && !m.believed(x) {
			continue // the core, which does not know yet what the log lost, takes it for gone
		}
		b.owed[r.id] = m.step
		delete(b.again, r.id)
	}
}

// believed says whether the core takes a message for waiting.
func (m *model) believed(x *mail) bool {
	u := m.core.users[x.user]
	if u == nil {
		return false
	}
	e := u.entries.find(x.ord)
	return e != nil && e.waits()
}

// tookProof says whether the core knows that a delivery was proved; it may
// still have to read the message, to confirm it.
func (m *model) tookProof(c *client, n uint64) bool {
	s := m.core.sessions[c.ID]
	return !slices.ContainsFunc(s.flight[s.proved:], func(f flight) bool { return f.n == n })
}

// waitsAgain notes what a session passed over, or another that is closed had
// proved, and what waits again because the log lost that.
func (m *model) waitsAgain(old *core) {
	for _, b := range m.boxes {
		for _, x := range b.waiting() {
			if m.isStored(x) && m.held(x) == nil && m.wentOver(old, x) {
				b.owed[x.record.id] = m.step
				b.again[x.record.id] = true
			}
		}
	}
}

// wentOver says whether the sessions that were to get a message have all gone
// past it.
func (m *model) wentOver(old *core, x *mail) bool {
	due, past := 0, 0
	for _, c := range m.of(x.user) {
		if !c.due(x) || old.sessions[c.ID] == nil {
			continue
		}
		due++
		if old.sessions[c.ID].cursor > x.ord {
			past++
		}
	}
	if u := old.users[x.user]; u != nil && u.lanes != nil {
		return past > 0 && x.ord >= u.lanes.mark
	}
	return due > 0 && past == due
}

// byItself says whether some session is still to come to a message.
func (m *model) byItself(x *mail) bool {
	if m.shared(x.user) {
		return false
	}
	return slices.ContainsFunc(m.of(x.user), func(c *client) bool {
		s := m.core.sessions[c.ID]
		return s != nil && s.cursor <= x.ord
	})
}

// checkReturned: what was given back comes before anything later.
func (m *model) checkReturned(c *client, x *mail) {
	if other := m.held(x); other != nil {
		m.Fatalf("%s: (c) %s gets message %d back, which %s has", m.what, c, x.ord, other)
	}
	if m.shared(c.User) {
		m.checkTurn(c, x)
		return
	}
	if m.box(c.User).again[x.record.id] || m.unread[x.key()] {
		return
	}
	since := m.box(c.User).owed[x.record.id]
	for _, r := range c.got {
		if r.step >= since && (r.ord > x.ord || r.how != returnedMail) {
			m.Fatalf("%s: (c) %s gets message %d back, but got %d before, %s", m.what, c, x.ord, r.ord, r.how)
		}
	}
}

// checkOwed: the only session of a user gets first what was given back.
func (m *model) checkOwed(c *client, x *mail) {
	if len(m.of(c.User)) > 1 {
		return
	}
	b := m.box(c.User)
	for _, y := range b.mails {
		_, owed := b.owed[y.record.id]
		if m.wasMoved() && !c.due(y) {
			continue // it may be what was missed by now
		}
		if owed && !b.again[y.record.id] && !m.unread[y.key()] && y.ord < x.ord && y.gone == 0 && !m.expired(y) && m.held(y) == nil {
			m.Fatalf("%s: (c) %s gets message %d, but %d was given back", m.what, c, x.ord, y.ord)
		}
	}
}

// checkShared: each message of a shared mailbox goes to one session, and those
// of one sender are on their way to one session at a time.
func (m *model) checkShared(c *client, x *mail) {
	if other := m.held(x); other != nil {
		m.Fatalf("%s: (c) message %d goes to %s, but %s has it", m.what, x.ord, c, other)
	}
	if x.gone != 0 {
		m.Fatalf("%s: (c) message %d goes to %s, but was proved", m.what, x.ord, c)
	}
	if !c.due(x) {
		m.Fatalf("%s: (c) %s gets message %d unasked, its mark is %d", m.what, c, x.ord, c.mark)
	}
	m.checkTurn(c, x)
	c.liveTo = max(c.liveTo, x.ord)
}

// checkTurn: a sender's live messages to a shared mailbox keep their order over
// all its sessions.
func (m *model) checkTurn(c *client, x *mail) {
	if x.ord < c.mark || m.left[x.key()] || m.unshared[x.key()] || m.unread[x.key()] {
		return // missed; or it waits again because the log lost that it was gone
	}
	for _, y := range m.box(c.User).mails {
		if y.ord < c.mark || y.gone != 0 || !m.isStored(y) || m.expired(y) || !bytes.Equal(y.record.from, x.record.from) {
			continue
		}
		holder := m.held(y)
		if holder != nil && holder.provedByClient(y) {
			continue // only its confirmation has to be written yet
		}
		if m.unshared[y.key()] || m.unread[y.key()] {
			continue // handed out before the messages were shared out; or out of turn
		}
		switch {
		case y.ord < x.ord && holder == nil:
			m.Fatalf("%s: (c) %s gets message %d, nobody has %d of the same sender", m.what, c, x.ord, y.ord)
		case y.ord < x.ord && holder != c:
			m.Fatalf("%s: (c) %s gets message %d, %s still has %d of the same sender", m.what, c, x.ord, holder, y.ord)
		case y.ord > x.ord && holder != nil:
			m.Fatalf("%s: (c) %s gets message %d, %s has a later one of the same sender, %d", m.what, c, x.ord, holder, y.ord)
		}
	}
}

// checkMark says whether a new session's mark is right: at the oldest message
// that is on its way to another session by itself, or about to be; else at the
// end of what is stored.
func (m *model) checkMark(c *client, others []*client) {
	if m.core.down || m.core.held || m.heldUp(c.User) {
		return // it does not know what is stored, or who else is there
	}
	if m.shared(c.User) {
		if u := m.core.users[c.User]; c.mark != u.lanes.mark {
			m.Fatalf("%s: (c) the mark of %s is %d, the user's %d", m.what, c, c.mark, u.lanes.mark)
		}
		if len(others) > 0 {
			return
		}
	}
	passed := false
	for _, x := range m.box(c.User).mails {
		if !m.isStored(x) || x.gone != 0 || m.expired(x) || m.unread[x.key()] {
			continue
		}
		for _, other := range others {
			if other.has(x) && other.receipt(x).how != fetchedMail && x.ord >= other.mark {
				passed = true
			}
			if !other.has(x) && x.ord >= other.mark && !m.claimed[x.key()] {
				passed = true
			}
		}
		if (x.ord >= c.mark) != passed {
			m.Fatalf("%s: (c) the mark of %s is %d, and message %d is on the way or is not: %t", m.what, c, c.mark, x.ord, passed)
		}
	}
}
