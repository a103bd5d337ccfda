package socket

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a test waits for.
const patience = 20 * time.Second

// rig is a server on a loopback port with the real hub, and with a clock, a
// gate, a keeper and a store that do what the test says.
type rig struct {
	t       testing.TB
	srv     *Server
	hub     *delivery.Hub
	clock   *clock
	gate    *gate
	keeper  *keeper
	store   *store
	metrics *prometheus.Registry
	addr    string

	mu     sync.Mutex
	limits Limits
	stop   func()
}

type rigOption func(*Options)

func newRig(t testing.TB, options ...rigOption) *rig {
	t.Helper()
	r := &rig{
		t: t, limits: DefaultLimits(), metrics: prometheus.NewRegistry(),
		clock:  &clock{now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), ticks: make(chan time.Time)},
		gate:   &gate{},
		keeper: &keeper{events: make(chan string, 10_000), sessions: make(map[wire.ID]mailbox.Session)},
		store:  &store{sends: make(chan *delivery.Send, 10_000), confirmed: make(chan string, 100)},
	}
	r.hub = delivery.New(delivery.Options{Keeper: r.store, Access: access{}, Sessions: func() int { return 16 }})
	o := Options{
		Keeper: r.keeper, Hub: r.hub, Gate: r.gate, Limits: r.currentLimits, Metrics: r.metrics,
		Now: r.clock.Now, Ticks: r.clock.Ticks,
	}
	for _, option := range options {
		option(&o)
	}
	var err error
	if r.srv, err = New(o); err != nil {
		t.Fatal(err)
	}
	r.serve()
	return r
}

// serve starts the server and stops it at the end of the test.
func (r *rig) serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = listener.Addr().String()
	web := &http.Server{Handler: r.srv}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = web.Serve(listener) })
	done.Go(func() { _ = r.srv.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		_ = web.Close()
		done.Wait()
	})
	r.t.Cleanup(r.stop)
}

func (r *rig) currentLimits() Limits {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limits
}

// limit changes the limits and has the server notice.
func (r *rig) limit(change func(*Limits)) {
	r.mu.Lock()
	change(&r.limits)
	r.mu.Unlock()
	r.clock.advance(0)
}

// counter returns a metric's value. labels are name, value, name, value.
func (r *rig) counter(name string, labels ...string) float64 {
	r.t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "switchboard_socket_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			got := make(map[string]string)
			for _, l := range m.GetLabel() {
				got[l.GetName()] = l.GetValue()
			}
			match := true
			for i := 0; i < len(labels); i += 2 {
				match = match && got[labels[i]] == labels[i+1]
			}
			if match && m.GetCounter() != nil {
				return m.GetCounter().GetValue()
			}
			if match {
				return m.GetGauge().GetValue()
			}
		}
	}
	r.t.Fatalf("there is no metric %s %v", name, labels)
	return 0
}

// session returns the one session that the server has.
func (r *rig) session() *session {
	r.t.Helper()
	r.srv.mu.Lock()
	defer r.srv.mu.Unlock()
	if len(r.srv.sessions) != 1 {
		r.t.Fatalf("%d sessions, not 1", len(r.srv.sessions))
	}
	for s := range r.srv.sessions {
		return s
	}
	return nil
}

// advance moves the clock when no session has anything to write, and returns
// when the server has done what is due.
func (r *rig) advance(d time.Duration) {
	r.srv.mu.Lock()
	var list []*session
	for s := range r.srv.sessions {
		list = append(list, s)
	}
	r.srv.mu.Unlock()
	for _, s := range list {
		s.awaitFlush()
	}
	r.clock.advance(d)
}

// clock is moved by the test.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	ticks chan time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Ticks(time.Duration) (<-chan time.Time, func()) { return c.ticks, func() {} }

// advance moves the clock and returns when the server has done what is due.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	now := c.now
	c.mu.Unlock()
	c.ticks <- now
	c.ticks <- now // taken when the first one is dealt with
}

// gate lets in whom the test says; by default everybody.
type gate struct {
	mu     sync.Mutex
	answer func(ctx context.Context, a wire.Auth) (apps.Grant, error)
}

