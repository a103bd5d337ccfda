package nodetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// moment is how many messages each sender had sent.
func (h *history) moment() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := make(map[string]int)
	for from, sends := range h.Sends {
		at[from] = len(sends)
	}
	return at
}

// acceptedSince says for how many receivers something was accepted that was sent
// after a moment.
func (h *history) acceptedSince(at map[string]int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	users := make(map[string]bool)
	for from, sends := range h.Sends {
		for _, s := range sends[at[from]:] {
			if len(s.To) == 1 && s.accepted() {
				users[s.To[0]] = true
			}
		}
	}
	return len(users)
}

// awaitAll waits until for every receiver something is accepted that is sent from
// now on, so whoever keeps its mailbox does its work, and returns how long it took.
func (w *workload) awaitAll() time.Duration {
	w.t.Helper()
	at, began := w.moment(), time.Now()
	Eventually(w.t, "messages for every receiver are accepted", func() bool { return w.acceptedSince(at) == len(w.users) })
	return time.Since(began).Round(10 * time.Millisecond)
}

// work is a workload on a cluster while something happens to its nodes.
type work struct {
	*workload
	*Cluster
	t *testing.T
}

// A cluster at work: each of these happens to it under a workload of its own, which
// is judged.
func TestAClusterAtWork(t *testing.T) {
	t.Parallel()
	c := three(t, roomyApp)
	face, chance := c.Face(), rand.New(rand.NewPCG(seed(t), 21))
	for _, happens := range []struct {
		name string
		run  func(w work)
	}{
		{"a frozen keeper that comes back changes nothing", freezeEach},
		{"a killed node is replaced within seconds", killEach},
		{"an upgrade of a node at a time loses nothing", upgradeEach},
		{"killed as a whole it comes back with all that it had", killAllAtOnce},
	} {
		good := t.Run(happens.name, func(t *testing.T) {
			w := work{startWorkload(t, face, chance, restOfProducers(t), 200, 2000, 20_000), c, t}
			w.awaitAccepted(50)
			w.awaitAll()
			happens.run(w)
			c.AwaitReady()
			w.awaitAll()
			w.hush()
			w.drain(face)
			t.Logf("%d accepted", w.acceptedSoFar())
			wantGood(t, w.history)
		})
		if !good {
			return // the next one would hear of what is left of this one
		}
	}
}

// nodesToTry are the nodes on which a fault is tried: one by chance, or each with
// FAULT_VICTIMS=all.
func nodesToTry(c *Cluster) []int {
	if os.Getenv("FAULT_VICTIMS") != "all" {
		return []int{rand.IntN(len(c.Nodes))}
	}
	all := make([]int, len(c.Nodes))
	for i := range all {
		all[i] = i
	}
	return all
}

// A node that is stopped for longer than its lease finds, when it goes on, that
// others keep what it kept. What it had begun comes to nothing: no message is
// stored, delivered or confirmed by it that should not be.
func freezeEach(w work) {
	for _, i := range nodesToTry(w.Cluster) {
		w.Nodes[i].Signal(syscall.SIGSTOP)
		w.t.Logf("node %d is frozen: all are served after %s", i+1, w.awaitAll())
		w.Nodes[i].Signal(syscall.SIGCONT)
		w.awaitAll()
		w.AwaitReady()
	}
}

func killEach(w work) {
	for _, i := range nodesToTry(w.Cluster) {
		w.Nodes[i].Kill()
		w.t.Logf("node %d is killed: all are served after %s", i+1, w.awaitAll())
		w.Nodes[i].Start()
		w.awaitAll()
		w.AwaitReady()
	}
}

// Each node in turn is asked to stop, and started again, as another version, when it
// has: for a while two versions are side by side. No message is lost, none out of
// order.
func upgradeEach(w work) {
	const version = "v999.0.0"
	next := upgraded(w.t, version)
	for i, n := range w.Nodes {
		began := time.Now()
		if code := n.Stop(); code != 0 {
			w.t.Errorf("exit code %d\n%s", code, n.Output())
		}
		stopped := time.Since(began)
		n.path = next
		n.Start()
		w.AwaitReady()
		w.t.Logf("node %d stopped in %s, all were ready after %s, all are served after %s more", i+1, stopped.Round(10*time.Millisecond), time.Since(began).Round(10*time.Millisecond), w.awaitAll())
		if list := clusterOf(w.t, w.Nodes[0]); newer(list, version) != i+1 {
			w.t.Errorf("%d nodes were started anew as %s: %v", i+1, version, list)
		}
	}
}

// newer is how many nodes of a cluster are up as a version.
func newer(list []map[string]any, version string) (n int) {
	for _, m := range list {
		if m["version"] == version && m["status"] == "up" {
			n++
		}
	}
	return n
}

// All nodes at once, as when the power fails.
func killAllAtOnce(w work) {
	for range 2 {
		for _, n := range w.Nodes {
			n.Kill()
		}
		began := time.Now()
		w.Launch(w.Nodes...)
		w.t.Logf("all are ready after %s, served after %s more", time.Since(began).Round(10*time.Millisecond), w.awaitAll())
	}
}

