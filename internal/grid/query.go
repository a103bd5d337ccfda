package grid

import (
	"cmp"
	"math"
	"slices"
)

// Hit is a point that was found.
type Hit struct {
	ID       uint32
	Lat, Lon float64
	Metres   float64 // from the centre; 0 of a box
	order    float64
}

// span is a range of longitudes or latitudes in whole numbers, which goes around.
type span struct{ from, wide uint32 }

func (s span) meets(from uint32, size uint32) bool { // size is one less than it is wide
	return from-s.from <= s.wide || s.from-from <= size
}

func (s span) covers(from uint32, size uint32) bool {
	off := from - s.from
	return off <= s.wide && size <= s.wide-off
}

// window is a box in whole numbers.
type window struct{ x, y span }

const around = 1<<32 - 1

func windowOf(b Box) window {
	w := window{span{0, around}, span{yOf(b.South), 0}}
	w.y.wide = yOf(b.North) - w.y.from
	if b.Width() < 360 {
		w.x.from = xOf(b.West)
		w.x.wide = xOf(b.East) - w.x.from
		if w.x.wide < 1<<20 && b.Width() > 180 {
			w.x = span{0, around}
		}
	}
	return w
}

func (w *window) meets(s square) bool {
	size := uint32(around) >> s.level
	return w.x.meets(s.x, size) && w.y.meets(s.y, size)
}

func (w *window) covers(s square) bool {
	size := uint32(around) >> s.level
	return w.x.covers(s.x, size) && w.y.covers(s.y, size)
}

// Circle is what lies within a radius, its edge included.
type Circle struct{ Lat, Lon, Metres float64 }

// Contains says whether a place is in the circle, as a Tree does.
func (c Circle) Contains(lat, lon float64) bool {
	from := newCentre(c.Lat, c.Lon)
	return from.haversine(lat, lon) <= haversineOf(c.Metres)
}

// search is one query for the nearest.
type search struct {
	t      *Tree
	window window
	box    *Box   // only who is in it; nil: anybody
	outer  window // its window
	centre centre
	x, y   uint32
	south  float64 // of the window, for points
	north  float64
	most   float64 // haversine
	drawn  float64 // the haversine for which the window is
	limit  int
	hits   []Hit // from base on
	base   int
	tie    func(a, b uint32) int
	over   bool // there are more than limit
}

// Near appends the points in a circle to dst, the nearest first, at most limit of
// them, and of as many that are as far in the order of tie (by number, if it is nil).
// It returns how many there are in the circle.
func (t *Tree) Near(c Circle, limit int, tie func(a, b uint32) int, dst []Hit) (hits []Hit, total int) {
	if t.n == 0 {
		return dst, 0
	}
	if limit <= 0 {
		return dst, t.CountIn(c)
	}
	if tie == nil {
		tie = cmp.Compare[uint32]
	}
	s := search{t: t, centre: newCentre(c.Lat, c.Lon), x: xOf(c.Lon), y: yOf(c.Lat), most: haversineOf(c.Metres), limit: limit, hits: dst, base: len(dst), tie: tie}
	s.draw(c.Metres)
	if s.run(); s.over {
		return s.hits, t.CountIn(c)
	}
	return s.hits, len(s.hits) - s.base
}

// NearIn is Near for the points in a box, the nearest to its middle first.
func (t *Tree) NearIn(b Box, limit int, tie func(a, b uint32) int, dst []Hit) (hits []Hit, total int) {
	if t.n == 0 {
		return dst, 0
	}
	if limit <= 0 {
		return dst, t.Count(b)
	}
	if tie == nil {
		tie = cmp.Compare[uint32]
	}
	lat, lon := b.Middle()
	s := search{t: t, centre: newCentre(lat, lon), x: xOf(lon), y: yOf(lat), most: math.Inf(1), limit: limit, hits: dst, base: len(dst), tie: tie, box: &b, outer: windowOf(b)}
	if b.North == 90 || b.South == -90 {
		s.outer.x = span{0, around} // the pole has all longitudes
	}
	s.draw(math.Pi * Radius)
	if s.run(); s.over {
		return s.hits, t.Count(b)
	}
	return s.hits, len(s.hits) - s.base
}

