package match

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What is said between nodes and what stands in the log is made of the same parts:
// numbers as uvarint, strings with their length before them, IDs as they are.

var errShort = errors.New("it ends too early, or holds what it cannot")

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendFloat(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(f))
}

func appendTexts(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = appendText(dst, s)
	}
	return dst
}

func appendProperties(dst []byte, p Properties) []byte {
	dst = append(dst, byte(len(p.list)))
	for i := range p.list {
		one := &p.list[i]
		dst = append(appendText(dst, one.name), byte(one.kind))
		switch one.kind {
		case isNumber:
			dst = appendFloat(dst, one.num)
		case isString:
			dst = appendText(dst, one.str)
		case isSet:
			dst = appendTexts(dst, one.set)
		}
	}
	return dst
}

func appendQuery(dst []byte, q Query) []byte {
	dst = append(dst, byte(len(q.list)))
	for i := range q.list {
		d := &q.list[i]
		dst = append(appendText(dst, d.name), byte(d.kind))
		switch d.kind {
		case inRange:
			dst = appendFloat(appendFloat(dst, d.min), d.max)
		case inNumbers:
			dst = binary.AppendUvarint(dst, uint64(len(d.nums)))
			for _, n := range d.nums {
				dst = appendFloat(dst, n)
			}
		default:
			dst = appendTexts(dst, d.strs)
		}
	}
	return dst
}

// reader takes things apart. After an error everything is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	r.b, r.err = nil, errShort
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many things follow, of which each has at least one byte.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte {
	n := r.count()
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) texts() []string {
	n := r.count()
	if n > MaxSet {
		r.fail()
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = r.text()
	}
	return list
}

func (r *reader) float() float64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	f := math.Float64frombits(binary.BigEndian.Uint64(r.b))
	r.b = r.b[8:]
	return f
}

func (r *reader) id() (id wire.ID) {
	if len(r.b) < len(id) {
		r.fail()
		return id
	}
	copy(id[:], r.b)
	r.b = r.b[len(id):]
	return id
}

func (r *reader) duration() time.Duration { return time.Duration(r.uvarint()) }

func (r *reader) properties() (p Properties) {
	n := int(r.byte())
	if n > MaxProperties {
		r.fail()
	}
	if n == 0 || r.err != nil {
		return p
	}
	p.list = make([]property, n)
	for i := range p.list {
		one := &p.list[i]
		one.name, one.kind = r.text(), valueKind(r.byte())
		switch one.kind {
		case isNumber:
			one.num = r.float()
		case isString:
			one.str = r.text()
		case isSet:
			one.set = r.texts()
		default:
			r.fail()
		}
	}
	return p
}

func (r *reader) query() (q Query) {
	n := int(r.byte())
	if n > MaxProperties {
		r.fail()
	}
	if n == 0 || r.err != nil {
		return q
	}
	q.list = make([]demand, n)
	for i := range q.list {
		d := &q.list[i]
		d.name, d.kind = r.text(), demandKind(r.byte())
		switch d.kind {
		case inRange:
			d.min, d.max = r.float(), r.float()
		case inNumbers:
			n := r.count()
			if n > MaxSet {
				r.fail()
				return q
			}
			d.nums = make([]float64, n)
			for j := range d.nums {
				d.nums[j] = r.float()
			}
		case inStrings, hasAny, hasAll:
			d.strs = r.texts()
		default:
			r.fail()
		}
	}
	return q
}
