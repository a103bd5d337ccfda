package events

import (
	"crypto/sha256"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// A client that was cut off comes back after so many milliseconds; which of them
// differs from stream to stream: after a restart not all come at once.
const (
	retryLeast = 500
	retryMost  = 2000
)

// Stream is one client's session and what is kept for it. It stands at the far
// end of the session's pipe, see socket.Far; the other methods may be called
// from any goroutine.
//
// Nothing is called of the pipe under mu: the session calls Hurry under its own
// lock.
type Stream struct {
	streams *Streams
	handle  string
	secret  string // begins with the handle
	proof   [sha256.Size]byte
	retry   uint16

	waiting  atomic.Int32  // frames of the client that wait to be taken
	signedIn chan struct{} // closed when the sign-in is answered, or the session over

	telling sync.Mutex // guards told, and the order in which the pipe hears of it
	told    bool       // the pipe knows that the client is away

	mu      sync.Mutex // guards what follows
	pipe    Pipe
	granted bool        // the sign-in was
	refused *wire.Error // or was not
	kept    kept
	out     Out           // nil: the client is away
	greet   bool          // it has had nothing yet, not even the preamble
	beat    bool          // it is to have a heartbeat
	turn    bool          // it is to come back, when all is written; see Late
	turned  bool          // it was had come back, and has acknowledged nothing since
	pumping bool          // somebody writes
	room    chan struct{} // closed when there may be room; nil when nobody waits
	hurry   time.Time     // when nobody waits for room any more; zero: somebody does
	asking  *time.Timer   // runs while much is to be proved; nil: it does not
	since   uint64        // what had been acknowledged when it began

	closing   bool // the session is over
	signedOut bool // its client has ended it
	left      bool // and when that was said no client was there
	code      uint16
	tail      []byte // what is yet to be said of it
	gone      bool
}

// User returns who is signed in.
func (st *Stream) User() wire.UserID { return st.pipe.User() }

// Text keeps a frame, the first of which answers the sign-in.
func (st *Stream) Text(frame []byte) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.granted {
		st.add(frame)
		return
	}
	if st.refused != nil {
		return
	}
	if st.refused = refusalIn(frame); st.refused == nil {
		st.granted = true
		st.add(appendSession(nil, frame, st.secret))
	}
	close(st.signedIn)
}

// add keeps a frame. The caller holds mu.
func (st *Stream) add(frame []byte) {
	st.kept.add(frame)
	st.streams.metrics.events.Inc()
}

// refusalIn returns what an answer to a sign-in says is wrong; nil for one that
// grants it.
func refusalIn(frame []byte) *wire.Error {
	var data struct {
		IsAuthenticated bool
		Code, Reason    string
		Home            string
	}
	f, bad := wire.ParseServerFrame(frame)
	if bad != nil || json.Unmarshal(f.Data, &data) != nil {
		return &wire.Error{Kind: wire.KindAuthReply, Code: wire.CodeBusy, Reason: "the sign-in was not answered as it should be"}
	}
	if f.Type == wire.TypeAuthReply && data.IsAuthenticated {
		return nil
	}
	return &wire.Error{Kind: string(f.TypeName), Code: data.Code, Reason: data.Reason, Home: data.Home}
}

// begun returns nil when the client is signed in, or why it is not.
func (st *Stream) begun() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.refused != nil:
		return st.refused
	case st.granted:
		st.signedIn = nil // nobody waits for it any more
		return nil
	}
	return &wire.Error{Kind: wire.KindAuthReply, Code: wire.CodeBusy, Reason: "the sign-in was not decided in time; try again later"}
}

// Ping notes a ping. One before which nothing is to be written has a heartbeat
// written: to see that the client is there, and to show proxies that the answer
// lives.
func (st *Stream) Ping(number uint64, unproved bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.kept.ping(number, unproved)
	st.beat = st.beat || st.kept.written()
}

