package nodetest

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ground is what a test of several nodes stands on: the nodes, and users of its own.
// One node is as good, three times: what holds there must hold on three.
type ground struct {
	*testing.T
	*Cluster
	first int
}

// id returns the ID of one of the test's own users, of whom there are ten thousand.
func (g ground) id(n int) string { return fmt.Sprint("ANZ-", g.first+n) }

// onEach signs a user in on every node.
func (g ground) onEach(user, options string) []*Peer {
	g.Helper()
	var peers []*Peer
	for _, n := range g.Nodes {
		peers = append(peers, SignIn(g.T, n, user, options))
	}
	return peers
}

// onOneAndOnThree runs tests on one node, and beside that on three. They are not to be heard of
// by each other, but for the app's lists.
func onOneAndOnThree(t *testing.T, settings string, tests []groundTest) {
	t.Helper()
	Alone(t, ReasonOwn)
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n, " nodes"), func(t *testing.T) {
			t.Parallel()
			var c *Cluster
			if n == 1 {
				s := startWith(t, settings)
				c = &Cluster{t: t, Nodes: []*Server{s, s, s}}
			} else {
				// None of them dies: where the machine is busy, it may be slow for long.
				c = threeLeased(t, settings, "12s")
			}
			for i, test := range tests {
				t.Run(test.name, func(t *testing.T) { test.run(ground{t, c, 10_000 * (i + 1)}) })
			}
		})
	}
}

type groundTest struct {
	name string
	run  func(g ground)
}

// nodesVariable sets how many nodes clusters have that are to have faults, for
// whoever runs the tests. With one there is no cluster, and faults that take one of
// several do not pass.
const nodesVariable = "FAULT_NODES"

// three starts three nodes with settings.
func three(t *testing.T, settings string) *Cluster {
	t.Helper()
	return threeLeased(t, settings, clusterLease)
}

// threeLeased is three with a lease of the test's own.
func threeLeased(t *testing.T, settings, lease string) *Cluster {
	t.Helper()
	Alone(t, ReasonOwn)
	c := StartCluster(t, numberFromEnvironment(t, nodesVariable, 3), func(_ int, s *NodeSettings) { s.More, s.Lease = settings, lease })
	t.Cleanup(c.tell)
	return c
}

// tell says what the nodes said, when the test has failed.
func (c *Cluster) tell() {
	if !c.t.Failed() {
		return
	}
	for i, n := range c.Nodes {
		all := n.Output()
		c.t.Logf("node %d said, in the end:\n%s\n%s", i+1, tail(all, 60), n.state())
		if dir := os.Getenv("NODETEST_OUTPUT"); dir != "" {
			name := fmt.Sprintf("%s/%s-%d.log", dir, strings.ReplaceAll(c.t.Name(), "/", "-"), i+1)
			if err := os.WriteFile(name, []byte(all), 0o600); err != nil {
				c.t.Log(err)
			}
		}
	}
}

