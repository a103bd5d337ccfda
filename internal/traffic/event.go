package traffic

import (
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/window"
)

// Pane is how long a pane is, and the shortest window.
const Pane = 10 * time.Second

// minute is how long the panes are that are kept longer.
const minute = time.Minute

// Event is one of the journal, as far as it matters here.
type Event struct {
	At, Stored int64 // when it happened, and when it was taken in, in milliseconds
	Key
	Amount uint64
	Sums   *window.Aggregate // of one that stands for many; nil: of Amount alone
	// Brought says that it was taken in elsewhere, and is from before what is folded here. It
	// counts as if it had been folded then.
	Brought bool
}

// Key says what is told apart. A field may be empty: an event need not have all.
type Key struct {
	Type       string
	App        string
	Capability string
	Domain     string
	Device     string
}

// Types of events that have a meaning here. All others are told apart as they are.
const (
	// Delivered are the sums of what a node has handed to sessions.
	Delivered = "traffic"
	// Sent is what a device has sent by the journal.
	Sent = "bytesSent"

	// What was refused, in the window in which it came.
	tooLate = "tooLate"
	ahead   = "ahead"
)

// Exchanged are the types that make up the messages exchanged: each message once.
func Exchanged() []string { return []string{Delivered, Sent} }

// Other stands for those groups that a pane does not tell apart any more.
const Other = "(other)"
