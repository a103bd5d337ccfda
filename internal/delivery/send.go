package delivery

import (
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Send is one message that a session, or the server's own side, wants delivered.
type Send struct {
	From  wire.UserID
	To    []wire.UserID // without repeats
	Group bool          // it came as a GROUP_MESSAGE: never confirmed

	Content   []byte // raw JSON value
	Reference []byte // raw JSON token, nil for none

	// Match is the match whose members the receivers are with the sender, zero for none:
	// then they get a MATCH_MESSAGE. It is for RELIABLE ones.
	Match wire.ID

	Fast    bool // in memory only
	Confirm bool // a MESSAGE_CONFIRMATION is wanted, if there is a Reference
	Quiet   bool // the sender's mailbox is not told when it expires (RELIABLE only)
	Receipt bool // Origin.Stored is wanted (RELIABLE only)
	// Notice is set by the hub, for the keeper: it is the server's own, dropped and
	// counted where there is no room, its expiry told to nobody.
	Notice bool
	// Repeated is set before Done is called: the message was stored before, see
	// Once.
	Repeated bool
	TTL      time.Duration // RELIABLE only; 0 for none

	// Producer names the sender's outbox, empty for none, and Seq the message's
	// number there (RELIABLE only): one that comes again under its number is
	// answered as stored, and not stored again.
	Producer string
	Seq      uint64

	// Past is what it has if it was made elsewhere; nil for what is made here. It is set
	// by the hub, for the keeper.
	Past *Past

	// Index is the message's place in the request that it came with, see Once.
	Index int
	// Sessions is set by the hub: on how many sessions a FAST message was queued;
	// those of other nodes count when it is on its way there. It may be read from when Done is called, or Send has returned.
	Sessions int

	Origin Origin // who hears of the outcome; nil for nobody
	Later  Later  // who has FAST frames written later; nil: they are written at once
	Done   func() // called once when a RELIABLE message is stored or refused, a FAST one handed over; may be nil
}

// Once makes a request of several messages one that counts once: a RELIABLE
// message of it that was accepted before, under the same key and index, is not
// accepted again; its sender hears Stored with the ID that it has.
type Once struct {
	Key   [16]byte // of whom and of the request
	Print uint32   // of what is in the request, to tell it from another one
	Count int      // of its messages
}

// Later is a sender that has more to hand over in a moment. It remembers the
// receivers, and calls Write of each once it is through.
type Later interface{ Later(Receiver) }

// Origin is who sent a message. Methods may be called from any goroutine, also
// before Hub.Send returns, and must not block.
type Origin interface {
	Stored(id wire.ID, reference []byte)
	Failed(e *wire.Error, reference []byte)
}

// Receiver is one signed-in session of this node, as the roster knows it.
// Methods may be called from any goroutine and must not block.
type Receiver interface {
	ID() wire.ID // made when the session began
	User() wire.UserID
	// Address returns where the client is, as its connection says it.
	Address() string
	// Transport returns by what it is connected: "websocket" or "sse"; "link" for the
	// session of a link to another domain, which is no user's.
	Transport() string
	// Fast queues a frame, which it copies, and says whether there was room.
	// proof, when not nil, is called at most once, when the client has proved
	// that it has the frame.
	Fast(frame []byte, proof func()) bool
	// Queue is Fast, but what it queues is written by the next Write, or with what
	// is queued otherwise.
	Queue(frame []byte, proof func()) bool
	// Write writes what is queued. It may take a system call's time.
	Write()
	// Presence tells the session that a user whom it watches has come or gone. It
	// must not call the hub.
	Presence(user wire.UserID, online bool)
	// Kick closes the session with a close code.
	Kick(code uint16, reason string)
	// Away says whether the client is away, and since when, by a clock that all
	// sessions share: it may come back to the session.
	Away() (since time.Duration, away bool)
	// GiveWay ends the session if its client is away, and says whether it did.
	GiveWay() bool
}
