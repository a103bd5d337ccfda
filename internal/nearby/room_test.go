package nearby

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// memLog is a log in memory that fails on command.
type memLog struct {
	mu      sync.Mutex
	batches [][]byte
	fault   func() (store bool, err error) // nil: none
}

func (l *memLog) Append(_ context.Context, last uint64, batch []byte) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if end := uint64(len(l.batches)); last != end {
		return 0, fmt.Errorf("%w: it ends at %d, not at %d", ErrFenced, end, last)
	}
	store, err := true, error(nil)
	if l.fault != nil {
		store, err = l.fault()
	}
	if store {
		l.batches = append(l.batches, bytes.Clone(batch))
	}
	return uint64(len(l.batches)), err
}

func (l *memLog) Replay(_ context.Context, f func(seq uint64, batch []byte) error) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, b := range l.batches {
		if err := f(uint64(i+1), b); err != nil {
			return 0, err
		}
	}
	return uint64(len(l.batches)), nil
}

func (l *memLog) fails(fault func() (bool, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = fault
}

// rig is rooms of several nodes, and the logs of shards, in memory.
type rig struct {
	t     *testing.T
	ctx   context.Context
	logs  []*memLog
	said  lines
	mu    sync.Mutex
	rooms map[string]*Room
	owner map[int]string
}

// lines counts what is logged.
type lines struct{ n atomic.Int64 }

func (l *lines) Write(line []byte) (int, error) {
	l.n.Add(1)
	return len(line), nil
}

func newRig(t *testing.T, shards int, nodes ...string) *rig {
	r := &rig{t: t, rooms: make(map[string]*Room), owner: make(map[int]string)}
	var end context.CancelFunc
	r.ctx, end = context.WithCancel(t.Context())
	for range shards {
		r.logs = append(r.logs, new(memLog))
	}
	var running sync.WaitGroup
	for _, n := range nodes {
		room, err := New(Options{
			Node: n, Shards: shards, Now: time.Now, Logger: slog.New(slog.NewTextHandler(&r.said, nil)), Limits: Limits{Rate: 1000, portion: 1},
			Logs: func(_ context.Context, shard int) (Log, error) { return r.logs[shard], nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		room.Attach(rigOwners{r, n})
		r.rooms[n] = room
		running.Go(func() { _ = room.Run(r.ctx) }) // which fails in no way
	}
	t.Cleanup(func() {
		end()
		running.Wait()
		for _, room := range r.rooms {
			for shard := range shards {
				room.End(shard)
			}
		}
	})
	return r
}

// keep has a node keep a shard from now on.
func (r *rig) keep(shard int, node string, term uint64) {
	r.t.Helper()
	if err := r.rooms[node].Begin(r.ctx, shard, term); err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	r.owner[shard] = node
	r.mu.Unlock()
	for _, room := range r.rooms {
		room.Moved(shard)
	}
}

// rigOwners is how a node reaches the others.
type rigOwners struct {
	rig  *rig
	node string
}

func (o rigOwners) Request(shard int, request []byte, answer func(reply []byte, err error)) {
	o.rig.mu.Lock()
	to := o.rig.rooms[o.rig.owner[shard]]
	o.rig.mu.Unlock()
	if to == nil {
		answer(nil, errors.New("nobody keeps it"))
		return
	}
	to.Serve(shard, o.node, bytes.Clone(request), answer)
}

func (o rigOwners) Tell(node string, message []byte) {
	o.rig.rooms[node].Told(o.node, bytes.Clone(message))
}

func (o rigOwners) ShardOf(key string) int { return int(key[len(key)-1]) % len(o.rig.logs) }

// outcome waits for what is answered.
func outcome(t *testing.T, ask func(done func(error))) error {
	t.Helper()
	answers := make(chan error, 1)
	ask(func(err error) { answers <- err })
	select {
	case err := <-answers:
		return err
	case <-time.After(time.Minute):
		t.Fatal("there is no answer")
		return nil
	}
}

func (r *rig) put(node, user string, lat float64) {
	r.t.Helper()
	if err := outcome(r.t, func(done func(error)) { r.rooms[node].Put("app", user, Position{Lat: lat}, done) }); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) known(node, user string) (known bool) {
	r.t.Helper()
	if err := outcome(r.t, func(done func(error)) {
		r.rooms[node].Get("app", user, func(_ Position, is bool, err error) { known = is; done(err) })
	}); err != nil {
		r.t.Fatal(err)
	}
	return known
}

// While the log is away positions are taken in all the same, which is said now and then.
func TestALogThatStoresNothingIsSpokenOfNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "a")
		r.keep(0, "a", 1)
		r.logs[0].fails(func() (bool, error) { return false, errors.New("the disk is full") })
		r.put("a", "app-1", 1)
		time.Sleep(time.Minute)
		if n := r.said.n.Load(); n < 2 || n > 7 {
			t.Errorf("in a minute there are %d lines about it", n)
		}
		r.logs[0].fails(nil)
		before := r.said.n.Load()
		time.Sleep(time.Minute)
		if n := r.said.n.Load() - before; n != 1 {
			t.Errorf("afterwards there are %d lines, not one", n)
		}
	})
}

func TestAHideIsAnsweredWhenItIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "a")
		r.keep(0, "a", 1)
		r.put("a", "app-1", 1)
		time.Sleep(2 * time.Second)
		r.logs[0].fails(func() (bool, error) { return false, errors.New("the disk is full") })
		answers := make(chan error, 1)
		r.rooms["a"].Hide("app", "app-1", func(err error) { answers <- err })
		time.Sleep(3 * time.Second)
		if len(answers) > 0 {
			t.Fatalf("it is answered, though it is not stored: %v", <-answers)
		}
		if r.known("a", "app-1") {
			t.Error("he is seen meanwhile")
		}
		r.logs[0].fails(nil)
		time.Sleep(time.Second)
		if len(answers) == 0 || <-answers != nil {
			t.Error("it is not answered, or in vain")
		}
	})
}

func TestAWriteOfWhichNobodyKnowsIsNeitherLostNorAnotherKeepers(t *testing.T) {
	for _, stored := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 1, "a", "b")
			r.keep(0, "a", 1)
			r.put("a", "app-1", 1)
			r.put("a", "app-2", 1)
			time.Sleep(2 * time.Second)
			once := false
			r.logs[0].fails(func() (bool, error) {
				if once {
					return true, nil
				}
				once = true
				return stored, ErrUnknown
			})
			if err := outcome(t, func(done func(error)) { r.rooms["a"].Hide("app", "app-1", done) }); err != nil {
				t.Fatal(err)
			}
			r.put("a", "app-3", 1)
			r.rooms["a"].End(0)
			r.keep(0, "b", 2)
			for user, want := range map[string]bool{"app-1": false, "app-2": true, "app-3": true} {
				if got := r.known("a", user); got != want {
					t.Errorf("%s is seen afterwards: %v", user, got)
				}
			}
		})
	}
}

func TestAKeeperWhomAnotherHasReplacedAnswersNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "a", "b")
		r.keep(0, "a", 1)
		r.put("a", "app-1", 1)
		time.Sleep(2 * time.Second)
		r.keep(0, "b", 2)
		time.Sleep(2 * time.Second)
		if err := outcome(t, func(done func(error)) { r.rooms["a"].Hide("app", "app-1", done) }); err == nil && r.known("b", "app-1") {
			t.Error("it says that he is hidden, and he is seen")
		}
		time.Sleep(2 * time.Second)
		r.put("b", "app-2", 1)
		if !r.known("a", "app-2") {
			t.Error("it knows better than who keeps the shard")
		}
	})
}

func TestAQueryOfWhichAPartDoesNotComeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, "a", "b")
		r.keep(0, "a", 1)
		r.keep(1, "b", 1)
		r.put("a", "app-0", 0)
		r.put("a", "app-1", 0.001)
		var got Answer
		near := func(done func(error)) {
			r.rooms["a"].Near("app", View{Radius: 1000}, 10, func(a Answer, err error) { got = a; done(err) })
		}
		if err := outcome(t, near); err != nil || got.Total != 2 || names(got.Users) != "app-0,app-1" {
			t.Errorf("%+v, %v", got, err)
		}
		r.mu.Lock()
		r.owner[1] = ""
		r.mu.Unlock()
		if err := outcome(t, near); err == nil || len(got.Users) != 0 {
			t.Errorf("without one keeper: %+v", got)
		}
	})
}

func TestASessionSeesUsersWhoseKeepersAreOnOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, "a", "b", "c")
		r.keep(0, "a", 1)
		r.keep(1, "b", 1)
		r.put("a", "app-0", 0)
		heard := make(chan string, 100)
		s := r.rooms["c"].Open("app", teller{heard})
		if err := s.Watch("w", View{Radius: 1000}, nil); err != nil {
			t.Fatal(err)
		}
		expect := func(want string) {
			t.Helper()
			select {
			case got := <-heard:
				if got != want {
					t.Fatalf("it hears %q, not %q", got, want)
				}
			case <-time.After(300 * time.Millisecond):
				t.Fatalf("it does not hear %q", want)
			}
		}
		expect("answer app-0")
		r.put("b", "app-1", 0)
		expect("enter app-1")
		r.rooms["a"].End(0)
		r.keep(0, "c", 2) // which knows what was stored
		r.put("a", "app-0", 1)
		expect("leave app-0")
		r.put("a", "app-1", 0.001)
		expect("move app-1")
		s.Close()
	})
}

func TestAKeeperWhoIsAskedForMuchDoesNotPauseInBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "a")
		r.keep(0, "a", 1)
		heard := make(chan string, 100)
		s := r.rooms["a"].Open("app", teller{heard})
		began := time.Now()
		for i := range 8 {
			if err := s.Watch(fmt.Sprint(i), View{Lat: float64(i), Radius: 1000}, nil); err != nil {
				t.Fatal(err)
			}
		}
		for range 8 {
			<-heard
		}
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("all is answered after %s", took)
		}
		s.Close()
	})
}

// teller is an outlet that tells what it heard.
type teller struct{ heard chan string }

func (o teller) Answer(_ string, a Answer, _ []byte) bool {
	o.heard <- "answer " + names(a.Users)
	return true
}
func (o teller) Enter(_ string, users []User) bool { o.heard <- "enter " + names(users); return true }
func (o teller) Move(_ string, users []User) bool  { o.heard <- "move " + names(users); return true }
func (o teller) Leave(_ string, users []string) bool {
	o.heard <- "leave " + fmt.Sprint(users[0])
	return true
}
func (o teller) Cells(string, []Cell) bool          { return true }
func (o teller) Trouble(string, []byte, error) bool { o.heard <- "trouble"; return true }
