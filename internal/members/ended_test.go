package members

import (
	"context"
	"testing"
	"testing/synctest"
)

// Of two nodes that are silent one has ended, and the other one is slow.
func TestANodeThatHasEndedIsDeadAtOnceAndASlowOneAfterItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		a := start(t, side{store, "a"}, "a", func(o *Options) {
			o.Ended = func(_ context.Context, m Member) bool { seconds(0.1); return m.ID == "b" }
		})
		b := start(t, side{store, "b"}, "b")
		c := start(t, side{store, "c"}, "c")
		seconds(10)
		a.heard()
		store.reach("b", false)
		store.reach("c", false)
		seconds(3)
		if got := a.heard(); got != "died b" || a.Alive("b") || !a.Alive("c") {
			t.Errorf("after half a lease a has heard %q", got)
		}
		seconds(3)
		if got := a.heard(); got != "died c" {
			t.Errorf("after a lease a has heard %q", got)
		}
		for _, n := range []*running{a, b, c} {
			_ = n.stop()
		}
	})
}

// A node in the minority cannot store its row, and so takes nobody for dead.
func TestANodeThatIsCutOffItselfTakesNobodyForEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		a := start(t, side{store, "a"}, "a", func(o *Options) {
			o.Ended = func(context.Context, Member) bool { return true }
		})
		b := start(t, side{store, "b"}, "b")
		seconds(10)
		a.heard()
		store.reach("a", false)
		seconds(30)
		if got := a.heard(); got != "lost" || !a.Alive("b") {
			t.Errorf("a has heard %q", got)
		}
		store.reach("a", true)
		seconds(10)
		if got := a.heard(); got != "found" || !a.Alive("b") {
			t.Errorf("a has heard %q", got)
		}
		_, _ = a.stop(), b.stop()
	})
}
