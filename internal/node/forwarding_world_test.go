package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/shards"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Hubs and keepers of several domains as they are wired, with links that break and
// keepers that are killed, in a time of their own.

// chart says who lives where, and which neighbour leads there: next[from][to].
type chart struct {
	homes []int
	next  [][]int
}

// site is one domain.
type site struct {
	t     *testing.T
	index int
	world *world
	disk  *disk
	hub   *delivery.Hub
	graph atomic.Int64 // the version that it knows

	mu     sync.Mutex
	keeper *mailbox.Keeper
	office *shards.Office // by which the hub reaches it
	handle *handle
	stop   func() // of the keeper
}

type world struct {
	charts []chart // from version 1 on; fixed before anything runs
	sites  []*site
	change func(*mailbox.Limits) // what the limits of all are to be; nil: what they are
	cut    atomic.Bool           // no road comes up

	kills, breaks, silences, changes, again atomic.Int64 // faults, and what had to be sent again
}

func siteName(i int) string         { return fmt.Sprintf("d%d", i) }
func siteLink(i int) wire.UserID    { return wire.UserID(fmt.Sprintf("link_d%d-1", i)) }
func isSiteLink(u wire.UserID) bool { return strings.HasPrefix(string(u), "link_") }

// Next implements delivery.Domains.
func (s *site) Next(user wire.UserID) delivery.Hop {
	version := s.graph.Load()
	c := &s.world.charts[version]
	home := c.homes[user.Number()]
	if home == s.index {
		return delivery.Hop{Local: true, Domain: siteName(home), Graph: uint64(version)}
	}
	return delivery.Hop{Domain: siteName(home), Link: siteLink(c.next[s.index][home]), Graph: uint64(version)}
}

// Everybody may reach everybody.
func (s *site) Known(string) bool            { return true }
func (s *site) MayReach(string, string) bool { return true }
func (s *site) IsMaster(wire.UserID) bool    { return false }

// Accept implements delivery.Keeper.
func (s *site) Accept(m *delivery.Send, frame []byte) {
	s.mu.Lock()
	office := s.office
	s.mu.Unlock()
	if office != nil {
		in := messageOf(m, frame)
		office.Accept(&in)
		return
	}
	if m.Origin != nil {
		m.Origin.Failed(&wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeStoreDown, To: m.To}, m.Reference)
	}
	if m.Done != nil {
		m.Done()
	}
}

// AcceptAll implements delivery.Keeper.
func (s *site) AcceptAll(list []*delivery.Send, frames [][]byte, once *delivery.Once) {
	var all []*mailbox.Message
	for i, m := range list {
		in := messageOf(m, frames[i])
		in.Done = func() {
			m.Repeated = in.Repeated
			if m.Done != nil {
				m.Done()
			}
		}
		all = append(all, &in)
	}
	s.kept().AcceptAll(all, (*mailbox.Once)(once))
}

// Confirm implements delivery.Keeper.
func (s *site) Confirm(sender, receiver wire.UserID, reference []byte) {
	s.Accept(&delivery.Send{From: receiver, To: []wire.UserID{sender}, Notice: true}, wire.AppendConfirmation(nil, reference))
}

func (s *site) kept() *mailbox.Keeper {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keeper
}

