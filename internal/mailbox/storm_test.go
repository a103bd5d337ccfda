package mailbox_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cryptorand "crypto/rand"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// storm is many senders and restless receivers on one keeper, in real time and
// in many goroutines. At the end it counts what was lost, duplicated and
// reordered.
type storm struct {
	*testing.T
	keeper *mailbox.Keeper
	sent   int // by each sender, so far

	mu       sync.Mutex
	stored   map[string]bool // who was told «stored»
	refused  map[string]bool // who was told that nothing was
	done     map[string]int
	received map[string]int
	proved   map[string]bool // by some session; the log may have lost that
	ids      map[string]wire.ID
	foreign  int // deliveries of one message under two IDs
	reorders int
	repeats  int // one session got an ID twice
}

const (
	stormUsers   = 12
	stormSenders = 4
)

func newStorm(t *testing.T) *storm {
	return &storm{
		T: t, stored: make(map[string]bool), refused: make(map[string]bool), done: make(map[string]int),
		received: make(map[string]int), proved: make(map[string]bool), ids: make(map[string]wire.ID),
	}
}

// origin is the sender of one message.
type origin struct {
	s    *storm
	name string
}

func (o origin) Stored(wire.ID, []byte) {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	o.s.stored[o.name] = true
}

func (o origin) Failed(e *wire.Error, _ []byte) {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	if !e.MayYetArrive {
		o.s.refused[o.name] = true
	}
}

func (o origin) done() {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	o.s.done[o.name]++
}

// rage sends n messages from each sender, while receivers come and go.
func (s *storm) rage(n int) {
	var senders, receivers sync.WaitGroup
	ctx, cancel := context.WithCancel(s.Context())
	for u := range stormUsers {
		receivers.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(u)))
			for ctx.Err() == nil {
				s.visit(ctx, u, r.IntN(3) == 0, 1+r.IntN(40), r.IntN(2) == 0)
			}
		})
	}
	for from := range stormSenders {
		senders.Go(func() {
			r := rand.New(rand.NewPCG(uint64(s.sent), uint64(from)))
			for i := s.sent; i < s.sent+n; i++ {
				name := fmt.Sprintf("%d.%d.%d", r.IntN(stormUsers), from, i)
				o := origin{s, name}
				var user int
				_, _ = fmt.Sscanf(name, "%d", &user)
				s.keeper.Accept(&mailbox.Message{
					From: wire.UserID(fmt.Sprintf("ANZ-%d", 100+from)), To: []wire.UserID{stormUser(user)},
					Frame: []byte(name), Receipt: true, Origin: o, Done: o.done,
				})
				if i%50 == 0 {
					time.Sleep(time.Millisecond) // so that batches are many
				}
			}
		})
	}
	senders.Wait()
	s.sent += n
	cancel()
	receivers.Wait()
}

func stormUser(u int) wire.UserID { return wire.UserID(fmt.Sprintf("ANZ-%d", 1+u)) }

// visitor is one session of a receiver.
type visitor struct {
	s    *storm
	news chan struct{}

	mu    sync.Mutex
	names []string       // what it got, by number
	last  map[string]int // by sender
	ids   map[wire.ID]bool
}

func (v *visitor) Deliver(d mailbox.Delivery) {
	name := string(d.Frame)
	v.mu.Lock()
	v.names = append(v.names, name)
	twice := v.ids[d.ID]
	v.ids[d.ID] = true
	var user, from, i int
	_, _ = fmt.Sscanf(name, "%d.%d.%d", &user, &from, &i)
	before, seen := v.last[fmt.Sprint(from)]
	v.last[fmt.Sprint(from)] = max(before, i)
	v.mu.Unlock()

	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	v.s.received[name]++
	if id, known := v.s.ids[name]; known && id != d.ID {
		v.s.foreign++
	}
	v.s.ids[name] = d.ID
	if twice {
		v.s.repeats++
	}
	// What was proved, and whose proof the log lost, comes again when it may.
	if seen && before >= i && !v.s.proved[name] {
		v.s.reorders++
	}
	select {
	case v.news <- struct{}{}:
	default:
	}
}

func (v *visitor) FetchDone(int)  {}
func (v *visitor) Settled(uint64) {}
func (v *visitor) Opened(uint64)  {}

