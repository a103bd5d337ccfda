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

	Fast    bool          // in memory only
	Confirm bool          // a MESSAGE_CONFIRMATION is wanted, if there is a Reference
	Receipt bool          // Origin.Stored is wanted (RELIABLE only)
	TTL     time.Duration // RELIABLE only; 0 for none

	Origin Origin // who hears of the outcome; nil for nobody
	Later  Later  // who has FAST frames written later; nil: they are written at once
	Done   func() // called once when a RELIABLE message is stored or refused, a FAST one handed over; may be nil
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
	ID() wire.ID
	User() wire.UserID
	// Fast queues a frame, which it copies, and says whether there was room.
	// proof, when not nil, is called at most once, when the client has proved
	// that it has the frame.
	Fast(frame []byte, proof func()) bool
	// Queue is Fast, but what it queues is written by the next Write, or with what
	// is queued otherwise.
	Queue(frame []byte, proof func()) bool
	// Write writes what is queued. It may take a system call's time.
	Write()
	// Kick closes the session with a close code.
	Kick(code uint16, reason string)
}
