package chat

import (
	"encoding/binary"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// newsKind is what a piece of news is, for whoever hands it over.
type newsKind uint8

const (
	newsMessage newsKind = iota + 1 // in the order of its number
	newsChange                      // of the message with its number: after that
	newsPlain                       // to all sessions in the room
	newsOwn                         // to those of one user
	newsJoined                      // a user has become a member; seq is how far the room had come
	newsLeft                        // a user is a member no longer, and hears it too
	newsClosed                      // the room is gone
	newsBegun                       // none: a node can be heard from now on
)

// news is one frame for the sessions of members, and what is to be known to hand it
// over. It is not changed once made.
type news struct {
	kind   newsKind
	room   wire.ID
	n      int64       // the room's number
	seq    int64       // of the message
	change int64       // of newsChange, its number; of newsJoined, how many there were
	origin wire.ID     // the session that hears of it otherwise; zero for none
	user   wire.UserID // whom it is about; empty where nobody asks
	frame  []byte

	settled chan struct{} // of newsJoined, on the node where it was stored: closed when the user's sessions are in the room
}

const newsVersion = 2

// appendNews writes news for another node:
//
//	version, kind  1 byte each
//	room, origin   16 bytes each
//	n, seq, change varints
//	user           with its length before it
//	frame          the rest
func appendNews(dst []byte, n *news) []byte {
	dst = append(dst, newsVersion, byte(n.kind))
	dst = append(append(dst, n.room[:]...), n.origin[:]...)
	dst = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(dst, n.n), n.seq), n.change)
	dst = append(binary.AppendUvarint(dst, uint64(len(n.user))), n.user...)
	return dst
}

// parseNews reads it; the frame is copied. False: it is none of ours.
func parseNews(b []byte) (*news, bool) {
	const head = 2 + 2*16
	if len(b) < head || b[0] != newsVersion {
		return nil, false
	}
	n := &news{kind: newsKind(b[1])}
	copy(n.room[:], b[2:])
	copy(n.origin[:], b[2+16:])
	b = b[head:]
	for _, v := range []*int64{&n.n, &n.seq, &n.change} {
		value, size := binary.Varint(b)
		if size <= 0 {
			return nil, false
		}
		*v, b = value, b[size:]
	}
	length, size := binary.Uvarint(b)
	if size <= 0 || length > uint64(len(b)-size) {
		return nil, false
	}
	b = b[size:]
	n.user = wire.UserID(b[:length])
	n.frame = append([]byte(nil), b[length:]...)
	return n, true
}

// publish tells all nodes of what has been stored, this one first. list is in order.
func (c *Chat) publish(list ...*news) {
	for _, n := range list {
		c.laneOf(n.room).tell(n)
	}
	c.peersMu.RLock()
	defer c.peersMu.RUnlock()
	if len(c.peers) == 0 {
		return
	}
	var buf [128]byte
	for _, n := range list {
		head := appendNews(buf[:0], n)
		for node := range c.peers {
			c.opts.Nodes.Send(node, head, n.frame) // when it is lost the link begins anew: see PeerUp
		}
	}
}

// PeerUp begins a conversation with a node. What it told before may be lost.
func (c *Chat) PeerUp(node string) {
	c.peersMu.Lock()
	c.peers[node] = struct{}{}
	c.peersMu.Unlock()
	c.compareSoon()
	// The other end may have heard of the beginning sooner, and compared before this one
	// could tell anything.
	c.opts.Nodes.Send(node, appendNews(nil, &news{kind: newsBegun}))
}

// PeerDown ends one: the node may have stored something and died before it told.
func (c *Chat) PeerDown(node string) {
	c.peersMu.Lock()
	delete(c.peers, node)
	c.peersMu.Unlock()
	c.compareSoon()
}

// PeerReceive brings news from another node.
func (c *Chat) PeerReceive(_ string, b []byte) {
	switch n, ok := parseNews(b); {
	case !ok:
	case n.kind == newsBegun:
		c.compareSoon()
	default:
		c.laneOf(n.room).tell(n)
	}
}

// laneOf returns the lane of a room. The last bytes of an ID are random.
func (c *Chat) laneOf(room wire.ID) *lane {
	return c.lanes[int(room[15])%len(c.lanes)]
}

func frameOf(t wire.Type, data wire.RoomData) []byte {
	return wire.AppendRoomFrame(make([]byte, 0, 256), t, data, nil)
}
