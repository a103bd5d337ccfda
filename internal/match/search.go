package match

import (
	"math"
	"slices"
	"time"
)

// compartment holds the tickets of a pool that have in common what must be equal.
type compartment struct {
	kind  kind
	pool  *pool
	tree  tree
	users int // tickets that wait, also those in no tree at present
}

// kind is what must be equal.
type kind struct {
	key     string
	gesture Gesture
	plane   bool
}

// candidate is one who fits; what is less comes first.
type candidate struct {
	t    *ticket
	rank float64
}

// search finds the first few who fit a ticket, in the order in which it wants them.
type search struct {
	seeker *ticket
	window time.Duration
	most   int
	dims   int
	found  []candidate // in order
	looked int         // how many were looked at, ever
}

// rank says in which order a ticket wants those who fit: of a gesture the nearest in
// time, else the nearest or the oldest. Who is equal comes in the order of age.
func (s *search) rank(t *ticket) float64 {
	a := s.seeker
	switch {
	case a.wait.gesture != NoGesture:
		return float64((a.at - t.at).Abs())
	case a.wait.nearest:
		if !a.wait.located || !t.wait.located {
			return math.Inf(1)
		}
		return far(a.wait.spot, t.wait.spot)
	}
	return float64(t.at)
}

// least is the least rank that somebody below may have.
func (s *search) least(b *branch) float64 {
	a := s.seeker
	switch {
	case a.wait.gesture != NoGesture:
		return float64(max(0, a.at-b.newest, b.oldest-a.at))
	case a.wait.nearest:
		if !a.wait.located || !b.placed {
			return math.Inf(1)
		}
		return b.near(a.wait.spot)
	}
	return float64(b.oldest)
}

func before(x, y candidate) bool {
	if x.rank != y.rank {
		return x.rank < y.rank
	}
	return older(x.t, y.t)
}

// visit looks at what is below a branch, at the better side first.
func (s *search) visit(b *branch) {
	if !b.mayFit(s.seeker, s.dims) {
		return
	}
	least := s.least(b)
	if s.seeker.wait.gesture != NoGesture && least > float64(s.window) {
		return
	}
	if len(s.found) == s.most && least > s.found[s.most-1].rank {
		return
	}
	if b.less == nil {
		for _, t := range b.list {
			s.consider(t)
		}
		return
	}
	first, second := b.less, b.more
	if s.least(second) < s.least(first) {
		first, second = second, first
	}
	s.visit(first)
	s.visit(second)
}

func (s *search) consider(t *ticket) {
	s.looked++
	c := candidate{t, s.rank(t)}
	if len(s.found) == s.most && !before(c, s.found[s.most-1]) || !fits(s.seeker, t, s.window) {
		return
	}
	at := len(s.found)
	for at > 0 && before(c, s.found[at-1]) {
		at--
	}
	if len(s.found) == s.most {
		s.found = s.found[:s.most-1]
	}
	s.found = slices.Insert(s.found, at, c)
}

const (
	// fewCandidates is among how many a group is looked for first, allCandidates among
	// how many at last.
	fewCandidates = 32
	allCandidates = 512
	// maxSteps bounds the search for one group: how many pairs are compared, some
	// milliseconds' worth.
	maxSteps = 8_000
)

// partners returns those with whom a ticket, which is in no tree, is to be in a match
// now; none if there are none. ambiguous says that others made a fitting gesture too.
func (c *core) partners(t *ticket) (members []*ticket, ambiguous bool) {
	other := t.wait.home.pool.compartments[kind{t.wait.key, t.wait.gesture.meets(), t.wait.plane}]
	if other == nil || other.tree.root == nil {
		return nil, false
	}
	s := &c.search
	s.seeker, s.window, s.dims = t, c.limits.GestureWindow, other.tree.dims
	other.tree.place(t)
	defer s.reset()
	if t.wait.max == 2 {
		s.most = 1
		if t.wait.gesture != NoGesture {
			s.most = 2
		}
		s.visit(other.tree.root)
		if len(s.found) == 0 {
			return nil, false
		}
		return []*ticket{s.found[0].t}, len(s.found) > 1
	}
	steps := maxSteps
	for s.most = fewCandidates; s.most <= allCandidates; s.most *= 4 {
		s.found = s.found[:0]
		s.visit(other.tree.root)
		if members = s.group(&steps); members != nil || len(s.found) < s.most || steps < 0 {
			break
		}
	}
	return members, t.wait.gesture != NoGesture && len(members) > 0 && len(s.found) > len(members)
}

// reset forgets whom it found.
func (s *search) reset() {
	s.seeker = nil
	clear(s.found)
	s.found = s.found[:0]
}

// group finds among those who fit the seeker others for a group: as many as there can
// be, and of these the first.
func (s *search) group(steps *int) []*ticket {
	w := s.seeker.wait
	for size := w.max; size >= w.min; size-- {
		if others := s.groupOf(size, steps); others != nil {
			return others
		}
	}
	return nil
}

// groupOf finds a group of a size. It may be when somebody wants no more than that, or
// has been patient for long enough.
func (s *search) groupOf(size int, steps *int) []*ticket {
	may := s.seeker.wait.closes(size)
	var from []*ticket
	some := may
	for _, c := range s.found {
		if w := c.t.wait; w.min <= size && size <= w.max {
			from = append(from, c.t)
			some = some || w.closes(size)
		}
	}
	if !some || len(from) < size-1 {
		return nil
	}
	return s.extend(make([]*ticket, 0, size-1), from, size-1, may, steps)
}

// closes says whether a group with this ticket may be of no more than size.
func (w *wait) closes(size int) bool { return w.max == size || w.elapsed }

// extend adds those of from who fit all of chosen, until there are as many as wanted.
func (s *search) extend(chosen, from []*ticket, want int, may bool, steps *int) []*ticket {
	if len(chosen) == want {
		if may {
			return chosen
		}
		return nil
	}
	for i, t := range from {
		if *steps -= len(from) - i; *steps < 0 || len(chosen)+len(from)-i < want {
			return nil
		}
		size := want + 1
		rest := make([]*ticket, 0, len(from)-i-1)
		for _, u := range from[i+1:] {
			if fits(t, u, s.window) {
				rest = append(rest, u)
			}
		}
		if found := s.extend(append(chosen, t), rest, want, may || t.wait.closes(size), steps); found != nil {
			return found
		}
	}
	return nil
}
