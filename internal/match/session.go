package match

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Outlet is a device's end of a Session. Its methods are called one at a time for the
// pools of one shard, from whatever goroutine; they must not block. They may call the
// session's methods.
type Outlet interface {
	// Waiting: the ticket waits in its pool. It comes at most once for a ticket, and
	// before anything else but Refused.
	Waiting(t Ticket)
	// Refused: the request was not taken after all, and the ticket is gone; or Cancel
	// came too late, and nothing has changed (then Reference is that of Cancel).
	Refused(t Ticket, r *Refusal)
	// Matched: the ticket is used up, and its device is in a match.
	Matched(t Ticket, m Match)
	// TimedOut: the ticket is gone, nobody was found in time.
	TimedOut(t Ticket)
	// Canceled: the ticket is gone. reference is that of Cancel, if Asked.
	Canceled(t Ticket, reference []byte, why Reason)
	// PeerLeft: a member of the match is gone, which is m now. If ended, no other one is
	// left, and the match is over.
	PeerLeft(m Match, device string, ended bool)
	// Left: the device is in the match no longer. reference is that of Leave, if Asked.
	Left(m Match, reference []byte, why Reason)
	// Message: a peer sent this. content is not changed any more.
	Message(m Match, from string, content []byte)
}

// Session is a device that is connected to this node. What it has in pools ends with
// it. Its methods may be called from any goroutine.
type Session struct {
	room   *Room
	device string
	outlet Outlet
	began  time.Time
	closed atomic.Bool

	mu    sync.Mutex // guards what follows; taken after a desk's
	seats []*seat
}

// Open makes a session of a device, whose name has 1 to MaxName bytes. Several
// sessions may be of one device.
func (r *Room) Open(device string, o Outlet) *Session {
	return &Session{room: r, device: device, outlet: o, began: r.opts.Now()}
}

// Request asks to take part. It checks what can be known here and returns a *Refusal
// or the ticket's ID, of which Outlet may have heard before this returns.
func (s *Session) Request(q Request) (wire.ID, error) {
	limits := s.room.currentLimits()
	if r := q.check(limits); r != nil {
		return wire.ID{}, r
	}
	id, err := s.room.newID()
	if err != nil {
		return wire.ID{}, &Refusal{Code: codeBusy, Reason: "the server has no chance to give; try again"}
	}
	one := &seat{
		session: s, ticket: Ticket{id, q.Pool, q.Reference}, again: q.Again, since: s.room.opts.Now(),
		entry: entry{
			id: id, pool: q.Pool, device: s.device, props: q.Properties,
			request: request{
				plane: q.Plane, radius: q.Radius, key: q.Key, gesture: q.Gesture, min: q.Min, max: q.Max,
				query: q.Query, widen: q.Widen, timeout: q.Timeout, patience: q.Patience, nearest: q.Nearest, replace: q.Replace,
			},
		},
	}
	if q.At != nil {
		one.entry.located, one.entry.request.at = true, *q.At
	}
	if r := s.remember(one, &limits); r != nil {
		return wire.ID{}, r
	}
	d := s.room.desks[s.room.shardOf(q.Pool)]
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sit(one)
	return id, nil
}

// check says what is wrong with a request, and fills in what it leaves open.
func (q *Request) check(l Limits) *Refusal {
	if q.Min == 0 {
		q.Min = 2
	}
	if q.Max == 0 {
		q.Max = q.Min
	}
	if q.Timeout == 0 {
		q.Timeout = l.Timeout
	}
	if q.Patience == 0 {
		q.Patience = l.Patience
	}
	switch {
	case q.Pool.Name == "" || len(q.Pool.Name) > MaxName:
		return refuseField("pool", fmt.Sprintf("has to be a string of 1 to %d bytes", MaxName))
	case q.Min < 2 || q.Min > MaxGroup:
		return refuseField("min", fmt.Sprintf("has to be from 2 to %d", MaxGroup))
	case q.Max < q.Min || q.Max > MaxGroup:
		return refuseField("max", fmt.Sprintf("has to be from min to %d", MaxGroup))
	case len(q.Key) > MaxKey:
		return refuseField("key", fmt.Sprintf("has to be a string of at most %d bytes", MaxKey))
	case q.Gesture > SwipeDown:
		return refuseField("gesture", "is unknown")
	case q.Gesture > Bump && q.Max > 2:
		return refuseField("gesture", "is for two; a group can bump")
	case q.Timeout < 0:
		return refuseField("timeout", "has to be above 0")
	case q.Timeout > l.Timeout:
		return refuseField("timeout", fmt.Sprintf("has to be at most %v seconds, as the server's setting matching.timeout has it", l.Timeout.Seconds()))
	case q.Patience < 0:
		return refuseField("patience", "has to be above 0")
	}
	if r := q.checkPlace(); r != nil {
		return r
	}
	return q.checkWiden()
}

