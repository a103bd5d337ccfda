package traffic

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatIsCountedIsSummedUpOnceByAppCapabilityAndDomain(t *testing.T) {
	now := time.UnixMilli(began)
	m := NewMeters(func() time.Time { return now })
	var all sync.WaitGroup
	for range 50 {
		a, b := m.Counter("a", "d"), m.Counter("b", "d")
		all.Go(func() {
			for n := range 100 {
				a.Count(Message, n)
				a.Count(Chat, 7)
				b.Count(Link, 1000)
			}
		})
	}
	all.Wait()
	now = now.Add(time.Second)
	list := m.Take()
	if len(list) != 3 {
		t.Fatalf("%d sums, want 3: %+v", len(list), list)
	}
	for i, want := range []struct {
		key              Key
		count, sum, most uint64
	}{
		{Key{Type: Delivered, App: "a", Capability: "chat", Domain: "d"}, 5000, 35_000, 7},
		{Key{Type: Delivered, App: "a", Capability: "message", Domain: "d"}, 5000, 50 * 4950, 99},
		{Key{Type: Delivered, App: "b", Capability: "link", Domain: "d"}, 5000, 5_000_000, 1000},
	} {
		e := list[i]
		if e.Key != want.key || e.Sums.Count != want.count || e.Sums.Sum != want.sum || e.Sums.Max != want.most || e.Amount != want.sum {
			t.Errorf("%+v %+v, want %+v", e.Key, *e.Sums, want)
		}
		if e.At != began || e.Sums.First != began || e.Sums.Last != began {
			t.Errorf("counted at %d, want the beginning of its second", e.At)
		}
	}
	if again := m.Take(); len(again) > 0 {
		t.Errorf("counted twice: %+v", again)
	}
	var none *Counter
	none.Count(Message, 1)
}

func TestSumsAreGivenOnceASecondAndOnlyIfThereAreAny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMeters(nil)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var got []Event
		times := 0
		go func() {
			if err := m.Run(ctx, func(list []Event) { got = append(got, list...); times++ }); err != nil {
				t.Error(err)
			}
		}()
		c := m.Counter("a", "")
		for range 3 {
			c.Count(Message, 10)
			time.Sleep(1500 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		var count uint64
		for _, e := range got {
			count += e.Sums.Count
		}
		if count != 3 || times != 3 {
			t.Errorf("%d messages in %d calls, want 3 in 3", count, times)
		}
	})
}

func BenchmarkCount(b *testing.B) {
	m := NewMeters(nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c := m.Counter("a", "d")
		for i := 0; pb.Next(); i++ {
			c.Count(Message, 900+i%200)
		}
	})
}
