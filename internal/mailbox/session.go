package mailbox

import (
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Session is one authenticated connection as its keeper sees it.
type Session struct {
	ID   wire.ID
	User wire.UserID

	// Master says that the user is the master user of its app: each message
	// goes to one of its sessions instead of to all.
	Master bool
	// TellMaster is the user who is told that this session came and went;
	// empty for none.
	TellMaster wire.UserID

	// Ack says that only MESSAGE_ACK proves delivery on this session.
	Ack bool
	// Push asks for the mailbox first, before new messages.
	Push bool
	// Each says that this consumer proves what it got one by one, with ProveEach,
	// and may do so in any order. It is no client: subscribers do not hear of it.
	Each bool
	// Link says that it is no user's, but of the link to another domain: its
	// deliveries say Log and Low, and a proof says that the other domain's log has
	// what was delivered, not that a user has. Nobody is told that it came or went.
	Link bool
	// Window is how many bytes may be on their way to it; 0 for the usual Window.
	Window int
	// Node is the node that holds the connection; empty where there is only one.
	// It is in the log with the session: a keeper that takes over knows by it who
	// may come back.
	Node string

	Outlet Outlet
}

// Outlet is where the keeper's effects for one session go: the session's
// connector. Methods are called one at a time, from the keeper's goroutine, in
// the order in which they happened. They must not block, must not call the
// keeper back before they return, and must copy the bytes that they keep.
type Outlet interface {
	// Opened comes first: the keeper has the session, which gets by itself what is
	// accepted from now on, from the place mark on. It comes again when the session
	// is registered anew, and when its mark moves.
	Opened(mark uint64)
	// Deliver hands over the next message.
	Deliver(Delivery)
	// FetchDone follows the deliveries of one fetch. left is what a further
	// fetch would find.
	FetchDone(left int)
	// Settled says that every proof up to delivery n is in the log. For a session
	// with Each it is about delivery n alone.
	Settled(n uint64)
}

// Ender is an Outlet that can be told that its session is over: its node was taken
// for dead, and everybody has been told that it left. The connector is to close it.
type Ender interface{ Gone() }

// Delivery is one message on its way to one session.
type Delivery struct {
	N       uint64  // rises by one for each delivery of the session, from 1
	Ord     uint64  // the message's place in the order of its shard, the same on every attempt
	Fetched bool    // it was asked for
	ID      wire.ID // the message's identity, the same on every attempt
	Frame   []byte  // the complete frame, without "id"; valid during the call only

	// On a session with Link: Options.LogName, and the place of the first message of
	// the mailbox that is not proved. What is before it never comes again.
	Log string
	Low uint64
}

// Message is a RELIABLE message for a keeper to accept.
type Message struct {
	From  wire.UserID
	To    []wire.UserID // without repeats
	Group bool          // it came as a GROUP_MESSAGE

	Frame     []byte        // the frame that receivers get; belongs to the keeper from now on
	Reference []byte        // raw JSON token, nil for none; belongs to the keeper
	Notice    bool          // the server's own: dropped and counted when the mailbox is full, its expiry told to nobody
	Confirm   bool          // the sender gets a MESSAGE_CONFIRMATION on the first proof
	Quiet     bool          // its expiry is told to subscribers only, not to the sender
	Receipt   bool          // Origin.Stored is wanted
	TTL       time.Duration // how long it may wait; 0 for the mailbox's own limit
	Presence  bool          // with Notice: makes room in a full mailbox

	// ID is given to what has one already, from another domain or shard; zero for a
	// new one. Expires, which takes the place of TTL, is when its time is over as its
	// first keeper decided it; zero for TTL. It never waits longer than the limits say.
	ID      wire.ID
	Expires time.Time

	// Via says over which road a message with an ID came, empty for none, and Place
	// its place there, which rises: what comes again is answered as stored, and not
	// stored again. Low says that nothing before that place will come any more. See
	// road.
	Via        string
	Place, Low uint64

	// Line is the connection over which it came by that road, nil for none that is
	// known: it means nothing to the keeper. Before is what that connection brought for
	// this keeper right before it, the zero Before for nothing: a message that comes
	// while the one before it is not taken is refused for the moment.
	Line   Line
	Before Before

	// Producer names the sender's outbox, empty for none, and Seq the message's
	// number there, which rises. A message that comes again under its number is
	// answered as stored, with the zero ID, and not stored again: see producer.
	Producer string
	Seq      uint64

	Index  int    // its place in a request that has a key, see Once
	Origin Origin // who hears of the outcome; nil for nobody
	Done   func() // called once when the outcome is known; may be nil

	// Repeated is set by the keeper before Origin hears that the message is stored:
	// it was so before, see Once and Producer.
	Repeated bool
}

// Line is a connection over which messages come that come again.
type Line interface {
	// Over says that it has ended: what it brought and is not known to be stored comes
	// again over the next one, all of it and in order. It does not block.
	Over() bool
}

// Before names a message that came over a road: its Via, its receiver if that is the
// only one, and its Place.
type Before struct {
	Via   string
	To    wire.UserID
	Place uint64
}

// Origin is a sending session. Methods are called from the keeper's goroutine,
// or, for what is refused at once, by Accept; they must not block.
type Origin interface {
	// Stored says that the message is on disk, under which ID.
	Stored(id wire.ID, reference []byte)
	// Failed says that the message was not accepted, or, with
	// e.MayYetArrive, that nobody knows. e.To names the receivers concerned.
	Failed(e *wire.Error, reference []byte)
}

func (s *session) record() sessionRecord {
	r := sessionRecord{s.ID, s.User, s.TellMaster, s.Node}
	if s.Link {
		r.tellMaster = ""
	}
	return r
}
