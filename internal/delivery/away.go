package delivery

import (
	"github.com/seed-3d8c1042/switchboard/wire"
)

// sendFastAway hands a FAST message over to the links that lead to its receivers,
// and returns how many that reaches.
func (h *Hub) sendFastAway(s *Send, w *ways, inner []byte, later Later) (reached int) {
	h.droppedRoute.Add(float64(len(w.lost)))
	f := wire.Forward{
		Origin: h.opts.Domain, From: s.From, SentAt: h.opts.Now(), Fast: true, Group: s.Group,
		Confirm: s.Confirm && !s.Group && len(s.Reference) > 0, Reference: s.Reference, Frame: inner,
	}
	for i := range w.far {
		f.To, f.Hops, f.Graph = w.far[i].to, 1, w.far[i].Graph
		reached += h.forwardFast(&f, w.far[i].Link, later)
	}
	return reached
}

// forwardFast hands a FORWARD to the sessions of a link, on whichever nodes, and
// returns how many receivers it has, if there is one.
func (h *Hub) forwardFast(f *wire.Forward, link wire.UserID, later Later) int {
	p := h.roster.of(link)
	switch n := p.sessions(); {
	case n == 0:
		h.droppedAway.Add(float64(len(f.To)))
		return 0
	case n > 1: // an old one that does not know yet that it is over
		p = chosen(f.From, p)
	}
	h.sentForwards.Inc()
	t := transfer{h: h, from: f.From, frame: forwardFrame(f), later: later}
	if p.there != nil {
		t.branch(p.there.node).session(p.there)
	} else {
		t.sessions = h.queue(p.here, t.frame, nil, later)
	}
	t.end()
	if t.sessions == 0 {
		return 0 // counted where it was dropped
	}
	return len(f.To)
}

// confirm tells the sender of a FAST message that it is proved.
func (h *Hub) confirm(c *confirmation) {
	if h.opts.Domains != nil && !h.opts.Domains.Next(c.from).Local {
		n := Notice{To: c.from, From: c.to, Frame: wire.AppendConfirmation(nil, c.reference)}
		h.notify(n, nil, nil)
		return
	}
	h.opts.Keeper.Confirm(c.from, c.to, c.reference)
}

// notify has a notice kept, here or on its way. origin and done may be nil.
func (h *Hub) notify(n Notice, origin Origin, done func()) {
	s := &Send{
		From: n.From, To: []wire.UserID{n.To}, Notice: true, Origin: origin, Done: done,
		Past: &Past{ID: n.ID, Expires: n.Expires, Presence: n.Presence},
	}
	frame := n.Frame
	if link, wrapped, ok := h.Wrap(n); ok {
		s.To[0], frame = link, wrapped
	}
	h.opts.Keeper.Accept(s, frame)
}

// Wrap returns a notice as what waits for a link, and in whose mailbox; not ok: its
// user lives here, or nobody knows where. It may be called by a keeper: it
// neither blocks nor calls back.
func (h *Hub) Wrap(n Notice) (link wire.UserID, frame []byte, ok bool) {
	if h.opts.Domains == nil {
		return "", nil, false
	}
	hop := h.opts.Domains.Next(n.To)
	if hop.Local || hop.Link == "" {
		return "", nil, false
	}
	if wire.CheckUserID([]byte(n.From)) != nil {
		n.From = n.To // the neighbour wants a user here
	}
	h.sentForwards.Inc()
	return hop.Link, forwardFrame(&wire.Forward{
		Origin: h.opts.Domain, From: n.From, To: []wire.UserID{n.To}, Hops: 1, Graph: hop.Graph, SentAt: h.opts.Now(),
		Notice: true, Presence: n.Presence, Expires: n.Expires, Frame: n.Frame,
	}), true
}

// Dismiss closes all sessions of a user of the master user's app, wherever that
// user lives. Elsewhere that takes its time; origin hears if it cannot be passed on,
// and may be nil.
func (h *Hub) Dismiss(master, user wire.UserID, origin Origin) {
	if h.opts.Domains == nil {
		h.Kick(user, wire.CloseByMaster, "")
		return
	}
	to := []wire.UserID{user}
	w := h.waysOf(to)
	s := &Send{From: master, To: to, Quiet: true, Origin: origin}
	switch {
	case len(w.local) > 0:
		h.Kick(user, wire.CloseByMaster, "")
	case len(w.lost) > 0:
		h.refuse(s, to, wire.KindDeliverFailed, wire.CodeNoRoute, noRoute)
	default:
		j := &joint{whole: s, left: 1, first: user}
		p := h.farPart(j, 0, &w.far[0], wire.AppendClose(nil, user))
		h.opts.Keeper.Accept(p.send, p.frame)
	}
}
