package socket

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/traffic"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// closePatience is how long what is queued may take to be written before
	// the close frame, abortPatience how long the write under way may, when
	// what is queued is dropped.
	closePatience = 5 * time.Second
	abortPatience = time.Second
	// lingerTime is how long a client that was sent a close frame has for its
	// own. The connection is read until then: closed with something unread, it
	// would be reset, and the close frame lost.
	lingerTime = 2 * time.Second

	// closeSilent stands in the metrics where the client's close frame had no
	// code, closeLost where there was no close frame.
	closeSilent = 1005
	closeLost   = 1006
)

// past is a deadline that ends whatever waits for the connection.
var past = time.Unix(1, 0)

// phase is how far a session has come.
type phase = uint32

const (
	phaseNew    phase = iota // not signed in
	phaseJoined              // signed in
)

// identity is who is signed in; it never changes.
type identity struct {
	id      wire.ID
	user    wire.UserID
	app     string
	options wire.Options
	domain  string // of a link: the neighbour
	traffic *traffic.Counter
}

// ending is how a session ends.
type ending struct {
	code   uint16 // for the metrics
	frame  bool   // a close frame is sent
	send   uint16 // its code; 0 for none
	reason string // its reason; empty for the code's name
	abort  bool   // what is queued is dropped, and what is unproved goes back at once
	unread bool   // the client sends on; what it sends is thrown away
	peer   bool   // the client closed; it gets no reason
	said   string // the reason in the client's close frame
	cause  error  // for the log; nil for none
}

// ofLink says in a sentence how the link from a neighbour has ended.
func (e *ending) ofLink(domain string) string {
	who := "this domain"
	if e.peer {
		who = domain
	}
	text := fmt.Sprintf("%s closed the link: %d %s", who, e.code, e.said+e.reason)
	if e.cause != nil {
		text = fmt.Sprintf("the connection of %s was lost: %s", domain, e.cause)
	}
	return strings.TrimSpace(text)
}

// closing is the ending in which everything queued is written first, and proofs
// count until the client has closed too.
func closing(code uint16, reason string) ending {
	return ending{code: code, frame: true, send: code, reason: reason}
}

// aborting is the ending of a client that does not take what it is sent.
func aborting(code uint16, reason string) ending {
	return ending{code: code, frame: true, send: code, reason: reason, abort: true}
}

// session is one connection, signed in or not. Its reader has a goroutine of
// its own, in run, unless a Pipe is in the connection's place; everything else is
// called from wherever something happens.
type session struct {
	srv    *Server
	conn   net.Conn
	from   string // where the client is, if not at the other end of conn
	pipe   *Pipe  // in place of a connection's reader; nil for a WebSocket
	reader frameReader
	due    []delivery.Receiver // to be written to when the reader is through; the reader's

	pace *pace // what it may send; nil: as much as it likes. The reader's, but for joining

	phase    atomic.Uint32
	identity identity // set before phase becomes phaseJoined

	mu     sync.Mutex // guards what follows; nothing foreign is called under it
	timer  timer      // on the server's wheel
	queue  queue
	proofs proofs
	acks   acks
	sends  sends
	asked  asked
	inPool *inPool // what it has in pools; nil: it has never asked
	watch  *watch  // what it watches of the map; nil: it never has
	window int     // bytes that may be on their way, of a link; 0 for the usual

	opening   *opening           // the reply waits for hub and keeper; nil: it does not
	signingIn bool               // an attempt is under way
	stopAuth  context.CancelFunc // ends it
	master    bool
	expires   time.Time     // when its token does; zero: never
	drop      func()        // ends the hold on what the sign-in rests on; nil: there is none
	deadline  time.Duration // to sign in by
	closeAt   time.Duration // when a drain closes it; 0: it does not

	closing  bool // close was called
	aborted  bool // and nothing that the client proves counts any more
	killed   bool // and it has no time left
	joined   bool // hub and keeper were told of it
	leftHub  bool
	leftKeep bool
}

// known says whether the client has signed in.
func (s *session) known() bool { return s.phase.Load() == phaseJoined }

// run reads until the session ends, and cleans up.
func (s *session) run() { s.finish(s.read()) }

// finish cleans up after a session of which nothing more is read.
func (s *session) finish(end ending) {
	defer s.srv.work.Done()
	s.close(end)
	if said := s.awaitFlush(); said && end.unread {
		s.linger()
	}
	if s.pipe != nil {
		s.pipe.settle()
	}
	s.conn.Close()
	s.letGo(nil)
	s.leave(true)
	s.srv.wheel.cancel(&s.timer)
	s.srv.remove(s)
	if s.pipe != nil {
		s.pipe.far.Gone()
	}
}

// read reads until the connection is lost or closed. A panic in handling what
// was read ends the session only.
func (s *session) read() (end ending) {
	defer func() {
		if r := recover(); r != nil {
			s.srv.panicked(r)
			end = fault(wire.CloseInternal, "")
		}
	}()
	return s.reader.read()
}

// linger throws away what the client still sends, until it closes or its time
// is over.
func (s *session) linger() {
	if half, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the connection is closed soon, whatever this says
	}
	_, _ = io.Copy(io.Discard, s.conn) // ends with the read deadline, if not before
}

// expectClose gives the client its time to answer the close frame. The caller
// holds mu.
func (s *session) expectClose() {
	if !s.killed {
		// Deadlines of connections are in the operating system's time, not ours.
		s.readUntil(time.Now().Add(lingerTime))
	}
}

// close ends the session: the close frame is queued, hub and keeper are told.
// It does not wait. Only the first call counts.
func (s *session) close(e ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(e)
}

