package nearby

import (
	"context"
	"errors"
	"time"
)

// Measure is a number that may be absent, as its zero value is.
type Measure struct {
	Value float64
	Given bool
}

// Position is where somebody is, and since when.
type Position struct {
	Lat, Lon float64   // degrees
	At       time.Time // to the millisecond; zero in Put: now
	Accuracy Measure   // metres
	Heading  Measure   // degrees, clockwise from north: 0 up to, not including, 360
	Speed    Measure   // metres a second
}

// User is somebody who is seen.
type User struct {
	User string
	Position
	Distance float64 // metres from the centre of the view
}

// View is what somebody looks at: a circle, or a box.
type View struct {
	Box                      bool
	Lat, Lon, Radius         float64 // the circle: degrees, metres
	West, South, East, North float64 // the box, degrees; it crosses the antimeridian when East is below West
}

// Cell is how many are in one part of a view.
type Cell struct {
	Lat, Lon float64 // of its middle
	Count    int     // 0: nobody any more
}

// Answer is what is in a view.
type Answer struct {
	Users []User // nearest first; those at the same distance by their number
	Total int    // all in view, also those that a limit leaves out
	Cells []Cell // in place of Users where there are too many; of watches only
}

// Refusal says why something was not taken.
type Refusal struct {
	Code   string
	Field  string // BAD_FIELD: which
	Reason string // one sentence for people; of a field it begins behind the field's name
}

// Error returns code and reason.
func (r *Refusal) Error() string { return r.Code + ": " + r.Reason }

// Outlet is where a session hears of what it watches. Its methods are called one at a
// time, from whatever goroutine, and must not block; each makes one frame. They return
// false when the session has no room for it now: then it was not told, and is told
// later how things stand then.
type Outlet interface {
	// Answer: what is in view now, all of it. It comes after Watch, whose reference it
	// has, and once more, without, when differences cannot say it.
	Answer(id string, a Answer, reference []byte) bool
	// Enter: users have come into view.
	Enter(id string, users []User) bool
	// Move: users in view have other positions.
	Move(id string, users []User) bool
	// Leave: users are out of view, hidden or gone.
	Leave(id string, users []string) bool
	// Cells: these cells have other counts.
	Cells(id string, changed []Cell) bool
	// Trouble: a Watch, whose reference it has, cannot be answered at present; it stays,
	// and is when it can.
	Trouble(id string, reference []byte, err error) bool
}

// Log is what the keeper of a shard needs of the log of its positions: batches, stored
// one after another. What is older than the time to live goes by itself, at any time.
type Log interface {
	// Append stores a batch behind the one with the sequence last, 0 for none, and
	// returns its sequence. It fails with ErrFenced when the log ends elsewhere, and
	// with ErrUnknown when the batch may or may not be stored; after any other error
	// it was not.
	Append(ctx context.Context, last uint64, batch []byte) (seq uint64, err error)
	// Replay calls f with every batch, from the first that there is to the one that
	// was the last when Replay was called, in order; f must not keep it. It returns the
	// sequence of the last, also when that batch itself is gone; 0: there never was one.
	Replay(ctx context.Context, f func(seq uint64, batch []byte) error) (last uint64, err error)
}

// What a Log may answer besides success.
var (
	ErrFenced  = errors.New("another keeper has written to this log")
	ErrUnknown = errors.New("the log did not answer: the batch may or may not be stored")
)

// ErrNoAnswer says that a request may have been served or not: its keeper did not answer.
var ErrNoAnswer = errors.New("the node that keeps these positions did not answer")

// Owners reaches the keepers of shards, and other nodes.
type Owners interface {
	// Request has the keeper of a shard take a request, wherever that is, and has answer
	// called once, perhaps before Request returns; with ErrNoAnswer when it may have been
	// served or not.
	Request(shard int, request []byte, answer func(reply []byte, err error))
	// Tell has Room.Told of a node hear a message, in order, unless it is lost: then
	// Room.Moved is called there. It does not block.
	Tell(node string, message []byte)
	// ShardOf returns the shard of a key.
	ShardOf(key string) int
}
