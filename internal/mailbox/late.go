package mailbox

import (
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// lateReads is how many of one user's messages may wait to be read so that
// subscribers can be told that they are late.
const lateReads = 64

// lateAt returns when a message that was accepted at some time is late, in Unix
// seconds, rounded up.
func (c *core) lateAt(accepted time.Time) uint32 {
	return uint32(accepted.Add(c.limits.Undelivered + time.Second - 1).Unix())
}

// reportLate tells subscribers of the messages in one mailbox that have waited
// for long, of each once.
func (c *core) reportLate(now time.Time, u *user) {
	if !u.telling && !u.late.passed(now) {
		return
	}
	for c.reportSomeLate(now, u) {
	}
}

// reportSomeLate tells of as much as one batch holds, and says whether there is
// more.
func (c *core) reportSomeLate(now time.Time, u *user) (more bool) {
	ords, late, size := c.lateIn(now, u)
	if len(ords) == 0 {
		return false
	}
	p := c.journal.hold(32 + 10*len(ords) + size)
	defer c.journal.letGo()
	p.buf = appendReported(p.buf, u.id, ords)
	c.counts.undelivered += uint64(len(ords))
	for i, ord := range ords {
		u.entries.find(ord).flags &^= flagLate
		c.reportMessage(now, eventUndelivered, &late[i], u.id)
	}
	return size > c.tune.batch
}

// lateIn returns what is late in one mailbox and was not told, as much as one
// batch holds, and about how many bytes that takes there. It looks again when
// the next message is late, when one that it needs has been read, or a second
// later for the rest.
func (c *core) lateIn(now time.Time, u *user) (ords []uint64, late []messageRecord, size int) {
	next, reading := uint32(0), 0
	for i := range u.entries.list {
		e := &u.entries.list[i]
		if !e.waits() || e.flags&flagLate == 0 {
			continue
		}
		if next = uint32(now.Unix()) + 1; len(ords) == c.tune.expire || size > c.tune.batch || reading == lateReads || !c.journal.holds(e.ord) {
			break
		}
		m, ok := c.body(u, e)
		if !ok {
			reading++
			continue
		}
		if at := c.lateAt(m.id.Time()); int64(at) > now.Unix() {
			if reading == 0 {
				next = at
			}
			break // so are those after it
		}
		ords, late = append(ords, e.ord), append(late, m)
		size += c.noticeBytes(&m)
		next = 0
	}
	if u.telling = reading > 0; u.telling && next == 0 {
		next = uint32(now.Unix()) + 1
	}
	c.due.set(&u.late, next)
	return ords, late, size
}

// replayReported takes out of memory that subscribers are to hear of a message.
func (c *core) replayReported(user []byte, ord uint64) {
	if u := c.users[wire.UserID(user)]; u != nil {
		if _, e := c.behind.find(u, ord); e != nil {
			e.flags &^= flagLate
		}
	}
}
