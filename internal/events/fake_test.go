package events

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a test waits for.
const patience = 20 * time.Second

// world is Streams whose sessions do what the test says.
type world struct {
	t       testing.TB
	streams *Streams

	mu     sync.Mutex
	now    time.Time
	limits Limits
	pipes  []*session
	full   bool                                  // no session can be opened
	answer func(s *session, frame string) string // to what a client sends; "" for none
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC),
		limits: Limits{Write: time.Second, Resume: 30 * time.Second, Frames: 2, Frame: time.Minute},
	}
	var err error
	w.streams, err = New(Options{Open: w.open, Limits: w.currentLimits, Now: w.time})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) currentLimits() Limits {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.limits
}

// session is one that a test plays: what it is told, it notes.
type session struct {
	w    *world
	far  *Stream
	user wire.UserID
	told chan string
	stop chan struct{} // Text waits for it, when there is one
}

func (w *world) open(_ string, far *Stream) (Pipe, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return nil, &wire.Error{Kind: wire.KindGeneralError, Code: wire.CodeBusy, Reason: "no place"}
	}
	s := &session{w: w, far: far, told: make(chan string, 1000)}
	w.pipes = append(w.pipes, s)
	return s, nil
}

func (s *session) User() wire.UserID { return s.user }

func (s *session) Text(ctx context.Context, frame []byte) error {
	s.w.mu.Lock()
	answer, stop := s.w.answer, s.stop
	s.w.mu.Unlock()
	if stop != nil {
		select {
		case <-stop:
		case <-ctx.Done():
			return errors.New("no room")
		}
	}
	s.told <- "text " + string(frame)
	if answer != nil {
		if reply := answer(s, string(frame)); reply != "" {
			s.far.Text([]byte(reply))
			s.far.Through()
		}
		return nil
	}
	if f, err := wire.ParseFrame(frame); err == nil && f.Type == wire.TypeAuthClient {
		a, _ := wire.ParseAuth(f.Data)
		s.user = a.User
		s.far.Text(wire.AppendAuthReply(nil, a.AppID, a.UserText, true, "", ""))
		s.far.Through()
	}
	return nil
}

func (s *session) Pong(number uint64)          { s.told <- fmt.Sprintf("pong %d", number) }
func (s *session) Acknowledge(id wire.ID) bool { s.told <- "ack " + id.String(); return true }
func (s *session) Away(away bool)              { s.told <- fmt.Sprintf("away %t", away) }
func (s *session) Close(code uint16)           { s.told <- fmt.Sprintf("close %d", code) }

// expect expects what the session is told next.
func (s *session) expect(want string) {
	s.w.t.Helper()
	select {
	case got := <-s.told:
		if got != want {
			s.w.t.Fatalf("the session was told %.200q\nnot %.200q", got, want)
		}
	case <-time.After(patience):
		s.w.t.Fatalf("the session was not told %q", want)
	}
}

func (s *session) quiet() {
	s.w.t.Helper()
	select {
	case got := <-s.told:
		s.w.t.Fatalf("the session was told %.200q", got)
	default:
	}
}

// has hands the client a frame, RELIABLE if its number is above 0, and returns
// it.
func (s *session) has(n int, content string) string {
	frame := wire.AppendMessage(nil, "ANZ-9", []byte(content), nil)
	if n > 0 {
		frame = wire.AppendWithID(nil, frame, id(s.w.t, n))
	}
	s.far.Text(frame)
	return string(frame)
}

// end ends the session as its pipe does.
func (s *session) end(code uint16, reason string) {
	s.far.Closed(code, reason)
	s.far.Gone()
}

func (w *world) request() Request {
	return Request{Credentials: Credentials{AppID: "app-id-343", UserID: "ANZ-7", Token: "t"}, Push: true}
}

// connect opens a stream, and returns it with its session.
func (w *world) connect() (*Stream, *session) {
	w.t.Helper()
	st, err := w.streams.Connect(w.t.Context(), w.request())
	if err != nil {
		w.t.Fatal(err)
	}
	s := w.pipes[len(w.pipes)-1]
	s.expect(`text {"data":{"appId":"app-id-343","options":{"ack":true,"push":true,"receipts":false},"token":"t","userId":"ANZ-7"},"type":"AUTH_CLIENT"}`)
	s.expect("away true") // until an answer is attached
	return st, s
}

// back connects again, after an event.
func (w *world) back(last string) (*Stream, error) {
	r := w.request()
	r.LastEventID = last
	return w.streams.Connect(w.t.Context(), r)
}

// answer is one that a client reads.
type answer struct {
	t testing.TB

	mu    sync.Mutex
	text  strings.Builder
	most  int // bytes of the largest write
	ended bool
	fails bool          // the next write does
	stuck chan struct{} // a write waits for it
	hurry time.Time
}

func (w *world) attach(st *Stream) *answer {
	w.t.Helper()
	a := &answer{t: w.t}
	if !st.Attach(a) {
		w.t.Fatal("the session is over")
	}
	return a
}

func (a *answer) Write(p []byte, _ time.Duration) error {
	a.mu.Lock()
	stuck, fails := a.stuck, a.fails || a.ended
	a.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.most = max(a.most, len(p))
	if fails || a.ended {
		a.text.Write(p[:len(p)/2]) // nobody knows how much of it arrives
		return errors.New("the client is gone")
	}
	a.text.Write(p)
	return nil
}

func (a *answer) Hurry(by time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hurry = by
}

func (a *answer) End() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if a.stuck != nil {
		close(a.stuck)
		a.stuck = nil
	}
}

// got returns what the client has read so far, without what is not whole.
func (a *answer) got() []nodetest.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	return read(a.t, []byte(a.text.String()))
}

// raw returns what was written, and forgets it.
func (a *answer) raw() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := a.text.String()
	a.text.Reset()
	return text
}

func (a *answer) over() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended
}

// datas are the data of events.
func datas(list []nodetest.Event) []string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = e.Data
	}
	return out
}
