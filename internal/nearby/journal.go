package nearby

import (
	"encoding/binary"
	"errors"
	"time"
)

// A batch of the log begins with the version of this format and the term of its keeper;
// then come records: of each user the last word at the time.
const (
	logVersion = 1

	recAt     byte = 1 // app, user, when it was heard, fact
	recHidden byte = 2 // app, user, when it was heard, the time before which nothing counts
)

const (
	// saveEvery is how often positions are stored.
	saveEvery = time.Second
	// maxBatch is from how many bytes on a batch is full.
	maxBatch = 512 << 10
	// usualRecord is how many bytes most records have at most.
	usualRecord = 80
)

var errVersion = errors.New("it is of a newer version")

// journal is what is to be stored, and what the log has.
type journal struct {
	term  uint64
	last  uint64    // the sequence of the last batch in the log
	away  []byte    // a batch that is being stored; nil: none
	given bool      // it is under way
	seal  uint64    // batches that were made
	done  uint64    // those that are stored
	from  time.Time // from when on the next may be made; zero: there is nothing to store
	begun time.Time // when the last was made
	hurry bool
}

// begin has the core keep the shard for a term: what is stored from now on says so.
func (c *core) begin(term uint64) {
	c.journal.term = term
	if c.journal.last > 0 {
		c.journal.urgent() // so that a keeper before this one, if it still lives, sees that it is none
	}
}

func (j *journal) pending(now time.Time) {
	if j.from.IsZero() {
		j.from = now
		if next := j.begun.Add(saveEvery); next.After(now) {
			j.from = next
		}
	}
}

func (j *journal) urgent() { j.hurry = true }

// due returns when there is something to be stored.
func (j *journal) due() (time.Time, bool) {
	switch {
	case j.given:
		return time.Time{}, false
	case j.away != nil || j.hurry:
		return j.begun, true
	}
	return j.from, !j.from.IsZero()
}

// mark returns the number of the batch that holds what was said until now.
func (c *core) mark() uint64 {
	if j := &c.journal; !j.hurry && j.from.IsZero() {
		return j.seal
	}
	return c.journal.seal + 1
}

// stored returns the number of the last batch that is stored.
func (c *core) stored() uint64 { return c.journal.done }

// batch returns what is to be appended to the log now, behind its last sequence; nil
// for nothing. One is under way at a time, until landed or again.
func (c *core) batch(now time.Time) (last uint64, b []byte) {
	j := &c.journal
	at, ok := j.due()
	if !ok || at.After(now) {
		return 0, nil
	}
	if j.away == nil {
		j.away = c.make()
		j.seal++
		j.begun = now
	}
	j.given = true
	return j.last, j.away
}

// make makes a batch: of hides all, and of other news as much as has room.
func (c *core) make() []byte {
	j := &c.journal
	j.hurry, j.from = false, time.Time{}
	n := 0
	for _, w := range c.crowds {
		n += len(w.hidden) + len(w.unsaved)
	}
	b := make([]byte, 0, min(n, maxBatch/usualRecord)*usualRecord+64)
	b = binary.AppendUvarint(append(b, logVersion), j.term)
	for _, w := range c.crowds {
		for _, slot := range w.hidden {
			b = w.record(b, slot)
		}
		w.hidden = w.hidden[:0]
	}
	for _, w := range c.crowds {
		n := 0
		for ; n < len(w.unsaved) && len(b) < maxBatch; n++ {
			b = w.record(b, w.unsaved[n])
		}
		w.unsaved = append(w.unsaved[:0], w.unsaved[n:]...)
		if len(w.unsaved) > 0 {
			j.hurry = true
		} else if cap(w.unsaved) > 1<<14 {
			w.unsaved = nil
		}
		c.leave(w)
	}
	return b
}

// record appends what the log lacks of a slot.
func (w *crowd) record(b []byte, slot uint32) []byte {
	e, s := w.at(slot), w.state(slot)
	if !s.unsaid { // it has come in another way, or is gone
		return b
	}
	s.unsaid = false
	kind := recAt
	if s.hides {
		kind = recHidden
	}
	b = appendText(append(b, kind), w.app)
	b = binary.AppendUvarint(b, uint64(e.user))
	b = binary.AppendVarint(b, e.taken)
	if s.hides {
		return binary.AppendVarint(b, e.at)
	}
	return appendFact(b, &e.fact)
}

// landed says that what batch returned is stored, with this sequence.
func (c *core) landed(seq uint64) {
	j := &c.journal
	j.last, j.away, j.given = seq, nil, false
	j.done = j.seal
}

// again says that what batch returned is not stored, and is to be offered again, behind
// last, where the log ends.
func (c *core) again(last uint64) {
	c.journal.given, c.journal.last = false, last
}

// scan returns the term of a batch.
func scan(batch []byte) (term uint64, err error) {
	r := reader{b: batch}
	if v := r.byte(); r.err == nil && v != logVersion {
		return 0, errVersion
	}
	term = r.uvarint()
	return term, r.err
}

// replay takes in a batch of the log, in order. When all are in, tick forgets what has
// expired.
func (c *core) replay(seq uint64, batch []byte) error {
	term, err := scan(batch)
	if err != nil {
		return err
	}
	r := reader{b: batch}
	r.byte()
	r.uvarint()
	c.latest = max(c.latest, term)
	for len(r.b) > 0 && r.err == nil {
		c.replayOne(&r)
	}
	c.journal.last = seq
	return r.err
}

func (c *core) replayOne(r *reader) {
	kind := r.byte()
	app, user, taken := r.text(), int64(r.uvarint()), r.varint()
	var f fact
	switch kind {
	case recAt:
		f = r.fact()
		if r.err == nil && checkPlace(f.lat, f.lon) != nil {
			r.fail()
		}
	case recHidden:
		f.at = r.varint()
	default:
		r.fail()
	}
	if r.err != nil {
		return
	}
	w := c.crowd(app)
	slot := w.slots.of(w, user)
	if slot == 0 {
		slot = w.add(user)
		c.known++
	}
	if kind == recAt {
		f.blur(c.limits.Precision)
		c.place(w, slot, f, taken)
		return
	}
	c.vanish(w, slot)
	e := w.at(slot)
	e.fact, w.state(slot).hides = f, true
	c.heard(w, slot, e, taken)
}

// replayed says that all of the log is in. Nobody was heard later than now, whatever
// the clock of the keeper before was.
func (c *core) replayed(last uint64, now time.Time) {
	c.journal.last = last
	for _, w := range c.crowds {
		w.dues.again(w, now.UnixMilli())
	}
	c.expires = 0 // whatever it was
	c.tick(now)
}
