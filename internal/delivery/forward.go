package delivery

import (
	"errors"
	"fmt"
	"sync"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Forward takes what came over a link. It is called when this domain's version of
// the network's description is at least f's, for one message after the other of
// a neighbour; f and its bytes belong to the hub.
//
// done is called once, maybe before Forward returns or from a keeper's goroutine,
// and must not block: with nil when all of it is stored here, or refused, which is
// stored as a notice to the sender or counted as dropped; with an error when
// this domain cannot store it at present: then it must not be acknowledged, and
// comes again. Of a FAST one it says nothing.
//
// What comes again is not stored again, as far as the keepers know roads, see
// Past. A CLOSE_CONNECTION that comes again closes again.
func (h *Hub) Forward(f *wire.Forward, from Neighbour, done func(error)) {
	h.tookForwards.Inc()
	in := &incoming{
		h: h, f: f, from: from, hops: f.Hops + 1, id: f.ID, left: 1, done: done,
		past: Past{ID: f.ID, Expires: f.Expires, Presence: f.Presence, Via: from.Domain + "/" + f.Log, Place: f.Place, Low: f.Low, Line: from.Line},
	}
	in.take(h.waysOf(f.To))
}

// incoming is a message on its way through this domain.
type incoming struct {
	h    *Hub
	f    *wire.Forward
	from Neighbour // zero: it waited here
	hops int       // that it will have made when it leaves
	id   wire.ID
	past Past
	done func(error)

	mu       sync.Mutex
	left     int // parts of which the outcome is not known
	again    error
	refusals []refusal
}

// refusal is why some receivers do not get it.
type refusal struct {
	kind, code, reason string
	to                 []wire.UserID
}

// take gives each part to those who take it on.
func (in *incoming) take(w ways) {
	if !in.f.Notice && in.h.isNobody(in.f.From) || in.isForgedClose() {
		in.h.failedForward.WithLabelValues(wire.CodeForbidden).Add(float64(len(in.f.To)))
		in.done(nil)
		return
	}
	split := w.parts() > 1 || w.parts() == 1 && len(w.lost) > 0
	local, far := in.admit(w.local), in.sift(&w)
	if in.f.Fast {
		in.takeFast(local, far)
		return
	}
	if len(local) > 0 {
		in.takeLocal(local, in.road(split, w.graph))
	}
	for i := range far {
		in.pass(&far[i], in.road(split, far[i].Graph))
	}
	in.settle()
}

// isNobody says whether nobody can be a user: it is of no app that is known here, and of
// none that the network gives a home. What comes from one is not refused in the common
// way, which tells the sender: that would put a notice where the user of a link has what
// another domain takes from here, which that would not stand.
func (h *Hub) isNobody(user wire.UserID) bool {
	return !h.opts.Access.Known(user.App()) && h.opts.Domains.Next(user).Local
}

// sift refuses those for whom it must not go on, and returns the ways for the
// others.
func (in *incoming) sift(w *ways) []way {
	in.refuse(wire.KindDeliverFailed, wire.CodeNoRoute, noRoute, w.lost)
	far := make([]way, 0, len(w.far))
	for _, p := range w.far {
		switch {
		case in.hops > wire.MaxHops:
			in.refuse(wire.KindDeliverFailed, wire.CodeTooManyHops, fmt.Sprintf("the message has crossed %d links between domains, and none more is allowed", in.f.Hops), p.to)
		case p.Link == in.from.Link && p.Graph <= in.f.Graph:
			in.refuse(wire.KindDeliverFailed, wire.CodeNoRoute, "two domains send what is for this user to each other: their descriptions of the network differ", p.to)
		default:
			far = append(far, p)
		}
	}
	return far
}

// road names how a part came. A keeper takes each place of a road once, for users
// and for each further link. Since it depends on the routes of the moment who is in
// which part, the road of one that was split names them: what comes again when they
// have changed may arrive twice, but never goes missing.
func (in *incoming) road(split bool, graph uint64) *Past {
	p := in.past
	if split {
		p.Via += fmt.Sprintf("@%d", graph)
	}
	return &p
}

// errForged is why a neighbour is not believed.
var errForged = errors.New("the frame is not what its FORWARD says")

// admit drops receivers, who live here, that the sender may not reach. What is in
// the FORWARD must be what it says: nobody else has seen that yet.
func (in *incoming) admit(local []wire.UserID) []wire.UserID {
	if len(local) == 0 {
		return nil
	}
	if in.check() != nil {
		in.refuse(wire.KindGeneralError, wire.CodeForbidden, "a domain on the way has changed the message", local)
		return nil
	}
	var unknown, forbidden []wire.UserID
	own, access := in.f.From.App(), in.h.opts.Access
	kept := make([]wire.UserID, 0, len(local))
	for _, to := range local {
		switch app := to.App(); {
		case !access.Known(app):
			unknown = append(unknown, to)
		case app == own || in.f.Notice || access.MayReach(own, app):
			kept = append(kept, to)
		default:
			forbidden = append(forbidden, to)
		}
	}
	in.refuse(wire.KindDeliverFailed, wire.CodeUnknownApp, unknownApp, unknown)
	in.refuse(wire.KindGeneralError, wire.CodeForbidden, forbiddenApp, forbidden)
	return kept
}

// check says whether the frame in the FORWARD is of a kind that crosses links, and of
// its sender.
func (in *incoming) check() error {
	if in.isClose() {
		return nil
	}
	frame, bad := wire.ParseServerFrame(in.f.Frame)
	if bad != nil || !frame.ID.IsZero() { // the receiver would have it beside the one that it gets here
		return errForged
	}
	switch frame.Type {
	case wire.TypeMessage:
		from, _, bad := wire.ParseDelivery(frame.Data)
		if bad != nil || from != in.f.From || in.f.Notice {
			return errForged
		}
		return nil
	case wire.TypeConfirmation, wire.TypeUserConnected, wire.TypeUserDisconnected,
		wire.TypeGeneralError, wire.TypeInvalidMessage, wire.TypeDeliverFailed:
		if in.f.Notice {
			return nil
		}
	}
	return errForged
}

// isClose says whether it is a master user's CLOSE_CONNECTION.
func (in *incoming) isClose() bool {
	if in.f.Notice || in.f.Fast || len(in.f.Frame) > maxClose {
		return false
	}
	frame, bad := wire.ParseFrame(in.f.Frame)
	return bad == nil && frame.Type == wire.TypeCloseConnection
}

// isForgedClose says whether it is a CLOSE_CONNECTION in the name of a user who lives
// here, whose own never come over a link: whoever sent it is none of those for whom the
// neighbour speaks. It goes nowhere, also not on to a domain that would believe this
// one, and the user, who has not sent it, is not told.
func (in *incoming) isForgedClose() bool {
	return in.h.opts.Domains.Next(in.f.From).Local && in.isClose()
}

// maxClose is how large a CLOSE_CONNECTION is at most.
const maxClose = 256

// takeLocal has the part kept that is for users who live here.
func (in *incoming) takeLocal(to []wire.UserID, past *Past) {
	f := in.f
	if in.isClose() {
		in.close(to)
		return
	}
	s := &Send{
		From: f.From, To: to, Group: f.Group, Reference: f.Reference, Confirm: f.Confirm, Quiet: f.Quiet,
		Notice: f.Notice, Past: past,
	}
	if f.Origin != in.h.opts.Domain { // what was made here was noted when it was
		s.Producer, s.Seq = f.Producer, f.Seq
	}
	in.keep(s, f.Frame, nil)
}

// close does what a master user asks for.
func (in *incoming) close(to []wire.UserID) {
	for _, user := range to {
		if !in.h.opts.Access.IsMaster(in.f.From) || user.App() != in.f.From.App() {
			in.refuse(wire.KindGeneralError, wire.CodeForbidden, "only the master user of an app closes sessions, and only those of its app", []wire.UserID{user})
			continue
		}
		in.h.Kick(user, wire.CloseByMaster, "")
	}
}

// pass has a part kept for the next domain on the way.
func (in *incoming) pass(w *way, past *Past) {
	f := in.f
	in.keep(&Send{
		From: f.From, To: []wire.UserID{w.Link}, Group: f.Group, Reference: f.Reference, Quiet: f.Quiet, Notice: f.Notice, Past: past,
	}, in.onward(w), w)
}

// onward returns the FORWARD for a next domain.
func (in *incoming) onward(w *way) []byte {
	f := *in.f
	f.To, f.Hops, f.Graph = w.to, in.hops, w.Graph
	in.h.sentForwards.Inc()
	return forwardFrame(&f)
}

// keep has a part kept. w is nil for users who live here.
func (in *incoming) keep(s *Send, frame []byte, w *way) {
	p := &incomingPart{incoming: in, to: s.To, way: w}
	if w != nil {
		p.to = w.to
	}
	s.Origin, s.Done = p, p.stored
	in.mu.Lock()
	in.left++
	in.mu.Unlock()
	in.h.opts.Keeper.Accept(s, frame)
}

// incomingPart is the origin of a part.
type incomingPart struct {
	*incoming
	to  []wire.UserID
	way *way
}

func (p *incomingPart) stored() { p.settle() }

// Stored implements Origin.
func (p *incomingPart) Stored(wire.ID, []byte) {}

// Failed implements Origin.
func (p *incomingPart) Failed(e *wire.Error, _ []byte) {
	e = p.way.failure(e, p.to)
	if passing(e) {
		p.mu.Lock()
		p.again = e
		p.mu.Unlock()
		return
	}
	p.refuse(e.Kind, e.Code, e.Reason, e.To)
}

// passing says whether an error is for the moment: whoever has the message keeps it
// until this domain takes it. But for a mailbox that is full nobody waits: two
// domains, or a ring of them, would wait for each other.
func passing(e *wire.Error) bool {
	switch e.Code {
	case wire.CodeStoreDown, wire.CodeStoreFull, wire.CodeOverloaded, wire.CodeTimeout:
		return true
	}
	return e.MayYetArrive
}

// refuse notes who does not get it.
func (in *incoming) refuse(kind, code, reason string, to []wire.UserID) {
	if len(to) == 0 {
		return
	}
	in.h.failedForward.WithLabelValues(code).Add(float64(len(to)))
	if in.f.Notice || in.f.Quiet || in.f.Fast {
		return
	}
	in.mu.Lock()
	in.refusals = append(in.refusals, refusal{kind, code, reason, to})
	in.mu.Unlock()
}

// settle notes that a part has its outcome. When all have, the sender is told of
// what was refused, and then whoever waits for it.
func (in *incoming) settle() {
	in.mu.Lock()
	in.left--
	last, again, told := in.left == 0, in.again, in.refusals
	if last {
		in.left, in.refusals = 1, nil // to tell them
	}
	in.mu.Unlock()
	switch {
	case !last:
	case again != nil:
		in.done(again)
	case len(told) > 0: // a keeper must not be called from its own goroutine
		in.h.opts.After(0, func() { in.tell(told) })
	default:
		in.done(nil)
	}
}

// tell tells the sender what was refused. The same refusal has the same ID.
func (in *incoming) tell(list []refusal) {
	for _, r := range list {
		n := Notice{
			To: in.f.From, From: r.to[0],
			Frame: wire.AppendFailure(nil, &wire.Error{Kind: r.kind, Code: r.code, Reason: r.reason, To: r.to, Group: in.f.Group}, in.f.Reference),
		}
		if !in.id.IsZero() {
			n.ID = in.id.Derive(fmt.Sprintf("%s %s %s", r.code, in.h.opts.Domain, r.to[0]))
		}
		in.mu.Lock()
		in.left++
		in.mu.Unlock()
		t := &told{incoming: in}
		in.h.notify(n, t, t.stored)
	}
	in.settle()
}

// told is the origin of a notice to the sender. One for which there is no room is
// counted by its keeper.
type told struct{ *incoming }

func (t *told) stored() { t.settle() }

// Stored implements Origin.
func (t *told) Stored(wire.ID, []byte) {}

// Failed implements Origin.
func (t *told) Failed(e *wire.Error, _ []byte) {
	if passing(e) {
		t.mu.Lock()
		t.again = e
		t.mu.Unlock()
	}
}

// takeFast hands a FAST message over.
func (in *incoming) takeFast(local []wire.UserID, far []way) {
	h, f := in.h, in.f
	if len(local) > 0 {
		t := transfer{h: h, from: f.From, frame: f.Frame}
		if f.Confirm && !f.Group && len(f.Reference) > 0 {
			t.proof = &confirmation{h: h, from: f.From, to: local[0], reference: f.Reference}
		}
		for _, to := range local {
			t.give(to)
		}
		t.end()
	}
	for i := range far {
		on := *f
		on.To, on.Hops, on.Graph = far[i].to, in.hops, far[i].Graph
		h.forwardFast(&on, far[i].Link, nil)
	}
	in.done(nil)
}
