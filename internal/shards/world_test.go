package shards

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// patience is how long anything may take before it counts as failed.
const patience = time.Minute

// world is several nodes on one engine, with links that break on command.
type world struct {
	t      *testing.T
	shards int
	bus    *bus.Bus
	duty   func(*testNode) Duty // makes each node's; nil: none

	mu    sync.Mutex
	nodes map[string]*testNode
	lines map[[2]string]*line // by from and to
}

// testNode is an office with its leases.
type testNode struct {
	*Office
	owners  *Owners // nil: it has no duty
	w       *world
	id      string
	leases  *Leases
	stop    context.CancelFunc
	done    chan struct{}
	valid   atomic.Bool
	left    atomic.Bool            // it gives its shards up
	opening atomic.Pointer[func()] // called before it opens the keeper of a shard
	silent  atomic.Bool            // it hears nothing of the table: frozen, or cut off
}

func newWorld(t *testing.T, shards int) *world {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	b, err := bus.Open(t.Context(), bus.Options{Folder: filepath.Join(t.TempDir(), "jetstream"), Logger: logger, CallTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, shards: shards, bus: b, nodes: make(map[string]*testNode), lines: make(map[[2]string]*line)}
	t.Cleanup(func() {
		for _, n := range w.all() {
			n.end()
		}
		w.mu.Lock()
		lines := slices.Collect(maps.Values(w.lines))
		w.mu.Unlock()
		for _, l := range lines {
			l.close()
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(b))
	return len(b), nil
}

func (w *world) all() []*testNode {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.nodes), func(a, b *testNode) int { return cmpText(a.id, b.id) })
}

func cmpText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// node starts a node.
func (w *world) node(id string) *testNode {
	w.t.Helper()
	n := &testNode{w: w, id: id, done: make(chan struct{})}
	n.valid.Store(true)
	logger := slog.New(slog.NewTextHandler(testWriter{w.t}, &slog.HandlerOptions{Level: slog.LevelInfo})).With("at", id)
	var err error
	if n.Office, err = New(Options{Self: id, Shards: w.shards, Links: n, Logger: logger}); err != nil {
		w.t.Fatal(err)
	}
	table, err := w.bus.Table(w.t.Context(), "shards")
	if err != nil {
		w.t.Fatal(err)
	}
	n.leases = NewLeases(LeaseOptions{
		Office: n.Office, Table: &testTable{Table: table, n: n, seen: make(map[string]testRow)}, Self: id, Peers: w.peers, Valid: n.valid.Load, Gather: 20 * time.Second, Logger: logger,
		Recover: func(context.Context) error { return nil },
		Open: func(ctx context.Context, shard int, gather []string, recover func(context.Context) error) (*mailbox.Keeper, error) {
			if f := n.opening.Load(); f != nil {
				(*f)()
			}
			log, err := w.bus.Log(ctx, shard)
			if err != nil {
				return nil, err
			}
			return mailbox.Open(ctx, mailbox.Options{
				Log: log, Now: time.Now, Random: rand.Reader, Logger: logger, Recover: recover, Valid: n.valid.Load,
				Limits:  mailbox.Limits{Age: time.Hour, Messages: 100_000, Bytes: 1 << 30, LinkAge: time.Hour, LinkBytes: 1 << 30},
				LogName: fmt.Sprint("log ", shard), Link: func(user wire.UserID) bool { return user == linkUser },
				Shard: shard, ShardOf: n.ShardOf, Node: id, Gather: gather, Returned: n.Returned,
			})
		},
	})
	if w.duty != nil {
		n.owners, err = NewOwners(OwnersOptions{Name: "test", Self: id, Shards: w.shards, Links: dutyLinks{n}, Duty: w.duty(n), Logger: logger})
		if err != nil {
			w.t.Fatal(err)
		}
		n.leases.Do(n.owners)
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	w.mu.Lock()
	others := slices.Collect(maps.Values(w.nodes))
	w.nodes[id] = n
	w.mu.Unlock()
	go func() {
		defer close(n.done)
		n.leases.Run(ctx)
	}()
	for _, other := range others {
		w.connect(n, other)
		other.leases.Stir()
	}
	return n
}

// end stops a node in good order.
func (n *testNode) end() {
	n.stop()
	<-n.done
	n.gone()
}

// gone takes a node out of the world: the others hear that it is dead.
func (n *testNode) gone() {
	n.w.mu.Lock()
	delete(n.w.nodes, n.id)
	n.w.mu.Unlock()
	for _, other := range n.w.all() {
		n.w.cut(n.id, other.id)
		other.Died(n.id)
		other.leases.Stir()
	}
}

func (w *world) peers() (list []Peer) {
	for _, n := range w.all() {
		list = append(list, Peer{ID: n.id, Processor: true, Leaving: n.left.Load()})
	}
	return list
}

// served waits until every node knows keepers of all shards.
func (w *world) served() {
	w.t.Helper()
	w.eventually("every shard has a keeper", func() bool {
		for _, n := range w.all() {
			if !n.Ready() {
				return false
			}
		}
		return true
	})
}

func (w *world) eventually(what string, cond func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %s: %s", patience, what)
		}
		<-tick.C
	}
}

