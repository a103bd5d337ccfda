package members

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
)

// table is a store that can be cut off from one node, in bubbles of synctest,
// where the real one cannot be.
type table struct {
	mu       sync.Mutex
	rows     map[string][]byte
	watchers map[string]func(string, []byte)
	cut      map[string]bool
}

func newTable() *table {
	return &table{rows: map[string][]byte{}, watchers: map[string]func(string, []byte){}, cut: map[string]bool{}}
}

// side is the table as one node has it.
type side struct {
	*table
	node string
}

func (s side) Put(ctx context.Context, id string, row []byte) error { return s.set(ctx, id, row) }
func (s side) Delete(ctx context.Context, id string) error          { return s.set(ctx, id, nil) }

func (s side) set(ctx context.Context, id string, row []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut[s.node] {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return ctx.Err()
	}
	s.rows[id] = row
	if row == nil {
		delete(s.rows, id)
	}
	for node, f := range s.watchers {
		if !s.cut[node] {
			f(id, row)
		}
	}
	return nil
}

func (s side) Watch(f func(string, []byte)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, row := range s.rows {
		f(id, row)
	}
	s.watchers[s.node] = f
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, s.node)
	}
}

// reach cuts a node off, or connects it again: then it hears what it missed.
func (t *table) reach(node string, can bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cut[node] = !can
	if f := t.watchers[node]; can && f != nil {
		for _, id := range slices.Sorted(maps.Keys(t.rows)) {
			f(id, t.rows[id])
		}
	}
}

// running is a room that runs, and what it has told.
type running struct {
	*Room
	log  *bytes.Buffer
	stop func() error

	mu    sync.Mutex
	said  []string
	ahead time.Duration // of its clock: it was frozen
}

func (n *running) say(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said = append(n.said, what)
}

func (n *running) now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Now().Add(n.ahead)
}

func (n *running) freeze(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ahead += d
}

// heard returns what was told since it was asked last.
func (n *running) heard() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := strings.Join(n.said, ", ")
	n.said = nil
	return list
}

// start runs a node; its ID is its name, after which a number may follow.
func start(t *testing.T, store Store, id string, change ...func(*Options)) *running {
	t.Helper()
	n := &running{log: &bytes.Buffer{}}
	o := Options{
		Table: store, Self: Member{ID: id, Name: strings.TrimRight(id, "0123456789"), Address: id + ":8088", Version: "v1", Roles: []string{"connector"}},
		Speaks: Range{1, 1}, Lease: lease5, Now: n.now,
		Load:   func() (int, float64) { return 3, 0.256 },
		Joined: func(m Member) { n.say("joined " + m.ID) }, Died: func(id string) { n.say("died " + id) },
		Lost: func() {
			if n.Valid() {
				t.Error("valid while it hears that it is lost")
			}
			n.say("lost")
		},
		Found: func() { n.say("found") },
		Log:   slog.New(slog.NewTextHandler(n.log, nil)), Metrics: prometheus.NewRegistry(),
	}
	for _, f := range change {
		f(&o)
	}
	var err error
	if n.Room, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	n.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = n.stop() })
	return n
}

func seconds(n float64) { time.Sleep(time.Duration(n * float64(time.Second))) }

func TestNodesMeetAndPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		a := start(t, side{store, "a"}, "a")
		seconds(0.5)
		b := start(t, side{store, "b"}, "b")
		seconds(0.5)
		<-a.In()
		<-b.In()
		if a.heard() != "joined b" || b.heard() != "joined a" || !a.Alive("b") || !a.Alive("a") || a.Alive("c") || a.Check() != nil {
			t.Error(a.List())
		}
		b.SetStatus(Up)
		seconds(0.5)
		var got []string
		for _, m := range a.List() {
			got = append(got, fmt.Sprintln(m.ID, m.Name, m.Address, m.Status, m.Version, m.Roles, m.Sessions, m.Load))
		}
		if want := []string{"a a a:8088 joining v1 [connector] 3 0.26\n", "b b b:8088 up v1 [connector] 3 0.26\n"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		seconds(60)
		if err := b.stop(); err != nil || b.Valid() {
			t.Error(err)
		}
		synctest.Wait()
		if a.heard() != "died b" || a.Alive("b") || len(a.List()) != 1 {
			t.Error("b left, and a has", a.List())
		}
		_ = a.stop()
	})
}

