package socket

import "time"

// What one session may have sent, RELIABLE, without knowing that it is stored.
// Past it the session is not read: a client that sends faster than the disk
// takes it waits, as TCP has it.
const (
	maxSendBytes = 256 << 10

	// receiverCost is what one more receiver of a group message counts there, in
	// bytes: each is a mailbox to look up and to write into.
	receiverCost = 256
)

// sends counts the messages of a session whose outcome is not known. The
// session's lock guards it.
type sends struct {
	bytes   int
	count   int
	blocked bool          // the reader waits for the store
	wake    chan struct{} // closed when there may be some

	quit    <-chan struct{} // ends the waiting of who hands a Pipe a frame; nil: nothing does
	hurried bool            // it has
	refused bool            // and the frame was not taken, or the session is over
}

// full says whether a message of n bytes has to wait, when the store is behind
// or is not. One alone never has. No more are under way than frames may wait: so
// there is room for their receipts.
func (w *sends) full(n int, behind bool, l *Limits) bool {
	return w.count > 0 && (behind || w.bytes+n > maxSendBytes || w.count >= l.QueueFrames)
}

// release lets the reader look again.
func (w *sends) release() {
	if w.wake != nil {
		close(w.wake)
		w.wake = nil
	}
}

// reserve waits until a message of n bytes may be sent. It returns false when
// the session ends. Whoever stores answers in bounded time, so it does too; and
// meanwhile nothing is expected of the client, whose pongs nobody reads.
func (s *session) reserve(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.sends
	keeper, l := s.srv.opts.Keeper, s.srv.limits.Load()
	if w.full(n, keeper.Behind(), l) {
		s.srv.metrics.blocked.Inc()
		s.await(true, func() bool { return w.full(n, keeper.Behind(), l) })
	}
	if s.closing || w.hurried {
		w.refused = true
		return false
	}
	w.bytes += n
	w.count++
	return true
}

// await keeps the reader from going on while full says so and the session
// lasts. Whatever may change full's answer calls release. excused says that it is
// not the client who is waited for: what it has to answer has so much more time.
// The caller holds mu, which await gives up meanwhile.
func (s *session) await(excused bool, full func() bool) {
	w, began := &s.sends, s.srv.mono()
	for full() && !s.closing && !w.hurried {
		wake, quit := make(chan struct{}), w.quit
		w.wake, w.blocked = wake, excused
		s.mu.Unlock()
		s.through() // nobody waits meanwhile for what is handed over
		hurried := false
		select {
		case <-wake:
		case <-quit:
			hurried = true
		}
		s.mu.Lock()
		w.hurried = hurried
	}
	if w.blocked {
		now := s.srv.mono()
		w.blocked = false
		s.excuse(now-began, now) // nobody has read what the client answered meanwhile
		s.checkLocked(now)
	}
}

// excuse gives the client so much more time for what it has to answer. The caller
// holds mu.
func (s *session) excuse(d, now time.Duration) {
	s.proofs.progress = min(s.proofs.progress+d, now)
	s.acks.since = min(s.acks.since+d, now)
}

// setQuit begins the handling of a frame that a Pipe was handed, with what ends
// its waiting, or ends it, with nil. Then it returns whether the frame was taken.
func (s *session) setQuit(quit <-chan struct{}) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.sends
	hurried, refused := w.hurried, w.refused
	w.quit, w.hurried, w.refused = quit, false, false
	switch {
	case !refused:
		return nil
	case hurried:
		return ErrPipeBusy
	}
	return ErrPipeClosed
}

// settled takes a message back whose outcome is known.
func (s *session) settled(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sends.bytes -= n
	s.sends.count--
	s.sends.release()
}
