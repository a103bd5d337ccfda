package chat

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is a room whose messages are stored, and reach a feed in any order, some twice,
// some never.
type world struct {
	t      *rapid.T
	feed   feed
	now    time.Duration
	stored int64
	way    []*news // on their way
	told   []*news
}

func (w *world) tell(list []*news) { w.told = append(w.told, list...) }

// store stores a message, whose news may be lost.
func (w *world) store() {
	w.stored++
	if !rapid.Bool().Draw(w.t, "lost") {
		w.way = append(w.way, &news{kind: newsMessage, seq: w.stored})
	}
}

// edit changes a stored message.
func (w *world) edit() {
	if w.stored > 0 {
		w.way = append(w.way, &news{kind: newsChange, seq: rapid.Int64Range(1, w.stored).Draw(w.t, "edited")})
	}
}

// arrive brings one of those that are on their way, maybe not for the last time.
func (w *world) arrive() {
	if len(w.way) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.way)-1).Draw(w.t, "which")
	n := w.way[i]
	if n.kind == newsChange || rapid.Bool().Draw(w.t, "once") {
		w.way = slices.Delete(w.way, i, i+1)
	}
	w.tell(w.feed.take(n, w.now))
}

// look is what the lane does as time goes on.
func (w *world) look() {
	w.now += 60 * time.Millisecond
	if !w.feed.due(w.now) {
		return
	}
	from, to := w.feed.next, w.feed.last
	if rapid.IntRange(0, 4).Draw(w.t, "fails") == 0 {
		w.tell(w.feed.filled(nil, true, w.now))
		return
	}
	var list []*news
	for seq := max(from, to-9); seq <= to; seq++ { // of a long gap the end
		list = append(list, &news{kind: newsMessage, seq: seq})
	}
	w.tell(w.feed.filled(list, false, w.now))
}

func (w *world) check() {
	last := int64(0)
	for _, n := range w.told {
		switch {
		case n.kind == newsMessage && n.seq <= last:
			w.t.Fatalf("message %d was told after %d", n.seq, last)
		case n.kind == newsMessage:
			last = n.seq
		case n.seq > last:
			w.t.Fatalf("a change of message %d was told before it, at %d", n.seq, last)
		}
	}
}

func TestNewsComeInOrderWhateverTheirWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t}
		w.feed.begin(0)
		t.Repeat(map[string]func(*rapid.T){
			"store": func(*rapid.T) { w.store() },
			"edit":  func(*rapid.T) { w.edit() },
			"come":  func(*rapid.T) { w.arrive() },
			"look":  func(*rapid.T) { w.look() },
			"":      func(*rapid.T) { w.check() },
		})
		// Whatever was lost, once the lane has heard how far the room is it catches up.
		for len(w.way) > 0 {
			w.arrive()
		}
		if w.stored > w.feed.last {
			w.feed.saw(w.stored, w.now)
		}
		for range 1000 {
			w.look()
		}
		w.check()
		if w.feed.open() || len(w.feed.held) > 0 || len(w.feed.changes) > 0 || w.feed.next != w.stored+1 {
			t.Fatalf("of %d messages the feed is at %d, with %d held and %d changes", w.stored, w.feed.next, len(w.feed.held), len(w.feed.changes))
		}
	})
}

func TestAGapIsWaitedForAndThenRead(t *testing.T) {
	var f feed
	f.begin(10)
	at := time.Second
	if ready := f.take(&news{kind: newsMessage, seq: 12}, at); len(ready) > 0 || f.due(at+gapPatience-1) {
		t.Errorf("%d were told across a gap, or it was read at once", len(ready))
	}
	if !f.due(at+gapPatience) || f.due(at+gapPatience) {
		t.Error("the gap is not read once when its time is over")
	}
	ready := f.filled([]*news{{kind: newsMessage, seq: 11}}, false, at+gapPatience)
	if len(ready) != 2 || ready[0].seq != 11 || ready[1].seq != 12 || f.open() {
		t.Errorf("after the gap was read: %v", ready)
	}
}

func TestTheNewsThatCameIsToldRatherThanWhatWasRead(t *testing.T) {
	var f feed
	f.begin(0)
	came := &news{kind: newsMessage, seq: 2}
	f.take(came, 0)
	f.due(gapPatience)
	ready := f.filled([]*news{{kind: newsMessage, seq: 1}, {kind: newsMessage, seq: 2}}, false, gapPatience)
	if len(ready) != 2 || ready[1] != came {
		t.Error("who sent it would get it, too: only what came says whose it is")
	}
}

func TestAFeedHoldsSoMuchAndReadsTheRest(t *testing.T) {
	var f feed
	f.begin(0)
	for seq := int64(2); seq < 3*feedHeld; seq++ {
		f.take(&news{kind: newsMessage, seq: seq}, 0)
	}
	if len(f.held) > feedHeld || f.last != 3*feedHeld-1 {
		t.Errorf("%d are held, the last is %d", len(f.held), f.last)
	}
}
