package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is a time that is not to pass.
const patience = time.Minute

// shared is a table that several rooms share, in bubbles of synctest, where the real one
// cannot be.
type shared struct {
	mu       sync.Mutex
	rows     map[string]sharedRow
	seq      uint64
	watchers []func(string, []byte)
	before   func(key string) // a removal, once
	err      error            // of removals
	removed  int              // rows, by Remove
}

type sharedRow struct {
	b   []byte
	seq uint64
}

func newShared() *shared { return &shared{rows: map[string]sharedRow{}} }

func (s *shared) set(key string, row []byte) {
	s.seq++
	s.rows[key] = sharedRow{row, s.seq}
	if row == nil {
		delete(s.rows, key)
	}
	for _, f := range s.watchers {
		f(key, row)
	}
}

func (s *shared) Put(_ context.Context, key string, row []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(key, row)
	return nil
}

func (s *shared) Delete(ctx context.Context, key string) error { return s.Put(ctx, key, nil) }

func (s *shared) Get(key string) ([]byte, uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.rows[key]
	return r.b, r.seq, ok
}

func (s *shared) Remove(_ context.Context, key string, revision uint64) error {
	s.mu.Lock()
	before, err := s.before, s.err
	s.before = nil
	s.mu.Unlock()
	if before != nil {
		before(key)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows[key].seq != revision {
		return bus.ErrChanged
	}
	s.removed++
	s.set(key, nil)
	return nil
}

func (s *shared) Watch(f func(string, []byte)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, r := range s.rows {
		f(key, r.b)
	}
	s.watchers = append(s.watchers, f)
	return func() {}
}

// start runs a room until the test ends, or stop is called.
func start(t *testing.T, table Table, change ...func(*Options)) (r *Room, stop func()) {
	t.Helper()
	o := Options{Table: table, Now: time.Now, Max: func() int { return 10 }}
	for _, f := range change {
		f(&o)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		r.Close()
	})
	t.Cleanup(stop)
	return r, stop
}

func register(t testing.TB, r *Room, name string, ttl time.Duration) Instance {
	t.Helper()
	i, _, err := r.Register(t.Context(), Instance{Service: "orders", Name: name, URL: "http://10.0.0.7:8080", TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func names(list []Instance) string {
	var all []string
	for _, i := range list {
		all = append(all, i.Name)
	}
	return strings.Join(all, " ")
}

func TestAnInstanceIsGoneAtAllNodesWhenItIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newShared()
		var rooms []*Room
		for range 3 {
			r, stop := start(t, table)
			defer stop()
			rooms = append(rooms, r)
		}
		register(t, rooms[0], "short", 2*time.Second)
		register(t, rooms[1], "long", 30*time.Second)
		at := time.Duration(0)
		for _, step := range []struct {
			at    time.Duration
			renew bool
			want  string
		}{
			{1900 * time.Millisecond, true, "long short"}, {3800 * time.Millisecond, false, "long short"}, {4300 * time.Millisecond, false, "long"},
			{29 * time.Second, false, "long"}, {31 * time.Second, false, ""},
		} {
			time.Sleep(step.at - at) // of the bubble's clock
			at = step.at
			synctest.Wait()
			for n, r := range rooms {
				if got := names(r.List("orders")); got != step.want {
					t.Fatalf("after %s node %d lists %q, want %q", step.at, n, got, step.want)
				}
			}
			if step.renew {
				register(t, rooms[2], "short", 2*time.Second) // at whichever node
			}
		}
		if len(table.rows) > 0 || table.removed != 2 {
			t.Errorf("%d rows are left, %d removed", len(table.rows), table.removed)
		}
	})
}

func TestARenewalThatComesWhileItsRowIsRemovedStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newShared()
		r, stop := start(t, table)
		defer stop()
		was := register(t, r, "a", time.Second)
		var again Instance
		table.mu.Lock()
		table.before = func(string) { again = register(t, r, "a", 10*time.Second) }
		table.mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		table.mu.Lock()
		defer table.mu.Unlock()
		if table.before != nil || table.removed > 0 || names(r.List("orders")) != "a" || !again.Since.After(was.Since) {
			t.Errorf("%d removed, listed %v, was %v", table.removed, r.List("orders"), was)
		}
	})
}