// state is what a node has, as far as it says.
func (s *Server) state() string {
	var text strings.Builder
	quick := http.Client{Timeout: 2 * time.Second}
	for _, path := range []string{"/readyz", "/metrics"} {
		res, err := quick.Get("http://" + s.Admin + path)
		if err != nil {
			fmt.Fprintln(&text, path, err)
			continue
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // what was read of it is told
		fmt.Fprintln(&text, path, res.Status, err)
		for line := range strings.Lines(string(b)) {
			for _, name := range []string{"", "switchboard_mailbox_messages", "switchboard_mailbox_sessions", "switchboard_keeper_awaited_nodes", "switchboard_shards_kept"} {
				if (name == "") == (path == "/readyz") && strings.HasPrefix(line, name) {
					text.WriteString(line)
				}
			}
		}
	}
	return text.String()
}

func TestWhatHoldsOnOneNodeHoldsOnThree(t *testing.T) {
	t.Parallel()
	onOneAndOnThree(t, plainApp, []groundTest{
		// The first two see everybody of the app.
		{"lists have who is connected to any node", listsOfAll},
		{"a broadcast reaches everybody on all nodes", broadcastToAll},
		{"a user with sessions on all nodes gets each message on each, in order", sessionsOnAllNodes},
		{"a confirmation reaches a sender that has moved to another node", confirmationsFollow},
		{"what waits is fetched from any node", fetchAnywhere},
		{"two sessions on two nodes share what they fetch", fetchTogether},
		{"a group message reaches its receivers on all nodes", groupsEverywhere},
		{"watchers hear of first and last sessions on other nodes", watchersEverywhere},
		{"the sessions of a user are counted over all nodes", sessionsAreCounted},
		{"a message over HTTP reaches a user of another node", sendAnywhere},
		{"sessions on all nodes are closed from any node", closeFromAnywhere},
		{"a mailbox is shown and emptied from any node", mailboxesFromAnywhere},
		{"a key is good on all nodes until it is revoked on one", keysEverywhere},
	})
}

func TestTheMasterIsServedByAllNodes(t *testing.T) {
	t.Parallel()
	onOneAndOnThree(t, demoApps, []groundTest{
		{"the master closes a user's sessions on all nodes", masterCloses},
		{"a master on several nodes gets each sender's messages in order", masterShares},
	})
}

func sessionsOnAllNodes(g ground) {
	bob := g.onEach(g.id(7), "")
	const n = 200
	var sending sync.WaitGroup
	var senders []*Peer
	for i, node := range g.Nodes {
		p := SignIn(g.T, node, g.id(1+i), `{"receipts":true}`)
		senders = append(senders, p)
		sending.Go(func() {
			for k := range n {
				p.Message(g.id(7), numbered(fmt.Sprint("fast", i), k, 50), `"feature":"FAST"`)
				p.Message(g.id(7), numbered(fmt.Sprint("sure", i), k, 50), fmt.Sprintf(`"reference":"sure%d %d"`, i, k))
			}
		})
	}
	sending.Wait()
	for i, p := range bob {
		wantWoven(g.T, fmt.Sprintf("the session on node %d", i+1), take(p, 2*n*len(senders)), n, "fast0", "fast1", "fast2", "sure0", "sure1", "sure2")
	}
	for i, p := range senders {
		var stored, confirmed []string
		for range 2 * n {
			switch f := p.Next(); f.Type {
			case "MESSAGE_STORED":
				stored = append(stored, f.Field("reference"))
			case "MESSAGE_CONFIRMATION":
				confirmed = append(confirmed, f.Field("reference"))
			default:
				g.Fatalf("got %s", f.Raw)
			}
		}
		var want []string
		for k := range n {
			want = append(want, fmt.Sprintf("sure%d %d", i, k))
		}
		if !slices.Equal(stored, want) {
			g.Errorf("the sender on node %d got other receipts, or in another order: %v", i+1, stored)
		}
		if !slices.Equal(confirmed, want) {
			g.Errorf("the sender on node %d got other confirmations, or in another order: %v", i+1, confirmed)
		}
	}
}

// wantWoven fails unless the frames are those of some series, n of each, each in
// order.
func wantWoven(t *testing.T, what string, frames []Frame, n int, series ...string) {
	t.Helper()
	apart := make(map[string][]Frame)
	for _, f := range frames {
		s, _ := number(f)
		apart[s] = append(apart[s], f)
	}
	for _, s := range series {
		wantSeries(t, what+", "+s, apart[s], s, 0, n)
		delete(apart, s)
	}
	for s, rest := range apart {
		t.Errorf("%s got %d of %q, the first %s", what, len(rest), s, rest[0].Raw)
	}
}

func confirmationsFollow(g ground) {
	// Users enough that some are kept on each node.
	for u := range 30 {
		ann, bob := g.id(100+u), g.id(200+u)
		p := SignIn(g.T, g.Nodes[u%3], ann, `{"receipts":true}`)
		post(g.T, p, bob, "m", 0, 3, 20)
		p.Close()
		p = SignIn(g.T, g.Nodes[(u+1)%3], ann, `{"push":true}`)
		q := SignIn(g.T, g.Nodes[(u+2)%3], bob, `{"push":true}`)
		wantSeries(g.T, bob, take(q, 3), "m", 0, 3)
		wantConfirmed(g.T, p, "m", 0, 3)
	}
}

func masterCloses(g ground) {
	bob, other := g.onEach(g.id(7), ""), g.onEach(g.id(8), "")
	for i, n := range g.Nodes {
		m := SignIn(g.T, n, master, "")
		m.Send(fmt.Sprintf(`{"type":"CLOSE_CONNECTION","data":{"userId":%q}}`, g.id(7)))
		for k, p := range bob {
			if code := p.CloseCode(); code != 4003 {
				g.Errorf("by the master on node %d: the session on node %d ended with %d", i+1, k+1, code)
			}
		}
		m.Close()
		bob = g.onEach(g.id(7), "")
	}
	for _, p := range append(bob, other...) {
		if frames := p.Barrier(); len(frames) > 0 {
			g.Errorf("a session of another user, or a later one, got %s", frames[0].Raw)
		}
	}
}

// With several sessions on several nodes the master user gets each message on one
// of them, all of one sender on the same.
func masterShares(g ground) {
	const senders, n = 12, 50
	var masters []*Peer
	for i := range 4 {
		masters = append(masters, SignIn(g.T, g.Nodes[i%3], master, ""))
	}
	var sending sync.WaitGroup
	for s := range senders {
		p := SignIn(g.T, g.Nodes[s%3], g.id(10+s), "")
		sending.Go(func() {
			for k := range n {
				p.Message(master, numbered(fmt.Sprint("s", s), k, 30), "")
			}
		})
	}
	sending.Wait()
	apart := make(map[string][]Frame)
	on := make(map[string]map[int]bool) // sessions that got something of a sender
	for left := senders * n; left > 0; {
		f, i := nextOfAny(g.T, masters)
		if f.Type != "MESSAGE" {
			continue
		}
		left--
		s, _ := number(f)
		apart[s] = append(apart[s], f)
		if on[s] == nil {
			on[s] = make(map[int]bool)
		}
		on[s][i] = true
	}
	for s := range senders {
		series := fmt.Sprint("s", s)
		wantSeries(g.T, series, apart[series], series, 0, n)
		if len(on[series]) != 1 {
			g.Errorf("the messages of one sender came to %d sessions", len(on[series]))
		}
	}
}

// nextOfAny returns the next frame of any of the peers, and whose it was.
func nextOfAny(t *testing.T, peers []*Peer) (f Frame, i int) {
	t.Helper()
	Eventually(t, "another frame comes", func() bool {
		for k, p := range peers {
			if g, ok := p.take(); ok {
				f, i = g, k
				return true
			}
		}
		return false
	})
	return f, i
}

func fetchAnywhere(g ground) {
	for u := range 12 {
		bob := g.id(200 + u)
		for i, n := range g.Nodes {
			post(g.T, SignIn(g.T, n, g.id(10*u+i), `{"receipts":true}`), bob, fmt.Sprint("m", i), 0, 20, 100)
		}
		p := SignIn(g.T, g.Nodes[u%3], bob, "")
		first, left := p.Fetch(25)
		if left != "35" {
			g.Errorf("%s are left", left)
		}
		rest, left := p.Fetch(100)
		if left != "0" {
			g.Errorf("%s are left", left)
		}
		all := append(first, rest...)
		for i := range g.Nodes {
			wantSeries(g.T, bob, all[20*i:20*i+20], fmt.Sprint("m", i), 0, 20) // they were stored one series after the other
		}
	}
}

// Two sessions of a user that fetch at once, on two nodes, do not both get the same
// message, and miss none.
func fetchTogether(g ground) {
	for u := range 6 {
		bob := g.id(200 + u)
		const n = 300
		post(g.T, SignIn(g.T, g.Nodes[0], g.id(100+u), `{"receipts":true}`), bob, "m", 0, n, 100)
		var both sync.WaitGroup
		got := make([][]Frame, 2)
		for i := range got {
			p := SignIn(g.T, g.Nodes[1+i], bob, "")
			both.Go(func() {
				for left := ""; left != "0"; {
					var some []Frame
					some, left = p.Fetch(40)
					got[i] = append(got[i], some...)
				}
			})
		}
		both.Wait()
		all := append(slices.Clone(got[0]), got[1]...)
		slices.SortFunc(all, func(a, b Frame) int {
			_, i := number(a)
			_, k := number(b)
			return i - k
		})
		wantSeries(g.T, "both together", all, "m", 0, n)
	}
}

func groupsEverywhere(g ground) {
	const users = 30
	var to []string
	var there []*Peer
	for u := range users {
		to = append(to, fmt.Sprintf("%q", g.id(100+u)))
		if u%5 > 0 { // the others are away
			there = append(there, SignIn(g.T, g.Nodes[u%3], g.id(100+u), ""))
		}
	}
	const frame = `{"type":"GROUP_MESSAGE","data":{"to":[%s],"content":"%s"},"feature":"%s","reference":"%s"}`
	for i, n := range g.Nodes {
		p := SignIn(g.T, n, g.id(1+i), `{"receipts":true}`)
		p.Send(fmt.Sprintf(frame, strings.Join(to, ","), fmt.Sprint("fast", i), "FAST", "f"))
		p.Send(fmt.Sprintf(frame, strings.Join(to, ","), fmt.Sprint("sure", i), "RELIABLE", "s"))
		if f := p.Expect("MESSAGE_STORED"); f.Field("reference") != "s" {
			g.Errorf("got %s", f.Raw)
		}
		for _, p := range there {
			got := []string{p.Next().Field("content"), p.Next().Field("content")}
			slices.Sort(got)
			if want := []string{fmt.Sprint("fast", i), fmt.Sprint("sure", i)}; !slices.Equal(got, want) {
				g.Errorf("%s got %v, want %v", p.user, got, want)
			}
		}
		wantNothing(g.T, "the sender", p)
	}
	for u := 0; u < users; u += 5 {
		user := g.id(100 + u)
		missed, left := SignIn(g.T, g.Nodes[u%3], user, "").Fetch(100)
		var got []string
		for _, f := range missed {
			got = append(got, f.Field("content"))
		}
		if want := []string{"sure0", "sure1", "sure2"}; !slices.Equal(got, want) || left != "0" {
			g.Errorf("%s fetched %v, %s left", user, got, left)
		}
	}
}

// Watchers on each node are told of a user's first session and of its last one,
// wherever these are.
func watchersEverywhere(g ground) {
	watch := fmt.Sprintf(`{"presence":[%q]}`, g.id(7))
	var watchers []*Peer
	for i, n := range g.Nodes {
		watchers = append(watchers, SignIn(g.T, n, g.id(1+i), watch))
	}
	heard := func(what string) {
		g.Helper()
		for _, p := range watchers {
			if f := p.Expect(what); f.Field("userId") != g.id(7) {
				g.Errorf("got %s", f.Raw)
			}
		}
	}
	for i := range g.Nodes {
		one := SignIn(g.T, g.Nodes[i], g.id(7), "")
		heard("USER_CONNECTED")
		two := SignIn(g.T, g.Nodes[(i+1)%3], g.id(7), "")
		late := SignIn(g.T, g.Nodes[(i+2)%3], g.id(4), watch)
		late.Expect("USER_CONNECTED") // who comes later is told how it stands
		one.Close()
		two.Close()
		heard("USER_DISCONNECTED") // once: what comes next is a connection
		late.Expect("USER_DISCONNECTED")
		late.Close()
	}
}

// A user's sessions on all nodes together are limited.
func sessionsAreCounted(g ground) {
	for i := range 16 { // limits.sessionsPerUser
		SignIn(g.T, g.Nodes[i%3], g.id(7), "")
	}
	for i, n := range g.Nodes {
		if err := Dial(g.T, n).TrySignIn("app-id-343", g.id(7), ""); err == nil || !strings.Contains(err.Error(), "TOO_MANY_SESSIONS") {
			g.Errorf("on node %d: %v", i+1, err)
		}
	}
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
