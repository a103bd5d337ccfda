package socket

import (
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/traffic"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// What hub and keeper have for a session. These methods are called from their
// goroutines; none of them waits or calls back.

// ID returns the session's ID.
func (s *session) ID() wire.ID { return s.identity.id }

// User returns who is signed in.
func (s *session) User() wire.UserID { return s.identity.user }

// Address returns where the client, or a proxy before it, is.
func (s *session) Address() string {
	if s.from != "" {
		return s.from
	}
	return s.conn.RemoteAddr().String()
}

// Transport returns by what the client is connected.
func (s *session) Transport() string {
	switch {
	case s.pipe != nil:
		return "sse" // no other door has one
	case s.identity.options.Link:
		return "link"
	}
	return "websocket"
}

// Fast queues a FAST frame, unless too much waits already.
func (s *session) Fast(frame []byte, proof func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := s.queueFast(frame, proof)
	if ok {
		s.flushSoon()
	}
	return ok
}

// Queue is Fast without writing.
func (s *session) Queue(frame []byte, proof func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queueFast(frame, proof)
}

// queueFast queues a FAST frame. The caller holds mu.
func (s *session) queueFast(frame []byte, proof func()) bool {
	if s.closing || s.full(len(frame)) || (proof != nil && s.proofs.fast.len() >= maxFastProofs) {
		return false
	}
	if proof != nil {
		s.proofs.fast.push(proof)
		s.proofs.wanted = true
	}
	s.putFast(frame)
	return true
}

// putFast queues a FAST frame, whatever waits. The caller holds mu.
func (s *session) putFast(frame []byte) {
	q := &s.queue
	q.fast++
	start := s.begin()
	q.buf = append(q.buf, frame...)
	s.enqueued(start, finText)
	s.given(frame, featureFast)
}

// whole is Fast for what cannot be told in parts: when nothing else waits it may be larger
// than what may wait.
func (s *session) whole(frame []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return false
	case s.queue.bytes() == 0:
		s.putFast(frame)
	case !s.queueFast(frame, nil):
		return false
	}
	s.flushSoon()
	return true
}

// given counts a message that is queued.
func (s *session) given(frame []byte, f feature) {
	switch s.srv.metrics.frameOut(frame, f) {
	case wire.TypeMessage:
		s.identity.traffic.Count(traffic.Message, len(frame))
	case wire.TypeRoomMessage:
		s.identity.traffic.Count(traffic.Chat, len(frame))
	case wire.TypeForward:
		s.identity.traffic.Count(traffic.Link, len(frame))
	default: // no message: the server's own word
	}
}

// full says whether a FAST frame of n bytes is too much. To a link the RELIABLE
// ones that are on their way do not count, however many they are. The caller holds
// mu.
func (s *session) full(n int) bool {
	l := s.srv.limits.Load()
	if s.identity.options.Link && s.joined {
		return s.queue.bytes()+n > l.QueueBytes+s.window
	}
	return s.queue.full(n, l)
}

// Kick closes the session.
func (s *session) Kick(code uint16, reason string) { s.close(closing(code, reason)) }

// Away says whether the client is away, and since when. Only that of a Pipe ever
// is.
func (s *session) Away() (since time.Duration, away bool) {
	if s.pipe == nil {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pipe.awaySince, s.pipe.away && !s.closing
}

// GiveWay ends the session if its client is away, as when that did not come back
// in time, and says whether it did.
func (s *session) GiveWay() bool {
	if s.pipe == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pipe.away || s.closing {
		return false
	}
	s.closeLocked(ending{code: closeLost, abort: true})
	return true
}

// Opened lets the reply go, if the other nodes have heard of the session, too.
func (s *session) Opened(uint64) { s.progress(func(o *opening) { o.kept = true }) }

// Deliver queues a RELIABLE frame. There is always room: the keeper has at most
// mailbox.Window bytes on their way.
func (s *session) Deliver(d mailbox.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return // it goes back when the keeper hears of the end
	}
	s.proofs.delivered, s.proofs.wanted = d.N, true
	start := s.begin()
	switch o := &s.identity.options; {
	case o.Link:
		s.acks.waiting.push(unacked{d.ID, d.N})
		s.queue.buf = wire.AppendPlace(s.queue.buf, d.Frame, d.ID, d.Log, d.Ord, d.Low)
	case o.Ack:
		s.acks.waiting.push(unacked{d.ID, d.N})
		s.queue.buf = wire.AppendWithID(s.queue.buf, d.Frame, d.ID)
	default:
		s.queue.buf = append(s.queue.buf, d.Frame...)
	}
	s.queued(start, finText)
	s.given(d.Frame, featureReliable)
}

// FetchDone queues the end of a fetch.
func (s *session) FetchDone(left int) {
	var b [96]byte
	s.control(wire.AppendFetchComplete(b[:0], left))
}

// Gone ends the session: others took this node for dead, and have told everybody
// that the user left.
func (s *session) Gone() {
	s.Kick(wire.CloseRestart, "the other nodes took this one for dead; connect again")
}

// Settled changes nothing here: the keeper itself swallows repeats.
func (s *session) Settled(uint64) {}

// Presence tells of a watched user.
func (s *session) Presence(user wire.UserID, online bool) {
	var b [160]byte
	if online {
		s.control(wire.AppendUserConnected(b[:0], user))
	} else {
		s.control(wire.AppendUserDisconnected(b[:0], user))
	}
}

// Stored tells the client that its message is on disk.
func (s *session) Stored(_ wire.ID, reference []byte) {
	var b [256]byte
	s.control(wire.AppendStored(b[:0], reference))
}

// Failed tells the client that its message was not accepted, or not by all.
func (s *session) Failed(e *wire.Error, reference []byte) { s.refuse(e, reference) }

// refuse queues an error.
func (s *session) refuse(e *wire.Error, reference []byte) {
	s.srv.metrics.refused(e)
	var b [256]byte
	s.control(wire.AppendFailure(b[:0], e, reference))
}

// control queues a frame of the server's own. A client that lets too many of
// them pile up is closed.
func (s *session) control(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	if s.queue.overfull(len(frame)-s.window, s.srv.limits.Load()) { // what is on its way to a link does not count
		s.closeLocked(aborting(wire.CloseTooSlow, ""))
		return
	}
	start := s.begin()
	s.queue.buf = append(s.queue.buf, frame...)
	s.queue.own.frames++
	s.queue.own.bytes += len(frame)
	s.queued(start, finText)
	s.srv.metrics.frameOut(frame, featureNone)
}
