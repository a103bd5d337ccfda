package chat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/chat"
	"github.com/seed-3d8c1042/switchboard/internal/db"
	"github.com/seed-3d8c1042/switchboard/internal/postgres"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(everything{m}) }

// everything runs the tests, and ends what they share.
type everything struct{ tests *testing.M }

// Run implements goleak.TestingM.
func (m everything) Run() int {
	code := m.tests.Run()
	if err := postgres.End(); err != nil {
		fmt.Println(err)
		return max(code, 1)
	}
	return code
}

// patience is how long anything may take before it counts as failed.
const patience = time.Minute

// onBoth runs a test on both databases.
func onBoth(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, newWorld(t, db.Options{Path: filepath.Join(t.TempDir(), "switchboard.db")}))
	})
	t.Run("postgres", func(t *testing.T) { test(t, newWorld(t, db.Options{URL: postgres.Database(t)})) })
}

// world is one database, the users there are, and nodes that serve rooms.
type world struct {
	t      testing.TB
	db     *db.DB
	store  *faulty
	nodes  []*node
	limits chat.Limits
	alone  bool // nodes know of no other

	mu     sync.Mutex
	blocks map[[2]wire.UserID]bool
	ids    int
}

func newWorld(t testing.TB, o db.Options) *world {
	t.Helper()
	d, err := db.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, db: d, store: &faulty{Store: d.Chat()}, blocks: make(map[[2]wire.UserID]bool)}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// faulty is the store with faults that a test asks for.
type faulty struct {
	chat.Store
	fault atomic.Pointer[error]  // of the next writes, instead of them
	late  atomic.Pointer[error]  // of the next writes, after they have taken effect
	blind atomic.Bool            // nobody sees how far rooms have come
	seen  atomic.Pointer[func()] // called when it was read who is a member
}

func (f *faulty) Read(ctx context.Context, do func(chat.View) error) error {
	return f.Store.Read(ctx, func(v chat.View) error { return do(view{v, f}) })
}

// view is one of a faulty store.
type view struct {
	chat.View
	of *faulty
}

func (v view) Heads(rooms []int64) ([]chat.Head, error) {
	if v.of.blind.Load() {
		return nil, errGone
	}
	return v.View.Heads(rooms)
}

func (v view) MembersAt(places []chat.Place) ([]chat.Member, error) {
	list, err := v.View.MembersAt(places)
	if seen := v.of.seen.Load(); seen != nil {
		(*seen)()
	}
	return list, err
}

func (f *faulty) Write(ctx context.Context, do func(chat.Tx) error) error {
	return f.write(ctx, do, f.Store.Write)
}

func (f *faulty) Relieve(ctx context.Context, do func(chat.Tx) error) error {
	return f.write(ctx, do, f.Store.Relieve)
}

func (f *faulty) write(ctx context.Context, do func(chat.Tx) error, write func(context.Context, func(chat.Tx) error) error) error {
	if err := f.fault.Load(); err != nil {
		return *err
	}
	err := write(ctx, func(tx chat.Tx) error { return do(populated{tx}) })
	if late := f.late.Load(); late != nil && err == nil {
		return *late
	}
	return err
}

// populated is a transaction where the users 1 to 100000 have accounts.
type populated struct{ chat.Tx }

func (populated) LockUser(user int64) (bool, error) { return user <= 100_000, nil }

// Known says that the users 1 to 100000 exist.
func (w *world) Known(_ context.Context, user wire.UserID) (bool, error) {
	return user.Number() <= 100_000, nil
}

func (w *world) Blocked(_ context.Context, by, whom wire.UserID) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blocks[[2]wire.UserID{by, whom}], nil
}

func (w *world) block(by, whom wire.UserID, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blocks[[2]wire.UserID{by, whom}] = on
}

// node is one that serves rooms, and a link to every other.
type node struct {
	*chat.Chat
	w       *world
	name    string
	metrics *prometheus.Registry

	apart atomic.Bool // it does not hear what others tell

	mu      sync.Mutex
	mute    bool // what it tells others is lost
	holding bool // what it tells others is on its way
	way     []func()
}

