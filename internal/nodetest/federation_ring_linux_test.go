package nodetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ringLinks are five domains: four in a ring with a chord, and one behind the third.
// Between most of them there are several ways of the same cost.
var ringLinks = []string{"1-2", "2-3", "3-4", "1-4", "1-3 cost 2", "3-5"}

// linkSecret is that of all links in tests that do not run on loopback alone.
const linkSecret = "fedcba9876543210fedcba9876543210"

// ring are domains on islands, each node on one of its own.
type ring struct {
	*Federation
	domains []*Cluster
	isles   *islands
	first   []int // the island of each domain's first node
}

// startRing starts domains of so many nodes each, with further settings, and the meta
// server, which the domains reach on their clients' side.
func startRing(t *testing.T, links []string, sizes []int, settings string) *ring {
	t.Helper()
	r := &ring{}
	count := 0
	for _, size := range sizes {
		r.first = append(r.first, count)
		count += size
	}
	r.isles = newIslands(t, count)
	const metaPort = "9000"
	r.Federation, r.domains = startFederatedClusters(t, FederationOptions{Links: links, MetaAt: "0.0.0.0:" + metaPort}, sizes, func(i, node int, s *NodeSettings) {
		at := r.first[i] + node
		s.Listen, s.Host, s.before = nodeAt(at), placeOf(at), r.isles.inside(at)
		s.Peers = nil
		for k := range sizes[i] {
			s.Peers = append(s.Peers, nodeAt(r.first[i]+k))
		}
		s.More = fmt.Sprintf("domain: %s\nmeta: http://%s\nlinks: {secret: %s}\n%s", domainName(i), net.JoinHostPort(nearOf(at), metaPort), linkSecret, settings)
	})
	return r
}

// nodes are those of all domains, by their islands.
func (r *ring) nodes() (all []*Server) {
	for _, c := range r.domains {
		all = append(all, c.Nodes...)
	}
	return all
}

// graph is a description as the test reads it.
type graph map[[2]int]int // cost of each link, both ways

func graphOf(links []string) graph {
	g := make(graph)
	for _, l := range links {
		a, b, cost := endsOf(l)
		g[[2]int{a, b}], g[[2]int{b, a}] = cost, cost
	}
	return g
}

// endsOf reads a link as Network has it.
func endsOf(link string) (a, b, cost int) {
	if n, _ := fmt.Sscanf(link, "%d-%d cost %d", &a, &b, &cost); n < 3 {
		cost = 1
	}
	return a - 1, b - 1, cost
}

// shortest looks at every path that is in no domain twice: the one of least cost is
// the shortest, then that of fewest hops, then the one whose names come first.
func (g graph) shortest(domains, from, to int) (best []string, least int) {
	var walk func(path []int, cost int)
	walk = func(path []int, cost int) {
		at := path[len(path)-1]
		if at == to {
			names := make([]string, len(path))
			for i, d := range path {
				names[i] = domainName(d)
			}
			if best == nil || cmp.Or(cmp.Compare(cost, least), cmp.Compare(len(names), len(best)), slices.Compare(names, best)) < 0 {
				best, least = names, cost
			}
			return
		}
		for next := range domains {
			if c, ok := g[[2]int{at, next}]; ok && !slices.Contains(path, next) {
				walk(append(slices.Clone(path), next), cost+c)
			}
		}
	}
	walk([]int{from}, 0)
	return best, least
}

