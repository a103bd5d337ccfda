package nodetest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What holds on one node holds for clients of three nodes.

// three starts three nodes with settings.
func three(t *testing.T, settings string) *Cluster {
	t.Helper()
	Alone(t, ReasonOwn)
	c := StartCluster(t, 3, func(_ int, s *NodeSettings) { s.More = settings })
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
		c.t.Logf("node %d said, in the end:\n%s", i+1, tail(all, 60))
		if dir := os.Getenv("NODETEST_OUTPUT"); dir != "" {
			name := fmt.Sprintf("%s/%s-%d.log", dir, strings.ReplaceAll(c.t.Name(), "/", "-"), i+1)
			if err := os.WriteFile(name, []byte(all), 0o600); err != nil {
				c.t.Log(err)
			}
		}
	}
}

// onEach signs a user in on every node.
func (c *Cluster) onEach(user, options string) []*Peer {
	c.t.Helper()
	var peers []*Peer
	for _, n := range c.Nodes {
		peers = append(peers, SignIn(c.t, n, user, options))
	}
	return peers
}

func TestAUserWithSessionsOnThreeNodesGetsEachMessageOnEachInOrder(t *testing.T) {
	c := three(t, plainApp)
	bob := c.onEach("ANZ-7", "")
	const n = 200
	var sending sync.WaitGroup
	var senders []*Peer
	for i, node := range c.Nodes {
		p := SignIn(t, node, fmt.Sprint("ANZ-", 1+i), `{"receipts":true}`)
		senders = append(senders, p)
		sending.Go(func() {
			for k := range n {
				p.Message("ANZ-7", numbered(fmt.Sprint("fast", i), k, 50), `"feature":"FAST"`)
				p.Message("ANZ-7", numbered(fmt.Sprint("sure", i), k, 50), fmt.Sprintf(`"reference":"sure%d %d"`, i, k))
			}
		})
	}
	sending.Wait()
	for i, p := range bob {
		wantWoven(t, fmt.Sprintf("the session on node %d", i+1), take(p, 2*n*len(senders)), n, "fast0", "fast1", "fast2", "sure0", "sure1", "sure2")
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
				t.Fatalf("got %s", f.Raw)
			}
		}
		var want []string
		for k := range n {
			want = append(want, fmt.Sprintf("sure%d %d", i, k))
		}
		if !slices.Equal(stored, want) {
			t.Errorf("the sender on node %d got other receipts, or in another order: %v", i+1, stored)
		}
		if !slices.Equal(confirmed, want) {
			t.Errorf("the sender on node %d got other confirmations, or in another order: %v", i+1, confirmed)
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

func TestAConfirmationReachesASenderThatHasMovedToAnotherNode(t *testing.T) {
	c := three(t, plainApp)
	// Users enough that some are kept on each node.
	for u := range 30 {
		ann, bob := fmt.Sprint("ANZ-", 100+u), fmt.Sprint("ANZ-", 200+u)
		p := SignIn(t, c.Nodes[u%3], ann, `{"receipts":true}`)
		post(t, p, bob, "m", 0, 3, 20)
		p.Close()
		p = SignIn(t, c.Nodes[(u+1)%3], ann, `{"push":true}`)
		q := SignIn(t, c.Nodes[(u+2)%3], bob, `{"push":true}`)
		wantSeries(t, bob, take(q, 3), "m", 0, 3)
		wantConfirmed(t, p, "m", 0, 3)
	}
}

func TestTheMasterClosesAUsersSessionsOnAllNodes(t *testing.T) {
	c := three(t, demoApps)
	bob, other := c.onEach("ANZ-7", ""), c.onEach("ANZ-8", "")
	for i, n := range c.Nodes {
		m := SignIn(t, n, master, "")
		m.Send(`{"type":"CLOSE_CONNECTION","data":{"userId":"ANZ-7"}}`)
		for k, p := range bob {
			if code := p.CloseCode(); code != 4003 {
				t.Errorf("by the master on node %d: the session on node %d ended with %d", i+1, k+1, code)
			}
		}
		m.Close()
		bob = c.onEach("ANZ-7", "")
	}
	for _, p := range append(bob, other...) {
		if frames := p.Barrier(); len(frames) > 0 {
			t.Errorf("a session of another user, or a later one, got %s", frames[0].Raw)
		}
	}
}

// With several sessions on several nodes the master user gets each message on one
// of them, all of one sender on the same.
func TestAMasterOnSeveralNodesGetsEachSendersMessagesInOrder(t *testing.T) {
	c := three(t, demoApps)
	const senders, n = 12, 50
	var masters []*Peer
	for i := range 4 {
		masters = append(masters, SignIn(t, c.Nodes[i%3], master, ""))
	}
	var sending sync.WaitGroup
	for s := range senders {
		p := SignIn(t, c.Nodes[s%3], fmt.Sprint("ANZ-", 10+s), "")
		sending.Go(func() {
			for k := range n {
				p.Message(master, numbered(fmt.Sprint("s", s), k, 30), "")
			}
		})
	}
	sending.Wait()
	apart := make(map[string][]Frame)
	on := make(map[string]map[int]bool) // sessions that got something of a sender
	for left := senders*n + senders; left > 0; left-- {
		f, i := nextOfAny(t, masters)
		if f.Type == "USER_CONNECTED" {
			continue
		}
		s, _ := number(f)
		apart[s] = append(apart[s], f)
		if on[s] == nil {
			on[s] = make(map[int]bool)
		}
		on[s][i] = true
	}
	for s := range senders {
		series := fmt.Sprint("s", s)
		wantSeries(t, series, apart[series], series, 0, n)
		if len(on[series]) != 1 {
			t.Errorf("the messages of one sender came to %d sessions", len(on[series]))
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

func TestWhatWaitsIsFetchedFromAnyNode(t *testing.T) {
	c := three(t, plainApp)
	for u := range 12 {
		bob := fmt.Sprint("ANZ-", 200+u)
		for i, n := range c.Nodes {
			post(t, SignIn(t, n, fmt.Sprintf("ANZ-%d%d", 3+i, u), `{"receipts":true}`), bob, fmt.Sprint("m", i), 0, 20, 100)
		}
		p := SignIn(t, c.Nodes[u%3], bob, "")
		first, left := p.Fetch(25)
		if left != "35" {
			t.Errorf("%s are left", left)
		}
		rest, left := p.Fetch(100)
		if left != "0" {
			t.Errorf("%s are left", left)
		}
		all := append(first, rest...)
		for i := range c.Nodes {
			wantSeries(t, bob, all[20*i:20*i+20], fmt.Sprint("m", i), 0, 20) // they were stored one series after the other
		}
	}
}

// Two sessions of a user that fetch at once, on two nodes, do not both get the same
// message, and miss none.
func TestTwoSessionsOnTwoNodesShareWhatTheyFetch(t *testing.T) {
	c := three(t, plainApp)
	for u := range 6 {
		bob := fmt.Sprint("ANZ-", 200+u)
		const n = 300
		post(t, SignIn(t, c.Nodes[0], fmt.Sprint("ANZ-", 100+u), `{"receipts":true}`), bob, "m", 0, n, 100)
		var both sync.WaitGroup
		got := make([][]Frame, 2)
		for i := range got {
			p := SignIn(t, c.Nodes[1+i], bob, "")
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
		wantSeries(t, "both together", all, "m", 0, n)
	}
}

func TestAGroupMessageReachesItsReceiversOnAllNodes(t *testing.T) {
	c := three(t, plainApp)
	const users = 30
	var to []string
	var there []*Peer
	for u := range users {
		to = append(to, fmt.Sprintf(`"ANZ-%d"`, 100+u))
		if u%5 > 0 { // the others are away
			there = append(there, SignIn(t, c.Nodes[u%3], fmt.Sprint("ANZ-", 100+u), ""))
		}
	}
	const frame = `{"type":"GROUP_MESSAGE","data":{"to":[%s],"content":"%s"},"feature":"%s","reference":"%s"}`
	for i, n := range c.Nodes {
		p := SignIn(t, n, fmt.Sprint("ANZ-", 1+i), `{"receipts":true}`)
		p.Send(fmt.Sprintf(frame, strings.Join(to, ","), fmt.Sprint("fast", i), "FAST", "f"))
		p.Send(fmt.Sprintf(frame, strings.Join(to, ","), fmt.Sprint("sure", i), "RELIABLE", "s"))
		if f := p.Expect("MESSAGE_STORED"); f.Field("reference") != "s" {
			t.Errorf("got %s", f.Raw)
		}
		for _, p := range there {
			got := []string{p.Next().Field("content"), p.Next().Field("content")}
			slices.Sort(got)
			if want := []string{fmt.Sprint("fast", i), fmt.Sprint("sure", i)}; !slices.Equal(got, want) {
				t.Errorf("%s got %v, want %v", p.user, got, want)
			}
		}
		wantNothing(t, "the sender", p)
	}
	for u := 0; u < users; u += 5 {
		user := fmt.Sprint("ANZ-", 100+u)
		missed, left := SignIn(t, c.Nodes[u%3], user, "").Fetch(100)
		var got []string
		for _, f := range missed {
			got = append(got, f.Field("content"))
		}
		if want := []string{"sure0", "sure1", "sure2"}; !slices.Equal(got, want) || left != "0" {
			t.Errorf("%s fetched %v, %s left", user, got, left)
		}
	}
}

// Watchers on each node are told of a user's first session and of its last one,
// wherever these are.
func TestWatchersHearOfFirstAndLastSessionsOnOtherNodes(t *testing.T) {
	c := three(t, plainApp)
	var watchers []*Peer
	for i, n := range c.Nodes {
		watchers = append(watchers, SignIn(t, n, fmt.Sprint("ANZ-", 1+i), `{"presence":["ANZ-7"]}`))
	}
	heard := func(what string) {
		t.Helper()
		for _, p := range watchers {
			if f := p.Expect(what); f.Field("userId") != "ANZ-7" {
				t.Errorf("got %s", f.Raw)
			}
		}
	}
	for i := range c.Nodes {
		one := SignIn(t, c.Nodes[i], "ANZ-7", "")
		heard("USER_CONNECTED")
		two := SignIn(t, c.Nodes[(i+1)%3], "ANZ-7", "")
		late := SignIn(t, c.Nodes[(i+2)%3], "ANZ-4", `{"presence":["ANZ-7"]}`)
		late.Expect("USER_CONNECTED") // who comes later is told how it stands
		one.Close()
		two.Close()
		heard("USER_DISCONNECTED") // once: what comes next is a connection
		late.Expect("USER_DISCONNECTED")
		late.Close()
	}
}

// A user's sessions on all nodes together are limited.
func TestTheSessionsOfAUserAreCountedOverAllNodes(t *testing.T) {
	c := three(t, plainApp+"limits: {sessionsPerUser: 3}\n")
	c.onEach("ANZ-7", "")
	for i, n := range c.Nodes {
		if err := Dial(t, n).TrySignIn("app-id-343", "ANZ-7", ""); err == nil || !strings.Contains(err.Error(), "TOO_MANY_SESSIONS") {
			t.Errorf("on node %d: %v", i+1, err)
		}
	}
}
