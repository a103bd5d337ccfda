package match

// Properties are what a device says of itself: numbers, strings and sets of strings.
type Properties struct{ list []property }

// Query is what a device asks of others' properties.
type Query struct{ list []demand }

type property struct{}

type demand struct{}

// ParseProperties reads a JSON object of at most MaxProperties members whose values
// are numbers, strings, or arrays of at most MaxSet strings. The error is a *Refusal
// with BAD_FIELD, whose Field is relative to the object. nil is no properties.
func ParseProperties(raw []byte) (Properties, error) { return Properties{}, nil }

// ParseQuery reads a JSON object of at most MaxProperties members. A value is a number
// or a string (equal), {"min":n,"max":n} (one of both may be absent), {"in":[…]} of
// numbers or of strings, {"any":[…]} or {"all":[…]} of strings, for sets. The error is
// as that of ParseProperties.
func ParseQuery(raw []byte) (Query, error) { return Query{}, nil }

// ParseWiden reads {"over":seconds,"radius":metres,"query":{"name":{"min":n,"max":n}}}.
// Whether it goes with the rest is checked by Session.Request. The error is as that of
// ParseProperties.
func ParseWiden(raw []byte) (Widen, error) { return Widen{}, nil }

// ParseGesture reads the name of a gesture: bump, swipe-left, swipe-right, swipe-up,
// swipe-down.
func ParseGesture(name string) (Gesture, bool) { return NoGesture, false }

// AppendJSON appends the properties as a JSON object.
func (p Properties) AppendJSON(dst []byte) []byte { return append(dst, "{}"...) }

// Empty says whether there are none.
func (p Properties) Empty() bool { return len(p.list) == 0 }
