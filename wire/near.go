package wire

import (
	"math"
	"strconv"
	"time"
)

// Bounds of what a frame about positions may hold.
const (
	MaxNearbyRadius = 500_000    // metres; the server's setting may be below
	MaxWatchID      = 64         // bytes
	MaxAccuracy     = 20_038_000 // metres: half of the way around the Earth
	MaxSpeed        = 100_000    // metres a second
)

// Position is where somebody is, as it is said and told.
type Position struct {
	Lat, Lon float64   // degrees
	At       time.Time // zero when absent

	Accuracy, Heading, Speed *float64 // metres, degrees, metres a second; nil when absent
}

// Area is what somebody looks at: a circle, or a box.
type Area struct {
	Box                      bool
	Lat, Lon, Radius         float64 // degrees, metres
	West, South, East, North float64 // degrees; the box crosses the antimeridian when East is below West
}

// NearbyAsk is what a client's frame about positions asks for: only what its type has is
// set. It has been checked to be of the right form.
type NearbyAsk struct {
	Type     Type
	Position Position // of a POSITION
	Watch    string   // its ID
	Area     Area     // of a NEARBY_WATCH
}

// ParseNearby reads the data of a client's frame about positions.
func ParseNearby(f *Frame) (ask NearbyAsk, err *Error) {
	ask.Type = f.Type
	switch f.Type {
	case TypePosition:
		ask.Position, err = parsePosition("data", f.Data)
	case TypeNearbyWatch:
		err = ask.watch(f.Data)
	case TypeNearbyUnwatch:
		var v [1][]byte
		if f.Data == nil {
			return ask, missing("data")
		}
		if err = fields("data", f.Data, []string{"id"}, v[:]); err == nil {
			err = ask.id(v[0])
		}
	}
	return ask, err
}

// ParsePosition reads a position as the body of the HTTP call that says it: the object that
// is the data of a POSITION. The fields of its errors are relative to it.
func ParsePosition(object []byte) (Position, *Error) { return parsePosition("", object) }

// positionFields are the members of a position, first those that it needs.
func positionFields() [6]string {
	return [...]string{"lat", "lon", "accuracy", "heading", "speed", "at"}
}

func parsePosition(where string, object []byte) (p Position, err *Error) {
	if object == nil {
		return p, missing(where)
	}
	names := positionFields()
	var v [len(names)][]byte
	if err := fields(where, object, names[:], v[:]); err != nil {
		return p, err
	}
	for i, name := range names {
		switch {
		case v[i] == nil && i < 2:
			return p, missing(within(where, name))
		case v[i] == nil:
		default:
			if rule := p.set(name, v[i]); rule != "" {
				return p, badField(within(where, name), rule)
			}
		}
	}
	return p, nil
}

// within returns the name of a member of what is called where; "" is nothing.
func within(where, name string) string {
	if where == "" {
		return name
	}
	return where + "." + name
}

// set takes a member of a position. It returns the rule that the value breaks, empty
// for none.
func (p *Position) set(name string, raw []byte) (rule string) {
	if name == "at" {
		at, ok := moment(raw)
		p.At = at
		return broken(ok, " has to be a time as in RFC 3339, or the milliseconds since 1970")
	}
	n, ok := number(raw)
	if !ok {
		return " has to be a number"
	}
	switch name {
	case "lat":
		p.Lat = n
		return latitude(n)
	case "lon":
		p.Lon = n
		return longitude(n)
	case "accuracy":
		p.Accuracy = &n
		return broken(n >= 0 && n <= MaxAccuracy, " has to be a number of metres from 0 to "+strconv.Itoa(MaxAccuracy))
	case "speed":
		p.Speed = &n
		return broken(n >= 0 && n <= MaxSpeed, " has to be a number of metres a second from 0 to "+strconv.Itoa(MaxSpeed))
	}
	p.Heading = new(float64)
	if n != 360 { // which is north, too
		*p.Heading = n
	}
	return broken(n >= 0 && n <= 360, " has to be a number of degrees from 0 to 360, clockwise from north")
}

func latitude(n float64) string {
	return broken(n >= -90 && n <= 90, " has to be a number of degrees from -90 to 90")
}

func longitude(n float64) string {
	return broken(n >= -180 && n <= 180, " has to be a number of degrees from -180 to 180")
}

