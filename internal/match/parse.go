package match

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	codeBadField = wire.CodeBadField
	codeConflict = wire.CodeConflict
	codeTooMany  = wire.CodeTooMany
	codeBusy     = wire.CodeBusy
	codeNotFound = wire.CodeNotFound
)

var gestures = map[string]Gesture{
	"bump": Bump, "swipe-left": SwipeLeft, "swipe-right": SwipeRight, "swipe-up": SwipeUp, "swipe-down": SwipeDown,
}

// ParseGesture reads the name of a gesture: bump, swipe-left, swipe-right, swipe-up,
// swipe-down.
func ParseGesture(name string) (Gesture, bool) {
	g, ok := gestures[name]
	return g, ok
}

// ParseProperties reads a JSON object of at most MaxProperties members whose values
// are numbers, strings, or arrays of at most MaxSet strings. The error is a *Refusal
// with BAD_FIELD, whose Field is relative to the object. nil is no properties.
func ParseProperties(raw []byte) (Properties, error) {
	var p Properties
	err := eachMember(raw, MaxProperties, func(name string, value json.RawMessage) *Refusal {
		one := property{name: name}
		switch value[0] {
		case '"':
			one.kind = isString
			s, r := parseString(name, value)
			one.str = s
			p.list = append(p.list, one)
			return r
		case '[':
			one.kind = isSet
			set, r := parseStrings(name, value, 0)
			one.set = set
			p.list = append(p.list, one)
			return r
		}
		if !isNumeric(value) {
			return refuseField(name, "has to be a number, a string, or an array of strings")
		}
		n, r := parseNumber(name, value)
		one.num = n
		p.list = append(p.list, one)
		return r
	})
	if err != nil {
		return Properties{}, err
	}
	slices.SortFunc(p.list, byName)
	return p, nil
}

// ParseQuery reads a JSON object of at most MaxProperties members. A value is a number
// or a string (equal), {"min":n,"max":n} (one of both may be absent), {"in":[…]} of
// numbers or of strings, {"any":[…]} or {"all":[…]} of strings, for sets. The error is
// as that of ParseProperties.
func ParseQuery(raw []byte) (Query, error) {
	var q Query
	err := eachMember(raw, MaxProperties, func(name string, value json.RawMessage) *Refusal {
		d, r := parseDemand(name, value)
		q.list = append(q.list, d)
		return r
	})
	if err != nil {
		return Query{}, err
	}
	slices.SortFunc(q.list, byName)
	return q, nil
}

func parseDemand(name string, value json.RawMessage) (d demand, r *Refusal) {
	d.name = name
	switch value[0] {
	case '"':
		s, r := parseString(name, value)
		d.kind, d.strs = inStrings, []string{s}
		return d, r
	case '{':
	default:
		if !isNumeric(value) {
			return d, refuseField(name, "has to be a number, a string, or an object with min and max, or with one of in, any, all")
		}
		n, r := parseNumber(name, value)
		d.kind, d.nums = inNumbers, []float64{n}
		return d, r
	}
	var ops []string
	d.min, d.max = math.Inf(-1), math.Inf(1)
	err := eachMember(value, 2, func(op string, value json.RawMessage) (r *Refusal) {
		ops = append(ops, op)
		at := name + "." + op
		switch op {
		case "min":
			d.min, r = parseNumber(at, value)
		case "max":
			d.max, r = parseNumber(at, value)
		case "in":
			r = d.parseIn(at, value)
		case "any":
			d.kind = hasAny
			d.strs, r = parseStrings(at, value, 1)
		case "all":
			d.kind = hasAll
			d.strs, r = parseStrings(at, value, 1)
		default:
			r = refuseField(at, "is none of min, max, in, any, all")
		}
		return r
	})
	switch {
	case err != nil:
		if e := err.(*Refusal); e.Field == "" {
			return d, refuseField(name, e.Reason)
		}
		return d, err.(*Refusal)
	case len(ops) == 0, len(ops) == 2 && d.kind != inRange:
		return d, refuseField(name, "has to hold one of in, any, all, or min and max")
	case d.kind == inRange && d.min > d.max:
		return d, refuseField(name, "has a min above its max")
	}
	return d, nil
}

func (d *demand) parseIn(at string, value json.RawMessage) (r *Refusal) {
	var list []json.RawMessage
	wrong := refuseField(at, fmt.Sprintf("has to be an array of 1 to %d numbers, or of as many strings of at most %d bytes", MaxSet, MaxString))
	if json.Unmarshal(value, &list) != nil || len(list) == 0 || len(list) > MaxSet {
		return wrong
	}
	if list[0][0] == '"' {
		d.kind = inStrings
		if d.strs, r = parseStrings(at, value, 1); r != nil {
			return wrong
		}
		return nil
	}
	d.kind = inNumbers
	for _, v := range list {
		n, r := parseNumber(at, v)
		if r != nil {
			return wrong
		}
		d.nums = append(d.nums, n)
	}
	return nil
}

