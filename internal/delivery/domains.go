package delivery

import (
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Domains says who lives where. It is asked for each receiver of each message, and
// must neither block nor call back.
type Domains interface {
	Next(user wire.UserID) Hop
}

// Hop is the next step on the way to a user.
type Hop struct {
	Local  bool        // lives here
	Domain string      // where else; empty when nobody knows
	Link   wire.UserID // the user as which the next domain on the way gets what is for it; empty: there is no way
	Graph  uint64      // the version of the network's description that says so
}

// Neighbour is a domain at the other end of a link.
type Neighbour struct {
	Domain string
	Link   wire.UserID // as which it gets what is for it, or goes through it
	Line   Line        // the connection to it, nil for none that is known
}

// Line is a connection to a neighbour, over which it sends again what it does not know
// to be stored here.
type Line interface {
	// Over says that it has ended: what it brought and nobody acknowledged comes again
	// over the next one, in order. It does not block.
	Over() bool
}

// Past is what a message has that was made elsewhere: in another domain, or
// another mailbox of this one.
type Past struct {
	ID       wire.ID   // which it keeps; zero: it has none yet
	Expires  time.Time // when its time is over; zero: as the mailbox has it
	Presence bool      // it is a notice that makes room where there is none

	// Via names the road that it came by, empty for none, Place is its place there,
	// and Low the first place that may still come: a keeper takes a place of a road
	// once.
	Via        string
	Place, Low uint64
	Line       Line // over which it came, nil for none that is known
}

// Notice is what the server has to tell a user, RELIABLE.
type Notice struct {
	To, From wire.UserID // From is whom it is about
	ID       wire.ID     // zero: it gets one when it is stored
	Presence bool        // it makes room where there is none
	Expires  time.Time   // zero: as the mailbox has it
	Frame    []byte
}
