package chat

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// desk is a room of a few messages that are changed again and again; news of that reach
// edits in any order, some twice, some never.
type desk struct {
	t      *rapid.T
	edits  edits
	now    time.Duration
	stored int64
	latest map[int64]int64 // by message, its last change
	way    []*news
	told   []*news
}

func (d *desk) edit() {
	d.stored++
	seq := rapid.Int64Range(1, 4).Draw(d.t, "message")
	d.latest[seq] = d.stored
	if !rapid.Bool().Draw(d.t, "lost") {
		d.way = append(d.way, &news{kind: newsChange, seq: seq, change: d.stored})
	}
}

func (d *desk) arrive() {
	if len(d.way) == 0 {
		return
	}
	i := rapid.IntRange(0, len(d.way)-1).Draw(d.t, "which")
	n := d.way[i]
	if rapid.Bool().Draw(d.t, "once") {
		d.way = slices.Delete(d.way, i, i+1)
	}
	d.told = append(d.told, d.edits.take(n, d.now)...)
}

// look is what the lane does as time goes on.
func (d *desk) look() {
	d.now += 60 * time.Millisecond
	after, to := d.edits.told, d.edits.last
	if !d.edits.due(d.now) {
		return
	}
	if rapid.IntRange(0, 4).Draw(d.t, "fails") == 0 {
		d.told = append(d.told, d.edits.read(nil, to, true, d.now)...)
		return
	}
	var list []*news
	for seq, change := range d.latest {
		if change > after {
			list = append(list, &news{kind: newsChange, seq: seq, change: change})
		}
	}
	slices.SortFunc(list, func(a, b *news) int { return cmp.Compare(a.change, b.change) })
	d.told = append(d.told, d.edits.read(list, to, false, d.now)...)
}

func TestOfEachMessageTheLastChangeIsToldLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &desk{t: t, latest: make(map[int64]int64)}
		t.Repeat(map[string]func(*rapid.T){
			"edit": func(*rapid.T) { d.edit() },
			"come": func(*rapid.T) { d.arrive() },
			"look": func(*rapid.T) { d.look() },
		})
		for len(d.way) > 0 {
			d.arrive()
		}
		if d.stored > d.edits.last { // as the lane hears when it compares
			d.edits.saw(d.stored, d.now)
		}
		for range 1000 {
			d.look()
		}
		seen := make(map[int64]int64)
		last := int64(0)
		for _, n := range d.told {
			if n.change <= last {
				t.Fatalf("change %d was told after %d", n.change, last)
			}
			last, seen[n.seq] = n.change, n.change
		}
		for seq, change := range d.latest {
			if seen[seq] != change {
				t.Fatalf("of message %d change %d was told last, not %d", seq, seen[seq], change)
			}
		}
		if d.edits.open() || len(d.edits.held) > 0 {
			t.Fatalf("of %d changes %d are told, and %d held", d.stored, d.edits.told, len(d.edits.held))
		}
	})
}

func TestAChangeThatCameIsToldRatherThanWhatWasRead(t *testing.T) {
	var e edits
	e.begin(6)
	came := &news{kind: newsChange, seq: 1, change: 8}
	if ready := e.take(came, 0); len(ready) > 0 || e.due(gapPatience-1) || !e.due(gapPatience) || e.due(gapPatience) {
		t.Error("the gap is not waited for, or not read once")
	}
	ready := e.read([]*news{{kind: newsChange, seq: 2, change: 7}, {kind: newsChange, seq: 1, change: 8}}, 8, false, gapPatience)
	if len(ready) != 2 || ready[1] != came || e.open() {
		t.Errorf("who made it would get it, too: %v", ready)
	}
}

// What was read says how a message was last; older changes of it are not told after that,
// and nothing is kept of it once newer ones have come.
func TestNoOlderChangeFollowsAMessageThatWasRead(t *testing.T) {
	var a ahead
	for i, c := range []struct {
		n    news
		want bool
	}{
		{news{kind: newsChange, seq: 1, change: 1}, true},
		{news{kind: newsMessage, seq: 2, change: 4}, true},
		{news{kind: newsChange, seq: 1, change: 2}, true},
		{news{kind: newsChange, seq: 2, change: 3}, false},
		{news{kind: newsChange, seq: 2, change: 4}, false},
		{news{kind: newsChange, seq: 2, change: 5}, true},
	} {
		if got := a.follows(&c.n); got != c.want {
			t.Errorf("%d: told is %v", i, got)
		}
	}
	if last := a.settle(3); last != 4 || len(a) != 1 {
		t.Errorf("the last is %d, and %d are kept", last, len(a))
	}
	if a.settle(4); len(a) != 0 {
		t.Errorf("%d are kept", len(a))
	}
}
