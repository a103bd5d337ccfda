package socket

import (
	"bytes"
	"errors"
	"slices"
	"sync"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/match"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Matches is what the connector needs of whoever matches devices.
type Matches interface {
	// Open begins the part of a device in matching.
	Open(device string, o match.Outlet) *match.Session
}

// DeviceEvent is something that a device has done, for the journal.
type DeviceEvent struct {
	Device string
	App    string // the app's name; empty: of none
	Type   string // one of those below
	Amount int
}

// Types of DeviceEvent.
const (
	DeviceConnected    = "connectionsOpen"
	DeviceDisconnected = "connectionsClosed"
	DeviceMatched      = "matched"
	DeviceUnmatched    = "unmatched"
	DeviceSent         = "bytesSent"
	DeviceReceived     = "bytesReceived"
)

// inPool is the part that a session's user has in matching: the end at which the room
// tells what comes of it. Its methods are called by the room, and none of them waits.
type inPool struct {
	s    *session
	room *match.Session

	mu   sync.Mutex
	live map[wire.ID]struct{} // matches, for the journal; nil when the session is over
}

// match does what a frame about matches asks for.
func (s *session) match(f *wire.Frame) *wire.Error {
	if s.srv.opts.Matches == nil {
		return general(wire.CodeMatchingOff, s.srv.opts.MatchesOff)
	}
	ask, bad := wire.ParseMatch(f)
	if bad != nil {
		return bad
	}
	p := s.pools()
	if p == nil {
		return nil // the session is over: nobody is left to be told
	}
	var err error
	switch ask.Type {
	case wire.TypeMatchRequest:
		err = p.request(&ask, f.Reference)
	case wire.TypeMatchCancel:
		err = p.room.Cancel(ask.Ticket, bytes.Clone(f.Reference))
	case wire.TypeMatchLeave:
		err = p.room.Leave(ask.Match, bytes.Clone(f.Reference))
	case wire.TypeMatchMessage:
		err = p.send(&ask, f)
	}
	return unmatched(err)
}

// pools returns the session's part in matching, which begins with the first frame about
// it; nil: the session is over.
func (s *session) pools() *inPool {
	s.mu.Lock()
	p, closing := s.inPool, s.closing
	s.mu.Unlock()
	if p != nil || closing {
		return p
	}
	p = &inPool{s: s, live: make(map[wire.ID]struct{})}
	p.room = s.srv.opts.Matches.Open(string(s.identity.user), p)
	s.mu.Lock()
	if closing = s.closing; !closing {
		s.inPool = p // by the one reader that there is
	}
	s.mu.Unlock()
	if closing {
		p.room.Close()
		return nil
	}
	return p
}

// leavePools ends the session's part in matching.
func (s *session) leavePools() {
	s.mu.Lock()
	p := s.inPool
	s.mu.Unlock()
	if p == nil {
		return
	}
	p.room.Close()
	p.mu.Lock()
	live := len(p.live)
	p.live = nil
	p.mu.Unlock()
	for range live {
		p.note(DeviceUnmatched, 1)
	}
}

// request asks to take part in a pool.
func (p *inPool) request(ask *wire.MatchAsk, reference []byte) error {
	q := match.Request{
		Pool: match.Pool{App: p.s.identity.app, Name: ask.Pool}, Reference: bytes.Clone(reference),
		Radius: ask.Radius, Key: ask.Key, Min: ask.Min, Max: ask.Max, Timeout: ask.Timeout, Patience: ask.Patience, Nearest: ask.Nearest,
	}
	if ask.Located {
		q.At = &match.Point{Lat: ask.Lat, Lon: ask.Lon}
	}
	if ask.Gesture != "" {
		g, known := match.ParseGesture(ask.Gesture)
		if !known {
			return &match.Refusal{Code: wire.CodeBadField, Field: "gesture", Reason: "gesture is bump, swipe-left, swipe-right, swipe-up or swipe-down"}
		}
		q.Gesture = g
	}
	var err error
	if q.Properties, err = match.ParseProperties(ask.Properties); err != nil {
		return within("properties", err)
	}
	if q.Query, err = match.ParseQuery(ask.Query); err != nil {
		return within("query", err)
	}
	if q.Widen, err = match.ParseWiden(ask.Widen); err != nil {
		return within("widen", err)
	}
	_, err = p.room.Request(q)
	return err
}

// within says of an error in a member of data where that is.
func within(member string, err error) error {
	var r *match.Refusal
	if !errors.As(err, &r) {
		return err
	}
	own := *r
	if own.Field == "" {
		own.Field, own.Reason = member, member+" "+own.Reason
	} else {
		own.Field, own.Reason = member+"."+own.Field, member+"."+own.Reason
	}
	return &own
}

// unmatched returns what a client is told of an error.
func unmatched(err error) *wire.Error {
	var r *match.Refusal
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &r):
		return general(wire.CodeBusy, err.Error())
	case r.Code == wire.CodeBadField && r.Field != "":
		return &wire.Error{Kind: wire.KindInvalidMessage, Code: r.Code, Reason: "data." + r.Reason, Field: "data." + r.Field}
	case r.Code == wire.CodeBadField:
		return &wire.Error{Kind: wire.KindInvalidMessage, Code: r.Code, Reason: r.Reason}
	}
	return general(r.Code, r.Reason)
}

