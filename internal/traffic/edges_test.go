package traffic

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/internal/window"
)

func tumbling(width time.Duration) Request {
	return Request{Windows: window.Spec{Kind: window.Tumbling, Width: width}, Past: 10}
}

func sent(at, stored int64, device string, amount uint64) Event {
	return Event{At: at, Stored: stored, Key: Key{Type: Sent, App: "a", Device: device}, Amount: amount}
}

func ask(t *testing.T, w *world, q Request) Answer {
	t.Helper()
	a, err := w.room.Query(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestWhatComesTooLateOrFromTheFutureIsCountedApart(t *testing.T) {
	w := newWorld(1, began)
	w.shards[0].append([]Event{
		sent(began, began, "x", 4),
		sent(began-70_000, began, "x", 5),   // its ten seconds have been closed just now
		sent(began-69_999, began, "x", 6),   // one that closes later
		sent(began+5_001, began, "x", 7),    // further ahead than clocks may be
		sent(began+3_600_000, began, "", 8), // much further
		sent(began+5_000, began, "x", 9),
	})
	w.now = began + 200_000
	a := ask(t, w, tumbling(minute))
	var count, sum, late uint64
	for _, one := range a.Windows {
		for _, g := range one.Groups {
			count, sum, late = count+g.Count, sum+g.Sum, late+g.Late
		}
	}
	// -69 999 ms is in the pane that begins at -70 000: closed at -60 000 + a minute.
	if count != 2 || sum != 13 || late != 0 || a.TooLate != 2 || a.Ahead != 2 {
		t.Errorf("%d messages of %d bytes, %d late, %d too late, %d ahead", count, sum, late, a.TooLate, a.Ahead)
	}
}

func TestAResultIsCorrectedUntilItIsFinal(t *testing.T) {
	w := newWorld(2, began+1000)
	s := w.shards[0]
	s.append([]Event{sent(began, began+1, "x", 4)})
	see := func(count, late uint64, final bool) {
		t.Helper()
		a := ask(t, w, tumbling(Pane))
		if len(a.Windows) != 1 {
			t.Fatalf("%d windows", len(a.Windows))
		}
		one := a.Windows[0]
		if g := one.Groups[0]; g.Count != count || g.Late != late || one.Final != final {
			t.Errorf("%d messages, revision %d, final %v; want %d, %d, %v", g.Count, g.Late, one.Final, count, late, final)
		}
	}
	see(1, 0, false)
	w.now = began + 10_000
	s.append([]Event{sent(began+9, w.now, "x", 4)})
	see(2, 1, false)
	w.now = began + 69_999
	s.append([]Event{sent(began+9, w.now, "x", 4)})
	see(3, 2, false)
	w.now = began + 70_000 // nothing comes any more, and it is final all the same
	see(3, 2, true)
	s.append([]Event{sent(began+9, w.now, "x", 4)})
	see(3, 2, true)
}

func TestWhatCannotBeAnsweredIsRefused(t *testing.T) {
	w := newWorld(1, began)
	at := func(ago time.Duration) time.Time { return time.UnixMilli(began).Add(-ago) }
	for name, q := range map[string]Request{
		"no window":                    {},
		"no whole panes":               tumbling(15 * time.Second),
		"nothing between":              {Windows: tumbling(Pane).Windows, From: at(0), To: at(time.Second)},
		"panes of long ago":            {Windows: tumbling(Pane).Windows, From: at(2*time.Hour + time.Second)},
		"minutes of long ago":          {Windows: tumbling(minute).Windows, From: at(24*time.Hour + time.Second)},
		"devices of long ago":          {Windows: tumbling(minute).Windows, From: at(time.Hour + time.Second), By: []string{"device"}},
		"one device of long ago":       {Windows: tumbling(minute).Windows, From: at(time.Hour + time.Second), Only: Key{Device: "x"}},
		"short slides over long":       {Windows: window.Spec{Kind: window.Sliding, Width: minute, Slide: Pane}, From: at(3 * time.Hour)},
		"sessions of short gaps, long": {Windows: window.Spec{Kind: window.Session, Gap: Pane}, From: at(3 * time.Hour)},
	} {
		var refused *Refused
		if _, err := w.room.Query(t.Context(), q); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := w.room.Follow(q); !errors.As(err, &refused) {
			t.Errorf("follow %s: %v", name, err)
		}
	}
	for _, text := range []string{"apps", "app,app", "app,", ",", "total,app"} {
		if by, err := ParseBy(text); err == nil {
			t.Errorf("by %q is taken for %v", text, by)
		}
	}
}

func TestWithoutPastThereAreAsManyWindowsAsAreKeptAtMostSixty(t *testing.T) {
	for _, c := range []struct {
		width time.Duration
		by    []string
		want  time.Duration
	}{
		{Pane, nil, 60 * Pane},
		{minute, nil, time.Hour},
		{time.Hour, nil, KeptMinutes},
		{6 * time.Hour, nil, KeptMinutes},
		{90 * time.Second, nil, 60 * 90 * time.Second},
		{5 * minute, []string{"device"}, KeptDevices},
	} {
		w := newWorld(1, began+12_345)
		q := Request{Windows: tumbling(c.width).Windows, By: c.by}
		a := ask(t, w, q)
		last := time.UnixMilli(window.Floor(w.now, c.width)).Add(c.width)
		if got := last.Sub(a.From); got != c.want {
			t.Errorf("of windows of %s by %v there are %s, not %s", c.width, c.by, got, c.want)
		}
	}
}

// The longest windows that there may be are there for more than half of the time for
// which they are kept once they are final, whatever they are asked for as.
func TestTheLongestWindowsAreReadForLongOnceTheyAreFinal(t *testing.T) {
	for _, c := range []struct {
		windows window.Spec
		by      []string
		keep    time.Duration
	}{
		{tumbling(KeptMinutes / share).Windows, nil, KeptMinutes},
		{tumbling(KeptDevices / share).Windows, []string{"device"}, KeptDevices},
		{window.Spec{Kind: window.Sliding, Width: KeptPanes / share, Slide: KeptPanes / share / window.MaxOverlap}, nil, KeptPanes},
	} {
		width := c.windows.Width
		start := window.Floor(began, width) + width.Milliseconds()
		w := newWorld(1, start+1)
		w.shards[0].append([]Event{sent(start, w.now, "x", 4)})
		q := Request{Windows: c.windows, By: c.by, From: time.UnixMilli(start), To: time.UnixMilli(start + 1)}
		end := start + (width + time.Minute).Milliseconds()
		for w.now = end; w.now <= end+c.keep.Milliseconds()/2; w.now += (5 * time.Minute).Milliseconds() {
			w.shards[0].append([]Event{sent(w.now, w.now, "y", 1)}) // what is old is forgotten meanwhile
			a := ask(t, w, q)
			if len(a.Windows) != 1 || !a.Windows[0].Final || a.Windows[0].Groups[0].Sum != 4 {
				t.Fatalf("%s of %s after its end: %+v", width, time.Duration(w.now-end)*time.Millisecond, a)
			}
		}
		q.Windows.Width += width
		q.Windows.Slide = 2*q.Windows.Slide + Pane // no whole minutes
		var refused *Refused
		if _, err := w.room.Query(t.Context(), q); !errors.As(err, &refused) || refused.Field != "window" {
			t.Errorf("twice %s: %v", width, err)
		}
	}
}

func TestAPartThatIsNotToBeHadIsAnError(t *testing.T) {
	w := newWorld(3, began)
	w.shards[1].shard.End()
	if _, err := w.room.Query(t.Context(), tumbling(Pane)); !errors.Is(err, ErrNotHere) {
		t.Errorf("two of three shards: %v", err)
	}
}

// Minutes are kept for a day, panes for less; what a day has is asked for in minutes.
func TestMinutesAnswerForADayAndWhatIsOlderIsForgotten(t *testing.T) {
	w := newWorld(1, began)
	s := w.shards[0]
	for i := range 25 * 60 {
		w.now = began + int64(i)*60_000 + 30_000
		s.append([]Event{sent(w.now, w.now, "x", 3)})
	}
	q := tumbling(minute)
	q.From = time.UnixMilli(w.now).Add(-KeptMinutes)
	if a := ask(t, w, q); len(a.Windows) != 24*60 {
		t.Errorf("%d minutes of a day", len(a.Windows))
	}
	for i := range Chunks { // as after a clean stop
		s.keep(i)
	}
	s.summarize()
	s.start()
	if a := ask(t, w, q); len(a.Windows) != 24*60 {
		t.Errorf("%d minutes of a day after a stop", len(a.Windows))
	}
	s.append([]Event{sent(w.now, w.now, "x", 3)})
	if n := len(s.shard.of.slots); n > 2*60*6+10+60*6+10+24*60+10 {
		t.Errorf("%d slots are kept", n)
	}
}

func TestGroupsForWhichThereIsNoRoomAreCountedTogether(t *testing.T) {
	w := newWorld(1, began)
	var batch []Event
	for i := range 10_000 {
		e := sent(began, began, fmt.Sprint("device-", i), 1)
		e.App = fmt.Sprint("app-", i)
		batch = append(batch, e)
	}
	w.shards[0].append(batch)
	for _, by := range [][]string{{"app"}, {"device"}} {
		q := tumbling(Pane)
		q.By = by
		a := ask(t, w, q)
		var all, other uint64
		for _, g := range a.Windows[0].Groups {
			all += g.Count
			if g.App == Other || g.Device == Other {
				other += g.Count
			}
		}
		if all != 10_000 || other == 0 || len(a.Windows[0].Groups) > 8100 {
			t.Errorf("by %v: %d messages, %d of them of others, in %d groups", by, all, other, len(a.Windows[0].Groups))
		}
	}
	for _, i := range []int{place{fine, 0, began}.chunk(), place{devices, 0, began}.chunk()} {
		if n := len(w.shards[0].shard.Save(i)); n == 0 || n > 1<<20 {
			t.Errorf("a chunk of %d bytes", n)
		}
	}
}

func TestEverySlotHasAChunkThatNoOtherHasWhileItIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seen := make(map[int]place)
		now := rapid.Int64Range(began, 4*began).Draw(t, "now")
		for l := range layers {
			f := l.form()
			for ago := -time.Minute; ago <= f.keep+MaxLateness; ago += f.width {
				for part := range f.parts {
					p := place{l, uint8(part), window.Floor(now-ago.Milliseconds(), f.width)}
					n, first := p.chunk(), place{l, uint8(part), p.pack()}
					if other, there := seen[n]; there && other != first || n < 0 || n >= Chunks {
						t.Fatalf("%+v is in chunk %d, as is %+v", p, n, other)
					}
					seen[n] = first
				}
			}
		}
	})
}