// One description, five processes, each in a network of its own: everybody reaches
// everybody, on the shortest way.
func TestEachOfFiveDomainsReachesEachOtherOnTheShortestWay(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	r := startRing(t, ringLinks, []int{1, 1, 1, 1, 1}, "")
	r.LinksUp()
	g := graphOf(ringLinks)
	people := make([]*Peer, len(r.domains))
	for i := range people {
		people[i] = r.SignIn(i, 1, `{"receipts":true}`)
	}
	ways := 0
	for i, from := range people {
		var others []string
		for j, to := range people {
			if i == j {
				continue
			}
			ways++
			others = append(others, fmt.Sprintf("%q", to.user))
			r.wantWay(t, g, i, j)
			crosses(t, from, to)
		}
		from.Send(fmt.Sprintf(`{"type":"GROUP_MESSAGE","data":{"to":[%s],"content":"all"},"reference":"g"}`, strings.Join(others, ",")))
		if f := from.Expect("MESSAGE_STORED"); f.Field("reference") != "g" {
			t.Errorf("got %s", f.Raw)
		}
		for j, to := range people {
			if i == j {
				continue
			}
			if f := to.Expect("MESSAGE"); f.Field("from") != from.user || f.Field("content") != "all" {
				t.Errorf("%s got %s", to.user, f.Raw)
			}
		}
	}
	for _, p := range people {
		if extra := p.Barrier(); len(extra) > 0 {
			t.Errorf("%d frames more: %s", len(extra), extra[0].Raw)
		}
	}
	t.Logf("%d ways: all are the shortest, and carry RELIABLE, FAST, group messages and confirmations", ways)
}

// wantWay compares the way that a domain tells with the one that the test finds.
func (r *ring) wantWay(t *testing.T, g graph, from, to int) {
	t.Helper()
	var told struct {
		Domain, Next string
		Path         []string
		Cost         int
	}
	r.Domains[from].Ask("/v1/domains/trace?user="+r.User(to, 1), &told)
	path, cost := g.shortest(len(r.domains), from, to)
	if told.Domain != domainName(to) || told.Next != path[1] || told.Cost != cost || !slices.Equal(told.Path, path) {
		t.Errorf("from %s to %s: told %+v, the shortest is %v for %d", domainName(from), domainName(to), told, path, cost)
	}
}

// crosses fails unless one RELIABLE and one FAST message reach another user, and all
// that the sender is to hear of them comes back.
func crosses(t *testing.T, from, to *Peer) {
	t.Helper()
	from.Message(to.user, "kept", `"reference":"k"`)
	from.Message(to.user, "quick", `"feature":"FAST","reference":"q"`)
	wantInAnyOrder(t, to, "MESSAGE k "+from.user+" kept", "MESSAGE q "+from.user+" quick")
	wantInAnyOrder(t, from, "MESSAGE_STORED k  ", "MESSAGE_CONFIRMATION k  ", "MESSAGE_CONFIRMATION q  ")
}

// wantInAnyOrder fails unless the next frames are these, in any order, each as its type,
// reference, sender and content.
func wantInAnyOrder(t *testing.T, p *Peer, want ...string) {
	t.Helper()
	var got []string
	for _, f := range take(p, len(want)) {
		reference := cmp.Or(f.Field("reference"), strings.Trim(string(f.Reference), `"`))
		got = append(got, strings.Join([]string{f.Type, reference, f.Field("from"), f.Field("content")}, " "))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s got %q, want %q", p.user, got, want)
	}
}

// A neighbour that is killed as soon as it has acknowledged has lost nothing of that.
func TestWhatANeighbourHasAcknowledgedOutlivesIt(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 3})
	f.LinksUp()
	ann, zoe := f.SignIn(0, 1, `{"receipts":true}`), f.SignIn(2, 1, "")
	sent := 0
	for range 4 {
		const burst = 200
		f.Domains[2].Signal(syscall.SIGSTOP) // so that the one in between has to keep it
		ann.sendMany(zoe.user, sent+1, sent+burst)
		sent += burst
		Eventually(t, "all is acknowledged", func() bool { return f.Waiting(0, 1) == 0 })
		f.Domains[1].Kill()
		f.Domains[2].Signal(syscall.SIGCONT)
		f.Domains[1].Start()
		zoe.wantSeries(sent-burst+1, sent)
	}
	if extra := zoe.Barrier(); len(extra) > 0 {
		t.Errorf("%d frames more: %s", len(extra), extra[0].Raw)
	}
	t.Logf("%d messages, 4 kills: all are there, once and in order", sent)
}