// ParseWiden reads {"over":seconds,"radius":metres,"query":{"name":{"min":n,"max":n}}}.
// Whether it goes with the rest is checked by Session.Request. The error is as that of
// ParseProperties.
func ParseWiden(raw []byte) (Widen, error) {
	var w Widen
	err := eachMember(raw, 3, func(name string, value json.RawMessage) (r *Refusal) {
		switch name {
		case "over":
			var seconds float64
			if seconds, r = parseNumber(name, value); r == nil && !(seconds >= 1e-9 && seconds <= 24*3600) {
				r = refuseField(name, "has to be a number of seconds from a billionth to a day")
			}
			w.Over = time.Duration(seconds * float64(time.Second))
		case "radius":
			w.Radius, r = parseNumber(name, value)
		case "query":
			r = w.parseRanges(value)
		default:
			r = refuseField(name, "is none of over, radius, query")
		}
		return r
	})
	if err != nil {
		return Widen{}, err
	}
	if w.Over == 0 && raw != nil {
		return Widen{}, refuseField("over", "is needed")
	}
	return w, nil
}

func (w *Widen) parseRanges(raw json.RawMessage) *Refusal {
	q, err := ParseQuery(raw)
	if err != nil {
		r := err.(*Refusal)
		return &Refusal{Code: r.Code, Field: join("query", r.Field), Reason: "query." + r.Reason}
	}
	for _, d := range q.list {
		if d.kind != inRange {
			return refuseField("query."+d.name, "is no range")
		}
		w.Ranges = append(w.Ranges, Range{d.name, d.min, d.max})
	}
	return nil
}

func join(outer, inner string) string {
	if inner == "" {
		return outer
	}
	return outer + "." + inner
}

// eachMember calls f for each member of a JSON object, of which there may be most.
func eachMember(raw []byte, most int, f func(name string, value json.RawMessage) *Refusal) error {
	if raw == nil {
		return nil
	}
	refuse := func(reason string) error {
		return &Refusal{Code: codeBadField, Reason: reason}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return refuse("has to be an object")
	}
	seen := make([]string, 0, 4)
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		var value json.RawMessage
		switch {
		case err != nil, !ok:
			return refuse("is no JSON")
		case name == "" || len(name) > MaxProperty:
			return refuse(fmt.Sprintf("has a name that is empty or longer than %d bytes", MaxProperty))
		case !utf8.ValidString(name):
			return refuse("has a name that is no UTF-8")
		case slices.Contains(seen, name):
			return refuseField(name, "is given twice")
		case len(seen) == most:
			return refuse(fmt.Sprintf("has more than %d members", most))
		case d.Decode(&value) != nil || len(value) == 0:
			return refuse("is no JSON")
		}
		seen = append(seen, name)
		if r := f(name, value); r != nil {
			return r
		}
	}
	if _, err := d.Token(); err != nil {
		return refuse("is no JSON")
	}
	return nil
}

// isNumeric says whether a JSON value is a number.
func isNumeric(raw json.RawMessage) bool { return raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' }

func parseNumber(field string, raw json.RawMessage) (float64, *Refusal) {
	n, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case !isNumeric(raw):
		return 0, refuseField(field, "has to be a number")
	case err != nil || math.IsInf(n, 0):
		return 0, refuseField(field, "has to be a number from -1.7e308 to 1.7e308")
	}
	return n, nil
}

func parseString(field string, raw json.RawMessage) (string, *Refusal) {
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil || len(s) > MaxString {
		return "", refuseField(field, fmt.Sprintf("has to be a string of at most %d bytes", MaxString))
	}
	return s, nil
}

func parseStrings(field string, raw json.RawMessage, least int) ([]string, *Refusal) {
	wrong := refuseField(field, fmt.Sprintf("has to be an array of %d to %d strings of at most %d bytes", least, MaxSet, MaxString))
	var list []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &list) != nil || len(list) < least || len(list) > MaxSet {
		return nil, wrong
	}
	all := make([]string, 0, len(list))
	for _, one := range list {
		s, r := parseString(field, one)
		if r != nil {
			return nil, wrong
		}
		all = append(all, s)
	}
	return all, nil
}

// AppendJSON appends the properties as a JSON object.
func (p Properties) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for i := range p.list {
		one := &p.list[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(wire.AppendString(dst, one.name), ':')
		switch one.kind {
		case isNumber:
			dst = strconv.AppendFloat(dst, one.num, jsonFormat(one.num), -1, 64)
		case isString:
			dst = wire.AppendString(dst, one.str)
		case isSet:
			dst = append(dst, '[')
			for j, s := range one.set {
				if j > 0 {
					dst = append(dst, ',')
				}
				dst = wire.AppendString(dst, s)
			}
			dst = append(dst, ']')
		}
	}
	return append(dst, '}')
}

// jsonFormat returns how a number is written: with an exponent where it would be long
// otherwise.
func jsonFormat(n float64) byte {
	if a := math.Abs(n); a != 0 && (a < 1e-6 || a >= 1e21) {
		return 'e'
	}
	return 'f'
}