// run searches, and puts what it found in order.
func (s *search) run() {
	s.node(1)
	found := s.hits[s.base:]
	if len(found) > few {
		slices.SortFunc(found, s.compare)
	} else {
		s.insert(found)
	}
	for i := range found {
		found[i].Metres = s.centre.metres(found[i].order)
	}
}

// few is how many are put in order one by one, which is quicker then.
const few = 32

func (s *search) insert(hits []Hit) {
	for i := 1; i < len(hits); i++ {
		h, j := hits[i], i
		for ; j > 0 && (h.order < hits[j-1].order || h.order == hits[j-1].order && s.tie(h.ID, hits[j-1].ID) < 0); j-- {
			hits[j] = hits[j-1]
		}
		hits[j] = h
	}
}

// draw has the search look only where those may be who are as near as this.
func (s *search) draw(metres float64) {
	b := Around(s.centre.lat, s.centre.lon, metres)
	s.window, s.south, s.north, s.drawn = windowOf(b), b.South, b.North, s.most
}

func (s *search) compare(a, b Hit) int {
	if a.order != b.order {
		return cmp.Compare(a.order, b.order)
	}
	return s.tie(a.ID, b.ID)
}

// node looks below a node, first where the centre is.
func (s *search) node(at int32) {
	n := s.t.nodes.at(at)
	first := 0
	if size := uint32(around) >> n.level >> 1; size > 0 {
		// On which side of its middle the centre is, the shorter way around.
		if int32(s.x-n.x-size) > 0 {
			first |= 1
		}
		if s.y > n.y && s.y-n.y > size {
			first |= 2
		}
	}
	for i := range 4 {
		q := first ^ i
		switch c := n.child[q]; {
		case c == 0 || !s.window.meets(n.square.child(q)) || s.box != nil && !s.outer.meets(n.square.child(q)):
		case c > 0:
			s.node(c)
		default:
			s.leaf(^c)
		}
	}
}

func (s *search) leaf(at int32) {
	for at != 0 {
		l := s.t.leafs.at(at)
		for i := range int(l.n) {
			lat := l.lat[i]
			if lat < s.south || lat > s.north || xOf(l.lon[i])-s.window.x.from > s.window.x.wide {
				continue
			}
			if s.box != nil && !s.box.Contains(lat, l.lon[i]) {
				continue
			}
			if h := s.centre.haversine(lat, l.lon[i]); h <= s.most {
				s.found(Hit{ID: l.id[i], Lat: lat, Lon: l.lon[i], order: h})
			}
		}
		at = l.next
	}
}

// found takes in a point. When there are as many as may be, they are a heap with the
// farthest on top.
func (s *search) found(h Hit) {
	if len(s.hits)-s.base < s.limit {
		s.hits = append(s.hits, h)
		return
	}
	heap := s.hits[s.base:]
	if !s.over {
		s.over = true
		for i := s.limit/2 - 1; i >= 0; i-- {
			s.down(heap, i)
		}
	}
	if s.compare(h, heap[0]) >= 0 {
		return
	}
	heap[0] = h
	s.down(heap, 0)
	s.most = heap[0].order
	if s.most < s.drawn*0.8 {
		s.draw(s.centre.metres(s.most))
	}
}

func (s *search) down(heap []Hit, i int) {
	for {
		big := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(heap); c++ {
			if s.compare(heap[c], heap[big]) > 0 {
				big = c
			}
		}
		if big == i {
			return
		}
		heap[i], heap[big] = heap[big], heap[i]
		i = big
	}
}

// CountIn returns how many points are in a circle.
func (t *Tree) CountIn(c Circle) int {
	if t.n == 0 {
		return 0
	}
	s := search{t: t, centre: newCentre(c.Lat, c.Lon), most: haversineOf(c.Metres)}
	s.draw(c.Metres)
	return s.count(1, c.Metres)
}

