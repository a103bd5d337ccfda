package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Hubs and keepers of several domains as they are wired, with links that break and
// keepers that are killed, in a time of their own.

// disk is a log in memory, of which a keeper has a handle.
type disk struct {
	mu      sync.Mutex
	first   uint64
	batches [][]byte
}

// handle is a keeper's; once it is dead nothing that comes from there is stored.
type handle struct {
	*disk
	dead atomic.Bool
}

var errKilled = errors.New("killed")

func (h *handle) Append(_ context.Context, last uint64, batch []byte) (uint64, error) {
	time.Sleep(200 * time.Microsecond) // a sync
	h.mu.Lock()
	defer h.mu.Unlock()
	dead := h.dead.Load()
	switch {
	case dead && len(batch)%2 == 0: // killed before it was on disk
		return 0, errKilled
	case last != uint64(len(h.batches)):
		return 0, mailbox.ErrFenced
	}
	h.batches = append(h.batches, bytes.Clone(batch))
	if dead { // or after that
		return 0, errKilled
	}
	return uint64(len(h.batches)), nil
}

func (h *handle) Read(_ context.Context, seq uint64) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seq < h.first || seq > uint64(len(h.batches)) {
		return nil, mailbox.ErrGone
	}
	return h.batches[seq-1], nil
}

func (h *handle) Bounds(context.Context) (first, last, size uint64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.batches[h.first-1:] {
		size += uint64(len(b))
	}
	return h.first, uint64(len(h.batches)), size, nil
}

func (h *handle) Replay(ctx context.Context, first, last uint64, f func(uint64, []byte) error) error {
	for seq := first; seq <= last; seq++ {
		b, err := h.Read(ctx, seq)
		if err != nil {
			return err
		}
		if err := f(seq, b); err != nil {
			return err
		}
	}
	return nil
}

func (h *handle) Purge(_ context.Context, below uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.first = max(h.first, below)
	return nil
}

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
	handle *handle
	stop   func() // of the keeper
}

