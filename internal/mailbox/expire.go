package mailbox

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// runDue does in mailboxes what is due by time.
func (c *core) runDue(now time.Time) {
	for len(c.due) > 0 && int64(c.due[0].at) <= now.Unix() {
		d := c.due[0]
		u := d.user
		if d == &u.expiry {
			c.expireUser(now, u)
		} else {
			c.reportLate(now, u)
		}
		c.release(u)
	}
}

// expireReads is how many messages of one user may wait to be read so that their
// senders can be told; the others wait for these.
const expireReads = 64

// expireUser removes what has waited too long in one mailbox, and tells the
// senders. What is on its way is left until it is proved or comes back.
func (c *core) expireUser(now time.Time, u *user) {
	if !u.expiring && !u.expiry.passed(now) {
		return
	}
	for c.expireSome(now, u) {
	}
}

// expireSome removes as much as one batch holds with what senders are told, and
// says whether there is more.
func (c *core) expireSome(now time.Time, u *user) (more bool) {
	ords, told, size := c.overdue(now, u)
	if len(ords) == 0 {
		return false
	}
	c.journal.hold(32 + 10*len(ords) + size)
	defer c.journal.letGo()
	c.gone(u, goneExpired, ords...)
	c.counts.expired += uint64(len(ords))
	for i := range told {
		c.tellExpired(now, u, &told[i])
	}
	return size > c.tune.batch
}

// noticeSize is what a notice to a sender has in a batch besides the reference
// that it repeats, at most.
const noticeSize = 600

// overdue returns what can be removed now and told in one batch, of that what
// senders are told of, and about how many bytes that takes. It looks at the
// mailbox again a second later for the rest, or when a message that it needs has
// been read.
func (c *core) overdue(now time.Time, u *user) (ords []uint64, told []messageRecord, size int) {
	next, reading := uint32(0), 0
	for i := range u.entries.list {
		e := &u.entries.list[i]
		if !e.waits() || e.expires == 0 {
			continue
		}
		at := e.expires
		if c.expired(now, e) {
			at = uint32(now.Unix()) + 1
			if len(ords) < c.tune.expire && e.holders == 0 && c.journal.holds(e.ord) && reading < expireReads && size <= c.tune.batch {
				if e.flags&flagNotice != 0 {
					ords = append(ords, e.ord)
					continue
				}
				if m, ok := c.body(u, e); ok {
					ords, told = append(ords, e.ord), append(told, m)
					size += c.noticeBytes(&m)
					if u.link != nil {
						size += len(m.frame) // the receivers stand in it
					}
					continue
				}
				reading++
			}
		}
		if next == 0 || at < next {
			next = at
		}
	}
	u.expiring = reading > 0
	c.due.set(&u.expiry, next)
	return ords, told, size
}

func (c *core) tellExpired(now time.Time, u *user, m *messageRecord) {
	to := []wire.UserID{u.id}
	if u.relay || u.link != nil {
		to = c.receiversIn(u.id, m.frame)
	}
	c.tellUndeliverable(now, m, to, wire.CodeExpired, "expired "+string(to[0]),
		fmt.Sprintf("%s did not receive the message in its time", names(to)))
}

// due is when something is to be done in a user's mailbox.
type due struct {
	user  *user
	at    uint32 // Unix seconds; 0 for never
	place int    // in the heap, -1 when not there
}

// passed says whether it is time.
func (d *due) passed(now time.Time) bool { return d.at != 0 && int64(d.at) <= now.Unix() }

// dueHeap orders what is to be done by its time.
type dueHeap []*due

// add brings a time forward to t.
func (h *dueHeap) add(d *due, t uint32) {
	if t != 0 && (d.at == 0 || t < d.at) {
		h.set(d, t)
	}
}

// set makes t the time; 0 for never.
func (h *dueHeap) set(d *due, t uint32) {
	d.at = t
	switch {
	case t == 0:
		h.remove(d)
	case d.place < 0:
		heap.Push(h, d)
	default:
		heap.Fix(h, d.place)
	}
}

func (h *dueHeap) remove(d *due) {
	d.at = 0
	if d.place >= 0 {
		heap.Remove(h, d.place)
	}
}

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	d := x.(*due)
	d.place = len(*h)
	*h = append(*h, d)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	d.place = -1
	return d
}
