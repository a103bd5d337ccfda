package load

import (
	"strings"
	"sync/atomic"
	"testing"
)

// With several endpoints connections go to each in turn, over either network, and
// what is wrong with one is said of that one.
func TestConnectionsGoToEachOfSeveralEndpointsInTurn(t *testing.T) {
	t.Parallel()
	for _, portable := range []bool{false, true} {
		var came [3]atomic.Int64
		o := echoOptions("")
		o.URLs, o.Connections, o.portable = nil, 7, portable
		for i := range came {
			o.URLs = append(o.URLs, echoServer(t, func(int64) { came[i].Add(1) }))
		}
		o.Mode, o.Rate = ModePaced, 700
		run, err := Measure(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		// Connections 0, 3 and 6 went to the first, and each sent as much as the others; where
		// the last moment falls decides about one message of each.
		each := run.Sent / 7
		if first, second, third := came[0].Load(), came[1].Load(), came[2].Load(); each < 2 || first < 3*(each-1) || second < 2*(each-1) || third < 2*(each-1) || first+second+third != run.Sent {
			t.Errorf("portable %t: %d, %d and %d messages came of %d", portable, first, second, third, run.Sent)
		}
		if !strings.Contains(run.Name, "7 connections, 100 characters, 3 nodes") {
			t.Errorf("it is called %q", run.Name)
		}
		o.URLs[1] = "ws://127.0.0.1:1/ws"
		if _, err := Measure(t.Context(), o); err == nil || !strings.Contains(err.Error(), "nobody listens at 127.0.0.1:1: ") {
			t.Errorf("portable %t: it says %v", portable, err)
		}
	}
}

// Each pair of --pattern pairs is on two nodes, however many there are.
func TestPairsAreOnTwoNodes(t *testing.T) {
	for n := 2; n <= 7; n++ {
		o := Options{Pattern: PatternPairs, URLs: make([]string, n), Connections: 100}
		for i := range o.URLs {
			o.URLs[i] = string(rune('a' + i))
		}
		w := &talk{driver: &driver{o: &o}}
		for i := range o.Connections {
			if o.url(i) == o.url(w.peer(i)) {
				t.Errorf("of %d nodes, %d and %d are on the same", n, i, w.peer(i))
			}
		}
	}
}