// moment reads a time: a string as in RFC 3339, or a number of milliseconds since 1970.
func moment(raw []byte) (time.Time, bool) {
	if raw[0] == '"' {
		at, err := time.Parse(time.RFC3339, str(raw))
		return at, err == nil && at.Unix() >= 0
	}
	const last = 253_402_300_799_999 // of the year 9999
	ms, ok := number(raw)
	if !ok || ms < 0 || ms > last {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(ms)), true
}

// watch takes the data of a NEARBY_WATCH.
func (a *NearbyAsk) watch(object []byte) *Error {
	if object == nil {
		return missing("data")
	}
	names := []string{"id", "lat", "lon", "radius", "bbox"}
	var v [5][]byte
	if err := fields("data", object, names, v[:]); err != nil {
		return err
	}
	if err := a.id(v[0]); err != nil {
		return err
	}
	if v[4] != nil {
		for i := 1; i < 4; i++ {
			if v[i] != nil {
				return badField("data."+names[i], " and data.bbox are not for one and the same watch")
			}
		}
		rule := a.Area.box(v[4])
		return member("bbox", rule)
	}
	for i := 1; i < 4; i++ {
		if v[i] == nil {
			e := missing("data." + names[i])
			e.Reason += "; a watch has lat, lon and radius, or bbox"
			return e
		}
		if err := member(names[i], a.Area.set(names[i], v[i])); err != nil {
			return err
		}
	}
	return nil
}

// member returns the error of a member of data that breaks a rule, nil for none.
func member(name, rule string) *Error {
	if rule == "" {
		return nil
	}
	return badField("data."+name, rule)
}

// id takes the ID of a watch.
func (a *NearbyAsk) id(raw []byte) *Error {
	if raw == nil {
		return missing("data.id")
	}
	const rule = " has to be a string of 1 to 64 bytes"
	if raw[0] != '"' {
		return badField("data.id", rule)
	}
	a.Watch = str(raw)
	return member("id", broken(a.Watch != "" && len(a.Watch) <= MaxWatchID, rule))
}

// set takes a part of a circle.
func (a *Area) set(name string, raw []byte) (rule string) {
	n, ok := number(raw)
	if !ok {
		return " has to be a number"
	}
	switch name {
	case "lat":
		a.Lat = n
		return latitude(n)
	case "lon":
		a.Lon = n
		return longitude(n)
	}
	a.Radius = n
	return broken(n > 0 && n <= MaxNearbyRadius, " has to be a number of metres above 0, at most "+strconv.Itoa(MaxNearbyRadius))
}

// box takes an array of west, south, east and north.
func (a *Area) box(raw []byte) (rule string) {
	const what = " has to be an array of four numbers: west, south, east, north"
	if raw[0] != '[' {
		return what
	}
	var sides [4]float64
	count := 0
	s := scanner{b: raw}
	for more := s.open(']'); more; more = s.next(']') {
		v := s.value()
		if v == nil || count == len(sides) {
			return what
		}
		n, ok := number(v)
		if !ok {
			return what
		}
		sides[count] = n
		count++
	}
	if count != len(sides) {
		return what
	}
	a.Box, a.West, a.South, a.East, a.North = true, sides[0], sides[1], sides[2], sides[3]
	return a.CheckBox()
}

// CheckBox says what is wrong with a box, in words that follow its name; empty: nothing.
func (a *Area) CheckBox() (rule string) {
	switch {
	case latitude(a.South) != "" || latitude(a.North) != "":
		return ": south and north have to be numbers of degrees from -90 to 90"
	case longitude(a.West) != "" || longitude(a.East) != "":
		return ": west and east have to be numbers of degrees from -180 to 180"
	}
	return broken(a.South <= a.North, ": north must not be south of south")
}

// Neighbour is somebody who is seen.
type Neighbour struct {
	User UserID
	Name string // empty for none
	Position
	Distance float64 // metres
}

// AppendNeighbour appends somebody who is seen, as a JSON object.
func AppendNeighbour(dst []byte, n *Neighbour) []byte {
	dst = appendUser(append(dst, `{"userId":`...), n.User)
	if n.Name != "" {
		dst = AppendString(append(dst, `,"name":`...), n.Name)
	}
	dst = appendPosition(append(dst, ','), &n.Position)
	dst = appendRounded(append(dst, `,"distance":`...), n.Distance, 1000)
	return append(appendMeasures(dst, &n.Position), '}')
}

