package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Type is what kind of thing happened.
type Type string

// The types of events.
const (
	ConnectionsOpen   Type = "connectionsOpen"   // connections of the device that began
	ConnectionsClosed Type = "connectionsClosed" // and that ended
	Matched           Type = "matched"           // matches that the device came into
	Unmatched         Type = "unmatched"         // and left
	BytesSent         Type = "bytesSent"         // bytes that the device sent to others
	BytesReceived     Type = "bytesReceived"     // and got from others
	Traffic           Type = "traffic"           // messages that a node delivered: its own, of no device
	// Carried is what an import brings of a device whose events are gone, of which only the
	// state has what they said. Nobody is shown it as an event.
	Carried Type = "carried"
)

// Types returns the types that may come from outside.
func Types() []Type {
	return []Type{ConnectionsOpen, ConnectionsClosed, Matched, Unmatched, BytesSent, BytesReceived}
}

// TypeNames names them in a row, for people.
func TypeNames() string {
	var names []string
	for _, t := range Types() {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

// Known says whether there is such a type of what has happened.
func (t Type) Known() bool { return t == Traffic || slices.Contains(Types(), t) }

// OfBytes says whether its amount is a number of bytes.
func (t Type) OfBytes() bool { return t == BytesSent || t == BytesReceived || t == Traffic }

// Bounds of what an event holds.
const (
	MaxID     = 64      // bytes of an ID
	MaxDevice = 128     // bytes of a device's name
	MaxAmount = 1 << 53 // beyond, readers of JSON would round
	// MaxAhead is how far, in milliseconds, the time of an event may be ahead of the
	// clock of who takes it in.
	MaxAhead = 60_000

	maxName   = 64      // bytes of an app, domain or capability
	maxSketch = 8 << 10 // bytes of a sketch
)

// Event is one thing that happened.
type Event struct {
	ID     string // unique among those of its device and app; letters, digits, and -_.:
	At     int64  // when it happened, in Unix milliseconds
	Filled bool   // At is when it was taken in, since nobody said it; not stored
	Stored int64  // when an owner took it in; never less than that of an event before it in the shard, unless it is imported
	Type   Type
	Device string // empty for Traffic alone
	Amount int64  // how many, or how many bytes; the sum where Count is not 0

	App, Domain, Capability string // where they are known

	// Of several that were summed: how many, the least and the largest, and a sketch of
	// their sizes, which others can be added to. Count 0: it is one.
	Count, Min, Max int64
	Sketch          []byte

	// Imported is when it came from the journal of another store, by which it was stored; 0:
	// it was stored in this one.
	Imported int64
	Before   *State // of Carried: what the events said that are gone
}

// Errors of what is asked of a Room.
var (
	// ErrInvalid says what is wrong with an event, as a sentence that goes on after the
	// field's name.
	ErrInvalid = errors.New("invalid event")
	// ErrBusy says that as much waits to be stored as may: nothing was taken.
	ErrBusy = errors.New("as many events wait to be stored as may")
	// ErrUnknown says that it is not known whether it was done; it may be yet.
	ErrUnknown = errors.New("it is not known whether it was done")
	// ErrNobody says that nobody keeps the shard at present: nothing was done.
	ErrNobody = errors.New("nobody keeps the shard at present")
	// ErrNext says that what was asked was not done, and the next owner is to be asked.
	ErrNext = errors.New("the next keeper of the shard is to be asked")
	// ErrFull says that the store takes nothing more, or no further device.
	ErrFull = errors.New("the journal takes nothing more")
	// ErrChanged is a Log's: what is stored is not what who writes knew.
	ErrChanged = errors.New("another batch was stored")
	// ErrConflict is a ConflictError.
	ErrConflict = errors.New("another event of the device has this ID")
	// ErrNone says that there is no such device.
	ErrNone = errors.New("there is nothing about this device")
)

// ConflictError says which events were not stored, by their indexes, since others of
// their devices with other contents have their IDs. All the rest was stored.
type ConflictError struct{ Events []int }

// Error counts them.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s: of %d events", ErrConflict, len(e.Events))
}

// Is says that it is an ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// FieldError says what is wrong with a field of an event.
type FieldError struct{ Field, Reason string }

// Error returns field and reason.
func (e *FieldError) Error() string { return e.Field + " " + e.Reason }

// Is says that it is an ErrInvalid.
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }

func wrong(field, format string, args ...any) error {
	return &FieldError{field, fmt.Sprintf(format, args...)}
}

// CheckDevice returns what is wrong with a device's name; nil for nothing.
func CheckDevice(field, name string) error {
	switch {
	case name == "":
		return wrong(field, "must not be empty")
	case len(name) > MaxDevice:
		return wrong(field, "must have at most %d bytes", MaxDevice)
	case name == "." || name == "..": // no URL can name it
		return wrong(field, "must not be . or ..")
	case !utf8.ValidString(name):
		return wrong(field, "is not UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl):
		return wrong(field, "must not have control characters")
	}
	return nil
}

// Check returns what is wrong with an event that came from outside; nil for nothing. Its
// ID may be missing.
func (e *Event) Check() error {
	if e.ID != "" && !goodID(e.ID) {
		return wrong("id", "must be 1 to %d letters, digits, and -_.:", MaxID)
	}
	if !slices.Contains(Types(), e.Type) {
		return wrong("type", "must be one of %s", TypeNames())
	}
	if err := CheckDevice("device", e.Device); err != nil {
		return err
	}
	if e.Amount < 0 || e.Amount > MaxAmount {
		return wrong("amount", "must be a whole number from 0 to 2^53")
	}
	return nil
}

func goodID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' && c != ':' {
			return false
		}
	}
	return id != "" && len(id) <= MaxID
}

// sound says whether an event from within the program is one: that is asserted.
func (e *Event) sound() bool {
	names := len(e.App) <= maxName && len(e.Domain) <= maxName && len(e.Capability) <= maxName && len(e.Sketch) <= maxSketch
	device := e.Type == Traffic && e.Device == "" || CheckDevice("", e.Device) == nil
	carried := (e.Type == Carried) == (e.Before != nil)
	known := e.Type.Known() || e.Type == Carried
	return names && device && carried && known && goodID(e.ID) && e.Amount >= 0 && e.Count >= 0 && e.At > 0
}
