package delivery

import (
	"sync"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Nodes reaches the other nodes.
type Nodes interface {
	// Send sends a node one message, of the parts joined, which it copies. It never
	// blocks. Messages to a node arrive in order. When one is lost, or false is
	// returned, PeerUp is called before anything else arrives, at both ends.
	Send(node string, parts ...[]byte) bool
}

// turnBytes is how much of a snapshot a node is sent before it has to ask for
// more, but for what is left of a shard of the roster: so the queue of a link
// never holds much of it, however many sessions there are.
const turnBytes = 256 << 10

// partBytes is how long one message of a snapshot gets.
const partBytes = 32 << 10

// peer is another node.
type peer struct {
	id    string
	acked uint64 // it knows of our changes up to this one; guarded by outbox.mu

	in       sync.Mutex // held while something of it is dealt with
	gone     bool
	state    peerState
	snapshot uint64               // that is coming
	seen     map[wire.ID]struct{} // in that snapshot, or since it began

	ours uint64 // the snapshot that it gets
	next int    // the shard of the roster that comes next in it

	closesMu sync.Mutex
	closes   map[wire.ID]closeOrder // sessions that are to end, until they have
}

// peerState is how much of a node's sessions is known.
type peerState uint8

const (
	peerSilent  peerState = iota // what there was before this conversation
	peerTelling                  // a snapshot is coming
	peerTold                     // all
)

// peers are the other nodes that were heard of.
type peers struct {
	mu   sync.RWMutex
	list map[string]*peer
}

func (p *peers) get(node string) *peer {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.list[node]
}

func (p *peers) made(node string) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.list[node]
	if x == nil {
		x = &peer{id: node, closes: make(map[wire.ID]closeOrder)}
		p.list[node] = x
	}
	return x
}

func (p *peers) forget(node string) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.list[node]
	delete(p.list, node)
	return x
}

// PeerUp begins a conversation with a node: nothing that was sent before, either
// way, will arrive any more. What is known of its sessions holds until it has told
// of them anew. Calls of PeerUp, PeerDown and PeerReceive for one node come one at
// a time.
func (h *Hub) PeerUp(node string) {
	p := h.peers.made(node)
	p.in.Lock()
	defer p.in.Unlock()
	if p.gone {
		return
	}
	p.state, p.seen = peerSilent, nil
	h.out.begun(p)
	p.ours++
	p.next = 0
	h.out.nodes.Send(p.id, message(kindBegin, p.ours))
	h.goOn(p)
	h.closeAgain(p)
}

// PeerDown ends a conversation. It changes nothing that is known: the node may be
// back in a moment.
func (h *Hub) PeerDown(node string) {
	if p := h.peers.get(node); p != nil {
		h.out.ended(p)
	}
}

// PeerGone says that a node is dead: its sessions leave. It may be called from any
// goroutine.
func (h *Hub) PeerGone(node string) {
	p := h.peers.forget(node)
	if p == nil {
		return
	}
	p.in.Lock()
	defer p.in.Unlock()
	p.gone = true
	h.out.ended(p)
	h.forgetBut(p, nil)
}

// PeerReceive takes a message of a node, which is valid during the call only.
func (h *Hub) PeerReceive(node string, b []byte) {
	p := h.peers.get(node)
	if p == nil {
		return
	}
	p.in.Lock()
	defer p.in.Unlock()
	if p.gone {
		return
	}
	s := scanner{rest: b}
	version, kind := s.byte(), s.byte()
	if s.short || version != encoding {
		h.badMessages.Inc()
		return
	}
	if take := h.takers[kind]; take != nil {
		take(p, &s)
	}
	if s.short {
		h.badMessages.Inc()
	}
}

// takersOf returns what deals with each kind of message.
func (h *Hub) takersOf() (t [256]func(*peer, *scanner)) {
	t[kindBegin], t[kindPart], t[kindTurn] = h.takeBegin, h.takePart, h.takeTurn
	t[kindMore], t[kindEnd], t[kindChange], t[kindAck] = h.takeMore, h.takeEnd, h.takeChange, h.takeAck
	t[kindFast], t[kindProof], t[kindAll] = h.takeFast, h.takeProof, h.takeAll
	t[kindClose], t[kindRoom], t[kindRoomed] = h.takeClose, h.takeRoom, h.takeRoomed
	return t
}

// What follows is called with peer.in held.

