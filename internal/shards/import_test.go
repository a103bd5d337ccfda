package shards

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// oldLog is the log of a node that was alone: n messages for each of several users,
// and one for all of them.
func oldLog(t *testing.T, users, n int) (log *bus.Log, source string) {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := bus.Open(t.Context(), bus.Options{Folder: filepath.Join(t.TempDir(), "jetstream"), Logger: logger, CallTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	if log, err = b.Log(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	keeper, err := mailbox.Open(t.Context(), mailbox.Options{
		Log: log, Now: time.Now, Random: rand.Reader, Logger: logger, Limits: mailbox.Limits{Age: time.Hour, Messages: 100_000, Bytes: 1 << 30},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- keeper.Run(ctx) }()
	var all []wire.UserID
	done := make(chan struct{}, users*n+1)
	for u := range users {
		all = append(all, wireUser(u))
	}
	for i := range n {
		for u := range users {
			keeper.Accept(&mailbox.Message{From: "ANZ-900", To: all[u : u+1], Frame: fmt.Appendf(nil, "old %d", i+1), Done: func() { done <- struct{}{} }})
		}
	}
	keeper.Accept(&mailbox.Message{From: "ANZ-900", To: all, Group: true, Frame: fmt.Appendf(nil, "old %d", n+1), Done: func() { done <- struct{}{} }})
	for range users*n + 1 {
		<-done
	}
	stop()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	name, err := log.Name(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return log, mailbox.ArchiveSource(name)
}

// newImport reads an old log, to be imported.
func (w *world) newImport(log *bus.Log, source string) *Import {
	w.t.Helper()
	archive, err := mailbox.ReadArchive(w.t.Context(), log, time.Hour, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &Import{
		Source: source, Archive: archive, Now: time.Now,
		Log: func(ctx context.Context, shard int) (mailbox.Log, error) { return w.bus.Log(ctx, shard) },
	}
}

// An import goes on while links break and keepers move, and ends with everything in
// its place; broken off and begun anew, on another node, it takes nothing twice.
func TestAnImportComesThroughWhileKeepersMoveAndLinksBreak(t *testing.T) {
	const users, each = 40, 300
	log, source := oldLog(t, users, each)
	w := newWorld(t, 4)
	for _, name := range []string{"a", "b", "c"} {
		w.node(name)
	}
	w.served()
	nodes := w.all()
	for round := range 4 {
		i := w.newImport(log, source)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := nodes[round%2].Import(ctx, i)
			ended <- err
		}()
		w.eventually("some of it is copied", func() bool { return i.Done() > round*2000 || len(ended) > 0 })
		w.cut("a", "b")
		w.mend("a", "b")
		nodes[2].left.Store(round%2 == 0) // its shards go to the others, and come back
		nodes[2].leases.Stir()
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	i := w.newImport(log, source)
	got, err := nodes[1].Import(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	if got.Messages != users*(each+1) || got.Waiting != got.Messages || got.Users != users {
		t.Errorf("imported: %+v", got)
	}
	for u := range users {
		c := w.client(nodes[u%3], wireUser(u), func(s *mailbox.Session) { s.Push = true })
		w.eventually("everything arrives", func() bool { return len(c.received()) == each+1 })
		for k, text := range c.received() {
			if text != fmt.Sprintf("old %d", k+1) {
				t.Fatalf("%s got %q as number %d", c.user, text, k+1)
			}
		}
	}
}

// lossy is an archive of which something gets lost on the way.
type lossy struct{ Archive }

func (l lossy) Each(ctx context.Context, shards int, shardOf func(wire.UserID) int, f func(int, mailbox.Forwarded, bool) error) error {
	n := 0
	return l.Archive.Each(ctx, shards, shardOf, func(shard int, m mailbox.Forwarded, stored bool) error {
		err := f(shard, m, stored)
		if n++; n == 100 { // what is written is not what was read: both share their bytes
			m.Frame[0] = 'x'
		}
		return err
	})
}

// An import says what differs when the copy is not what was there.
func TestAnImportThatDiffersSaysSo(t *testing.T) {
	log, source := oldLog(t, 10, 30)
	w := newWorld(t, 2)
	n := w.node("a")
	w.served()
	i := w.newImport(log, source)
	i.Archive = lossy{i.Archive}
	if got, err := n.Import(t.Context(), i); !errors.Is(err, ErrDiffers) || got.Problems != 1 {
		t.Errorf("it ended with %v, %+v", err, got)
	}
	// And so it does whenever it is tried again: it is for people to look at.
	if _, err := n.Import(t.Context(), w.newImport(log, source)); !errors.Is(err, ErrDiffers) {
		t.Errorf("the second time it ended with %v", err)
	}
	if kept := n.Kept(); !slices.Equal(kept, []int{0, 1}) {
		t.Errorf("the node keeps %v", kept)
	}
}