// send sends a message to other members of a match.
func (p *inPool) send(ask *wire.MatchAsk, f *wire.Frame) error {
	if f.Reliable {
		return p.sendReliable(ask, f)
	}
	to := make([]string, len(ask.To))
	for i, user := range ask.To {
		to[i] = string(user)
	}
	err := p.room.Send(ask.Match, to, bytes.Clone(ask.Content))
	if err == nil {
		p.note(DeviceSent, wire.ContentSize(ask.Content))
	}
	return err
}

// sendReliable sends it as any RELIABLE message goes.
func (p *inPool) sendReliable(ask *wire.MatchAsk, f *wire.Frame) error {
	m, in := p.room.Match(ask.Match)
	if !in {
		return &match.Refusal{Code: wire.CodeNotFound, Reason: "this session is not in that match: it is over, or was never its own; another session of the user may be in it"}
	}
	peers := make(map[wire.UserID]bool, len(m.Peers))
	all := make([]wire.UserID, 0, len(m.Peers))
	for _, peer := range m.Peers {
		peers[wire.UserID(peer.Device)] = true
		all = append(all, wire.UserID(peer.Device))
	}
	to := ask.To
	if to == nil {
		to = all
	}
	for _, user := range to {
		if !peers[user] {
			return &match.Refusal{Code: wire.CodeBadField, Field: "to", Reason: "to names " + string(user) + ", who is no other member of the match"}
		}
	}
	if len(to) == 0 {
		return nil // the last one has left, and this session is told so in a moment
	}
	message := &delivery.Send{To: slices.Clone(to), Group: len(to) > 1, Match: ask.Match, Receipt: true}
	sent := &sentInMatch{pool: p, message: message, size: wire.ContentSize(ask.Content), receipt: p.s.identity.options.Receipts && len(f.Reference) > 0}
	message.Origin, message.Done = sent, sent.done
	p.s.pass(message, f, ask.Content)
	return nil
}

// sentInMatch is the origin of a RELIABLE message in a match: it counts once it is
// stored, here, since a delivery does not know whether it is the first.
type sentInMatch struct {
	pool    *inPool
	message *delivery.Send
	size    int
	receipt bool // the client wants one

	mu     sync.Mutex
	stored bool
	failed []wire.UserID // for whom it was not stored
}

// Stored implements delivery.Origin.
func (m *sentInMatch) Stored(id wire.ID, reference []byte) {
	m.mu.Lock()
	m.stored = true
	m.mu.Unlock()
	if m.receipt {
		m.pool.s.Stored(id, reference)
	}
}

// Failed implements delivery.Origin.
func (m *sentInMatch) Failed(e *wire.Error, reference []byte) {
	m.mu.Lock()
	m.failed = append(m.failed, e.To...)
	m.mu.Unlock()
	m.pool.s.Failed(e, reference)
}

