package wire

import (
	"math"
	"strconv"
	"time"
)

// Bounds of what a frame about matches may hold. Those of properties and queries are
// the server's, which reads them.
const (
	MaxMatchGroup   = 8              // members of a match
	MaxPoolName     = 128            // bytes
	MaxMatchKey     = 256            // bytes
	MaxMatchRadius  = 20_038_000     // metres: half of the way around the Earth
	MaxMatchTimeout = 24 * time.Hour // of patience more counts as this
)

// MatchAsk is what a client's frame about matches asks for: only what its type has is
// set. It has been checked to be of the right form. Content, Properties, Query and
// Widen point into the frame, the rest is copied.
type MatchAsk struct {
	Type Type

	Pool     string
	Located  bool // Lat and Lon were given, in degrees
	Lat, Lon float64
	Radius   float64 // metres; 0 when absent
	Key      string
	Gesture  string
	Min, Max int // 0 when absent
	Timeout  time.Duration
	Patience time.Duration
	Nearest  bool // "policy" is nearest

	Properties, Query, Widen []byte // raw JSON objects, nil when absent

	Match, Ticket ID
	Content       []byte   // raw JSON value
	To            []UserID // each once; nil for all others
}

// matchFields returns the members of "data" that a type has, and how many of them, the
// first, it needs.
func matchFields(t Type) (names []string, needed int) {
	switch t {
	case TypeMatchRequest:
		return []string{"pool", "lat", "lon", "radius", "key", "gesture", "min", "max", "properties", "query", "widen", "timeout", "patience", "policy"}, 1
	case TypeMatchMessage:
		return []string{"match", "content", "to"}, 2
	case TypeMatchCancel:
		return []string{"ticket"}, 1
	}
	return []string{"match"}, 1
}

// maxMatchFields is how many members a type has at most.
const maxMatchFields = 14

// ParseMatch reads the data of a client's frame about matches.
func ParseMatch(f *Frame) (MatchAsk, *Error) {
	ask := MatchAsk{Type: f.Type}
	if f.Data == nil {
		return ask, missing("data")
	}
	names, needed := matchFields(f.Type)
	var v [maxMatchFields][]byte
	if err := fields("data", f.Data, names, v[:]); err != nil {
		return ask, err
	}
	for i, name := range names {
		if v[i] == nil && i < needed {
			return ask, missing("data." + name)
		}
		if v[i] == nil {
			continue
		}
		if rule := ask.set(name, v[i]); rule != "" {
			return ask, badField("data."+name, rule)
		}
	}
	if f.Type != TypeMatchRequest {
		return ask, nil
	}
	// One that is misspelt would widen what is asked for, and nobody would notice.
	if name, found := unknownMember(f.Data, names); found {
		return ask, badField("data."+name, " is no member of a MATCH_REQUEST")
	}
	switch lat, lon := v[1] != nil, v[2] != nil; {
	case lat && !lon:
		return ask, missing("data.lon")
	case lon && !lat:
		return ask, missing("data.lat")
	case v[3] != nil && !lat:
		return ask, badField("data.radius", " needs data.lat and data.lon")
	default:
		ask.Located = lat
	}
	if ask.Min > 0 && ask.Max > 0 && ask.Max < ask.Min {
		return ask, badField("data.max", " is below data.min")
	}
	return ask, nil
}

// set takes a member of data. It returns the rule that the value breaks, empty for
// none.
func (a *MatchAsk) set(name string, raw []byte) (rule string) {
	switch name {
	case "content":
		a.Content = raw
		return ""
	case "properties":
		a.Properties = raw
		return broken(raw[0] == '{', " has to be an object")
	case "query":
		a.Query = raw
		return broken(raw[0] == '{', " has to be an object")
	case "widen":
		a.Widen = raw
		return broken(raw[0] == '{', " has to be an object")
	case "to":
		return a.members(raw)
	case "pool", "key", "gesture", "policy", "match", "ticket":
		if raw[0] != '"' {
			return " has to be a string"
		}
		return a.text(name, str(raw))
	}
	n, ok := number(raw)
	if !ok {
		return " has to be a number"
	}
	return a.number(name, n)
}

// text takes a member that is a string.
func (a *MatchAsk) text(name, s string) (rule string) {
	switch name {
	case "pool":
		a.Pool = s
		return broken(s != "" && len(s) <= MaxPoolName, " has to have 1 to "+strconv.Itoa(MaxPoolName)+" bytes")
	case "key":
		a.Key = s
		return broken(s != "" && len(s) <= MaxMatchKey, " has to have 1 to "+strconv.Itoa(MaxMatchKey)+" bytes")
	case "policy":
		a.Nearest = s == "nearest"
		return broken(a.Nearest || s == "oldest", " has to be oldest or nearest")
	case "gesture":
		a.Gesture = s
		return broken(s != "", " has to be bump, swipe-left, swipe-right, swipe-up or swipe-down")
	}
	id, err := ParseID(s)
	if name == "match" {
		a.Match = id
		return broken(err == nil, " has to be the ID of a match")
	}
	a.Ticket = id
	return broken(err == nil, " has to be the ID of a ticket")
}

