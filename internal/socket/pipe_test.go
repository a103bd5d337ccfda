package socket

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// farEnd stands at the far end of a pipe and notes what it is told. It answers
// nothing by itself.
type farEnd struct {
	t    testing.TB
	pipe *Pipe
	told chan string

	mu    sync.Mutex
	stuck chan struct{} // Through waits for it; nil: it does not
	hurry time.Time
	panic bool
}

func (f *farEnd) Text(frame []byte) {
	if f.panic {
		panic("the far end is at fault")
	}
	f.told <- "text " + string(frame)
}

func (f *farEnd) Ping(number uint64, unproved bool) {
	f.told <- fmt.Sprintf("ping %d unproved %t", number, unproved)
}

func (f *farEnd) Closed(code uint16, reason string) {
	f.told <- fmt.Sprintf("closed %d %s", code, reason)
}

func (f *farEnd) Late() { f.told <- "late" }
func (f *farEnd) Gone() { f.told <- "gone" }

func (f *farEnd) Hurry(by time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hurry = by
	if f.stuck != nil {
		close(f.stuck)
		f.stuck = nil
	}
}

func (f *farEnd) Through() {
	f.mu.Lock()
	stuck := f.stuck
	f.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
}

// next expects what the far end is told next.
func (f *farEnd) next(want string) {
	f.t.Helper()
	select {
	case got := <-f.told:
		if got != want {
			f.t.Fatalf("the far end was told %.300q\nnot %.300q", got, want)
		}
	case <-time.After(patience):
		f.t.Fatalf("the far end was not told %.300q", want)
	}
}

// quiet says that the far end was told nothing more.
func (f *farEnd) quiet() {
	f.t.Helper()
	select {
	case got := <-f.told:
		f.t.Fatalf("the far end was told %.300q", got)
	default:
	}
}

func (f *farEnd) send(text string) {
	f.t.Helper()
	if err := f.pipe.Text(f.t.Context(), []byte(text)); err != nil {
		f.t.Fatalf("%v: %.200s", err, text)
	}
}

// pipe begins a session without a connection.
func (r *rig) pipe() *farEnd {
	r.t.Helper()
	f := &farEnd{t: r.t, told: make(chan string, 10_000)}
	var err error
	if f.pipe, err = r.srv.Pipe("192.0.2.1:99", f); err != nil {
		r.t.Fatal(err)
	}
	return f
}

// joinPipe begins a session and signs a user in, with ack.
func (r *rig) joinPipe(user string) *farEnd {
	r.t.Helper()
	f := r.enterPipe(user)
	r.expect("open " + user)
	return f
}

// enterPipe is joinPipe, of which the keeper's word is still to be heard.
func (r *rig) enterPipe(user string) *farEnd {
	r.t.Helper()
	f := r.pipe()
	f.send(auth(user, `{"ack":true}`))
	f.next(`text {"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"` + user + `","isAuthenticated":true}}`)
	return f
}

// withID is a RELIABLE frame as a session with ack gets it.
func withID(frame []byte, id wire.ID) string {
	return "text " + string(wire.AppendWithID(nil, frame, id))
}

func TestAPipeIsASessionLikeAnyOther(t *testing.T) {
	r := newRig(t)
	f := r.joinPipe("ANZ-7")
	if user := f.pipe.User(); user != "ANZ-7" {
		t.Errorf("signed in as %q", user)
	}
	id := r.deliver(1, number(1))
	f.next(withID(number(1), id))
	f.next("ping 1 unproved true")
	r.quiet()
	if !f.pipe.Acknowledge(id) {
		t.Error("the acknowledgement is not known")
	}
	r.expect("prove 1")
	if f.pipe.Acknowledge(id) {
		t.Error("acknowledged twice")
	}
	f.pipe.Pong(1)

	f.send(`{"type":"MESSAGE","data":{"to":"ANZ-8","content":"hello"},"reference":"r"}`)
	if m := r.next(); m.From != "ANZ-7" || m.To[0] != "ANZ-8" {
		t.Errorf("sent %+v", m)
	}
	f.send(`{"type":"MESSAGE"`)
	f.next(`text {"type":"INVALID_MESSAGE","data":{"code":"NOT_JSON","reason":"the frame is not JSON, at byte 17"}}`)
	r.hub.Kick("ANZ-7", wire.CloseByMaster, "")
	f.next("closed 4003 CLOSED_BY_MASTER")
	f.pipe.Close(wire.CloseNormal)
	f.next("gone")
	r.expect("close ANZ-7")
	if err := f.pipe.Text(t.Context(), []byte(`{}`)); !errors.Is(err, ErrPipeClosed) {
		t.Errorf("a frame after the end: %v", err)
	}
}

