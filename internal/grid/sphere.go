package grid

import "math"

// Radius is that of the Earth, in metres: that of Redis.
const Radius = 6372797.560856

const (
	radians = math.Pi / 180
	degrees = 180 / math.Pi
)

// Distance returns how many metres two places are apart, whose coordinates are degrees.
func Distance(lat1, lon1, lat2, lon2 float64) float64 {
	c := newCentre(lat1, lon1)
	return c.metres(c.haversine(lat2, lon2))
}

// centre is a place from which distances are measured.
type centre struct {
	lat, lon float64
	cos      float64
}

func newCentre(lat, lon float64) centre { return centre{lat, lon, math.Cos(lat * radians)} }

// haversine is the square of half the chord, of a sphere of radius 1: it rises with the
// distance, and costs less.
func (c *centre) haversine(lat, lon float64) float64 {
	u := math.Sin((lat - c.lat) * (radians / 2))
	v := math.Sin((lon - c.lon) * (radians / 2))
	return u*u + c.cos*math.Cos(lat*radians)*v*v
}

func (*centre) metres(haversine float64) float64 {
	return 2 * Radius * math.Asin(math.Sqrt(min(1, haversine)))
}

// haversineOf is that of a distance in metres.
func haversineOf(metres float64) float64 {
	if metres >= math.Pi*Radius {
		return math.Inf(1)
	}
	s := math.Sin(metres / (2 * Radius))
	return s * s
}

// Box is what lies between two parallels and two meridians, all of them included. It
// crosses the antimeridian when East is below West. A pole is in each box that reaches
// it, for it has all longitudes.
type Box struct{ West, South, East, North float64 }

// Contains says whether a place is in the box.
func (b Box) Contains(lat, lon float64) bool {
	if lat < b.South || lat > b.North {
		return false
	}
	if lat == 90 || lat == -90 {
		return true
	}
	if lon == 180 {
		lon = -180
	}
	return b.between(lon) || lon == -180 && b.between(180)
}

func (b Box) between(lon float64) bool {
	if b.East < b.West {
		return lon >= b.West || lon <= b.East
	}
	return lon >= b.West && lon <= b.East
}

// Width returns how many degrees of longitude the box has.
func (b Box) Width() float64 {
	if b.East < b.West {
		return b.East - b.West + 360
	}
	return b.East - b.West
}

// Grown returns the box with an edge of some degrees around it.
func (b Box) Grown(edge float64) Box {
	b.South, b.North = max(-90, b.South-edge), min(90, b.North+edge)
	if b.Width()+2*edge >= 360 {
		b.West, b.East = -180, 180
		return b
	}
	if b.West -= edge; b.West < -180 {
		b.West += 360
	}
	if b.East += edge; b.East > 180 {
		b.East -= 360
	}
	return b
}

// Middle returns the place in the middle of the box.
func (b Box) Middle() (lat, lon float64) {
	lon = b.West + b.Width()/2
	if lon >= 180 {
		lon -= 360
	}
	return (b.South + b.North) / 2, lon
}

// Around returns the least box that holds a circle.
func Around(lat, lon, metres float64) Box {
	angle := metres / Radius
	high := angle*degrees*(1+1e-12) + 1e-12 // with room for what is rounded
	b := Box{-180, lat - high, 180, lat + high}
	if b.South > -90 && b.North < 90 {
		if s := math.Sin(angle) / math.Cos(lat*radians); s < 1 {
			wide := math.Asin(s)*degrees*(1+1e-9) + 1e-12
			b.West, b.East = lon-wide, lon+wide
			if b.West < -180 {
				b.West += 360
			}
			if b.East > 180 {
				b.East -= 360
			}
		}
	}
	b.South, b.North = max(b.South, -90), min(b.North, 90)
	return b
}
