package nearby

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestUsersAreFoundAndExpireAsInAModel compares the two tables of a crowd, in which
// slots are used again, with plain maps.
func TestUsersAreFoundAndExpireAsInAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const ttl = 5000
		w := newCrowd("app", ttl*time.Millisecond)
		taken := make(map[int64]int64)
		now := int64(1_000_000)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "time") {
				now += rapid.Int64Range(0, ttl/2).Draw(t, "passes")
				expire(t, w, taken, now, ttl)
				continue
			}
			user := rapid.Int64Range(0, 60).Draw(t, "user")
			slot := w.slots.of(w, user)
			if _, known := taken[user]; known != (slot != 0) {
				t.Fatalf("user %d is known: %v, his slot is %d", user, known, slot)
			}
			if slot == 0 {
				slot = w.add(user)
			}
			w.heard(slot, w.at(slot), now)
			taken[user] = now
		}
		if w.slots.len() != len(taken) {
			t.Fatalf("%d users are known, want %d", w.slots.len(), len(taken))
		}
		expire(t, w, taken, now+ttl, ttl)
		if _, ok := w.dues.next(w); ok || w.slots.len() != 0 {
			t.Fatalf("%d users are left when all have expired", w.slots.len())
		}
	})
}

// expire has those expire whose time is over, and nobody else: the oldest news first.
func expire(t *rapid.T, w *crowd, taken map[int64]int64, now, ttl int64) {
	t.Helper()
	last := int64(0)
	for slot := w.dues.take(w, now); slot != 0; slot = w.dues.take(w, now) {
		e := w.at(slot)
		if heard, known := taken[e.user]; !known || heard != e.taken || heard+ttl > now || heard < last {
			t.Fatalf("at %d user %d expires, of whom there was news at %d: %v; the one before at %d", now, e.user, heard, known, last)
		}
		last = e.taken
		delete(taken, e.user)
		w.remove(slot)
	}
	next, ok := w.dues.next(w)
	if ok != (len(taken) > 0) || ok && next <= now {
		t.Fatalf("at %d the next expires at %d: %v, and there are %d", now, next, ok, len(taken))
	}
	for user, heard := range taken {
		if heard+ttl <= now || heard+ttl < next {
			t.Fatalf("at %d user %d is there, of whom there was news at %d; next is %d", now, user, heard, next)
		}
	}
}

// There may be very many apps of which hardly anybody says where he is.
func TestAnAppWithOneUserTakesLittleMemory(t *testing.T) {
	const apps, most = 1000, 8 << 10
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := newCore(0, Limits{})
	for i := range apps {
		app := fmt.Sprint("app", i)
		if err := c.put(start, app, app+"-1", Position{}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (after.HeapAlloc - before.HeapAlloc) / apps; each > most {
		t.Errorf("each takes %d bytes", each)
	}
	runtime.KeepAlive(c)
}

// BenchmarkPutOfApps has users of many apps say where they are: how many there are must
// make no difference.
func BenchmarkPutOfApps(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			now := start
			o := &owner{room: &Room{opts: Options{Now: func() time.Time { return now }}}, core: newCore(0, Limits{}), wake: make(chan struct{}, 1)}
			apps := make([]string, n)
			for i := range apps {
				apps[i] = fmt.Sprint("app", i)
			}
			put := func(i int) {
				app := apps[i%n]
				now = now.Add(time.Second)
				var err error
				if !o.do(func(c *core, now time.Time) {
					err = c.put(now, app, app+"-7", Position{Lat: rand.Float64(), At: now})
				}) || err != nil {
					b.Fatal("nothing is taken in", err)
				}
			}
			for i := range n {
				put(i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				put(i)
			}
		})
	}
}
