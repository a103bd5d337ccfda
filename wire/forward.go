package wire

import (
	"bytes"
	"slices"
	"strconv"
	"time"
)

const (
	// MaxForwardReceivers is how many receivers one FORWARD has at most: with the
	// longest of names they take as much as the largest frame of a client.
	MaxForwardReceivers = 1000
	// MaxHops is over how many links a message goes at most.
	MaxHops = 10
	// MaxLogName is the longest name of a log, and of a domain, in bytes.
	MaxLogName = 128

	// ForwardOverhead and ForwardReceiver are by how many bytes a FORWARD may be larger
	// than the frame in it, and what more for each receiver; its reference, which
	// stands in it twice, not counted.
	ForwardOverhead = 2 << 10
	ForwardReceiver = MaxAppName + 1 + maxDigits + 3

	// forwardDepth is how much deeper than in a frame of its own something stands in
	// the "frame" of a FORWARD.
	forwardDepth = 2

	forwardStart = `{"type":"FORWARD","data":{`
)

// Forward is what crosses the link between two domains: a frame for users who live
// behind it, and what their domain has to know of it.
type Forward struct {
	// ID is the message's from its first keeper on; zero for a FAST one. Log names the
	// log in which it waited for the link, Place is its place there, and Low the first
	// place that is not proved: what is below never comes again. All are members of the
	// envelope, see AppendPlace; a FORWARD that still waits has none of them.
	ID         ID
	Log        string
	Place, Low uint64

	Origin string   // the domain in which it was made
	From   UserID   // the sender; of a notice, whom it is about
	To     []UserID // 1 to MaxForwardReceivers, each once
	Hops   int      // the links that it has crossed, with this one: 1 and more
	Graph  uint64   // the version of the network's description by which it was routed
	SentAt time.Time

	Fast     bool // in memory only
	Group    bool // it came as a GROUP_MESSAGE
	Notice   bool // the server's own: dropped where there is no room, its expiry told to nobody
	Presence bool // a notice that makes room where there is none
	Quiet    bool // the sender is not told when it expires
	Confirm  bool // a MESSAGE_CONFIRMATION is wanted, if there is a Reference

	Reference []byte    // raw JSON string, nil for none
	Expires   time.Time // zero: as the receiver's keeper has it

	// Producer names the outbox of the sender from which it came, empty for none, and
	// Seq its number there.
	Producer string
	Seq      uint64

	Frame []byte // what the receivers get, byte for byte
}

// IsForward says whether a frame that the server has written is a FORWARD.
func IsForward(frame []byte) bool { return bytes.HasPrefix(frame, []byte(forwardStart)) }

// AppendForward appends a FORWARD without what stands in its envelope, see
// AppendPlace. Reference and Frame are taken as they are.
func AppendForward(dst []byte, f *Forward) []byte {
	dst = append(dst, forwardStart+`"origin":`...)
	dst = AppendString(dst, f.Origin)
	dst = append(dst, `,"from":"`...)
	dst = append(dst, f.From...)
	dst = append(dst, `","to":[`...)
	for i, to := range f.To {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, to...)
		dst = append(dst, '"')
	}
	dst = append(dst, `],"hops":`...)
	dst = strconv.AppendInt(dst, int64(f.Hops), 10)
	dst = append(dst, `,"graph":`...)
	dst = strconv.AppendUint(dst, f.Graph, 10)
	dst = appendTime(append(dst, `,"sentAt":`...), f.SentAt)
	names := forwardNames()
	for i, set := range [...]bool{f.Fast, f.Group, f.Notice, f.Presence, f.Quiet, f.Confirm} {
		if set {
			dst = append(dst, `,"`...)
			dst = append(dst, names[forwardFast+i]...)
			dst = append(dst, `":true`...)
		}
	}
	if len(f.Reference) > 0 {
		dst = append(append(dst, `,"reference":`...), f.Reference...)
	}
	if !f.Expires.IsZero() {
		dst = appendTime(append(dst, `,"expires":`...), f.Expires)
	}
	if f.Producer != "" {
		dst = AppendString(append(dst, `,"producer":`...), f.Producer)
		dst = strconv.AppendUint(append(dst, `,"seq":`...), f.Seq, 10)
	}
	dst = append(append(dst, `,"frame":`...), f.Frame...)
	return append(dst, `}}`...)
}

// appendTime appends a time with milliseconds, in UTC.
func appendTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, `"2006-01-02T15:04:05.000Z"`)
}

// AppendClose appends a CLOSE_CONNECTION, as it stands in the "frame" of a FORWARD.
func AppendClose(dst []byte, user UserID) []byte {
	return appendPresence(dst, NameCloseConnection, user)
}

