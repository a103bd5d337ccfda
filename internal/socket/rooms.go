package socket

import (
	"context"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/chat"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// attachTime is how long a sign-in waits for the rooms of its user.
const attachTime = 2 * time.Second

// Rooms is what the connector needs of whoever serves rooms. Its methods may be called
// from any goroutine.
type Rooms interface {
	// Attach has a session told of the news of its user's rooms from its return on, or,
	// when that takes longer than ctx lasts, later.
	Attach(ctx context.Context, s chat.Session)
	// Detach ends that.
	Detach(s chat.Session)
	// Serve does what a frame about rooms asks for, and answers it. It returns when the
	// session's next one may be served; calls done when this one is answered. It takes
	// bounded time. Calls for one session come one at a time, in the order of its
	// frames. The frame is the callee's.
	Serve(s chat.Session, f *wire.Frame, done func())
}

// asked are the frames about rooms of a session that wait to be served. The session's
// lock guards it.
type asked struct {
	waiting fifo[*roomFrame]
	serving bool // somebody does
}

type roomFrame struct {
	wire.Frame
	size int
}

// room takes a frame about rooms. It is served by a goroutine that there is only while
// some wait: what rooms do takes as long as their database, and meanwhile the session
// is read, until as much waits as of messages that are not stored.
func (s *session) room(f *wire.Frame) *wire.Error {
	rooms := s.srv.opts.Rooms
	if rooms == nil {
		return general(wire.CodeChatOff, s.srv.opts.RoomsOff)
	}
	size := len(f.Data) + len(f.Reference) + receiverCost
	if !s.reserve(size) {
		return nil // the session is over: nobody is left to be told
	}
	own := &roomFrame{*f, size}
	both := append(append(make([]byte, 0, len(f.Data)+len(f.Reference)), f.Data...), f.Reference...)
	if own.TypeName = nil; f.Data != nil {
		own.Data = both[:len(f.Data):len(f.Data)]
	}
	if own.Reference = nil; f.Reference != nil {
		own.Reference = both[len(f.Data):]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked.waiting.push(own)
	if !s.asked.serving {
		s.asked.serving = true
		s.srv.work.Add(1)
		go s.serveRooms(rooms)
	}
	return nil
}

// serveRooms serves what waits until nothing does.
func (s *session) serveRooms(rooms Rooms) {
	defer s.srv.work.Done()
	defer func() {
		if r := recover(); r != nil {
			s.srv.panicked(r)
			s.close(aborting(wire.CloseInternal, ""))
		}
	}()
	for f := s.nextAsked(); f != nil; f = s.nextAsked() {
		rooms.Serve(s, &f.Frame, func() { s.settled(f.size) })
	}
}

// nextAsked returns what is to be served next; nil: nothing waits, or the session is
// over.
func (s *session) nextAsked() *roomFrame {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked.waiting.len() == 0 || s.closing {
		s.asked.serving = s.closing // nobody else begins any more then
		return nil
	}
	f := s.asked.waiting.at(0)
	s.asked.waiting.drop(1)
	return f
}

// attach has the session told of news, for as long as somebody else would wait for that.
func (s *session) attach(ctx context.Context) {
	rooms := s.srv.opts.Rooms
	if rooms == nil || s.identity.options.Link {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, attachTime)
	defer cancel()
	rooms.Attach(ctx, s)
}

// Answer queues the answer to a frame about rooms.
func (s *session) Answer(frame []byte) { s.control(frame) }
