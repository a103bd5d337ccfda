package mailbox

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// expire removes what has waited too long.
func (c *core) expire(now time.Time) {
	for len(c.due) > 0 && int64(c.due[0].expires) <= now.Unix() {
		u := c.due[0]
		c.expireUser(now, u)
		c.release(u)
	}
}

// expireReads is how many messages of one user may wait to be read so that their
// senders can be told; the others wait for these.
const expireReads = 64

// expireUser removes what has waited too long in one mailbox, and tells the
// senders. What is on its way is left until it is proved or comes back.
func (c *core) expireUser(now time.Time, u *user) {
	if !u.expiring && (u.expires == 0 || int64(u.expires) > now.Unix()) {
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
	for _, m := range told {
		c.tellExpired(now, u, m)
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
					size += noticeSize + len(m.reference)
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
	c.due.set(u, next)
	return ords, told, size
}

func (c *core) tellExpired(now time.Time, u *user, m messageRecord) {
	e := &wire.Error{
		Kind: wire.KindDeliverFailed, Code: wire.CodeExpired,
		Reason: fmt.Sprintf("%s did not receive the message in its time", u.id),
		To:     []wire.UserID{u.id}, Group: m.flags&flagGroup != 0,
	}
	c.notify(now, notice{
		to: wire.UserID(m.from), about: u.id, id: m.id.Derive("expired " + string(u.id)),
		frame: wire.AppendFailure(nil, e, m.reference),
	})
}

// dueHeap orders users by the next expiry in their mailbox.
type dueHeap []*user

// add lowers a user's next expiry to t.
func (h *dueHeap) add(u *user, t uint32) {
	if t != 0 && (u.expires == 0 || t < u.expires) {
		h.set(u, t)
	}
}

// set makes t a user's next expiry; 0 for none.
func (h *dueHeap) set(u *user, t uint32) {
	u.expires = t
	switch {
	case t == 0:
		h.remove(u)
	case u.heapAt < 0:
		heap.Push(h, u)
	default:
		heap.Fix(h, u.heapAt)
	}
}

func (h *dueHeap) remove(u *user) {
	u.expires = 0
	if u.heapAt >= 0 {
		heap.Remove(h, u.heapAt)
	}
}

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].expires < h[j].expires }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	u := x.(*user)
	u.heapAt = len(*h)
	*h = append(*h, u)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	u := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	u.heapAt = -1
	return u
}
