package nodetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// importVariable sets how many messages wait in the store that is imported.
const importVariable = "IMPORT_MESSAGES"

// aloneStore is a data folder of a node that was alone, and what waits in it.
type aloneStore struct {
	data     string
	settings string
	key      string
	users    []string
	each     int                 // messages of the series for each user
	waits    map[string][]string // by user, as the HTTP interface shows them
	ids      []string            // of the requests with a key
	nats     *NATS               // on which it joins others; nil: on their own
}

// keyedRequest is one of those.
func keyedRequest(k int) string {
	return fmt.Sprintf(`{"from":"ANZ-1","to":"ANZ-%d","content":"keyed","reference":"k%d"}`, 500+k, k)
}

const keyedRequests = 20

// fillStore has a node that is alone accept some messages for each of many users: a
// series, a group message, one that has a time, one that is over when it is
// imported, requests with keys. The node is killed with a session open.
func fillStore(t *testing.T, messages int) *aloneStore {
	t.Helper()
	a := &aloneStore{data: filepath.Join(t.TempDir(), "data"), settings: demoApps + "limits: {mailboxMessages: 1000000, mailboxBytes: 4GiB}\n"}
	s := StartIn(t, a.data, "--config", Settings(t, a.settings))
	const users = 200
	a.each = messages / users
	for u := range users {
		a.users = append(a.users, fmt.Sprint("ANZ-", 1000+u))
	}
	var sending sync.WaitGroup
	for w := range 4 {
		p := SignIn(t, s, fmt.Sprint("ANZ-", 10+w), `{"receipts":true}`)
		sending.Go(func() {
			for u := w; u < users; u += 4 {
				for first := 0; first < a.each; first += 500 {
					post(t, p, a.users[u], "m", first, min(first+500, a.each), 100)
				}
			}
		})
	}
	sending.Wait()
	p := SignIn(t, s, "ANZ-20", `{"receipts":true}`)
	for k := range 10 {
		var to []string
		for u := range 50 {
			to = append(to, fmt.Sprintf("%q", a.users[u*4+k%4]))
		}
		p.Send(fmt.Sprintf(`{"type":"GROUP_MESSAGE","data":{"to":[%s],"content":"group"},"feature":"RELIABLE","reference":"g%d"}`, strings.Join(to, ","), k))
		p.Expect("MESSAGE_STORED")
	}
	p.Message(a.users[0], "in an hour", `"ttl":3600000,"reference":"t"`)
	p.Expect("MESSAGE_STORED")
	b := newBackend(t, s)
	a.key = b.key
	for k := range keyedRequests {
		answer, err := b.try("POST", messagesPath, keyedRequest(k), fmt.Sprint("order-", k))
		if err != nil || answer.Status != 201 {
			t.Fatalf("%d %s, %v", answer.Status, answer.Body, err)
		}
		a.ids = append(a.ids, answer.Field("id"))
	}
	a.waits = a.look(t, b)
	p.Message("ANZ-30", "over in a moment", `"ttl":1,"reference":"over"`)
	p.Expect("MESSAGE_STORED")
	s.Kill()
	return a
}

// look returns what waits.
func (a *aloneStore) look(t *testing.T, b *backend) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	users := append([]string{}, a.users...)
	for k := range keyedRequests {
		users = append(users, fmt.Sprint("ANZ-", 500+k))
	}
	for _, user := range users {
		next := ""
		for more := true; more; more = next != "" {
			var page struct {
				Messages []json.RawMessage `json:"messages"`
				Next     string            `json:"next"`
			}
			path := "/v1/users/" + user + "/mailbox/messages?limit=500"
			if next != "" {
				path += "&cursor=" + next
			}
			if err := json.Unmarshal([]byte(b.want(200, "GET", path, "").Body), &page); err != nil {
				t.Fatal(err)
			}
			for _, m := range page.Messages {
				all[user] = append(all[user], string(m))
			}
			next = page.Next
		}
	}
	return all
}

// join makes three nodes of it, of which the first has the store; none is started.
func (a *aloneStore) join(t *testing.T) *Cluster {
	t.Helper()
	c := newCluster(t, 3, func(i int, s *NodeSettings) {
		s.More, s.NATS = a.settings, a.nats
		if i == 0 {
			s.Data = a.data
		}
	})
	for i := range c.Settings {
		c.Nodes = append(c.Nodes, c.node(i))
	}
	t.Cleanup(c.tell)
	return c
}

