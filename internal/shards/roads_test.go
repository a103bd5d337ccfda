package shards

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const linkUser = wire.UserID("domain2-1")

// neighbour is another domain, which sends each of its messages until it knows that
// all of it is stored, twenty at a time.
type neighbour struct {
	mu     sync.Mutex
	known  []bool
	asking int
}

// send sends message i to its receivers, once more or for the first time.
func (n *neighbour) send(t *testing.T, to *testNode, i int, low uint64, users ...wire.UserID) {
	o := &outcome{n: n, t: t, i: i}
	n.mu.Lock()
	n.asking++
	n.mu.Unlock()
	to.Accept(&mailbox.Message{
		ID: wire.ID{9, byte(i), byte(i >> 8)}, From: "ANZ-7", To: slices.Clone(users), Group: len(users) > 1, Frame: fmt.Appendf(nil, "far %d", i+1),
		Via: "domain-02/a", Place: uint64(10 * (i + 1)), Low: low, Origin: o, Done: o.done,
	})
}

func (n *neighbour) idle() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asking == 0
}

// first returns the first message that it does not know to be stored.
func (n *neighbour) first() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.Index(n.known, false); i >= 0 {
		return i
	}
	return len(n.known)
}

// outcome is what becomes of one message that is sent once.
type outcome struct {
	n      *neighbour
	t      *testing.T
	i      int
	failed bool
}

// Stored implements mailbox.Origin.
func (*outcome) Stored(wire.ID, []byte) {}

// Failed implements mailbox.Origin.
func (o *outcome) Failed(e *wire.Error, _ []byte) {
	o.n.mu.Lock()
	defer o.n.mu.Unlock()
	if o.failed = true; e.Code == wire.CodeMailboxFull {
		o.t.Errorf("message %d is refused: %v", o.i, e)
	}
}

func (o *outcome) done() {
	o.n.mu.Lock()
	defer o.n.mu.Unlock()
	o.n.asking--
	if !o.failed {
		o.n.known[o.i] = true
	}
}

// What comes over a link is sent again by whichever node has the link, while keepers
// move and links between nodes break: each receiver gets each message once.
func TestWhatComesOverALinkArrivesOnceWhileKeepersMoveAndLinksBreak(t *testing.T) {
	w := newWorld(t, 3)
	names := []string{"a", "b", "c"}
	for _, name := range names {
		w.node(name)
	}
	w.served()
	nodes := w.all()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 1))
	var clients []*client
	for i := range 6 {
		clients = append(clients, w.client(nodes[i%3], wireUser(i)))
	}
	const count = 400
	n := &neighbour{known: make([]bool, count)}
	receivers := func(i int) []wire.UserID {
		if i%3 == 0 {
			return []wire.UserID{wireUser(i % 6), wireUser((i + 1) % 6), wireUser((i + 2) % 6)}
		}
		return []wire.UserID{wireUser(i % 6)}
	}
	for round := 0; n.first() < count; round++ {
		if round == 1000 {
			t.Fatalf("message %d is never stored", n.first())
		}
		first := n.first()
		at := nodes[chance.IntN(3)]
		for i := first; i < min(first+20, count); i++ {
			n.send(t, at, i, uint64(10*(first+1)), receivers(i)...)
		}
		switch chance.IntN(4) {
		case 0:
			i := chance.IntN(3)
			w.cut(names[i], names[(i+1)%3])
			w.mend(names[i], names[(i+1)%3])
		case 1:
			away := nodes[chance.IntN(3)]
			away.left.Store(true)
			stirAll(w)
			w.eventually("the shards have moved", func() bool { return len(away.Kept()) == 0 })
			away.left.Store(false)
			stirAll(w)
		}
		if chance.IntN(3) > 0 { // else it is sent again while nobody knows what became of it
			w.eventually("every outcome is told", n.idle)
		}
	}
	w.served()
	w.eventually("every outcome is told", n.idle)
	want := make(map[wire.UserID]int)
	for i := range count {
		for _, user := range receivers(i) {
			want[user]++
		}
	}
	for _, c := range clients {
		w.eventually("everything arrives at "+string(c.user), func() bool { return len(c.received()) >= want[c.user] })
		last := w.sender(nodes[0], wireUser(999))
		text := last.send(c.user)
		w.eventually("the last one arrives", func() bool { return slices.Contains(c.received(), text) })
		got := make(map[string]int)
		for _, text := range c.received() {
			if got[text]++; got[text] > 1 {
				t.Errorf("%s arrived at %s %d times", text, c.user, got[text])
			}
		}
	}
}

// linkClient is a link's session at some node, which notes what it is told.
type linkClient struct {
	*client
	mu   sync.Mutex
	told []string
}

// Deliver implements mailbox.Outlet.
func (c *linkClient) Deliver(d mailbox.Delivery) {
	c.mu.Lock()
	c.told = append(c.told, fmt.Sprintf("%s: %s, low %t", d.Log, d.Frame, d.Low > 0 && d.Low <= d.Ord))
	c.mu.Unlock()
	c.client.Deliver(d)
}

// A link's session is told the log and its low place at whichever node it is, and by
// the next keeper too.
func TestALinksSessionIsALinksAtEveryNode(t *testing.T) {
	w := newWorld(t, 1)
	nodes := []*testNode{w.node("a"), w.node("b")}
	w.served()
	var links []*linkClient
	for _, n := range nodes {
		c := &linkClient{}
		c.client = w.client(n, linkUser, func(s *mailbox.Session) {
			c.client = s.Outlet.(*client)
			s.Outlet, s.Link = c, true
		})
		links = append(links, c)
	}
	s := w.sender(nodes[0], wireUser(1))
	var want []string
	for round := range 2 {
		for range 3 {
			want = append(want, "log 0: "+s.send(linkUser)+", low true")
		}
		for i, c := range links {
			w.eventually("it arrives at both", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return len(c.told) == len(want)
			})
			c.mu.Lock()
			if !slices.Equal(c.told, want) {
				t.Errorf("the link at node %d was told %q, want %q", i, c.told, want)
			}
			c.mu.Unlock()
		}
		if round == 0 {
			keeps := nodes[0]
			if len(keeps.Kept()) == 0 {
				keeps = nodes[1]
			}
			keeps.left.Store(true)
			stirAll(w)
			w.eventually("the shard has moved", func() bool { return len(keeps.Kept()) == 0 })
			w.served()
		}
	}
}