// ringOutages are what goes wrong with the nodes and links of a ring.
func (r *ring) outages() []outage {
	return []outage{
		{"kill", (*outages).kill},
		{"kill for long", (*outages).killForLong},
		{"stop", (*outages).freeze},
		{"cut off from the others", (*outages).isolate},
		{"cut off from all", (*outages).unplug},
		{"one is heard and does not hear", (*outages).deafen},
		{"restart", (*outages).restart},
		{"domain killed", func(o *outages, _ int) { o.launchAgain(r.some(o).Nodes) }},
		{"domain frozen", func(o *outages, _ int) { o.freezeAll(r.some(o).Nodes) }},
		{"link cut", func(o *outages, _ int) { r.cutLinks(o, 1) }},
		{"two links cut", func(o *outages, _ int) { r.cutLinks(o, 2) }},
		{"all links cut", func(o *outages, _ int) { r.cutLinks(o, len(r.Network.Links)) }},
	}
}

// some returns one of the domains.
func (r *ring) some(o *outages) *Cluster { return r.domains[o.chance.IntN(len(r.domains))] }

// launchAgain kills nodes, and starts them together.
func (o *outages) launchAgain(nodes []*Server) {
	for _, n := range nodes {
		n.Kill()
	}
	o.rest(0, o.most)
	o.Launch(nodes...)
}

func (o *outages) freezeAll(nodes []*Server) {
	for _, n := range nodes {
		n.Signal(syscall.SIGSTOP)
	}
	o.rest(50*time.Millisecond, o.most)
	for _, n := range nodes {
		n.Signal(syscall.SIGCONT)
	}
}

// cutLinks cuts some of the links for a while: no node of one domain reaches any of
// the other.
func (r *ring) cutLinks(o *outages, count int) {
	cut := o.chance.Perm(len(r.Network.Links))[:count]
	for _, joined := range []bool{false, true} {
		for _, i := range cut {
			a, b, _ := endsOf(r.Network.Links[i])
			for k := range r.domains[a].Nodes {
				for l := range r.domains[b].Nodes {
					r.isles.join(r.first[a]+k, r.first[b]+l, joined)
				}
			}
		}
		if !joined {
			o.rest(50*time.Millisecond, o.most)
		}
	}
}

// Nodes and whole domains are killed, frozen and cut off, links are cut, and users of
// all domains talk to each other. Afterwards nothing that was accepted is lost.
// FAULT_TIME and FAULT_SOAK as for a cluster.
func TestWhateverHappensToItsDomainsARingLosesNothing(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	survive(t, ringSeeds(), surviveInARing)
}

func surviveInARing(t *testing.T, seed uint64, total time.Duration) {
	t.Run(fmt.Sprint(seed), func(t *testing.T) {
		t.Logf("for %s; FAULT_SEED=%d draws the same faults again", total.Round(time.Second), seed)
		chance := rand.New(rand.NewPCG(seed, 13))
		r := startRing(t, ringLinks, []int{1, 3, 1, 1, 1}, "limits: {mailboxMessages: 10000000, mailboxBytes: 64GiB, minDiskFree: 64MiB}\n")
		r.LinksUp()
		o := &outages{t: t, chance: chance, isles: r.isles, all: r.outages(), most: longestFault / 2, counts: make(map[string]int)}
		o.Cluster = &Cluster{t: t, Nodes: r.nodes()}
		defer o.tell()
		where, fronts := r.everywhere(t)
		w := startWorkloadOf(t, where, chance, restOfProducers(t), 200, 2000, 20_000)
		w.history.waysChange = true
		w.awaitAccepted(10)
		o.run(total)
		o.AwaitReady()
		healed := time.Now()
		for _, f := range fronts {
			f.Cut() // a connection may have lost its other end in silence
		}
		w.awaitAccepted(10)
		w.hush()
		r.awaitNothingWaits(t)
		t.Logf("all links are up and nothing waits %s after the last fault", time.Since(healed).Round(100*time.Millisecond))
		w.end()
		t.Logf("%d accepted; faults: %v", w.acceptedSoFar(), o.counts)
		wantGood(t, w.history)
	})
}

// everywhere spreads the people of a workload over the domains.
func (r *ring) everywhere(t *testing.T) (whereabouts, []*Front) {
	t.Helper()
	fronts := make([]*Front, len(r.domains))
	for i, c := range r.domains {
		var doors []string
		for _, n := range c.Nodes {
			doors = append(doors, n.Addr)
		}
		fronts[i] = StartFront(t, doors...)
	}
	person := func(from int) func(int) string {
		return func(i int) string { return r.User(i%len(r.domains), from+i) }
	}
	return whereabouts{consumer: person(200), producer: person(100), door: func(user string) string {
		var number int
		if _, err := fmt.Sscanf(user, "ANZ-%d", &number); err != nil {
			panic(err)
		}
		return fronts[number/1000].Addr
	}}, fronts
}

