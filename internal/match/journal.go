package match

import (
	"encoding/binary"
	"errors"
	"slices"
)

// A batch of the log begins with the version of this format and the term of its
// owner; then come records, each with its kind first.
const (
	logVersion = 2
	// logNoSessions has no beginnings of sessions; it is read still.
	logNoSessions = 1

	recMatched byte = 1 // a match as it is; once more when it is copied forward
	recLeft    byte = 2 // a member has left, at least two are there
	recEnded   byte = 3
)

var errVersion = errors.New("it is of a newer version")

// journal is what is to be stored, and what the log has.
type journal struct {
	term  uint64
	tune  tuning
	queue []*batch // to be stored, in order; the first may be under way
	away  bool     // it is
	kept  []*batch // stored and not purged, in order
	last  uint64   // the sequence of the last that is stored
	bytes int      // of kept
	live  int      // bytes of the records of live matches, also those to be stored
	dead  int      // bytes at the head, before kept, that are to be purged
	below uint64   // the log may forget what is before; 0 for nothing new
}

// batch is one batch.
type batch struct {
	buf     []byte // nil when it is stored
	size    int
	seq     uint64
	matches []*match // of which it has, or had, the record
	alive   int      // how many of these need it
	frees   []*batch // which one match less needs when this one is stored
	tells   tells    // what is true when it is stored
}

// open returns the batch to which something may be added.
func (j *journal) open() *batch {
	if n := len(j.queue); n > 0 && !(n == 1 && j.away) && len(j.queue[n-1].buf) < j.tune.batch {
		return j.queue[n-1]
	}
	b := &batch{buf: binary.AppendUvarint([]byte{logVersion}, j.term)}
	j.queue = append(j.queue, b)
	return b
}

// takeOver has an owner write its term, so that one before it, if it still lives, sees
// that it is none. A log that is empty is nobody's.
func (j *journal) takeOver() {
	if j.last > 0 {
		j.open()
	}
}

// stored returns where to put what is true when all records are stored that there are
// by now: at once, which is in now, if they are.
func (j *journal) stored(now *tells) *tells {
	if n := len(j.queue); n > 0 {
		return &j.queue[n-1].tells
	}
	return now
}

// matched records a match, anew if it has a record.
func (j *journal) matched(c *core, m *match) {
	b := j.open()
	before := len(b.buf)
	b.buf = append(b.buf, recMatched)
	b.buf = appendText(append(b.buf, m.id[:]...), m.pool.name.App)
	b.buf = appendText(b.buf, m.pool.name.Name)
	b.buf = append(b.buf, flag(m.ambiguous), byte(len(m.members)))
	for _, t := range m.members {
		b.buf = append(b.buf, t.id[:]...)
		b.buf = appendText(appendText(b.buf, t.device), t.node.id)
		b.buf = binary.AppendVarint(b.buf, c.wall(t.at))
		b.buf = binary.AppendVarint(b.buf, c.wall(t.began))
		b.buf = appendProperties(b.buf, t.props)
	}
	j.live -= m.size
	m.size = len(b.buf) - before
	j.live += m.size
	j.settle(b, m)
}

// settle says that the record of a match is in a batch now.
func (j *journal) settle(b *batch, m *match) {
	if m.home != nil {
		b.frees = append(b.frees, m.home)
	}
	m.home = b
	b.matches = append(b.matches, m)
	b.alive++
}

func (j *journal) left(m *match, t *ticket) {
	b := j.open()
	b.buf = append(append(b.buf, recLeft), m.id[:]...)
	b.buf = append(b.buf, t.id[:]...)
}

func (j *journal) ended(m *match) {
	b := j.open()
	b.buf = append(append(b.buf, recEnded), m.id[:]...)
	j.end(b, m)
}