// visit opens a session, proves what comes up to a number of deliveries, and
// leaves, perhaps with something unproved.
func (s *storm) visit(ctx context.Context, user int, push bool, most int, tidy bool) *visitor {
	id, err := wire.NewID(time.Now(), cryptorand.Reader)
	if err != nil {
		s.Error(err)
	}
	v := &visitor{s: s, news: make(chan struct{}, 1), last: make(map[string]int), ids: make(map[wire.ID]bool)}
	s.keeper.Open(mailbox.Session{ID: id, User: stormUser(user), Push: push, Outlet: v})
	defer s.keeper.Close(id)
	quiet := time.NewTimer(50 * time.Millisecond)
	defer quiet.Stop()
	for n := uint64(0); n < uint64(most); {
		select {
		case <-v.news:
			v.mu.Lock()
			names := v.names
			v.mu.Unlock()
			before := n
			if n = uint64(len(names)); n < uint64(most) || tidy {
				s.prove(names[before:])
				s.keeper.Prove(id, n)
			}
			quiet.Reset(50 * time.Millisecond)
		case <-quiet.C:
			return v
		case <-ctx.Done():
			return v
		}
	}
	return v
}

func (s *storm) prove(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		s.proved[name] = true
	}
}

// drain takes what is left, and counts.
func (s *storm) drain() {
	s.Helper()
	for u := range stormUsers {
		// A slow disk makes a visit look as if it were over.
		for end := time.Now().Add(time.Minute); ; {
			s.visit(context.Background(), u, true, 1<<30, true)
			if !s.awaits(u) || time.Now().After(end) {
				break
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lost, ghosts := 0, 0
	for name := range s.stored {
		if s.received[name] == 0 {
			lost++
		}
	}
	for name := range s.refused {
		if s.received[name] > 0 {
			ghosts++
		}
	}
	for name, n := range s.done {
		if n != 1 {
			s.Errorf("message %s was done with %d times", name, n)
		}
	}
	s.Logf("%d stored, %d refused: lost %d, duplicated %d, reordered %d", len(s.stored), len(s.refused), lost, s.repeats, s.reorders)
	if lost+ghosts+s.repeats+s.reorders+s.foreign > 0 {
		s.Fatalf("lost %d, duplicated %d, reordered %d, delivered though refused %d, under two IDs %d",
			lost, s.repeats, s.reorders, ghosts, s.foreign)
	}
	if len(s.stored) == 0 {
		s.Fatal("nothing was stored")
	}
}

// awaits says whether a user is still to get something.
func (s *storm) awaits(user int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.stored {
		if s.received[name] == 0 && strings.HasPrefix(name, fmt.Sprintf("%d.", user)) {
			return true
		}
	}
	return false
}

// run serves with a keeper on a log until the result is called.
func (s *storm) run(log mailbox.Log) (stop func()) {
	s.Helper()
	opts := options(log)
	opts.Limits.Messages, opts.Limits.Bytes = 1<<20, 1<<30
	k, err := mailbox.Open(s.Context(), opts)
	if err != nil {
		s.Fatal(err)
	}
	s.keeper = k
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			s.Error(err)
		}
	}
}

// Appends go unanswered or fail all the while; the keeper starts anew twice.
func TestStormWithALogThatFails(t *testing.T) {
	s := newStorm(t)
	log := newMemLog()
	for range 3 {
		log.mu.Lock()
		log.outcomes = nil
		for i := range 400 {
			how := outcome{stored: true}
			switch {
			case i%11 == 5:
				how = outcome{mailbox.ErrUnknown, i%2 == 0}
			case i%37 == 20:
				how = outcome{mailbox.ErrFull, false}
			}
			log.outcomes = append(log.outcomes, how)
		}
		log.mu.Unlock()
		stop := s.run(log)
		s.rage(stormSize(600))
		stop()
	}
	log.fail()
	stop := s.run(log)
	s.drain()
	stop()
}

// The real log, closed and opened again in between.
func TestStormOnTheRealLog(t *testing.T) {
	s := newStorm(t)
	folder := filepath.Join(t.TempDir(), "jetstream")
	session := func(what func()) {
		b, err := bus.Open(t.Context(), bus.Options{Folder: folder, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		log, err := b.Log(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		stop := s.run(log)
		what()
		stop()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	session(func() { s.rage(stormSize(1000)) })
	session(func() { s.rage(stormSize(1000)) })
	session(s.drain)
}

func stormSize(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}
