package domains_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

func TestAWatcherIsToldAtOnceAndOfEachChange(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	r := newRig(t, options(t, m.url()))
	early := make(chan uint64, 10)
	r.s.Watch(func(n *domains.Network) { early <- n.Version })
	if len(early) != 0 {
		t.Error("told before there was any")
	}
	r.run()
	r.untilVersion(5)
	late := make(chan uint64, 10)
	stop := r.s.Watch(func(n *domains.Network) { late <- n.Version })
	if len(late) != 1 {
		t.Errorf("told %d times at once", len(late))
	}
	m.serves(described(t, 6, 2))
	for _, told := range []chan uint64{early, late} {
		for _, want := range []uint64{5, 6} {
			select {
			case version := <-told:
				if version != want {
					t.Errorf("told of %d, want %d", version, want)
				}
			case <-time.After(patience):
				t.Fatalf("not told of %d", want)
			}
		}
	}
	stop()
	m.serves(described(t, 7, 1))
	if version := <-early; version != 7 || len(late) != 0 {
		t.Errorf("told of %d; who had stopped was told %d times more", version, len(late))
	}
}

func TestAWatcherIsToldOneAtATimeAndNeverOfAnOlderOne(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	r := newRig(t, options(t, m.url()))
	r.run()
	r.untilVersion(5)
	const last = 40
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			var mu sync.Mutex
			var told []uint64
			done := make(chan struct{})
			stop := r.s.Watch(func(n *domains.Network) {
				if !mu.TryLock() {
					t.Error("told twice at once")
					return
				}
				defer mu.Unlock()
				told = append(told, n.Version)
				if n.Version == last {
					close(done)
				}
			})
			select {
			case <-done:
			case <-time.After(patience):
				t.Error("not told of the last")
			}
			stop()
			mu.Lock()
			defer mu.Unlock()
			if !slices.IsSorted(told) || len(slices.Compact(slices.Clone(told))) != len(told) {
				t.Errorf("told of %v", told)
			}
		})
	}
	for v := uint64(6); v <= last; v++ {
		m.serves(described(t, v, int(v)%3))
		r.untilVersion(v)
	}
	all.Wait()
}

func TestAWatcherMayStopItself(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	r := newRig(t, options(t, m.url()))
	var stop func()
	calls := 0
	stop = r.s.Watch(func(*domains.Network) {
		calls++
		stop()
	})
	run := r.run()
	r.untilVersion(5)
	m.serves(described(t, 6, 2))
	r.untilVersion(6)
	run()
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}