type testTable struct {
	*bus.Table
	n *testNode

	mu   sync.Mutex
	seen map[string]testRow // last
}

type testRow struct {
	row      []byte
	revision uint64
}

func (t *testTable) Get(key string) ([]byte, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n.silent.Load() {
		return t.seen[key].row, t.seen[key].revision
	}
	row, revision, _ := t.Table.Get(key)
	t.seen[key] = testRow{row, revision}
	return row, revision
}

func (t *testTable) Update(ctx context.Context, key string, row []byte, revision uint64) (uint64, error) {
	revision, err := t.Table.Update(ctx, key, row, revision)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrChanged, err)
	}
	return revision, nil
}

// line carries what one node says to another, in order, until it is cut.
type line struct {
	to   *testNode
	from string

	mu     sync.Mutex
	queue  [][]byte
	up     bool
	closed bool
	wake   chan struct{}
	done   chan struct{}
	calls  sync.Mutex // held while the other end is called
}

func (w *world) connect(a, b *testNode) {
	for _, ends := range [][2]*testNode{{a, b}, {b, a}} {
		l := &line{from: ends[0].id, to: ends[1], wake: make(chan struct{}, 1), done: make(chan struct{})}
		w.mu.Lock()
		w.lines[[2]string{ends[0].id, ends[1].id}] = l
		w.mu.Unlock()
		go l.run()
	}
	w.mend(a.id, b.id)
}

func (w *world) pair(a, b string) (list []*line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range [][2]string{{a, b}, {b, a}} {
		if l := w.lines[key]; l != nil {
			list = append(list, l)
		}
	}
	return list
}

// cut breaks the link between two nodes: what is on its way is lost.
func (w *world) cut(a, b string) {
	for _, l := range w.pair(a, b) {
		l.mu.Lock()
		l.up, l.queue = false, nil
		l.mu.Unlock()
	}
	for _, l := range w.pair(a, b) {
		l.calls.Lock()
		l.to.Down(l.from)
		l.calls.Unlock()
	}
}

// mend has it begin anew.
func (w *world) mend(a, b string) {
	pair := w.pair(a, b)
	for _, l := range pair {
		l.mu.Lock()
		l.queue = nil
		l.mu.Unlock()
	}
	for _, l := range pair { // each end hears Up before anything that the other says after its own
		l.calls.Lock()
		defer l.calls.Unlock()
	}
	for _, l := range pair {
		l.mu.Lock()
		l.up = true
		l.mu.Unlock()
	}
	for _, l := range pair {
		l.to.Up(l.from)
	}
}

// dutyMark tells what is for Owners from what is for the Office.
const dutyMark = 0xff

// dutyLinks are a node's links as its Owners use them.
type dutyLinks struct{ n *testNode }

// Send implements Links.
func (l dutyLinks) Send(node string, parts ...[]byte) bool {
	return l.n.Send(node, append([][]byte{{dutyMark}}, parts...)...)
}

// Receive is for one of the two.
func (n *testNode) Receive(from string, message []byte) {
	if message[0] == dutyMark {
		n.owners.Receive(from, message[1:])
		return
	}
	n.Office.Receive(from, message)
}

// Up is for both, as the next two are.
func (n *testNode) Up(node string) {
	n.Office.Up(node)
	if n.owners != nil {
		n.owners.Up(node)
	}
}

