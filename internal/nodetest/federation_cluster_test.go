package nodetest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// startFederatedCluster starts domains, domain-01 of three nodes and the others of one.
func startFederatedCluster(t *testing.T, domains int) (*Federation, *Cluster) {
	t.Helper()
	f := StartFederation(t, FederationOptions{Domains: domains, Later: []int{0, 1, 2}})
	c := newCluster(t, 3, func(_ int, s *NodeSettings) {
		s.More = "domain: domain-01\nmeta: http://" + f.Meta.Addr + "\n"
	})
	var urls []string
	for i := range c.Settings {
		n := c.node(i)
		n.Addr = freeAddress(t)
		urls = append(urls, "ws://"+n.Addr)
		c.Nodes = append(c.Nodes, n)
	}
	f.Describe(func(n *Network) { n.URLs[0] = urls })
	for _, s := range f.Domains[1:] {
		s.Start()
	}
	c.Launch(c.Nodes...)
	f.Domains[0] = c.Nodes[0]
	return f, c
}

// holder returns the node of domain-01 that is connected to domain-02.
func holder(t *testing.T, c *Cluster) *Server {
	t.Helper()
	var found *Server
	Eventually(t, "one node has the link", func() bool {
		count := 0
		for _, n := range c.Nodes {
			if !n.running() {
				continue
			}
			if n.Metric(`switchboard_link_up{domain="domain-02"}`) == 1 {
				found = n
				count++
			}
		}
		return count == 1
	})
	return found
}

// One node of a domain has the link to a neighbour, and another one when that is
// killed; whatever node a message comes to, or comes from, nothing is lost.
func TestAnotherNodeTakesALinkOver(t *testing.T) {
	f, c := startFederatedCluster(t, 2)
	f.LinksUp()
	had := holder(t, c)
	for _, n := range c.Nodes {
		Eventually(t, "each node knows how the link is", func() bool {
			v := DomainView{}
			n.Ask("/v1/domains", &v)
			return len(v.Neighbours) == 1 && v.Neighbours[0].Receiving.State == "up" && v.Neighbours[0].Sending.State == "up"
		})
	}
	var other *Server
	for _, n := range c.Nodes {
		if n != had {
			other = n
		}
	}
	bob := f.SignIn(1, 1, `{"receipts":true,"producer":"p"}`)
	ann := SignIn(t, other, f.User(0, 1), `{"receipts":true}`)
	const all = 600
	for i := 1; i <= all; i++ {
		bob.Message(ann.user, fmt.Sprint("m", i), fmt.Sprintf(`"reference":"r","seq":%d,"confirmationEnabled":false`, i))
		if i == all/2 {
			had.Kill()
		}
	}
	for range all {
		bob.Expect("MESSAGE_STORED")
	}
	ann.wantSeries(1, all)
	if now := holder(t, c); now == had {
		t.Error("the node that was killed has the link")
	}
	ann.sendMany(bob.user, 1, 100)
	bob.wantSeries(1, 100)
	if extra := ann.Barrier(); len(extra) > 0 {
		t.Errorf("%d frames more: %s", len(extra), extra[0].Raw)
	}
	if a := other.CallControl(http.MethodGet, "/v1/domains/trace?user="+bob.user, ""); !strings.Contains(a.Body, `"path":["domain-01","domain-02"]`) {
		t.Errorf("%s", a.Body)
	}
}

// Whatever node keeps what waits has it take its new way.
func TestEveryNodeOfADomainFollowsAChangeOfTheNetwork(t *testing.T) {
	f, c := startFederatedCluster(t, 3)
	f.LinksUp()
	f.Domains[1].Kill()
	ann := SignIn(t, c.Nodes[0], f.User(0, 1), `{"receipts":true}`)
	var far []*Peer // in other shards each, so that what is told of them comes from several nodes
	for i := range 5 {
		far = append(far, f.SignIn(2, i, ""))
		ann.sendMany(far[i].user, 1, 20)
	}
	moves := SignIn(t, c.Nodes[1], f.User(0, 990), "") // he will live in domain-03
	before := f.Look(0).Version
	f.Describe(func(n *Network) { n.Links, n.Starts = []string{"1-2", "1-3"}, []int{0, 980, 985} })
	f.Settled(before)
	for _, p := range far {
		p.wantSeries(1, 20)
	}
	if code := moves.CloseCode(); code != 1012 {
		t.Errorf("closed with %d", code)
	}
	if n := c.Metric("switchboard_link_moved_total"); n != 100 {
		t.Errorf("%v moved", n)
	}
}