// AppendPlace appends a frame with the message's ID and its place in a log as the
// last members of its envelope: as a link's session gets it.
func AppendPlace(dst, frame []byte, id ID, log string, place, low uint64) []byte {
	end := bytes.LastIndexByte(frame, '}')
	if end < 0 {
		return append(dst, frame...) // there is nowhere to put it
	}
	dst = append(append(dst, frame[:end]...), `,"id":"`...)
	dst, _ = id.AppendText(dst)
	dst = AppendString(append(dst, `","log":`...), log)
	dst = strconv.AppendUint(append(dst, `,"place":`...), place, 10)
	dst = strconv.AppendUint(append(dst, `,"low":`...), low, 10)
	return append(append(dst, '}'), frame[end+1:]...)
}

// The members of a FORWARD's data, and after them those of its envelope.
const (
	forwardOrigin = iota
	forwardFrom
	forwardTo
	forwardHops
	forwardGraph
	forwardSentAt
	forwardFast
	forwardGroup
	forwardNotice
	forwardPresence
	forwardQuiet
	forwardConfirm
	forwardReference
	forwardExpires
	forwardProducer
	forwardSeq
	forwardFrame
	forwardCount
)

func forwardNames() [forwardCount]string {
	return [forwardCount]string{
		"origin", "from", "to", "hops", "graph", "sentAt", "fast", "group", "notice", "presence", "quiet", "confirm",
		"reference", "expires", "producer", "seq", "frame",
	}
}

const (
	envelopeType = iota
	envelopeData
	envelopeID
	envelopeLog
	envelopePlace
	envelopeLow
	envelopeCount
)

func envelopeNames() [envelopeCount]string {
	return [envelopeCount]string{"type", "data", "id", "log", "place", "low"}
}

// forwardReader reads a FORWARD in one go.
type forwardReader struct {
	scanner
	envelope [envelopeCount][]byte // raw values, nil when absent or null
	data     [forwardCount][]byte
	err      *Error // what is wrong with a member; the first one counts
}

// ParseForward reads a FORWARD. Reference and Frame point into it. Members that it
// does not know are passed over: a neighbour may be of a newer version.
func ParseForward(frame []byte) (Forward, error) {
	r := forwardReader{scanner: scanner{b: frame, depth: -forwardDepth}}
	if r.space() != '{' {
		return Forward{}, invalid(CodeNotJSON, "the frame is not a JSON object")
	}
	names := envelopeNames()
	r.members(names[:], r.envelope[:], "")
	if err := r.end(); err != nil {
		return Forward{}, err
	}
	var f Forward
	r.readEnvelope(&f)
	r.readNeeded(&f)
	r.readRest(&f)
	if r.err != nil {
		return Forward{}, r.err
	}
	return f, nil
}

// members reads the object that begins here: the values of those members that are
// named, and of "data" what is in it.
func (r *forwardReader) members(names []string, values [][]byte, where string) {
	var seen uint32
	for more := r.open('}'); more; more = r.next('}') {
		var buf [32]byte
		key := r.key()
		at := slices.Index(names, string(key.name(&buf)))
		var v []byte
		if where == "" && at == envelopeData && r.peek() == '{' && seen&(1<<at) == 0 {
			start := r.i
			inner := forwardNames()
			r.members(inner[:], r.data[:], "data.")
			v = r.b[start:r.i]
		} else {
			v = r.value()
		}
		switch {
		case at < 0 || r.fault != faultNone:
			continue
		case seen&(1<<at) != 0:
			r.wrong(twice(where + names[at]))
		case !isNull(v):
			values[at] = v
		}
		seen |= 1 << at
	}
}

func (r *forwardReader) wrong(err *Error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *forwardReader) readEnvelope(f *Forward) {
	v := &r.envelope
	switch name := v[envelopeType]; {
	case name == nil:
		r.wrong(missing("type"))
	case name[0] != '"' || string(text(name)) != NameForward:
		r.wrong(badField("type", " is not FORWARD"))
	}
	switch data := v[envelopeData]; {
	case data == nil:
		r.wrong(missing("data"))
	case data[0] != '{':
		r.wrong(badField("data", " has to be an object"))
	}
	if raw := v[envelopeID]; raw != nil {
		id, err := ID{}, errID
		if raw[0] == '"' {
			id, err = ParseID(text(raw))
		}
		if err != nil {
			r.wrong(badField("id", ": "+errID.Error()))
		}
		f.ID = id
	}
	f.Log = r.word("log", v[envelopeLog], MaxLogName)
	f.Place = r.number("place", v[envelopePlace])
	f.Low = r.number("low", v[envelopeLow])
}