// start has the log kept.
func (s *site) start() {
	h := &handle{disk: s.disk}
	limits := mailbox.Limits{
		Age: 24 * time.Hour, Messages: 100_000, Bytes: 1 << 30, LinkBytes: 1 << 30, LinkAge: 24 * time.Hour,
		Keyed: time.Hour, KeyedRequests: 10,
	}
	if s.world.change != nil {
		s.world.change(&limits)
	}
	k, err := mailbox.Open(s.t.Context(), mailbox.Options{
		Log: h, Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler),
		Limits:  limits,
		LogName: siteName(s.index) + "/0", Link: isSiteLink,
		Abroad: func(n mailbox.Notice) (wire.UserID, []byte, bool) {
			return s.hub.Wrap(delivery.Notice{To: n.To, From: n.From, ID: n.ID, Presence: n.Presence, Expires: n.Expires, Frame: n.Frame})
		},
		Recover: func(context.Context) error {
			if h.dead.Load() {
				return mailbox.ErrRetired
			}
			return nil
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = k.Run(ctx) })
	office, err := shards.New(shards.Options{Shards: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	office.Serve(0, 1, k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeper, s.office, s.handle = k, office, h
	s.stop = func() {
		cancel()
		running.Wait()
	}
}

// kill ends the keeper as kill -9 does: what is not on disk by now never is.
func (s *site) kill() {
	s.mu.Lock()
	stop := s.stop
	s.handle.dead.Store(true)
	s.keeper, s.office = nil, nil
	s.mu.Unlock()
	stop()
}

// road is what one domain gets of a neighbour.
type road struct {
	from, to *site
	lines    atomic.Int64 // connections that there were
	broken   chan struct{}
}

// line is one connection of it.
type line struct {
	*road
	keeper *mailbox.Keeper
	id     wire.ID
	frames chan []byte

	mu      sync.Mutex
	waiting []*bool // deliveries that are not proved, in order; true: done
	proved  uint64
	failed  chan struct{}
	once    sync.Once
}

func (l *line) Opened(uint64)  {}
func (l *line) FetchDone(int)  {}
func (l *line) Settled(uint64) {}
func (l *line) Gone()          { l.fail() }

// Over implements delivery.Line. What is under way when it fails may still be taken.
func (l *line) Over() bool {
	select {
	case <-l.failed:
		return true
	default:
		return false
	}
}

func (l *line) fail() { l.once.Do(func() { close(l.failed) }) }
func (l *line) Deliver(d mailbox.Delivery) {
	frame := wire.AppendPlace(nil, d.Frame, d.ID, d.Log, d.Ord, d.Low)
	select {
	case l.frames <- frame:
	default:
		l.fail()
	}
}

// run keeps the road up until ctx ends.
func (r *road) run(ctx context.Context) {
	for ctx.Err() == nil {
		if k := r.from.kept(); k != nil && !r.from.world.cut.Load() {
			r.connect(ctx, k)
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (r *road) connect(ctx context.Context, k *mailbox.Keeper) {
	r.lines.Add(1)
	id, err := wire.NewID(time.Now(), rand.Reader)
	if err != nil {
		panic(err)
	}
	l := &line{road: r, keeper: k, id: id, frames: make(chan []byte, 10_000), failed: make(chan struct{})}
	k.Open(mailbox.Session{ID: id, User: siteLink(r.to.index), Ack: true, Push: true, Link: true, Window: 64 << 10, Outlet: l})
	defer k.Close(id)
	for r.from.kept() == k && !r.from.world.cut.Load() {
		select {
		case <-ctx.Done():
			return
		case <-l.failed:
			return
		case <-r.broken:
			return
		case <-time.After(50 * time.Millisecond): // is the keeper still there?
		case frame := <-l.frames:
			if !l.take(ctx, frame) {
				return
			}
		}
	}
}

// take hands a FORWARD over, when its version is known.
func (l *line) take(ctx context.Context, frame []byte) bool {
	f, err := wire.ParseForward(frame)
	if err != nil {
		l.to.t.Errorf("%s: %v", frame, err)
		return false
	}
	for f.Graph > uint64(l.to.graph.Load()) {
		select {
		case <-ctx.Done():
			return false
		case <-l.failed:
			return false
		case <-time.After(time.Millisecond):
		}
	}
	done := new(bool)
	l.mu.Lock()
	l.waiting = append(l.waiting, done)
	l.mu.Unlock()
	l.to.hub.Forward(&f, delivery.Neighbour{Domain: siteName(l.from.index), Link: siteLink(l.from.index), Line: l}, func(err error) {
		if err != nil {
			l.fail()
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		*done = true
		n := 0
		for n < len(l.waiting) && *l.waiting[n] {
			n++
		}
		if n > 0 {
			l.waiting, l.proved = l.waiting[n:], l.proved+uint64(n)
			l.keeper.Prove(l.id, l.proved)
		}
	})
	return true
}

// move is what the mover does.
func (s *site) move() {
	k := s.kept()
	if k == nil {
		return
	}
	users, err := k.Mailboxes(s.t.Context(), "", 10_000)
	if err != nil {
		return // killed
	}
	for _, user := range users {
		for after, more := uint64(0), true; more; {
			var list []mailbox.Carried
			if list, more, err = k.Carry(s.t.Context(), user, after, 100); err != nil {
				return
			}
			var moves []mailbox.Moved
			for _, c := range list {
				after = c.Ord
				parts, ok, err := s.hub.Carry(&delivery.Carried{
					User: user, ID: c.ID, From: c.From, Group: c.Group, Notice: c.Notice, Presence: c.Presence, Quiet: c.Quiet,
					Confirm: c.Confirm, Reference: c.Reference, Expires: c.Expires, Frame: c.Frame,
				})
				if err != nil {
					s.t.Error(err)
				}
				if ok {
					m := mailbox.Moved{Carried: c}
					for _, p := range parts {
						m.Parts = append(m.Parts, mailbox.Part(p))
					}
					moves = append(moves, m)
				}
			}
			if len(moves) > 0 {
				if _, err := k.Move(s.t.Context(), user, moves); err != nil {
					return
				}
			}
		}
	}
}

// list returns what waits for a user.
func (s *site) list(user wire.UserID) (frames []string) {
	k := s.kept()
	for after, more := uint64(0), true; more; {
		var list []mailbox.Carried
		var err error
		if list, more, err = k.Carry(s.t.Context(), user, after, 1000); err != nil {
			s.t.Fatal(err)
		}
		for _, c := range list {
			after = c.Ord
			frames = append(frames, string(c.Frame))
		}
	}
	return frames
}

// build makes domains with links between some.
func build(t *testing.T, charts []chart, links [][2]int) (w *world, roads []*road, stop func()) {
	return buildWith(t, nil, charts, links)
}

func buildWith(t *testing.T, change func(*mailbox.Limits), charts []chart, links [][2]int) (w *world, roads []*road, stop func()) {
	w = &world{charts: append([]chart{{}}, charts...), change: change}
	for i := range charts[0].next {
		s := &site{t: t, index: i, world: w, disk: &disk{first: 1}}
		s.graph.Store(1)
		s.hub = delivery.New(delivery.Options{
			Keeper: s, Access: s, Sessions: func() int { return 16 }, Group: func() int { return 100 }, Domains: s, Domain: siteName(i),
		})
		s.start()
		w.sites = append(w.sites, s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, l := range links {
		for _, ends := range [][2]int{l, {l[1], l[0]}} {
			r := &road{from: w.sites[ends[0]], to: w.sites[ends[1]], broken: make(chan struct{})}
			roads = append(roads, r)
			running.Go(func() { r.run(ctx) })
		}
	}
	return w, roads, func() {
		cancel()
		running.Wait()
		for _, s := range w.sites {
			s.kill()
		}
	}
}
