package members

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// standing returns how a list shows nodes, in its order.
func standing(list []Member) string {
	var s []string
	for _, m := range list {
		s = append(s, m.ID+" "+string(m.Status))
	}
	return strings.Join(s, ", ")
}

func TestANodeThatHasLostTouchShowsItselfAndWhomItDoesNotHearAsUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		a, b := start(t, side{store, "a"}, "a"), start(t, side{store, "b"}, "b")
		<-a.In()
		<-b.In()
		a.SetStatus(Up)
		b.SetStatus(Up)
		seconds(10)
		var mu sync.Mutex
		var told string
		stop := b.Watch(func(list []Member) {
			mu.Lock()
			defer mu.Unlock()
			told = standing(list)
		})
		defer stop()
		store.reach("b", false)
		began := time.Now()
		for b.Valid() {
			seconds(0.01)
		}
		self := b.List()[1]
		if self.Status != Unreachable || !strings.Contains(self.Reason, "lost touch") || time.Since(self.Since) > time.Second {
			t.Errorf("of itself it shows %+v", self)
		}
		for b.List()[0].Status != Unreachable {
			if time.Since(began) > 6*time.Second {
				t.Fatal("a is shown as ", standing(b.List()))
			}
			seconds(0.01)
		}
		if after := time.Since(began); after < 3900*time.Millisecond {
			t.Errorf("a is shown as unreachable after %s, before its lease was over", after)
		}
		if other := b.List()[0]; other.Sessions != 0 || time.Since(other.Since) > time.Second {
			t.Errorf("of a it shows %+v", other)
		}
		seconds(0.5)
		mu.Lock()
		if told != "a unreachable, b unreachable" {
			t.Error("watchers were told ", told)
		}
		mu.Unlock()
		seconds(60)
		// It judges nobody meanwhile: a and b have what they keep.
		if got := standing(b.Judged()); got != "a up, b up" || b.heard() != "joined a, lost" {
			t.Error("it judges ", got)
		}
		store.reach("b", true)
		seconds(3)
		if got := standing(b.List()); got != "a up, b up" || b.List()[1].Reason != "" {
			t.Error("back again it shows ", got)
		}
		if err := b.stop(); err != nil || standing(b.List()) == "a unreachable, b unreachable" {
			t.Error("one that leaves is not lost: ", standing(b.List()), err)
		}
	})
}

func TestANodeWithAnotherLeaseIsSaidOnceOnBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		a := start(t, side{store, "a"}, "a")
		b := start(t, side{store, "b"}, "b", func(o *Options) { o.Lease = 20 * time.Second })
		c := start(t, side{store, "c"}, "c")
		seconds(60)
		for _, n := range []*running{a, b, c} {
			_ = n.stop()
		}
		const what = "a node has another cluster.lease"
		for n, others := range map[*running]string{a: "b", b: "a c", c: "b"} {
			log := n.log.String()
			if got := strings.Count(log, what); got != len(strings.Fields(others)) {
				t.Errorf("%s says %d times that another has another lease:\n%s", n.Self(), got, log)
			}
			for _, other := range strings.Fields(others) {
				if !strings.Contains(log, "node="+other+" ") {
					t.Errorf("%s does not name %s:\n%s", n.Self(), other, log)
				}
			}
		}
		if log := a.log.String(); !strings.Contains(log, "its=20s own=5s") {
			t.Error(log)
		}
	})
}

func TestANodeOfAVersionThatDoesNotSayItsLeaseIsNotBlamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		a := start(t, side{store, "a"}, "a")
		for beat := range 5 {
			row := fmt.Sprintf(`{"name":"old","address":"","status":"up","roles":null,"version":"v0","min":1,"max":1,"beat":%d}`, beat+1)
			_ = side{store, "old"}.set(t.Context(), "old", []byte(row))
			seconds(1)
		}
		if _ = a.stop(); strings.Contains(a.log.String(), "cluster.lease") || !a.Alive("old") {
			t.Error(a.log.String())
		}
	})
}
