package mailbox

import (
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// spot is one waiting message as somebody looks at it: where it stands, and what
// it says, if that is in memory.
type spot struct {
	ord, seq uint64
	off      uint32
	expires  uint32
	flags    messageFlags

	read  bool    // what follows is known
	id    wire.ID // the message's
	frame []byte  // belongs to who looks, like the rest

	from, reference []byte
}

// spot describes an entry. What is still being written has to be copied: its
// batch may be moved in memory.
func (c *core) spot(e *entry) spot {
	s := spot{ord: e.ord, seq: e.seq, off: e.off, expires: e.expires, flags: e.flags}
	if batch := c.journal.pending(e.seq); batch != nil {
		s.take(batch)
		s.own()
	} else if batch := c.cache.batches[e.seq]; batch != nil {
		s.take(batch)
	}
	return s
}

// take reads the message out of its batch, and says whether it is there.
func (s *spot) take(batch []byte) bool {
	m, err := messageAt(batch, s.off)
	if err != nil || m.ord != s.ord {
		return false
	}
	s.read, s.id, s.frame = true, m.id, m.frame
	s.from, s.reference = m.from, m.reference
	return true
}

// own makes its bytes its own.
func (s *spot) own() {
	s.frame, s.from = slices.Clone(s.frame), slices.Clone(s.from)
	if len(s.reference) > 0 {
		s.reference = slices.Clone(s.reference)
	} else {
		s.reference = nil
	}
}

// page is some of what waits in a mailbox, in order.
type page struct {
	spots []spot
	more  bool // waits behind them
	now   time.Time
	age   time.Duration // the limit of the mailbox
}

// accepted returns when a message was accepted, as its ID says. That of a notice
// belongs to what it tells of, which may have been long before: it was accepted
// when it would expire, less the time that it has.
func (p *page) accepted(s *spot) time.Time {
	at := s.id.Time()
	if s.flags&flagNotice == 0 || s.expires == 0 {
		return at
	}
	t := time.Unix(int64(s.expires)-1, 0).Add(-p.age)
	if t.After(p.now) { // the limit has been changed since
		t = p.now
	}
	if t.After(at) {
		return t.UTC()
	}
	return at
}

// look returns what waits for a user behind the place after and has not expired:
// at most limit messages, and at most size bytes of their frames, but one at
// least. What is not stored yet does not wait.
func (c *core) look(now time.Time, user wire.UserID, after uint64, limit, size int) page {
	return c.lookFor(now, user, after, limit, size, (*entry).waits)
}

// lookFor is look for those that are of a kind.
func (c *core) lookFor(now time.Time, user wire.UserID, after uint64, limit, size int, which func(*entry) bool) page {
	p := page{now: now, age: c.limits.Age}
	u := c.users[user]
	if u == nil {
		return p
	}
	list := u.entries.list
	for i := u.entries.at(after); i < len(list) && c.journal.holds(list[i].ord); i++ {
		e := &list[i]
		if e.ord == after || !e.waits() || !which(e) || c.expired(now, e) {
			continue
		}
		if size -= int(e.size); len(p.spots) == limit || size < 0 && len(p.spots) > 0 {
			p.more = true
			break
		}
		p.spots = append(p.spots, c.spot(e))
	}
	return p
}

// lookAgain returns where messages are now that could not be found; those that
// wait no longer are left out.
func (c *core) lookAgain(user wire.UserID, lost []spot) []spot {
	u := c.users[user]
	if u == nil {
		return nil
	}
	var found []spot
	for i := range lost {
		if e := u.entries.find(lost[i].ord); e != nil && e.waits() {
			found = append(found, c.spot(e))
		}
	}
	return found
}

// measured is what is stored for a user, the oldest of it in a page.
type measured struct {
	Mailbox
	oldest page
}

func (c *core) measure(now time.Time, user wire.UserID) measured {
	m := measured{oldest: page{now: now, age: c.limits.Age}}
	m.Dropped = c.dropped[user]
	u := c.users[user]
	if u == nil {
		return m
	}
	m.Messages, m.Bytes = u.waiting, u.bytes
	list := u.entries.list
	stored := u.entries.at(c.journal.storedOrd)
	for i := stored; i < len(list); i++ {
		if list[i].waits() {
			m.Messages--
			m.Bytes -= int64(list[i].size)
		}
	}
	for i := range list[:stored] {
		if list[i].waits() {
			m.oldest.spots = []spot{c.spot(&list[i])}
			break
		}
	}
	return m
}

// clear takes everything out of a mailbox that is stored and on its way to no
// session, and returns how much that was. receipt is answered like a message,
// once that is stored, if waits is true.
func (c *core) clear(user wire.UserID, receipt *Message) (removed int, waits bool) {
	if u := c.users[user]; u != nil {
		var ords []uint64
		for i := range u.entries.list {
			if e := &u.entries.list[i]; e.waits() && e.holders == 0 && c.journal.holds(e.ord) {
				ords = append(ords, e.ord)
			}
		}
		removed = len(ords)
		for part := range slices.Chunk(ords, max(c.tune.batch/goneSize, 1)) {
			c.gone(u, goneCleared, part...)
		}
		c.counts.cleared += uint64(removed)
		c.release(u)
	}
	return removed, c.answerAfter(receipt)
}

// answerAfter has a receipt answered once what was written till now is stored, also
// by earlier calls, and says whether there is anything to wait for.
func (c *core) answerAfter(receipt *Message) bool {
	p := c.journal.newest()
	if p == nil {
		return false
	}
	p.messages = append(p.messages, accepted{message: receipt, keyed: true})
	p.urgent = true
	return true
}

// goneSize is how many bytes the mention of a message that is gone takes, at
// most.
const goneSize = 10