// run starts one more node.
func (w *world) run() *node {
	w.t.Helper()
	n := &node{w: w, name: fmt.Sprint("n", len(w.nodes)+1), metrics: prometheus.NewRegistry()}
	var err error
	o := chat.Options{
		Store: w.store, People: w, App: "chat", Domain: "here", Metrics: n.metrics,
		Apart: n.apart.Load, HomeURL: func(domain string) string { return "wss://" + domain }, Limits: func() chat.Limits { return w.limits },
	}
	if !w.alone {
		o.Nodes = n
	}
	n.Chat, err = chat.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	if !w.alone {
		for _, other := range w.nodes {
			other.PeerUp(n.name)
			n.PeerUp(other.name)
		}
	}
	w.nodes = append(w.nodes, n)
	return n
}

// Send implements chat.Nodes.
func (n *node) Send(to string, parts ...[]byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mute {
		return false
	}
	for _, other := range n.w.nodes {
		if other.name != to {
			continue
		}
		message := slices.Concat(parts...)
		arrive := func() { other.PeerReceive(n.name, message) }
		if n.holding {
			n.way = append(n.way, arrive)
		} else {
			arrive()
		}
	}
	return true
}

// hold has all that the node tells others wait on its way.
func (n *node) hold() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.holding = true
}

// held returns what has waited, piece by piece.
func (n *node) held() []func() {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.way
	n.holding, n.way = false, nil
	return list
}

func (n *node) silence(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mute = on
}