// goOn sends a node more of all sessions of this one. A shard is locked while it
// is sent, and whatever changes in it is told under the same lock: so what was
// before is in it, and what is after follows.
func (h *Hub) goOn(p *peer) {
	for sent := 0; p.next < rosterShards; p.next++ {
		if sent >= h.turn {
			h.out.nodes.Send(p.id, message(kindTurn, p.ours))
			return
		}
		sent += h.sendShard(p, &h.roster.shards[p.next])
	}
	h.out.told(p, p.ours)
}

func (h *Hub) sendShard(p *peer, s *rosterShard) (sent int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.here) == 0 {
		return 0
	}
	head := message(kindPart, p.ours)
	b := head
	for _, u := range s.here {
		for _, x := range u.here {
			if b = appendEntry(b, x); len(b) >= partBytes {
				h.out.nodes.Send(p.id, b)
				sent += len(b)
				b = b[:len(head)]
			}
		}
	}
	if len(b) > len(head) {
		h.out.nodes.Send(p.id, b)
	}
	return sent + len(b)
}

func (h *Hub) takeMore(p *peer, s *scanner) {
	if s.number() == p.ours && p.next < rosterShards {
		h.goOn(p)
	}
}

func (h *Hub) takeTurn(p *peer, s *scanner) {
	if n := s.number(); p.state == peerTelling && n == p.snapshot {
		h.out.nodes.Send(p.id, message(kindMore, n))
	}
}

func (h *Hub) takeBegin(p *peer, s *scanner) {
	if n := s.number(); !s.short {
		p.state, p.snapshot, p.seen = peerTelling, n, make(map[wire.ID]struct{})
	}
}

// takePart takes sessions. Those that are new join at once, before the missing
// ones leave: so a user who has changed sessions meanwhile was there all the time.
func (h *Hub) takePart(p *peer, s *scanner) {
	if n := s.number(); p.state != peerTelling || n != p.snapshot {
		return // of a snapshot that was cut off
	}
	for len(s.rest) > 0 {
		e, ok := s.entry()
		if !ok {
			return
		}
		p.seen[e.id()] = struct{}{}
		h.roster.join(p, e)
	}
}

func (h *Hub) takeEnd(p *peer, s *scanner) {
	n, seq := s.number(), s.number()
	if s.short || p.state != peerTelling || n != p.snapshot {
		return
	}
	h.forgetBut(p, p.seen)
	p.state, p.seen = peerTold, nil
	h.out.nodes.Send(p.id, message(kindAck, seq))
}

// takeChange takes what has changed. It does not say that it knows of it while
// something may be missing that was before.
func (h *Hub) takeChange(p *peer, s *scanner) {
	seq, joined := s.number(), false
	for len(s.rest) > 0 {
		op := s.byte()
		e, ok := s.entry()
		if !ok {
			return
		}
		switch op {
		case opJoin:
			joined = true
			if p.state == peerTelling {
				p.seen[e.id()] = struct{}{}
			}
			h.roster.join(p, e)
		case opLeave:
			h.left(p, e.user(), e.id())
		}
	}
	if joined && p.state == peerTold {
		h.out.nodes.Send(p.id, message(kindAck, seq))
	}
}

func (h *Hub) takeAck(p *peer, s *scanner) {
	if seq := s.number(); !s.short {
		h.out.acked(p, seq)
	}
}

// forgetBut has a node's sessions leave that are not among some. It looks at all
// that there are: so none of millions has to know its place among those of its
// node, for what happens once in the life of a link.
func (h *Hub) forgetBut(p *peer, stay map[wire.ID]struct{}) {
	for i := range h.roster.shards {
		for _, x := range h.roster.shards[i].far(p, stay) {
			h.left(p, x.user(), x.id)
		}
	}
}

// far returns a node's sessions of the shard that are not among some.
func (s *rosterShard) far(node *peer, stay map[wire.ID]struct{}) (list []*remote) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	note := func(x *remote) {
		for ; x != nil; x = x.next {
			if _, ok := stay[x.id]; !ok && x.node == node {
				list = append(list, x)
			}
		}
	}
	for _, x := range s.there {
		note(x)
	}
	for _, u := range s.here {
		note(u.there)
	}
	return list
}

// left has one session of a node leave.
func (h *Hub) left(p *peer, user wire.UserID, id wire.ID) {
	h.roster.leave(p, user, id)
	p.closesMu.Lock()
	defer p.closesMu.Unlock()
	delete(p.closes, id)
}
