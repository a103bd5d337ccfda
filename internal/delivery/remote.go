package delivery

import (
	"encoding/binary"
	"net/netip"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// remote is a session of another node. There may be millions, so all that is text
// is in one piece. It never changes: a list that does begins anew.
type remote struct {
	id   wire.ID
	next *remote // of the same user; in the list that begins here
	node *peer
	text string // as in an entry, behind the ID
}

// An entry is a session in messages between nodes: its ID, its transport, how its
// address is written, the length of the user, the user, the address.
type entry []byte

const (
	entryTransport = 16
	entryForm      = 17
	entryUser      = 19 // its length stands before it
)

// Transports; that of a link is the one from another domain. Others, of versions to come, have no name here.
const (
	transportSocket = 1
	transportEvents = 2
	transportLink   = 3
)

var transportNames = [...]string{transportSocket: "websocket", transportEvents: "sse", transportLink: "link"}

// Forms of addresses.
const (
	formText   = 0
	formBinary = 1 // of a netip.AddrPort: it takes a third of the text
)

// appendEntry appends a session, with its length before it.
func appendEntry(dst []byte, x Receiver) []byte {
	form, address := packAddress(x.Address())
	var transport byte
	for i, name := range transportNames {
		if name == x.Transport() {
			transport = byte(i)
		}
	}
	return appendEntryOf(dst, x.ID(), x.User(), transport, form, address)
}

// appendName appends a session that is only to be found.
func appendName(dst []byte, x Receiver) []byte {
	return appendEntryOf(dst, x.ID(), x.User(), 0, formText, nil)
}

func appendEntryOf(dst []byte, id wire.ID, user wire.UserID, transport, form byte, address []byte) []byte {
	if len(user) > 255 {
		panic("delivery: a signed-in user whose ID is none") // wire.MaxAppName and a number are much less
	}
	dst = binary.AppendUvarint(dst, uint64(entryUser+len(user)+len(address)))
	dst = append(dst, id[:]...)
	dst = append(dst, transport, form, byte(len(user)))
	dst = append(dst, user...)
	return append(dst, address...)
}

// packAddress makes an address short, if it comes back as it was.
func packAddress(text string) (form byte, address []byte) {
	if a, err := netip.ParseAddrPort(text); err == nil && a.String() == text {
		if b, err := a.MarshalBinary(); err == nil {
			return formBinary, b
		}
	}
	return formText, []byte(text)
}

// valid says whether an entry is one. The others of its methods may be called
// only then.
func (e entry) valid() bool {
	return len(e) >= entryUser && len(e) >= entryUser+int(e[entryUser-1])
}

func (e entry) id() wire.ID { return wire.ID(e[:16]) }

func (e entry) user() wire.UserID { return wire.UserID(e[entryUser : entryUser+int(e[entryUser-1])]) }

// remote makes a session of the entry, before others of its user.
func (e entry) remote(node *peer, next *remote) *remote {
	return &remote{id: e.id(), next: next, node: node, text: string(e[len(wire.ID{}):])}
}

func (x *remote) user() wire.UserID {
	const at = entryUser - len(wire.ID{})
	return wire.UserID(x.text[at : at+int(x.text[at-1])])
}

func (x *remote) transport() string {
	if t := int(x.text[entryTransport-len(wire.ID{})]); t < len(transportNames) {
		return transportNames[t]
	}
	return ""
}

func (x *remote) address() string {
	text := x.text[entryUser-len(wire.ID{})+len(x.user()):]
	if x.text[entryForm-len(wire.ID{})] != formBinary {
		return text
	}
	var a netip.AddrPort
	if a.UnmarshalBinary([]byte(text)) != nil {
		return ""
	}
	return a.String()
}

// count returns how many sessions are in a list.
func (x *remote) count() (n int) {
	for ; x != nil; x = x.next {
		n++
	}
	return n
}

// countOf returns how many of them are of a node.
func (x *remote) countOf(node *peer) (n int) {
	for ; x != nil; x = x.next {
		if x.node == node {
			n++
		}
	}
	return n
}

// first says whether none before it in the list is of its node.
func (x *remote) first(list *remote) bool {
	for ; list != x; list = list.next {
		if list.node == x.node {
			return false
		}
	}
	return true
}

// find returns a node's session in a list, or nil.
func (x *remote) find(node *peer, id wire.ID) *remote {
	for ; x != nil; x = x.next {
		if x.id == id && x.node == node {
			return x
		}
	}
	return nil
}

// without returns the list without a session that is in it.
func (x *remote) without(id wire.ID) *remote {
	if x.id == id {
		return x.next
	}
	c := *x
	c.next = x.next.without(id)
	return &c
}