// count counts below a node.
func (s *search) count(at int32, metres float64) (sum int) {
	n := s.t.nodes.at(at)
	if s.inside(n.square, metres) {
		return int(n.count)
	}
	for q, c := range n.child {
		switch {
		case c == 0 || !s.window.meets(n.square.child(q)):
		case c > 0:
			sum += s.count(c, metres)
		default:
			sum += s.countLeaf(^c)
		}
	}
	return sum
}

func (s *search) countLeaf(at int32) (sum int) {
	for at != 0 {
		l := s.t.leafs.at(at)
		for i := range int(l.n) {
			if s.centre.haversine(l.lat[i], l.lon[i]) <= s.most {
				sum++
			}
		}
		at = l.next
	}
	return sum
}

// inside says whether a part of the Earth is certainly within the circle: if its middle
// is, by as much as its corners are from there at most.
func (s *search) inside(q square, metres float64) bool {
	high := 90 / float64(uint64(1)<<q.level)   // half of it
	half := (high + 2*high) * radians * Radius // along a meridian, and at most a parallel
	if half >= metres {
		return false
	}
	lat := float64(q.y)*(180/float64(1<<32)) - 90 + high
	lon := float64(q.x)*(360/float64(1<<32)) - 180 + 2*high
	return s.centre.metres(s.centre.haversine(lat, lon))+half < metres
}

// In calls f with each point of a box, in no order, until it returns false.
func (t *Tree) In(b Box, f func(id uint32, lat, lon float64) bool) {
	if t.n == 0 {
		return
	}
	w := windowOf(b)
	if b.North == 90 || b.South == -90 {
		w.x = span{0, around} // the pole has all longitudes
	}
	t.in(1, &w, b, f)
}

func (t *Tree) in(at int32, w *window, b Box, f func(uint32, float64, float64) bool) bool {
	n := t.nodes.at(at)
	for q, c := range n.child {
		switch {
		case c == 0 || !w.meets(n.square.child(q)):
		case c > 0:
			if !t.in(c, w, b, f) {
				return false
			}
		default:
			if !t.inLeaf(^c, b, f) {
				return false
			}
		}
	}
	return true
}

func (t *Tree) inLeaf(at int32, b Box, f func(uint32, float64, float64) bool) bool {
	for ; at != 0; at = t.leafs.at(at).next {
		l := t.leafs.at(at)
		for i := range int(l.n) {
			if b.Contains(l.lat[i], l.lon[i]) && !f(l.id[i], l.lat[i], l.lon[i]) {
				return false
			}
		}
	}
	return true
}

// Count returns how many points are in a box.
func (t *Tree) Count(b Box) int {
	if t.n == 0 {
		return 0
	}
	w := windowOf(b)
	inner := w // parts that it covers are in the box wherever the points in them are
	inner.x.from, inner.y.from = inner.x.from+1, inner.y.from+1
	inner.x.wide, inner.y.wide = max(inner.x.wide, 2)-2, max(inner.y.wide, 2)-2
	if w.x.wide == around {
		inner.x = w.x
	}
	if b.North == 90 || b.South == -90 {
		w.x = span{0, around}
	}
	return t.countBox(1, &w, &inner, b)
}

func (t *Tree) countBox(at int32, w, inner *window, b Box) (sum int) {
	n := t.nodes.at(at)
	if n.level > 0 && inner.covers(n.square) {
		return int(n.count)
	}
	for q, c := range n.child {
		switch {
		case c == 0 || !w.meets(n.square.child(q)):
		case c > 0:
			sum += t.countBox(c, w, inner, b)
		default:
			t.inLeaf(^c, b, func(uint32, float64, float64) bool { sum++; return true })
		}
	}
	return sum
}

// Meets says whether two boxes have a place in common, to a few centimetres.
func (b Box) Meets(other Box) bool {
	v, w := windowOf(b), windowOf(other)
	if b.North == 90 && other.North == 90 || b.South == -90 && other.South == -90 {
		return true // the pole
	}
	return v.x.meets(w.x.from, w.x.wide) && v.y.meets(w.y.from, w.y.wide)
}
