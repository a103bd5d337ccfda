package stats

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// life is one run of a node, as it would say it: what it counted, what it has now.
type life struct {
	id    string
	began time.Duration // after whoever listens, if it is above 0
	is    report
	said  []report // on the way
	gone  bool

	heard *report // newest that arrived
	from  uint64  // what it had counted when it was first heard of, if it began before
	at    time.Time
}

func proved(n uint64) report {
	var r report
	r.counts.Messages.Proved = n
	r.counts.Refused.Socket = map[string]uint64{"MAILBOX_FULL": n}
	r.syncs = buckets{{.001, n / 2}, {math.Inf(1), n}}
	return r
}

// Whatever order reports come in, however often, however many are lost, whoever dies,
// comes back or begins anew: the totals are what those counted that were heard of, and
// none ever falls.
func TestTotalsAreWhatHappenedWhoeverComesAndGoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l ledger
		var lives []*life
		now := time.Unix(1000, 0)
		since := now
		elapsed := time.Duration(0)
		var lastTotal uint64
		one := func(t *rapid.T) *life {
			if len(lives) == 0 {
				t.Skip("there is none")
			}
			return rapid.SampledFrom(lives).Draw(t, "node")
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				n := &life{id: fmt.Sprint("n", len(lives)), began: elapsed}
				if rapid.Bool().Draw(t, "earlier") {
					n.began = -time.Duration(rapid.IntRange(1, 100).Draw(t, "seconds")) * time.Second
					n.is = proved(uint64(rapid.IntRange(0, 1000).Draw(t, "before")))
				}
				lives = append(lives, n)
			},
			"count": func(t *rapid.T) {
				n := one(t)
				n.is = proved(n.is.counts.Messages.Proved + uint64(rapid.IntRange(0, 50).Draw(t, "more")))
				n.is.counts.Sessions = uint64(rapid.IntRange(0, 9).Draw(t, "sessions"))
			},
			"say": func(t *rapid.T) {
				n := one(t)
				elapsed += time.Millisecond
				now = now.Add(time.Millisecond)
				n.is.age = elapsed - n.began
				n.said = append(n.said, n.is)
			},
			"hear": func(t *rapid.T) {
				n := one(t)
				if len(n.said) == 0 {
					t.Skip("nothing is on the way")
				}
				i := rapid.IntRange(0, len(n.said)-1).Draw(t, "which")
				r := n.said[i]
				if rapid.Bool().Draw(t, "once") {
					n.said = slices.Delete(n.said, i, i+1)
				}
				isNew := r.age <= elapsed
				l.hear(n.id, r, now, isNew)
				if n.heard != nil && n.heard.age >= r.age {
					return
				}
				if n.heard == nil && !isNew {
					n.from = r.counts.Messages.Proved
				}
				n.heard, n.at, n.gone = &r, now, false
			},
			"die": func(t *rapid.T) {
				n := one(t)
				n.gone = true
				l.leave(n.id)
			},
			"wait": func(t *rapid.T) {
				more := time.Duration(rapid.IntRange(1, 8).Draw(t, "seconds")) * time.Second
				now, elapsed = now.Add(more), elapsed+more
				since = now.Add(-5 * time.Second)
			},
			"": func(t *rapid.T) {
				var want, sessions uint64
				count := 0
				for _, n := range lives {
					if n.heard == nil {
						continue
					}
					want += n.heard.counts.Messages.Proved - n.from
					if !n.gone && !n.at.Before(since) {
						sessions += n.heard.counts.Sessions
						count++
					}
				}
				c, syncs, n := l.sum(since)
				if c.Messages.Proved != want || c.Refused.Socket["MAILBOX_FULL"] != want || syncs.count() != want {
					t.Fatalf("proved %d, refused %v, synced %d, of %d", c.Messages.Proved, c.Refused.Socket, syncs.count(), want)
				}
				if c.Sessions != sessions || n != count {
					t.Fatalf("%d sessions on %d nodes, of %d on %d", c.Sessions, n, sessions, count)
				}
				if want < lastTotal {
					t.Fatalf("a total fell from %d to %d", lastTotal, want)
				}
				lastTotal = want
			},
		})
	})
}

// Who reports nonsense, as totals that fall, makes none of the sums fall.
func TestTotalsNeverFallWhateverIsReported(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l ledger
		var before Counts
		var synced buckets
		now := time.Unix(1000, 0)
		for i := range rapid.IntRange(1, 60).Draw(t, "reports") {
			r := proved(uint64(rapid.IntRange(0, 1000).Draw(t, "proved")))
			r.counts.HTTP.Requests = uint64(rapid.IntRange(0, 1000).Draw(t, "requests"))
			if rapid.Bool().Draw(t, "without") {
				r.syncs, r.counts.Refused.Socket = nil, nil
			}
			r.age = time.Duration(i + 1)
			id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "node")
			l.hear(id, r, now, rapid.Bool().Draw(t, "new"))
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0:
				l.leave(id)
			case 1:
				l.forget(id)
			}
			c, syncs, _ := l.sum(now)
			if c.Messages.Proved < before.Messages.Proved || c.HTTP.Requests < before.HTTP.Requests ||
				c.Refused.Socket["MAILBOX_FULL"] < before.Refused.Socket["MAILBOX_FULL"] || syncs.count() < synced.count() {
				t.Fatalf("after %+v came %+v", before, c)
			}
			for _, b := range syncs.since(synced) {
				if b.count > 1<<40 {
					t.Fatalf("after %v came %v", synced, syncs)
				}
			}
			before, synced = c, syncs
		}
	})
}