// awaitNothingWaits waits until no mailbox of any domain holds anything. What goes from
// one domain to the next while they are looked at may be overlooked, but not for as
// many looks as it can take steps: there and back.
func (r *ring) awaitNothingWaits(t *testing.T) {
	t.Helper()
	all := &Server{t: t, nodes: r.nodes()}
	looks := 0
	Eventually(t, "nothing waits in any domain", func() bool {
		if looks++; all.Metric("switchboard_mailbox_messages") > 0 {
			looks = 0
		}
		return looks > 2*len(r.domains)
	})
}

// A ring of which every link is full refuses what is sent, and when its links are back
// it goes on: whatever was accepted arrives, or its sender is told. Were a domain to
// wait until the next one has room, all would wait for each other.
func TestARingThatIsFullRefusesAndRecovers(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	r := startRing(t, []string{"1-2", "2-3", "3-4", "1-4"}, []int{1, 1, 1, 1}, "limits: {linkBytes: 1MiB, minDiskFree: 64MiB}\n")
	r.LinksUp()
	people := make([]*Peer, len(r.domains))
	for i := range people {
		people[i] = r.SignIn(i, 1, `{"receipts":true,"push":true}`)
	}
	for i := range people {
		r.isles.isolate(i, true)
	}
	const each = 60 // to each of the others, 20 KiB: more than there is room for in front of any link
	big := strings.Repeat("x", 20<<10)
	fates := make(map[string]string) // of each message: stored, told, arrived
	for n := range each {
		for i, p := range people {
			for j, to := range people {
				if i != j {
					p.Message(to.user, fmt.Sprintf("%d-%d-%d %s", i, j, n, big), fmt.Sprintf(`"reference":"%d-%d-%d","confirmationEnabled":false`, i, j, n))
				}
			}
		}
	}
	stored, refused := 0, make(map[string]int) // by way
	for _, p := range people {
		for range each * (len(people) - 1) {
			f := p.Next()
			switch f.Type {
			case "MESSAGE_STORED":
				stored++
				fates[f.Field("reference")] = "stored"
			case "DELIVER_FAILED":
				if f.Field("code") != "MAILBOX_FULL" {
					t.Fatalf("%s got %s", p.user, f.Raw)
				}
				refused[p.user+" "+f.Field("to")]++
			default:
				t.Fatalf("%s got %.200s", p.user, f.Raw)
			}
		}
	}
	rejections := 0
	for i, p := range people {
		for j, to := range people {
			n := refused[p.user+" "+to.user]
			if rejections += n; n == 0 && (i+1)%4 == j || n == 0 && (j+1)%4 == i {
				t.Errorf("%s has refused nothing for %s: that link is not full", domainName(i), domainName(j))
			}
		}
	}
	for i := range people {
		r.isles.isolate(i, false)
	}
	r.LinksUp()
	r.awaitNothingWaits(t)
	arrived, told := 0, 0
	for _, p := range people {
		for _, f := range p.Barrier() {
			switch reference := strings.Trim(string(f.Reference), `"`); {
			case f.Type == "MESSAGE" && fates[reference] == "stored":
				arrived++
				fates[reference] = "arrived"
			case f.Type == "DELIVER_FAILED" && f.Field("code") == "MAILBOX_FULL" && fates[reference] == "stored":
				told++
				fates[reference] = "told"
			default:
				t.Errorf("%s: %s %.200s", p.user, fates[reference], f.Raw)
			}
		}
	}
	dropped := 0.0
	for _, s := range r.nodes() {
		dropped += s.Metric(`switchboard_reliable_dropped_total{reason="notice_mailbox_full"}`)
	}
	t.Logf("%d refused at once, %d stored; of those %d arrived, %d were refused on their way and their senders told, %v of such notices found no room and were counted",
		rejections, stored, arrived, told, dropped)
	if lost := stored - arrived - told; lost < 0 || float64(lost) > dropped {
		t.Errorf("%d are lost, and %v notices were dropped", lost, dropped)
	}
	for i, p := range people {
		for j, to := range people {
			if i != j {
				crosses(t, p, to)
			}
		}
	}
}

