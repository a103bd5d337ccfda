package wire

import "time"

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
	Confirm   bool          // "confirmationEnabled", true when absent
	TTL       time.Duration // "ttl", 0 when absent

	// What ParseFrame saw in Data on its way, so that ParseMessage need not
	// look again.
	hint messageHint
}

type messageHint struct {
	seen        bool // ParseFrame was here
	to, content []byte
	twice       string // member that was given twice
}

// ParseFrame checks that b is one JSON object and reads its envelope. It does
// not look into Data beyond that.
//
// The error is nil or of KindInvalidMessage. With an error, Reference is set
// all the same if it was found, so that the answer can carry it.
func ParseFrame(b []byte) (Frame, *Error) {
	return Frame{}, &Error{Kind: KindInvalidMessage, Code: CodeNotJSON}
}
