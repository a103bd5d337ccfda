package socket

import (
	"sync"
	"syscall"
	"time"
)

const (
	// writePiece is how much is written at once: what a slow link has to take
	// within the proof timeout.
	writePiece = 32 << 10
	// bufferSize is what a write buffer begins with, keepBuffer what it may
	// have grown to and still be used again.
	bufferSize = 2 << 10
	keepBuffer = 128 << 10
	// maxWrites is how many writes to another session a reader makes in a row.
	maxWrites = 4
	// waited is how long a write must have taken to count as a sign of life:
	// the peer took what was before.
	waited = 2 * tick
)

// queue holds a session's frames until they are written. The session's lock
// guards it.
type queue struct {
	buf    []byte // ready frames, not yet taken by a flush
	frames int    // how many
	fast   int    // FAST ones among them
	own    share  // of them the server's own: answers and notices
	large  bool   // some frame may be worth compressing

	taking       int // bytes of frames, as queued, that a flush is writing
	takingFrames int
	takingFast   int
	takingOwn    share

	pong    []byte // payload of the client's last ping
	pongDue bool   // it is not answered yet
	pingDue bool   // a ping is to be written though nothing needs proof

	flushing bool          // a flush is under way
	held     bool          // none may begin, and one under way takes nothing more
	broken   bool          // a write failed: there will be no other
	last     bool          // a close frame is at the end of buf, or was taken
	wrote    bool          // the close frame was written
	since    time.Duration // when the current write began
	writing  bool          // a write is under way
	idle     chan struct{} // closed when the flush ends, if anybody waits
}

// bytes is how much waits to be written.
func (q *queue) bytes() int { return len(q.buf) + q.taking }

// share is a part of what a queue holds.
type share struct{ frames, bytes int }

// owed is what the client has yet to take of the server's own frames.
func (q *queue) owed() share {
	return share{q.own.frames + q.takingOwn.frames, q.own.bytes + q.takingOwn.bytes}
}

// full says whether a FAST frame of n bytes is too much.
func (q *queue) full(n int, l *Limits) bool {
	return q.bytes()+n > l.QueueBytes || q.frames+q.takingFrames+1 > l.QueueFrames
}

// overfull says whether a frame of the server's own, of n bytes, is too much:
// they may take twice the limits, so that a queue full of messages has room for
// them, and a notice for each user that the session may watch.
func (q *queue) overfull(n int, l *Limits) bool {
	return q.bytes()+n > 2*l.QueueBytes || q.owed().frames+1 > 2*l.QueueFrames+l.PresenceWatch
}

// buffers lends write buffers to sessions that write.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, bufferSize)
}

func (b *buffers) put(buf []byte) {
	if cap(buf) > 0 && cap(buf) <= keepBuffer {
		buf = buf[:0]
		b.pool.Put(&buf)
	}
}

// begin makes room for a frame's header in the queue. The caller holds mu,
// appends the payload to s.queue.buf, and calls queued.
func (s *session) begin() (start int) {
	q := &s.queue
	if q.buf == nil {
		q.buf = s.srv.buffers.get()
	}
	q.buf, start = beginFrame(q.buf)
	return start
}

// queued ends the frame that begins at start, and has it written. The caller
// holds mu.
func (s *session) queued(start int, first byte) {
	s.enqueued(start, first)
	s.flushSoon()
}

// enqueued ends the frame that begins at start. The caller holds mu.
func (s *session) enqueued(start int, first byte) {
	q := &s.queue
	q.buf = endFrame(q.buf, start, first)
	q.frames++
	s.srv.metrics.queued.Add(int64(len(q.buf) - start))
	if first == finText && len(q.buf)-start > s.srv.limits.Load().CompressAbove {
		q.large = true
	}
	if s.proofs.added(len(q.buf)-start) && s.mayAsk(maxPings) {
		s.askProof()
	}
}

// mayAsk says whether a ping may be added to those that are unanswered, of which
// a socket's client may have so many. A Pipe's name the places from which its
// client can go on, so what needs proof gets one whatever waits. The caller holds
// mu.
func (s *session) mayAsk(pings int) bool {
	if s.pipe != nil {
		return s.proofs.wanted || s.proofs.marks.len() < maxMarks
	}
	return s.proofs.marks.len() < pings
}

