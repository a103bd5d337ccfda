package wire

import (
	"math"
	"strconv"
	"time"
)

// MaxDepth is how deeply arrays and objects may be nested in a frame, the
// envelope counted.
const MaxDepth = 512

// MaxTTL is the longest time that a message can ask for; a longer one counts as
// this.
const MaxTTL = 100 * 365 * 24 * time.Hour

// Frame is a client's frame: its envelope parsed, its payload not decoded. The
// slices point into the frame's bytes.
type Frame struct {
	Type      Type          // TypeUnknown only together with an error
	TypeName  []byte        // "type" as it was written, without quotes
	Data      []byte        // the object "data"; nil when absent
	Reference []byte        // "reference": a JSON string with its quotes; nil when absent. It is echoed byte for byte
	Fast      bool          // "feature" is FAST
	Reliable  bool          // "feature" is RELIABLE, and was given
	Confirm   bool          // "confirmationEnabled", true when absent
	TTL       time.Duration // "ttl", 0 when absent

	seq      []byte // "seq", raw; nil when absent. See ParseSeq
	seqTwice bool

	// What ParseFrame saw in Data on its way, so that ParseMessage need not
	// look again.
	hint messageHint
}

// messageHint holds raw values, nil when absent or null.
type messageHint struct {
	looked      bool // ParseFrame has looked
	to, content []byte
	twice       string // member that was given twice
}

// Bits for the members of an envelope, to notice one that is given twice.
const (
	seenType = 1 << iota
	seenData
	seenReference
	seenFeature
	seenConfirm
	seenTTL
	seenID
	seenSeq
	seenProducer
)

// envelope is the state of ParseFrame.
type envelope struct {
	scanner
	f    Frame
	seen uint16
	err  *Error // what is wrong with a field; the first one counts
}

// ParseFrame checks that b is one JSON object and reads its envelope. Of what is
// in Data it checks only that it is JSON.
//
// The error is nil or of KindInvalidMessage. With an error, Reference is set
// all the same if it was found, so that the answer can carry it.
func ParseFrame(b []byte) (Frame, *Error) {
	e := envelope{scanner: scanner{b: b}}
	e.f.Confirm = true
	e.f.hint.looked = true
	err := e.read()
	return e.f, err
}

func (e *envelope) read() *Error {
	if e.space() != '{' {
		return invalid(CodeNotJSON, "the frame is not a JSON object")
	}
	for more := e.open('}'); more; more = e.next('}') {
		var buf [32]byte
		key := e.key()
		e.member(key.name(&buf))
	}
	if err := e.end(); err != nil {
		return err
	}
	switch {
	case e.err != nil:
		return e.err
	case e.f.TypeName == nil:
		return missing("type")
	case !e.f.Type.FromClient():
		e.f.Type = TypeUnknown
		name := string(appendText(nil, e.f.TypeName))
		err := invalid(CodeUnknownType, "the server knows no type "+strconv.Quote(shorten(name))+" from a client")
		err.Field = "type"
		return err
	}
	return nil
}

// member reads the value of one member of the envelope.
func (e *envelope) member(name []byte) {
	switch string(name) {
	case "type":
		if v := e.once("type", seenType); e.is(v, '"', "type", " has to be a string") {
			e.f.TypeName = v[1 : len(v)-1]
			e.f.Type = typeOf(text(v))
		}
	case "data":
		e.data()
	case "reference":
		if v := e.once("reference", seenReference); e.is(v, '"', "reference", " has to be a string") {
			e.f.Reference = v
		}
	case "feature":
		if v := e.once("feature", seenFeature); v != nil {
			e.feature(v)
		}
	case "confirmationEnabled":
		if v := e.once("confirmationEnabled", seenConfirm); v != nil {
			confirm, ok := boolean(v)
			e.f.Confirm = confirm
			e.require(ok, "confirmationEnabled", " has to be true or false")
		}
	case "ttl":
		if v := e.once("ttl", seenTTL); v != nil {
			e.ttl(v)
		}
	case "seq": // what is wrong with it is no error for those who have no producer
		v := e.value()
		if e.f.seqTwice = e.seen&seenSeq != 0; !e.f.seqTwice && !isNull(v) {
			e.f.seq = v
		}
		e.seen |= seenSeq
	default:
		e.skip()
	}
}

// once reads a value and notes its name. It returns nil when the value is null,
// when the member was there before, and after a fault.
func (e *envelope) once(name string, bit uint16) []byte {
	v := e.value()
	if e.seen&bit != 0 {
		e.wrong(twice(name))
		return nil
	}
	e.seen |= bit
	if isNull(v) {
		return nil
	}
	return v
}

