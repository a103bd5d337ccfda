package gateway

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Unix(1_000_000, 0)

func TestABreakerOpensAfterFailuresInARowAndLetsOneRequestThroughLater(t *testing.T) {
	c := Breaker{Failures: 3, OpenFor: time.Second}
	var b breaker
	at := start
	now := func() time.Time { return at }
	fail := func() bool { return b.note(noAnswer, false, at, c) }
	for n := range 4 {
		if n == 2 {
			b.note(answered, false, at, c)
		}
		if fail() {
			t.Fatal("it opens although one went well in between")
		}
	}
	if !fail() || b.is() != open || b.ready(now) {
		t.Fatal("it does not open")
	}
	if b.note(answered, false, at, c); b.is() != open {
		t.Error("a request that began before closes it")
	}
	at = at.Add(time.Second)
	if !b.ready(now) {
		t.Fatal("nobody is tried")
	}
	if ok, trial := b.take(at); !ok || !trial {
		t.Fatal("the trial is refused")
	}
	if ok, _ := b.take(at); ok || b.ready(now) {
		t.Error("two are tried at once")
	}
	if b.note(undecided, true, at, c); !b.ready(now) {
		t.Error("a client that left takes the trial with it")
	}
	b.take(at)
	if b.note(noAnswer, true, at, c) || b.is() != open || b.ready(now) {
		t.Error("a failed trial does not open it again")
	}
	at = at.Add(time.Second)
	b.take(at)
	if b.note(answered, true, at, c); b.is() != closed || b.failures.Load() != 0 {
		t.Error("a good trial does not close it")
	}
}

func TestRetriesAreABoundedShareOfRequests(t *testing.T) {
	b := newBudget(start)
	taken, at := 0, start
	for range 100_000 { // in 10 s
		at = at.Add(100 * time.Microsecond)
		b.asked()
		if b.take(at) {
			taken++
		}
	}
	if most := int(retryReserve + 100_000*retryShare + 10*retryFloor); taken > most || taken < most*9/10 {
		t.Errorf("%d of 100000, want at most %d", taken, most)
	}
}

func TestHealthChangesAfterLooksInARow(t *testing.T) {
	h := Health{UnhealthyAfter: 2, HealthyAfter: 3}
	var v vitals
	for n, c := range []struct{ ok, changed, down bool }{
		{false, false, false}, {true, false, false}, {false, false, false}, {false, true, true}, {false, false, true},
		{true, false, true}, {true, false, true}, {false, false, true}, {true, false, true}, {true, false, true}, {true, true, false},
	} {
		if changed := v.note(c.ok, h); changed != c.changed || v.down != c.down {
			t.Errorf("look %d: changed %v, down %v", n, changed, v.down)
		}
	}
}

// pool makes a service of instances with these weights.
func pool(weights ...int) *service {
	s := newService("s", start)
	var list []*instance
	for n, w := range weights {
		i := &instance{Instance: Instance{Name: fmt.Sprint(n)}, weight: int64(w)}
		for o := range outcomes {
			i.attempts[o] = none{}
		}
		list = append(list, i)
	}
	s.list.Store(&list)
	return s
}

type none struct{}

func (none) Inc() {}

func TestRequestsGoToTheInstanceWithTheFewestInFlightForItsWeight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, 100), 1, 20).Draw(t, "weights")
		s := pool(weights...)
		list := *s.list.Load()
		for range rapid.IntRange(1, 500).Draw(t, "requests") {
			if rapid.IntRange(0, 3).Draw(t, "end") == 0 {
				if i := list[rapid.IntRange(0, len(list)-1).Draw(t, "of")]; i.inFlight.Load() > 0 {
					i.inFlight.Add(-1)
				}
				continue
			}
			best, _ := s.pick(&tried{}, time.Now)
			n := best.inFlight.Load()
			for _, i := range list {
				if i != best && (i.inFlight.Load()+1)*best.weight < n*i.weight {
					t.Fatalf("%s has %d with weight %d, but %s only %d with %d", best.Name, n, best.weight, i.Name, i.inFlight.Load(), i.weight)
				}
			}
		}
	})
}