func (q *Request) checkPlace() *Refusal {
	finite := func(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }
	switch {
	case q.Radius != 0 && q.At == nil:
		return refuseField("radius", "needs lat and lon")
	case !finite(q.Radius) || q.Radius < 0 || !q.Plane && q.Radius > MaxRadius:
		return refuseField("radius", fmt.Sprintf("has to be a number of metres, from 0 to %d", MaxRadius))
	case q.At == nil:
		return nil
	case !finite(q.At.Lat) || math.Abs(q.At.Lat) > map[bool]float64{false: 90, true: math.MaxFloat32}[q.Plane]:
		return refuseField("lat", "has to be a number from -90 to 90")
	case !finite(q.At.Lon) || math.Abs(q.At.Lon) > map[bool]float64{false: 180, true: math.MaxFloat32}[q.Plane]:
		return refuseField("lon", "has to be a number from -180 to 180")
	}
	return nil
}

func (q *Request) checkWiden() *Refusal {
	w := &q.Widen
	switch {
	case w.Over == 0 && w.Radius == 0 && len(w.Ranges) == 0:
		return nil
	case w.Over <= 0 || w.Over > 24*time.Hour:
		return refuseField("widen.over", "has to be above 0, a day at most")
	case w.Radius != 0 && q.Radius == 0:
		return refuseField("widen.radius", "needs a radius")
	case w.Radius != 0 && (!(w.Radius >= q.Radius) || !q.Plane && w.Radius > MaxRadius || math.IsInf(w.Radius, 0)):
		return refuseField("widen.radius", "has to be at least the radius")
	}
	for _, one := range w.Ranges {
		if r := q.Query.widensTo(one); r != nil {
			return r
		}
	}
	return nil
}

// Cancel takes a ticket back: Canceled or Refused follows, or what comes of the ticket
// on its way. The error is a *Refusal with NOT_FOUND when the session has no such
// ticket that waits.
func (s *Session) Cancel(ticket wire.ID, reference []byte) error {
	ok := s.with(func(one *seat) bool { return one.entry.id == ticket && one.state < seatMatched && !one.canceling }, func(d *desk, one *seat) {
		one.canceling, one.answerTo = true, reference
		d.push(cmdCancel, one)
	})
	if !ok {
		return &Refusal{Code: codeNotFound, Reason: "the session has no such ticket that waits"}
	}
	return nil
}

// Leave leaves a match: Left follows when that is stored, and no Message meanwhile.
// The error is a *Refusal with NOT_FOUND when the session is not in it.
func (s *Session) Leave(match wire.ID, reference []byte) error {
	if !s.with(in(match), func(d *desk, one *seat) {
		one.state, one.answerTo = seatLeaving, reference
		d.push(cmdQuit, one)
	}) {
		return notInMatch()
	}
	return nil
}

// Send sends content, which is not to be changed any more, to the members to, or to
// all others when to is empty. The error is a *Refusal: NOT_FOUND when the session is
// not in the match, BAD_FIELD when one of to is no other member.
func (s *Session) Send(match wire.ID, to []string, content []byte) error {
	var from *seat
	if len(content) > MaxContent {
		return refuseField("content", fmt.Sprintf("is longer than %d bytes", MaxContent))
	}
	if !s.with(in(match), func(_ *desk, one *seat) { from = one }) {
		return notInMatch()
	}
	if r := s.room.deskOf(from).send(from, to, content); r != nil {
		return r
	}
	return nil
}

// Match returns a match that the session is in, as it is now.
func (s *Session) Match(match wire.ID) (m Match, ok bool) {
	ok = s.with(in(match), func(_ *desk, one *seat) { m = one.view })
	return m, ok
}

// Close ends the session: its tickets and its part in matches. Outlet hears nothing
// more after Close has returned, except from within a call under way.
func (s *Session) Close() {
	if s.closed.Swap(true) {
		return
	}
	for _, one := range s.all() {
		s.room.deskOf(one).leaveAll(one)
	}
}

func in(match wire.ID) func(*seat) bool {
	return func(one *seat) bool { return one.state == seatMatched && one.group.id == match }
}

// with does something with the first seat that is meant, with its desk's mu held.
func (s *Session) with(meant func(*seat) bool, do func(*desk, *seat)) bool {
	for _, one := range s.all() {
		d := s.room.deskOf(one)
		d.mu.Lock()
		if meant(one) {
			do(d, one)
			d.mu.Unlock()
			return true
		}
		d.mu.Unlock()
	}
	return false
}

func (s *Session) all() []*seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seats)
}

// remember adds a seat, if the session may have one more.
func (s *Session) remember(one *seat, limits *Limits) *Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed.Load():
		return &Refusal{Code: codeNotFound, Reason: "the session has ended"}
	case limits != nil && len(s.seats) >= limits.PerSession:
		return &Refusal{Code: codeTooMany, Reason: fmt.Sprintf("a session has at most %d tickets and matches at once", limits.PerSession)}
	}
	s.seats = append(s.seats, one)
	return nil
}

// forget takes a seat away that is over.
func (s *Session) forget(one *seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seats = slices.DeleteFunc(s.seats, func(t *seat) bool { return t == one })
}

func (r *Room) deskOf(s *seat) *desk { return r.desks[r.shardOf(s.entry.pool)] }

func (r *Room) newID() (wire.ID, error) { return wire.NewID(r.opts.Now(), r.opts.Random) }
