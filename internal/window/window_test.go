package window

import (
	"cmp"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// event is one as it is told.
type event struct {
	at, stored int64
	value      uint64
}

const pane = 10 * time.Second

var rules = Rules{Pane: pane, Lateness: time.Minute, Skew: 2 * time.Second}

func events() *rapid.Generator[[]event] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event {
		at := rapid.Int64Range(-200_000, 400_000).Draw(t, "at")
		return event{
			at:     at,
			stored: at + rapid.OneOf(rapid.Int64Range(-5_000, 100_000), rapid.Int64Range(-3, 3)).Draw(t, "later"),
			value:  rapid.OneOf(rapid.Uint64Range(0, 20), rapid.Uint64Range(0, MaxValue)).Draw(t, "value"),
		}
	}), 0, 60)
}

func specs() *rapid.Generator[Spec] {
	spans := func(from, to int) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.IntRange(from, to), func(n int) time.Duration { return time.Duration(n) * pane })
	}
	return rapid.Custom(func(t *rapid.T) Spec {
		s := Spec{Kind: rapid.SampledFrom([]Kind{Tumbling, Sliding, Session}).Draw(t, "kind")}
		switch s.Kind {
		case Session:
			s.Gap = time.Duration(rapid.IntRange(10_000, 90_000).Draw(t, "gap")) * time.Millisecond
		case Sliding:
			s.Width = spans(1, 12).Draw(t, "width")
			s.Slide = spans(1, int(s.Width/pane)).Draw(t, "slide")
		default:
			s.Width = spans(1, 12).Draw(t, "width")
		}
		return s
	})
}

// fold folds events as one that sees a part of them does.
func fold(list []event) map[int64]*Aggregate {
	panes := make(map[int64]*Aggregate)
	for _, e := range list {
		v := rules.Judge(e.at, e.stored)
		if v == TooLate || v == Ahead {
			continue
		}
		start := Floor(e.at, pane)
		if panes[start] == nil {
			panes[start] = new(Aggregate)
		}
		panes[start].Add(e.at, e.value)
		if v == Late {
			panes[start].Late++
		}
	}
	return panes
}

// slow are the windows by their definition, made of all events that count.
func slow(s Spec, list []event, from, to int64) []Window {
	list = slices.DeleteFunc(slices.Clone(list), func(e event) bool {
		end := Floor(e.at, pane) + 10_000
		return e.at > e.stored+2_000 || e.stored >= end+60_000
	})
	slices.SortStableFunc(list, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	var windows []Window
	window := func(start, end int64, in []event) {
		if len(in) == 0 {
			return
		}
		w := Window{Start: start, End: end}
		for _, e := range in {
			w.Add(e.at, e.value)
			if e.stored >= Floor(e.at, pane)+10_000 {
				w.Late++
			}
		}
		windows = append(windows, w)
	}
	if s.Kind == Session {
		var open []event
		end := func() {
			if n := len(open); n > 0 && open[n-1].at+s.Gap.Milliseconds() > from && open[0].at < to {
				window(open[0].at, open[n-1].at+s.Gap.Milliseconds(), open)
			}
			open = nil
		}
		for _, e := range list {
			if n := len(open); n > 0 && e.at >= open[n-1].at+s.Gap.Milliseconds() {
				end()
			}
			open = append(open, e)
		}
		end()
		return windows
	}
	slide := s.Slide
	if s.Kind == Tumbling {
		slide = s.Width
	}
	for start := Floor(from-1, slide); start < to; start += slide.Milliseconds() {
		if start < from {
			continue
		}
		window(start, start+s.Width.Milliseconds(), slices.DeleteFunc(slices.Clone(list), func(e event) bool {
			return e.at < start || e.at >= start+s.Width.Milliseconds()
		}))
	}
	return windows
}

var quantiles = []float64{0, .5, .9, .99, 1}

func same(t *rapid.T, got, want *Aggregate) {
	t.Helper()
	a, b := *got, *want
	a.sketch, b.sketch, a.few, b.few = nil, nil, [few]uint64{}, [few]uint64{}
	if a != b {
		t.Fatalf("%+v, of which the definition says %+v", a, b)
	}
	for _, q := range quantiles {
		if x, y := got.Quantile(q), want.Quantile(q); x != y {
			t.Fatalf("quantile %v is %v, by the definition %v, of %d", q, x, y, got.Count)
		}
	}
}

// Whatever order events come in, and however they are divided among several that sum
// up what each has: the windows are those of the definition.
func TestWindowsAreThoseOfTheDefinitionInAnyOrderAndDividedAnyhow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, spec := events().Draw(t, "events"), specs().Draw(t, "spec")
		if err := spec.Check(pane); err != nil {
			t.Fatalf("%+v: %v", spec, err)
		}
		from := rapid.Int64Range(-300_000, 300_000).Draw(t, "from")
		to := from + rapid.Int64Range(0, 500_000).Draw(t, "long")
		want := slow(spec, list, from, to)

		parts := make([][]event, rapid.IntRange(1, 3).Draw(t, "parts"))
		for _, e := range rapid.Permutation(list).Draw(t, "order") {
			i := rapid.IntRange(0, len(parts)-1).Draw(t, "part")
			parts[i] = append(parts[i], e)
		}
		unit := spec.Unit(pane)
		pieces := make(map[int64]*Piece)
		for _, part := range parts {
			for start, a := range fold(part) {
				kept, rest, err := Decode(a.Append(nil)) // as it is when it comes from elsewhere
				if err != nil || len(rest) > 0 {
					t.Fatalf("decode: %v, %d bytes left", err, len(rest))
				}
				start = Floor(start, unit)
				if pieces[start] == nil {
					pieces[start] = &Piece{Start: start}
				}
				pieces[start].Merge(&kept)
			}
		}
		var sorted []Piece
		for _, p := range pieces {
			sorted = append(sorted, *p)
		}
		slices.SortFunc(sorted, func(a, b Piece) int { return cmp.Compare(a.Start, b.Start) })
		got := spec.Over(sorted, from, to)
		if len(got) != len(want) {
			t.Fatalf("%d windows, by the definition %d", len(got), len(want))
		}
		for i := range got {
			if got[i].Start != want[i].Start || got[i].End != want[i].End {
				t.Fatalf("[%d,%d), by the definition [%d,%d)", got[i].Start, got[i].End, want[i].Start, want[i].End)
			}
			same(t, &got[i].Aggregate, &want[i].Aggregate)
		}
	})
}

