package traffic

import (
	"fmt"
	"testing"
	"time"
)

// The last panes before a long silence become minutes, though they would be old when
// something comes again, and though that may take their place.
func TestWhatCameBeforeALongSilenceIsInItsMinutes(t *testing.T) {
	for _, silence := range []time.Duration{3 * time.Hour, 130 * time.Minute, 260 * time.Minute, 23 * time.Hour} {
		w := newWorld(1, began)
		s := w.shards[0]
		s.append([]Event{sent(began, w.now, "x", 3), sent(began+1, w.now, "x", 4)})
		for i := range Chunks {
			s.keep(i)
		}
		s.summarize()
		w.now += silence.Milliseconds()
		s.append([]Event{sent(w.now, w.now, "x", 5)})
		q := tumbling(minute)
		q.From = time.UnixMilli(began)
		for _, when := range []string{"", " after a kill"} {
			if a := ask(t, w, q); len(a.Windows) != 2 || a.Windows[0].Groups[0].Sum != 7 {
				t.Errorf("before %s of silence, seen after it%s: %+v", silence, when, a.Windows)
			}
			s.start()
		}
	}
}

// What is not told apart stays its app's, and an app that has much leaves room for
// those that have little.
func TestAnAppSeesAllOfItsOwnHoweverMuchOthersHave(t *testing.T) {
	w := newWorld(1, began)
	var batch []Event
	for i := range 10_000 {
		e := sent(began, began, fmt.Sprint("device-", i), 1)
		e.App, e.Capability, e.Domain = "big", fmt.Sprint("c", i), "d"
		batch = append(batch, e)
	}
	for i := range 3 {
		e := sent(began, began, fmt.Sprint("small-", i), 1)
		e.App, e.Capability = "small", fmt.Sprint("c", i)
		batch = append(batch, e)
	}
	w.shards[0].append(batch)
	check := func(when string) {
		for app, all := range map[string]uint64{"big": 10_000, "small": 3} {
			for _, by := range []string{"device", "capability"} {
				q := tumbling(Pane)
				q.By, q.Only.App = []string{by}, app
				q.From = time.UnixMilli(began)
				var count, other uint64
				for _, window := range ask(t, w, q).Windows {
					for _, g := range window.Groups {
						if count += g.Count; g.Device == Other || g.Capability == Other {
							other += g.Count
						}
					}
				}
				if count != all || other > 0 != (app == "big") {
					t.Errorf("%s has %d messages by %s%s, %d of them of others, of %d", app, count, by, when, other, all)
				}
			}
		}
	}
	check("")
	w.now += (10 * time.Minute).Milliseconds()
	w.shards[0].append([]Event{sent(w.now, w.now, "x", 1)}) // it is sealed
	check(" when it is sealed")
}
