package match

import (
	"math"
	"slices"
	"time"
)

const (
	// maxDims is how many names of properties the tree knows places for; by others it
	// does not find anybody faster.
	maxDims = 8
)

// tree holds the tickets of a compartment by all that they are and ask for: each
// branch knows the bounds of what is below it, so that a search passes over those where
// nobody can fit.
type tree struct {
	root  *branch
	names [maxDims]string // of the properties that have places; empty: free
	users [maxDims]int    // how many tickets ask for something of that name
	dims  int             // one more than the last that is in use
	added int             // tickets since the names changed
	leaf  int             // see tuning
}

// branch is a leaf with tickets, or has two branches below it.
type branch struct {
	bounds
	parent      *branch
	less, more  *branch // nil in a leaf
	axis        axis
	split       float64 // what is below it on the axis is in less
	list        []*ticket
	divideAgain int // how many tickets a leaf has when dividing it is tried again
}

// bounds are what a branch knows of the tickets below it. Where there is none, the
// lower bound is above the upper one.
type bounds struct {
	count          int
	oldest, newest time.Duration
	from, to       vec     // of those who are somewhere
	placed         bool    // there is one
	reach          float64 // the widest
	dims           [maxDims]span
}

// span are the bounds for one property: where it is, and where it may be.
type span struct {
	min, max float64 // of those who have it
	lo, hi   float64 // of what is asked for; infinite when somebody asks for nothing
	has      uint64  // of what their sets have, see mark
	any      uint64  // of what sets are asked for; all bits when somebody asks for none
}

// dim is where one ticket stands for one property, and what it asks for.
type dim struct {
	val, top float64 // NaN when it has none; of a set the first and the last of its strings
	lo, hi   float64 // infinite when it asks for nothing
	has      uint64  // of what its set has, see mark
	any, all uint64  // of what it asks of sets; 0 when it does not
}

var (
	noSpan   = span{math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1), 0, 0}
	noBounds = bounds{
		oldest: math.MaxInt64, newest: math.MinInt64,
		from: vec{math.Inf(1), math.Inf(1), math.Inf(1)}, to: vec{math.Inf(-1), math.Inf(-1), math.Inf(-1)},
		dims: [maxDims]span{noSpan, noSpan, noSpan, noSpan, noSpan, noSpan, noSpan, noSpan},
	}
)

// add widens the bounds by a ticket's.
func (b *bounds) add(t *ticket, dims int) {
	w := t.wait
	b.count++
	b.oldest, b.newest = min(b.oldest, t.at), max(b.newest, t.at)
	b.reach = max(b.reach, w.reach)
	if w.located {
		b.placed = true
		for i := range w.spot {
			b.from[i], b.to[i] = min(b.from[i], w.spot[i]), max(b.to[i], w.spot[i])
		}
	}
	for i := range dims {
		s, d := &b.dims[i], &w.dims[i]
		if d.val == d.val { // not NaN
			s.min, s.max = min(s.min, d.val), max(s.max, d.top)
		}
		s.lo, s.hi = min(s.lo, d.lo), max(s.hi, d.hi)
		s.has |= d.has
		if d.any == 0 {
			s.any = math.MaxUint64
		}
		s.any |= d.any
	}
}

// join makes the bounds those of two others together.
func (b *bounds) join(x, y *bounds, dims int) {
	b.count = x.count + y.count
	b.oldest, b.newest = min(x.oldest, y.oldest), max(x.newest, y.newest)
	b.reach, b.placed = max(x.reach, y.reach), x.placed || y.placed
	for i := range b.from {
		b.from[i], b.to[i] = min(x.from[i], y.from[i]), max(x.to[i], y.to[i])
	}
	for i := range dims {
		p, q := &x.dims[i], &y.dims[i]
		b.dims[i] = span{min(p.min, q.min), max(p.max, q.max), min(p.lo, q.lo), max(p.hi, q.hi), p.has | q.has, p.any | q.any}
	}
}

// near returns the square of the least distance that somebody below may have from a
// place.
func (b *bounds) near(v vec) (d float64) {
	for i := range v {
		if x := max(b.from[i]-v[i], v[i]-b.to[i]); x > 0 {
			d += x * x
		}
	}
	return d
}

// mayFit says whether somebody below may fit t, and be fit for it.
func (b *bounds) mayFit(t *ticket, dims int) bool {
	w := t.wait
	switch {
	case b.count == 0:
		return false
	case !w.located:
		if !math.IsInf(b.reach, 1) {
			return false
		}
	default:
		d := math.Inf(1)
		if b.placed {
			d = b.near(w.spot)
		}
		// Who is nowhere asks for no distance.
		if d > w.reach || !math.IsInf(b.reach, 1) && d > b.reach {
			return false
		}
	}
	for i := range dims {
		if !b.dims[i].mayFit(&w.dims[i]) {
			return false
		}
	}
	return true
}

// mayFit says whether somebody may be what d asks for, and ask for what d is.
func (s *span) mayFit(d *dim) bool {
	asks := d.lo > math.Inf(-1) || d.hi < math.Inf(1)
	switch {
	case asks && (s.max < d.lo || s.min > d.hi):
		return false
	case d.any != 0 && s.has&d.any == 0, s.has&d.all != d.all:
		return false
	case d.val != d.val: // who asks for anything does not get it
		return s.lo == math.Inf(-1) && s.hi == math.Inf(1)
	case s.any != math.MaxUint64 && s.any&d.has == 0:
		return false
	}
	return s.lo <= d.top && d.val <= s.hi
}

