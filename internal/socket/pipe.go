package socket

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Far stands at the far end of a Pipe, where a WebSocket has its client: it
// takes what the session has for the client.
//
// Text, Ping, Closed and Through are called one at a time, in the order of the
// session's frames, from a goroutine of the session's that writes, and may keep
// it waiting: what is queued meanwhile is held to the session's limits. The
// others are called at any time and must not wait. None may call Pipe's methods
// but Pong and Acknowledge before it returns, Hurry not even those.
type Far interface {
	// Text takes a frame, which is valid during the call only.
	Text(frame []byte)
	// Ping asks to be answered, by Pipe.Pong, when the client has everything
	// that came before it. unproved says that something of that waits for
	// proof: then only the client's own word is an answer. Otherwise it is one
	// that all was written.
	Ping(number uint64, unproved bool)
	// Closed says that the session is over, and how. Text and Ping are not
	// called any more. The session waits a moment for Pipe.Close: what the
	// client proves until then counts.
	Closed(code uint16, reason string)
	// Through says that what was handed over is all that there is just now. It
	// returns when there is room for more.
	Through()
	// Hurry has Through return by a time, this call of it and all that follow.
	Hurry(by time.Time)
	// Late says that half the time is over in which the oldest ping that is not
	// answered must be.
	Late()
	// Gone says that nothing of the session is left. It is the last call.
	Gone()
}

// Why a Pipe did not take a frame.
var (
	ErrPipeBusy   = errors.New("the session has no room for another frame at present")
	ErrPipeClosed = errors.New("the session is over")
)

// Pipe is the client's end of a session that has no connection of its own: a
// door that speaks something else than WebSocket keeps it in its client's place.
// All rules and limits of sessions hold, with these differences:
//
//   - A ping that follows frames which need proof may take the client's
//     application to be answered. So the client has AckTimeout for it.
//   - The client may go away and come back (see Away): for ResumeTimeout nothing
//     is expected of it.
//   - It is pinged when it was silent for Heartbeat, if that is less than
//     PingInterval.
//
// Its methods may be called from any goroutine. An idle pipe has none.
type Pipe struct {
	s       *session
	far     Far
	address pipeAddr
	turn    chan struct{} // taken by who hands the session a frame

	rest     []byte // the beginning of a frame that is not whole; the writer's
	ending   sync.Once
	lingerer *time.Timer // ends a session whose far end does not close; guarded by s.mu

	// Guarded by s.mu.
	away      bool
	awaySince time.Duration
	lateFor   uint64 // the ping of which Late was told
	late      bool   // Late is to be told
}

// pipeAddr is where the client is.
type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// Pipe begins a session that is not signed in, for a client at an address. Far
// may be called from now on. The error is a *wire.Error with BUSY when there is
// no place for it.
func (srv *Server) Pipe(address string, far Far) (*Pipe, error) {
	if no := srv.enter(); no != nil {
		srv.metrics.turnedAway[no.away].Inc()
		return nil, &wire.Error{Kind: wire.KindGeneralError, Code: wire.CodeBusy, Reason: no.text}
	}
	p := &Pipe{far: far, address: pipeAddr(address), turn: make(chan struct{}, 1)}
	s := &session{srv: srv, pipe: p}
	p.s, s.conn, s.timer.session = s, pipeConn{p}, s
	s.reader.readTerms = srv.terms.Load()
	if err := srv.begin(s, nil); err != nil {
		srv.leave()
		return nil, &wire.Error{Kind: wire.KindGeneralError, Code: wire.CodeBusy, Reason: err.Error()}
	}
	return p, nil
}

// User returns who is signed in; empty when nobody is.
func (p *Pipe) User() wire.UserID {
	if !p.s.known() {
		return ""
	}
	return p.s.identity.user
}

// Text hands the session a frame of the client's. It waits where a WebSocket
// would not be read, until ctx ends: then it returns ErrPipeBusy, and the frame
// was not taken. After ErrPipeClosed it was not either.
func (p *Pipe) Text(ctx context.Context, frame []byte) (err error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return ErrPipeBusy
	}
	s := p.s
	defer func() {
		if r := recover(); r != nil {
			s.srv.panicked(r)
			s.close(aborting(wire.CloseInternal, ""))
			err = ErrPipeClosed
		}
		<-p.turn
	}()
	s.setQuit(ctx.Done())
	s.srv.metrics.bytesIn.Add(float64(len(frame)))
	s.text(frame)
	s.through()
	return s.setQuit(nil)
}

// settle returns when what is being handled has come to its end. What comes later
// finds the session closing.
func (p *Pipe) settle() {
	p.turn <- struct{}{}
	<-p.turn
}

// Pong answers a ping, and with it all earlier ones.
func (p *Pipe) Pong(number uint64) {
	var b [20]byte
	p.s.pong(strconv.AppendUint(b[:0], number, 10))
}

