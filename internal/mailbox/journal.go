package mailbox

import (
	"fmt"
	"slices"
)

// journal is the core's view of its log: what is stored, what is about to be,
// and how much of each batch still matters.
type journal struct {
	target  int    // bytes at which a batch is full
	scratch []byte // room for the next batch to be collected in

	first uint64    // the oldest batch that matters; segs[0]
	last  uint64    // the newest stored batch
	segs  []segment // from first on, those about to be stored included

	nextOrd   uint64     // the next message's place in the shard's order
	storedOrd uint64     // every message before it is stored
	held      *pending   // takes every record until it is let go
	queue     []*pending // about to be stored, in order; the first may be in flight
	inFlight  bool

	bytes         int64  // of stored batches from first on
	trimmedBytes  int64  // of batches that first has passed, ever
	storedTrim    uint64 // the trim of the last stored batch
	storedTrimmed int64  // trimmedBytes as it was written
	purgedBytes   int64  // of those, how many a purge was asked for
}

// segment is one batch.
type segment struct {
	live  int32 // messages that wait and sessions that are open in it
	bytes int32
}

// pending is a batch that is being collected or stored.
type pending struct {
	seq      uint64
	buf      []byte
	ord      uint64 // messages before it are stored once this batch is
	trimmed  int64  // journal.trimmedBytes as its trim was written
	trim     uint64
	count    int        // messages in it
	urgent   bool       // somebody waits for more in it than that proofs are safe
	users    []*user    // who have new messages in it
	messages []accepted // whose senders want to know
	settles  []settle
	forwards []answered
	retired  []uint64 // for each record elsewhere that this batch makes worthless, its batch
}

// settle is a proof that this batch makes durable.
type settle struct {
	session *session
	n       uint64
}

// start says where the log stands after a replay.
func (j *journal) start(last, ord uint64) {
	j.last, j.nextOrd, j.storedOrd = last, ord, ord
	if j.first == 0 || j.first > last+1 {
		j.first = last + 1
	}
}

// room returns the batch that takes the next record of about size bytes.
func (j *journal) room(size int) *pending {
	if j.held != nil {
		return j.held
	}
	if n := len(j.queue); n > 0 && !(n == 1 && j.inFlight) {
		p := j.queue[n-1]
		if len(p.buf)+size <= j.target || len(p.buf) == batchHeader {
			return p
		}
		p.ord = j.nextOrd
	}
	buf := j.scratch
	if j.scratch = nil; cap(buf) < batchHeader+size {
		buf = make([]byte, 0, j.target+size)
	}
	p := &pending{seq: j.last + 1 + uint64(len(j.queue)), buf: newBatch(buf)}
	j.queue = append(j.queue, p)
	j.segs = append(j.segs, segment{})
	return p
}

// hold returns the batch that takes all records until letGo: they survive a
// crash together or not at all.
func (j *journal) hold(size int) *pending {
	if j.held != nil {
		panic("mailbox: a batch is held twice")
	}
	j.held = j.room(size)
	return j.held
}

func (j *journal) letGo() { j.held = nil }

// ord gives the next message its place, in the batch that room just returned.
func (j *journal) ord() uint64 {
	j.nextOrd++
	return j.nextOrd - 1
}

// holds says whether the message at ord is stored. One that is being copied
// forward is: its old record stays until the new one is stored too.
func (j *journal) holds(ord uint64) bool { return ord < j.storedOrd }

// pending returns a batch that is not stored yet, nil when it is.
func (j *journal) pending(seq uint64) []byte {
	if seq <= j.last {
		return nil
	}
	return j.queue[seq-j.last-1].buf
}

// newest returns the batch that was begun last, nil when everything is stored.
func (j *journal) newest() *pending {
	if len(j.queue) == 0 {
		return nil
	}
	return j.queue[len(j.queue)-1]
}

// alive says that n more records of a batch matter.
func (j *journal) alive(seq uint64, n int32) {
	seg := &j.segs[seq-j.first]
	seg.live += n
	if seg.live < 0 {
		panic(fmt.Sprintf("mailbox: batch %d has %d live records", seq, seg.live))
	}
}

// retire says that a record in batch seq will not matter any more once p is
// stored; before that, a crash may still need it.
func (p *pending) retire(seq uint64) { p.retired = append(p.retired, seq) }

// touch notes that u has something to deliver once p is stored.
func (p *pending) touch(u *user) {
	if u.touched != p.seq {
		u.touched = p.seq
		p.users = append(p.users, u)
	}
}

// waiting returns the batch that next would, nil when there is none.
func (j *journal) waiting() *pending {
	if j.inFlight || len(j.queue) == 0 {
		return nil
	}
	return j.queue[0]
}

// full says whether the batch that waits has no room for more.
func (j *journal) full() bool { return len(j.queue) > 1 }

// next returns the batch to store now, after the sequence last, or nil when
// there is none or one is in flight.
func (j *journal) next() (last uint64, batch []byte) {
	if j.inFlight || len(j.queue) == 0 {
		return 0, nil
	}
	j.advance()
	p := j.queue[0]
	if p.ord == 0 {
		p.ord = j.nextOrd
	}
	p.trim, p.trimmed = j.first, j.trimmedBytes
	if waste := cap(p.buf) - len(p.buf); waste > len(p.buf)/8 {
		p.buf, j.scratch = slices.Clone(p.buf), p.buf // it stays in memory for a while
	}
	sealBatch(p.buf, p.trim, p.ord)
	j.inFlight = true
	return j.last, p.buf
}

// stored says that the batch in flight is synced, and returns it.
func (j *journal) stored(seq uint64) *pending {
	p := j.queue[0]
	if !j.inFlight || p.seq != seq {
		panic(fmt.Sprintf("mailbox: batch %d was stored as %d", p.seq, seq))
	}
	j.queue[0] = nil
	j.queue = j.queue[1:]
	if len(j.queue) == 0 {
		j.queue = nil
	}
	j.inFlight = false
	j.last, j.storedOrd = seq, p.ord
	j.storedTrim, j.storedTrimmed = p.trim, p.trimmed
	j.segs[seq-j.first].bytes = int32(len(p.buf))
	j.bytes += int64(len(p.buf))
	for _, old := range p.retired {
		j.alive(old, -1)
	}
	return p
}

// advance moves first past what does not matter any more.
func (j *journal) advance() {
	n := 0
	for n < len(j.segs) && j.segs[n].live == 0 && j.first <= j.last {
		j.bytes -= int64(j.segs[n].bytes)
		j.trimmedBytes += int64(j.segs[n].bytes)
		j.first++
		n++
	}
	j.segs = j.segs[n:]
	if cap(j.segs) > 4*len(j.segs)+1024 {
		j.segs = append(make([]segment, 0, 2*len(j.segs)), j.segs...)
	}
}

// purgeable returns what the log may forget: everything before the trim of the
// last stored batch, once that has step bytes more than what was purged. A
// replay begins there, so never more.
func (j *journal) purgeable(step int64) uint64 {
	if j.storedTrimmed-j.purgedBytes < step {
		return 0
	}
	j.purgedBytes = j.storedTrimmed
	return j.storedTrim
}

// idle says that everything collected is stored.
func (j *journal) idle() bool { return len(j.queue) == 0 }