// data reads the object "data" and notes what a MESSAGE has in it.
func (e *envelope) data() {
	if e.peek() != '{' || e.seen&seenData != 0 {
		v := e.once("data", seenData)
		e.is(v, '{', "data", " has to be an object")
		return
	}
	e.seen |= seenData
	start, hint := e.i, &e.f.hint
	var seenTo, seenContent bool
	for more := e.open('}'); more; more = e.next('}') {
		var buf [32]byte
		key := e.key()
		switch string(key.name(&buf)) {
		case "to":
			hint.note(&hint.to, &seenTo, "to", e.value())
		case "content":
			hint.note(&hint.content, &seenContent, "content", e.value())
		default:
			e.skip()
		}
	}
	if e.fault == faultNone {
		e.f.Data = e.b[start:e.i]
	}
}

func (h *messageHint) note(value *[]byte, seen *bool, name string, v []byte) {
	switch {
	case *seen:
		h.twice = name
	case !isNull(v):
		*value = v
	}
	*seen = true
}

func (e *envelope) feature(v []byte) {
	fast, ok := feature(v)
	e.f.Fast, e.f.Reliable = fast, ok && !fast
	e.require(ok, "feature", " has to be RELIABLE or FAST")
}

func feature(v []byte) (fast, ok bool) {
	if v[0] != '"' {
		return false, false
	}
	switch string(text(v)) {
	case "FAST":
		return true, true
	case "RELIABLE":
		return false, true
	}
	return false, false
}

func (e *envelope) ttl(v []byte) {
	ttl, ok := ttlOf(v)
	e.f.TTL = ttl
	e.require(ok, "ttl", " has to be a whole number of seconds above 0")
}

func ttlOf(v []byte) (time.Duration, bool) {
	seconds, ok := integer(v)
	if !ok || seconds <= 0 {
		return 0, false
	}
	return time.Duration(min(seconds, int64(MaxTTL/time.Second))) * time.Second, true
}

// is says whether v is there and begins with the byte first; if it is there and
// does not, that is an error.
func (e *envelope) is(v []byte, first byte, name, rule string) bool {
	if v == nil {
		return false
	}
	e.require(v[0] == first, name, rule)
	return v[0] == first
}

func (e *envelope) require(ok bool, name, rule string) {
	if !ok {
		e.wrong(badField(name, rule))
	}
}

func (e *envelope) wrong(err *Error) {
	if e.err == nil {
		e.err = err
	}
}

// end checks that nothing follows, and returns the scanner's fault as an error.
func (s *scanner) end() *Error {
	if s.fault == faultNone {
		s.space()
		if s.i < len(s.b) {
			s.fail(faultSyntax)
		}
	}
	switch s.fault {
	case faultNone:
		return nil
	case faultDepth:
		return invalid(CodeTooDeep, "arrays and objects are nested more than "+strconv.Itoa(MaxDepth)+" deep")
	}
	return invalid(CodeNotJSON, "the frame is not JSON, at byte "+strconv.Itoa(s.i))
}

func invalid(code, reason string) *Error {
	return &Error{Kind: KindInvalidMessage, Code: code, Reason: reason}
}

func missing(name string) *Error { return about(name, CodeMissingField, " is missing") }
func twice(name string) *Error   { return about(name, CodeBadField, " is given twice") }

// badField says how a member breaks the rule. The sentence goes on after the
// member's name.
func badField(name, rule string) *Error { return about(name, CodeBadField, rule) }

func about(name, code, rest string) *Error {
	e := invalid(code, name+rest)
	e.Field = name
	return e
}

func isNull(raw []byte) bool { return len(raw) == 4 && raw[0] == 'n' }

func boolean(raw []byte) (value, ok bool) {
	return raw[0] == 't', raw[0] == 't' || raw[0] == 'f'
}

// integer returns the value of a JSON number without fraction and exponent; one
// that does not fit counts as the largest or smallest that does.
func integer(raw []byte) (int64, bool) {
	digits := raw
	if digits[0] == '-' {
		digits = digits[1:]
	}
	var n int64
	for _, c := range digits {
		if !isDigit(c) {
			return 0, false
		}
		if n > (math.MaxInt64-int64(c-'0'))/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + int64(c-'0')
	}
	if raw[0] == '-' {
		n = -n
	}
	return n, true
}