func TestANodeThatIsKilledIsFoundDeadByTheOthersWithinALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		a, b, c := start(t, side{store, "a"}, "a"), start(t, side{store, "b"}, "b"), start(t, side{store, "c"}, "c")
		seconds(10)
		a.heard()
		c.heard()
		store.reach("b", false)
		seconds(3.9)
		if !a.Alive("b") {
			t.Error("found dead before its time")
		}
		seconds(1.4)
		if a.heard() != "died b" || c.heard() != "died b" || a.Alive("b") {
			t.Error("b is not found dead")
		}
		for _, n := range []*running{a, b, c} {
			_ = n.stop()
		}
	})
}

func TestANodeThatIsCutOffKnowsItBeforeTheOthersAndFindsNobodyDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		a, b := start(t, side{store, "a"}, "a"), start(t, side{store, "b"}, "b")
		seconds(10)
		b.heard()
		store.reach("b", false)
		began := time.Now()
		for b.Valid() {
			seconds(0.01)
		}
		if after := time.Since(began); after > 4*time.Second || !a.Alive("b") {
			t.Errorf("after %s b is not valid, and a finds it alive: %v", after, a.Alive("b"))
		}
		seconds(60)
		if got := b.heard(); got != "lost" || b.Check() == nil || testutil.ToFloat64(b.counts.lost) != 1 {
			t.Errorf("b: %s", got)
		}
		store.reach("b", true)
		seconds(3)
		if got := b.heard(); got != "found" || !b.Valid() || !b.Alive("a") {
			t.Errorf("b: %s", got)
		}
		if got := a.heard(); got != "joined b, died b, joined b" {
			t.Errorf("a: %s", got)
		}
		_, _ = a.stop(), b.stop()
	})
}

func TestANodeThatWasFrozenIsNotValidFromItsFirstLookOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		n := start(t, side{store, "a"}, "a")
		start(t, side{store, "b"}, "b")
		seconds(10)
		n.heard()
		for range 20 {
			seconds(0.33)
			n.freeze(time.Hour)
			if n.Valid() {
				t.Fatal("valid after an hour")
			}
			for !n.Valid() {
				seconds(0.01)
			}
			if got := n.heard(); got != "lost" && got != "lost, found" {
				t.Fatalf("valid again, having told: %s", got)
			}
			seconds(2)
			n.heard()
		}
		// A short one costs nothing.
		n.freeze(2 * time.Second)
		if !n.Valid() {
			t.Error("not valid after 2 s")
		}
		seconds(10)
		if got := n.heard(); got != "" || !n.Alive("b") {
			t.Errorf("told: %s", got)
		}
	})
}

func TestALeaseIsRenewedWhileACallLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		a := start(t, side{store, "a"}, "a", func(o *Options) { o.Joined = func(Member) { seconds(30) } })
		<-a.In()
		start(t, side{store, "b"}, "b")
		for range 30 {
			seconds(1)
			if !a.Valid() {
				t.Fatal("not valid")
			}
		}
		seconds(10)
		if got := a.heard(); got != "" || !a.Alive("b") {
			t.Errorf("told: %s", got)
		}
	})
}

func TestANodeThatBeginsAgainReplacesItsEarlierRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		a, one := start(t, side{store, "a"}, "a"), start(t, side{store, "b1"}, "b1")
		seconds(10)
		a.heard()
		store.reach("b1", false) // as if it were killed
		two := start(t, side{store, "b2"}, "b2")
		seconds(0.5)
		if got := a.heard(); got != "died b1, joined b2" {
			t.Errorf("a: %s", got)
		}
		if got := two.heard(); got != "joined a" {
			t.Errorf("b2: %s", got)
		}
		store.reach("b1", true) // it was not
		err := one.stop()
		if err == nil || !strings.Contains(err.Error(), "another node has begun under the name b, at b2:8088") {
			t.Errorf("b1: %v", err)
		}
		seconds(10)
		if a.heard() != "" || !two.Valid() || two.heard() != "" || len(a.List()) != 2 {
			t.Error(a.List())
		}
	})
}

