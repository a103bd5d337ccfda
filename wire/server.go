package wire

import "strconv"

// ServerFrame is a frame of the server, as its client reads it: the envelope
// parsed, the rest not decoded. The slices point into the frame's bytes.
type ServerFrame struct {
	Type      Type   // TypeUnknown when the server knows more than this package does
	TypeName  []byte // "type" as it was written, without quotes
	Data      []byte // the object "data"; nil when absent
	Reference []byte // "reference": a JSON string with its quotes; nil when absent
	ID        ID     // "id"; zero when absent
	Producer  []byte // "producer" of a MESSAGE: a JSON string with its quotes; nil when absent
	Seq       uint64 // "seq" of a MESSAGE, its number among those of that producer; 0 when absent
}

// ParseServerFrame checks that b is one JSON object and reads its envelope. A
// type that it does not know is no error. What is in it may be nested so much
// deeper than MaxDepth as a FORWARD holds another frame.
func ParseServerFrame(b []byte) (ServerFrame, *Error) {
	e := envelope{scanner: scanner{b: b, depth: -forwardDepth}}
	var id ID
	var producer []byte
	var seq uint64
	if e.space() != '{' {
		return ServerFrame{}, invalid(CodeNotJSON, "the frame is not a JSON object")
	}
	for more := e.open('}'); more; more = e.next('}') {
		var buf [32]byte
		key := e.key()
		switch name := key.name(&buf); string(name) {
		case "type", "data", "reference":
			e.member(name)
		case "id":
			if v := e.once("id", seenID); e.is(v, '"', "id", " has to be a string") {
				var err error
				id, err = ParseID(text(v))
				e.require(err == nil, "id", ": "+errID.Error())
			}
		case "producer":
			if v := e.once("producer", seenProducer); e.is(v, '"', "producer", " has to be a string") {
				producer = v
			}
		case "seq":
			if v := e.once("seq", seenSeq); v != nil {
				var err error
				seq, err = strconv.ParseUint(string(v), 10, 64)
				e.require(err == nil, "seq", " has to be a whole number")
			}
		default:
			e.skip()
		}
	}
	if err := e.end(); err != nil {
		return ServerFrame{}, err
	}
	if e.err != nil {
		return ServerFrame{}, e.err
	}
	if e.f.TypeName == nil {
		return ServerFrame{}, missing("type")
	}
	if !e.f.Type.FromServer() {
		e.f.Type = TypeUnknown
	}
	return ServerFrame{e.f.Type, e.f.TypeName, e.f.Data, e.f.Reference, id, producer, seq}, nil
}

// ParseDelivery reads the data of a MESSAGE from the server: who sent it, and
// its content, byte for byte.
func ParseDelivery(data []byte) (from UserID, content []byte, err *Error) {
	var v [2][]byte
	if err := fields("data", data, []string{"from", "content"}, v[:]); err != nil {
		return "", nil, err
	}
	switch {
	case v[0] == nil:
		return "", nil, missing("data.from")
	case v[1] == nil:
		return "", nil, missing("data.content")
	}
	user, uerr := userOf(v[0])
	if uerr != nil {
		return "", nil, badField("data.from", ": "+uerr.Error())
	}
	return user, v[1], nil
}
