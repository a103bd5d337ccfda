package match

import (
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Bounds of what a request may hold. Whoever takes requests from strangers tells them
// these.
const (
	MaxGroup      = 8
	MaxName       = 128 // bytes, of pools and devices
	MaxKey        = 256 // bytes
	MaxProperties = 16  // and as many members of a query
	MaxProperty   = 64  // bytes of a property's name
	MaxString     = 256 // bytes of a string in properties and queries
	MaxSet        = 32  // strings of a set
	MaxContent    = 1 << 20

	// MaxRadius is half of the Earth's circumference in metres, rounded up.
	MaxRadius = 20_038_000
)

// Pool names a pool. Pools of different apps have nothing to do with each other.
type Pool struct {
	App  string // empty: of the server itself
	Name string // 1 to MaxName bytes
}

// Point is a position: degrees, or plain numbers in a request with Plane.
type Point struct{ Lat, Lon float64 }

// Gesture is what a device did.
type Gesture uint8

// The gestures: a bump meets a bump, a swipe the one in the opposite direction.
const (
	NoGesture Gesture = iota
	Bump
	SwipeLeft
	SwipeRight
	SwipeUp
	SwipeDown
)

// Request is what a device asks for. The zero value of each member but Pool is
// allowed, and means what its comment says.
//
// What two requests have to have in common always: Pool, Key, Plane, gestures that
// meet, and a size of group.
type Request struct {
	Pool      Pool
	Reference []byte // comes back in Ticket

	At      *Point  // nil: nowhere; then it fits nobody who has a Radius
	Radius  float64 // metres, at most MaxRadius; 0: as far as the other likes
	Plane   bool    // At is two plain numbers, and the distance is to be below Radius
	Key     string
	Gesture Gesture // only pairs swipe; waits for Limits.GestureWindow at most
	Min     int     // members, this one included; 0: 2
	Max     int     // 0: Min

	Properties Properties // which others see
	Query      Query      // what others' properties must be
	Widen      Widen

	// Timeout is how long it waits; 0: Limits.Timeout, which is also the most, past which
	// it is refused.
	Timeout time.Duration
	// Patience is how long a device waits for Max members before it takes as few as
	// Min; 0: Limits.Patience; half of the time that it waits in all at most. With
	// Min = Max it is nothing. A group of fewer than Max is made as soon as the patience
	// of one of its members is over, or it is as many as one of them wants at most.
	Patience time.Duration

	Nearest bool // the nearest of those who fit, not the one who waited longest
	// Replace ends another ticket or match of the same device in the pool, if one
	// session has it that came earlier; otherwise this one is refused with CONFLICT.
	Replace bool
	// Again has the session take part again, with the same request and a new ticket,
	// when all peers of its match have left.
	Again bool
}

// Widen says how a window grows with the time that its ticket waits: evenly, in
// small steps, until after Over it is as wide as it says here.
type Widen struct {
	Over   time.Duration // 0: it does not
	Radius float64       // 0: the radius stays
	Ranges []Range       // of members of the query that are ranges
}

// Range is what a range of a query becomes. A bound that is infinite stays as it was.
type Range struct {
	Name     string
	Min, Max float64
}

// Ticket is a request that was taken.
type Ticket struct {
	ID        wire.ID
	Pool      Pool
	Reference []byte // of the request; of Cancel, where that is refused
}

// Match is a match as one of its members sees it.
type Match struct {
	ID        wire.ID
	Pool      Pool
	Peers     []Peer // the others, in the order in which they came
	Ambiguous bool   // when it was made, another device waited whose gesture fitted, too
}

// Peer is another member.
type Peer struct {
	Device     string
	Properties Properties
}

// Refusal is why something is not done. Code is one of package wire's: BAD_FIELD,
// CONFLICT (the device waits or is matched in this pool already, or is no longer what
// was to be canceled), TOO_MANY, BUSY, NOT_FOUND.
type Refusal struct {
	Code   string
	Field  string // BAD_FIELD: which
	Reason string // one sentence for people
}

// Error returns code and reason.
func (r *Refusal) Error() string { return r.Code + ": " + r.Reason }

// Reason says why something ended for a device.
type Reason uint8

// The reasons.
const (
	Asked    Reason = iota // the device asked for it
	Replaced               // another session of the same device took its place
	Over                   // the pool's owner no longer knew of it
)