func TestWhatIsOverIsListedNoMoreThoughItsRowCannotBeRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newShared()
		r, stop := start(t, table)
		defer stop()
		register(t, r, "a", time.Second)
		table.mu.Lock()
		table.err = errors.New("the disk is full")
		table.mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if list := r.List(""); len(list) > 0 || len(table.rows) != 1 {
			t.Errorf("listed %v, %d rows", list, len(table.rows))
		}
		table.mu.Lock()
		table.err = nil
		table.mu.Unlock()
		time.Sleep(again)
		synctest.Wait()
		if len(table.rows) > 0 {
			t.Error("its row is still there")
		}
	})
}

func TestWhileANodeIsCutOffNoTimeCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		valid := true
		r, stop := start(t, newShared(), func(o *Options) {
			o.Valid = func() bool {
				mu.Lock()
				defer mu.Unlock()
				return valid
			}
		})
		defer stop()
		set := func(v bool) {
			mu.Lock()
			defer mu.Unlock()
			valid = v
		}
		register(t, r, "a", 4*time.Second)
		time.Sleep(3 * time.Second)
		set(false)
		time.Sleep(time.Hour)
		set(true)
		time.Sleep(1900 * time.Millisecond) // half of its time is left, at least
		synctest.Wait()
		if names(r.List("")) != "a" {
			t.Error("an instance is over for time in which it could not be heard of")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(r.List("")) > 0 {
			t.Error("it is not over")
		}
	})
}

