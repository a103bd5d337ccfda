package mailbox

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// nobody is an outlet for benchmarks of the core, which does not perform effects.
type nobody struct{}

func (nobody) Deliver(Delivery) {}
func (nobody) FetchDone(int)    {}
func (nobody) Settled(uint64)   {}
func (nobody) Opened(uint64)    {}

var benchLimits = Limits{Age: 720 * time.Hour, Messages: 10_000, Bytes: 64 << 20}

// bench is a core whose log is a slice, without any check.
type bench struct {
	*core
	now     time.Time
	batches [][]byte
	first   uint64
}

func newBench() *bench {
	b := &bench{now: time.Unix(1_700_000_000, 0), first: 1}
	b.core = newCore(wire.ID{}, benchLimits, rand.Reader, defaultTuning())
	b.takeOver(0, 1)
	b.store()
	return b
}

// store stores everything that is collected, until there is no more.
func (b *bench) store() {
	for {
		_, batch := b.journal.next()
		if batch == nil {
			return
		}
		b.batches = append(b.batches, batch)
		b.stored(b.now, b.journal.last+1)
		if b.purge > 0 {
			for ; b.first < b.purge; b.first++ {
				b.batches[b.first-1] = nil
			}
			b.purge = 0
		}
	}
}

func (b *bench) forgetEffects() {
	clear(b.effects)
	b.effects = b.effects[:0]
}

func (b *bench) message(from, to wire.UserID, size int) *Message {
	return &Message{From: from, To: []wire.UserID{to}, Frame: make([]byte, size), Receipt: true}
}

func benchUser(i int) wire.UserID { return wire.UserID(fmt.Sprintf("ANZ-%d", i)) }

// The whole life of a message in the core: accepted, stored, handed over,
// proved, and its proof stored, 100 in a batch, to 100 receivers. What knows of
// other domains costs a message nothing that stays here; one that came over a road
// has that in the log.
func BenchmarkLife(b *testing.B) {
	for _, kind := range []string{"plain", "confirm", "domains", "road"} {
		b.Run(kind, func(b *testing.B) { benchLife(b, kind) })
	}
}

func benchLife(b *testing.B, kind string) {
	const round = 100
	w := newBench()
	if kind == "domains" || kind == "road" {
		w.isLink, w.abroad = isLink, abroad
	}
	ids := make([]wire.ID, round)
	done := make([]uint64, round)
	for i := range ids {
		ids[i], _ = wire.NewID(w.now, rand.Reader)
		w.open(w.now, Session{ID: ids[i], User: benchUser(i), Outlet: nobody{}})
	}
	w.store()
	w.forgetEffects()
	messages := make([]*Message, b.N)
	for i := range messages {
		m := w.message(benchUser((i+1)%round), benchUser(i%round), 200)
		switch kind {
		case "confirm":
			m.Reference, m.Confirm = []byte(`"0123456789"`), true
		case "road":
			m.ID, _ = wire.NewID(w.now, rand.Reader)
			m.Via, m.Place, m.Low = "domain-02/0199a3e27c1b", uint64(i+1), uint64(max(i-1000, 1))
		}
		messages[i] = m
	}
	b.ReportAllocs()
	b.ResetTimer()
	for len(messages) > 0 {
		n := min(round, len(messages))
		for _, m := range messages[:n] {
			w.accept(w.now, m)
		}
		messages = messages[n:]
		w.store()
		for k := range w.effects {
			if e := &w.effects[k]; e.kind == effDeliver {
				done[0]++
			}
		}
		w.forgetEffects()
		for i, id := range ids {
			if s := w.sessions[id]; s.nextN > 1 {
				w.proof(w.now, ids[i], s.nextN-1)
			}
		}
		w.store()
		w.forgetEffects()
	}
}

// fill puts n messages of size bytes into the mailboxes of that many users.
func (b *bench) fill(n, size, users int) {
	for i := range n {
		b.accept(b.now, b.message("ANZ-0", benchUser(1+i%users), size))
		b.forgetEffects()
		if i%512 == 0 {
			b.store()
		}
	}
	b.store()
	b.forgetEffects()
}

func replayAll(tb testing.TB, batches [][]byte) *core {
	tb.Helper()
	last := len(batches)
	trim, ord, err := openBatch(batches[last-1])
	if err != nil {
		tb.Fatal(err)
	}
	c := newCore(wire.ID{}, benchLimits, rand.Reader, defaultTuning())
	for seq := int(trim); seq <= last; seq++ {
		if err := c.replay(uint64(seq), batches[seq-1]); err != nil {
			tb.Fatal(err)
		}
	}
	c.takeOver(uint64(last), ord)
	return c
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A start with a million waiting messages of 200 bytes, in mailboxes of 1000,
// of 10, and of one.
func BenchmarkReplay(b *testing.B) {
	const n = 1_000_000
	for _, users := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			w := newBench()
			w.fill(n, 200, users)
			batches := w.batches
			w = nil
			before := heapBytes()
			b.ReportAllocs()
			b.ResetTimer()
			var c *core
			for range b.N {
				c = replayAll(b, batches)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/message")
			b.ReportMetric(float64(heapBytes()-before)/n, "B/message")
			if c.counts.waiting != n {
				b.Fatalf("%d messages wait", c.counts.waiting)
			}
			runtime.KeepAlive(batches)
		})
	}
}

// A start in the middle of copying forward: half of each of 100 full mailboxes
// stands behind the other half.
func BenchmarkReplayCopied(b *testing.B) {
	const users, each = 100, 10_000
	w := newBench()
	w.fill(users*each, 200, users)
	for seq := uint64(2); w.counts.copied < users*each/2; seq++ {
		w.copyForward(seq, w.batches[seq-1])
		w.store()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		replayAll(b, w.batches)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(users*each), "ns/message")
}

// A mailbox of 10 000 messages among those of 99 others is fetched from a log
// that is not in memory.
func BenchmarkFetchCold(b *testing.B) {
	const users, each = 100, 10_000
	w := newBench()
	w.fill(users*each, 200, users)
	batches := w.batches
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		b.StopTimer()
		c := replayAll(b, batches)
		c.held = false
		id, _ := wire.NewID(w.now, rand.Reader)
		c.open(w.now, Session{ID: id, User: benchUser(1 + i%users), Outlet: nobody{}})
		s := c.sessions[id]
		b.StartTimer()
		for s.nextN <= each {
			if len(s.fetches) == 0 {
				c.fetch(w.now, id, 2000)
			}
			for len(c.reads) > 0 {
				reads := c.reads
				c.reads = nil
				for _, seq := range reads {
					c.loaded(w.now, seq, batches[seq-1])
				}
			}
			c.proof(w.now, id, s.nextN-1)
			clear(c.effects)
			c.effects = c.effects[:0]
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/each, "ns/message")
}
