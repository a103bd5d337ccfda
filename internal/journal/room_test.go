package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"
)

// place is where one shard's owner is: in one of several rooms, or nowhere.
type place struct {
	mu   sync.Mutex
	at   *Room
	lost int // requests that are lost with who is asked
}

func (p *place) move(r *Room) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = r
}

func (*place) Shards() int        { return 1 }
func (*place) ShardOf(string) int { return 0 }

// lose has so many requests be lost with who is asked.
func (p *place) lose(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = n
}

// Ask asks whoever is the owner, as nodes do: what the next owner is to be asked waits.
func (p *place) Ask(ctx context.Context, shard int, request []byte) ([]byte, error) {
	type result struct {
		reply []byte
		err   error
	}
	for {
		p.mu.Lock()
		at, lost := p.at, p.lost > 0
		p.lost--
		p.mu.Unlock()
		if lost {
			return nil, ErrUnknown
		}
		if at != nil {
			answer := make(chan result, 1)
			at.Serve(shard, request, func(reply []byte, err error) { answer <- result{reply, err} })
			select {
			case a := <-answer:
				if !errors.Is(a.err, ErrNext) {
					return a.reply, a.err
				}
			case <-ctx.Done():
				return nil, ErrUnknown
			}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, ErrNobody
		}
	}
}

type sizes []int64

func (s *sizes) Add(n int64)    { *s = append(*s, n) }
func (s *sizes) Encode() []byte { return fmt.Append(nil, []int64(*s)) }

