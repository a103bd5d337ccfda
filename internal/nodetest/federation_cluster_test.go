package nodetest

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// startFederatedClusters starts domains of as many nodes as sizes say, described as o
// says. change, unless nil, changes the settings of a node before it is started;
// clients and neighbours come to where its Host says.
func startFederatedClusters(t *testing.T, o FederationOptions, sizes []int, change func(domain, node int, s *NodeSettings)) (*Federation, []*Cluster) {
	t.Helper()
	o.Domains, o.Later = len(sizes), nil
	for i := range sizes {
		o.Later = append(o.Later, i)
	}
	f := StartFederation(t, o)
	list := make([]*Cluster, len(sizes))
	for i, size := range sizes {
		list[i] = newCluster(t, size, func(node int, s *NodeSettings) {
			s.Cluster = domainName(i)
			s.More = "domain: " + domainName(i) + "\nmeta: http://" + f.Meta.Addr + "\n"
			if change != nil {
				change(i, node, s)
			}
		})
		var urls []string
		for j := range size {
			n := list[i].node(j)
			if n.Addr = freeAddress(t); list[i].Settings[j].Host != "127.0.0.1" {
				n.Addr = net.JoinHostPort(list[i].Settings[j].Host, fmt.Sprint(domainPort))
			}
			urls = append(urls, "ws://"+n.Addr)
			list[i].Nodes = append(list[i].Nodes, n)
		}
		f.Domains[i] = list[i].Nodes[0]
		f.Network.URLs[i] = urls
	}
	f.Describe(func(*Network) {})
	var all []*Server
	for _, c := range list {
		all = append(all, c.Nodes...)
	}
	launchAll(t, all)
	return f, list
}

// domainPort is where domains listen that have a host of their own.
const domainPort = 8088

// holder returns the node of a domain that is connected to another domain, once it
// is one alone.
func holder(t *testing.T, c *Cluster, to int) *Server {
	t.Helper()
	var found *Server
	Eventually(t, "one node has the link", func() bool {
		count := 0
		for _, n := range c.Nodes {
			if !n.running() {
				continue
			}
			if n.Metric(fmt.Sprintf("switchboard_link_up{domain=%q}", domainName(to))) == 1 {
				found = n
				count++
			}
		}
		return count == 1
	})
	return found
}

// One node of a domain has the link to a neighbour, and another one when that is
// killed; whatever node a message comes to, or comes from, nothing is lost, and
// nothing comes twice.
func TestAnotherNodeTakesALinkOver(t *testing.T) {
	t.Parallel()
	f, domains := startFederatedClusters(t, FederationOptions{}, []int{3, 3}, nil)
	f.LinksUp()
	for _, c := range domains {
		for _, n := range c.Nodes {
			Eventually(t, "each node knows how the link is", func() bool {
				v := DomainView{}
				n.Ask("/v1/domains", &v)
				return len(v.Neighbours) == 1 && v.Neighbours[0].Receiving.State == "up" && v.Neighbours[0].Sending.State == "up"
			})
		}
	}
	had := []*Server{holder(t, domains[0], 1), holder(t, domains[1], 0)}
	people := make([]*Peer, 2) // in each domain one, on a node that goes on
	for i, c := range domains {
		for _, n := range c.Nodes {
			if n != had[i] && people[i] == nil {
				people[i] = SignIn(t, n, f.User(i, 1), `{"receipts":true,"push":true,"producer":"p"}`)
			}
		}
	}
	const all = 600
	say := func(i int) {
		for k, p := range people {
			p.Message(people[1-k].user, fmt.Sprint("m", i), fmt.Sprintf(`"reference":"r","seq":%d,"confirmationEnabled":false`, i))
		}
	}
	for i := 1; i <= all; i++ {
		say(i)
		switch i {
		case all / 3:
			had[0].Kill()
		case 2 * all / 3:
			had[1].Kill()
		}
	}
	for _, p := range people {
		stored := 0
		got := p.contentsAnd(all, func(f Frame) {
			if f.Type == "MESSAGE_STORED" {
				stored++
			}
		})
		for ; stored < all; stored++ {
			p.Expect("MESSAGE_STORED")
		}
		t.Logf("%s: lost, duplicated, reordered: %s", p.user, tallyOf(got, all))
		if !slices.Equal(got, series(1, all)) {
			t.Errorf("%s got %q", p.user, got)
		}
	}
	for i, c := range domains {
		if holder(t, c, 1-i) == had[i] {
			t.Errorf("the node of %s that was killed has the link", domainName(i))
		}
	}
	for i := all + 1; i <= all+50; i++ {
		say(i)
	}
	for _, p := range people {
		p.wantSeries(all+1, all+50)
	}
	for _, p := range people {
		for _, f := range p.Barrier() {
			if f.Type != "MESSAGE_STORED" {
				t.Errorf("one frame more: %s", f.Raw)
			}
		}
	}
	for _, n := range domains[0].Nodes {
		if !n.running() {
			continue
		}
		if a := n.CallControl(http.MethodGet, "/v1/domains/trace?user="+people[1].user, ""); !strings.Contains(a.Body, `"path":["domain-01","domain-02"]`) {
			t.Errorf("%s", a.Body)
		}
	}
}

// Whatever node keeps what waits has it take its new way.
func TestEveryNodeOfADomainFollowsAChangeOfTheNetwork(t *testing.T) {
	t.Parallel()
	f, domains := startFederatedClusters(t, FederationOptions{}, []int{3, 1, 1}, nil)
	c := domains[0]
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