// Acknowledge says that the client has handled a RELIABLE frame and all before
// it. It returns false when the session was not sent it, or knows already.
func (p *Pipe) Acknowledge(id wire.ID) bool {
	n, ok := p.s.acked(id)
	if ok {
		p.s.srv.opts.Keeper.Prove(p.s.identity.id, n)
	}
	return ok
}

// Away says that the client has gone, and may come back, or that it is there.
// Which it is at first: there.
func (p *Pipe) Away(away bool) {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if away == p.away {
		return
	}
	now := s.srv.mono()
	p.away = away
	if away {
		p.awaySince = now
	} else {
		s.excuse(now-p.awaySince, now)
	}
	s.checkAt(0)
}

// Close ends the session for the client: with a code as if it had sent a close
// frame, with 0 as if its connection were lost.
func (p *Pipe) Close(code uint16) {
	if code == 0 {
		p.end(ending{code: closeLost, abort: true})
		return
	}
	p.end(ending{code: code, frame: true, send: code, abort: true, peer: true})
}

// end does what the reader of a connection does when reading has ended. Only the
// first call counts.
func (p *Pipe) end(e ending) {
	p.ending.Do(func() {
		go p.s.finish(e) // begin has counted it; Run and Drain wait
	})
}

// patience is how long a client may take to answer a ping, and what it is closed
// with when it does not.
func (s *session) patience(l *Limits) (time.Duration, uint16) {
	if s.pipe != nil {
		return l.AckTimeout, wire.CloseNotAcknowledged
	}
	return l.ProofTimeout, wire.CloseNoProof
}

// silence is how long a session may prove nothing before it is asked.
func (s *session) silence(l *Limits) time.Duration {
	if s.pipe != nil {
		return min(l.PingInterval, l.Heartbeat)
	}
	return l.PingInterval
}

// gone says whether the client is away, and whether it has been for too long.
// The caller holds the session's lock.
func (p *Pipe) gone(a *agenda, l *Limits) (away, lost bool) {
	if p == nil || !p.away {
		return false, false
	}
	return true, a.due(p.awaySince + l.ResumeTimeout)
}

// watch notes when the client is late with an answer. The caller holds the
// session's lock.
func (p *Pipe) watch(a *agenda, l *Limits) {
	q := &p.s.proofs
	if p.away || !q.pending() || p.lateFor > q.heard || !a.due(q.progress+l.AckTimeout/2) {
		return
	}
	p.lateFor, p.late = q.heard+1, true
}

// tell tells the far end what watch has noted. The caller holds no lock.
func (p *Pipe) tell() {
	p.s.mu.Lock()
	late := p.late
	p.late = false
	p.s.mu.Unlock()
	if late {
		p.far.Late()
	}
}

// pipeConn is what a session has in place of a connection. It is written to
// only; what the client sends does not come as bytes.
type pipeConn struct{ *Pipe }

// Write hands frames over. They may be cut anywhere.
func (c pipeConn) Write(b []byte) (int, error) {
	p := c.Pipe
	all := b
	if len(p.rest) > 0 {
		all = append(p.rest, b...)
	}
	for whole(all) {
		var first byte
		var payload []byte
		first, payload, all = splitFrame(all)
		p.pass(first, payload)
	}
	p.rest = nil
	if len(all) > 0 {
		p.rest = append(make([]byte, 0, len(all)+len(b)), all...)
	}
	p.far.Through()
	return len(b), nil
}

// pass hands one frame over.
func (p *Pipe) pass(first byte, payload []byte) {
	switch first {
	case finText:
		p.far.Text(payload)
	case finPing:
		if number, ok := pingNumber(payload); ok {
			p.far.Ping(number, p.s.unproved(number))
		}
	case finClose:
		code, reason := closeOf(payload)
		p.far.Closed(code, reason)
	}
}

// unproved says whether something before a ping waits for the client's proof.
func (s *session) unproved(number uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.proofs
	if number <= p.heard || number > p.asked {
		return false
	}
	m := p.marks.at(int(number-p.heard) - 1)
	return m.delivered > s.acks.passed || m.fast > p.fastGone
}

// Read has nothing to read.
func (c pipeConn) Read([]byte) (int, error) { return 0, io.EOF }

// Close is called once, at the very end.
func (c pipeConn) Close() error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.lingerer != nil {
		c.lingerer.Stop()
	}
	return nil
}

func (c pipeConn) LocalAddr() net.Addr           { return c.address }
func (c pipeConn) RemoteAddr() net.Addr          { return c.address }
func (c pipeConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline bounds the writing under way, and all that follows.
func (c pipeConn) SetWriteDeadline(t time.Time) error {
	c.far.Hurry(t)
	return nil
}

// SetReadDeadline is how a session says that it reads only until then. The
// caller holds the session's lock.
func (c pipeConn) SetReadDeadline(t time.Time) error {
	p, lost := c.Pipe, ending{code: closeLost, abort: true}
	if left := time.Until(t); left <= 0 {
		p.end(lost)
	} else if p.lingerer == nil {
		p.lingerer = time.AfterFunc(left, func() { p.end(lost) })
	}
	return nil
}
