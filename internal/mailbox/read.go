package mailbox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// readAgain is how long a batch that could not be read is left alone.
const readAgain = time.Minute

// freshFor is how long a batch stays in memory: long enough for those who are
// there to get what is in it, and for the bodies that a fetch wants one after the
// other. After that its messages cost what the index needs.
const freshFor = 2 * time.Second

// cache holds the batches that were stored or read last.
type cache struct {
	batches map[uint64][]byte
	order   []cached
	bytes   int
	limit   int
	waiting map[uint64][]*user // who wait for a batch that is being read; nil user: cleaning
	unread  map[uint64]unread  // what could not be read
}

// unread is a batch that could not be read.
type unread struct {
	until time.Time // when it is tried again
	users []*user   // who waited for it; nil user: cleaning
}

// cached is a batch in memory.
type cached struct {
	seq   uint64
	until time.Time
}

func newCache(limit int) cache {
	return cache{limit: limit, batches: make(map[uint64][]byte), waiting: make(map[uint64][]*user), unread: make(map[uint64]unread)}
}

func (h *cache) put(now time.Time, seq uint64, batch []byte) {
	if _, there := h.batches[seq]; there {
		return
	}
	h.batches[seq] = batch
	h.order = append(h.order, cached{seq, now.Add(freshFor)})
	h.bytes += len(batch)
	for h.bytes > h.limit && len(h.order) > 1 {
		h.drop()
	}
}

// expire lets go what is not fresh any more.
func (h *cache) expire(now time.Time) {
	for len(h.order) > 0 && !now.Before(h.order[0].until) {
		h.drop()
	}
	if len(h.order) == 0 {
		h.order = nil
	}
}

// drop lets the oldest batch go.
func (h *cache) drop() {
	seq := h.order[0].seq
	h.bytes -= len(h.batches[seq])
	delete(h.batches, seq)
	h.order = h.order[1:]
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
	return parseMessage(batch[off:], nil)
}

// want has a batch read for a user, or for cleaning when u is nil.
func (c *core) want(seq uint64, u *user) {
	if bad, there := c.cache.unread[seq]; there {
		bad.users = appendOnce(bad.users, u)
		c.cache.unread[seq] = bad
		return
	}
	list, asked := c.cache.waiting[seq]
	if !asked {
		c.reads = append(c.reads, seq)
	}
	c.cache.waiting[seq] = appendOnce(list, u)
}

func appendOnce(list []*user, u *user) []*user {
	if slices.Contains(list, u) {
		return list
	}
	return append(list, u)
}

// loaded brings a batch that was asked for in reads; nil when the log no
// longer has it.
func (c *core) loaded(now time.Time, seq uint64, batch []byte) {
	waiting := c.cache.waiting[seq]
	delete(c.cache.waiting, seq)
	if batch != nil {
		c.cache.put(now, seq, batch)
	}
	for _, u := range waiting {
		switch {
		case u == nil && batch == nil:
			c.lostAll(seq)
			c.clean()
		case u == nil:
			c.clean()
		case batch == nil:
			c.lost(u, seq)
			c.resume(now, u)
		default:
			c.resume(now, u)
		}
	}
}

// resume goes on with a user for whom something was read, or could not be.
func (c *core) resume(now time.Time, u *user) {
	if !c.held {
		c.expireUser(now, u)
		c.reportLate(now, u)
	}
	c.pumpUser(now, u)
	c.release(u)
}

// lost drops what the index believes to be in a batch that the log has no more.
// For proved messages, kept for a lagging session, that is how it goes. Others
// should never be lost; that they are is written, so that the log moves on.
func (c *core) lost(u *user, seq uint64) {
	var ords []uint64
	for i := range u.entries.list {
		if e := &u.entries.list[i]; e.waits() && e.seq == seq {
			ords = append(ords, e.ord)
		}
	}
	if len(ords) > 0 {
		c.counts.lost += uint64(len(ords))
		c.gone(u, goneLost, ords...)
	}
	c.forgetSettled(u, seq)
}

// forgetSettled drops proved messages whose batch cannot be read any more.
func (c *core) forgetSettled(u *user, seq uint64) {
	for _, ord := range u.settledFrom(0) {
		if e := u.entries.find(ord); e.seq == seq {
			c.counts.droppedLag++
			u.settled--
			u.entries.kill(e)
		}
	}
}

// lostAll drops a batch that the log has no more, though something of it
// matters.
func (c *core) lostAll(seq uint64) {
	for _, u := range c.users {
		c.lost(u, seq)
		c.release(u)
	}
	for _, s := range c.sessions {
		if s.seq == seq {
			c.copySession(s)
		}
	}
	for id, old := range c.stale {
		if old.seq == seq {
			c.copyStale(id, old)
		}
	}
	for _, cl := range c.claims.byKey {
		if cl.seq == seq {
			c.writeClaim(cl)
		}
	}
	for _, s := range c.sources {
		if s.seq == seq {
			c.copySource(s)
		}
	}
	for _, p := range c.producers.byName {
		if p.seq == seq {
			c.copyProducer(p)
		}
	}
	c.copying = seq
}

// unreadable says that a batch that was asked for in reads cannot be read now.
// What waits in it is passed over for a while.
func (c *core) unreadable(now time.Time, seq uint64) {
	waiting := c.cache.waiting[seq]
	delete(c.cache.waiting, seq)
	c.cache.unread[seq] = unread{now.Add(readAgain), waiting}
	for _, u := range waiting {
		if u != nil {
			c.forgetSettled(u, seq)
			c.resume(now, u)
		}
	}
}

// unread says whether an entry's batch could not be read lately. If so, its user
// gets another chance when the batch is tried again.
func (c *core) unread(u *user, e *entry) bool {
	if len(c.cache.unread) == 0 {
		return false
	}
	_, bad := c.cache.unread[e.seq]
	if bad {
		c.want(e.seq, u)
	}
	return bad
}

// retryReads tries again what could not be read a while ago.
func (c *core) retryReads(now time.Time) {
	for _, seq := range slices.Sorted(maps.Keys(c.cache.unread)) {
		bad := c.cache.unread[seq]
		if now.Before(bad.until) {
			continue
		}
		delete(c.cache.unread, seq)
		for _, u := range bad.users {
			if u == nil {
				continue // clean asks again itself
			}
			if u = c.users[u.id]; u == nil {
				continue
			}
			c.passedOver(u, func(e *entry) bool { return e.seq == seq })
			c.resume(now, u)
		}
	}
}
