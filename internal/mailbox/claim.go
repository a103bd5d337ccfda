package mailbox

import (
	"slices"
	"strconv"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Once makes a request of messages one that may be sent again: what was accepted
// of it is not accepted again, for as long as Limits.Keyed says, also by a keeper
// that was killed in between. What was refused is tried again.
type Once struct {
	Key   [16]byte // the request's name, random or a hash: collisions would drop messages
	Print uint32   // of what it asks for: the same name for something else is refused
	Count int      // how many messages it has; each has its Index
}

// CodeKeyReused is the code of a request that has another's key.
const CodeKeyReused = "IDEMPOTENCY_MISMATCH"

// claim is what was accepted of one request.
type claim struct {
	key      [16]byte
	base     wire.ID // of which the messages' IDs are derived
	print    uint32
	expires  uint32 // Unix seconds
	count    int
	accepted []uint64 // a bit for each message
	full     []shortfall
	seq      uint64 // the batch with its record; 0 before there is one
}

// shortfall is an accepted message that some of its receivers had no room for.
type shortfall struct {
	index int
	to    []wire.UserID
}

// claims are the requests that are remembered.
type claims struct {
	byKey map[[16]byte]*claim
	order []*claim // the oldest first; some may have been replaced
	bytes int64    // what cleaning reckons for them, see core.needed
}

// claimBytes is half of what a claim's record has besides its bits, at most.
const claimBytes = 64

func (cl *claim) has(i int) bool { return cl.accepted[i/64]&(1<<(i%64)) != 0 }
func (cl *claim) set(i int)      { cl.accepted[i/64] |= 1 << (i % 64) }

// cost is what cleaning reckons for a claim: half of what its record may have.
func (cl *claim) cost() int64 {
	cost := claimBytes + 5*int64(len(cl.accepted))
	for _, f := range cl.full {
		cost += 8 + 48*int64(len(f.to))
	}
	return cost
}

// missing returns those who had no room for a message that was accepted.
func (cl *claim) missing(i int) []wire.UserID {
	for _, f := range cl.full {
		if f.index == i {
			return f.to
		}
	}
	return nil
}

// fell notes who had no room for a message.
func (cl *claim) fell(i int, to []wire.UserID) {
	cl.full = slices.DeleteFunc(cl.full, func(f shortfall) bool { return f.index == i })
	if len(to) > 0 {
		cl.full = append(cl.full, shortfall{i, to})
	}
}

// complete says whether nothing of message i is left to accept.
func (cl *claim) complete(i int) bool { return cl.has(i) && cl.missing(i) == nil }

// entered is its cost once it is remembered.
func (cl *claim) entered() int64 {
	if cl.seq == 0 {
		return 0
	}
	return cl.cost()
}

func (cl *claim) expired(now time.Time) bool { return int64(cl.expires) <= now.Unix() }

// id returns the ID of the request's message number i.
func (cl *claim) id(i int) wire.ID { return cl.base.Derive(strconv.Itoa(i)) }

// acceptAll takes the messages of one request.
func (c *core) acceptAll(now time.Time, list []*Message, once *Once) {
	if once == nil {
		for _, m := range list {
			c.accept(now, m)
		}
		return
	}
	if c.down {
		for _, m := range list {
			e := c.refusal(0)
			e.To = m.To
			c.refuse(m, e)
		}
		return
	}
	cl := c.claims.byKey[once.Key]
	switch {
	case cl == nil || cl.expired(now):
		cl = &claim{
			key: once.Key, base: c.newID(now), print: once.Print, count: once.Count,
			expires: uint32(now.Add(c.limits.Keyed).Unix()), accepted: make([]uint64, (once.Count+63)/64),
		}
	case cl.print != once.Print || cl.count != once.Count:
		for _, m := range list {
			c.refuse(m, &wire.Error{
				Kind: wire.KindDeliverFailed, Code: CodeKeyReused, To: m.To,
				Reason: "another request was sent with this key; give each request its own",
			})
		}
		return
	}
	for len(list) > 0 {
		list = list[c.acceptSome(now, list, cl):]
	}
}

// acceptSome takes as much of a request as one batch holds with the record that
// says so, and returns how many messages that were.
func (c *core) acceptSome(now time.Time, list []*Message, cl *claim) (n int) {
	size := 0
	for n < len(list) && (n == 0 || size+len(list[n].Frame) <= c.tune.batch) {
		size += len(list[n].Frame) + 64 + 24*len(list[n].To)
		n++
	}
	if !slices.ContainsFunc(list[:n], func(m *Message) bool { return !cl.complete(m.Index) }) {
		for _, m := range list[:n] {
			c.acceptClaimed(now, m, cl)
		}
		return n
	}
	c.journal.hold(size + 256)
	defer c.journal.letGo()
	more := false
	for _, m := range list[:n] {
		more = c.acceptClaimed(now, m, cl) || more
	}
	if more {
		c.writeClaim(cl)
	}
	return n
}

// acceptClaimed takes one message of a request, as far as it was not taken before.
// It says whether anything was accepted now.
func (c *core) acceptClaimed(now time.Time, m *Message, cl *claim) bool {
	switch missing := cl.missing(m.Index); {
	case missing != nil:
		return c.complete(now, m, cl, missing)
	case cl.has(m.Index):
		c.repeat(m, cl)
		return false
	}
	full, ok := c.acceptAs(now, m, cl.id(m.Index))
	if ok {
		cl.set(m.Index)
		c.claims.bytes -= cl.entered()
		cl.fell(m.Index, full)
		c.claims.bytes += cl.entered()
	}
	return ok
}

// complete takes a message that was accepted before for those who had no room
// for it then.
func (c *core) complete(now time.Time, m *Message, cl *claim, missing []wire.UserID) (more bool) {
	to, full := missing, []wire.UserID(nil)
	refusal := c.refusal(len(missing))
	if refusal == nil {
		if to, full = c.admit(missing, len(m.Frame)); len(full) > 0 {
			c.refuseFull(m, full)
		}
	} else {
		refusal.To, refusal.Group, to = missing, m.Group, nil
		c.effects = append(c.effects, effect{kind: effFailed, message: m, failure: refusal})
	}
	if len(to) == 0 {
		c.repeat(m, cl)
		return false
	}
	id := cl.id(m.Index)
	p := c.append(now, c.record(now, m, id, []byte(m.From)), to)
	m.Repeated = true
	p.messages = append(p.messages, accepted{m, id, to, true})
	c.claims.bytes -= cl.entered()
	cl.fell(m.Index, full)
	c.claims.bytes += cl.entered()
	return true
}

// repeat tells the sender of a message that was accepted before that it is
// stored, once that is so.
func (c *core) repeat(m *Message, cl *claim) {
	c.counts.repeated++
	c.tellRepeated(m, cl.id(m.Index))
}

// tellRepeated says that a message is stored that was so before, once what was
// written till now is.
func (c *core) tellRepeated(m *Message, id wire.ID) {
	m.Repeated = true
	if p := c.journal.newest(); p != nil {
		p.messages = append(p.messages, accepted{m, id, m.To, !id.IsZero()})
		p.urgent = true
		return
	}
	c.effects = append(c.effects, effect{kind: effStored, message: m, id: id})
}

// writeClaim writes what was accepted of a request.
func (c *core) writeClaim(cl *claim) {
	p := c.journal.room(2 * int(cl.cost()))
	p.buf = appendClaim(p.buf, cl)
	if cl.seq == 0 {
		c.enterClaim(cl)
	} else {
		p.retire(cl.seq)
	}
	cl.seq = p.seq
	c.journal.alive(p.seq, 1)
}

// enterClaim remembers a request, in the place of the oldest if there are many.
func (c *core) enterClaim(cl *claim) {
	for len(c.claims.byKey) > 0 && len(c.claims.byKey) >= c.limits.KeyedRequests {
		if c.dropClaim() {
			c.counts.forgotten++
		}
	}
	if old := c.claims.byKey[cl.key]; old != nil {
		c.forgetClaim(old)
	}
	c.claims.byKey[cl.key] = cl
	c.claims.order = append(c.claims.order, cl)
	c.claims.bytes += cl.cost()
}

// forgetClaims forgets the requests whose time is over.
func (c *core) forgetClaims(now time.Time) {
	for len(c.claims.order) > 0 && c.claims.order[0].expired(now) {
		c.dropClaim()
	}
}

// dropClaim forgets the oldest request; false when that was replaced before.
func (c *core) dropClaim() bool {
	old := c.claims.order[0]
	c.claims.order = c.claims.order[1:]
	if c.claims.byKey[old.key] != old {
		return false
	}
	c.forgetClaim(old)
	return true
}

// forgetClaim takes a request out of memory. Its record matters no more; a replay
// that finds it all the same remembers the request a little longer.
func (c *core) forgetClaim(cl *claim) {
	c.journal.alive(cl.seq, -1)
	c.claims.bytes -= cl.cost()
	delete(c.claims.byKey, cl.key)
}

func (c *core) replayClaim(seq uint64, body []byte) error {
	cl, err := parseClaim(body)
	if err != nil {
		return err
	}
	if (cl.count+63)/64 != len(cl.accepted) {
		return errShort
	}
	if old := c.claims.byKey[cl.key]; old != nil {
		c.forgetClaim(old)
	}
	cl.seq = seq
	c.claims.byKey[cl.key] = cl
	c.claims.order = append(c.claims.order, cl)
	c.claims.bytes += cl.cost()
	c.journal.alive(seq, 1)
	return nil
}

// sort puts the requests in order after a replay, which finds those that were
// copied forward, or completed, behind newer ones.
func (cs *claims) sort() {
	cs.order = slices.DeleteFunc(cs.order, func(cl *claim) bool { return cs.byKey[cl.key] != cl })
	slices.SortStableFunc(cs.order, func(a, b *claim) int { return int(int64(a.expires) - int64(b.expires)) })
}
