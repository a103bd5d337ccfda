package nodetest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// shown is what a sample shows that is the sum of all nodes.
type shown struct {
	At                     time.Time
	Nodes, Sessions, Users int
	Messages               struct {
		In        struct{ Reliable, Fast int }
		Delivered struct{ Reliable, Fast int }
		Proved    int
	}
	HTTP struct{ Requests int }
	Log  struct{ Syncs int }
}

// totals are the numbers that never fall.
func (s shown) totals() []int {
	m := s.Messages
	return []int{m.In.Reliable, m.In.Fast, m.Delivered.Reliable, m.Delivered.Fast, m.Proved, s.HTTP.Requests, s.Log.Syncs}
}

// followStats reads a node's stream of stats until stop is called, which returns all
// samples.
func followStats(t *testing.T, n *Server, key string) (stop func() []shown) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Addr+"/v1/stats/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(r)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	var list []shown
	var reading sync.WaitGroup
	reading.Go(func() {
		defer res.Body.Close()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var one shown
				if err := json.Unmarshal([]byte(data), &one); err != nil {
					t.Error(err)
				}
				list = append(list, one)
			}
		}
	})
	return func() []shown {
		cancel()
		reading.Wait()
		return list
	}
}

// statsOf returns what a node shows now.
func statsOf(t *testing.T, n *Server, key string) (now shown) {
	t.Helper()
	a := n.Call("GET", "/v1/stats", key, "")
	if err := json.Unmarshal([]byte(a.Body), &now); err != nil || a.Status != http.StatusOK {
		t.Fatal(a, err)
	}
	return now
}

// Every node shows what all have: while one dies, and comes back, and shards move to
// the others, no total falls, and none leaps.
func TestStatsOfEveryNodeAreThoseOfAll(t *testing.T) {
	t.Parallel()
	c := three(t, plainApp)
	_, key := c.Nodes[0].NewKey(`{"admin":true}`)
	all := func(what string, nodes []*Server, is func(s shown) bool) {
		t.Helper()
		for i, n := range nodes {
			var last shown
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("%s: node %d of %d shows %+v", what, i+1, len(nodes), last)
				}
			})
			Eventually(t, what, func() bool {
				last = statsOf(t, n, key)
				return is(last)
			})
		}
	}
	// A user on two nodes, and one on the third.
	ann := SignIn(t, c.Nodes[0], "ANZ-1", "")
	SignIn(t, c.Nodes[1], "ANZ-1", "")
	bob := SignIn(t, c.Nodes[2], "ANZ-2", "")
	const many = 40
	for i := range many { // to users of all shards
		ann.Message("ANZ-2", fmt.Sprint(i), `"confirmationEnabled":false`)
		bob.Message(fmt.Sprint("ANZ-", 100+i), "for later", `"confirmationEnabled":false`)
	}
	for range many {
		bob.Expect("MESSAGE")
	}
	all("all of three nodes", c.Nodes, func(s shown) bool {
		return s.Nodes == 3 && s.Sessions == 3 && s.Users == 2 && s.Messages.In.Reliable == 2*many && s.Messages.Delivered.Reliable == many && s.Messages.Proved == many
	})
	stay := c.Nodes[:2]
	var stops []func() []shown
	for _, n := range stay {
		stops = append(stops, followStats(t, n, key))
	}
	c.Nodes[2].Kill()
	all("what is left of three", stay, func(s shown) bool {
		return s.Nodes == 2 && s.Sessions == 2 && s.Users == 1 && s.Messages.Proved == many
	})
	c.Launch(c.Nodes[2])
	bob = SignIn(t, c.Nodes[2], "ANZ-2", "")
	for i := range many {
		ann.Message("ANZ-2", fmt.Sprint(i), `"confirmationEnabled":false`)
		bob.Expect("MESSAGE")
	}
	all("three again", stay, func(s shown) bool {
		return s.Nodes == 3 && s.Sessions == 3 && s.Users == 2 && s.Messages.In.Reliable == 3*many && s.Messages.Proved == 2*many
	})
	all("what happened since a node began", c.Nodes[2:], func(s shown) bool {
		return s.Nodes == 3 && s.Sessions == 3 && s.Messages.In.Reliable == many && s.Messages.Proved == many
	})
	for i, stop := range stops {
		list := stop()
		for k := 1; k < len(list); k++ {
			was, is := list[k-1].totals(), list[k].totals()
			for which := range is {
				if is[which] < was[which] || is[which]-was[which] > 100*many {
					t.Errorf("node %d: from %+v to %+v", i+1, list[k-1], list[k])
				}
			}
		}
		if len(list) < 5 {
			t.Errorf("node %d: %d samples", i+1, len(list))
		}
	}
}

// What only a processor counts is shown where clients connect, when the processor
// was stopped and started in between, too.
func TestStatsOfAConnectorAreThoseOfItsProcessorToo(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	c := StartCluster(t, 2, func(i int, s *NodeSettings) {
		s.Roles, s.Peers, s.More = []string{[]string{"connector", "processor"}[i]}, s.Peers[1:], plainApp
	})
	t.Cleanup(c.tell)
	connector := c.Nodes[0]
	_, key := connector.NewKey(`{"admin":true}`)
	// Each on a session of its own: a connector that is long without a processor closes all.
	exchange := func() *Peer {
		t.Helper()
		ann := SignIn(t, connector, "ANZ-1", "")
		ann.Message("ANZ-1", "hello", `"confirmationEnabled":false`)
		ann.Expect("MESSAGE")
		return ann
	}
	ann := exchange()
	shows := func(what string, nodes, proved int) {
		t.Helper()
		Eventually(t, what, func() bool {
			s := statsOf(t, connector, key)
			return s.Nodes == nodes && s.Messages.Proved == proved && s.Log.Syncs > 0
		})
	}
	shows("what the processor counted", 2, 1)
	ann.Close()
	c.Nodes[1].Stop()
	shows("what it had counted, when it has stopped", 1, 1)
	c.Launch(c.Nodes[1])
	Eventually(t, "the connector is ready", func() bool {
		status, _ := connector.Get("/readyz")
		return status == http.StatusOK
	})
	exchange()
	shows("what both runs of it counted", 2, 2)
}