func (n *node) metric(name string) float64 {
	families, err := n.metrics.Gather()
	if err != nil {
		n.w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "switchboard_chat_"+name {
			return f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	n.w.t.Fatalf("there is no metric %s", name)
	return 0
}

// client is a session of a user.
type client struct {
	n    *node
	id   wire.ID
	user wire.UserID

	mu     sync.Mutex
	queued [][]byte // news that are not written yet
	frames []frame
	news   chan struct{} // holds one token when frames grew
	full   bool          // it takes no news
}

type frame struct {
	Type      string          `json:"type"`
	Data      json.RawMessage `json:"data"`
	Reference string          `json:"reference"`
	whole     []byte
	// What tests look at in data.
	in struct {
		ID, Name, Room, User, From, By, Role, Reason, Code string
		Seq, Unread, LastSeq, ReadSeq, Before              int64
		Members                                            json.RawMessage
		Content                                            any
		Deleted, More                                      bool
		Rooms                                              []struct{ ID string }
		Messages                                           []struct {
			ID, From string
			Seq      int64
			Content  any
			Deleted  bool
		}
		Next string
	}
}

// client begins a session on a node.
func (n *node) client(user int) *client {
	n.w.t.Helper()
	c := &client{n: n, user: wire.UserID(fmt.Sprint("chat-", user)), news: make(chan struct{}, 1)}
	n.w.mu.Lock()
	n.w.ids++
	c.id[0], c.id[14], c.id[15] = 1, byte(n.w.ids>>8), byte(n.w.ids)
	n.w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n.Attach(ctx, c)
	n.w.t.Cleanup(func() { n.Detach(c) })
	return c
}

// ID and the methods that follow implement chat.Session.
func (c *client) ID() wire.ID         { return c.id }
func (c *client) User() wire.UserID   { return c.user }
func (c *client) Answer(frame []byte) { c.take(frame) }

func (c *client) Write() {
	c.mu.Lock()
	queued := c.queued
	c.queued = nil
	c.mu.Unlock()
	for _, frame := range queued {
		c.take(frame)
	}
}

func (c *client) Failed(e *wire.Error, reference []byte) {
	c.take(wire.AppendFailure(nil, e, reference))
}

func (c *client) Queue(frame []byte, _ func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full {
		return false
	}
	c.queued = append(c.queued, frame)
	return true
}

func (c *client) take(b []byte) {
	f := frame{whole: b}
	if err := json.Unmarshal(b, &f); err != nil {
		panic(fmt.Sprintf("%s: %v", b, err))
	}
	if err := json.Unmarshal(f.Data, &f.in); err != nil {
		panic(fmt.Sprintf("%s: %v", b, err))
	}
	c.mu.Lock()
	c.frames = append(c.frames, f)
	c.mu.Unlock()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// next returns the next frame, which must be of a type.
func (c *client) next(kind string) frame {
	c.n.w.t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		if len(c.frames) > 0 {
			f := c.frames[0]
			c.frames = c.frames[1:]
			c.mu.Unlock()
			if f.Type != kind {
				c.n.w.t.Fatalf("%s got %s %s, not a %s", c.user, f.Type, f.Data, kind)
			}
			return f
		}
		c.mu.Unlock()
		select {
		case <-c.news:
		case <-deadline:
			c.n.w.t.Fatalf("%s got no %s", c.user, kind)
		}
	}
}

// serve has a frame served, and returns when that is over.
func (c *client) serve(text string) {
	c.n.w.t.Helper()
	f, err := wire.ParseFrame([]byte(text))
	if err != nil {
		c.n.w.t.Fatalf("%s: %v", text, err)
	}
	done := make(chan struct{})
	c.n.Serve(c, &f, func() { close(done) })
	<-done
}

// ask has a frame served, and returns the answer. News that come before it stay.
func (c *client) ask(kind, data string) frame {
	c.n.w.t.Helper()
	c.serve(fmt.Sprintf(`{"type":%q,"data":%s,"reference":"asked"}`, kind, data))
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, f := range c.frames {
		if f.Reference == "asked" {
			c.frames = slices.Delete(c.frames, i, i+1)
			return f
		}
	}
	c.n.w.t.Fatalf("%s %s was not answered", kind, data)
	return frame{}
}

// send sends a text to a room, and returns the answer.
func (c *client) send(room, text string) frame {
	c.n.w.t.Helper()
	f := c.ask("ROOM_SEND", fmt.Sprintf(`{"room":%q,"content":%q}`, room, text))
	if f.Type != "ROOM_SENT" {
		c.n.w.t.Fatalf("%s could not send: %s", c.user, f.Data)
	}
	return f
}

// create makes a room with members, who hear of it.
func (c *client) create(options string, members ...*client) string {
	c.n.w.t.Helper()
	room := c.ask("ROOM_CREATE", `{"name":"tea"`+options+`}`).in.ID
	for _, m := range members {
		if f := c.ask("ROOM_INVITE", fmt.Sprintf(`{"room":%q,"user":%q}`, room, m.user)); f.Type != "ROOM_MEMBER_JOINED" {
			c.n.w.t.Fatalf("%s could not be invited: %s", m.user, f.Data)
		}
	}
	for _, m := range members {
		m.until("ROOM_CHANGED")
	}
	return room
}

// until skips frames up to one of a type.
func (c *client) until(kind string) frame {
	c.n.w.t.Helper()
	for {
		c.mu.Lock()
		for len(c.frames) > 0 && c.frames[0].Type != kind {
			c.frames = c.frames[1:]
		}
		found := len(c.frames) > 0
		c.mu.Unlock()
		if found {
			return c.next(kind)
		}
		select {
		case <-c.news:
		case <-time.After(patience):
			c.n.w.t.Fatalf("%s got no %s", c.user, kind)
		}
	}
}

// clear forgets what came.
func (c *client) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frames = nil
}

// types returns the types of what came, in order.
func (c *client) types() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	for _, f := range c.frames {
		list = append(list, f.Type)
	}
	return strings.Join(list, " ")
}

// code returns the code of an error, and the type of anything else.
func (f frame) code() string {
	if f.in.Code != "" {
		return f.in.Code
	}
	return f.Type
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

var errGone = errors.Join(chat.ErrDown, errors.New("the connection is lost"))
