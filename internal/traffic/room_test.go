package traffic

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/internal/window"
)

// store keeps chunks as the journal does: each with the position up to which it has
// everything, and a summary that says which did not change until then.
type store struct {
	room    *Room
	n       int
	batches [][]Event // the journal: position 1 is the first
	shard   *Shard
	pos     uint64
	has     [Chunks]uint64
	dirty   map[int]bool

	kept    map[int]kept
	summary map[int]uint64 // what each chunk had by the last summary
	done    uint64         // and how far the shard was
}

type kept struct {
	has   uint64
	state []byte
}

func newStore(r *Room, n int) *store {
	s := &store{room: r, n: n, kept: make(map[int]kept), summary: make(map[int]uint64)}
	s.start()
	return s
}

// start begins anew with what is kept, and folds what came since.
func (s *store) start() {
	if s.shard != nil {
		s.shard.End()
	}
	s.shard, s.dirty, s.pos = s.room.Begin(s.n), make(map[int]bool), s.done
	from := s.done
	for i := range Chunks {
		has, there := s.summary[i]
		if !there {
			has = s.done
		}
		if k, there := s.kept[i]; there {
			if err := s.shard.Load(i, k.state); err != nil {
				panic(err)
			}
			has = max(has, k.has)
		}
		s.has[i] = has
		from = min(from, has)
	}
	for pos := from + 1; pos <= uint64(len(s.batches)); pos++ {
		s.fold(pos)
	}
	s.shard.Ready()
}

func (s *store) append(batch []Event) {
	s.batches = append(s.batches, batch)
	s.fold(uint64(len(s.batches)))
}

func (s *store) fold(pos uint64) {
	s.shard.Fold(s.batches[pos-1], func(i int) bool {
		if s.has[i] >= pos {
			return false
		}
		s.dirty[i] = true
		return true
	})
	for i := range s.has {
		s.has[i] = max(s.has[i], pos)
	}
	s.pos = max(s.pos, pos)
}

func (s *store) keep(i int) {
	s.kept[i] = kept{s.has[i], s.shard.Save(i)}
	delete(s.dirty, i)
}

func (s *store) summarize() {
	clear(s.summary)
	for i := range s.dirty {
		s.summary[i] = s.kept[i].has
	}
	s.done = s.pos
}

// world is some shards, and a clock.
type world struct {
	room   *Room
	shards []*store
	now    int64
}

func newWorld(shards int, now int64) *world {
	w := &world{now: now}
	room, err := New(Options{
		Shards: shards, Now: func() time.Time { return time.UnixMilli(w.now) },
		Ask: func(_ context.Context, n int, request []byte) ([]byte, error) { return w.room.Serve(n, request, w.now) },
	})
	if err != nil {
		panic(err)
	}
	w.room = room
	for n := range shards {
		w.shards = append(w.shards, newStore(room, n))
	}
	return w
}

func (w *world) shard(t *rapid.T) *store {
	return w.shards[rapid.IntRange(0, len(w.shards)-1).Draw(t, "shard")]
}

