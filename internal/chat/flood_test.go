package chat_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/db"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// flood sends so many messages to a room at once, and returns how many were refused.
func flood(n *node, room string, messages int) (refused int64) {
	n.w.t.Helper()
	frame, _ := wire.ParseFrame(fmt.Appendf(nil, `{"type":"ROOM_SEND","data":{"room":%q,"content":1}}`, room))
	ask, err := wire.ParseRoom(&frame)
	if err != nil {
		n.w.t.Fatal(err)
	}
	var all sync.WaitGroup
	var count atomic.Int64
	for range messages {
		all.Go(func() {
			_, err := n.Do(context.Background(), "chat-1", &ask)
			var e *wire.Error
			if errors.As(err, &e) && e.Code == wire.CodeBusy {
				count.Add(1)
			} else if err != nil {
				n.w.t.Error(err)
			}
		})
	}
	all.Wait()
	return count.Load()
}

// Where more is sent than can be stored, what is past the bound is refused, and all else
// is stored once.
func TestMoreThanCanBeStoredIsRefused(t *testing.T) {
	w := newWorld(t, db.Options{Path: filepath.Join(t.TempDir(), "switchboard.db")})
	n := w.run()
	ann := n.client(1)
	room := ann.create("")
	open := sync.OnceFunc(w.store.close())
	t.Cleanup(open)
	done := make(chan int64, 1)
	const messages = 25_000
	go func() { done <- flood(n, room, messages) }()
	eventually(t, "some are refused", func() bool { return n.metric("busy_total") > 0 })
	open()
	refused := <-done
	if refused == 0 || refused > messages/2 || n.metric("busy_total") != float64(refused) {
		t.Errorf("%d of %d were refused, and %v counted", refused, messages, n.metric("busy_total"))
	}
	if f := ann.ask("ROOM_LIST", `{}`); f.code() != "ROOMS" || n.metric("messages_stored_total") != float64(messages-refused) {
		t.Errorf("%v are stored of %d that were taken", n.metric("messages_stored_total"), messages-refused)
	}
	if f := ann.send(room, "last"); f.in.Seq != messages-refused+1 {
		t.Errorf("the last is %d, of %d", f.in.Seq, messages-refused+1)
	}
}

// stuck is a session that takes nothing until its gate opens.
type stuck struct {
	*client
	gate chan struct{}
}

func (s *stuck) Queue(frame []byte, proof func()) bool {
	<-s.gate
	return s.client.Queue(frame, proof)
}

// News that cannot be handed over as fast as they come are dropped and counted, and the
// end of what is missing is read from the database.
func TestNewsThatOverrunANodeAreReadFromTheDatabase(t *testing.T) {
	w := newWorld(t, db.Options{Path: filepath.Join(t.TempDir(), "switchboard.db")})
	n := w.run()
	ann, bob := n.client(1), n.client(2)
	room := ann.create("", bob)
	s := &stuck{&client{n: n, user: "chat-2", news: make(chan struct{}, 1)}, make(chan struct{})}
	s.id[0] = 9
	n.Attach(t.Context(), s)
	t.Cleanup(func() { n.Detach(s) })
	const messages = 18_000
	if refused := flood(n, room, messages); refused > 0 {
		t.Fatalf("%d were refused", refused)
	}
	if n.metric("news_overrun_total") == 0 {
		t.Error("none was dropped")
	}
	close(s.gate)
	for last := int64(0); last < messages; {
		f := s.until("ROOM_MESSAGE")
		if f.in.Seq <= last {
			t.Fatalf("message %d came after %d", f.in.Seq, last)
		}
		last = f.in.Seq
	}
}
