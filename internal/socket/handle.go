package socket

import (
	"slices"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// What a client sends, as it is read: called from the session's reader.

// text handles a message.
func (s *session) text(message []byte) {
	over := s.over()
	f, err := wire.ParseFrame(message)
	if err != nil {
		s.srv.metrics.invalidIn.Inc()
	} else {
		s.srv.metrics.frameIn(&f)
	}
	isAck := err == nil && f.Type == wire.TypeMessageAck
	if over {
		if isAck && s.known() {
			_ = s.acknowledge(&f) // there is nobody left to be told of an error
		}
		return
	}
	if s.known() && s.pace != nil && !isAck {
		if much := s.paced(len(message)); much != nil {
			err = much
		}
	}
	switch {
	case err != nil:
	case f.Type == wire.TypeAuthClient:
		s.signIn(&f)
	case !s.known():
		var b [64]byte
		s.control(wire.AppendAuthRequired(b[:0]))
	case s.identity.options.Link && !isAck:
		err = general(wire.CodeForbidden, "the link to another domain may only acknowledge")
	default:
		err = s.handle(&f)
	}
	if err != nil {
		s.refuse(err, f.Reference)
	}
}

// handle does what a signed-in client asks for.
func (s *session) handle(f *wire.Frame) *wire.Error {
	switch f.Type {
	case wire.TypeMessage:
		return s.send(f)
	case wire.TypeGroupMessage:
		return s.sendGroup(f)
	case wire.TypeFetch:
		return s.fetch(f)
	case wire.TypeMessageAck:
		return s.acknowledge(f)
	case wire.TypeCloseConnection:
		return s.closeOthers(f)
	}
	switch {
	case f.Type.OfRooms():
		return s.room(f)
	case f.Type.OfMatches():
		return s.match(f)
	case f.Type.OfPositions():
		return s.nearby(f)
	}
	return &wire.Error{Kind: wire.KindInvalidMessage, Code: wire.CodeUnknownType, Reason: "this server does not handle " + f.Type.String()}
}

// single is a message to one receiver, in one allocation.
type single struct {
	delivery.Send
	to [1]wire.UserID
}

func (s *session) send(f *wire.Frame) *wire.Error {
	to, content, err := wire.ParseMessage(f)
	if err != nil {
		return err
	}
	m := &single{to: [1]wire.UserID{wire.UserID(to)}} // checked by ParseMessage
	m.To = m.to[:]
	if err := s.number(&m.Send, f); err != nil {
		return err
	}
	s.pass(&m.Send, f, content)
	return nil
}

func (s *session) sendGroup(f *wire.Frame) *wire.Error {
	to, bad, content, err := wire.ParseGroup(f.Data, s.srv.limits.Load().GroupReceivers)
	if err != nil {
		return err
	}
	m := &delivery.Send{To: to, Group: true}
	if err := s.number(m, f); err != nil {
		return err
	}
	if len(bad) > 0 {
		named := make([]wire.UserID, len(bad))
		for i, text := range bad {
			named[i] = wire.UserID(text)
		}
		s.refuse(&wire.Error{
			Kind: wire.KindDeliverFailed, Code: wire.CodeBadReceiver,
			Reason: "these receivers are no user IDs", To: named, Group: true,
		}, f.Reference)
	}
	if len(to) > 0 {
		s.pass(m, f, content)
	}
	return nil
}

// number gives a RELIABLE message its place in the client's outbox, if it has one.
func (s *session) number(m *delivery.Send, f *wire.Frame) (err *wire.Error) {
	if producer := s.identity.options.Producer; producer != "" && !f.Fast {
		m.Producer = producer
		m.Seq, err = wire.ParseSeq(f)
	}
	return err
}

// pass gives a message to the hub, a RELIABLE one when there is room. What comes of it is
// told to its Origin, and to the client when it has none.
func (s *session) pass(m *delivery.Send, f *wire.Frame, content []byte) {
	m.From = s.identity.user
	m.Content, m.Reference = content, f.Reference
	m.Fast, m.Confirm, m.TTL = f.Fast, f.Confirm, f.TTL
	m.Later = s
	if m.Origin == nil {
		m.Origin = s
	}
	if s.srv.opts.Shunned != nil && !s.heard(m) {
		return
	}
	if !f.Fast {
		m.Receipt = m.Receipt || s.identity.options.Receipts && len(f.Reference) > 0
		size := len(f.Data) + len(f.Reference) + receiverCost*(len(m.To)-1)
		if !s.reserve(size) {
			return // the session is over: nobody is left to be told
		}
		done := m.Done
		m.Done = func() {
			s.settled(size)
			if done != nil {
				done()
			}
		}
	}
	s.srv.opts.Hub.Send(m)
}

// heard takes out the receivers who do not want to hear from the user, and says whether
// there are others.
func (s *session) heard(m *delivery.Send) bool {
	shunned := s.srv.opts.Shunned(m.From)
	if len(shunned) == 0 {
		return true
	}
	var deaf []wire.UserID
	m.To = slices.DeleteFunc(m.To, func(to wire.UserID) bool {
		_, is := shunned[to]
		if is {
			deaf = append(deaf, to)
		}
		return is
	})
	if len(deaf) > 0 {
		s.refuse(&wire.Error{
			Kind: wire.KindGeneralError, Code: wire.CodeForbidden, Reason: "the receiver does not want to hear from the user", To: deaf, Group: m.Group,
		}, m.Reference)
	}
	return len(m.To) > 0
}

// Later notes a receiver of a FAST message, to be written to when everything is
// handled that was read together with it: so what goes to one receiver is one
// write. It is called from the reader.
func (s *session) Later(r delivery.Receiver) {
	if n := len(s.due); n == 0 || s.due[n-1] != r {
		s.due = append(s.due, r)
	}
}

// through writes to the receivers that Later has noted. It is called from the
// reader.
func (s *session) through() {
	if len(s.due) == 0 {
		return
	}
	for _, r := range s.due {
		r.Write()
	}
	s.due = forgotten(s.due)
}

// forgotten empties a list. A long one is let go, and so is that of a session
// that may be silent from now on, but for one place.
func forgotten(list []delivery.Receiver) []delivery.Receiver {
	clear(list)
	if cap(list) > 1 {
		return nil
	}
	return list[:0]
}

func (s *session) fetch(f *wire.Frame) *wire.Error {
	count, err := wire.ParseFetch(f.Data)
	if err != nil {
		return err
	}
	if !s.srv.opts.Keeper.Fetch(s.identity.id, count) {
		return general(wire.CodeBusy, "earlier fetches of this session are not finished")
	}
	return nil
}

func (s *session) closeOthers(f *wire.Frame) *wire.Error {
	user, err := wire.ParseClose(f.Data)
	if err != nil {
		return err
	}
	if !s.isMaster() || user.App() != s.identity.user.App() {
		return general(wire.CodeForbidden, "only the master user of an app closes sessions, and only those of its app")
	}
	s.srv.opts.Hub.Dismiss(s.identity.user, user, s)
	return nil
}

func (s *session) acknowledge(f *wire.Frame) *wire.Error {
	id, err := wire.ParseAck(f.Data)
	if err != nil {
		return err
	}
	n, ok := s.acked(id)
	if !ok {
		return general(wire.CodeUnknownID, "no message with this ID waits for its acknowledgement here")
	}
	s.srv.opts.Keeper.Prove(s.identity.id, n)
	return nil
}

func (s *session) acked(id wire.ID) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted {
		return 0, false
	}
	return s.acks.acknowledged(id, s.srv.mono())
}