// A node that has lost its data folder comes back under its name and has all from
// the others, so that one of them may go.
func TestANodeWhoseFolderWasWipedComesBack(t *testing.T) {
	t.Parallel()
	c := three(t, roomyApp)
	const users, each, kept = 20, 50, "switchboard_shards_kept"
	shards := 0.0
	for _, n := range c.Nodes {
		shards += n.Metric(kept)
	}
	receiver := func(u int) string { return fmt.Sprint("ANZ-", 200+u) }
	send := func(n *Server, series string) {
		for u := range users {
			post(t, SignIn(t, n, fmt.Sprint("ANZ-", 100+u), `{"receipts":true}`), receiver(u), series, 0, each, 500)
		}
	}
	send(c.Nodes[0], "all")
	c.Nodes[2].Kill()
	// Of what is on its way to a node that dies nobody knows what became.
	Eventually(t, "the others keep all shards", func() bool { return c.Nodes[0].Metric(kept)+c.Nodes[1].Metric(kept) == shards })
	send(c.Nodes[1], "two") // both of the others have it, or it would not be stored
	if err := os.RemoveAll(c.Nodes[2].Data); err != nil {
		t.Fatal(err)
	}
	c.Launch(c.Nodes[2])
	send(c.Nodes[2], "again")
	c.Nodes[0].Kill()
	for u := range users {
		var missed []Frame
		Eventually(t, "everything is fetched", func() bool {
			p, err := TryDial(t.Context(), t, c.Nodes[1+u%2])
			if err != nil || p.TrySignIn("app-id-343", receiver(u), "") != nil {
				return false
			}
			defer p.Close()
			missed = nil
			left := ""
			missed, left = p.Fetch(1000)
			return left == "0" && len(missed) > 0
		})
		wantWoven(t, receiver(u), missed, each, "all", "two", "again")
	}
	c.Nodes[0].Start()
	c.AwaitReady()
}

// leavers are users with sessions on the node that is about to die, some of them
// with others elsewhere, and those who hear of it: the master on the first node
// that lives, watchers on the second one.
type leavers struct {
	t        *testing.T
	c        *Cluster
	dies     int
	sessions map[string]int // on the node that dies, by user
	stays    map[string]*Peer
	master   *Peer
	watcher  *Peer
	lost     []*Peer // the sessions on the node that dies
	byMaster tidings // what the master has been told
}

func newLeavers(t *testing.T, c *Cluster, dies int) *leavers {
	t.Helper()
	l := &leavers{t: t, c: c, dies: dies, sessions: make(map[string]int), stays: make(map[string]*Peer)}
	var watched string
	for u := range 24 {
		user := l.user(u)
		l.sessions[user] = 1 + u%3
		watched += fmt.Sprintf(",%q", user)
	}
	l.master = SignIn(t, c.Nodes[(dies+1)%3], master, `{"ack":true}`)
	l.watcher = SignIn(t, c.Nodes[(dies+2)%3], "ANZ-1", `{"presence":[`+watched[1:]+`]}`)
	for user, n := range l.sessions {
		for range n {
			l.lost = append(l.lost, SignIn(t, c.Nodes[dies], user, ""))
		}
	}
	for u := 0; u < 24; u += 4 {
		user := l.user(u)
		l.stays[user] = SignIn(t, c.Nodes[(dies+1)%3], user, "")
	}
	// What of a session is on no disk when its node dies is told by nobody.
	l.byMaster = make(tidings)
	l.collect(l.byMaster, l.master, len(l.lost)+len(l.stays))
	return l
}

// user is another one for each node that dies: what is told late of one is not told
// of another.
func (l *leavers) user(u int) string { return fmt.Sprint("ANZ-", 100*(l.dies+1)+u) }

// tidings are what somebody was told of each user, in order: "+" and "-".
type tidings map[string]string

// collect takes n notices of users among those that leave.
func (l *leavers) collect(h tidings, p *Peer, n int) {
	l.t.Helper()
	for n > 0 {
		f, err := p.TryNext()
		if err != nil {
			l.t.Fatalf("%s lacks %d, and was told %v of %v: %v", p.user, n, h, l.sessions, err)
		}
		switch f.Type {
		case "USER_CONNECTED":
			h[f.Field("userId")] += "+"
		case "USER_DISCONNECTED":
			h[f.Field("userId")] += "-"
		default:
			l.t.Fatalf("got %s", f.Raw)
		}
		if f.ID != "" {
			p.Send(fmt.Sprintf(`{"type":"MESSAGE_ACK","data":{"id":%q}}`, f.ID))
		}
		if l.sessions[f.Field("userId")] > 0 {
			n--
		}
	}
}

