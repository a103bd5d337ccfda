package grid

import "math"

const (
	// full is how many points a leaf holds.
	full = 24
	// deepest is how many times the Earth is quartered: to about a metre. A leaf there
	// goes on in others when it is full.
	deepest = 24
	// sparse is how few points a node has that becomes a leaf again.
	sparse = full / 2
)

// Tree is an index of points. The Earth is quartered, by longitude and latitude, and
// each quarter again, until no more than a few points are in one, which is a leaf.
// The zero value is an empty tree.
type Tree struct {
	nodes arena[node]
	leafs arena[leaf]
	where []uint32 // of each point: its leaf * 32 + its place there; 0: it is not here
	n     int
}

// node is a part of the Earth with its quarters.
type node struct {
	square
	child  [4]int32 // a node, or a leaf as ^leaf; 0: nobody is there
	parent int32
	count  uint32 // points
}

// leaf is a part of the Earth with points.
type leaf struct {
	square
	n        uint8
	parent   int32
	next     int32 // the leaf in which this one goes on, which is full; 0: none
	lat, lon [full]float64
	id       [full]uint32
	_        [8]byte // to 512 bytes, so that a leaf begins where the processor fetches
}

// square is a part of the Earth: x goes eastward around it, y from pole to pole.
type square struct {
	x, y  uint32
	level uint8
}

func (s square) holds(x, y uint32) bool {
	shift := 32 - s.level
	return (x^s.x)>>shift == 0 && (y^s.y)>>shift == 0
}

// quarter returns in which quarter a point is.
func (s square) quarter(x, y uint32) int {
	shift := 31 - s.level
	return int(x>>shift&1 | y>>shift&1<<1)
}

func (s square) child(quarter int) square {
	shift := 31 - s.level
	return square{s.x | uint32(quarter&1)<<shift, s.y | uint32(quarter>>1)<<shift, s.level + 1}
}

// xOf and yOf are a place in whole numbers.
func xOf(lon float64) uint32 { return uint32(int64(math.Floor((lon + 180) * (1 << 32 / 360.0)))) }

func yOf(lat float64) uint32 {
	return uint32(min(1<<32-1, max(0, (lat+90)*(1<<32/180.0))))
}

// Len returns how many points there are.
func (t *Tree) Len() int { return t.n }

// Has says whether a point is there.
func (t *Tree) Has(id uint32) bool { return int(id) < len(t.where) && t.where[id] != 0 }

// Put puts a point at a place, wherever it was before. Numbers of points should be
// small: memory grows with the greatest.
func (t *Tree) Put(id uint32, lat, lon float64) {
	x, y := xOf(lon), yOf(lat)
	for int(id) >= len(t.where) {
		t.where = append(t.where, 0)
	}
	top := int32(1)
	if w := t.where[id]; w != 0 {
		if l := t.leafs.at(int32(w >> 5)); l.holds(x, y) {
			l.lat[w&31], l.lon[w&31] = lat, lon
			return
		}
		top = t.climb(t.take(id), x, y)
	} else {
		t.n++
		if t.nodes.len() == 0 {
			t.nodes.add()
		}
		t.nodes.at(top).count++
	}
	t.sink(top, point{lat, lon, x, y, id})
}

// Remove removes a point.
func (t *Tree) Remove(id uint32) {
	if !t.Has(id) {
		return
	}
	t.n--
	poor := int32(0)
	for at := t.take(id); at != 0; {
		n := t.nodes.at(at)
		n.count--
		if n.count <= sparse && at != 1 {
			poor = at
		}
		at = n.parent
	}
	if poor != 0 {
		t.gather(poor)
	}
}

// climb goes up from a node that has one point less, to the first that holds a place.
func (t *Tree) climb(at int32, x, y uint32) int32 {
	poor := int32(0)
	for {
		n := t.nodes.at(at)
		if n.holds(x, y) || at == 1 {
			break
		}
		n.count--
		if n.count <= sparse {
			poor = at
		}
		at = n.parent
	}
	if poor != 0 {
		t.gather(poor)
	}
	return at
}

type point struct {
	lat, lon float64
	x, y     uint32
	id       uint32
}

