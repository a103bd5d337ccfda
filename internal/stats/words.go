package stats

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"time"
)

// reportVersion is of the layout of what nodes say to each other:
//
//	version   1 byte
//	age       in nanoseconds
//	numbers   how many, each
//	refusals  how many maps; of each how many codes; each code, and its number
//	syncs     how many buckets; of each its bound, 8 bytes, and how much is in it
//
// All but the version and bounds are unsigned varints; a code has its length before
// it. What comes after is passed over, and so are numbers and maps that are not
// known: a later version may add some at the end.
const reportVersion = 1

var errReport = errors.New("stats: a report of another node cannot be read")

// append writes a report behind b.
func (r *report) append(b []byte) []byte {
	b = append(b, reportVersion)
	b = binary.AppendUvarint(b, uint64(r.age))
	numbers := r.counts.numbers()
	b = binary.AppendUvarint(b, uint64(len(numbers)))
	for _, n := range numbers {
		b = binary.AppendUvarint(b, *n.at)
	}
	refusals := r.counts.refusals()
	b = binary.AppendUvarint(b, uint64(len(refusals)))
	for _, codes := range refusals {
		b = binary.AppendUvarint(b, uint64(len(*codes)))
		for _, code := range slices.Sorted(maps.Keys(*codes)) {
			b = binary.AppendUvarint(b, uint64(len(code)))
			b = append(b, code...)
			b = binary.AppendUvarint(b, (*codes)[code])
		}
	}
	b = binary.AppendUvarint(b, uint64(len(r.syncs)))
	var below uint64
	for _, one := range r.syncs {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(one.bound))
		b = binary.AppendUvarint(b, one.count-below)
		below = one.count
	}
	return b
}

// readReport reads one.
func readReport(b []byte) (r report, err error) {
	if len(b) == 0 || b[0] != reportVersion {
		return report{}, errReport
	}
	w := words{rest: b[1:]}
	r.age = time.Duration(min(w.number(), math.MaxInt64))
	numbers := r.counts.numbers()
	for i := range w.count(1) {
		if n := w.number(); i < len(numbers) {
			*numbers[i].at = n
		}
	}
	refusals := r.counts.refusals()
	for i := range w.count(1) {
		codes := make(map[string]uint64)
		for range w.count(2) {
			code := string(w.take(w.count(1)))
			codes[code] = w.number()
		}
		if i < len(refusals) {
			*refusals[i] = codes
		}
	}
	var below uint64
	for range w.count(9) {
		bound := w.take(8)
		if bound == nil {
			break
		}
		below += w.number()
		r.syncs = append(r.syncs, bucket{math.Float64frombits(binary.LittleEndian.Uint64(bound)), below})
	}
	if w.failed {
		return report{}, errReport
	}
	return r, nil
}

// words are what is left of a report. Once something is wrong with it, there is
// nothing any more.
type words struct {
	rest   []byte
	failed bool
}

func (w *words) number() uint64 {
	n, size := binary.Uvarint(w.rest)
	if size <= 0 {
		w.rest, w.failed = nil, true
		return 0
	}
	w.rest = w.rest[size:]
	return n
}

// count reads how many things follow, each of at least so many bytes: no more than
// there can be.
func (w *words) count(size int) int {
	n := w.number()
	if n > uint64(len(w.rest)/size) {
		w.rest, w.failed = nil, true
		return 0
	}
	return int(n)
}

func (w *words) take(n int) []byte {
	if n > len(w.rest) {
		w.rest, w.failed = nil, true
		return nil
	}
	b := w.rest[:n]
	w.rest = w.rest[n:]
	return b
}