func (n *testNode) Down(node string) {
	n.Office.Down(node)
	if n.owners != nil {
		n.owners.Down(node)
	}
}

func (n *testNode) Died(node string) {
	n.Office.Died(node)
	if n.owners != nil {
		n.owners.Died(node)
	}
}

// Send implements Links.
func (n *testNode) Send(node string, parts ...[]byte) bool {
	n.w.mu.Lock()
	l := n.w.lines[[2]string{n.id, node}]
	n.w.mu.Unlock()
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up || l.closed {
		return false
	}
	l.queue = append(l.queue, slices.Concat(parts...))
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

func (l *line) run() {
	defer close(l.done)
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		l.calls.Lock()
		l.mu.Lock()
		var message []byte
		if l.up && len(l.queue) > 0 {
			message, l.queue = l.queue[0], l.queue[1:]
		}
		l.mu.Unlock()
		if message != nil {
			l.to.Receive(l.from, message)
		}
		l.calls.Unlock()
		if message == nil {
			<-l.wake
		}
	}
}

func (l *line) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	<-l.done
}

// client is a session of a user at a node.
type client struct {
	node *testNode
	id   wire.ID
	user wire.UserID

	mu     sync.Mutex
	opened chan struct{}
	got    []string
	acked  uint64
	left   chan int
	gone   chan struct{}
}

func (w *world) client(n *testNode, user wire.UserID, change ...func(*mailbox.Session)) *client {
	w.t.Helper()
	id, err := wire.NewID(time.Now(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &client{node: n, id: id, user: user, opened: make(chan struct{}), left: make(chan int, 100), gone: make(chan struct{})}
	s := mailbox.Session{ID: id, User: user, Outlet: c}
	for _, f := range change {
		f(&s)
	}
	n.Open(s)
	select {
	case <-c.opened:
	case <-time.After(patience):
		w.t.Fatalf("the session of %s is not open", user)
	}
	return c
}

// Opened implements mailbox.Outlet.
func (c *client) Opened(uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.opened:
	default:
		close(c.opened)
	}
}

// Deliver implements mailbox.Outlet. It proves from another goroutine, as pongs
// are.
func (c *client) Deliver(d mailbox.Delivery) {
	c.mu.Lock()
	c.got = append(c.got, string(d.Frame))
	c.mu.Unlock()
	go c.node.Prove(c.id, d.N)
}

// Gone implements mailbox.Ender.
func (c *client) Gone() { close(c.gone) }

// FetchDone implements mailbox.Outlet.
func (c *client) FetchDone(left int) { c.left <- left }

// Settled implements mailbox.Outlet.
func (c *client) Settled(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked = n
}

func (c *client) received() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// sender is a session that sends, and counts what became of it.
type sender struct {
	node *testNode
	user wire.UserID
	n    int

	confirm  bool   // its messages are confirmed
	producer string // they are numbered, as an outbox of this name

	mu      sync.Mutex
	stored  map[string]bool
	failed  map[string]*wire.Error
	pending int
}

func (w *world) sender(n *testNode, user wire.UserID) *sender {
	return &sender{node: n, user: user, stored: make(map[string]bool), failed: make(map[string]*wire.Error)}
}

// send sends the next message to some users.
func (s *sender) send(to ...wire.UserID) string {
	s.n++
	text := fmt.Sprintf("%s %d", s.user, s.n)
	s.mu.Lock()
	s.pending++
	s.mu.Unlock()
	s.node.Accept(&mailbox.Message{
		From: s.user, To: slices.Clone(to), Group: len(to) > 1, Frame: []byte(text), Reference: fmt.Appendf(nil, "%q", text), Confirm: s.confirm, Receipt: true, Origin: s,
		Producer: s.producer, Seq: uint64(s.n),
		Done: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.pending--
		},
	})
	return text
}

// Stored implements mailbox.Origin.
func (s *sender) Stored(_ wire.ID, reference []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored[strings.Trim(string(reference), `"`)] = true
}

// Failed implements mailbox.Origin.
func (s *sender) Failed(e *wire.Error, reference []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed[strings.Trim(string(reference), `"`)] = e
}

func (s *sender) outstanding() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending
}