// sink puts a point below a node that counts it already.
func (t *Tree) sink(at int32, p point) {
	for {
		n := t.nodes.at(at)
		q := n.quarter(p.x, p.y)
		c := n.child[q]
		switch {
		case c > 0:
			t.nodes.at(c).count++
			at = c
			continue
		case c == 0:
			c = ^t.newLeaf(n.square.child(q), at)
			n.child[q] = c
		}
		l := t.leafs.at(^c)
		if l.n == full && l.level < deepest {
			at = t.split(at, q, ^c)
			t.nodes.at(at).count++
			continue
		}
		head := ^c
		if l.n == full {
			head = t.newLeaf(l.square, at)
			t.leafs.at(head).next = ^c
			n.child[q] = ^head
			l = t.leafs.at(head)
		}
		l.id[l.n], l.lat[l.n], l.lon[l.n] = p.id, p.lat, p.lon
		t.where[p.id] = uint32(head)<<5 | uint32(l.n)
		l.n++
		return
	}
}

func (t *Tree) newLeaf(s square, parent int32) int32 {
	i := t.leafs.add()
	l := t.leafs.at(i)
	l.square, l.parent = s, parent
	return i
}

// split makes a node of a full leaf.
func (t *Tree) split(parent int32, q int, of int32) int32 {
	at := t.nodes.add()
	old := *t.leafs.at(of)
	t.leafs.free(of)
	n := t.nodes.at(at)
	n.square, n.parent, n.count = old.square, parent, full
	t.nodes.at(parent).child[q] = at
	for i := range full {
		t.sink(at, point{old.lat[i], old.lon[i], xOf(old.lon[i]), yOf(old.lat[i]), old.id[i]})
	}
	return at
}

// take takes a point out of its leaf, and returns the node above, which counts it
// still.
func (t *Tree) take(id uint32) int32 {
	w := t.where[id]
	t.where[id] = 0
	at, i := int32(w>>5), w&31
	l := t.leafs.at(at)
	n := t.nodes.at(l.parent)
	q := n.quarter(l.x, l.y)
	head := ^n.child[q]
	h := t.leafs.at(head)
	h.n--
	if last := h.n; head != at || uint32(last) != i {
		l.id[i], l.lat[i], l.lon[i] = h.id[last], h.lat[last], h.lon[last]
		t.where[l.id[i]] = uint32(at)<<5 | i
	}
	parent := l.parent
	if h.n == 0 {
		n.child[q] = 0
		if h.next != 0 {
			n.child[q] = ^h.next
		}
		t.leafs.free(head)
	}
	return parent
}

// gather makes a leaf of a node with few points.
func (t *Tree) gather(at int32) {
	n := *t.nodes.at(at)
	up := t.nodes.at(n.parent)
	to, child := int32(0), int32(0)
	if n.count > 0 {
		to = t.newLeaf(n.square, n.parent)
		child = ^to
	}
	t.pour(at, to)
	up.child[up.quarter(n.x, n.y)] = child
}

// pour has a leaf take all points below a node, which is freed.
func (t *Tree) pour(at, to int32) {
	for _, c := range t.nodes.at(at).child {
		switch {
		case c > 0:
			t.pour(c, to)
		case c < 0:
			from, l := t.leafs.at(^c), t.leafs.at(to) // it is not 0, for there is somebody
			for i := range from.n {
				l.id[l.n], l.lat[l.n], l.lon[l.n] = from.id[i], from.lat[i], from.lon[i]
				t.where[from.id[i]] = uint32(to)<<5 | uint32(l.n)
				l.n++
			}
			t.leafs.free(^c)
		}
	}
	t.nodes.free(at)
}

// arena keeps things of one kind by number, from 1 on, in pages: so only few are moved
// when it grows, and the garbage collector has few things to look at. A small one has
// less than a page, for there may be very many trees with hardly anybody in them. Whoever
// has add called must not go on with what at returned before.
type arena[T any] struct {
	first []T // the first page, up to pageSize of them
	pages []*[pageSize]T
	used  int32   // numbers given
	loose []int32 // those that are free
}

const pageSize = 64

func (a *arena[T]) len() int { return int(a.used) }

func (a *arena[T]) at(i int32) *T {
	if i < pageSize {
		return &a.first[i]
	}
	return &a.pages[uint32(i)/pageSize-1][uint32(i)%pageSize]
}

func (a *arena[T]) add() int32 {
	if n := len(a.loose); n > 0 {
		i := a.loose[n-1]
		a.loose = a.loose[:n-1]
		return i
	}
	a.used++
	switch n := len(a.first); {
	case int(a.used) < n:
	case n < pageSize:
		a.first = append(make([]T, 0, max(2, 2*n)), a.first...)[:max(2, 2*n)]
	case int(a.used)/pageSize > len(a.pages):
		a.pages = append(a.pages, new([pageSize]T))
	}
	return a.used
}

func (a *arena[T]) free(i int32) {
	var zero T
	*a.at(i) = zero
	a.loose = append(a.loose, i)
}
