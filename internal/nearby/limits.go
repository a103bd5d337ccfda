package nearby

import (
	"fmt"
	"math"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/grid"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// skew is how far a position may be ahead of the keeper's clock.
	skew = 10 * time.Second
	// MaxID is how long the name of a watch may be, in bytes.
	MaxID = 64
	// MaxRadius is the greatest limit that there may be for radii: 500 km.
	MaxRadius = 500_000
	// MaxAnswer is how many users an answer holds.
	MaxAnswer = 1000
)

// Limits bound what is taken. What is 0 gets the default in brackets, but for Precision.
type Limits struct {
	TTL       time.Duration // for how long a position is there without news (5 m)
	Precision float64       // metres; 0: as it was sent
	MaxRadius float64       // of circles, in metres (500 000)
	Watches   int           // of a session (8)
	Rate      int           // positions of a user in a second (10)
	Positions int           // in a shard, those that are hidden included (1 000 000)
	Users     int           // in view, before a watch gets counts of cells (1000)

	shards  int // among which users are divided
	portion int // users of whom is told before others have their turn (4096)
}

func (l Limits) orDefaults() Limits {
	def := func(n *int, to int) {
		if *n == 0 {
			*n = to
		}
	}
	if l.TTL == 0 {
		l.TTL = 5 * time.Minute
	}
	if l.MaxRadius == 0 {
		l.MaxRadius = MaxRadius
	}
	def(&l.Watches, 8)
	def(&l.Rate, 10)
	def(&l.Positions, 1_000_000)
	def(&l.Users, 1000)
	def(&l.portion, 4096)
	return l
}

// dense is how many a cell has at least, of one shard, of which others hear numbers only:
// all shards together then have more than may be in view, and not a multiple of it for
// each of them. With several shards there is room for chance, which gives one of them more.
func (l *Limits) dense() int {
	return min(2*l.Users, 4*l.Users/max(1, l.shards)+32)
}

func refuseField(field, reason string) *Refusal {
	return &Refusal{Code: wire.CodeBadField, Field: field, Reason: reason}
}

func within(f, low, high float64) bool { return f >= low && f <= high } // NaN is not

func checkPlace(lat, lon float64) *Refusal {
	switch {
	case !within(lat, -90, 90):
		return refuseField("lat", "has to be a number of degrees from -90 to 90")
	case !within(lon, -180, 180):
		return refuseField("lon", "has to be a number of degrees from -180 to 180")
	}
	return nil
}

// check says what is wrong with a position; at is when it was, now when it comes.
func (p *Position) check(l *Limits, at, now time.Time) *Refusal {
	if r := checkPlace(p.Lat, p.Lon); r != nil {
		return r
	}
	switch {
	case p.Accuracy.Given && !within(p.Accuracy.Value, 0, wire.MaxAccuracy):
		return refuseField("accuracy", fmt.Sprintf("has to be a number of metres from 0 to %d", wire.MaxAccuracy))
	case p.Heading.Given && !(p.Heading.Value >= 0 && p.Heading.Value < 360):
		return refuseField("heading", "has to be a number of degrees from 0 to 360, clockwise from north")
	case p.Speed.Given && !within(p.Speed.Value, 0, wire.MaxSpeed):
		return refuseField("speed", fmt.Sprintf("has to be a number of metres a second from 0 to %d", wire.MaxSpeed))
	case at.Sub(now) > skew:
		return refuseField("at", fmt.Sprintf("is in the future, by more than %s", skew))
	case now.Sub(at) > l.TTL:
		return refuseField("at", fmt.Sprintf("is longer ago than the %s for which positions are kept", l.TTL))
	}
	return nil
}

// check says what is wrong with a view.
func (v *View) check(l *Limits) *Refusal {
	if !v.Box {
		if r := checkPlace(v.Lat, v.Lon); r != nil {
			return r
		}
		if !(v.Radius > 0 && v.Radius <= l.MaxRadius) {
			return refuseField("radius", fmt.Sprintf("has to be a number of metres above 0, and at most %.0f", l.MaxRadius))
		}
		return nil
	}
	switch {
	case !within(v.South, -90, 90) || !within(v.North, -90, 90) || !within(v.West, -180, 180) || !within(v.East, -180, 180):
		return refuseField("bbox", "has to be west, south, east, north, in degrees from -180 to 180 and from -90 to 90")
	case v.South > v.North:
		return refuseField("bbox", "has its south north of its north")
	}
	return nil
}

// box returns the box in which the view lies.
func (v *View) box() grid.Box {
	if v.Box {
		return grid.Box{West: v.West, South: v.South, East: v.East, North: v.North}
	}
	return grid.Around(v.Lat, v.Lon, v.Radius)
}

// middle returns from where distances are measured.
func (v *View) middle() (lat, lon float64) {
	if v.Box {
		return v.box().Middle()
	}
	return v.Lat, v.Lon
}

// contains says whether a place is in view, as a query does.
func (v *View) contains(lat, lon float64) bool {
	if v.Box {
		return v.box().Contains(lat, lon)
	}
	return grid.Circle{Lat: v.Lat, Lon: v.Lon, Metres: v.Radius}.Contains(lat, lon)
}

// fact is a position as it is kept, and said between nodes. Numbers that are absent
// are NaN.
type fact struct {
	lat, lon                 float64
	at                       int64 // milliseconds since 1970
	accuracy, heading, speed float64
}

func (m Measure) number() float64 {
	if !m.Given {
		return math.NaN()
	}
	return m.Value
}

func measure(f float64) Measure {
	if math.IsNaN(f) {
		return Measure{}
	}
	return Measure{f, true}
}

func (p *Position) fact(at time.Time) fact {
	return fact{p.Lat, p.Lon, at.UnixMilli(), p.Accuracy.number(), p.Heading.number(), p.Speed.number()}
}

func (f *fact) position() Position {
	return Position{f.lat, f.lon, time.UnixMilli(f.at).UTC(), measure(f.accuracy), measure(f.heading), measure(f.speed)}
}

// blur reduces a position to a precision in metres. Heading and speed go, for with them
// one could reckon on between two squares.
func (f *fact) blur(metres float64) {
	if metres <= 0 {
		return
	}
	f.lat, f.lon = grid.Snap(f.lat, f.lon, metres)
	if !(f.accuracy > metres) {
		f.accuracy = metres
	}
	f.heading, f.speed = math.NaN(), math.NaN()
}
