package mailbox_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// memLog is a log in memory that fails on command.
type memLog struct {
	mu      sync.Mutex
	first   uint64
	batches [][]byte // from sequence 1 on; nil when purged
	appends int      // calls
	bounds  int
	reads   int

	outcomes []outcome // of the next appends
	gate     chan struct{}
	readErr  func(seq uint64) error
	boundErr error // of Bounds
	purgeErr error
}

// outcome is how an append ends.
type outcome struct {
	err    error
	stored bool
}

func newMemLog() *memLog { return &memLog{first: 1} }

// fail sets how the next appends end.
func (l *memLog) fail(list ...outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes = list
}

// block has appends wait until the result is called.
func (l *memLog) block() (open func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gate := make(chan struct{})
	l.gate = gate
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.gate = nil
		close(gate)
	}
}

func (l *memLog) Append(ctx context.Context, last uint64, batch []byte) (uint64, error) {
	l.mu.Lock()
	l.appends++
	gate := l.gate
	l.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return 0, errors.Join(mailbox.ErrUnknown, ctx.Err())
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	how := outcome{stored: true}
	if len(l.outcomes) > 0 {
		how, l.outcomes = l.outcomes[0], l.outcomes[1:]
	}
	if last != uint64(len(l.batches)) {
		return 0, mailbox.ErrFenced
	}
	if how.stored {
		l.batches = append(l.batches, slices.Clone(batch))
	}
	return last + 1, how.err
}

func (l *memLog) Read(_ context.Context, seq uint64) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.readErr != nil {
		if err := l.readErr(seq); err != nil {
			return nil, err
		}
	}
	if seq < l.first || seq > uint64(len(l.batches)) {
		return nil, mailbox.ErrGone
	}
	return l.batches[seq-1], nil
}

func (l *memLog) Bounds(context.Context) (first, last, bytes uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bounds++
	for _, b := range l.batches {
		bytes += uint64(len(b))
	}
	return l.first, uint64(len(l.batches)), bytes, l.boundErr
}

