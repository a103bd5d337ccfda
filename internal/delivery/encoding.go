package delivery

import (
	"encoding/binary"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What nodes tell each other. A message begins with the version of its encoding
// and its kind. Numbers are varints; text has its length before it, unless it is
// what is left. A kind that a node does not know is of a newer one, and ignored;
// so are operations in a change, and what follows where a message should end. An
// encoding of another version is not read at all: nodes that differ so much
// cannot be one cluster.
const encoding = 1

const (
	kindBegin  = 1  // snapshot: all sessions of the sender follow
	kindPart   = 2  // snapshot, entries
	kindTurn   = 3  // snapshot: answer with kindMore
	kindMore   = 4  // snapshot: the next may come
	kindEnd    = 5  // snapshot, change up to which it holds all
	kindChange = 6  // its number, operations with an entry each
	kindAck    = 7  // number of the change up to which all is known
	kindFast   = 8  // token or 0, count, receivers, frame
	kindProof  = 9  // token
	kindAll    = 10 // after whom, up to whom, but whom, frame: to all users of the app between them
	kindClose  = 11 // close code, user, ID of the session, reason
	kindRoom   = 12 // token, user: end a session of it whose client is away
	kindRoomed = 13 // token, 1 if there was one
)

// Operations in a change.
const (
	opJoin  = 1
	opLeave = 2
)

// A receiver in kindFast is a number, which is twice the length of a user's ID,
// the ID, and, if the number is odd, one of the user's sessions.
const receiverSession = 1

// scanner reads a message. What it returns is of the message's memory; once
// something is missing it returns nothing more, and says so.
type scanner struct {
	rest  []byte
	short bool
}

func (s *scanner) byte() byte {
	if b := s.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (s *scanner) number() uint64 {
	n, size := binary.Uvarint(s.rest)
	if size <= 0 {
		s.rest, s.short = nil, true
		return 0
	}
	s.rest = s.rest[size:]
	return n
}

func (s *scanner) bytes(n uint64) []byte {
	if n > uint64(len(s.rest)) {
		s.rest, s.short = nil, true
		return nil
	}
	b := s.rest[:n]
	s.rest = s.rest[n:]
	return b
}

func (s *scanner) text() []byte { return s.bytes(s.number()) }

func (s *scanner) user() wire.UserID { return wire.UserID(s.text()) }

func (s *scanner) id() (id wire.ID) {
	copy(id[:], s.bytes(uint64(len(id))))
	return id
}

// entry returns the next session, and false when there is none.
func (s *scanner) entry() (entry, bool) {
	e := entry(s.text())
	if !e.valid() {
		s.rest, s.short = nil, true
		return nil, false
	}
	return e, true
}

// message begins a message of a kind, with numbers.
func message(kind byte, numbers ...uint64) []byte {
	b := append(make([]byte, 0, 64), encoding, kind)
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func appendText(dst []byte, text string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}