// Through writes what there is, and waits for room.
func (st *Stream) Through() {
	st.pump()
	st.mu.Lock()
	defer st.mu.Unlock()
	for st.full() {
		if st.room == nil {
			st.room = make(chan struct{})
		}
		room, by := st.room, st.hurry
		st.mu.Unlock()
		wait(room, by)
		st.mu.Lock()
	}
}

// wait waits for a signal, or until a time that is not zero.
func wait(signal <-chan struct{}, by time.Time) {
	var late <-chan time.Time
	if !by.IsZero() {
		timer := time.NewTimer(time.Until(by))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-signal:
	case <-late:
	}
}

// full says whether the session has to wait. What can be forgotten is. The caller
// holds mu.
func (st *Stream) full() bool {
	if st.out != nil && st.kept.size() > keepMost {
		st.streams.metrics.forgotten.Add(float64(st.kept.forget(keepMost * 3 / 4)))
	}
	return !st.gone && st.kept.size() > keepMost && (st.hurry.IsZero() || time.Now().Before(st.hurry))
}

// signal lets who waits for room look again. The caller holds mu.
func (st *Stream) signal() {
	if st.room != nil {
		close(st.room)
		st.room = nil
	}
}

// Hurry bounds all waiting for the client.
func (st *Stream) Hurry(by time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.hurry.IsZero() || by.Before(st.hurry) {
		st.hurry = by
	}
	st.signal()
	if st.out != nil {
		st.out.Hurry(by)
	}
}

// Late has the client come back, if it will: it has half of its time left to say
// what it has.
func (st *Stream) Late() {
	st.mu.Lock()
	st.ask()
	st.mu.Unlock()
	st.tell()
}

// ask has the client come back, when it has been written everything. The caller
// holds mu.
func (st *Stream) ask() {
	out := st.out
	if out == nil || st.turned {
		return
	}
	st.turn, st.turned = true, true
	if !st.pumping && st.kept.written() {
		st.leave(out)
	} // otherwise whoever writes sees to it
}

// watch sees to it that a client is asked soon that has so much to prove that it
// will get nothing more. The caller holds mu.
func (st *Stream) watch() {
	if st.asking != nil || st.out == nil || st.turned || len(st.kept.buf) < askBytes || st.kept.unproved() < askBytes {
		return
	}
	st.since = st.kept.acked
	st.asking = time.AfterFunc(st.streams.askAfter, func() {
		st.mu.Lock()
		st.asking = nil
		if st.kept.acked == st.since && st.kept.unproved() >= askBytes {
			st.ask()
		} else {
			st.watch()
		}
		st.mu.Unlock()
		st.tell()
	})
}

// Closed tells the client that the session is over.
func (st *Stream) Closed(code uint16, reason string) {
	st.mu.Lock()
	st.closing, st.code, st.left = true, code, st.out == nil
	if st.granted {
		st.tail = appendClose(nil, code, reason)
	}
	st.mu.Unlock()
	st.pump()
}

// finish ends a session that is over, unless its client is still being told, or
// may yet say what it has.
func (st *Stream) finish() {
	st.mu.Lock()
	told := st.out == nil && !st.pumping
	over := st.closing && told && st.pipe != nil && (st.left || st.code == wire.CloseRestart || st.kept.unproved() == 0)
	pipe := st.pipe
	st.mu.Unlock()
	if over {
		pipe.Close(wire.CloseNormal)
	}
}

// Gone forgets the stream.
func (st *Stream) Gone() {
	st.mu.Lock()
	out, code := st.out, st.code
	if !st.granted && st.refused == nil {
		close(st.signedIn)
	}
	st.gone, st.closing, st.out, st.kept = true, true, nil, kept{}
	if st.asking != nil {
		st.asking.Stop()
	}
	st.signal()
	st.mu.Unlock()
	if out != nil {
		out.End()
	}
	st.telling.Lock()
	if st.told {
		st.streams.metrics.away.Add(-1)
	}
	st.told = false
	st.telling.Unlock()
	st.streams.remove(st, code)
}