func (l *memLog) Replay(ctx context.Context, first, last uint64, f func(uint64, []byte) error) error {
	for seq := first; seq <= last; seq++ {
		batch, err := l.Read(ctx, seq)
		if err == nil {
			err = f(seq, batch)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *memLog) Purge(_ context.Context, below uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.purgeErr != nil {
		return l.purgeErr
	}
	for ; l.first < below; l.first++ {
		l.batches[l.first-1] = nil
	}
	return nil
}

// refusePurges has purges fail with err, or succeed when it is nil.
func (l *memLog) refusePurges(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.purgeErr = err
}

// holds returns what has not been purged.
func (l *memLog) holds() (batches, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches[l.first-1:] {
		batches++
		bytes += len(b)
	}
	return batches, bytes
}

// count returns one of the log's counters.
func (l *memLog) count(n *int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *n
}

// fixture is a keeper that runs in a bubble of its own time.
type fixture struct {
	*testing.T
	*mailbox.Keeper
	log  *memLog
	stop func() // and wait
	done chan struct{}
	err  error // Run's, once done is closed
	seen *witness
}

func limits() mailbox.Limits {
	return mailbox.Limits{
		Age: 48 * time.Hour, Messages: 1000, Bytes: 1 << 20,
		Events: 1000, EventBytes: 1 << 20, Undelivered: 10 * time.Minute, Keyed: 24 * time.Hour, KeyedRequests: 1000,
	}
}

func options(log mailbox.Log) mailbox.Options {
	return mailbox.Options{
		Log: log, Limits: limits(), Now: time.Now, Random: rand.Reader,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// inBubble runs a test with a keeper on a log.
func inBubble(t *testing.T, log *memLog, change func(*mailbox.Options), test func(*fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts := options(log)
		if change != nil {
			change(&opts)
		}
		f := start(t, log, opts)
		defer f.stop()
		test(f)
	})
}

func start(t *testing.T, log *memLog, opts mailbox.Options) *fixture {
	t.Helper()
	k, err := mailbox.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	f := &fixture{T: t, Keeper: k, log: log, seen: newWitness(), done: done, stop: func() { cancel(); <-done }}
	go func() {
		defer close(done)
		f.err = k.Run(ctx)
		if f.err != nil && !errors.Is(f.err, mailbox.ErrRetired) {
			t.Error(f.err)
		}
	}()
	synctest.Wait()
	return f
}

// ended waits until Run has returned.
func (f *fixture) ended() {
	f.Helper()
	synctest.Wait()
	select {
	case <-f.done:
	default:
		f.Fatal("the keeper still serves")
	}
}

// ends waits until Run has returned with err.
func (f *fixture) ends(err error) {
	f.Helper()
	if f.ended(); !errors.Is(f.err, err) {
		f.Fatalf("the keeper ended with %v, want %v", f.err, err)
	}
}

// witness is the origin of messages, and notes what it hears.
type witness struct {
	mu     sync.Mutex
	stored []string
	ids    []wire.ID // under which
	failed map[string]*wire.Error
	done   int
}

func newWitness() *witness { return &witness{failed: make(map[string]*wire.Error)} }

func (w *witness) Stored(id wire.ID, reference []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids = append(w.ids, id)
	w.stored = append(w.stored, string(reference))
}

func (w *witness) Failed(e *wire.Error, reference []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed[string(reference)] = e
}

func (w *witness) note() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done++
}

// send sends a message of that name and size at least.
func (f *fixture) send(name string, to wire.UserID, size int) {
	frame := append([]byte(name), make([]byte, max(0, size-len(name)))...)
	f.Accept(&mailbox.Message{
		From: "ANZ-100", To: []wire.UserID{to}, Frame: frame, Reference: []byte(name), Receipt: true,
		Origin: f.seen, Done: f.seen.note,
	})
}

// rest waits until nothing is under way any more. A batch that follows a crowd may wait for
// company, for a few milliseconds of the bubble's time.
func (f *fixture) rest() {
	time.Sleep(10 * time.Millisecond)
	synctest.Wait()
}

// wantStored checks who heard that its message is stored.
func (f *fixture) wantStored(names ...string) {
	f.Helper()
	f.rest()
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	if !slices.Equal(f.seen.stored, names) {
		f.Fatalf("stored are %q, want %q; failed %v", f.seen.stored, names, f.seen.failed)
	}
}

// wantFailed checks why a message failed.
func (f *fixture) wantFailed(name, code string, mayYetArrive bool) {
	f.Helper()
	synctest.Wait()
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	e := f.seen.failed[name]
	if e == nil || e.Code != code || e.MayYetArrive != mayYetArrive || e.Kind != wire.KindDeliverFailed || len(e.To) != 1 {
		f.Fatalf("%s failed with %+v, want %s, may yet arrive %t", name, e, code, mayYetArrive)
	}
}

func (f *fixture) wantDone(n int) {
	f.Helper()
	synctest.Wait()
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	if f.seen.done != n {
		f.Fatalf("%d messages are done with, want %d", f.seen.done, n)
	}
}

// device is a session and its client.
type device struct {
	f  *fixture
	id wire.ID

	mu      sync.Mutex
	names   []string
	ids     map[wire.ID]bool
	n       uint64
	settled uint64
	left    []int
}

func (f *fixture) open(user wire.UserID, push bool) *device {
	id, err := wire.NewID(time.Now(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	d := &device{f: f, id: id, ids: make(map[wire.ID]bool)}
	f.Open(mailbox.Session{ID: id, User: user, Push: push, Outlet: d})
	return d
}

func (d *device) Deliver(m mailbox.Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.n++; m.N != d.n {
		d.f.Errorf("delivery %d comes as the %d.", m.N, d.n)
	}
	if d.ids[m.ID] {
		d.f.Errorf("message %s comes twice", m.ID)
	}
	d.ids[m.ID] = true
	name, _, _ := strings.Cut(string(m.Frame), "\x00")
	d.names = append(d.names, name)
}

func (d *device) FetchDone(left int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = append(d.left, left)
}

func (d *device) Settled(n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settled = n
}

func (d *device) Opened(uint64) {}

// want checks what the client has got.
func (d *device) want(names ...string) {
	d.f.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.names, names) {
		d.f.Fatalf("the client got %q, want %q", d.names, names)
	}
}

// prove proves everything that came.
func (d *device) prove() {
	d.mu.Lock()
	n := d.n
	d.mu.Unlock()
	d.f.Prove(d.id, n)
}

func (d *device) wantSettled(n uint64) {
	d.f.Helper()
	time.Sleep(10 * time.Millisecond) // proofs may wait for company
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.settled != n {
		d.f.Fatalf("proofs up to %d are settled, want %d", d.settled, n)
	}
}

func (d *device) wantLeft(left ...int) {
	d.f.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.left, left) {
		d.f.Fatalf("fetches ended with %v left, want %v", d.left, left)
	}
}