// What is gone is remembered, but not for ever.
func TestOnlySoManyThatAreGoneAreKnown(t *testing.T) {
	var l ledger
	for i := range partsKnown + 50 {
		id := fmt.Sprint(i)
		r := proved(1)
		r.age = 1
		l.hear(id, r, time.Unix(int64(i), 0), true)
		l.leave(id)
	}
	if n := len(l.parts); n != partsKnown {
		t.Errorf("%d are known", n)
	}
	if l.parts["49"] != nil || l.parts["50"] == nil {
		t.Error("others than the oldest are forgotten")
	}
	if c, _, n := l.sum(time.Time{}); c.Messages.Proved != partsKnown+50 || n != 0 {
		t.Errorf("%d proved, %d there", c.Messages.Proved, n)
	}
}

// A number that a sample has and that is not added up would show one node's only.
func TestEveryNumberIsAddedUpOrOfOneNode(t *testing.T) {
	var c Counts
	var want []uintptr
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			field, path := v.Field(i), path+"."+v.Type().Field(i).Name
			switch {
			case slices.Contains([]string{".Nodes", ".Users", ".Memory", ".Goroutines", ".Log.Sync"}, path):
			case field.Kind() == reflect.Struct:
				walk(field, path)
			case field.Kind() == reflect.Uint64 || field.Kind() == reflect.Map:
				want = append(want, field.Addr().Pointer())
			default:
				t.Errorf("%s is a %s", path, field.Kind())
			}
		}
	}
	walk(reflect.ValueOf(&c).Elem(), "")
	var have []uintptr
	for _, n := range c.numbers() {
		have = append(have, reflect.ValueOf(n.at).Pointer())
	}
	for _, m := range c.refusals() {
		have = append(have, reflect.ValueOf(m).Pointer())
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("%d numbers are added up, of %d", len(have), len(want))
	}
}

func anyReport(t *rapid.T) report {
	number := rapid.Uint64Max(1 << 60)
	var r report
	r.age = time.Duration(rapid.Int64Min(0).Draw(t, "age"))
	for i, n := range r.counts.numbers() {
		*n.at = number.Draw(t, fmt.Sprint("number ", i))
	}
	for i, m := range r.counts.refusals() {
		*m = rapid.MapOfN(rapid.StringMatching("[A-Z_]{0,20}"), number, 0, 9).Draw(t, fmt.Sprint("refusals ", i))
	}
	for i := range rapid.IntRange(0, 17).Draw(t, "buckets") {
		below := r.syncs.count()
		r.syncs = append(r.syncs, bucket{math.Ldexp(50e-6, i), below + rapid.Uint64Max(1<<50).Draw(t, "in it")})
	}
	return r
}

func TestNodesUnderstandEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyReport(t)
		body := want.append(nil)
		got, err := readReport(append(body, rapid.SliceOf(rapid.Byte()).Draw(t, "of a later version")...))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, %v, of %+v", got, err, want)
		}
		if cut := rapid.IntRange(0, len(body)-1).Draw(t, "cut"); cut < len(body) {
			if _, err := readReport(body[:cut]); err == nil {
				t.Fatalf("%d bytes of %d are a report", cut, len(body))
			}
		}
	})
}

func TestWhatIsNoReportIsRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyReport(t)
		body := b.append(nil)
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			body[rapid.IntRange(0, len(body)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		if r, err := readReport(body); err == nil && (len(r.syncs) > len(body) || len(r.counts.Refused.Socket) > len(body)) {
			t.Fatalf("%+v", r)
		}
		_, _ = readReport(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) // does not panic
	})
	for _, b := range [][]byte{nil, {0}, {2, 1, 0, 0, 0}, {1, 1, 0xff, 0xff, 0xff, 0xff, 0x7f}} {
		if _, err := readReport(b); err == nil {
			t.Errorf("%v is a report", b)
		}
	}
}

func BenchmarkReport(b *testing.B) {
	r := proved(1_000_000)
	for i := range 16 {
		r.syncs = append(r.syncs, bucket{math.Ldexp(50e-6, i), uint64(i) * 1000})
	}
	b.ReportMetric(float64(len(r.append(nil))), "bytes")
	for b.Loop() {
		if _, err := readReport(r.append(nil)); err != nil {
			b.Fatal(err)
		}
	}
}