// wantAll fails unless a cluster has all of it, once, in order, and under its IDs.
func (a *aloneStore) wantAll(t *testing.T, c *Cluster) {
	t.Helper()
	for i, n := range c.Nodes {
		b := &backend{s: n, addr: n.Addr, key: a.key, client: newBackend(t, n).client}
		got := a.look(t, b)
		for user, want := range a.waits {
			if len(got[user]) != len(want) {
				t.Errorf("node %d has %d messages for %s, there were %d", i+1, len(got[user]), user, len(want))
				continue
			}
			for k := range want {
				if got[user][k] != want[k] {
					t.Errorf("node %d, %s, message %d: %s, was %s", i+1, user, k, got[user][k], want[k])
					break
				}
			}
		}
		for k := range keyedRequests { // a server sends again what it has no answer to
			answer, err := b.try("POST", messagesPath, keyedRequest(k), fmt.Sprint("order-", k))
			if err != nil || answer.Status != 201 || answer.Field("id") != a.ids[k] {
				t.Errorf("node %d, request %d, sent again: %d %s, %v; the first answer had %s", i+1, k, answer.Status, answer.Body, err, a.ids[k])
			}
		}
	}
	for u, user := range a.users {
		if u%40 == 0 {
			a.wantIDs(t, c.Nodes[u/40%3], user)
		}
		p := SignIn(t, c.Nodes[u%3], user, "")
		missed, left := p.Fetch(len(a.waits[user]) + 10)
		if len(missed) != len(a.waits[user]) || left != "0" {
			t.Errorf("%s fetched %d messages, %s left; there were %d", user, len(missed), left, len(a.waits[user]))
		} else {
			wantSeries(t, user, missed[:a.each], "m", 0, a.each)
		}
		p.Close()
	}
	// The master hears that who was there when the node was killed is gone.
	m, left := SignIn(t, c.Nodes[1], master, "").Fetch(1000)
	gone := make(map[string]int)
	for _, f := range m {
		switch f.Type {
		case "USER_CONNECTED":
			gone[f.Field("userId")]--
		case "USER_DISCONNECTED":
			gone[f.Field("userId")]++
		}
	}
	if gone["ANZ-20"] != 0 || left != "0" {
		t.Errorf("the master heard of ANZ-20's leaves, less its arrivals: %d; %s left", gone["ANZ-20"], left)
	}
	p := SignIn(t, c.Nodes[2], "ANZ-20", `{"push":true}`)
	for f := p.Next(); !strings.Contains(f.Raw, `"reference":"over"`) || f.Type != "DELIVER_FAILED"; f = p.Next() {
		if f.Type != "MESSAGE_CONFIRMATION" {
			t.Errorf("whose message is over got %s", f.Raw)
		}
	}
}

// wantIDs fails unless a client that acknowledges gets the IDs that there were. It
// acknowledges nothing.
func (a *aloneStore) wantIDs(t *testing.T, n *Server, user string) {
	t.Helper()
	p := SignIn(t, n, user, `{"ack":true}`)
	defer p.Close()
	missed, _ := p.Fetch(100)
	for k, f := range missed {
		if f.ID == "" || !strings.Contains(a.waits[user][k], f.ID) {
			t.Fatalf("%s, message %d: %s, was %s", user, k, f.Raw, a.waits[user][k])
		}
	}
	if want := min(100, len(a.waits[user])); len(missed) != want {
		t.Errorf("%s fetched %d messages, want %d", user, len(missed), want)
	}
}

// wantAside fails unless the store was moved aside, once.
func (a *aloneStore) wantAside(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(a.data, "jetstream")); !os.IsNotExist(err) {
		t.Errorf("the store is still where it was: %v", err)
	}
	aside, err := filepath.Glob(filepath.Join(a.data, "jetstream.imported-*", "$G", "streams", "*"))
	if err != nil || len(aside) == 0 {
		t.Errorf("the store is not kept aside: %v, %v", aside, err)
	}
}

// The first node of a cluster brings along what it has from its time alone.
func TestAStandaloneStoreBecomesTheFirstOfThree(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	a := fillStore(t, numberFromEnvironment(t, importVariable, 4000))
	c := a.join(t)
	began := time.Now()
	c.Launch(c.Nodes...)
	t.Logf("ready after %s", time.Since(began))
	tellImports(t, c.Nodes[0])
	a.wantAside(t)
	a.wantAll(t, c)
	c.Nodes[0].Stop()
	c.Launch(c.Nodes[0]) // which has nothing to import any more
	if n := strings.Count(c.Nodes[0].Output(), "is being imported"); n > 3 {
		t.Errorf("it says %d times that it imports", n)
	}
}

