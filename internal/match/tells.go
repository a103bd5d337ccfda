package match

import (
	"encoding/binary"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// The kinds of messages between nodes, the first byte of each.
const (
	sayEvents  byte = 1 // the owner of a shard: shard, epoch, events
	sayAgain   byte = 2 // the owner of a shard: shard; begin the conversation anew
	sayMessage byte = 3 // a member's node: see letter.append
)

// What an owner tells a node of its tickets.
const (
	evWaiting  byte = 1 // ticket
	evRefused  byte = 2 // ticket, refusedX, whether it is for a match
	evMatched  byte = 3 // a match as it is, see tell.match
	evTimedOut byte = 4 // ticket
	evCanceled byte = 5 // ticket, Reason
	evTooLate  byte = 6 // ticket, which is matched and cannot be canceled
	evPeerLeft byte = 7 // match, ticket of the one who left, whether it has ended
	evLeft     byte = 8 // ticket, Reason
)

// Why an owner refuses a ticket.
const (
	refusedWaits byte = 1 // the device waits, or is matched, in the pool
	refusedFull  byte = 2 // the shard has as many as it may have
)

// maxTell is from how many bytes on a message for a node is full.
const maxTell = 256 << 10

// tells is what nodes are to be told, in messages for each.
type tells []*tell

// tell is a message for one node. It is nobody's when node is nil.
type tell struct {
	node  *node
	epoch uint64
	buf   []byte
}

// to returns the message for a node to which something is to be added. A node with
// which there is no conversation is told nothing: it asks how things are.
func (ts *tells) to(shard int, n *node) *tell {
	if n.epoch == 0 {
		return &tell{}
	}
	for i := len(*ts) - 1; i >= 0; i-- {
		if t := (*ts)[i]; t.node == n && t.epoch == n.epoch {
			if len(t.buf) < maxTell {
				return t
			}
			break
		}
	}
	t := &tell{node: n, epoch: n.epoch, buf: binary.AppendUvarint([]byte{sayEvents}, uint64(shard))}
	t.buf = binary.AppendUvarint(t.buf, n.epoch)
	*ts = append(*ts, t)
	return t
}

// one adds an event that is about a ticket and nothing else.
func (t *tell) one(event byte, ticket wire.ID) {
	if t.node != nil {
		t.buf = append(append(t.buf, event), ticket[:]...)
	}
}

func (t *tell) why(event byte, ticket wire.ID, why Reason) {
	t.one(event, ticket)
	t.buf = append(t.buf, byte(why))
}

func (t *tell) refused(ticket wire.ID, why byte, matched bool) {
	t.one(evRefused, ticket)
	t.buf = append(t.buf, why, flag(matched))
}

func (t *tell) peerLeft(match, ticket wire.ID, ended bool) {
	t.one(evPeerLeft, match)
	t.buf = append(append(t.buf, ticket[:]...), flag(ended))
}

// match adds a match as it is: all members, with the node of each.
func (t *tell) match(m *match) {
	if t.node == nil {
		return
	}
	t.one(evMatched, m.id)
	t.buf = append(t.buf, flag(m.ambiguous), byte(len(m.members)))
	for _, u := range m.members {
		t.buf = append(t.buf, u.id[:]...)
		t.buf = appendText(appendText(t.buf, u.device), u.node.id)
		t.buf = appendProperties(t.buf, u.props)
	}
}
