package match

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// memLog is a log in memory that fails on command.
type memLog struct {
	mu      sync.Mutex
	batches []stored
	seq     uint64
	fault   func(batch int) (store bool, err error) // nil: none
	appends int
	purged  uint64
}

func (l *memLog) Append(_ context.Context, last uint64, batch []byte) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appends++
	end := uint64(0)
	if n := len(l.batches); n > 0 {
		end = l.batches[n-1].seq
	}
	if last != end {
		return 0, fmt.Errorf("%w: it ends at %d, not at %d", ErrFenced, end, last)
	}
	var err error
	store := true
	if l.fault != nil {
		store, err = l.fault(l.appends)
	}
	if store {
		l.seq += 2
		l.batches = append(l.batches, stored{l.seq, bytes.Clone(batch)})
	}
	return l.seq, err
}

// fails has appends fail from now on, or no more.
func (l *memLog) fails(fault func(batch int) (store bool, err error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = fault
}

func (l *memLog) Replay(_ context.Context, f func(uint64, []byte) error) (last uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		if err := f(b.seq, b.buf); err != nil {
			return 0, err
		}
		last = b.seq
	}
	return last, nil
}

func (l *memLog) Purge(_ context.Context, below uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.purged = below
	l.batches = slices.DeleteFunc(l.batches, func(b stored) bool { return b.seq < below })
	return nil
}

// rig is some nodes, in memory.
type rig struct {
	t     testing.TB
	logs  []*memLog
	said  lines
	mu    sync.Mutex
	nodes map[string]*rigNode
	owner map[int]string
	term  uint64
}

// lines counts what is logged.
type lines struct{ n atomic.Int64 }

func (l *lines) Write(line []byte) (int, error) {
	l.n.Add(1)
	return len(line), nil
}

// rigNode is one node: a Room's Owners.
type rigNode struct {
	rig    *rig
	name   string
	room   *Room
	stop   context.CancelFunc
	ctx    context.Context
	ended  chan struct{}
	duties map[int]context.CancelFunc
	cut    bool // nothing leaves it, or arrives
}

func newRig(t testing.TB, shards int, names ...string) *rig {
	r := &rig{t: t, nodes: make(map[string]*rigNode), owner: make(map[int]string)}
	for range shards {
		r.logs = append(r.logs, &memLog{})
	}
	for _, name := range names {
		r.start(name)
	}
	t.Cleanup(func() {
		for _, n := range r.alive() {
			r.nodes[n].end()
		}
	})
	return r
}

func (r *rig) start(name string) {
	n := &rigNode{rig: r, name: name, ended: make(chan struct{}), duties: make(map[int]context.CancelFunc)}
	room, err := New(Options{
		Node: name, Shards: len(r.logs), Now: time.Now, Random: rand.Reader, Nodes: r.alive,
		Logs:   func(_ context.Context, shard int) (Log, error) { return r.logs[shard], nil },
		Logger: slog.New(slog.NewTextHandler(&r.said, nil)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	room.Attach(n)
	n.room = room
	n.ctx, n.stop = context.WithCancel(context.Background())
	r.mu.Lock()
	r.nodes[name] = n
	r.mu.Unlock()
	go func() {
		defer close(n.ended)
		_ = room.Run(n.ctx)
	}()
}

func (r *rig) alive() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.nodes))
}

// own has a node own a shard from now on. The one before is not told.
func (r *rig) own(shard int, name string) {
	r.mu.Lock()
	r.term++
	r.owner[shard] = name
	n, term := r.nodes[name], r.term
	ctx, cancel := context.WithCancel(n.ctx)
	n.duties[shard] = cancel
	all := slices.Collect(maps.Values(r.nodes))
	r.mu.Unlock()
	n.room.Begin(ctx, shard, term)
	for _, n := range all {
		n.room.Moved(shard)
	}
}

func (n *rigNode) end() {
	n.stop()
	<-n.ended
}

// kill has a node die: nothing it does is heard of any more.
func (r *rig) kill(name string) {
	r.mu.Lock()
	n := r.nodes[name]
	delete(r.nodes, name)
	n.cut = true
	rest := slices.Collect(maps.Values(r.nodes))
	r.mu.Unlock()
	n.end()
	for _, m := range rest {
		m.room.Lost(name)
	}
}