func (w *world) query(t *rapid.T, q Request) Answer {
	t.Helper()
	a, err := w.room.Query(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const began = int64(1_700_000_000_000) / 60_000 * 60_000

func event() *rapid.Generator[Event] {
	return rapid.Custom(func(t *rapid.T) Event {
		e := Event{
			At: rapid.Int64Range(-100_000, 8_000).Draw(t, "at"), // from when it is taken in
			Key: Key{
				Type:       rapid.SampledFrom([]string{Sent, Delivered, "connectionsOpen"}).Draw(t, "type"),
				App:        rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "app"),
				Capability: rapid.SampledFrom([]string{"message", "chat"}).Draw(t, "capability"),
				Domain:     rapid.SampledFrom([]string{"", "d"}).Draw(t, "domain"),
				Device:     rapid.SampledFrom([]string{"", "x", "y", "z"}).Draw(t, "device"),
			},
			Amount: rapid.Uint64Range(0, 2000).Draw(t, "amount"),
		}
		if rapid.IntRange(0, 3).Draw(t, "sums") == 0 {
			e.Sums = new(window.Aggregate)
			for range rapid.IntRange(1, 9).Draw(t, "values") {
				e.Sums.Add(1, rapid.Uint64Range(0, 2000).Draw(t, "value"))
			}
		}
		return e
	})
}

// slowly answers as the definition says, from all events.
func slowly(w *world, q Request, from, to int64) (Answer, []Event) {
	types := q.Types
	if len(types) == 0 {
		types = Exchanged()
	}
	var a Answer
	pieces := make(map[Key][]window.Piece)
	for _, s := range w.shards {
		for _, batch := range s.batches {
			for _, e := range batch {
				v := w.room.limits.rules.Judge(e.At, e.Stored)
				if !slices.Contains(types, e.Type) || v == window.TooLate || v == window.Ahead {
					continue
				}
				var k Key
				for _, by := range q.By {
					switch by {
					case "app":
						k.App = e.App
					case "capability":
						k.Capability = e.Capability
					case "domain":
						k.Domain = e.Domain
					case "device":
						k.Device = e.Device
					case "type":
						k.Type = e.Type
					}
				}
				if slices.Contains(q.By, "device") && e.Device == "" || q.Only.App != "" && e.App != q.Only.App {
					continue
				}
				p := window.Piece{Start: e.At}
				if e.Sums != nil {
					p.Aggregate = e.Sums.Moved(e.At)
				} else {
					p.Add(e.At, e.Amount)
				}
				if v == window.Late {
					p.Late++
				}
				pieces[k] = append(pieces[k], p)
			}
		}
	}
	by := make(map[[2]int64]*Window)
	for _, k := range slices.SortedFunc(maps.Keys(pieces), compareKeys) {
		list := pieces[k]
		slices.SortStableFunc(list, func(a, b window.Piece) int { return cmp.Compare(a.Start, b.Start) })
		for _, x := range q.Windows.Over(list, from, to) { // whose own test compares it with the definition
			at := [2]int64{x.Start, x.End}
			if by[at] == nil {
				by[at] = &Window{Start: time.UnixMilli(x.Start), End: time.UnixMilli(x.End)}
			}
			by[at].Groups = append(by[at].Groups, Group{Key: k, Aggregate: x.Aggregate})
		}
	}
	for _, x := range by {
		a.Windows = append(a.Windows, *x)
	}
	slices.SortFunc(a.Windows, func(a, b Window) int { return cmp.Or(a.Start.Compare(b.Start), a.End.Compare(b.End)) })
	return a, nil
}

// show writes an answer's windows down, quantiles included.
func show(a Answer) string {
	var text []byte
	for _, w := range a.Windows {
		text = fmt.Appendf(text, "[%d,%d)\n", w.Start.UnixMilli()-began, w.End.UnixMilli()-began)
		for _, g := range w.Groups {
			text = fmt.Appendf(text, "  %v: %d %d %d-%d late %d", g.Key, g.Count, g.Sum, g.Min, g.Max, g.Late)
			for _, at := range []float64{.5, .9, .99} {
				text = fmt.Appendf(text, " %.3f", g.Quantile(at))
			}
			text = append(text, '\n')
		}
	}
	return string(text)
}

func request() *rapid.Generator[Request] {
	return rapid.Custom(func(t *rapid.T) Request {
		spans := func(name string, from, to int) time.Duration {
			return time.Duration(rapid.IntRange(from, to).Draw(t, name)) * Pane
		}
		q := Request{Past: rapid.IntRange(0, 30).Draw(t, "past")}
		q.Windows.Kind = rapid.SampledFrom([]window.Kind{window.Tumbling, window.Sliding, window.Session}).Draw(t, "kind")
		switch q.Windows.Kind {
		case window.Session:
			q.Windows.Gap = spans("gap", 1, 8) + time.Duration(rapid.IntRange(0, 999).Draw(t, "more"))*time.Millisecond
		case window.Sliding:
			q.Windows.Width = spans("width", 1, 12)
			q.Windows.Slide = spans("slide", 1, int(q.Windows.Width/Pane))
		default:
			q.Windows.Width = spans("width", 1, 12)
		}
		for _, by := range Dimensions() {
			if rapid.IntRange(0, 3).Draw(t, by) == 0 {
				q.By = append(q.By, by)
			}
		}
		q.Only.App = rapid.SampledFrom([]string{"", "", "a"}).Draw(t, "only")
		return q
	})
}

// Of the same events the answer is that of the definition, on however many shards,
// whatever was kept of them and whenever they were killed, and in whichever order those
// came that were brought from elsewhere.
func TestTheSameEventsGiveTheSameAnswerOnAnyNumberOfShardsAndAfterAnyKill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(1, 3).Draw(t, "shards"), began)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				batch := rapid.SliceOfN(event(), 1, 20).Draw(t, "events")
				s := w.shard(t)
				for i := range batch {
					batch[i].Stored = w.now
					if brought := rapid.Int64Range(-4_000_000, 4_000_000).Draw(t, "brought"); brought > 0 {
						batch[i].Stored, batch[i].Brought = w.now-brought, true
						batch[i].At -= brought
					}
					batch[i].At += w.now
				}
				s.append(batch)
			},
			"wait": func(t *rapid.T) { w.now += rapid.Int64Range(1, 60_000).Draw(t, "ms") },
			"keep": func(t *rapid.T) {
				s := w.shard(t)
				for _, i := range slices.Sorted(maps.Keys(s.dirty)) {
					if rapid.Bool().Draw(t, "this") {
						s.keep(i)
					}
				}
			},
			"summarize": func(t *rapid.T) { w.shard(t).summarize() },
			"kill":      func(t *rapid.T) { w.shard(t).start() },
			"": func(t *rapid.T) {
				q := request().Draw(t, "request")
				a := w.query(t, q)
				want, _ := slowly(w, q, a.From.UnixMilli(), a.To.UnixMilli())
				if got, want := show(a), show(want); got != want {
					t.Fatalf("%+v:\n%s\nby the definition:\n%s", q, got, want)
				}
			},
		})
	})
}
