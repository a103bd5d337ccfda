package socket

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever is scheduled, moved and cancelled, and however the time passes: a
// timer comes not before its tick, at the first turn after it, and once.
func TestWheelCallsEachTimerInItsTick(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w wheel
		timers := make([]timer, 8)
		planned := make(map[*session]int64) // the tick
		for i := range timers {
			timers[i].session = new(session)
		}
		var now time.Duration
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			tm := &timers[rapid.IntRange(0, 7).Draw(t, "timer")]
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				at := now + time.Duration(rapid.IntRange(-100, 100_000).Draw(t, "in"))*time.Millisecond
				w.schedule(tm, at)
				due := min(max(int64((at+tick-1)/tick), w.at+1), w.at+wheelSlots-1)
				if old, ok := planned[tm.session]; !ok || due < old {
					planned[tm.session] = due
				}
			case 2:
				w.cancel(tm)
				delete(planned, tm.session)
			case 3:
				now += time.Duration(rapid.IntRange(0, 80_000).Draw(t, "ms")) * time.Millisecond
				got := w.advance(now, nil)
				for s, due := range planned {
					if came := slices.Contains(got, s); came != (due <= int64(now/tick)) {
						t.Fatalf("at tick %d the timer for %d came: %v", int64(now/tick), due, came)
					}
				}
				for _, s := range got {
					if _, ok := planned[s]; !ok {
						t.Fatal("a timer came that was not planned")
					}
					delete(planned, s)
				}
			}
		}
	})
}

func TestFifoIsAQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q fifo[int]
		var model []int
		for i := range rapid.IntRange(0, 300).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "push") {
				q.push(i)
				model = append(model, i)
			} else {
				n := rapid.IntRange(0, len(model)).Draw(t, "drop")
				q.drop(n)
				model = model[n:]
			}
			if q.len() != len(model) {
				t.Fatalf("%d items, not %d", q.len(), len(model))
			}
			for i, want := range model {
				if q.at(i) != want {
					t.Fatalf("item %d is %d, not %d", i, q.at(i), want)
				}
			}
		}
		if len(model) == 0 && q.items != nil {
			t.Fatal("an empty queue holds memory")
		}
	})
}
