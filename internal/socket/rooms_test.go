package socket

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/chat"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// rooms serves frames as the test says.
type rooms struct {
	serve func(s chat.Session, f *wire.Frame, done func())

	mu       sync.Mutex
	attached map[wire.ID]chat.Session
	came     []string // what happened, in order
}

func (r *rooms) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.came = append(r.came, fmt.Sprintf(format, args...))
}

func (r *rooms) notes() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.came, ", ")
}

func (r *rooms) Attach(_ context.Context, s chat.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.attached == nil {
		r.attached = make(map[wire.ID]chat.Session)
	}
	r.attached[s.ID()] = s
}

func (r *rooms) Detach(s chat.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.attached, s.ID())
}

func (r *rooms) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.attached)
}

func (r *rooms) Serve(s chat.Session, f *wire.Frame, done func()) { r.serve(s, f, done) }

func withRooms(r *rooms) rigOption { return func(o *Options) { o.Rooms = r } }

// send is a ROOM_SEND whose content is n bytes long.
func roomSend(reference string, n int) string {
	return `{"type":"ROOM_SEND","data":{"room":"0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081","content":"` + strings.Repeat("x", n) + `"},"reference":"` + reference + `"}`
}

func TestAServerWithoutRoomsSaysSo(t *testing.T) {
	r := newRig(t, func(o *Options) { o.RoomsOff = "set db.url" })
	p := r.join("ANZ-7", "")
	p.send(roomSend("r1", 1))
	p.text(`{"type":"GENERAL_ERROR","data":{"code":"CHAT_OFF","reason":"set db.url"},"reference":"r1"}`)
}

// The reader goes on while rooms are at work; what they are given is their own, and comes
// one at a time, in order.
func TestFramesAboutRoomsAreServedInOrderBesideTheReader(t *testing.T) {
	gate := make(chan struct{})
	x := new(rooms)
	x.serve = func(s chat.Session, f *wire.Frame, done func()) {
		<-gate
		x.note("%s", f.Reference)
		s.Answer(wire.AppendRoomFrame(nil, wire.TypeRoomSent, &wire.RoomTyping{User: "chat-1"}, f.Reference))
		done()
	}
	r := newRig(t, withRooms(x))
	p := r.join("ANZ-7", "")
	for i := range 20 {
		p.send(roomSend(fmt.Sprint(i), 10))
	}
	p.send("[")
	p.text(`{"type":"INVALID_MESSAGE","data":{"code":"NOT_JSON","reason":"the frame is not a JSON object"}}`)
	close(gate)
	for i := range 20 {
		p.text(fmt.Sprintf(`{"type":"ROOM_SENT","data":{"room":"00000000-0000-0000-0000-000000000000","user":"chat-1"},"reference":"%d"}`, i))
	}
}

// A session that sends more than is answered is read no further, until some is.
func TestASessionIsNotReadWhileRoomsOweItMuch(t *testing.T) {
	gate, count := make(chan struct{}), make(chan struct{}, 1000)
	x := new(rooms)
	x.serve = func(_ chat.Session, _ *wire.Frame, done func()) {
		count <- struct{}{}
		go func() { // as messages, which do not hold up the next
			<-gate
			done()
		}()
	}
	r := newRig(t, withRooms(x))
	p := r.join("ANZ-7", "")
	const frames = 40
	sent := make(chan error, 1)
	go func() {
		for i := range frames {
			p.send(roomSend(fmt.Sprint(i), 15<<10))
		}
		sent <- nil
	}()
	for range maxSendBytes / (16 << 10) {
		<-count
	}
	waitFor(t, "the session waits", func() bool { return r.counter("blocked_total") > 0 })
	if n := len(count); n > 3 {
		t.Errorf("%d more frames were taken", n)
	}
	close(gate)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all were served", func() bool { return len(count) >= frames-maxSendBytes/(16<<10) })
}

func TestASessionIsAttachedFromItsSignInToItsEnd(t *testing.T) {
	x := new(rooms)
	r := newRig(t, withRooms(x))
	p := r.join("ANZ-7", "")
	if x.count() != 1 {
		t.Fatal("the session was signed in before it is told of news")
	}
	p.conn.Close()
	waitFor(t, "the session is told of news no longer", func() bool { return x.count() == 0 })
}

func TestAPanicOfRoomsEndsOneSessionOnly(t *testing.T) {
	x := new(rooms)
	x.serve = func(_ chat.Session, f *wire.Frame, done func()) {
		if string(f.Reference) == `"bad"` {
			panic("rooms are at fault")
		}
		x.note("%s", f.Reference)
		done()
	}
	r := newRig(t, withRooms(x))
	p, other := r.join("ANZ-7", ""), r.join("ANZ-8", "")
	p.send(roomSend("bad", 1))
	p.closed(wire.CloseInternal)
	other.send(roomSend("good", 1))
	waitFor(t, "the other session is served", func() bool { return x.notes() == `"good"` })
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
	}
}