// askProof puts a ping at the end of the queue. The caller holds mu.
func (s *session) askProof() {
	q := &s.queue
	if q.buf == nil {
		q.buf = s.srv.buffers.get()
	}
	before := len(q.buf)
	q.buf = s.proofs.appendPing(q.buf)
	q.pingDue = false
	s.srv.metrics.queued.Add(int64(len(q.buf) - before))
	s.srv.metrics.pings.Inc()
}

// flushSoon starts a flush if there is something to write and none is under
// way. The caller holds mu.
func (s *session) flushSoon() {
	if s.flushes() {
		go s.flush()
	}
}

// flushes begins a flush if there is something to write and none is under way.
// The caller holds mu, and sees to the flush.
func (s *session) flushes() bool {
	q := &s.queue
	if q.flushing || q.held || q.broken || (len(q.buf) == 0 && !q.pongDue && !q.pingDue) {
		return false
	}
	q.flushing = true
	s.srv.work.Add(1)
	return true
}

// flush writes until nothing is left. There is at most one of a session.
func (s *session) flush() {
	defer s.srv.work.Done()
	defer s.recoverFlush()
	s.writeOut(s.take())
}

// flushRest is flush from what was taken already.
func (s *session) flushRest(t taken) {
	defer s.srv.work.Done()
	defer s.recoverFlush()
	s.writeOut(t)
}

// Write writes what is queued, in the caller's goroutine, as far as the
// connection takes it at once. The rest, what is to be compressed, and what
// others queue again and again meanwhile, is for a goroutine of its own, which
// costs more.
func (s *session) Write() {
	s.mu.Lock()
	begun := s.flushes()
	s.mu.Unlock()
	if !begun {
		return
	}
	t := s.take()
	for round := 0; t.batch != nil; t = s.take() {
		raw := s.reader.raw
		if round++; raw == nil || t.large || round > maxWrites {
			go s.flushRest(t)
			return
		}
		if n := writeAtOnce(raw, t.batch); n < len(t.batch) {
			s.wroteSome(n)
			t.done = n
			go s.flushRest(t)
			return
		}
		s.srv.metrics.bytesOut.Add(float64(len(t.batch)))
		s.srv.buffers.put(t.batch)
	}
	s.srv.work.Done()
}

// writeAtOnce writes as much of p as the connection takes without waiting, and
// returns how much that is. Whoever writes the rest meets the error, if there is
// one.
func writeAtOnce(raw syscall.RawConn, p []byte) (n int) {
	_ = raw.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), p)
		return true
	})
	return max(n, 0)
}

// wroteSome notes that n bytes of what was taken are written, and that the rest
// is given to the connection.
func (s *session) wroteSome(n int) {
	s.srv.metrics.bytesOut.Add(float64(n))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written(n)
	s.writeBegins()
}

// taken is what a flush has taken from the queue.
type taken struct {
	batch []byte
	large bool // some of it may be worth compressing
	done  int  // bytes of it that are written
}

// writeOut writes what was taken, and then what is queued, until nothing is left.
func (s *session) writeOut(t taken) {
	for ; t.batch != nil; t = s.take() {
		out := t.batch[t.done:]
		if t.large {
			out = s.srv.compressors.pack(s.srv.buffers.get(), t.batch, s.srv.limits.Load().CompressAbove)
		}
		ok := s.write(out, len(t.batch)-t.done)
		s.srv.buffers.put(t.batch)
		if t.large {
			s.srv.buffers.put(out)
		}
		if !ok {
			s.writeFailed()
			return
		}
	}
}

// recoverFlush keeps a panic in a flush to its own session.
func (s *session) recoverFlush() {
	if r := recover(); r != nil {
		s.srv.panicked(r)
		s.writeFailed()
	}
}

// take returns everything that is to be written, with the pings and the pong
// that belong to it, or nothing when the flush is to end. What was taken before
// is written.
func (s *session) take() taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.queue
	s.written(q.taking)
	q.takingFrames, q.takingFast, q.takingOwn = 0, 0, share{}
	s.sends.release()
	if q.held || q.broken {
		s.flushEnds()
		return taken{}
	}
	if !q.last {
		s.complete()
	}
	if len(q.buf) == 0 {
		if q.last && !q.wrote {
			q.wrote = true
			s.expectClose()
		}
		s.flushEnds()
		return taken{}
	}
	t := taken{batch: q.buf, large: q.large && s.reader.deflate}
	q.taking, q.takingFrames, q.takingFast, q.takingOwn = len(q.buf), q.frames, q.fast, q.own
	q.buf, q.frames, q.fast, q.own, q.large = nil, 0, 0, share{}, false
	s.proofs.written(s.srv.mono())
	s.writeBegins()
	return t
}

