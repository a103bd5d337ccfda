package traffic

import (
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
