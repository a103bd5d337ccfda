package match

import (
	"math"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// earth is the Earth's mean radius in metres.
const earth = 6_371_008.8

// vec is a position: on a sphere of radius 1, or in the plane.
type vec [3]float64

// place returns where a point stands.
func (p Point) place(plane bool) vec {
	if plane {
		return vec{p.Lat, p.Lon, 0}
	}
	lat, lon := p.Lat*math.Pi/180, p.Lon*math.Pi/180
	return vec{math.Cos(lat) * math.Cos(lon), math.Cos(lat) * math.Sin(lon), math.Sin(lat)}
}

// reach returns the square of the distance between places that a radius stands for:
// on the sphere, of the straight way through it.
func reach(radius float64, plane bool) float64 {
	if plane {
		return radius * radius
	}
	chord := 2 * math.Sin(min(radius/(2*earth), math.Pi/2))
	return chord * chord
}

// far returns the square of the distance of two places.
func far(a, b vec) float64 {
	x, y, z := a[0]-b[0], a[1]-b[1], a[2]-b[2]
	return x*x + y*y + z*z
}

// ticket is a device in a pool: it waits, or it is in a match. Times are since the
// core's beginning.
type ticket struct {
	id     wire.ID
	device string
	node   *node // of its session; nil: it is not known yet, after a replay
	epoch  uint64
	at     time.Duration
	began  time.Duration // its session: a later one takes over, however often an earlier one asks
	seq    uint64        // of two that came at the same time
	pool   *pool
	props  Properties

	match *match // nil: it waits
	wait  *wait  // nil: it is in a match
}

// wait is what a ticket has while it waits.
type wait struct {
	request
	home *compartment
	leaf *branch // where it stands there; nil: it does not

	reach   float64       // as Request.Radius, squared, see reach; infinite for none
	query   Query         // as it is by now
	step    int           // of the widening
	loses   time.Duration // its patience
	elapsed bool          // that is over

	until   time.Duration
	next    time.Duration // when there is something to do, at most until
	heapAt  int
	spot    vec
	located bool
	counted uint8 // among those who ask for which names of the tree
	dims    []dim // by the tree's names, see tree.place
}

// request is what an owner needs of a Request.
type request struct {
	at             Point
	located, plane bool
	radius         float64
	key            string
	gesture        Gesture
	min, max       int
	query          Query
	widen          Widen
	timeout        time.Duration
	patience       time.Duration
	nearest        bool
	replace        bool
}

// older says whether a came before b.
func older(a, b *ticket) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.seq < b.seq
}

// widenSteps is in how many steps a window widens at most, minStep how far they are
// apart at least.
const (
	widenSteps = 20
	minStep    = 100 * time.Millisecond
)

// step returns how far apart the steps of a widening are.
func (w *Widen) step() time.Duration {
	return max(minStep, (w.Over+widenSteps-1)/widenSteps)
}

// steps returns how many there are.
func (w *Widen) steps() int { return int((w.Over + w.step() - 1) / w.step()) }

// widenTo makes the window as wide as it is at a step.
func (w *wait) widenTo(step int) {
	w.step = step
	part := 1.0
	if n := w.widen.steps(); step < n {
		part = float64(step) / float64(n)
	}
	if w.radius > 0 {
		r := w.radius
		if w.widen.Radius > 0 {
			r += (w.widen.Radius - r) * part
		}
		w.reach = reach(r, w.plane)
	}
	if len(w.widen.Ranges) == 0 {
		return
	}
	for _, to := range w.widen.Ranges {
		from, now := w.request.query.find(to.Name), w.query.find(to.Name)
		now.min, now.max = widened(from.min, to.Min, part), widened(from.max, to.Max, part)
	}
}

// widened returns a bound on its way. What is infinite stays: there is no such bound, or
// it does not widen.
func widened(from, to, part float64) float64 {
	if math.IsInf(to, 0) || math.IsInf(from, 0) {
		return from
	}
	return from + (to-from)*part
}

// takes says whether b is what a asks for, by place and properties; what two have to
// have in common is not looked at.
func (a *ticket) takes(b *ticket) bool {
	if !math.IsInf(a.wait.reach, 1) {
		if !b.wait.located {
			return false
		}
		d := far(a.wait.spot, b.wait.spot)
		if d > a.wait.reach || a.wait.plane && d == a.wait.reach {
			return false
		}
	}
	return a.wait.query.accepts(b.props)
}

// fits says whether two that wait could be in one match.
func fits(a, b *ticket, window time.Duration) bool {
	if a == b || a.device == b.device || max(a.wait.min, b.wait.min) > min(a.wait.max, b.wait.max) {
		return false
	}
	if a.wait.gesture != NoGesture && (a.at-b.at).Abs() > window {
		return false
	}
	return a.takes(b) && b.takes(a)
}

// meets returns the gesture that meets another.
func (g Gesture) meets() Gesture {
	switch g {
	case SwipeLeft:
		return SwipeRight
	case SwipeRight:
		return SwipeLeft
	case SwipeUp:
		return SwipeDown
	case SwipeDown:
		return SwipeUp
	}
	return g
}