// AppendPosition appends a position as a JSON object.
func AppendPosition(dst []byte, p *Position) []byte {
	dst = appendPosition(append(dst, '{'), p)
	return append(appendMeasures(dst, p), '}')
}

// appendPosition appends the members of a position that are always there.
func appendPosition(dst []byte, p *Position) []byte {
	dst = appendRounded(append(dst, `"lat":`...), p.Lat, 1e7)
	dst = appendRounded(append(dst, `,"lon":`...), p.Lon, 1e7)
	return appendTime(append(dst, `,"at":`...), p.At)
}

// appendMeasures appends those that may be absent.
func appendMeasures(dst []byte, p *Position) []byte {
	if p.Heading != nil {
		dst = appendRounded(append(dst, `,"heading":`...), *p.Heading, 100)
	}
	if p.Speed != nil {
		dst = appendRounded(append(dst, `,"speed":`...), *p.Speed, 100)
	}
	if p.Accuracy != nil {
		dst = appendRounded(append(dst, `,"accuracy":`...), *p.Accuracy, 100)
	}
	return dst
}

// appendRounded appends a number to so many parts of one.
func appendRounded(dst []byte, n, parts float64) []byte {
	return strconv.AppendFloat(dst, math.Round(n*parts)/parts+0, 'f', -1, 64) // + 0: there is no -0
}

// Crowd is how many are in one part of a view.
type Crowd struct {
	Lat, Lon float64 // of its middle
	Count    int
}

// AppendNearby appends a NEARBY with all who are seen, of total.
func AppendNearby(dst []byte, watch string, users []Neighbour, total int, reference []byte) []byte {
	dst = appendNeighbours(appendWatch(dst, TypeNearby, watch), users)
	return appendEnd(strconv.AppendInt(append(dst, `,"total":`...), int64(total), 10), reference)
}

// AppendNearbyCells appends a NEARBY with counts.
func AppendNearbyCells(dst []byte, watch string, cells []Crowd, total int, reference []byte) []byte {
	dst = appendCells(appendWatch(dst, TypeNearby, watch), cells)
	return appendEnd(strconv.AppendInt(append(dst, `,"total":`...), int64(total), 10), reference)
}

// AppendNearbyNews appends a NEARBY_ENTER or NEARBY_MOVE.
func AppendNearbyNews(dst []byte, t Type, watch string, users []Neighbour) []byte {
	return appendEnd(appendNeighbours(appendWatch(dst, t, watch), users), nil)
}

// AppendNearbyMoveCells appends a NEARBY_MOVE of counts: those that are others now.
func AppendNearbyMoveCells(dst []byte, watch string, cells []Crowd) []byte {
	return appendEnd(appendCells(appendWatch(dst, TypeNearbyMove, watch), cells), nil)
}

// AppendNearbyLeave appends a NEARBY_LEAVE.
func AppendNearbyLeave(dst []byte, watch string, users []UserID) []byte {
	dst = append(appendWatch(dst, TypeNearbyLeave, watch), `,"users":[`...)
	for i, user := range users {
		dst = appendUser(comma(dst, i), user)
	}
	return appendEnd(append(dst, ']'), nil)
}

// AppendPositionHidden appends a POSITION_HIDDEN.
func AppendPositionHidden(dst, reference []byte) []byte {
	return appendEnd(append(appendMatchType(dst, TypePositionHidden), '{'), reference)
}

func appendWatch(dst []byte, t Type, watch string) []byte {
	return AppendString(append(appendMatchType(dst, t), `{"id":`...), watch)
}

func appendNeighbours(dst []byte, users []Neighbour) []byte {
	dst = append(dst, `,"users":[`...)
	for i := range users {
		dst = AppendNeighbour(comma(dst, i), &users[i])
	}
	return append(dst, ']')
}

func appendCells(dst []byte, cells []Crowd) []byte {
	dst = append(dst, `,"cells":[`...)
	for i, c := range cells {
		dst = appendRounded(append(comma(dst, i), `{"lat":`...), c.Lat, 1e7)
		dst = appendRounded(append(dst, `,"lon":`...), c.Lon, 1e7)
		dst = append(strconv.AppendInt(append(dst, `,"count":`...), int64(c.Count), 10), '}')
	}
	return append(dst, ']')
}