// end says that a batch has the end of a match.
func (j *journal) end(b *batch, m *match) {
	b.frees = append(b.frees, m.home)
	m.home = nil
	j.live -= m.size
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// next returns what is to be appended now, and behind what; nil for nothing.
func (j *journal) next() (last uint64, buf []byte) {
	if len(j.queue) == 0 || j.away {
		return 0, nil
	}
	j.away = true
	return j.last, j.queue[0].buf
}

// landed says that what next returned is stored. It returns what nodes are to be told.
func (c *core) landed(seq uint64) tells {
	j := &c.journal
	b := j.queue[0]
	j.queue[0] = nil
	j.queue, j.away = j.queue[1:], false
	told := b.tells
	b.tells = nil
	j.keep(b, seq)
	j.trim(c)
	return told
}

// again says that it is not stored, and is to be appended again.
func (j *journal) again() { j.away = false }

// keep takes in a batch that is in the log.
func (j *journal) keep(b *batch, seq uint64) {
	if b.buf != nil {
		b.size, b.buf = len(b.buf), nil
	}
	b.seq, j.last = seq, seq
	j.kept = append(j.kept, b)
	j.bytes += b.size
	for _, f := range b.frees {
		f.alive--
	}
	b.frees = nil
}

// trim lets the log forget its head where nothing is alive, and copies forward what is
// alive there when the log has become too long for it. The last batch stays.
func (j *journal) trim(c *core) {
	for len(j.kept) > 1 && j.kept[0].alive == 0 {
		j.dead += j.kept[0].size
		j.bytes -= j.kept[0].size
		j.kept[0] = nil
		j.kept = j.kept[1:]
	}
	if j.dead >= j.tune.trimStep {
		j.purge()
	}
	if j.bytes <= 2*j.live+j.tune.slack || len(j.kept) < 2 {
		return
	}
	size := 0
	for _, b := range j.kept[:len(j.kept)-1] {
		for ; len(b.matches) > 0 && size < j.tune.batch; b.matches = b.matches[1:] {
			if m := b.matches[0]; m.home == b {
				j.matched(c, m)
				size += m.size
			}
		}
		if size >= j.tune.batch {
			return
		}
	}
}

// purge asks for the dead head of the log to be removed.
func (j *journal) purge() {
	if j.dead > 0 && len(j.kept) > 0 {
		j.below, j.dead = j.kept[0].seq, 0
	}
}

// replay takes in a batch of the log. Records of matches that are unknown are of those
// whose beginning is purged already.
func (c *core) replay(seq uint64, buf []byte) error {
	r := reader{b: buf}
	v := r.byte()
	if v != logVersion && v != logNoSessions {
		return errVersion
	}
	c.heard = max(c.heard, r.uvarint())
	b := &batch{size: len(buf)}
	for len(r.b) > 0 && r.err == nil {
		c.replayOne(&r, b, v)
	}
	if r.err == nil {
		c.journal.keep(b, seq)
	}
	return r.err
}

func (c *core) replayOne(r *reader, b *batch, version byte) {
	before := len(r.b)
	switch r.byte() {
	case recMatched:
		c.replayMatched(r, b, version, before)
	case recLeft:
		m, id := c.matches[r.id()], r.id()
		if t := c.tickets[id]; m != nil && t != nil && t.match == m {
			m.members = slices.DeleteFunc(m.members, func(u *ticket) bool { return u == t })
			c.free(t)
		}
	case recEnded:
		if m := c.matches[r.id()]; m != nil {
			c.journal.end(b, m)
			c.replayGone(m)
		}
	default:
		r.fail()
	}
}

func (c *core) replayGone(m *match) {
	for _, t := range m.members {
		c.free(t)
	}
	delete(c.matches, m.id)
}

func (c *core) replayMatched(r *reader, b *batch, version byte, before int) {
	m := &match{id: r.id()}
	name := Pool{App: r.text(), Name: r.text()}
	m.ambiguous = r.byte() == 1
	var members []*ticket
	for range r.byte() {
		t := &ticket{id: r.id(), device: r.text(), node: c.node(r.text()), match: m, seq: c.seq}
		t.at = c.sinceBase(r.varint())
		t.began = t.at // it did so no later
		if version > logNoSessions {
			t.began = c.sinceBase(r.varint())
		}
		t.props = r.properties()
		c.seq++
		members = append(members, t)
	}
	if r.err != nil {
		return
	}
	if old := c.matches[m.id]; old != nil { // copied forward
		m.home, old.home = old.home, nil
		c.journal.live -= old.size
		c.replayGone(old)
	}
	m.pool, m.members, m.size = c.pool(name), members, before-len(r.b)
	c.matches[m.id] = m
	c.journal.live += m.size
	c.journal.settle(b, m)
	for _, t := range members {
		t.pool = m.pool
		c.tickets[t.id] = t
		m.pool.devices[t.device] = t
	}
}