// complete adds to the queue the ping that its frames need, and the answer to
// the client's last ping. The caller holds mu.
func (s *session) complete() {
	q := &s.queue
	if q.pingDue || (s.proofs.wanted && (s.closing || s.mayAsk(soonPings))) {
		s.askProof()
	}
	if q.pongDue {
		if q.buf == nil {
			q.buf = s.srv.buffers.get()
		}
		before := len(q.buf)
		q.buf = appendFrame(q.buf, finPong, q.pong)
		s.srv.metrics.queued.Add(int64(len(q.buf) - before))
		q.pongDue = false
	}
}

// flushEnds notes that no flush is under way. The caller holds mu.
func (s *session) flushEnds() {
	q := &s.queue
	q.flushing = false
	if len(q.buf) == 0 && q.buf != nil {
		s.srv.buffers.put(q.buf)
		q.buf = nil
	}
	if q.idle != nil && !q.held {
		close(q.idle)
		q.idle = nil
	}
}

// hold keeps everything that is queued from now on until release. The caller
// holds mu.
func (s *session) hold() { s.queue.held = true }

// release ends a hold. The caller holds mu.
func (s *session) release() {
	s.queue.held = false
	s.flushSoon()
	if !s.queue.flushing {
		s.flushEnds()
	}
}

// write writes a batch that was queued bytes long, in pieces. The last of them
// is counted by take.
func (s *session) write(out []byte, queued int) bool {
	for at := 0; ; {
		piece := out[at:min(at+writePiece, len(out))]
		n, err := s.conn.Write(piece)
		s.srv.metrics.bytesOut.Add(float64(n))
		if err != nil {
			return false
		}
		if at += len(piece); at == len(out) {
			return true
		}
		s.mu.Lock()
		s.written(queued * len(piece) / len(out))
		s.writeBegins()
		s.mu.Unlock()
	}
}

// writeBegins notes that something is given to the connection. The caller holds
// mu.
func (s *session) writeBegins() {
	now, l := s.srv.mono(), s.srv.limits.Load()
	s.queue.writing, s.queue.since = true, now
	next := l.ProofTimeout
	if s.pipe != nil {
		next = min(next, l.AckTimeout/2) // see Pipe.watch
	}
	s.checkAt(now + next)
}

// written notes that the write has ended and took n bytes of the queue with it.
// The caller holds mu.
func (s *session) written(n int) {
	q, now := &s.queue, s.srv.mono()
	if q.writing && now-q.since >= waited {
		s.proofs.progress = now
	}
	q.writing = false
	q.taking -= n
	s.srv.metrics.queued.Add(int64(-n))
}

// writeFailed gives the connection up: nothing can be written to it any more.
func (s *session) writeFailed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.queue
	q.broken = true
	s.srv.metrics.queued.Add(int64(-q.taking))
	s.srv.metrics.droppedClosed.Add(float64(q.takingFast))
	q.taking, q.takingFrames, q.takingFast, q.takingOwn, q.writing = 0, 0, 0, share{}, false
	s.dropQueue()
	s.sends.release()
	s.flushEnds()
	s.readUntil(past)
}

// dropQueue forgets what waits to be written. The caller holds mu.
func (s *session) dropQueue() {
	q := &s.queue
	s.srv.metrics.queued.Add(int64(-len(q.buf)))
	s.srv.metrics.droppedClosed.Add(float64(q.fast))
	s.srv.buffers.put(q.buf)
	q.buf, q.frames, q.fast, q.own, q.large = nil, 0, 0, share{}, false
	q.pongDue, q.pingDue = false, false
}

// awaitFlush returns when nothing is written any more, and says whether a close
// frame was. When the session is closing, that remains so.
func (s *session) awaitFlush() (said bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := &s.queue; q.flushing || q.held {
		if q.idle == nil {
			q.idle = make(chan struct{})
		}
		idle := q.idle
		s.mu.Unlock()
		<-idle
		s.mu.Lock()
	}
	return s.queue.wrote
}