func (n *rigNode) Ask(ctx context.Context, shard int, request []byte) ([]byte, error) {
	n.rig.mu.Lock()
	to := n.rig.nodes[n.rig.owner[shard]]
	cut := n.cut || to == nil || to.cut
	n.rig.mu.Unlock()
	if cut {
		return nil, errors.New("there is no owner")
	}
	type outcome struct {
		reply []byte
		err   error
	}
	done := make(chan outcome, 1)
	to.room.Serve(shard, n.name, request, func(reply []byte, err error) { done <- outcome{reply, err} })
	select {
	case o := <-done:
		return o.reply, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *rigNode) Tell(node string, message []byte) {
	n.rig.mu.Lock()
	to := n.rig.nodes[node]
	cut := n.cut || to == nil || to.cut
	n.rig.mu.Unlock()
	if !cut {
		to.room.Told(n.name, message)
	}
}

// device is a session with an outlet that keeps what it hears.
type device struct {
	*Session
	mu    sync.Mutex
	heard []string
	match Match // zero: it is in none
}

func (r *rig) open(node, name string) *device {
	d := &device{}
	d.Session = r.nodes[node].room.Open(name, d)
	return d
}

func (d *device) note(f string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = append(d.heard, fmt.Sprintf(f, args...))
}

// news returns what it has heard since it was asked last.
func (d *device) news() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	heard := d.heard
	d.heard = nil
	return heard
}

func (d *device) in() Match {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.match
}

func (d *device) set(m Match) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.match = m
}

func peers(m Match) string {
	var names []string
	for _, p := range m.Peers {
		names = append(names, p.Device)
	}
	return fmt.Sprint(names)
}

func (d *device) Waiting(Ticket) { d.note("waiting") }
func (d *device) Refused(t Ticket, r *Refusal) {
	d.note("refused %s %s", t.Reference, r.Code)
}
func (d *device) Matched(_ Ticket, m Match) {
	d.mu.Lock()
	twice := d.match.ID != wire.ID{}
	d.match = m
	d.mu.Unlock()
	if twice {
		d.note("MATCHED TWICE")
	}
	d.note("matched %s", peers(m))
	if m.Ambiguous {
		d.note("ambiguous")
	}
}
func (d *device) TimedOut(Ticket) { d.note("timed out") }
func (d *device) Canceled(_ Ticket, reference []byte, why Reason) {
	d.note("canceled %s %d", reference, why)
}
func (d *device) PeerLeft(m Match, device string, ended bool) {
	d.note("%s left %s %v", device, peers(m), ended)
	if ended {
		m = Match{}
	}
	d.set(m)
}
func (d *device) Left(m Match, reference []byte, why Reason) {
	d.note("left %s %d", reference, why)
	d.set(Match{})
}
func (d *device) Message(_ Match, from string, content []byte) {
	d.note("%s: %s", from, content)
}

// settle waits until nothing happens any more, for a while in the bubble's time.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (d *device) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := d.news(); !slices.Equal(got, want) {
		t.Fatalf("%s heard %q, want %q", d.device, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var anyone = Request{Pool: Pool{"app", "pool"}}

func (d *device) ask(t *testing.T, q Request) wire.ID {
	t.Helper()
	id, err := d.Request(q)
	must(t, err)
	return id
}

// heldTells holds back what an owner tells another node, but not what members say.
type heldTells struct {
	next  *rigNode
	match bool // it does so
	held  [][]byte
}

func (h *heldTells) Ask(ctx context.Context, shard int, request []byte) ([]byte, error) {
	return h.next.Ask(ctx, shard, request)
}

func (h *heldTells) Tell(node string, message []byte) {
	if node != h.next.name && message[0] == sayEvents && (message[3] == evMatched || message[3] == evTooLate) && h.match {
		h.held = append(h.held, message)
		return
	}
	h.next.Tell(node, message)
}

func (h *heldTells) release() {
	h.match = false
	for _, m := range h.held {
		h.next.Tell("n2", m)
	}
}