func TestABrokenChunkIsRefused(t *testing.T) {
	w := newWorld(1, began)
	w.shards[0].append([]Event{sent(began, began, "x", 3)})
	n := place{fine, 0, began}.chunk()
	state := w.shards[0].shard.Save(n)
	fresh := w.room.Begin(0)
	if err := fresh.Load(n+1, state); err == nil {
		t.Error("a chunk was taken for another one")
	}
	for i := range state {
		state[i] ^= 0x10
		if err := fresh.Load(n, state); err == nil {
			t.Errorf("a chunk with a broken byte %d was taken", i)
		}
		state[i] ^= 0x10
	}
	if err := fresh.Load(n, state[:3]); err == nil {
		t.Error("a piece of a chunk was taken")
	}
	if err := fresh.Load(n, state); err != nil {
		t.Error(err)
	}
}

// What is brought from elsewhere, oldest last, is in the minutes of its day beside what was
// folded before, and takes the place of nothing that is newer.
func TestWhatIsBroughtIsInItsMinutesAndInTheWayOfNothing(t *testing.T) {
	w := newWorld(1, began)
	s := w.shards[0]
	s.append([]Event{sent(w.now, w.now, "x", 1)})
	const days = 3
	for i := range days * 24 * 60 {
		at := began - int64(i)*60_000
		e := sent(at, at+1000, "x", 2)
		e.Brought = true
		s.append([]Event{e})
	}
	w.now += 2 * MaxLateness.Milliseconds()
	s.append([]Event{sent(w.now, w.now, "x", 1)})
	for _, when := range []string{"", " after a stop"} {
		q := tumbling(minute)
		q.From = time.UnixMilli(w.now).Add(-KeptMinutes)
		a := ask(t, w, q)
		var sum uint64
		for _, x := range a.Windows {
			sum += x.Groups[0].Sum
		}
		if minutes := 24*60 - 10 + 1; len(a.Windows) != minutes+1 || sum != uint64(2*minutes+2) {
			t.Errorf("there are %d minutes with %d bytes%s", len(a.Windows), sum, when)
		}
		q = tumbling(Pane)
		q.By, q.From = []string{"device"}, time.UnixMilli(w.now).Add(-KeptDevices)
		if a := ask(t, w, q); len(a.Windows) != 60-10+2 {
			t.Errorf("a device is in %d windows%s", len(a.Windows), when)
		}
		for i := range Chunks {
			s.keep(i)
		}
		s.summarize()
		s.start()
	}
}