// ping notes what the client wants to hear back. Only the newest ping of those
// that wait is answered.
func (s *session) ping(payload []byte) {
	s.srv.metrics.pingsIn.Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	s.queue.pong = append(s.queue.pong[:0], payload...)
	s.queue.pongDue = true
	s.flushSoon()
}

// pong takes what the client proves.
func (s *session) pong(payload []byte) {
	before, delivered, calls, ok := s.proved(payload)
	if !ok {
		s.srv.metrics.pongsIgnored.Inc()
		return
	}
	if delivered > before {
		if s.identity.options.Ack {
			s.srv.opts.Keeper.Pass(s.identity.id, delivered)
		} else {
			s.srv.opts.Keeper.Prove(s.identity.id, delivered)
		}
	}
	for _, call := range calls {
		call()
	}
}

func (s *session) proved(payload []byte) (before, delivered uint64, calls []func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted {
		return 0, 0, nil, false
	}
	now := s.srv.mono()
	delivered, calls, ok = s.proofs.answered(payload, now)
	if !ok {
		return 0, 0, nil, false
	}
	if s.proofs.wanted && !s.closing && s.mayAsk(soonPings) {
		s.queue.pingDue = true // it waited for this answer
		s.flushSoon()
	}
	if l := s.srv.limits.Load(); s.silence(l) < l.ProofTimeout {
		s.checkAt(now + s.silence(l)) // otherwise a check comes in time by itself
	}
	before = s.acks.passed
	s.acks.arrived(delivered, now)
	if s.acks.late {
		s.checkAt(s.acks.since + s.srv.limits.Load().AckTimeout)
	}
	return before, delivered, calls, true
}

// over says whether the session is closing, or a Pipe's owner waits no longer:
// what the client sends is not handled then. It waits while the client has yet to take many of the server's own
// frames: one that sends faster than it reads the answers is read more slowly.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.srv.limits.Load()
	much := func() bool {
		owed := s.queue.owed()
		return owed.frames >= l.QueueFrames/2 || owed.bytes >= l.QueueBytes/2
	}
	if much() {
		s.await(false, much)
	}
	s.sends.refused = s.closing || s.sends.hurried
	return s.sends.refused
}

func (s *session) isMaster() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.master
}

func general(code, reason string) *wire.Error {
	return &wire.Error{Kind: wire.KindGeneralError, Code: code, Reason: reason}
}
