package window

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

// Append appends the aggregate, for Decode.
func (a *Aggregate) Append(dst []byte) []byte {
	if a.Count == 0 {
		return append(dst, 0)
	}
	if a.sketch == nil {
		dst = a.appendNumbers(append(dst, 1))
		for _, v := range a.few[:a.Count] {
			dst = binary.AppendUvarint(dst, v)
		}
		return dst
	}
	dst = a.appendNumbers(append(dst, 2))
	var b []byte
	a.sketch.Encode(&b, true)
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func (a *Aggregate) appendNumbers(dst []byte) []byte {
	for _, n := range []uint64{a.Count, a.Sum, a.Min, a.Max - a.Min, uint64(a.First), uint64(a.Last - a.First), a.Late} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

var errBroken = errors.New("broken aggregate")

// Decode reads what Append has written, and returns what follows it.
func Decode(src []byte) (a Aggregate, rest []byte, err error) {
	if len(src) == 0 {
		return a, nil, errBroken
	}
	form, src := src[0], src[1:]
	if form == 0 {
		return a, src, nil
	}
	var n [7]uint64
	if src, err = uvarints(src, n[:]); err != nil {
		return a, nil, err
	}
	a = Aggregate{Count: n[0], Sum: n[1], Min: n[2], Max: n[2] + n[3], First: int64(n[4]), Last: int64(n[4] + n[5]), Late: n[6]}
	switch {
	case form == 1 && a.Count <= few:
		src, err = uvarints(src, a.few[:a.Count])
		return a, src, err
	case form != 2:
		return a, nil, errBroken
	}
	length, size := binary.Uvarint(src)
	if size <= 0 || length > uint64(len(src)-size) {
		return a, nil, errBroken
	}
	src = src[size:]
	a.sketch, err = ddsketch.DecodeDDSketch(src[:length], store.BufferedPaginatedStoreConstructor, bins())
	if err != nil {
		return a, nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	return a, src[length:], nil
}

// uvarints reads as many numbers as there is room for.
func uvarints(src []byte, into []uint64) (rest []byte, err error) {
	for i := range into {
		v, size := binary.Uvarint(src)
		if size <= 0 {
			return nil, errBroken
		}
		into[i], src = v, src[size:]
	}
	return src, nil
}

// Sketch returns the sketch of the values in the encoding that sketches of DataDog's
// libraries have, with the description of their bins.
func (a *Aggregate) Sketch() []byte {
	c := *a
	if c.sketch == nil {
		c.bins() // of the copy
	}
	var b []byte
	c.sketch.Encode(&b, false)
	return b
}

// WithSketch returns an aggregate of which the numbers are known, with the sketch that
// belongs to them, as Sketch returns it. What does not belong to them is refused, and so
// are other bins.
func (a Aggregate) WithSketch(sketch []byte) (Aggregate, error) {
	// Into a sparse store first: what is in it takes as much memory as it has bytes.
	s, err := ddsketch.DecodeDDSketch(sketch, store.SparseStoreConstructor, bins())
	if err != nil {
		return a, fmt.Errorf("read a sketch: %w", err)
	}
	positive, negative := s.GetPositiveValueStore(), s.GetNegativeValueStore()
	if s.GetCount() != float64(a.Count) || !negative.IsEmpty() || a.Count == 0 || a.Max > MaxValue || a.Min > a.Max || a.First > a.Last {
		return a, errors.New("read a sketch: it is not that of these numbers")
	}
	if least, err := positive.MinIndex(); err == nil {
		most, err := positive.MaxIndex()
		if err != nil || least < s.Index(1) || most > s.Index(MaxValue) {
			return a, errors.New("read a sketch: there is something that is no number of ours")
		}
	}
	a.sketch, a.few = nil, [few]uint64{}
	n := a.Count
	a.Count = 0
	a.bins().merge(s)
	a.Count = n
	return a, nil
}