func newRoom(t testing.TB, self string, p *place, m *memory, limits Limits) *Room {
	t.Helper()
	var r *Room
	still := func(context.Context, int) (bool, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.at == r, nil
	}
	r, err := New(Options{
		Self: self, Still: still, Owners: p, Log: m, States: m, Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Metrics: prometheus.NewRegistry(), Limits: func() Limits { return limits }, Sketch: func() Sketch { return new(sizes) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var roomy = Limits{Keep: 24 * time.Hour, Queue: 10_000, Devices: 1000}

// running runs a room until the returned function is called.
func running(r *Room) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Run(ctx) // which returns nil
	}()
	return func() {
		cancel()
		<-done
	}
}

// owned begins a room's shard.
func owned(t testing.TB, r *Room, p *place) {
	t.Helper()
	if err := r.Begin(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	p.move(r)
}

// step is something that happens to two nodes.
type step struct {
	add    int // events that a node adds
	node   int
	faults []fault
	move   bool // the other node becomes the owner, and the former one ends before, or after
	late   bool
	revise bool
}

func drawStep(t *rapid.T) step {
	return step{
		add: rapid.IntRange(0, 5).Draw(t, "add"), node: rapid.IntRange(0, 1).Draw(t, "node"),
		faults: rapid.SliceOfN(rapid.SampledFrom([]fault{works, lost, unheard, refused, overtaken}), 0, 3).Draw(t, "faults"),
		move:   rapid.IntRange(0, 3).Draw(t, "move") == 0, late: rapid.Bool().Draw(t, "late"), revise: rapid.IntRange(0, 5).Draw(t, "rebuild") == 0,
	}
}

// A story of two nodes: each is told of events, the owner moves back and forth, and
// is still one when the next one is already; writes fail in all ways.
func TestEachEventIsStoredOnceWhateverFails(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 25).Draw(rt, "steps")
		var err error
		synctest.Test(t, func(t *testing.T) { err = play(t, steps) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}

func play(t *testing.T, steps []step) error {
	m, p := newMemory(), &place{}
	m.clock = func() int64 { return time.Now().UnixMilli() }
	rooms := []*Room{newRoom(t, "a", p, m, roomy), newRoom(t, "b", p, m, roomy)}
	owned(t, rooms[0], p)
	stops := []func(){running(rooms[0]), running(rooms[1])}
	at := 0
	type added struct {
		events []Event
		err    error
	}
	var mu sync.Mutex
	var all []added
	noted := 0
	var wg sync.WaitGroup
	for _, s := range steps {
		m.meet(s.faults...)
		if s.add > 0 {
			events := make([]Event, s.add)
			for i := range events {
				events[i] = Event{Type: BytesSent, Device: fmt.Sprint("d", i), Amount: int64(i)}
			}
			wg.Go(func() {
				err := rooms[s.node].Add(context.Background(), events)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, added{events, err})
			})
			rooms[1-s.node].Note(Event{Type: Matched, Device: "noted", Amount: 1})
			noted++
		}
		if s.move {
			if !s.late {
				rooms[at].End(0)
			}
			owned(t, rooms[1-at], p)
			if s.late {
				synctest.Wait()
				rooms[at].End(0)
			}
			at = 1 - at
		}
		if s.revise {
			if done, err := rooms[0].Rebuild(context.Background()); err == nil && done.Changed != 0 {
				return fmt.Errorf("%d states were others when they were made anew", done.Changed)
			}
		}
		time.Sleep(30 * time.Millisecond)
	}
	wg.Wait()
	// An owner that could not store that it took over knows all with its first batch.
	for rooms[at].Add(context.Background(), []Event{{Type: Matched, Device: "last", Amount: 1}}) != nil {
		time.Sleep(time.Second)
	}
	for _, stop := range stops {
		stop()
	}
	got := rooms[at].owner(0).core.devices.states()
	rooms[at].End(0)
	events := m.events(0)
	if err := same(got, folded(events)); err != nil {
		return err
	}
	count := map[string]int{}
	matched := 0
	for _, e := range events {
		if count[e.ID]++; count[e.ID] > 1 {
			return fmt.Errorf("%s is stored twice", e.ID)
		}
		if e.Device == "noted" {
			matched++
		}
	}
	for _, a := range all {
		for _, e := range a.events {
			if a.err == nil && count[e.ID] == 0 {
				return fmt.Errorf("%s was answered as stored, and is not", e.ID)
			}
		}
	}
	if matched != noted {
		return fmt.Errorf("%d events were noted, %d are stored", noted, matched)
	}
	return nil
}

func TestWhoWasAnsweredFindsItInTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(), &place{}
		r := newRoom(t, "a", p, m, roomy)
		owned(t, r, p)
		stop := running(r)
		for i := range int64(100) {
			if err := r.Add(t.Context(), []Event{{Type: BytesSent, Device: "d", Amount: 2}}); err != nil {
				t.Fatal(err)
			}
			if s, err := r.Device(t.Context(), "", true, "d"); err != nil || s.BytesSent != 2*(i+1) {
				t.Fatalf("after %d events the state is %+v, %v", i+1, s, err)
			}
		}
		if _, err := r.Device(t.Context(), "", true, "none"); !errors.Is(err, ErrNone) {
			t.Errorf("of a device without events: %v", err)
		}
		stop()
		r.End(0)
	})
}

func TestAStateIsAskedForAgainWhenItsOwnerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(), &place{}
		r := newRoom(t, "a", p, m, roomy)
		owned(t, r, p)
		stop := running(r)
		if err := r.Add(t.Context(), []Event{{Type: Matched, Device: "d", Amount: 1}}); err != nil {
			t.Fatal(err)
		}
		p.lose(3)
		if s, err := r.Device(t.Context(), "", true, "d"); err != nil || s.Matched != 1 {
			t.Errorf("%+v, %v", s, err)
		}
		p.lose(1 << 20)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Device(ctx, "", true, "d"); !errors.Is(err, ErrNobody) || errors.Is(err, ErrUnknown) {
			t.Errorf("as long as it may take: %v", err)
		}
		p.lose(0)
		stop()
		r.End(0)
	})
}

func TestMakingStatesAnewTakesItsTurnAmongEvents(t *testing.T) {
	o := &owner{inbox: make(chan *asked, 9)}
	first, second, anew, behind := &asked{}, &asked{}, &asked{rebuild: true}, &asked{}
	for _, a := range []*asked{second, anew, behind} {
		o.inbox <- a
	}
	if list := o.gather(first); !slices.Equal(list, []*asked{first, second}) || o.next != anew || len(o.inbox) != 1 {
		t.Errorf("%d go together, %d wait, next is %v", len(list), len(o.inbox), o.next)
	}
}