func TestARefusedPipeIsClosed(t *testing.T) {
	r := newRig(t)
	f := r.pipe()
	f.send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST"}`)
	f.next(`text {"type":"AUTH_REQUIRED","data":{}}`)
	f.send(auth("nobody", ""))
	f.next(`text {"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"nobody","isAuthenticated":false,"code":"BAD_USER_ID","reason":"a user ID is appName-number, with exactly one '-'"}}`)
	f.next("closed 4002 NOT_AUTHENTICATED")
	f.pipe.Close(wire.CloseNormal)
	f.next("gone")
}

func TestPipesCountAsConnectionsAndHaveTheirDeadlineToSignIn(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.Connections = 2 })
	f := r.pipe()
	r.dial()
	var busy *wire.Error
	if _, err := r.srv.Pipe("", &farEnd{}); !errors.As(err, &busy) || busy.Code != wire.CodeBusy {
		t.Errorf("one too many: %v", err)
	}
	if n := r.counter("handshakes_refused_total", "reason", "full"); n != 1 {
		t.Errorf("%v refusals are counted", n)
	}
	r.advance(16 * time.Second)
	f.next("closed 4001 SIGN_IN_TIMEOUT")
	f.pipe.Close(0)
	f.next("gone")
	r.joinPipe("ANZ-7")
}

// What a ping asks for is said exactly: only a frame that has to be proved and
// is not makes it wait for the client's word.
func TestAPingSaysWhetherTheClientHasToProveSomething(t *testing.T) {
	r := newRig(t)
	f := r.joinPipe("ANZ-7")
	s := r.session()
	plain := message(40_000)
	s.Fast(plain, nil)
	f.next("text " + string(plain))
	f.next("ping 1 unproved false")
	f.pipe.Pong(1)

	id := r.deliver(1, number(1))
	f.next(withID(number(1), id))
	f.next("ping 2 unproved true")
	s.Fast(plain, nil)
	f.next("text " + string(plain))
	f.next("ping 3 unproved true") // it comes after the other
	f.pipe.Acknowledge(id)
	r.expect("prove 1")
	s.Fast(plain, nil)
	f.next("text " + string(plain))
	f.next("ping 4 unproved false")
	f.pipe.Pong(4)

	confirmed := make(chan bool, 1)
	s.Fast(number(2), func() { confirmed <- true })
	f.next("text " + string(number(2)))
	f.next("ping 5 unproved true")
	if len(confirmed) > 0 {
		t.Error("confirmed without an answer")
	}
	f.pipe.Pong(5)
	<-confirmed
	r.quiet()
}

// hand delivers a RELIABLE frame to a pipe and expects it there, with its ping.
func (r *rig) hand(f *farEnd, n uint64) wire.ID {
	r.t.Helper()
	id := r.deliver(n, number(int(n)))
	f.next(withID(number(int(n)), id))
	f.next(fmt.Sprintf("ping %d unproved true", n))
	return id
}

func TestAPipeHasTheTimeOfAnApplicationToAnswer(t *testing.T) {
	r := newRig(t)
	f := r.joinPipe("ANZ-7")
	id := r.hand(f, 1)
	r.advance(14 * time.Second) // a WebSocket would be dead
	f.quiet()
	r.advance(time.Second)
	f.next("late")
	r.advance(14 * time.Second)
	f.quiet() // it is told once
	f.pipe.Acknowledge(id)
	r.expect("prove 1")
	f.pipe.Pong(1)

	r.hand(f, 2)
	r.advance(16 * time.Second)
	f.next("late")
	r.advance(15 * time.Second)
	f.next("closed 4008 NOT_ACKNOWLEDGED")
	f.pipe.Close(0)
	f.next("gone")
	r.expect("close ANZ-7")
}

func TestNothingIsExpectedOfAClientThatIsAwayForAWhile(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.ResumeTimeout = time.Minute })
	f := r.joinPipe("ANZ-7")
	id := r.hand(f, 1)
	r.advance(10 * time.Second)
	f.pipe.Away(true)
	r.advance(59 * time.Second) // also not to answer a ping, though silent
	f.pipe.Away(false)
	f.quiet()
	r.advance(4 * time.Second)
	f.quiet()
	r.advance(time.Second) // half of its time, as if it had never been away
	f.next("late")
	f.pipe.Acknowledge(id)
	r.expect("prove 1")
	f.pipe.Pong(1)

	f.pipe.Away(true)
	f.pipe.Away(true)
	r.advance(61 * time.Second)
	f.next("gone")
	r.expect("close ANZ-7")
	if n := r.counter("closes_total", "code", "1006"); n != 1 {
		t.Errorf("%v sessions were lost", n)
	}
}

