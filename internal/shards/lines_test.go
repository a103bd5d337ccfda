package shards

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// deskAlone is an office without other nodes, whose shard has no keeper yet.
func deskAlone(t *testing.T) *Office {
	t.Helper()
	o, err := New(Options{Self: "a", Shards: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// keep has its shard kept until the test ends.
func (w *world) keep(o *Office) *mailbox.Keeper {
	w.t.Helper()
	log, err := w.bus.Log(w.t.Context(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	k, err := mailbox.Open(w.t.Context(), mailbox.Options{
		Log: log, Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler), Limits: mailbox.Limits{Age: time.Hour, Messages: 1000, Bytes: 1 << 30},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = k.Run(ctx)
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
	o.Serve(0, 1, k)
	return k
}

// wantInOrder fails unless all of a neighbour's messages are there, in order.
func wantInOrder(t *testing.T, k *mailbox.Keeper, user wire.UserID, count int) {
	t.Helper()
	list, _, err := k.Peek(t.Context(), user, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, m := range list {
		got = append(got, string(m.Frame))
	}
	for i := range count {
		want = append(want, fmt.Sprintf("far %d", i+1))
	}
	if !slices.Equal(got, want) {
		t.Errorf("there are %q", got)
	}
}

// What waits for a keeper is given up message by message, as its time is over. A keeper
// that comes in between must not take the rest of what came over a link, on this
// connection or on the next: what was given up comes again, and would be behind it.
func TestWhatIsGivenUpOfALinkIsNotOvertakenByWhatCameAfterIt(t *testing.T) {
	for _, told := range []bool{true, false} { // whether the node knows that the connection has ended
		t.Run(fmt.Sprint(told), func(t *testing.T) {
			w, o, receiver := newWorld(t, 1), deskAlone(t), wireUser(1)
			const count = 6
			n := newNeighbour(t, count, func(int) []wire.UserID { return []wire.UserID{receiver} })
			line, began := n.connect(o), time.Now()
			line.bring(count / 2)
			o.Tend(began)
			line.bring(count / 2)
			o.Tend(began.Add(time.Second))
			if o.Tend(began.Add(Patience)); !line.Over() {
				t.Fatal("nothing is given up")
			}
			line.ended.Store(told)
			k := w.keep(o)
			w.eventually("every outcome is told", n.idle)
			n.connect(o).bring(count)
			w.eventually("all is stored", func() bool { return n.first() == count })
			wantInOrder(t, k, receiver, count)
		})
	}
}

// What a connection brought that has ended leaves its room to what the next one brings:
// that is the same, and it would be refused for ever.
func TestWhatWaitsOfALinkThatIsDownTakesNoRoom(t *testing.T) {
	w, o, receiver := newWorld(t, 1), deskAlone(t), wireUser(1)
	const count = 5
	n := newNeighbour(t, count, func(int) []wire.UserID { return []wire.UserID{receiver} })
	n.size = maxWaiting / 4
	for range 3 {
		line := n.connect(o)
		if line.bring(3); line.Over() {
			t.Fatal("there is no room")
		}
		line.ended.Store(true)
	}
	k := w.keep(o)
	if !n.idle() {
		t.Error("something waits of connections that have ended")
	}
	n.size = 0
	n.connect(o).bring(count)
	w.eventually("all is stored", func() bool { return n.first() == count })
	wantInOrder(t, k, receiver, count)
}