// A domain that goes by another graph than all others has messages refused, whether
// they would go round or back, and none goes for ever.
func TestAWrongGraphOnOneDomainEndsInARefusal(t *testing.T) {
	t.Parallel()
	right := []string{"1-2", "2-3", "1-3 cost 9", "3-4"} // 1-2-3-4
	for _, c := range []struct {
		what, code string
		wrong      int // domain
		links      []string
	}{
		{"round the ring", "TOO_MANY_HOPS", 2, []string{"1-2", "2-3 cost 9", "1-3", "1-4"}}, // 3-1-4, and so 1-2-3-1
		{"straight back", "NO_ROUTE", 1, []string{"1-2", "2-3 cost 9", "1-3", "1-4"}},       // 2-1-4
	} {
		t.Run(c.what, func(t *testing.T) {
			files := make([]string, 4)
			f := StartFederation(t, FederationOptions{Domains: 4, Links: right, Later: []int{0, 1, 2, 3}, Meta: func(i int) string {
				files[i] = Settings(t, "")
				return files[i]
			}})
			for i, s := range f.Domains { // what comes from a file has version 0, whatever it says
				n := f.Network
				if i == c.wrong {
					n.Links = c.links
				}
				writeFile(t, files[i], n.text())
				s.Start()
			}
			ann, zoe := f.SignIn(0, 1, `{"receipts":true}`), f.SignIn(3, 1, "")
			ann.Message(zoe.user, "lost", `"reference":"r"`)
			ann.Expect("MESSAGE_STORED")
			e := ann.Expect("DELIVER_FAILED")
			if e.Field("code") != c.code || e.Field("to") != zoe.user || string(e.Reference) != `"r"` {
				t.Errorf("got %s", e.Raw)
			}
			refused := 0.0
			for _, s := range f.Domains {
				refused += s.Metric(fmt.Sprintf("switchboard_forwards_refused_total{code=%q}", c.code))
			}
			if refused != 1 {
				t.Errorf("%v were refused", refused)
			}
			// With the right one on all of them it arrives.
			f.Domains[c.wrong].Kill()
			writeFile(t, files[c.wrong], f.Network.text())
			f.Domains[c.wrong].Start()
			ann.Message(zoe.user, "found", `"reference":"r"`)
			if m := zoe.Expect("MESSAGE"); m.Field("content") != "found" {
				t.Errorf("got %s", m.Raw)
			}
		})
	}
}

// What waits for a link goes as soon as that is back. How soon is printed, in round
// trips: a slow machine proves nothing.
func TestWhatWaitsGoesAsSoonAsItsLinkIsBack(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 2, Later: []int{0, 1}})
	line := newProxy(t, f.Domains[0].Addr) // by which domain-02 reaches domain-01
	line.slow(20 * time.Millisecond)
	f.Relocate(0, line.Addr)
	f.Domains[0].Start()
	f.Domains[1].Start()
	f.LinksUp()
	ann, bob := f.SignIn(0, 1, `{"receipts":true}`), f.SignIn(1, 1, "")
	const up = `msg="the link to another domain is up"`
	for i := 1; i <= 5; i++ {
		line.drop()
		line.cut()
		Eventually(t, "the link is down", func() bool { return f.Look(1).Neighbours[0].Receiving.State == "down" })
		ann.sendMany(bob.user, i, i)
		before := strings.Count(f.Domains[1].Output(), up)
		line.mend()
		healed := time.Now()
		Eventually(t, "the link is up", func() bool { return strings.Count(f.Domains[1].Output(), up) > before })
		back := time.Now()
		bob.wantSeries(i, i)
		arrived := time.Since(back)
		Eventually(t, "the round trip is known", func() bool { return f.Look(1).Neighbours[0].RoundTripMs > 0 })
		t.Logf("the link was up %s after it was mended, the message was there %s later; a round trip takes %.1f ms",
			back.Sub(healed).Round(time.Millisecond), arrived.Round(100*time.Microsecond), f.Look(1).Neighbours[0].RoundTripMs)
	}
}