func (g *gate) set(answer func(ctx context.Context, a wire.Auth) (apps.Grant, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = answer
}

func (g *gate) Authenticate(ctx context.Context, a wire.Auth) (apps.Grant, error) {
	g.mu.Lock()
	answer := g.answer
	g.mu.Unlock()
	if answer != nil {
		return answer(ctx, a)
	}
	return apps.Grant{User: a.User, Master: a.User == "ANZ-1", TellMaster: "ANZ-1"}, nil
}

// AuthenticateLink lets every link in that shows the token "good".
func (g *gate) AuthenticateLink(a wire.Auth, _ string, _ ...string) (apps.Grant, error) {
	if a.Token != "good" {
		return apps.Grant{}, &apps.Refusal{Code: wire.CodeBadToken, Reason: "because", Domain: "domain-02"}
	}
	return apps.Grant{User: a.User, Domain: "domain-02"}, nil
}

// keeper notes what it is told, as events.
type keeper struct {
	events chan string

	mu       sync.Mutex
	sessions map[wire.ID]mailbox.Session
	last     mailbox.Session
	busy     bool
	behind   bool
	slow     bool // it does not say that it knows a session
	onOpen   func(mailbox.Session)
}

func (k *keeper) Open(s mailbox.Session) {
	k.mu.Lock()
	k.sessions[s.ID], k.last = s, s
	onOpen := k.onOpen
	k.mu.Unlock()
	if onOpen != nil {
		onOpen(s)
	}
	if !k.slow {
		s.Outlet.Opened(0)
	}
	k.events <- "open " + string(s.User)
}

func (k *keeper) Close(id wire.ID) {
	k.mu.Lock()
	s, ok := k.sessions[id]
	delete(k.sessions, id)
	k.mu.Unlock()
	if !ok {
		panic("closed a session that is not open")
	}
	k.events <- "close " + string(s.User)
}

func (k *keeper) Prove(_ wire.ID, n uint64) { k.events <- fmt.Sprintf("prove %d", n) }
func (k *keeper) Pass(_ wire.ID, n uint64)  { k.events <- fmt.Sprintf("pass %d", n) }

func (k *keeper) Fetch(_ wire.ID, count int) bool {
	k.events <- fmt.Sprintf("fetch %d", count)
	return !k.busy
}

func (k *keeper) Behind() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.behind
}

// opened returns the session that was opened last.
func (k *keeper) opened() mailbox.Session {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last
}

// expect waits for the next event.
func (r *rig) expect(want string) {
	r.t.Helper()
	select {
	case got := <-r.keeper.events:
		if got != want {
			r.t.Fatalf("the keeper was told %q, not %q", got, want)
		}
	case <-time.After(patience):
		r.t.Fatalf("the keeper was not told %q", want)
	}
}

// expectAll waits for what the keeper is told in no certain order; want is sorted.
func (r *rig) expectAll(want ...string) {
	r.t.Helper()
	var got []string
	for range want {
		select {
		case what := <-r.keeper.events:
			got = append(got, what)
		case <-time.After(patience):
			r.t.Fatalf("the keeper was told %q, not %q", got, want)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		r.t.Fatalf("the keeper was told %q, not %q", got, want)
	}
}

// quiet says that the keeper was told nothing more.
func (r *rig) quiet() {
	r.t.Helper()
	select {
	case got := <-r.keeper.events:
		r.t.Fatalf("the keeper was told %q", got)
	default:
	}
}

// message returns a frame whose content is n bytes long.
func message(n int) []byte {
	return wire.AppendMessage(nil, "ANZ-9", []byte(`"`+strings.Repeat("x", n)+`"`), nil)
}

// number returns a frame with a number as its content.
func number(n int) []byte {
	return wire.AppendMessage(nil, "ANZ-9", fmt.Appendf(nil, "%d", n), nil)
}

// deliver hands the newest session a RELIABLE frame.
func (r *rig) deliver(n uint64, frame []byte) wire.ID {
	r.t.Helper()
	id, err := wire.NewID(r.clock.Now(), &counting{n: n})
	if err != nil {
		r.t.Fatal(err)
	}
	r.keeper.opened().Outlet.Deliver(mailbox.Delivery{N: n, ID: id, Frame: frame})
	return id
}

// counting is a source of bytes that differ by number.
type counting struct{ n uint64 }

func (c *counting) Read(p []byte) (int, error) {
	clear(p)
	p[len(p)-1], p[len(p)-2] = byte(c.n), byte(c.n>>8)
	return len(p), nil
}

// store keeps the RELIABLE messages that the hub passes on.
type store struct {
	sends     chan *delivery.Send
	confirmed chan string
	drop      bool // confirmations are not kept
}

func (s *store) Accept(m *delivery.Send, _ []byte) { s.sends <- m }

func (s *store) AcceptAll(list []*delivery.Send, _ [][]byte, _ *delivery.Once) {
	for _, m := range list {
		s.Accept(m, nil)
	}
}

func (s *store) Confirm(sender, receiver wire.UserID, reference []byte) {
	if s.drop {
		return
	}
	s.confirmed <- fmt.Sprintf("%s has %s of %s", receiver, reference, sender)
}

// next waits for a message.
func (r *rig) next() *delivery.Send {
	r.t.Helper()
	select {
	case m := <-r.store.sends:
		return m
	case <-time.After(patience):
		r.t.Fatal("nothing was sent")
		return nil
	}
}

// access lets users of ANZ reach those of ANZ only.
type access struct{}

func (access) Known(app string) bool          { return app == "ANZ" || app == "KIWI" }
func (access) MayReach(from, to string) bool  { return from == to }
func (access) IsMaster(user wire.UserID) bool { return user == "ANZ-1" }
