package delivery

import "github.com/seed-3d8c1042/switchboard/wire"

// closeOrder is how a session of another node is to end. It is kept until that
// node says that the session is over, and sent again in each new conversation: an
// order may get lost, and names one session, so it may come twice.
type closeOrder struct {
	user   wire.UserID
	code   uint16
	reason string
}

// Kick closes all of a user's sessions, wherever they are, and returns how many
// there were.
func (h *Hub) Kick(user wire.UserID, code uint16, reason string) int {
	p := h.roster.of(user)
	for _, r := range p.here {
		r.Kick(code, reason)
	}
	for x := p.there; x != nil; x = x.next {
		h.closeThere(x, closeOrder{user, code, reason})
	}
	return p.sessions()
}

// Close closes one session of a user, and says whether it was there.
func (h *Hub) Close(user wire.UserID, id wire.ID, code uint16, reason string) bool {
	p := h.roster.of(user)
	for _, r := range only(p.here, id) {
		r.Kick(code, reason)
		return true
	}
	for x := p.there; x != nil; x = x.next {
		if x.id == id {
			h.closeThere(x, closeOrder{user, code, reason})
			return true
		}
	}
	return false
}

// CloseAll closes all sessions of this node.
func (h *Hub) CloseAll(code uint16, reason string) {
	for i := range h.roster.shards {
		for _, r := range h.roster.shards[i].local() {
			r.Kick(code, reason)
		}
	}
}

// local returns the sessions of this node.
func (s *rosterShard) local() (list []Receiver) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range s.here {
		list = append(list, p.here...)
	}
	return list
}

func (h *Hub) closeThere(x *remote, o closeOrder) {
	p := x.node
	p.closesMu.Lock()
	p.closes[x.id] = o
	p.closesMu.Unlock()
	if h.roster.of(o.user).there.find(p, x.id) == nil { // it left just now, maybe before its order was there to be forgotten
		p.closesMu.Lock()
		delete(p.closes, x.id)
		p.closesMu.Unlock()
		return
	}
	h.sendClose(p, x.id, o)
}

// closeAgain sends a node the orders that it may not have had.
func (h *Hub) closeAgain(p *peer) {
	p.closesMu.Lock()
	defer p.closesMu.Unlock()
	for id, o := range p.closes {
		h.sendClose(p, id, o)
	}
}

func (h *Hub) sendClose(p *peer, id wire.ID, o closeOrder) {
	b := appendText(message(kindClose, uint64(o.code)), string(o.user))
	h.out.nodes.Send(p.id, b, id[:], []byte(o.reason)) // what is lost is sent again
}

func (h *Hub) takeClose(_ *peer, s *scanner) {
	code, user, id := uint16(s.number()), s.user(), s.id()
	if s.short {
		return
	}
	for _, r := range only(h.roster.of(user).here, id) {
		r.Kick(code, string(s.rest))
	}
}
