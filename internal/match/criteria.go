package match

import (
	"math"
	"slices"
	"strings"
)

// Properties are what a device says of itself: numbers, strings and sets of strings.
type Properties struct{ list []property } // by name

// Query is what a device asks of others' properties.
type Query struct{ list []demand } // by name

// property is one of them: a number, a string or a set.
type property struct {
	name string
	kind valueKind
	num  float64
	str  string
	set  []string
}

type valueKind uint8

const (
	isNumber valueKind = iota
	isString
	isSet
)

// demand is what one property must be.
type demand struct {
	name     string
	kind     demandKind
	min, max float64 // inRange; infinite where there is no bound
	nums     []float64
	strs     []string
}

type demandKind uint8

const (
	inRange   demandKind = iota
	inNumbers            // one of nums
	inStrings            // one of strs
	hasAny               // a set with at least one of strs
	hasAll               // a set with all of strs
)

// Empty says whether there are none.
func (p Properties) Empty() bool { return len(p.list) == 0 }

// find returns the property of a name, nil for none.
func (p Properties) find(name string) *property {
	for i := range p.list { // at most MaxProperties, mostly one or two
		if p.list[i].name == name {
			return &p.list[i]
		}
	}
	return nil
}

// find returns the demand of a name, nil for none.
func (q Query) find(name string) *demand {
	for i := range q.list {
		if q.list[i].name == name {
			return &q.list[i]
		}
	}
	return nil
}

// accepts says whether properties are what is asked for.
func (q Query) accepts(p Properties) bool {
	for i := range q.list {
		if !q.list[i].accepts(p.find(q.list[i].name)) {
			return false
		}
	}
	return true
}

func (d *demand) accepts(p *property) bool {
	if p == nil {
		return false
	}
	switch d.kind {
	case inRange:
		return p.kind == isNumber && d.min <= p.num && p.num <= d.max
	case inNumbers:
		return p.kind == isNumber && slices.Contains(d.nums, p.num)
	case inStrings:
		return p.kind == isString && slices.Contains(d.strs, p.str)
	case hasAny:
		return p.kind == isSet && slices.ContainsFunc(d.strs, func(s string) bool { return slices.Contains(p.set, s) })
	case hasAll:
		return p.kind == isSet && !slices.ContainsFunc(d.strs, func(s string) bool { return !slices.Contains(p.set, s) })
	}
	return false
}

// ask says on a property's line where it must lie for the demand to accept it: within
// bounds, of which a set needs to have something.
func (d *demand) ask(on *dim) {
	if d.kind == inRange {
		on.lo, on.hi = d.min, d.max
		return
	}
	on.lo, on.hi = math.Inf(1), math.Inf(-1)
	for _, n := range d.nums {
		on.lo, on.hi = min(on.lo, n), max(on.hi, n)
	}
	for _, s := range d.strs {
		p := place(s)
		on.lo, on.hi = min(on.lo, p), max(on.hi, p)
		switch d.kind {
		case hasAny:
			on.any |= mark(p)
		case hasAll:
			on.all |= mark(p)
		}
	}
}

// stand says where a property stands on a line of its own: a number where it is, a
// string where its hash is, a set from its first to its last string.
func (p *property) stand(on *dim) {
	switch p.kind {
	case isNumber:
		on.val, on.top = p.num, p.num
	case isString:
		on.val = place(p.str)
		on.top = on.val
	case isSet:
		if len(p.set) == 0 {
			return
		}
		on.val, on.top = math.Inf(1), math.Inf(-1)
		for _, s := range p.set {
			at := place(s)
			on.val, on.top = min(on.val, at), max(on.top, at)
			on.has |= mark(at)
		}
	}
}

// mark is the bit that stands for a string in a set.
func mark(place float64) uint64 { return 1 << (uint64(place) % 64) }

// place hashes a string into a number that a float64 holds exactly.
func place(s string) float64 {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h := uint64(offset)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime
	}
	return float64(h >> 11)
}

// widensTo checks that a range is one of the query's, and at least as wide.
func (q Query) widensTo(w Range) *Refusal {
	d := q.find(w.Name)
	switch {
	case d == nil || d.kind != inRange:
		return refuseField("widen.query."+w.Name, "is no range of the query")
	case w.Min > d.min || w.Max < d.max:
		return refuseField("widen.query."+w.Name, "is narrower than that of the query")
	}
	return nil
}

// clone returns a copy whose ranges may be changed.
func (q Query) clone() Query { return Query{slices.Clone(q.list)} }

func byName[T interface{ called() string }](a, b T) int {
	return strings.Compare(a.called(), b.called())
}

func (p property) called() string { return p.name }
func (d demand) called() string   { return d.name }

func refuseField(field, reason string) *Refusal {
	return &Refusal{Code: codeBadField, Field: field, Reason: field + " " + reason}
}