func TestANodeThatSpeaksNoCommonVersionIsRefusedWithASentenceOnBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		a := start(t, side{store, "a"}, "a")
		a.SetStatus(Up)
		seconds(10.5) // not at a beat, or b might have come and gone before a looks
		late := start(t, side{store, "b"}, "b", func(o *Options) { o.Speaks, o.Self.Version = Range{2, 3}, "v2" })
		seconds(3)
		err := late.stop()
		if err == nil || err.Error() != "node a at a:8088 (v1) speaks version 1 of the protocol between nodes, and this one (v2) versions 2 to 3: there is none that both speak; upgrade by way of a release that speaks both" {
			t.Error(err)
		}
		select {
		case <-late.In():
			t.Error("it was a member")
		default:
		}
		_ = a.stop()
		if !strings.Contains(a.log.String(), "a node is refused") || !strings.Contains(a.log.String(), "node=b") || a.heard() != "" {
			t.Error(a.log.String())
		}
		// Where the others are dead it has only to make sure of that.
		store.mu.Lock()
		store.rows["c"] = encode(Member{Name: "c", Status: Up}, Range{1, 1}, 9)
		store.mu.Unlock()
		alone := start(t, side{store, "b"}, "b", func(o *Options) { o.Speaks = Range{2, 3} })
		seconds(1)
		if alone.Check() == nil {
			t.Error("it joined before it could know")
		}
		seconds(6)
		if err := alone.Check(); err != nil {
			t.Error(err)
		}
	})
}

func TestWatchersAreToldAtOnceOfWhatMattersAndElseWithTheBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		a := start(t, side{store, "a"}, "a")
		seconds(2.1)
		var mu sync.Mutex
		var told []string
		stop := a.Watch(func(list []Member) {
			mu.Lock()
			defer mu.Unlock()
			var s []string
			for _, m := range list {
				s = append(s, m.ID+" "+string(m.Status))
			}
			told = append(told, strings.Join(s, ", "))
		})
		b := start(t, side{store, "b"}, "b")
		synctest.Wait()
		b.SetStatus(Up)
		seconds(0.3)
		mu.Lock()
		if want := []string{"a joining", "a joining, b joining", "a joining, b up"}; !slices.Equal(told, want) {
			t.Errorf("%q, want %q", told, want)
		}
		told = nil
		mu.Unlock()
		seconds(30) // nothing changes
		stop()
		if len(told) > 0 {
			t.Errorf("%q", told)
		}
	})
}

func TestANodeAloneIsTheOnlyMemberAndAlwaysValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, nil, "a", func(o *Options) { o.Table, o.Lease = nil, 0 })
		<-a.In()
		a.SetStatus(Up)
		a.freeze(time.Hour)
		seconds(1.5)
		list := a.List()
		if err := a.Check(); err != nil || len(list) != 1 || list[0].Status != Up || list[0].Sessions != 3 || !a.Alive("a") || a.heard() != "" {
			t.Error(err, list)
		}
		if err := a.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRowsThatCannotBeReadArePassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		store.rows["x"], store.rows["y"] = []byte("{"), []byte(`{"beat":1}`)
		a := start(t, side{store, "a"}, "a")
		seconds(1)
		if len(a.List()) != 1 || testutil.ToFloat64(a.counts.passed) != 2 {
			t.Error(a.List())
		}
	})
}

func TestARoomSaysWhatItNeeds(t *testing.T) {
	good := Options{Self: Member{ID: "a", Name: "a"}, Speaks: Range{1, 1}, Now: time.Now, Table: side{}, Lease: time.Second}
	for _, change := range []func(*Options){
		func(o *Options) { o.Self.ID = "" }, func(o *Options) { o.Self.Name = "" }, func(o *Options) { o.Speaks = Range{} },
		func(o *Options) { o.Speaks = Range{2, 1} }, func(o *Options) { o.Now = nil }, func(o *Options) { o.Lease = 0 },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%+v is good", o)
		}
	}
}

// On the table that nodes have, all of this happens as well.
func TestNodesMeetOnTheRealTable(t *testing.T) {
	b, err := bus.Open(t.Context(), bus.Options{Folder: filepath.Join(t.TempDir(), "jetstream"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	store, err := b.Table(t.Context(), "nodes")
	if err != nil {
		t.Fatal(err)
	}
	came, went := make(chan string, 10), make(chan string, 10)
	one := start(t, store, "a", func(o *Options) {
		o.Joined, o.Died = func(m Member) { came <- m.ID }, func(id string) { went <- id }
	})
	await := func(c <-chan string, want string) {
		t.Helper()
		select {
		case got := <-c:
			if got != want {
				t.Fatalf("%s, want %s", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s does not come", want)
		}
	}
	two := start(t, store, "b")
	await(came, "b")
	<-one.In()
	<-two.In()
	if len(one.List()) != 2 || len(two.List()) != 2 {
		t.Error(one.List(), two.List())
	}
	if err := two.stop(); err != nil {
		t.Error(err)
	}
	await(went, "b")
	if err := errors.Join(one.stop()); err != nil {
		t.Error(err)
	}
	if rows, _, _ := store.Get("a"); rows != nil {
		t.Errorf("a row is left: %s", rows)
	}
}