// Killed again and again while it brings that, the node brings it once; to those, too,
// who are there meanwhile, on another node, and get it as it comes.
func TestKilledWhileItImportsANodeImportsOnce(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	chance := rand.New(rand.NewPCG(seed(t), 31))
	a := fillStore(t, numberFromEnvironment(t, importVariable, 8000))
	c := a.join(t)
	var others []<-chan struct{} // ready
	for _, n := range c.Nodes[1:] {
		others = append(others, n.launch())
	}
	kills := 0
	var there []*Peer
	for round := range 6 {
		before := 0.0
		if there != nil {
			before = waitingOn(c.Nodes[1:])
		}
		at := strings.Count(c.Nodes[0].Output(), "is being imported")
		c.Nodes[0].launch()
		Eventually(t, "the import has begun", func() bool { return strings.Count(c.Nodes[0].Output(), "is being imported") > at })
		if there != nil && round%2 == 1 { // in the thick of it
			Eventually(t, "another node has taken some of it", func() bool {
				return waitingOn(c.Nodes[1:]) != before || strings.Contains(c.Nodes[0].Output(), "is in the cluster")
			})
		} else {
			<-time.After(time.Duration(chance.Int64N(int64(300 * time.Millisecond))))
		}
		c.Nodes[0].Kill()
		if _, err := os.Stat(filepath.Join(a.data, "jetstream")); err != nil {
			break
		}
		kills++
		if there != nil {
			continue
		}
		for i, n := range c.Nodes[1:] {
			if !n.becomesReady(others[i]) {
				t.Fatalf("node %d ended", i+2)
			}
		}
		for _, user := range a.users[:20] {
			there = append(there, a.signIn(t, c.Nodes[1], user))
		}
	}
	t.Logf("killed %d times before the store was aside", kills)
	c.Launch(c.Nodes[0])
	tellImports(t, c.Nodes[0])
	a.wantAside(t)
	for i, p := range there {
		user := a.users[i]
		wantSeries(t, user, take(p, a.each), "m", 0, a.each)
		for range len(a.waits[user]) - a.each {
			p.Next()
		}
		wantNothing(t, user, p)
		p.Close()
		delete(a.waits, user)
	}
	a.users = a.users[len(there):]
	a.wantAll(t, c)
}

// waitingOn returns how many messages wait in the mailboxes that nodes keep.
func waitingOn(nodes []*Server) (sum float64) {
	for _, n := range nodes {
		_, body := n.Get("/metrics")
		sum += sumOf(body, "switchboard_mailbox_messages{")
	}
	return sum
}

// sumOf adds up the metrics that begin with a text.
func sumOf(metrics, with string) (sum float64) {
	for line := range strings.Lines(metrics) {
		var v float64
		if rest, ok := strings.CutPrefix(line, with); ok {
			if _, err := fmt.Sscan(rest[strings.LastIndex(rest, " ")+1:], &v); err == nil {
				sum += v
			}
		}
	}
	return sum
}