// A quantile is at most one percent off the value that stands at its place.
func TestQuantilesAreCloseToTheValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.OneOf(rapid.Uint64Range(0, 20), rapid.Uint64Range(0, MaxValue)), 1, 200).Draw(t, "values")
		var a Aggregate
		for _, v := range values {
			a.Add(0, v)
		}
		slices.Sort(values)
		for _, q := range quantiles {
			want := float64(nearest(values, int(q*100)))
			if got := a.Quantile(q); math.Abs(got-want) > want*Accuracy*1.0001 {
				t.Fatalf("quantile %v is %v, of %v", q, got, want)
			}
		}
	})
}

// nearest is a percentile by its definition, in whole numbers, of values in order.
func nearest(values []uint64, percent int) uint64 {
	return values[max((percent*len(values)+99)/100, 1)-1]
}

func TestQuantilesOfFewValuesAreThoseAtTheNearestRank(t *testing.T) {
	for _, c := range []struct {
		values        []uint64
		p50, p90, p99 float64
	}{
		{[]uint64{7}, 7, 7, 7},
		{[]uint64{0, 11}, 0, 11, 11},
		{[]uint64{20000, 65536}, 20000, 65536, 65536},
		{[]uint64{1, 2, 1000}, 2, 1000, 1000},
		{[]uint64{0, 0, 0, 0, 0, 0, 0, 0, 0, 500}, 0, 0, 500},
	} {
		var a Aggregate
		for _, v := range c.values {
			a.Add(0, v)
		}
		for q, want := range map[float64]float64{.5: c.p50, .9: c.p90, .99: c.p99} {
			if got := a.Quantile(q); math.Abs(got-want) > want*Accuracy*1.0001 {
				t.Errorf("quantile %v of %v is %v, not %v", q, c.values, got, want)
			}
		}
	}
}

// Shares of a hundred are no exact numbers; the place of a value is.
func TestAQuantileStandsWhereItsShareOfValuesIsFull(t *testing.T) {
	for n := uint64(1); n <= 3000; n++ {
		var a Aggregate
		for _, percent := range []uint64{7, 29, 50, 57, 58, 90, 99} {
			full := (percent*n + 99) / 100 // as many small values as belong to the share
			a = Aggregate{}
			a.AddSame(0, 10, full)
			a.AddSame(0, 1000, n-full)
			if got := a.Quantile(float64(percent) / 100); got > 11 {
				t.Fatalf("%d of 100 of %d: %v", percent, n, got)
			}
			if full < 2 {
				continue
			}
			a = Aggregate{}
			a.AddSame(0, 10, full-1)
			a.AddSame(0, 1000, n-full+1)
			if got := a.Quantile(float64(percent) / 100); got < 989 {
				t.Fatalf("%d of 100 of %d is %v, though there are fewer", percent, n, got)
			}
		}
	}
}

// Values added together count as those that are added one by one.
func TestTheSameValueAddedManyTimesCountsAsOftenAsItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var once, many Aggregate
		for range rapid.IntRange(1, 10).Draw(t, "values") {
			v, n := rapid.Uint64Range(0, 5000).Draw(t, "value"), rapid.Uint64Range(0, 20).Draw(t, "times")
			many.AddSame(7, v, n)
			for range n {
				once.Add(7, v)
			}
		}
		same(t, &many, &once)
	})
}

// A sketch goes with the numbers that it was made with, and with no others.
func TestASketchIsTakenWithItsNumbersOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a Aggregate
		for _, v := range rapid.SliceOfN(rapid.Uint64Range(0, 1<<20), 1, 100).Draw(t, "values") {
			a.Add(5, v)
		}
		numbers := Aggregate{Count: a.Count, Sum: a.Sum, Min: a.Min, Max: a.Max, First: 5, Last: 5}
		got, err := numbers.WithSketch(a.Sketch())
		if err != nil {
			t.Fatal(err)
		}
		same(t, &got, &a)
		numbers.Count++
		if _, err := numbers.WithSketch(a.Sketch()); err == nil {
			t.Fatal("a sketch of fewer values was taken")
		}
	})
}

