package events

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// note is one message between two nodes about a session that one of them has and
// a client that came to the other. All have the same form:
//
//	kind    1 byte
//	id      8 bytes, little endian: the asker's number of its question, or of its answer of events
//	number  8 bytes likewise; its meaning follows from the kind, as that of what follows does
//	name    1 byte its length, and the name
//	body    the rest
type note struct {
	kind   noteKind
	id     uint64
	number uint64
	name   string
	body   []byte
}

type noteKind uint8

const noteHead = 1 + 8 + 8 + 1

// What a node says that has a client of a session elsewhere.
const (
	askKnown    noteKind = iota + 1 // name: the secret
	askAck                          // name: the secret; body: the ID of an event
	askFrame                        // name: the secret; body: the frame
	askEnd                          // name: the secret; number: the close code
	askBack                         // name: the ID of an event; body: the print of the credentials
	sayReplaced                     // name: the user; body: the ID of an event of a session that this user has anew
	sayAttach                       // name: the handle; body: the print of the credentials
	sayWrote                        // number: 1 when the part was written
	sayGone                         // the client is
)

// What the node of the session says.
const (
	sayAnswer noteKind = iota + 32 // number: an outcome; name: empty, or two bytes of a close code
	sayWrite                       // number: milliseconds for it; body: the part
	sayHurry                       // number: milliseconds that are left
	sayEnd                         // the answer of events ends
	sayTaken                       // number: bytes that have come, of either
)

// parseNote takes a message apart. body is a part of it.
func parseNote(b []byte) (n note, ok bool) {
	if len(b) < noteHead || len(b) < noteHead+int(b[noteHead-1]) {
		return note{}, false
	}
	name := b[noteHead : noteHead+int(b[noteHead-1])]
	return note{
		kind: noteKind(b[0]), id: binary.LittleEndian.Uint64(b[1:]), number: binary.LittleEndian.Uint64(b[9:]),
		name: string(name), body: b[noteHead+len(name):],
	}, true
}

// head returns what stands before the body.
func (n *note) head() []byte {
	b := make([]byte, noteHead, noteHead+len(n.name))
	b[0] = byte(n.kind)
	binary.LittleEndian.PutUint64(b[1:], n.id)
	binary.LittleEndian.PutUint64(b[9:], n.number)
	b[noteHead-1] = byte(len(n.name)) // names are secrets, IDs of events and users: all of them short
	return append(b, n.name...)
}

// heavy says whether a note counts against the window: it may be long.
func (n *note) heavy() bool { return n.kind < sayReplaced || n.kind == sayWrite }

// outcome is what became of a question.
type outcome uint64

const (
	isDone outcome = iota
	isUnknown
	isMany
	isBusy
	isBadID
	isOver    // with a close code
	isOther   // the session is there, of other credentials
	isCrowded // the node answers too many questions
)

// outcomeOf returns how an error is told to another node.
func outcomeOf(err error) (outcome, string) {
	var over *OverError
	switch {
	case err == nil:
		return isDone, ""
	case errors.As(err, &over):
		return isOver, string(binary.LittleEndian.AppendUint16(nil, over.Code))
	case errors.Is(err, ErrMany):
		return isMany, ""
	case errors.Is(err, ErrBusy):
		return isBusy, ""
	case errors.Is(err, ErrBadID):
		return isBadID, ""
	}
	return isUnknown, ""
}

// errorOf is the way back. isOther is no error.
func (n *note) errorOf() error {
	switch outcome(n.number) {
	case isDone, isOther:
		return nil
	case isMany:
		return ErrMany
	case isBusy:
		return ErrBusy
	case isBadID:
		return ErrBadID
	case isOver:
		if len(n.name) == 2 {
			return &OverError{binary.LittleEndian.Uint16([]byte(n.name))}
		}
	case isCrowded:
		return errCrowded()
	}
	return ErrUnknown
}

func errCrowded() error {
	return &wire.Error{Kind: wire.KindGeneralError, Code: wire.CodeOverloaded, Reason: "too many requests wait for the server that has this session"}
}

// tag returns what names a node in the handles of its streams: enough of a hash of
// its ID to tell the nodes of a cluster apart. All that it tells a client is which
// of the sessions that it has are at the same node.
func tag(node string) string {
	sum := sha256.Sum256([]byte(node))
	return base64.RawURLEncoding.EncodeToString(sum[:tagBytes])
}