func TestTooManyAreRefusedAndRenewalsNever(t *testing.T) {
	r, _ := start(t, newShared())
	for n := range 10 {
		register(t, r, fmt.Sprint("i", n), time.Minute)
	}
	one := Instance{Service: "orders", Name: "more", URL: "http://h:1"}
	if _, _, err := r.Register(t.Context(), one); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	register(t, r, "i3", time.Minute)
	if err := r.Remove(t.Context(), "orders", "i3"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Register(t.Context(), one); err != nil {
		t.Error(err)
	}
	many, _ := start(t, newShared(), func(o *Options) { o.Max = func() int { return 10_000 } })
	for n := range MaxServices {
		if _, _, err := many.Register(t.Context(), Instance{Service: fmt.Sprint("s", n), Name: "a", URL: "http://h:1"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := many.Register(t.Context(), one); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	if _, _, err := many.Register(t.Context(), Instance{Service: "s0", Name: "b", URL: "http://h:1"}); err != nil {
		t.Error(err)
	}
}

func TestRowsThatNoNodeWroteAreNotListed(t *testing.T) {
	table := newShared()
	r, _ := start(t, table)
	good := Instance{Service: "orders", Name: "a", URL: "http://h:1", Weight: 1, TTL: time.Minute}
	for _, change := range []func(*Instance){
		func(i *Instance) { i.URL = "javascript:alert(1)" }, func(i *Instance) { i.Service = "<b>" }, func(i *Instance) { i.TTL = 1 << 60 },
		func(i *Instance) { i.Weight = 0 }, func(i *Instance) { i.Service = Nodes },
	} {
		bad := good
		change(&bad)
		if err := table.Put(t.Context(), keyOf(bad.Service, bad.Name), encode(bad)); err != nil {
			t.Fatal(err)
		}
		if list := r.List(""); len(list) > 0 {
			t.Errorf("listed %v", list)
		}
	}
	_ = table.Put(t.Context(), "another", encode(good))
	_ = table.Put(t.Context(), keyOf("orders", "a"), []byte(`{"v":2}`))
	if list := r.List(""); len(list) > 0 {
		t.Errorf("listed %v", list)
	}
}

func TestWhatIsRegisteredSurvivesARestartOfTheRealStore(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "jetstream")
	open := func() (*Room, func()) {
		b, err := bus.Open(t.Context(), bus.Options{Folder: folder, Logger: slog.New(slog.DiscardHandler), CallTimeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		table, err := b.Table(t.Context(), "services")
		if err != nil {
			t.Fatal(err)
		}
		r, stop := start(t, table)
		return r, func() {
			stop()
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	r, stop := open()
	stays, goes := register(t, r, "stays", time.Hour), register(t, r, "goes", time.Second)
	stop()
	r, stop = open()
	defer stop()
	var told []string
	var mu sync.Mutex
	defer r.Watch(func(service string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, service)
	})()
	if list := r.List("orders"); !slices.EqualFunc(list, []Instance{goes, stays}, Instance.equal) && !slices.EqualFunc(list, []Instance{stays}, Instance.equal) {
		t.Errorf("listed %v", list)
	}
	for late := time.Now().Add(patience); ; time.Sleep(tickTime / 5) {
		_, _, row := r.opts.Table.Get(keyOf("orders", "goes"))
		if !row && names(r.List("")) == "stays" {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("listed %v", r.List(""))
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(told, []string{"orders"}) {
		t.Errorf("told %v", told)
	}
}

func TestAFileOfStaticInstancesIsReadOrRefusedWithAllThatIsWrong(t *testing.T) {
	good, err := parse("s.yaml", []byte(`
services:
  orders:
    - {instance: orders-1, url: "http://10.0.0.7:8080", weight: 2, meta: {health: /healthz}}
    - {instance: orders-2, url: "https://10.0.0.8"}
  bills: []
`), 10)
	want := []Instance{
		{Service: "orders", Name: "orders-1", URL: "http://10.0.0.7:8080", Weight: 2, Meta: map[string]string{"health": "/healthz"}, Source: Static},
		{Service: "orders", Name: "orders-2", URL: "https://10.0.0.8", Weight: 1, Source: Static},
	}
	if err != nil || !slices.EqualFunc(good, want, Instance.equal) {
		t.Errorf("%v, %v", good, err)
	}
	for _, empty := range []string{"", "# nothing\n", "services: {}", "null"} {
		if list, err := parse("s.yaml", []byte(empty), 10); err != nil || len(list) > 0 {
			t.Errorf("%q: %v, %v", empty, list, err)
		}
	}
	_, err = parse("s.yaml", []byte(`services:
  orders:
    - {instance: a, url: "ftp://h", weight: 0}
    - {instance: a, url: "http://h:1", wait: 2}
    - url: http://u:p@h
      meta: {a: [1]}
  switchboard:
    - {instance: n, url: "http://h"}
  "a\nb": x
  bills: &b []
service: 1
`), 10)
	const problems = `s.yaml:3: services.orders[0].url: must be an address such as http://10.0.0.7:8080: http or https, a host, and maybe a port and a path
s.yaml:3: services.orders[0].weight: must be a whole number from 1 to 100
s.yaml:4: services.orders[1].wait: is no key here; there are instance, url, weight, meta
s.yaml:4: services.orders[1].instance: a is the name of another, in line 3
s.yaml:6: services.orders[2].meta.a: must be text
s.yaml:5: services.orders[2].instance: must have 1 to 64 characters
s.yaml:5: services.orders[2].url: must not carry a user name or a password: everybody who may look at services sees it
s.yaml:7: services.switchboard: must not be switchboard: so the nodes call themselves
s.yaml:9: services."a\nb": must be letters, digits, '-', '_' and '.', and begin with a letter or a digit
s.yaml:9: services."a\nb": must be a list of instances
s.yaml:10: services.bills: must be written out, without & and *
s.yaml:11: service: is no key here; there are services`
	var all config.Problems
	if !errors.As(err, &all) || !sameLines(all.Error(), problems) {
		t.Errorf("got\n%v\nwant\n%s", err, problems)
	}
	for text, want := range map[string]string{
		"services: [": "s.yaml:1: not YAML", "a: b\n---\nc: d": "a second document", "services:\n  a:\n    - {instance: a, url: http://h}\n    - {instance: b, url: http://h}": "s.yaml:4: services.a: there are more than 1",
		strings.Repeat("#", MaxFile+1): "has more than", "[1, 2]": "s.yaml:1: must be a mapping",
	} {
		if _, err := parse("s.yaml", []byte(text), 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none"), 1); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func sameLines(a, b string) bool {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("services: {orders: [{instance: a, url: http://h, meta: {health: /h}}]}"))
	f.Add([]byte("services: &a {orders: *a}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		list, err := parse("s.yaml", content, 100)
		if err != nil && strings.Contains(err.Error(), "\n\n") {
			t.Errorf("%q", err)
		}
		for _, i := range list {
			i.TTL = DefaultTTL
			if wrong := i.Check(); wrong != nil {
				t.Errorf("%v: %v", i, wrong)
			}
		}
	})
}