// number takes a member that is a number.
func (a *MatchAsk) number(name string, n float64) (rule string) {
	switch name {
	case "lat":
		a.Lat = n
		return broken(n >= -90 && n <= 90, " has to be a number of degrees from -90 to 90")
	case "lon":
		a.Lon = n
		return broken(n >= -180 && n <= 180, " has to be a number of degrees from -180 to 180")
	case "radius":
		a.Radius = n
		return broken(n > 0 && n <= MaxMatchRadius, " has to be a number of metres above 0, at most "+strconv.Itoa(MaxMatchRadius))
	case "timeout":
		a.Timeout = seconds(n)
		return broken(n > 0 && n <= MaxMatchTimeout.Seconds(), " has to be a number of seconds above 0, a day at most")
	case "patience":
		a.Patience = seconds(n)
		return broken(n > 0, " has to be a number of seconds above 0")
	}
	ok := n == math.Trunc(n) && n >= 2 && n <= MaxMatchGroup
	if ok && name == "min" {
		a.Min = int(n)
	} else if ok {
		a.Max = int(n)
	}
	return broken(ok, " has to be a whole number from 2 to "+strconv.Itoa(MaxMatchGroup))
}

// seconds returns a time above 0 for a number of them above 0.
func seconds(n float64) time.Duration {
	if n >= MaxMatchTimeout.Seconds() {
		return MaxMatchTimeout
	}
	return max(time.Duration(n*float64(time.Second)), 1)
}

// members takes the members of a match to whom a message goes.
func (a *MatchAsk) members(raw []byte) (rule string) {
	const what = " has to be an array of 1 to 7 user IDs"
	if raw[0] != '[' {
		return what
	}
	to, bad, _, fits := users(raw, MaxMatchGroup-1)
	a.To = to
	return broken(fits && len(bad) == 0 && len(to) > 0, what)
}

// number returns the value of a JSON number that is not too large for a float64.
func number(raw []byte) (float64, bool) {
	if raw[0] != '-' && !isDigit(raw[0]) {
		return 0, false
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	return n, err == nil
}

// MatchTicket is what became of a ticket: it waits, was canceled, or its time is over.
type MatchTicket struct {
	Ticket ID
	Pool   string
	Reason string // of MATCH_CANCELED; empty when the client asked for it
}

// Why a ticket or a membership ended that the client did not end.
const (
	ReasonReplaced = "replaced" // another session of the user took its place
	ReasonOver     = "over"     // the server knows of it no longer
)

// AppendMatchTicket appends a MATCH_WAITING, MATCH_CANCELED or MATCH_TIMEOUT.
func AppendMatchTicket(dst []byte, t Type, m *MatchTicket, reference []byte) []byte {
	dst = append(appendMatchType(dst, t), `{"ticket":`...)
	dst = appendID(dst, m.Ticket)
	dst = AppendString(append(dst, `,"pool":`...), m.Pool)
	return appendEnd(appendReason(dst, m.Reason), reference)
}

// Matched is a match as one of its members sees it.
type Matched struct {
	Match, Ticket ID
	Pool          string
	Peers         []MatchPeer // the others
	Ambiguous     bool        // another gesture might have been meant
}

// MatchPeer is another member of a match.
type MatchPeer struct {
	User       UserID
	Properties []byte // a JSON object; nil for none
}

// AppendMatched appends a MATCHED.
func AppendMatched(dst []byte, m *Matched, reference []byte) []byte {
	dst = append(appendMatchType(dst, TypeMatched), `{"match":`...)
	dst = appendID(dst, m.Match)
	dst = appendID(append(dst, `,"ticket":`...), m.Ticket)
	dst = AppendString(append(dst, `,"pool":`...), m.Pool)
	dst = append(dst, `,"peers":[`...)
	for i, p := range m.Peers {
		dst = appendUser(comma(dst, i), p.User)
	}
	dst = append(dst, `],"properties":{`...)
	some := 0
	for _, p := range m.Peers {
		if p.Properties != nil {
			dst = append(appendUser(comma(dst, some), p.User), ':')
			dst = append(dst, p.Properties...)
			some++
		}
	}
	dst = append(dst, '}')
	if m.Ambiguous {
		dst = append(dst, `,"ambiguous":true`...)
	}
	return appendEnd(dst, reference)
}

// AppendMatchMessage appends a MATCH_MESSAGE from another member.
func AppendMatchMessage(dst []byte, match ID, from UserID, content, reference []byte) []byte {
	dst = append(appendMatchType(dst, TypeMatchMessage), `{"match":`...)
	dst = appendID(dst, match)
	dst = appendUser(append(dst, `,"from":`...), from)
	dst = append(append(dst, `,"content":`...), content...)
	return appendEnd(dst, reference)
}

// AppendMatchPeerLeft appends a MATCH_PEER_LEFT. ended: nobody else is left.
func AppendMatchPeerLeft(dst []byte, match ID, pool string, peer UserID, ended bool) []byte {
	dst = append(appendMatchType(dst, TypeMatchPeerLeft), `{"match":`...)
	dst = appendID(dst, match)
	dst = AppendString(append(dst, `,"pool":`...), pool)
	dst = appendUser(append(dst, `,"peer":`...), peer)
	dst = strconv.AppendBool(append(dst, `,"ended":`...), ended)
	return appendEnd(dst, nil)
}

// AppendMatchLeft appends a MATCH_LEFT. The reason is empty when the client asked for it.
func AppendMatchLeft(dst []byte, match ID, pool, reason string, reference []byte) []byte {
	dst = append(appendMatchType(dst, TypeMatchLeft), `{"match":`...)
	dst = appendID(dst, match)
	dst = AppendString(append(dst, `,"pool":`...), pool)
	return appendEnd(appendReason(dst, reason), reference)
}

func appendMatchType(dst []byte, t Type) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, t.String()...)
	return append(dst, `","data":`...)
}

func appendReason(dst []byte, reason string) []byte {
	if reason == "" {
		return dst
	}
	return AppendString(append(dst, `,"reason":`...), reason)
}