func TestEqualInstancesTakeTurns(t *testing.T) {
	s := pool(1, 1, 1)
	got := map[string]int{}
	for range 300 {
		i, _ := s.pick(&tried{}, time.Now)
		got[i.Name]++
		i.inFlight.Add(-1)
	}
	if got["0"] != 100 || got["1"] != 100 || got["2"] != 100 {
		t.Errorf("got %v", got)
	}
}

func TestNobodyIsPickedTwiceOrWhileDown(t *testing.T) {
	s := pool(1, 1, 1)
	list := *s.list.Load()
	list[1].down.Store(true)
	x := &tried{list: [maxTries]*instance{list[0]}, n: 1}
	for range 10 {
		if i, _ := s.pick(x, time.Now); i != list[2] {
			t.Fatalf("got %v", i)
		}
	}
	// Bad answers are better than none; no answers are not.
	c := Breaker{Failures: 1, OpenFor: time.Hour}
	list[2].breaker.note(badAnswer, false, start, c)
	if i, _ := s.pick(x, func() time.Time { return start }); i != list[2] {
		t.Errorf("got %v, want the one that answers badly", i)
	}
	list[0].breaker.note(noAnswer, false, start, c)
	if i, _ := s.pick(&tried{list: [maxTries]*instance{list[2]}, n: 1}, func() time.Time { return start }); i != nil {
		t.Errorf("got %s, which does not answer", i.Name)
	}
}

func TestPathsThatMayMeanOthersAreRefused(t *testing.T) {
	for _, path := range []string{
		"/orders/../admin", "/orders/./a", "/orders/..", "/orders/.", "/orders//a", "//orders/a", "/orders/%2e%2e/admin", "/orders/%2E./admin",
		"/orders/..%2fadmin", "/orders%2f..%2fadmin", "/orders/%5c..%5cadmin", `/orders/\..\admin`, "/orders/..;/admin", "/orders;x=1/a", "/orders/a%3bb",
		"/orders/%252e%252e/admin", "/orders/%25%32%66", "/orders/a%00b", "/orders/a%0d%0ab", "/orders/%", "/orders/%4", "/orders/%zz", "/orders/%c0%ae%c0%ae/", "/orders/%c0%af",
		"orders/", "*", "", "/orders/a b", "/orders/\x7f",
	} {
		if badPath(path) == "" {
			t.Errorf("%q is taken", path)
		}
	}
	for _, path := range []string{"/", "/orders/", "/orders", "/orders/a.b/..c/...", "/orders/%C3%A4", "/orders/a%20b", "/orders/100%25", "/orders/a+b,c:d@e!$&'()*=~_-"} {
		if why := badPath(path); why != "" {
			t.Errorf("%q %s", path, why)
		}
	}
}

func TestHeadersOfOursAreKnownInEverySpelling(t *testing.T) {
	h := http.Header{}
	for _, name := range []string{
		"X-User-Id", "X-User_Id", "X_User_Id", "X_USER_ID", "x-user-id", "X.User.Id", "X-App", "X_App", "x_app", "X-Forwarded-For", "X_Forwarded_For", "X-Forwarded-Prefix",
		"Forwarded", "X-Real-Ip", "X-Original-Url", "X_Rewrite_Url", "Proxy", "Content_Length", "Transfer_Encoding", "X_Request_Id",
	} {
		h[name] = []string{"forged", "twice"}
	}
	h["Trace_parent"] = []string{"stays"}
	h[headerTrace] = []string{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	clean(h)
	if len(h) != 2 || h[headerTrace] == nil {
		t.Errorf("left: %v", h)
	}
	for _, bad := range []string{"", "00-x", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"} {
		h[headerTrace] = []string{bad}
		if clean(h); h[headerTrace] != nil {
			t.Errorf("%q is handed on", bad)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1, 3, 12, 48} {
		weights := make([]int, n)
		for i := range weights {
			weights[i] = 1 + i%3
		}
		s := pool(weights...)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var x tried
				i, _ := s.pick(&x, time.Now)
				i.inFlight.Add(-1)
			}
		})
	}
}
