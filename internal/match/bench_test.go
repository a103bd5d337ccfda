package match

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// crowd is a core with many who wait, none of whom fits another.
type crowd struct {
	core  *core
	now   time.Time
	draw  func(i int) entry // two with the same i fit each other, and nobody else
	chaos *rand.ChaCha8
	next  int
	free  []int // those who wait
	seq   uint64
}

func newCrowd(draw func(i int) entry) *crowd {
	c := &crowd{draw: draw, chaos: rand.NewChaCha8([32]byte{1}), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	c.core = newCore(0, 1, Limits{Tickets: 1e9, Matches: 1e9, Timeout: time.Hour, GestureWindow: time.Hour}, c.chaos, c.now, defaultTuning())
	c.core.begin(c.now, nil)
	_, _ = c.core.take(c.now, "n", append(appendRequestHeader(nil, 1, true), cmdSynced))
	return c
}

// enter has one come who fits those with the same number, and returns its ticket.
func (c *crowd) enter(b testing.TB, i, size int) wire.ID {
	e := c.draw(i)
	e.id, _ = wire.NewID(c.now, c.chaos)
	e.pool, e.device, e.min, e.max = Pool{"app", "pool"}, "device-"+e.id.String(), size, size
	c.now = c.now.Add(10 * time.Microsecond)
	if _, err := c.core.take(c.now, "n", appendEntry(appendRequestHeader(nil, 1, false), &e)); err != nil {
		b.Fatal(err)
	}
	c.core.now = nil
	return e.id
}

// settle has what was made stored.
func (c *crowd) settle() {
	for {
		if _, batch := c.core.journal.next(); batch == nil {
			return
		}
		c.seq++
		c.core.landed(c.seq)
	}
}

// fill has n wait.
func (c *crowd) fill(b testing.TB, n int) {
	for range n {
		c.enter(b, c.next, 2)
		c.free = append(c.free, c.next)
		c.next++
	}
	if c.core.waiting != n {
		b.Fatalf("%d wait, not %d", c.core.waiting, n)
	}
}

func criteria() map[string]func(i int) entry {
	return map[string]func(i int) entry{
		"key": func(i int) entry { return entry{request: request{key: fmt.Sprint("room ", i)}} },
		// Places all over the Earth, a few kilometres apart, and a radius of 100 m.
		"place": func(i int) (e entry) {
			e.located, e.radius, e.nearest = true, 100, true
			e.request.at = Point{float64(i%1601)/10.01 - 80, float64(i/1601*37%3600)/10 - 180}
			return e
		},
		// A level of one's own that only those of about the same level want.
		"level": func(i int) (e entry) {
			l := float64(i) * 10
			e.props.list = []property{{name: "level", num: l}}
			e.query.list = []demand{{name: "level", min: l - 3, max: l + 3}}
			return e
		},
		// The same, beside a mode and a language.
		"properties": func(i int) (e entry) {
			l, mode := float64(i/4)*10, []string{"a", "b", "c", "d"}[i%4]
			e.props.list = []property{{name: "langs", kind: isSet, set: []string{"de", "en"}}, {name: "level", num: l}, {name: "mode", kind: isString, str: mode}}
			e.query.list = []demand{
				{name: "langs", kind: hasAny, strs: []string{"de"}},
				{name: "level", min: l - 3, max: l + 3},
				{name: "mode", kind: inStrings, strs: []string{mode}},
			}
			return e
		},
		// A language of one's own, and who speaks it.
		"set": func(i int) (e entry) {
			lang := []string{fmt.Sprint("l", i)}
			e.props.list = []property{{name: "langs", kind: isSet, set: lang}}
			e.query.list = []demand{{name: "langs", kind: hasAny, strs: lang}}
			return e
		},
		// All are in one place and would take anybody of their level; a level is wanted by
		// others who are near it.
		"near": func(i int) (e entry) {
			e.located, e.radius = true, 10_000
			e.request.at = Point{52, 13 + float64(i%100)/1000}
			l := float64(i) * 10
			e.props.list = []property{{name: "level", num: l}}
			e.query.list = []demand{{name: "level", min: l - 3, max: l + 3}}
			return e
		},
	}
}

// BenchmarkMatch makes one match a turn while others wait: somebody comes who fits one
// of them, and another one takes its place.
func BenchmarkMatch(b *testing.B) {
	for _, name := range []string{"key", "place", "level", "properties", "set", "near"} {
		for _, n := range []int{10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				c := newCrowd(criteria()[name])
				c.fill(b, n)
				random := rand.New(rand.NewPCG(1, 2))
				made := c.core.counts.made
				b.ReportAllocs()
				b.ResetTimer()
				turns := 0
				for b.Loop() {
					at := random.IntN(n)
					c.enter(b, c.free[at], 2)
					c.enter(b, c.next, 2)
					c.free[at] = c.next
					c.next++
					if turns++; turns%100 == 0 {
						c.settle()
					}
				}
				b.StopTimer()
				if got := c.core.counts.made - made; got != uint64(turns) {
					b.Fatalf("%d matches in %d turns", got, turns)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "matches/s")
			})
		}
	}
}

// BenchmarkGroup makes groups of four of those who come one after another, while others
// wait whom they do not fit.
func BenchmarkGroup(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := newCrowd(criteria()["level"])
			c.fill(b, n)
			b.ReportAllocs()
			turns := 0
			for b.Loop() {
				i := n + turns
				for range 4 {
					c.enter(b, i, 4)
				}
				if turns++; turns%100 == 0 {
					c.settle()
				}
			}
			if c.core.counts.made != uint64(turns) {
				b.Fatalf("%d matches in %d turns", c.core.counts.made, turns)
			}
		})
	}
}

// BenchmarkNoGroup has somebody come whom half of those who wait fit, but no two of
// these fit each other.
func BenchmarkNoGroup(b *testing.B) {
	sides := func(i int) (e entry) {
		mode, other := []string{"a", "b"}[i%2], []string{"b", "a"}[i%2]
		e.props.list = []property{{name: "mode", kind: isString, str: mode}}
		e.query.list = []demand{{name: "mode", kind: inStrings, strs: []string{other}}}
		return e
	}
	c := newCrowd(sides)
	for i := range 10_000 {
		c.enter(b, i, 3)
	}
	b.ResetTimer()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.enter(b, i, 3)
	}
}