type world struct {
	charts   []chart // from version 1 on; fixed before anything runs
	sites    []*site
	messages int // that a mailbox takes

	kills, breaks, changes, again atomic.Int64 // faults, and what had to be sent again
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
	if k := s.kept(); k != nil {
		in := messageOf(m, frame)
		k.Accept(&in)
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
func (s *site) AcceptAll(list []*delivery.Send, frames [][]byte, _ *delivery.Once) {
	for i, m := range list {
		s.Accept(m, frames[i])
	}
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
	k, err := mailbox.Open(s.t.Context(), mailbox.Options{
		Log: h, Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler),
		Limits: mailbox.Limits{
			Age: 24 * time.Hour, Messages: s.world.messages, Bytes: 1 << 30, LinkBytes: 1 << 30, LinkAge: 24 * time.Hour,
			Keyed: time.Hour, KeyedRequests: 10,
		},
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeper, s.handle = k, h
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
	s.keeper = nil
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
func (l *line) fail()          { l.once.Do(func() { close(l.failed) }) }
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
		if k := r.from.kept(); k != nil {
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
	for r.from.kept() == k {
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
	l.to.hub.Forward(&f, delivery.Neighbour{Domain: siteName(l.from.index), Link: siteLink(l.from.index)}, func(err error) {
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
	return buildWith(t, 100_000, charts, links)
}

func buildWith(t *testing.T, messages int, charts []chart, links [][2]int) (w *world, roads []*road, stop func()) {
	w = &world{charts: append([]chart{{}}, charts...), messages: messages}
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

// sender sends one message after the other out of its outbox: each until it is
// stored.
type sender struct {
	user  wire.UserID
	site  func() *site
	seq   uint64
	heard chan bool
}

func (o *sender) Stored(wire.ID, []byte) { o.heard <- true }
func (o *sender) Failed(e *wire.Error, _ []byte) {
	select {
	case o.heard <- false:
	default:
	}
}

func (o *sender) send(to []wire.UserID) string {
	o.seq++
	content := fmt.Appendf(nil, "%d", o.seq)
	for stored := false; !stored; {
		o.heard = make(chan bool, 16)
		settled := make(chan struct{})
		s := &delivery.Send{
			From: o.user, To: slices.Clone(to), Group: len(to) > 1, Content: content, Receipt: true, Origin: o,
			Producer: "phone", Seq: o.seq, Done: func() { close(settled) },
		}
		o.site().hub.Send(s)
		<-settled
		close(o.heard)
		stored = len(o.heard) > 0
		for ok := range o.heard {
			stored = stored && ok
		}
		if !stored {
			o.site().world.again.Add(1)
			time.Sleep(10 * time.Millisecond)
		}
	}
	return string(wire.AppendMessage(nil, o.user, content, nil))
}

// quiet waits until nothing is under way any more.
func (w *world) quiet(t *testing.T, each func()) {
	t.Helper()
	for range 2_000 {
		each()
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		left := 0
		for _, s := range w.sites {
			for i := range w.sites {
				m, err := s.kept().Mailbox(t.Context(), siteLink(i))
				if err != nil {
					t.Fatal(err)
				}
				left += m.Messages
			}
		}
		if left == 0 {
			return
		}
	}
	t.Fatal("messages are under way for ever")
}

const people = 9

// sendAll has everybody send to others until all have sent so many, while faults
// happen, and returns what each should get of whom.
func (w *world) sendAll(each int, singles bool, seed uint64, faults func(stop <-chan struct{})) map[wire.UserID]map[wire.UserID][]string {
	want := map[wire.UserID]map[wire.UserID][]string{}
	var mu sync.Mutex
	var sending, failing sync.WaitGroup
	stop := make(chan struct{})
	failing.Go(func() { faults(stop) })
	for n := range people {
		sending.Go(func() {
			chance := mathrand.New(mathrand.NewPCG(seed, uint64(n)))
			user := wire.UserID(fmt.Sprintf("A-%d", n))
			o := &sender{user: user, site: func() *site { // where it lives by what is newest anywhere
				newest := int64(0)
				for _, s := range w.sites {
					newest = max(newest, s.graph.Load())
				}
				return w.sites[w.charts[newest].homes[n]]
			}}
			for range each {
				var to []wire.UserID
				for _, i := range chance.Perm(people)[:1+chance.IntN(3)] {
					to = append(to, wire.UserID(fmt.Sprintf("A-%d", i)))
				}
				if singles {
					to = to[:1]
				}
				frame := o.send(to)
				mu.Lock()
				for _, u := range to {
					if want[u] == nil {
						want[u] = map[wire.UserID][]string{}
					}
					want[u][user] = append(want[u][user], frame)
				}
				mu.Unlock()
				time.Sleep(time.Duration(chance.IntN(2_000)) * time.Microsecond)
			}
		})
	}
	sending.Wait()
	close(stop)
	failing.Wait()
	return want
}

// judge counts what was lost, came twice or out of order.
func (w *world) judge(t *testing.T, c chart, want map[wire.UserID]map[wire.UserID][]string) (sent, lost, twice, reordered int) {
	t.Helper()
	for n := range people {
		user := wire.UserID(fmt.Sprintf("A-%d", n))
		for i, s := range w.sites {
			if list := s.list(user); i != c.homes[n] && len(list) > 0 {
				t.Errorf("%s lives in d%d, and %d messages wait in d%d", user, c.homes[n], len(list), i)
			}
		}
		got := map[string][]string{}
		for _, frame := range w.sites[c.homes[n]].list(user) {
			f, err := wire.ParseServerFrame([]byte(frame))
			if err != nil || f.Type != wire.TypeMessage {
				t.Errorf("%s got %s", user, frame)
				continue
			}
			from, _, _ := wire.ParseDelivery(f.Data)
			got[string(from)] = append(got[string(from)], frame)
		}
		for from, list := range want[user] {
			sent += len(list)
			counts := map[string]int{}
			for _, frame := range got[string(from)] {
				counts[frame]++
			}
			var once []string
			for _, frame := range got[string(from)] {
				if !slices.Contains(once, frame) {
					once = append(once, frame)
				}
			}
			for _, frame := range list {
				switch counts[frame] {
				case 0:
					lost++
				case 1:
				default:
					twice += counts[frame] - 1
				}
			}
			if len(once) == len(list) && !slices.Equal(once, list) {
				reordered++
			}
		}
	}
	return sent, lost, twice, reordered
}

// 0 - 1 - 2
// |       |
// 3 ----- 4      and where everybody lives.
func ring(homes []int) (chart, [][2]int) {
	return chart{homes: homes, next: [][]int{
		{-1, 1, 1, 3, 3},
		{0, -1, 2, 0, 2},
		{1, 1, -1, 4, 4},
		{0, 0, 4, -1, 4},
		{3, 2, 2, 3, -1},
	}}, [][2]int{{0, 1}, {1, 2}, {0, 3}, {3, 4}, {2, 4}}
}

// faulty breaks roads and kills keepers.
func faulty(t *testing.T, w *world, roads []*road, seed uint64, more func(chance *mathrand.Rand)) func(<-chan struct{}) {
	return func(stop <-chan struct{}) {
		chance := mathrand.New(mathrand.NewPCG(seed, 99))
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(1+chance.IntN(30)) * time.Millisecond):
			}
			switch chance.IntN(3) {
			case 0:
				s := w.sites[chance.IntN(len(w.sites))]
				s.kill()
				w.kills.Add(1)
				time.Sleep(time.Duration(chance.IntN(20)) * time.Millisecond)
				s.start()
			case 1:
				select {
				case roads[chance.IntN(len(roads))].broken <- struct{}{}:
					w.breaks.Add(1)
				case <-time.After(100 * time.Millisecond):
				}
			case 2:
				w.changes.Add(1)
				more(chance)
			}
		}
	}
}