// readNeeded reads what every FORWARD has.
func (r *forwardReader) readNeeded(f *Forward) {
	names := forwardNames()
	for _, at := range [...]int{forwardOrigin, forwardFrom, forwardTo, forwardHops, forwardGraph, forwardSentAt, forwardFrame} {
		if r.data[at] == nil {
			r.wrong(missing("data." + names[at]))
		}
	}
	if r.err != nil {
		return
	}
	v := &r.data
	f.Origin = r.word("data.origin", v[forwardOrigin], MaxLogName)
	from, err := userOf(v[forwardFrom])
	if err != nil {
		r.wrong(badField("data.from", ": "+err.Error()))
	}
	f.From = from
	r.receivers(f, v[forwardTo])
	hops := r.number("data.hops", v[forwardHops])
	if hops < 1 || hops > 1<<16 {
		r.wrong(badField("data.hops", " has to be a whole number from 1 to 65536"))
	}
	f.Hops = int(hops)
	f.Graph = r.number("data.graph", v[forwardGraph])
	f.SentAt = r.time("data.sentAt", v[forwardSentAt])
	if f.Frame = v[forwardFrame]; f.Frame[0] != '{' {
		r.wrong(badField("data.frame", " has to be an object"))
	}
}

func (r *forwardReader) receivers(f *Forward, raw []byte) {
	if raw[0] != '[' {
		r.wrong(badField("data.to", " has to be an array of user IDs"))
		return
	}
	to, bad, _, fits := users(raw, MaxForwardReceivers)
	switch {
	case !fits:
		r.wrong(about("data.to", CodeTooManyReceivers, " has more than "+strconv.Itoa(MaxForwardReceivers)+" receivers"))
	case len(bad) > 0:
		r.wrong(badField("data.to", ": "+strconv.Quote(bad[0])+" is no user ID"))
	case len(to) == 0:
		r.wrong(badField("data.to", " names nobody"))
	}
	f.To = to
}

// readRest reads what a FORWARD may have.
func (r *forwardReader) readRest(f *Forward) {
	v, names := &r.data, forwardNames()
	for i, flag := range [...]*bool{&f.Fast, &f.Group, &f.Notice, &f.Presence, &f.Quiet, &f.Confirm} {
		if raw := v[forwardFast+i]; raw != nil {
			value, ok := boolean(raw)
			if !ok {
				r.wrong(badField("data."+names[forwardFast+i], " has to be true or false"))
			}
			*flag = value
		}
	}
	if raw := v[forwardReference]; raw != nil {
		if raw[0] != '"' {
			r.wrong(badField("data.reference", " has to be a string"))
		}
		f.Reference = raw
	}
	if raw := v[forwardExpires]; raw != nil {
		f.Expires = r.time("data.expires", raw)
	}
	name, seq := v[forwardProducer], v[forwardSeq]
	if name == nil && seq == nil {
		return
	}
	if name == nil || name[0] != '"' || !ValidProducer(string(text(name))) {
		r.wrong(badField("data.producer", " has to have 1 to 64 of A-Z a-z 0-9 . _ -, where there is a seq"))
		return
	}
	f.Producer = string(text(name))
	if f.Seq = r.number("data.seq", seq); f.Seq < 1 || f.Seq > MaxSeq {
		r.wrong(badField("data.seq", " has to be a whole number from 1 to "+strconv.Itoa(MaxSeq)))
	}
}

// word reads a string that is not empty, or absent.
func (r *forwardReader) word(name string, raw []byte, most int) string {
	if raw == nil {
		return ""
	}
	if raw[0] == '"' {
		if s := str(raw); s != "" && len(s) <= most {
			return s
		}
	}
	r.wrong(badField(name, " has to be a string of 1 to "+strconv.Itoa(most)+" bytes"))
	return ""
}

// number reads a whole number of 64 bits; 0 when absent.
func (r *forwardReader) number(name string, raw []byte) uint64 {
	if raw == nil {
		return 0
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		r.wrong(badField(name, " has to be a whole number of 64 bits"))
	}
	return n
}

func (r *forwardReader) time(name string, raw []byte) time.Time {
	if raw[0] == '"' {
		// In UTC the year may be another one, with which it could not be read again: the
		// next domain would close its link for what this one has taken.
		if t, err := time.Parse(time.RFC3339, string(text(raw))); err == nil && t.UTC().Year() >= 0 && t.UTC().Year() <= 9999 {
			return t.UTC()
		}
	}
	r.wrong(badField(name, " has to be a time as RFC 3339 has it"))
	return time.Time{}
}
