package delivery

import (
	"encoding/binary"
	"sync"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func (h *Hub) sendFast(s *Send) {
	buf := h.frames.Get().(*[]byte)
	frame := wire.AppendMessage((*buf)[:0], s.From, s.Content, s.Reference)
	later := s.Later
	if s.Group {
		later = nil // many receivers are written to side by side
	}
	t := transfer{h: h, from: s.From, frame: frame, later: later}
	if s.Confirm && !s.Group && len(s.Reference) > 0 {
		t.proof = &confirmation{h: h, from: s.From, to: s.To[0], reference: append([]byte(nil), s.Reference...)}
	}
	var far ways
	for _, to := range s.To {
		if h.opts.Domains != nil {
			if hop := h.opts.Domains.Next(to); !hop.Local {
				far.add(to, hop)
				continue
			}
		}
		t.give(to)
	}
	t.end()
	s.Sessions = t.sessions
	if len(far.far)+len(far.lost) > 0 {
		s.Sessions += h.sendFastAway(s, &far, frame, later)
	}
	*buf = frame[:0]
	h.frames.Put(buf)
}

// transfer hands one FAST frame over to receivers: at once on this node, and
// elsewhere with one message for each node.
type transfer struct {
	h        *Hub
	from     wire.UserID
	frame    []byte
	proof    *confirmation // what the first proof does; nil: nothing
	later    Later
	fan      *fan
	sessions int // on which it was queued, or is to be by other nodes, as far as this one knows
}

// give hands the frame over to a user.
func (t *transfer) give(to wire.UserID) {
	p := t.h.roster.of(to)
	if p.there != nil || len(p.here) > 1 {
		t.giveMany(to, p)
		return
	}
	if len(p.here) == 0 {
		t.h.droppedAbsent.Inc()
		return
	}
	t.sessions += t.h.queue(p.here, t.frame, t.proof.call(), t.later)
}

// giveMany is give for a user who has several sessions, or some elsewhere.
func (t *transfer) giveMany(to wire.UserID, p present) {
	if p.sessions() > 1 && t.h.opts.Access.IsMaster(to) {
		p = chosen(t.from, p)
		if p.there != nil {
			t.branch(p.there.node).session(p.there)
		}
	} else {
		for x := p.there; x != nil; x = x.next {
			if x.first(p.there) {
				t.branch(x.node).user(to, p.there.countOf(x.node))
			}
		}
	}
	if t.proof != nil && p.there != nil {
		t.h.tokens.open(t.proof)
	}
	if len(p.here) > 0 {
		t.sessions += t.h.queue(p.here, t.frame, t.proof.call(), t.later)
	}
}

// branch returns what goes to a node.
func (t *transfer) branch(node *peer) *branch {
	if t.fan == nil {
		t.fan = t.h.fans.Get().(*fan)
	}
	b := t.fan.branch(node)
	if b.count == branchReceivers {
		t.send(b)
	}
	return b
}

// end sends what goes to other nodes.
func (t *transfer) end() {
	if t.fan == nil {
		return
	}
	sent := false
	for i := range t.fan.branches {
		sent = t.send(&t.fan.branches[i]) || sent
	}
	if !sent && t.proof != nil {
		t.h.tokens.close(t.proof.token)
	}
	t.fan.clear()
	t.h.fans.Put(t.fan)
}

// send sends a branch, which is empty then, and says whether there was room.
func (t *transfer) send(b *branch) bool {
	var token uint64
	if t.proof != nil {
		token = t.proof.token
	}
	t.fan.head = binary.AppendUvarint(append(t.fan.head[:0], encoding, kindFast), token)
	t.fan.head = binary.AppendUvarint(t.fan.head, uint64(b.count))
	ok := t.h.out.nodes.Send(b.node.id, t.fan.head, b.receivers, t.frame)
	if ok {
		t.sessions += b.sessions
	} else {
		t.h.droppedLink.Add(float64(b.count))
	}
	b.receivers, b.count, b.sessions = b.receivers[:0], 0, 0
	return ok
}

// branchReceivers is how many receivers one message to a node has at most: with
// the longest of names they take as much as the largest frame, so that no message
// is very large.
const branchReceivers = 1000

// fan is what goes to other nodes of one frame. It is lent.
type fan struct {
	branches []branch
	head     []byte
}

type branch struct {
	node      *peer
	receivers []byte
	count     int // of receivers
	sessions  int // that these have there
}

func (f *fan) branch(node *peer) *branch {
	for i := range f.branches {
		if f.branches[i].node == node {
			return &f.branches[i]
		}
	}
	n := len(f.branches)
	if n < cap(f.branches) {
		f.branches = f.branches[:n+1] // with the memory that it had
		f.branches[n].node = node
	} else {
		f.branches = append(f.branches, branch{node: node})
	}
	return &f.branches[n]
}

func (f *fan) clear() {
	for i := range f.branches {
		f.branches[i].node = nil
	}
	f.branches = f.branches[:0]
}

func (b *branch) user(to wire.UserID, sessions int) {
	b.receivers = binary.AppendUvarint(b.receivers, uint64(len(to))<<1)
	b.receivers = append(b.receivers, to...)
	b.count++
	b.sessions += sessions
}

func (b *branch) session(x *remote) {
	to := x.user()
	b.receivers = binary.AppendUvarint(b.receivers, uint64(len(to))<<1|receiverSession)
	b.receivers = append(b.receivers, to...)
	b.receivers = append(b.receivers, x.id[:]...)
	b.count++
	b.sessions++
}

// queue queues a frame on sessions of this node, and returns on how many.
func (h *Hub) queue(list []Receiver, frame []byte, proof func(), later Later) (queued int) {
	for _, r := range list {
		var ok bool
		if later == nil {
			ok = r.Fast(frame, proof)
		} else if ok = r.Queue(frame, proof); ok {
			later.Later(r)
		}
		if ok {
			h.fast.Inc()
			queued++
		} else {
			h.droppedQueue.Inc()
		}
	}
	return queued
}

// chosen picks the session of a master user that serves a sender, as every node
// does: the highest hash wins, so that one that comes or goes moves no other
// sender.
func chosen(from wire.UserID, p present) present {
	var best present
	var most uint64
	for i, r := range p.here {
		if sum := choice(r.ID(), from); !best.online() || sum > most {
			best, most = present{here: p.here[i : i+1 : i+1]}, sum
		}
	}
	for x := p.there; x != nil; x = x.next {
		if sum := choice(x.id, from); !best.online() || sum > most {
			best, most = present{there: x}, sum
		}
	}
	return best
}

// choice is a hash that is the same on all nodes: FNV-1a, and what spreads its
// last bytes over all bits.
func choice(session wire.ID, from wire.UserID) uint64 {
	const prime = 1099511628211
	sum := uint64(14695981039346656037)
	for _, b := range session {
		sum = (sum ^ uint64(b)) * prime
	}
	for i := range len(from) {
		sum = (sum ^ uint64(from[i])) * prime
	}
	sum = (sum ^ sum>>33) * 0xff51afd7ed558ccd
	sum = (sum ^ sum>>33) * 0xc4ceb9fe1a85ec53
	return sum ^ sum>>33
}

// takeFast hands over to this node's sessions what another one sends.
func (h *Hub) takeFast(p *peer, s *scanner) {
	token, count := s.number(), s.number()
	receivers := *s
	for range count {
		if skipReceiver(s); s.short {
			return
		}
	}
	frame, proof := s.rest, h.farProof(p, token)
	for range count {
		n := receivers.number()
		here := h.roster.of(wire.UserID(receivers.bytes(n >> 1))).here
		if n&receiverSession != 0 {
			here = only(here, receivers.id())
		}
		if len(here) == 0 {
			h.droppedAbsent.Inc()
		}
		h.queue(here, frame, proof, nil)
	}
}

func skipReceiver(s *scanner) {
	n := s.number()
	s.bytes(n >> 1)
	if n&receiverSession != 0 {
		s.id()
	}
}

// only returns the part of a list that is one session.
func only(list []Receiver, id wire.ID) []Receiver {
	for i, r := range list {
		if r.ID() == id {
			return list[i : i+1 : i+1]
		}
	}
	return nil
}

// farProof returns what tells the sender's node that a message is proved; nil for
// one that nobody waits for.
func (h *Hub) farProof(p *peer, token uint64) func() {
	if token == 0 {
		return nil
	}
	return sync.OnceFunc(func() {
		if !h.out.nodes.Send(p.id, message(kindProof, token)) {
			h.unconfirmed.Inc()
		}
	})
}

func (h *Hub) takeProof(_ *peer, s *scanner) {
	if c := h.tokens.close(s.number()); c != nil {
		c.prove()
	}
}