func TestOfSumsWithoutASketchTheNumbersAreKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a Aggregate
		for _, v := range rapid.SliceOfN(rapid.Uint64Range(0, 1<<20), 1, 20).Draw(t, "values") {
			a.Add(5, v)
		}
		b := Summed(5, a.Count, a.Sum, a.Min, a.Max)
		if b.Count != a.Count || b.Sum != a.Sum || b.Min != a.Min || b.Max != a.Max || b.First != 5 || b.Last != 5 {
			t.Fatalf("%+v of %+v", b, a)
		}
		if q := b.Quantile(.5); q < float64(b.Min) || q > float64(b.Max) {
			t.Fatalf("half of %+v is at %v", b, q)
		}
	})
}

// How many windows there are is known before they are made.
func TestWindowsAreCountedAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Spec{Kind: Tumbling, Width: time.Duration(rapid.IntRange(1, 12).Draw(t, "width")) * 10 * time.Second}
		if rapid.Bool().Draw(t, "slides") {
			s.Kind, s.Slide = Sliding, time.Duration(rapid.IntRange(1, int(s.Width/(10*time.Second))).Draw(t, "slide"))*10*time.Second
		}
		starts := rapid.SliceOfNDistinct(rapid.Int64Range(-60, 60), 0, 30, rapid.ID).Draw(t, "panes")
		slices.Sort(starts)
		var pieces []Piece
		for _, at := range starts {
			p := Piece{Start: at * 10_000}
			p.Add(p.Start, 1)
			pieces = append(pieces, p)
		}
		from := rapid.Int64Range(-400_000, 400_000).Draw(t, "from")
		to := from + rapid.Int64Range(0, 800_000).Draw(t, "long")
		if got, want := s.Count(pieces, from, to), len(s.Over(pieces, from, to)); got != want {
			t.Fatalf("counted %d of %d", got, want)
		}
	})
}

func TestBrokenAggregatesAreRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a Aggregate
		for _, v := range rapid.SliceOfN(rapid.Uint64Range(0, 1<<20), 1, 10).Draw(t, "values") {
			a.Add(5, v)
		}
		whole := a.Append(nil)
		if _, _, err := Decode(whole[:rapid.IntRange(0, len(whole)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("half an aggregate was taken for one")
		}
		if _, err := (Aggregate{Count: 1}).WithSketch(rapid.SliceOf(rapid.Byte()).Draw(t, "noise")); err == nil {
			t.Skip("noise that is a sketch")
		}
	})
}

// Sums stay at the end of what can be counted, in any order.
func TestSumsStayAtTheGreatestNumber(t *testing.T) {
	var a, b Aggregate
	a.AddSame(0, MaxValue, 1<<20)
	b.AddSame(0, 3, 2)
	c := b.Clone()
	c.Merge(&a)
	a.Merge(&b)
	if a.Sum != math.MaxUint64 || c.Sum != math.MaxUint64 || a.Count != 1<<20+2 {
		t.Fatal(a.Sum, c.Sum, a.Count)
	}
	if b.Sum != 6 {
		t.Fatal("the clone shares something")
	}
}

func TestEventsAreJudgedByWhenTheyHappenedAndWereTakenIn(t *testing.T) {
	for _, c := range []struct {
		name       string
		at, stored int64
		want       Verdict
	}{
		{"at once", 5_000, 5_001, InTime},
		{"at the end of the pane before", 10_000, 10_000, InTime},
		{"in the last moment", 9_999, 9_999, InTime},
		{"when the pane is over", 9_999, 10_000, Late},
		{"in the last moment of lateness", 1, 69_999, Late},
		{"after that", 9_999, 70_000, TooLate},
		{"a little ahead", 7_000, 5_000, InTime},
		{"from the future", 7_001, 5_000, Ahead},
		{"before 1970", -1, -1, InTime},
	} {
		if got := rules.Judge(c.at, c.stored); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if rules.Closed(0, 69_999) || !rules.Closed(0, 70_000) {
		t.Error("a pane is closed at the end of its lateness")
	}
}

func TestBadSpecsAreRefused(t *testing.T) {
	for _, s := range []Spec{
		{}, {Kind: "hopping", Width: pane}, {Kind: Tumbling}, {Kind: Tumbling, Width: pane + 1}, {Kind: Tumbling, Width: -pane},
		{Kind: Sliding, Width: pane}, {Kind: Sliding, Width: pane, Slide: 2 * pane}, {Kind: Sliding, Width: 3 * pane, Slide: pane / 2},
		{Kind: Sliding, Width: 1001 * pane, Slide: pane}, {Kind: Session}, {Kind: Session, Gap: pane - 1},
	} {
		if s.Check(pane) == nil {
			t.Errorf("%+v is taken", s)
		}
	}
}
