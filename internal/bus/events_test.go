package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/journal"
)

func openEvents(t testing.TB, b *Bus) *Events {
	t.Helper()
	v, err := b.Events(t.Context(), EventLimits{Age: time.Hour, Bytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// append1 appends a batch that must be taken.
func append1(t testing.TB, v *Events, shard int, last uint64, head, batch string) uint64 {
	t.Helper()
	seq, err := v.Append(t.Context(), shard, last, head, []byte(batch))
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// replayed returns the batches of a shard, as "head: batch".
func replayed(t testing.TB, v *Events, shard int, after uint64) (list []string) {
	t.Helper()
	last, err := v.Last(t.Context(), shard)
	if err == nil {
		err = v.Replay(t.Context(), shard, after, last, func(_ uint64, head string, batch []byte) error {
			list = append(list, head+": "+string(batch))
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAShardsJournalGrowsOnConditionOfItsOwnLastBatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	v := openEvents(t, b)
	first := append1(t, v, 0, 0, "a=1", "one")
	other := append1(t, v, 1, 0, "", "elsewhere")
	second := append1(t, v, 0, first, "a=2,b=1", "two")
	for _, last := range []uint64{0, first, other, second + 7} {
		if _, err := v.Append(t.Context(), 0, last, "", []byte("no")); !errors.Is(err, journal.ErrChanged) {
			t.Errorf("after %d: %v", last, err)
		}
	}
	append1(t, v, 0, second, "", "")
	shut(t, b)
	v = openEvents(t, open(t, dir))
	if got, want := replayed(t, v, 0, 0), []string{"a=1: one", "a=2,b=1: two", ": "}; !slices.Equal(got, want) {
		t.Errorf("shard 0 has %q", got)
	}
	if got := replayed(t, v, 0, first); len(got) != 2 {
		t.Errorf("behind the first it has %q", got)
	}
	if got, want := replayed(t, v, 1, 0), []string{": elsewhere"}; !slices.Equal(got, want) {
		t.Errorf("shard 1 has %q", got)
	}
	if last, err := v.Last(t.Context(), 5); last != 0 || err != nil {
		t.Errorf("a shard of which there is nothing ends at %d, %v", last, err)
	}
}

func TestTheMarkOfAJournalIsItsOwnAndStays(t *testing.T) {
	t.Parallel()
	mark := func(dir string) uint32 {
		b := open(t, dir)
		defer shut(t, b)
		v, err := b.Events(t.Context(), EventLimits{Age: time.Hour, Bytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		m, err := v.Mark(t.Context())
		if err != nil || m == 0 {
			t.Fatal(m, err)
		}
		return m
	}
	dir := t.TempDir()
	first := mark(dir)
	if again := mark(dir); again != first {
		t.Errorf("it is %d after a restart, and was %d", again, first)
	}
	if other := mark(t.TempDir()); other == first {
		t.Error("another journal has the same")
	}
}

// What is too old, or too much, goes: the oldest first.
func TestTheJournalKeepsAsMuchAndForAsLongAsItMay(t *testing.T) {
	t.Parallel()
	full, err := open(t, t.TempDir()).Events(t.Context(), EventLimits{Age: time.Hour, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	const batches, size = 40, 64 << 10
	for range batches {
		last = append1(t, full, 0, last, "", strings.Repeat("x", size))
	}
	list, err := full.Read(t.Context(), -1, 0, time.Time{}, 1<<30)
	if n := len(list); err != nil || n < 10 || n*size > 1<<20 || list[n-1].Pos != last {
		t.Errorf("%d batches of %d bytes are there: %v", n, size, err)
	}
	brief, err := open(t, t.TempDir()).Events(t.Context(), EventLimits{Age: 200 * time.Millisecond, Bytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	append1(t, brief, 0, 0, "", "old")
	for deadline := time.Now().Add(20 * time.Second); ; {
		list, err := brief.Read(t.Context(), -1, 0, time.Time{}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is still there")
		}
	}
}

func TestTheJournalIsReadFromAnyPlaceAndTime(t *testing.T) {
	t.Parallel()
	v := openEvents(t, open(t, t.TempDir()))
	if list, err := v.Read(t.Context(), -1, 0, time.Time{}, 1<<20); len(list) != 0 || err != nil {
		t.Fatal(list, err)
	}
	last := map[int]uint64{}
	var middle time.Time
	for i := range 10 {
		if i == 6 {
			time.Sleep(5 * time.Millisecond) // the engine's clock is to show it
			middle = time.Now()
			time.Sleep(5 * time.Millisecond)
		}
		last[i%2] = append1(t, v, i%2, last[i%2], "", fmt.Sprint(i))
	}
	for _, c := range []struct {
		shard int
		from  uint64
		since time.Time
		most  int
		want  string
	}{
		{-1, 0, time.Time{}, 1 << 20, "0123456789"},
		{-1, 4, time.Time{}, 1 << 20, "3456789"},
		{1, 4, time.Time{}, 1 << 20, "3579"},
		{-1, 0, middle, 1 << 20, "6789"},
		{1, 9, middle, 1 << 20, "9"},
		{0, 99, time.Time{}, 1 << 20, ""},
		{0, 0, time.Now().Add(time.Hour), 1 << 20, ""},
	} {
		list, err := v.Read(t.Context(), c.shard, c.from, c.since, c.most)
		got := ""
		for _, b := range list {
			got += string(b.Data)
		}
		if got != c.want || err != nil {
			t.Errorf("%+v: got %s, %v", c, got, err)
		}
	}
	if list, err := v.Read(t.Context(), -1, 0, time.Time{}, 1); len(list) == 0 || len(list) > 9 || err != nil {
		t.Errorf("with little room %d batches are read, %v", len(list), err)
	}
}

func TestWhoWaitsForTheJournalHearsOfMore(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	v := openEvents(t, b)
	last := append1(t, v, 0, 0, "", "one")
	if err := v.Wait(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	heard := make(chan error, 1)
	go func() { heard <- v.Wait(t.Context(), last) }()
	select {
	case err := <-heard:
		t.Fatalf("it heard of more when there was none: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	append1(t, v, 3, 0, "", "two")
	if err := <-heard; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Wait(ctx, 99); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestPartsAreReplacedByWhoKnowsThem(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	p, err := b.Parts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if seq, part, err := p.LoadPart(t.Context(), 0, "devices", 7); seq != 0 || len(part) != 0 || err != nil {
		t.Errorf("at first there is %d %q, %v", seq, part, err)
	}
	first, err := p.SavePart(t.Context(), 0, "devices", 7, 0, []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.SavePart(t.Context(), 1, "devices", 7, 0, []byte("another shard's")); err != nil {
		t.Fatal(err)
	}
	for _, after := range []uint64{0, first + 9} {
		if _, err := p.SavePart(t.Context(), 0, "devices", 7, after, []byte("no")); !errors.Is(err, journal.ErrChanged) {
			t.Errorf("after %d: %v", after, err)
		}
	}
	second, err := p.SavePart(t.Context(), 0, "devices", 7, first, []byte("two"))
	if err != nil {
		t.Fatal(err)
	}
	if seq, part, err := p.LoadPart(t.Context(), 0, "devices", 7); seq != second || string(part) != "two" || err != nil {
		t.Errorf("there is %d %q, %v", seq, part, err)
	}
	if _, err := p.SavePart(t.Context(), 0, "a.b", 7, 0, []byte("x")); err == nil {
		t.Error("a name that makes another subject is taken")
	}
}

// asked has one room ask itself.
type asked struct{ room *journal.Room }

func (*asked) Shards() int        { return 1 }
func (*asked) ShardOf(string) int { return 0 }
func (a *asked) Ask(_ context.Context, shard int, request []byte) ([]byte, error) {
	type result struct {
		reply []byte
		err   error
	}
	answer := make(chan result, 1)
	a.room.Serve(shard, request, func(reply []byte, err error) { answer <- result{reply, err} })
	r := <-answer
	return r.reply, r.err
}

// BenchmarkJournal notes events, which are stored and folded before it ends.
func BenchmarkJournal(b *testing.B) {
	engine := open(b, b.TempDir())
	parts, err := engine.Parts(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	owners := &asked{}
	owners.room, err = journal.New(journal.Options{
		Self: "a", Owners: owners, Still: func(context.Context, int) (bool, error) { return true, nil }, Log: openEvents(b, engine), States: parts,
		Limits: func() journal.Limits { return journal.Limits{Keep: time.Hour, Queue: 1 << 30, Devices: 1 << 30} },
		Now:    time.Now, Random: rand.Reader, Logger: testLogger(b), Metrics: prometheus.NewRegistry(),
	})
	if err == nil {
		err = owners.room.Begin(b.Context(), 0)
	}
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- owners.room.Run(ctx) }()
	b.ReportAllocs()
	for i := range b.N {
		owners.room.Note(journal.Event{Type: journal.Matched, Device: fmt.Sprint("device-", i%10_000), App: "ANZ", Capability: "match", Amount: 1})
	}
	if err := owners.room.Add(b.Context(), []journal.Event{{Type: journal.Matched, Device: "last", Amount: 1}}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
	owners.room.End(0)
}
