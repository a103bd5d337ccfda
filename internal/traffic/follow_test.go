package traffic

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/internal/window"
)

func TestWhoFollowsIsToldOfWhatIsNewOrChangedOnce(t *testing.T) {
	w := newWorld(1, began+1000)
	s := w.shards[0]
	q := tumbling(Pane)
	q.By = []string{"app"}
	f, err := w.room.Follow(q)
	if err != nil {
		t.Fatal(err)
	}
	next := func(want string) {
		t.Helper()
		list, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, one := range list {
			for _, g := range one.Groups {
				got = append(got, fmt.Sprintf("%d:%s=%d/%v", (one.Start.UnixMilli()-began)/1000, g.App, g.Count, one.Final))
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Fatalf("told %q, want %q", text, want)
		}
	}
	next("")
	s.append([]Event{sent(began, w.now, "x", 1)})
	next("0:a=1/false")
	next("")
	w.now = began + 15_000
	b := sent(began+14_000, w.now, "x", 1)
	b.App = "b"
	s.append([]Event{sent(began+9_000, w.now, "x", 1), b})
	next("0:a=2/false 10:b=1/false")
	for w.now = began + 16_000; w.now < began+69_000; w.now += 1000 {
		next("")
	}
	w.now = began + 70_000
	next("0:a=2/true")
	w.now = began + 200_000
	next("10:b=1/true")
	for range 300 {
		w.now += 1000
		next("")
	}
	s.append([]Event{sent(w.now, w.now, "x", 1)})
	list, err := f.Next(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("after long silence: %v %v", list, err)
	}
}

// client keeps what it is told as the documentation says: by group and begin, without
// what that takes the place of.
type client map[told]string

func (c client) take(list []Window) {
	for _, w := range list {
		for _, g := range w.Groups {
			for _, start := range g.Replaces {
				delete(c, told{start.UnixMilli(), g.Key})
			}
			c[told{w.Start.UnixMilli(), g.Key}] = fmt.Sprint(w.End.UnixMilli(), g.Count, g.Sum, g.Min, g.Max, g.Late, w.Final)
		}
	}
}

func TestASessionThatHasMergedOrBeginsEarlierTakesThePlaceOfWhatWasTold(t *testing.T) {
	w := newWorld(1, began+60_000)
	f, err := w.room.Follow(Request{Windows: window.Spec{Kind: window.Session, Gap: Pane}, By: []string{"device"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		at   int64 // seconds
		want string
	}{
		{22, "22-32: 1, for []"},
		{40, "40-50: 1, for []"},
		{31, "22-50: 3, for [40]"},
		{16, "16-50: 4, for [22]"},
		{47, "16-57: 5, for []"},
	} {
		w.shards[0].append([]Event{sent(began+step.at*1000, w.now, "x", 1)})
		list, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, one := range list {
			var replaced []int64
			for _, start := range one.Groups[0].Replaces {
				replaced = append(replaced, (start.UnixMilli()-began)/1000)
			}
			got = append(got, fmt.Sprintf("%d-%d: %d, for %v", (one.Start.UnixMilli()-began)/1000, (one.End.UnixMilli()-began)/1000, one.Groups[0].Count, replaced))
		}
		if text := strings.Join(got, "; "); text != step.want {
			t.Errorf("after %d s: told %s, want %s", step.at, text, step.want)
		}
	}
}

// Whatever comes in whichever order: who follows has what is answered to who asks.
func TestWhoFollowsHasWhatIsAnsweredToWhoAsks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(2, began)
		q := request().Draw(t, "request")
		q.Past = 1
		f, err := w.room.Follow(q)
		if err != nil {
			t.Fatal(err)
		}
		c := make(client)
		var from time.Time
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			w.now += rapid.Int64Range(1, 40_000).Draw(t, "ms")
			batch := rapid.SliceOfN(event(), 0, 5).Draw(t, "events")
			for i := range batch {
				batch[i].Stored = w.now
				batch[i].At += w.now
			}
			w.shard(t).append(batch)
			list, err := f.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.take(list)
			if from.IsZero() {
				from = w.query(t, q).From
			}
			asked := q
			asked.From = from
			want := make(client)
			want.take(w.query(t, asked).Windows)
			if !maps.Equal(c, want) {
				t.Fatalf("%+v: whoever follows has\n%v\nand whoever asks\n%v", q, listed(c), listed(want))
			}
		}
	})
}

func listed(c client) string {
	var lines []string
	for at, text := range c {
		lines = append(lines, fmt.Sprintf("%d %v: %s", at.start-began, at.key, text))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestASessionThatGoesOnForLongerThanItIsKeptIsFollowed(t *testing.T) {
	w := newWorld(1, began)
	f, err := w.room.Follow(Request{Windows: window.Spec{Kind: window.Session, Gap: Pane}, By: []string{"device"}})
	if err != nil {
		t.Fatal(err)
	}
	c := make(client)
	for end := began + (KeptDevices + 5*minute).Milliseconds(); w.now < end; w.now += 5_000 {
		w.shards[0].append([]Event{sent(w.now, w.now, "x", 1)})
		list, err := f.Next(t.Context())
		if err != nil || len(list) == 0 {
			t.Fatalf("%d s: told %v, %v", (w.now-began)/1000, list, err)
		}
		if c.take(list); len(c) != 1 {
			t.Fatalf("one session is told as\n%s", listed(c))
		}
	}
}