// A page that is loaded again and again leaves a session behind each time. They
// make room, and what they were sent goes back at once.
func TestSessionsWhoseClientsAreAwayDoNotLockTheirUserOut(t *testing.T) {
	r := newRig(t) // which lets a user have 16
	there := r.joinPipe("ANZ-7")
	var away []*farEnd
	for range 15 {
		f := r.joinPipe("ANZ-7")
		f.pipe.Away(true)
		away = append(away, f)
		r.clock.advance(10 * time.Millisecond)
	}
	id := r.deliver(1, number(1))
	last := away[14]
	last.next(withID(number(1), id))
	last.next("ping 1 unproved true")
	away[0].pipe.Away(false) // it is back in time
	away[0].pipe.Away(true)
	for _, f := range append(away[1:], away[0]) {
		r.enterPipe("ANZ-7")
		f.next("gone")
		r.expectAll("close ANZ-7", "open ANZ-7") // by two goroutines
	}
	if last.pipe.Acknowledge(id) {
		t.Error("what went back can still be acknowledged")
	}
	f := r.pipe()
	f.send(auth("ANZ-7", ""))
	if got := <-f.told; !strings.Contains(got, "TOO_MANY_SESSIONS") {
		t.Errorf("one too many was told %s", got)
	}
	there.quiet()
	if n := len(r.hub.Sessions("ANZ-7")); n != 16 {
		t.Errorf("%d sessions", n)
	}
}

func TestASilentPipeHasAHeartbeat(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.Heartbeat = 5 * time.Second })
	f := r.joinPipe("ANZ-7")
	for n := range 3 {
		r.advance(4 * time.Second)
		f.quiet()
		r.advance(time.Second)
		f.next(fmt.Sprintf("ping %d unproved false", n+1))
		f.pipe.Pong(uint64(n + 1))
	}
	r.limit(func(l *Limits) { l.Heartbeat, l.PingInterval = time.Hour, 7*time.Second })
	r.advance(8 * time.Second)
	f.next("ping 4 unproved false")
}

// A far end that takes nothing holds up nobody else, and is rid of in time.
func TestAPipeThatIsStuckKeepsOnlyItsOwnSessionWaiting(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.QueueFrames = 16 })
	f := r.joinPipe("ANZ-7")
	sender := r.join("ANZ-8", "")
	f.mu.Lock()
	f.stuck = make(chan struct{})
	f.mu.Unlock()
	for range 100 {
		sender.send(`{"type":"MESSAGE","data":{"to":"ANZ-7","content":1},"feature":"FAST"}`)
	}
	sender.settledDown()
	r.wait("its queue is full", func() bool { return !f.pipe.s.Fast(number(1), nil) })
	const most = 16 // frames may be taken by the write that is stuck
	for _, s := range r.others(f) {
		s.awaitFlush()
	}
	r.clock.advance(31 * time.Second)
	for got, n := "", 0; !strings.HasPrefix(got, "closed"); n++ { // what was queued behind it is dropped
		if got = <-f.told; n > most || !strings.HasPrefix(got, "text") && got != "closed 4008 NOT_ACKNOWLEDGED" {
			t.Fatal(got)
		}
	}
	f.pipe.Close(0)
	f.next("gone")
	r.expect("close ANZ-7")
}

// others are all sessions but a pipe's.
func (r *rig) others(f *farEnd) (list []*session) {
	r.srv.mu.Lock()
	defer r.srv.mu.Unlock()
	for s := range r.srv.sessions {
		if s != f.pipe.s {
			list = append(list, s)
		}
	}
	return list
}

func TestAFrameWaitsForRoomAsLongAsItsSenderLikes(t *testing.T) {
	r := newRig(t)
	f := r.joinPipe("ANZ-7")
	const text = `{"type":"MESSAGE","data":{"to":"ANZ-8","content":1}}`
	f.send(text)
	first := r.next()
	r.keeper.mu.Lock()
	r.keeper.behind = true
	r.keeper.mu.Unlock()

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- f.pipe.Text(ctx, []byte(text)) }()
	r.wait("it waits", func() bool { return r.counter("blocked_total") == 1 })
	go func() { done <- f.pipe.Text(ctx, []byte(text)) }() // this one for the other
	cancel()
	for range 2 {
		if err := <-done; !errors.Is(err, ErrPipeBusy) {
			t.Errorf("got %v", err)
		}
	}
	if len(r.store.sends) > 0 {
		t.Error("it was sent all the same")
	}

	before := r.counter("blocked_total")
	go func() { done <- f.pipe.Text(t.Context(), []byte(text)) }()
	r.wait("it waits", func() bool { return r.counter("blocked_total") > before })
	first.Done()
	if err := <-done; err != nil {
		t.Error(err)
	}
	r.next()

	before = r.counter("blocked_total")
	go func() { done <- f.pipe.Text(t.Context(), []byte(text)) }()
	r.wait("it waits", func() bool { return r.counter("blocked_total") > before })
	f.pipe.Close(wire.CloseNormal)
	if err := <-done; !errors.Is(err, ErrPipeClosed) {
		t.Errorf("got %v", err)
	}
	f.next("closed 1000 ")
	f.next("gone")
}