// place says where a ticket stands and what it asks for, for the names of this tree.
func (tr *tree) place(t *ticket) {
	w := t.wait
	if cap(w.dims) < tr.dims {
		w.dims = make([]dim, tr.dims)
	}
	w.dims = w.dims[:tr.dims]
	for i := range w.dims {
		w.dims[i] = dim{val: math.NaN(), top: math.NaN(), lo: math.Inf(-1), hi: math.Inf(1)}
		name := tr.names[i]
		if name == "" {
			continue
		}
		if p := t.props.find(name); p != nil {
			p.stand(&w.dims[i])
		}
		if d := w.query.find(name); d != nil {
			d.ask(&w.dims[i])
		}
	}
}

// enroll counts a ticket among those who ask for names, and makes room for names that
// are new. That means to place everybody anew, so it is not done again before as many
// have come as are there: until then such a name is just not known.
func (tr *tree) enroll(t *ticket) {
	w := t.wait
	for i := range w.query.list {
		name := w.query.list[i].name
		at := slices.Index(tr.names[:], name)
		if at < 0 {
			at = slices.Index(tr.users[:], 0)
			if at < 0 || tr.added < tr.count() {
				continue
			}
			tr.names[at], tr.dims, tr.added = name, max(tr.dims, at+1), 0
			tr.rebuild()
		}
		tr.users[at]++
		w.counted |= 1 << at
	}
	tr.added++
}

// withdraw takes a ticket from among those who ask.
func (tr *tree) withdraw(t *ticket) {
	for i := range tr.users {
		if t.wait.counted&(1<<i) != 0 {
			tr.users[i]--
		}
	}
	t.wait.counted = 0
}

func (tr *tree) count() int {
	if tr.root == nil {
		return 0
	}
	return tr.root.count
}

// insert puts a ticket where it belongs.
func (tr *tree) insert(t *ticket) {
	tr.enroll(t)
	tr.place(t)
	if tr.root == nil {
		tr.root = &branch{bounds: noBounds}
	}
	var uneven *branch
	b := tr.root
	for b.less != nil {
		b.add(t, tr.dims)
		if big := max(b.less.count, b.more.count); uneven == nil && b.count > 4*tr.leaf && 4*big > 3*b.count+tr.leaf {
			uneven = b
		}
		b = b.below(t)
	}
	b.add(t, tr.dims)
	b.list = append(b.list, t)
	t.wait.leaf = b
	if len(b.list) > max(tr.leaf, b.divideAgain) {
		tr.divide(b)
	}
	if uneven != nil {
		tr.build(uneven, uneven.all(nil))
	}
}

// below returns the branch in which a ticket belongs.
func (b *branch) below(t *ticket) *branch {
	if b.axis.of(t) < b.split {
		return b.less
	}
	return b.more
}

// remove takes a ticket out.
func (tr *tree) remove(t *ticket) {
	b := t.wait.leaf
	t.wait.leaf = nil
	tr.withdraw(t)
	last := len(b.list) - 1
	at := slices.Index(b.list, t)
	b.list[at], b.list[last] = b.list[last], nil
	b.list = b.list[:last]
	b.divideAgain = min(b.divideAgain, 2*last)
	b.measure(tr.dims)
	for p := b.parent; p != nil; p = p.parent {
		if p.less.count+p.more.count <= tr.leaf/2 {
			tr.build(p, p.all(nil)) // which makes a leaf of it
			continue
		}
		p.join(&p.less.bounds, &p.more.bounds, tr.dims)
	}
}

// measure finds the bounds of a leaf.
func (b *branch) measure(dims int) {
	b.bounds = noBounds
	for _, t := range b.list {
		b.add(t, dims)
	}
}

// all appends all tickets below.
func (b *branch) all(to []*ticket) []*ticket {
	if b.less != nil {
		return b.more.all(b.less.all(to))
	}
	return append(to, b.list...)
}

// rebuild places everybody anew.
func (tr *tree) rebuild() {
	if tr.root == nil {
		return
	}
	list := tr.root.all(nil)
	for _, t := range list {
		tr.place(t)
	}
	tr.build(tr.root, list)
}

// build makes a branch hold the tickets of list, which it keeps.
func (tr *tree) build(b *branch, list []*ticket) {
	b.less, b.more, b.list, b.divideAgain = nil, nil, list, 0
	b.measure(tr.dims)
	for _, t := range list {
		t.wait.leaf = b
	}
	if len(list) > tr.leaf {
		tr.divide(b)
	}
}

// divide makes two leaves of one, and of those again until they are small, along the
// axis on which its tickets are furthest apart, as seen by what they ask for.
func (tr *tree) divide(b *branch) {
	a, split, ok := bestSplit(b.list, tr.dims)
	if !ok {
		b.divideAgain = 2 * len(b.list)
		return
	}
	b.axis, b.split = a, split
	var less, more []*ticket
	for _, t := range b.list {
		if a.of(t) < split {
			less = append(less, t)
		} else {
			more = append(more, t)
		}
	}
	b.list = nil
	b.less, b.more = &branch{parent: b}, &branch{parent: b}
	tr.build(b.less, less)
	tr.build(b.more, more)
	b.join(&b.less.bounds, &b.more.bounds, tr.dims)
}
