package mailbox

import (
	"container/list"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// producerWindow is how far back it is remembered exactly which messages of a
// producer were accepted. What is older counts as accepted: a message that was
// refused can be sent again until so many later ones were accepted here. It is in
// the log, in each record of a producer.
const producerWindow = wire.SeqWindow

// defaultProducers is Limits.Producers where that is 0. A producer takes some 300
// bytes of memory.
const defaultProducers = 1_000_000

// producer is one sender's outbox. Each shard judges by itself what was accepted
// there; what it never saw, because it was for users of others, counts as not
// accepted.
type producer struct {
	producerName
	top    uint64                      // the highest number that was accepted
	window [producerWindow / 64]uint64 // which were, of the last: bit Seq % producerWindow
	at     uint32                      // when, in Unix seconds

	seq   uint64 // the batch with its record
	off   int    // where in that what changes stands
	place *list.Element
}

type producerName struct {
	from wire.UserID
	name string
}

// producers are those that are remembered, the one that was used longest ago
// first.
type producers struct {
	byName map[producerName]*producer
	order  *list.List
}

func newProducers() producers {
	return producers{byName: make(map[producerName]*producer), order: list.New()}
}

// has says whether a message was accepted, or is so old that it counts as that.
func (p *producer) has(seq uint64) bool {
	switch {
	case seq > p.top:
		return false
	case p.top-seq >= producerWindow:
		return true
	}
	i := seq % producerWindow
	return p.window[i/64]&(1<<(i%64)) != 0
}

// remembers says whether it is known exactly if a message was accepted.
func (p *producer) remembers(seq uint64) bool { return seq > p.top || p.top-seq < producerWindow }

// set notes that a message was accepted.
func (p *producer) set(seq uint64) {
	if !p.remembers(seq) {
		return // its place is a later one's now
	}
	if seq > p.top {
		for n := p.top + 1; n != seq && n-p.top <= producerWindow; n++ {
			p.window[n%producerWindow/64] &^= 1 << (n % 64)
		}
		p.top = seq
	}
	p.window[seq%producerWindow/64] |= 1 << (seq % 64)
}

// cost is what cleaning reckons for a producer: as much as its record has.
func (p *producer) cost() int64 { return int64(len(p.from)+len(p.name)) + 16 + producerState }

// producerState is how many bytes of a producer's record change with each message.
const producerState = 4 + 8 + producerWindow/8

// acceptProduced takes a message of a producer, once.
func (c *core) acceptProduced(now time.Time, m *Message) {
	p := c.producers.byName[producerName{m.From, m.Producer}]
	if p != nil && p.has(m.Seq) && !c.down {
		c.counts.repeated++
		c.tellRepeated(m, wire.ID{})
		return
	}
	if _, ok := c.acceptAs(now, m, wire.ID{}); !ok {
		return
	}
	c.noteProduced(now, m, p)
}

// noteProduced notes that a message was accepted just now; p is nil for the first of
// its outbox.
func (c *core) noteProduced(now time.Time, m *Message, p *producer) {
	if p == nil {
		p = &producer{producerName: producerName{wire.UserID(strings.Clone(string(m.From))), strings.Clone(m.Producer)}}
		c.enterProducer(p)
	}
	c.producers.order.MoveToBack(p.place)
	p.set(m.Seq)
	p.at = uint32(now.Unix())
	c.writeProducer(p)
}

// writeProducer writes what was accepted of a producer, into the batch in which
// the message stands that was accepted just now. A batch has one record of each.
func (c *core) writeProducer(p *producer) {
	b := c.journal.newest()
	if p.seq == b.seq {
		p.putState(b.buf[p.off:p.off:len(b.buf)])
		return
	}
	if p.seq != 0 {
		b.retire(p.seq)
	}
	c.appendProducer(b, p)
}

func (c *core) appendProducer(b *pending, p *producer) {
	b.buf = appendProducer(b.buf, p)
	p.seq = b.seq
	c.journal.alive(b.seq, 1)
}

// appendProducer appends a producer's record, and notes where in it stands what
// changes.
func appendProducer(b []byte, p *producer) []byte {
	size := bytesLen(p.from) + bytesLen(p.name) + producerState
	b, _ = appendRecord(b, recProducer, size, func(b []byte) []byte {
		b = appendBytes(appendBytes(b, p.from), p.name)
		p.off = len(b)
		return p.putState(b)
	})
	return b
}

// putState appends what changes.
func (p *producer) putState(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, p.at)
	b = binary.LittleEndian.AppendUint64(b, p.top)
	for _, word := range p.window {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	return b
}

func parseProducer(body []byte) (*producer, error) {
	r := reader{b: body}
	p := &producer{producerName: producerName{wire.UserID(r.bytes()), string(r.bytes())}}
	state := r.take(producerState)
	if r.err != nil {
		return nil, r.err
	}
	p.at, p.top = binary.LittleEndian.Uint32(state), binary.LittleEndian.Uint64(state[4:])
	for i := range p.window {
		p.window[i] = binary.LittleEndian.Uint64(state[12+8*i:])
	}
	return p, nil
}

// enterProducer remembers a producer, in the place of those that were used longest
// ago if there are many.
func (c *core) enterProducer(p *producer) {
	c.boundProducers(1)
	c.producers.byName[p.producerName] = p
	p.place = c.producers.order.PushBack(p)
	c.marksBytes += p.cost()
}

// boundProducers forgets producers until there is room for so many more.
func (c *core) boundProducers(more int) {
	most := c.limits.Producers
	if most == 0 {
		most = defaultProducers
	}
	for len(c.producers.byName)+more > most && c.producers.order.Len() > 0 {
		c.forgetProducer(c.producers.order.Front().Value.(*producer))
		c.counts.forgottenProducers++
	}
}

// forgetProducer takes a producer out of memory. A replay that finds its record
// all the same remembers it a little longer.
func (c *core) forgetProducer(p *producer) {
	c.journal.alive(p.seq, -1)
	c.marksBytes -= p.cost()
	c.producers.order.Remove(p.place)
	delete(c.producers.byName, p.producerName)
}

func (c *core) replayProducer(seq uint64, body []byte) error {
	p, err := parseProducer(body)
	if err != nil {
		return err
	}
	if old := c.producers.byName[p.producerName]; old != nil {
		c.forgetProducer(old)
	}
	p.seq = seq
	c.producers.byName[p.producerName] = p
	p.place = c.producers.order.PushBack(p)
	c.marksBytes += p.cost()
	c.journal.alive(seq, 1)
	return nil
}

// sort puts the producers in order after a replay, which finds those that were
// copied forward behind newer ones.
func (ps *producers) sort() {
	all := make([]*producer, 0, len(ps.byName))
	for e := ps.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*producer))
	}
	slices.SortStableFunc(all, func(a, b *producer) int { return int(int64(a.at) - int64(b.at)) })
	ps.order.Init()
	for _, p := range all {
		p.place = ps.order.PushBack(p)
	}
}
