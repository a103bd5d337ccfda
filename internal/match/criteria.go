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

// bounds returns an interval in which a property's place must lie for the demand to
// accept it.
func (d *demand) bounds() (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	switch d.kind {
	case inRange:
		return d.min, d.max
	case inNumbers:
		for _, n := range d.nums {
			lo, hi = min(lo, n), max(hi, n)
		}
	case inStrings:
		for _, s := range d.strs {
			p := place(s)
			lo, hi = min(lo, p), max(hi, p)
		}
	default:
		return math.Inf(-1), math.Inf(1)
	}
	return lo, hi
}

// place returns where a property stands on a line of its own: a number where it is, a
// string where its hash is, a set nowhere, which is NaN.
func (p *property) place() float64 {
	switch p.kind {
	case isNumber:
		return p.num
	case isString:
		return place(p.str)
	}
	return math.NaN()
}

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