// A client that sends what is wrong and does not take the answers is not heard.
func TestAFrameWaitsWhileTheAnswersToOthersAreNotTaken(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.QueueFrames = 16 })
	f := r.joinPipe("ANZ-7")
	f.mu.Lock()
	f.stuck = make(chan struct{})
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var err error
	count := 0
	for ; err == nil; count++ {
		err = f.pipe.Text(ctx, []byte(`{"type":"NOTHING"}`))
	}
	if !errors.Is(err, ErrPipeBusy) || count > 20 {
		t.Errorf("after %d frames: %v", count, err)
	}
	f.Hurry(time.Time{}) // it takes again
	for range count - 1 {
		if got := <-f.told; !strings.Contains(got, "UNKNOWN_TYPE") {
			t.Fatal(got)
		}
	}
	f.send(`{"type":"MESSAGE"}`)
	if got := <-f.told; !strings.Contains(got, "MISSING_FIELD") {
		t.Error(got)
	}
}

func TestLongFramesComeWhole(t *testing.T) {
	r := newRig(t)
	f := r.joinPipe("ANZ-7")
	s := r.session()
	s.awaitFlush()
	f.mu.Lock()
	f.stuck = make(chan struct{})
	f.mu.Unlock()
	s.Fast(number(0), nil)
	f.next("text " + string(number(0)))
	long := []int{120_000, 1, 70_000, 60_000, 3}
	for i, n := range long { // all in one batch, cut every 32 KiB
		s.Fast(message(n+i), nil)
	}
	f.Hurry(time.Time{}) // it takes again
	for i, n := range long {
		for {
			got := <-f.told
			if strings.HasPrefix(got, "ping") {
				f.pipe.Pong(func() uint64 { n, _ := strconv.ParseUint(strings.Fields(got)[1], 10, 64); return n }())
				continue
			}
			if got != "text "+string(message(n+i)) {
				t.Fatalf("frame %d came as %d bytes: %.80s", i, len(got), got)
			}
			break
		}
	}
}

func TestPipesAreDrained(t *testing.T) {
	r := newRig(t)
	f, waiting := r.joinPipe("ANZ-7"), r.joinPipe("ANZ-8")
	id := r.hand(waiting, 1)
	drained := make(chan error, 1)
	go func() { drained <- r.srv.Drain(t.Context(), "restart") }()
	for _, f := range []*farEnd{f, waiting} {
		if got := <-f.told; !strings.HasPrefix(got, `text {"type":"RECONNECT","data":{"reason":"restart"`) {
			t.Fatal(got)
		}
	}
	var busy *wire.Error
	if _, err := r.srv.Pipe("", &farEnd{}); !errors.As(err, &busy) || busy.Code != wire.CodeBusy {
		t.Errorf("a new one: %v", err)
	}
	r.clock.advance(10 * time.Second)
	f.next("closed 1012 RESTART")
	f.pipe.Close(wire.CloseNormal)
	f.next("gone")
	waiting.next("closed 1012 RESTART")
	waiting.pipe.Acknowledge(id) // it counts until the client has closed
	waiting.pipe.Close(wire.CloseNormal)
	waiting.next("gone")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	r.expect("close ANZ-7")
	r.expect("prove 1")
	r.expect("close ANZ-8")
}

// A far end that does not close does not keep a session alive.
func TestAPipeThatIsNotClosedEndsByItself(t *testing.T) {
	r := newRig(t)
	f := r.joinPipe("ANZ-7")
	r.hub.Kick("ANZ-7", wire.CloseByMaster, "")
	f.next("closed 4003 CLOSED_BY_MASTER")
	f.next("gone") // after lingerTime
	r.expect("close ANZ-7")
}

func TestAPanicBehindAPipeEndsItsSessionOnly(t *testing.T) {
	r := newRig(t)
	f := r.joinPipe("ANZ-7")
	other := r.joinPipe("ANZ-8")
	f.panic = true
	f.pipe.s.Fast(number(1), nil)
	f.next("gone")
	r.expect("close ANZ-7")
	if n := r.counter("panics_total"); n != 1 {
		t.Errorf("%v panics are counted", n)
	}
	r.hand(other, 1)
}

func TestAnIdlePipeHasNoGoroutine(t *testing.T) {
	r := newRig(t)
	r.joinPipe("ANZ-1")
	before := runtime.NumGoroutine()
	for n := range 100 {
		r.joinPipe("ANZ-" + strconv.Itoa(n+2))
	}
	r.wait("none is left", func() bool { return runtime.NumGoroutine() <= before })
}
