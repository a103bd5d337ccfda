package nearby

import "github.com/seed-3d8c1042/switchboard/wire"

// PositionOf returns a position that a client says.
func PositionOf(p *wire.Position) Position {
	measure := func(n *float64) Measure {
		if n == nil {
			return Measure{}
		}
		return Measure{Value: *n, Given: true}
	}
	heading := measure(p.Heading)
	if heading.Value == 360 { // which is north, too
		heading.Value = 0
	}
	return Position{Lat: p.Lat, Lon: p.Lon, At: p.At, Accuracy: measure(p.Accuracy), Heading: heading, Speed: measure(p.Speed)}
}

// Told returns a position as clients are told it.
func (p *Position) Told() wire.Position {
	number := func(m Measure) *float64 {
		if !m.Given {
			return nil
		}
		return &m.Value
	}
	return wire.Position{Lat: p.Lat, Lon: p.Lon, At: p.At, Accuracy: number(p.Accuracy), Heading: number(p.Heading), Speed: number(p.Speed)}
}

// Neighbour returns somebody who is seen as clients are told it.
func (u *User) Neighbour(name string) wire.Neighbour {
	return wire.Neighbour{User: wire.UserID(u.User), Name: name, Position: u.Told(), Distance: u.Distance}
}

// ViewOf returns what a client asks to see.
func ViewOf(a *wire.Area) View {
	return View{Box: a.Box, Lat: a.Lat, Lon: a.Lon, Radius: a.Radius, West: a.West, South: a.South, East: a.East, North: a.North}
}