// closeLocked is close for a caller that holds mu.
func (s *session) closeLocked(e ending) {
	if s.closing {
		return
	}
	s.closing, s.aborted = true, e.abort
	s.srv.metrics.closed(e.code)
	s.srv.logClosed(s, e)
	if s.stopAuth != nil {
		s.stopAuth()
	}
	s.sends.release()
	if s.opening != nil {
		s.aborted = true // the client gets nothing of what was to follow the reply
		s.giveUp()
	}
	if e.abort {
		s.dropQueue()
	}
	if e.frame && !s.queue.broken {
		s.queueClose(e)
	} else {
		s.queue.broken = true
		s.dropQueue()
		s.cutOff()
	}
	if s.joined {
		s.depart()
	}
}

// depart tells hub and keeper that the session is over, from a goroutine of its
// own: they may be who closed it. Proofs that are on their way are waited for,
// unless the session was aborted. The caller holds mu.
func (s *session) depart() {
	aborted := s.aborted
	s.srv.work.Add(1)
	go func() {
		defer s.srv.work.Done()
		s.leave(aborted)
	}()
}

// queueClose puts the close frame at the end of the queue. The caller holds mu.
func (s *session) queueClose(e ending) {
	q := &s.queue
	s.complete()
	if q.buf == nil {
		q.buf = s.srv.buffers.get()
	}
	reason := e.reason
	if reason == "" && !e.peer {
		reason = s.srv.metrics.closeName(e.send)
	}
	before := len(q.buf)
	q.buf = appendClose(q.buf, e.send, reason)
	s.srv.metrics.queued.Add(int64(len(q.buf) - before))
	q.last = true
	patience := closePatience
	if e.abort {
		patience = abortPatience
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(patience)) // fails only on a closed connection
	s.flushSoon()
}

// kill ends the session without a word, also one that is closing.
func (s *session) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killed = true
	s.closeLocked(ending{code: closeLost, abort: true})
	s.cutOff()
}

// readUntil ends the reading at a time: by the connection's deadline while the
// reader waits, and by what the reader looks at after each read, because a
// client that always has something to read is never waited for.
func (s *session) readUntil(t time.Time) {
	s.reader.until.Store(t.UnixNano())
	_ = s.conn.SetReadDeadline(t) // fails only on a closed connection
}

// cutOff ends reading and writing at once.
func (s *session) cutOff() {
	s.readUntil(past)
	_ = s.conn.SetWriteDeadline(past) // fails only on a closed connection
}

// leave tells the hub, and with keep the keeper too, that the session is over;
// each once, and only after they were told that it began.
func (s *session) leave(keep bool) {
	s.mu.Lock()
	hub := s.joined && !s.leftHub
	keep = s.joined && !s.leftKeep && keep
	s.leftHub = s.leftHub || hub
	s.leftKeep = s.leftKeep || keep
	s.mu.Unlock()
	if hub {
		if rooms := s.srv.opts.Rooms; rooms != nil {
			rooms.Detach(s)
		}
		s.leavePools()
		s.lookAway()
		s.srv.opts.Hub.Remove(s)
		s.srv.metrics.sessionsOf(&s.identity).Add(-1)
		s.unbound()
	}
	if keep {
		s.srv.opts.Keeper.Close(s.identity.id)
	}
}

// checkAt has the session checked at a time or earlier. The caller holds mu.
func (s *session) checkAt(at time.Duration) {
	if !s.closing {
		s.srv.wheel.schedule(&s.timer, at)
	}
}

// check does what is due, and says when to check again. The wheel calls it.
func (s *session) check(now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkLocked(now)
}

// checkLocked is check for a caller that holds mu.
func (s *session) checkLocked(now time.Duration) {
	if s.closing {
		return
	}
	a := agenda{now: now, next: now + time.Hour}
	l := s.srv.limits.Load()
	if end := s.overdue(&a, l); end.code != 0 {
		s.closeLocked(end)
		return
	}
	p, away := &s.proofs, false
	if s.pipe != nil {
		s.pipe.watch(&a, l)
		away = s.pipe.away
	}
	if s.known() && !away && !p.pending() && a.due(p.progress+s.silence(l)) {
		s.queue.pingDue = true
		p.progress = now
		s.flushSoon()
	}
	s.checkAt(a.next)
}

// overdue returns how the session is to end, or the zero value.
func (s *session) overdue(a *agenda, l *Limits) ending {
	q, p := &s.queue, &s.proofs
	patience, impatient := s.patience(l)
	away, lost := s.pipe.gone(a, l)
	switch {
	case s.phase.Load() == phaseNew && a.due(s.deadline):
		return closing(wire.CloseSignInTimeout, "")
	case lost:
		return ending{code: closeLost, abort: true}
	case q.writing && !away && a.due(max(q.since, p.progress)+patience): // the kernel may have taken megabytes of which the client answers a part at a time
		return aborting(impatient, "")
	case p.pending() && !away && !s.sends.blocked && a.due(p.progress+patience):
		return aborting(impatient, "")
	case s.acks.late && !away && !s.sends.blocked && a.due(s.acks.since+l.AckTimeout):
		return aborting(wire.CloseNotAcknowledged, "")
	case !s.expires.IsZero() && a.due(a.now+s.expires.Sub(s.srv.opts.Now())):
		return closing(wire.CloseTokenExpired, "")
	case s.closeAt > 0 && a.due(s.closeAt):
		return closing(wire.CloseRestart, "")
	}
	return ending{}
}

// agenda collects when something is due next.
type agenda struct{ now, next time.Duration }

// due says whether a time has come; if not, it is remembered.
func (a *agenda) due(at time.Duration) bool {
	if at > a.now {
		a.next = min(a.next, at)
		return false
	}
	return true
}