// done is called when nothing more comes of it.
func (m *sentInMatch) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stored {
		return
	}
	m.pool.note(DeviceSent, m.size)
	for _, user := range m.message.To {
		if !slices.Contains(m.failed, user) {
			m.pool.s.srv.opts.Note(DeviceEvent{Device: string(user), App: user.App(), Type: DeviceReceived, Amount: m.size})
		}
	}
}

func (p *inPool) note(event string, amount int) {
	user := p.s.identity.user
	p.s.srv.opts.Note(DeviceEvent{Device: string(user), App: user.App(), Type: event, Amount: amount})
}

// began notes a match, and ended that one is over for the user.
func (p *inPool) began(id wire.ID) {
	p.mu.Lock()
	over := p.live == nil
	if !over {
		p.live[id] = struct{}{}
	}
	p.mu.Unlock()
	if !over {
		p.note(DeviceMatched, 1)
	}
}

func (p *inPool) ended(id wire.ID) {
	p.mu.Lock()
	_, was := p.live[id]
	delete(p.live, id)
	p.mu.Unlock()
	if was {
		p.note(DeviceUnmatched, 1)
	}
}

// Waiting implements match.Outlet, as the next ones do.
func (p *inPool) Waiting(t match.Ticket) {
	p.ticket(wire.TypeMatchWaiting, t, t.Reference, match.Asked)
}

// Refused implements match.Outlet.
func (p *inPool) Refused(t match.Ticket, r *match.Refusal) { p.s.refuse(unmatched(r), t.Reference) }

// TimedOut implements match.Outlet.
func (p *inPool) TimedOut(t match.Ticket) {
	p.ticket(wire.TypeMatchTimeout, t, t.Reference, match.Asked)
}

// Canceled implements match.Outlet.
func (p *inPool) Canceled(t match.Ticket, reference []byte, why match.Reason) {
	p.ticket(wire.TypeMatchCanceled, t, reference, why)
}

func (p *inPool) ticket(typ wire.Type, t match.Ticket, reference []byte, why match.Reason) {
	var b [256]byte
	p.s.control(wire.AppendMatchTicket(b[:0], typ, &wire.MatchTicket{Ticket: t.ID, Pool: t.Pool.Name, Reason: reasonOf(why)}, reference))
}

func reasonOf(why match.Reason) string {
	switch why {
	case match.Replaced:
		return wire.ReasonReplaced
	case match.Over:
		return wire.ReasonOver
	}
	return ""
}

// Matched implements match.Outlet.
func (p *inPool) Matched(t match.Ticket, m match.Match) {
	own := wire.Matched{Match: m.ID, Ticket: t.ID, Pool: m.Pool.Name, Ambiguous: m.Ambiguous, Peers: make([]wire.MatchPeer, len(m.Peers))}
	for i, peer := range m.Peers {
		own.Peers[i].User = wire.UserID(peer.Device)
		if !peer.Properties.Empty() {
			own.Peers[i].Properties = peer.Properties.AppendJSON(nil)
		}
	}
	p.began(m.ID)
	p.s.control(wire.AppendMatched(nil, &own, t.Reference))
}

// PeerLeft implements match.Outlet.
func (p *inPool) PeerLeft(m match.Match, device string, ended bool) {
	if ended {
		p.ended(m.ID)
	}
	var b [256]byte
	p.s.control(wire.AppendMatchPeerLeft(b[:0], m.ID, m.Pool.Name, wire.UserID(device), ended))
}

// Left implements match.Outlet.
func (p *inPool) Left(m match.Match, reference []byte, why match.Reason) {
	p.ended(m.ID)
	var b [256]byte
	p.s.control(wire.AppendMatchLeft(b[:0], m.ID, m.Pool.Name, reasonOf(why), reference))
}

// Message implements match.Outlet.
func (p *inPool) Message(m match.Match, from string, content []byte) {
	frame := wire.AppendMatchMessage(make([]byte, 0, len(content)+192), m.ID, wire.UserID(from), content, nil)
	if !p.s.Fast(frame, nil) {
		p.s.srv.metrics.droppedMatch.Inc()
		return
	}
	p.note(DeviceReceived, wire.ContentSize(content))
}