// tellImports says what a node said of imports.
func tellImports(t *testing.T, n *Server) {
	t.Helper()
	for line := range strings.Lines(n.Output()) {
		if strings.Contains(line, "store of a node that was alone") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// signIn signs a user in as soon as a node lets it.
func (a *aloneStore) signIn(t *testing.T, n *Server, user string) (p *Peer) {
	t.Helper()
	Eventually(t, user+" is let in", func() bool {
		var err error
		p, err = TryDial(t.Context(), t, n)
		return err == nil && p.TrySignIn("app-id-343", user, `{"push":true}`) == nil
	})
	return p
}

// An outbox that a device has sent before the import is sent again after it, through
// every node, and delivered once.
func TestAnOutboxSentAgainAfterAnImportIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	a := &aloneStore{data: filepath.Join(t.TempDir(), "data"), settings: plainApp}
	s := StartIn(t, a.data, "--config", Settings(t, a.settings))
	const receivers, each = 10, 5
	o := &outbox{t: t, user: "ANZ-1", stored: make(map[string]bool), to: func(k int) string { return fmt.Sprint("ANZ-", 600+k%receivers) }}
	p := o.signIn(s)
	o.send(p, 0, receivers*each)
	for range receivers * each {
		p.Expect("MESSAGE_STORED")
	}
	s.Kill()
	c := a.join(t)
	c.Launch(c.Nodes...)
	for _, n := range c.Nodes {
		o.settle(n, receivers*each)
	}
	for k := range receivers {
		if missed, _ := SignIn(t, c.Nodes[k%3], fmt.Sprint("ANZ-", 600+k), "").Fetch(100); len(missed) != each {
			t.Errorf("%d messages arrived, want %d", len(missed), each)
		}
	}
}

// What docs/cluster.md prints of the way from one node to three works as printed, but
// for the addresses.
func TestFromOneNodeToThreeAsPrinted(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	page := ReadCheckout(t, "docs/cluster.md")
	dir := t.TempDir()
	replace := []string{}
	for _, port := range []string{"7081", "7082", "7083"} {
		replace = append(replace, "127.0.0.1:"+port, freeAddress(t))
	}
	for _, file := range regexp.MustCompile("(?s)<!-- file: (\\S+) -->\n```yaml\n(.*?)```").FindAllStringSubmatch(page, -1) {
		if err := os.WriteFile(filepath.Join(dir, file[1]), []byte(strings.NewReplacer(replace...).Replace(file[2])), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, example, found := strings.Cut(page, "<!-- example: grow -->\n```\n")
	if !found {
		t.Fatal("the page has no such example")
	}
	example, rest, _ := strings.Cut(example, "```\n")
	var nodes []*Server
	for line := range strings.Lines(example) {
		words, ours := strings.CutPrefix(strings.TrimSpace(line), "switchboard serve ")
		if !ours {
			continue
		}
		// The data folder of the files is ./data and their number, as printed.
		s := &Server{
			t: t, path: Binary(t), before: []string{"env", "-C", dir}, Addr: "127.0.0.1:0", Admin: "127.0.0.1:0",
			Args: strings.Fields(words), Data: filepath.Join(dir, fmt.Sprint("data", max(len(nodes), 1))),
		}
		if len(nodes) == 0 {
			s.Args = nil // --data is among what the harness gives
		}
		nodes = append(nodes, s)
	}
	if len(nodes) != 4 {
		t.Fatalf("the example starts %d nodes", len(nodes))
	}
	post(t, func() *Peer { nodes[0].Start(); return SignIn(t, nodes[0], "ANZ-1", `{"receipts":true}`) }(), "ANZ-2", "m", 0, 100, 100)
	nodes[0].Signal(syscall.SIGINT) // Ctrl-C
	if code := nodes[0].Wait(); code != 0 {
		t.Fatalf("the node that was alone ended with %d\n%s", code, nodes[0].Output())
	}
	c := &Cluster{t: t, Nodes: nodes[1:]}
	t.Cleanup(func() {
		for _, n := range c.Nodes {
			n.Kill()
		}
	})
	t.Cleanup(c.tell)
	c.Launch(c.Nodes...)
	printed := regexp.MustCompile(`msg="[^"]*"`).FindAllString(strings.SplitN(rest, "| of |", 2)[0], -1)
	if len(printed) != 2 {
		t.Fatalf("the page prints %q", printed)
	}
	for _, msg := range printed {
		if !strings.Contains(c.Nodes[0].Output(), msg) {
			t.Errorf("the node does not log %s", msg)
		}
	}
	missed, left := SignIn(t, c.Nodes[2], "ANZ-2", "").Fetch(1000)
	wantSeries(t, "ANZ-2", missed, "m", 0, 100)
	if left != "0" {
		t.Errorf("%s are left", left)
	}
}

// A store that cannot be read whole is not imported at all: the node ends, says where
// it is damaged, and leaves it as it is.
func TestADamagedStoreIsNotImported(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	a := fillStore(t, 2000)
	file := filepath.Join(a.data, "jetstream", "$G", "streams", "SB_LOG_0", "msgs", "1.blk")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c := a.join(t)
	ready := c.Nodes[0].launch()
	launchAll(t, c.Nodes[1:])
	if c.Nodes[0].becomesReady(ready) {
		t.Fatal("the node serves")
	}
	if code, said := c.Nodes[0].Wait(), c.Nodes[0].Output(); code != 1 || !strings.Contains(said, "which stays as it is") || !strings.Contains(said, "1.blk") {
		t.Errorf("it ended with %d and said\n%s", code, said)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, b) {
		t.Errorf("the store is not as it was: %v", err)
	}
}

// A node that joins others on a NATS server brings its store along as well.
func TestAStandaloneStoreIsImportedIntoANATSThatExists(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	a := fillStore(t, 2000)
	nats := StartNATS(t)
	c := newCluster(t, 3, func(i int, s *NodeSettings) {
		s.More, s.NATS = a.settings, nats
		if i == 1 {
			s.Data = a.data
		}
	})
	for i := range c.Settings {
		c.Nodes = append(c.Nodes, c.node(i))
	}
	t.Cleanup(c.tell)
	c.Launch(c.Nodes...)
	a.wantAside(t)
	a.wantAll(t, c)
}