func TestBytesAreSummedByDeviceAndSecondAndNoneIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second + 100*time.Millisecond)))
		m, p := newMemory(), &place{}
		r := newRoom(t, "a", p, m, roomy)
		owned(t, r, p)
		stop := running(r)
		note := func(amount int64) { r.Note(Event{Type: BytesSent, Device: "d", Amount: amount, Capability: "match"}) }
		stored := func() (list []Event) {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			for _, e := range m.events(0) {
				list = append(list, Event{Amount: e.Amount, Count: e.Count, Min: e.Min, Max: e.Max, Sketch: e.Sketch})
			}
			return list
		}
		want := func(what string, amounts ...Event) {
			t.Helper()
			if got := stored(); fmt.Sprint(got) != fmt.Sprint(amounts) {
				t.Fatalf("%s:\ngot  %v\nwant %v", what, got, amounts)
			}
		}
		first := Event{Amount: 7}
		note(7)
		want("the first of an idle device", first)
		for _, n := range []int64{1, 9, 5} {
			note(n)
		}
		want("others in its second wait", first)
		time.Sleep(time.Second)
		second := Event{Amount: 15, Count: 3, Min: 1, Max: 9, Sketch: []byte("[1 9 5]")}
		want("and are one event when it is over", first, second)
		note(4)
		want("the next second is summed, too", first, second)
		time.Sleep(time.Second)
		want("and one alone is no sum", first, second, Event{Amount: 4})
		time.Sleep(2 * time.Second)
		note(3)
		want("then the device is idle", first, second, Event{Amount: 4}, Event{Amount: 3})
		for range 20 {
			note(1)
		}
		stop()
		r.Note(Event{Type: BytesSent, Device: "d", Amount: 1})
		r.End(0)
		events := m.events(0)
		if last := events[len(events)-1]; len(events) != 5 || last.Count != 20 || last.Amount != 20 || last.Capability != "match" {
			t.Errorf("after a clean stop the last event is %+v", last)
		}
		if lost := testutil.ToFloat64(r.metrics.lost.WithLabelValues("stop")); lost != 1 {
			t.Errorf("%v are lost that came after the end", lost)
		}
	})
}

func TestSumsAddUpToWhatWasNoted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now, noted, written, count := sums{sketch: func() Sketch { return new(sizes) }}, int64(1_000_000), int64(0), int64(0), int64(0)
		take := func(list []Event) {
			for _, e := range list {
				written += e.Amount
				count += max(e.Count, 1)
				if e.Count == 1 || e.Count > 1 && (e.Min > e.Max || e.Max > e.Amount || len(e.Sketch) == 0) {
					t.Fatalf("a sum is %+v", e)
				}
			}
		}
		steps := rapid.IntRange(0, 100).Draw(t, "steps")
		for range steps {
			now += rapid.Int64Range(0, 700).Draw(t, "time")
			e := Event{Type: BytesSent, Device: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "device"), At: now, Amount: rapid.Int64Range(0, 99).Draw(t, "amount")}
			take(s.due(now))
			noted += e.Amount
			if s.first(&e) {
				take([]Event{e})
			}
		}
		take(s.due(endOfTime))
		if written != noted || count != int64(steps) {
			t.Fatalf("%d bytes of %d events are written, %d of %d were noted", written, count, noted, steps)
		}
	})
}

func TestWhatCannotBeStoredWaitsWithinABoundAndIsCountedBeyond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(), &place{}
		r := newRoom(t, "a", p, m, Limits{Keep: time.Hour, Queue: 10, Devices: 1000})
		stop := running(r)
		for range 15 {
			r.Note(Event{Type: Matched, Device: "d", Amount: 1})
		}
		r.Note(Event{Type: Matched, Device: "", Amount: 1})
		if lost, refused := testutil.ToFloat64(r.metrics.lost.WithLabelValues("queue")), testutil.ToFloat64(r.metrics.lost.WithLabelValues("refused")); lost != 5 || refused != 1 {
			t.Errorf("%v are lost, %v refused", lost, refused)
		}
		if err := r.Add(t.Context(), []Event{{Type: Matched, Device: "d", Amount: 1}}); !errors.Is(err, ErrBusy) {
			t.Errorf("who adds hears %v", err)
		}
		m.meet(refused, refused)
		owned(t, r, p)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := len(m.events(0)); n != 10 || r.waiting.Load() != 0 {
			t.Errorf("%d are stored, %d wait", n, r.waiting.Load())
		}
		stop()
		r.End(0)
	})
}