// judge has everybody who left come and go once more, which is told behind
// whatever else is told of them, and compares.
func (l *leavers) judge(began time.Time) {
	t := l.t
	t.Helper()
	byMaster, byWatcher := l.byMaster, make(tidings)
	l.collect(byMaster, l.master, len(l.lost))
	l.collect(byWatcher, l.watcher, len(l.sessions)+len(l.sessions)-len(l.stays))
	took := time.Since(began).Round(10 * time.Millisecond)
	t.Logf("every end was told after %s", took)
	if took > leavesWithin {
		t.Errorf("the ends were told after %s, which is more than %s", took, leavesWithin)
	}
	for user := range l.sessions {
		p := SignIn(t, l.c.Nodes[(l.dies+1)%3], user, "")
		p.Close()
	}
	l.collect(byMaster, l.master, 2*len(l.sessions))
	l.collect(byWatcher, l.watcher, 2*(len(l.sessions)-len(l.stays)))
	for user, n := range l.sessions {
		told := "+-+-"
		if l.stays[user] != nil {
			told = "+"
		}
		if got := byMaster[user]; !eachLeft(got, n+len(nonNil(l.stays[user])), n) {
			t.Errorf("of %s, who had %d sessions there and %d elsewhere, the master heard %s", user, n, len(nonNil(l.stays[user])), got)
		}
		if got := byWatcher[user]; got != told {
			t.Errorf("of %s the watcher heard %s, want %s", user, got, told)
		}
	}
}

// eachLeft says whether tidings are of so many sessions that came and left, each
// after it came, and one more behind them. One that came elsewhere just before may
// be told behind the ends of others: whoever was to store it may be the one that died.
func eachLeft(told string, came, left int) bool {
	first, last := strings.CutSuffix(told, "+-")
	there := 0
	for _, c := range first {
		if there += map[rune]int{'+': 1, '-': -1}[c]; there < 0 {
			return false
		}
	}
	return last && strings.Count(first, "+") == came && strings.Count(first, "-") == left
}

func nonNil(p *Peer) []*Peer {
	if p == nil {
		return nil
	}
	return []*Peer{p}
}

// leavesWithin is how long it may take until everybody has been told who left with
// a node that died: its lease, the election of those that store, the takeover; and
// twice that, for machines under test are slow.
const leavesWithin = 30 * time.Second

func TestEachSessionOfAKilledNodeLeavesExactlyOnce(t *testing.T) {
	t.Parallel()
	c := three(t, demoApps)
	for _, dies := range nodesToTry(c) {
		l := newLeavers(t, c, dies)
		began := time.Now()
		c.Nodes[dies].Kill()
		l.judge(began)
		c.Nodes[dies].Start()
		c.AwaitReady()
		l.end()
	}
}

// The machine of a node says that its process has ended, so nobody waits for its lease
// to be over.
func TestAKilledNodeIsNoticedBeforeItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	const lease = 40 * time.Second
	c := threeLeased(t, devicesOn, lease.String())
	a, b := ConnectDevice(t, c.Nodes[0], "a", 1, 1), ConnectDevice(t, c.Nodes[1], "b", 1, 1)
	a.Expect("I matched with device 'b'!")
	b.Expect("I matched with device 'a'!")
	began := time.Now()
	c.Nodes[1].Kill()
	a.Expect("device 'b' left")
	took := time.Since(began).Round(10 * time.Millisecond)
	if took >= lease {
		t.Errorf("it took %s, and the lease is %s", took, lease)
	}
	t.Logf("it was told %s after the kill, with a lease of %s", took, lease)
	ConnectDevice(t, c.Nodes[2], "c", 1, 1).Expect("I matched with device 'a'!")
	a.Expect("I matched with device 'c'!")
}

// Nobody hears of sessions that a frozen node ends when it goes on: they have left
// already.
func TestEachSessionOfAFrozenNodeLeavesExactlyOnce(t *testing.T) {
	t.Parallel()
	c := three(t, demoApps)
	for _, dies := range nodesToTry(c) {
		l := newLeavers(t, c, dies)
		began := time.Now()
		c.Nodes[dies].Signal(syscall.SIGSTOP)
		thaw := time.AfterFunc(leavesWithin, func() { _ = c.Nodes[dies].cmd.Process.Signal(syscall.SIGCONT) }) // whatever becomes of the test
		Eventually(t, "the master is told of somebody's end", func() bool {
			l.master.mu.Lock()
			defer l.master.mu.Unlock()
			return slices.ContainsFunc(l.master.frames, func(f Frame) bool {
				return f.Type == "USER_DISCONNECTED" && l.sessions[f.Field("userId")] > 0
			})
		})
		thaw.Stop()
		c.Nodes[dies].Signal(syscall.SIGCONT)
		for _, p := range l.lost {
			p.CloseCode() // whichever: the node does not keep them
		}
		c.AwaitReady()
		l.judge(began)
		l.end()
	}
}

// end lets everybody leave.
func (l *leavers) end() {
	l.master.Close()
	l.watcher.Close()
	for _, p := range l.stays {
		p.Close()
	}
	for _, p := range l.lost {
		p.Abort()
	}
	Eventually(l.t, "all have left", func() bool { return l.c.Metric("switchboard_mailbox_sessions") == 0 })
}
