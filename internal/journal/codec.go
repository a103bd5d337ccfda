package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What nodes ask of an owner: a byte that says what, then its parts. Texts and bytes
// come with their length before them.
const (
	askAdd     = 1 // source, number, events
	askDevice  = 2 // app, whether of any, device
	askRebuild = 3
	askImport  = 4 // as askAdd; each event with when it was stored, and what it carries
	askReached = 5 // source; the answer is the number that it has come to

	// What an owner answers begins with one of these.
	tellDone  = 0
	tellError = 1 // which one, and a sentence
)

// request is events that one node sends to one owner. Those of a source have numbers
// that rise, and the next is sent when the one before is answered.
type request struct {
	source string
	number uint64
	events []Event

	imported bool // the events were stored in another store
}

func putText[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func (q *request) encode() []byte {
	b := make([]byte, 0, 64+128*len(q.events))
	what := byte(askAdd)
	if q.imported {
		what = askImport
	}
	b = putText(append(b, what), q.source)
	b = binary.AppendUvarint(b, q.number)
	b = binary.AppendUvarint(b, uint64(len(q.events)))
	for i := range q.events {
		b = putEvent(b, &q.events[i])
		if q.imported {
			b = putOrigin(b, &q.events[i])
		}
	}
	return b
}

// putOrigin writes what an event has that was stored before.
func putOrigin(b []byte, e *Event) []byte {
	b = binary.AppendVarint(b, e.Stored)
	if e.Before != nil {
		for _, n := range e.Before.counts() {
			b = binary.AppendVarint(b, *n)
		}
	}
	return b
}

func (r *reader) origin(e *Event) {
	e.Stored = r.int()
	e.Filled = true // when it happened decides nothing: of what was sent again it is another time
	if e.Type == Carried {
		e.Before = new(State)
		for _, n := range e.Before.counts() {
			*n = r.int()
		}
	}
}

func putEvent(b []byte, e *Event) []byte {
	for _, text := range [...]string{e.ID, string(e.Type), e.Device, e.App, e.Domain, e.Capability} {
		b = putText(b, text)
	}
	for _, n := range [...]int64{e.At, e.Amount, e.Count, e.Min, e.Max} {
		b = binary.AppendVarint(b, n)
	}
	b = append(b, 0)
	if e.Filled {
		b[len(b)-1] = 1
	}
	return putText(b, e.Sketch)
}

// reader takes apart what the functions above put together. After a failure it returns
// zero values.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) fail() { r.bad, r.rest = true, nil }

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) int() int64 {
	n, size := binary.Varint(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

// end says whether all was read, and nothing was missing.
func (r *reader) end() bool { return !r.bad && len(r.rest) == 0 }

var errRequest = errors.New("journal: a request is not well-formed")

func decodeRequest(b []byte, imported bool) (q request, err error) {
	r := reader{rest: b}
	q.imported = imported
	q.source, q.number = r.text(), r.uint()
	n := r.uint()
	if n > uint64(len(r.rest)) { // each event takes more than a byte
		return q, errRequest
	}
	q.events = make([]Event, 0, n)
	for range n {
		e := Event{ID: r.text(), Type: Type(r.text()), Device: r.text(), App: r.text(), Domain: r.text(), Capability: r.text()}
		e.At, e.Amount, e.Count, e.Min, e.Max = r.int(), r.int(), r.int(), r.int(), r.int()
		e.Filled = r.byte() == 1
		if sketch := r.bytes(); len(sketch) > 0 {
			e.Sketch = append([]byte(nil), sketch...)
		}
		if imported {
			r.origin(&e)
		}
		if r.bad || !e.sound() || imported && e.Stored <= 0 {
			return q, errRequest
		}
		q.events = append(q.events, e)
	}
	if !r.end() {
		return q, errRequest
	}
	return q, nil
}

// told are the errors that an owner answers, by their number.
var told = [...]error{ErrFull, ErrBusy, ErrNobody, ErrNone, ErrUnknown, errRequest}

// answerError writes an error as an answer.
func answerError(err error) []byte {
	for i, known := range told {
		if errors.Is(err, known) {
			return putText([]byte{tellError, byte(i)}, err.Error())
		}
	}
	return putText([]byte{tellError, 0xff}, err.Error())
}

// readAnswer returns what is in an answer, or its error.
func readAnswer(b []byte) ([]byte, error) {
	r := reader{rest: b}
	if r.byte() == tellDone && !r.bad {
		return r.rest, nil
	}
	which, text := r.byte(), r.text()
	if r.bad {
		return nil, errRequest
	}
	if int(which) < len(told) {
		return nil, fmt.Errorf("%w (%s)", told[which], text)
	}
	return nil, fmt.Errorf("the keeper of the journal's shard: %s", text)
}

// putVerdict writes which events of a request are not stored.
func putVerdict(b []byte, v *verdict) []byte {
	for _, list := range [...][]int{v.refused, v.conflicts} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, i := range list {
			b = binary.AppendUvarint(b, uint64(i))
		}
	}
	return b
}

func readVerdict(b []byte) (v verdict, err error) {
	r := reader{rest: b}
	for _, list := range [...]*[]int{&v.refused, &v.conflicts} {
		for n := r.uint(); n > 0 && !r.bad; n-- {
			*list = append(*list, int(r.uint()))
		}
	}
	if !r.end() {
		return verdict{}, errRequest
	}
	return v, nil
}