func TestADeviceForWhichThereIsNoRoomIsRefusedAndOthersAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(), &place{}
		r := newRoom(t, "a", p, m, Limits{Keep: time.Hour, Queue: 100, Devices: 1})
		owned(t, r, p)
		stop := running(r)
		if err := r.Add(t.Context(), []Event{{Type: Matched, Device: "a", Amount: 1}}); err != nil {
			t.Error(err)
		}
		if err := r.Add(t.Context(), []Event{{Type: Matched, Device: "b", Amount: 1}}); !errors.Is(err, ErrFull) {
			t.Errorf("one more: %v", err)
		}
		if err := r.Add(t.Context(), []Event{{Type: Matched, Device: "a", Amount: 1}}); err != nil {
			t.Error(err)
		}
		stop()
		r.End(0)
	})
}

func TestThePlaceOfAPageLeadsOnWithoutGapsOrRepeats(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMemory()
		r := newRoom(t, "a", &place{}, m, roomy)
		var all []string
		for b := range rapid.IntRange(0, 10).Draw(rt, "batches") {
			var data []byte
			for i := range rapid.IntRange(1, 5).Draw(rt, "events") {
				e := Event{ID: fmt.Sprint(b, "-", i), At: 1, Stored: 1, Type: Matched, Device: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "device"), Amount: 1}
				data = appendLine(data, &e)
				if e.Device == "a" {
					all = append(all, e.ID)
				}
			}
			m.store(0, "", data)
		}
		var got []string
		q := Query{Device: "a", Limit: rapid.IntRange(1, 4).Draw(rt, "limit")}
		for range 100 {
			page, err := r.Page(t.Context(), q)
			if err != nil || len(page.Events) > q.Limit {
				rt.Fatal(page, err)
			}
			for _, e := range page.Events {
				got = append(got, e.ID)
			}
			text, err := page.UpTo.MarshalText()
			if err == nil {
				err = q.After.UnmarshalText(text)
			}
			if err != nil {
				rt.Fatal(err)
			}
			if page.End {
				break
			}
		}
		if !slices.Equal(got, all) {
			rt.Fatalf("got %v, there are %v", got, all)
		}
	})
}

// What comes after a page that found nothing is behind its place, and nothing else is.
func TestAPageOfATimeInWhichNothingCameSaysWhereItEnded(t *testing.T) {
	for _, device := range []string{"", "a"} {
		m := newMemory()
		r := newRoom(t, "a", &place{}, m, roomy)
		add := func(at int64, id string) {
			m.store(0, "", appendLine(nil, &Event{ID: id, At: at, Stored: at, Type: Matched, Device: "a", Amount: 1}))
		}
		q := Query{Device: device, From: time.UnixMilli(1e12), Limit: 10}
		page, err := r.Page(t.Context(), q)
		if err != nil || !page.End || !page.UpTo.IsZero() {
			t.Fatalf("of an empty journal there is %+v, %v", page, err)
		}
		add(1, "old")
		if page, err = r.Page(t.Context(), q); err != nil || !page.End || page.UpTo.IsZero() {
			t.Fatalf("of a quiet one there is %+v, %v", page, err)
		}
		add(1e12, "new")
		page, err = r.Page(t.Context(), Query{Device: device, Limit: 10, After: page.UpTo})
		if err != nil || len(page.Events) != 1 || page.Events[0].ID != "new" {
			t.Fatalf("behind it there is %+v, %v", page, err)
		}
	}
}

func TestOtherEventsWithTheSameIDsAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := newMemory(), &place{}
		r := newRoom(t, "a", p, m, roomy)
		owned(t, r, p)
		stop := running(r)
		add := func(amounts ...int64) error {
			events := make([]Event, len(amounts))
			for i, n := range amounts {
				events[i] = Event{ID: fmt.Sprint(i), Type: Matched, Device: "d", Amount: n}
			}
			return r.Add(t.Context(), events)
		}
		if err := add(1, 2, 3); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		err := add(1, 7, 3, 4, 9) // at other times, of which nothing was said
		var conflict *ConflictError
		if !errors.As(err, &conflict) || !errors.Is(err, ErrConflict) || !slices.Equal(conflict.Events, []int{1}) {
			t.Error(err)
		}
		if s, err := r.Device(t.Context(), "", true, "d"); s.Matched != 1+2+3+4+9 {
			t.Errorf("%+v, %v", s, err)
		}
		stop()
		r.End(0)
	})
}

func TestAPlaceThatIsNoneOfThisJournalIsRefused(t *testing.T) {
	m := newMemory()
	m.mark = 7
	r := newRoom(t, "a", &place{}, m, roomy)
	e := Event{ID: "x", At: 1, Stored: 1, Type: Matched, Device: "d", Amount: 1}
	m.store(0, "", appendLine(nil, &e))
	page, err := r.Page(t.Context(), Query{Limit: 10})
	if err != nil || len(page.Events) != 1 {
		t.Fatal(page, err)
	}
	latest, err := r.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Place{{}, page.UpTo, page.Events[0].Place, latest} {
		_, err := r.Page(t.Context(), Query{Limit: 10, After: p})
		if known := r.Known(t.Context(), p); err != nil || known != nil {
			t.Errorf("%+v: %v, %v", p, err, known)
		}
	}
	beyond := Place{7, 3, 0}
	if err := r.Known(t.Context(), beyond); !errors.Is(err, ErrPlace) {
		t.Errorf("beyond the end: %v", err)
	}
	m.mark = 8 // another journal, in the place of that one
	_, err = r.Page(t.Context(), Query{Limit: 10, After: page.UpTo})
	if known := r.Known(t.Context(), page.UpTo); !errors.Is(err, ErrPlace) || !errors.Is(known, ErrPlace) {
		t.Errorf("of another journal: %v, %v", err, known)
	}
	for _, text := range []string{"", "zz-1", "zz-1-", "-1-1", "1-1-1-1", "1-1-zzzzzzz", "01-1-1", "A-1-1", "+1-1-1", "1--1-1", "x"} {
		if err := new(Place).UnmarshalText([]byte(text)); !errors.Is(err, ErrPlace) {
			t.Errorf("%q is read: %v", text, err)
		}
	}
}

func BenchmarkNote(b *testing.B) {
	m, p := newMemory(), &place{}
	r := newRoom(b, "a", p, m, Limits{Keep: time.Hour, Queue: 1 << 30, Devices: 1 << 30})
	owned(b, r, p)
	stop := running(r)
	b.ReportAllocs()
	for i := range b.N {
		r.Note(Event{Type: Matched, Device: fmt.Sprint("device-", i%1000), Amount: 1})
	}
	stop()
	r.End(0)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkNoteOfBytesThatAreSummed(b *testing.B) {
	s := sums{sketch: func() Sketch { return new(sizes) }}
	b.ReportAllocs()
	e := Event{Type: BytesSent, Device: "d", At: 1, Amount: 9}
	s.first(&e)
	s.sketch = nil
	for b.Loop() {
		s.first(&e)
	}
}

func BenchmarkReplay(b *testing.B) {
	var data []byte
	for i := range 1000 {
		e := Event{ID: fmt.Sprint("01a21833-bc65-77b8-a037-", i), At: 1764170000000, Stored: 1764170000000, Type: BytesSent, Device: fmt.Sprint("device-", i), App: "ANZ", Capability: "match", Amount: 1234}
		data = appendLine(data, &e)
	}
	c := newCore(0, 1<<50, nil)
	var events []Event
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for i := range b.N {
		var err error
		if events, err = parseBatch(data, events[:0]); err != nil {
			b.Fatal(err)
		}
		c.apply(uint64(i+1), nil, events, len(data))
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
