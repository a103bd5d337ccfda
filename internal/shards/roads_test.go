package shards

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const linkUser = wire.UserID("domain2-1")

// neighbour is another domain, which sends each of its messages until it knows that
// all of it is stored: over one connection after the other, on each from the first of
// which it does not know that.
type neighbour struct {
	t         *testing.T
	receivers func(i int) []wire.UserID // of message i
	size      int                       // of each, about

	mu     sync.Mutex
	known  []bool
	asking int
}

func newNeighbour(t *testing.T, count int, receivers func(i int) []wire.UserID) *neighbour {
	return &neighbour{t: t, receivers: receivers, known: make([]bool, count)}
}

// connection is one that a node has to it. It ends when something that it brought was
// not taken, or when the node says so.
type connection struct {
	n     *neighbour
	at    *Office
	low   uint64
	next  int
	ended atomic.Bool
}

// Over implements mailbox.Line.
func (c *connection) Over() bool { return c.ended.Load() }

// connect begins a connection.
func (n *neighbour) connect(at *Office) *connection {
	first := n.first()
	return &connection{n: n, at: at, low: uint64(10 * (first + 1)), next: first}
}

// bring has so many more messages come over the connection, as long as it lasts.
func (c *connection) bring(count int) {
	n := c.n
	for ; count > 0 && c.next < len(n.known) && !c.Over(); count-- {
		i := c.next
		c.next++
		o := &outcome{c: c, i: i}
		n.mu.Lock()
		n.asking++
		n.mu.Unlock()
		to := n.receivers(i)
		c.at.Accept(&mailbox.Message{
			ID: wire.ID{9, byte(i), byte(i >> 8)}, From: "ANZ-7", To: to, Group: len(to) > 1, Frame: append(fmt.Appendf(make([]byte, 0, n.size+8), "far %d", i+1), make([]byte, n.size)...),
			Via: "domain-02/a", Place: uint64(10 * (i + 1)), Low: c.low, Line: c, Origin: o, Done: o.done,
		})
	}
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

// outcome is what becomes of one message that comes once.
type outcome struct {
	c      *connection
	i      int
	failed bool
}

// Stored implements mailbox.Origin.
func (*outcome) Stored(wire.ID, []byte) {}

// Failed implements mailbox.Origin.
func (o *outcome) Failed(e *wire.Error, _ []byte) {
	n := o.c.n
	n.mu.Lock()
	defer n.mu.Unlock()
	o.c.ended.Store(true)
	if o.failed = true; e.Code == wire.CodeMailboxFull {
		n.t.Errorf("message %d is refused: %v", o.i, e)
	}
}

func (o *outcome) done() {
	n := o.c.n
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asking--
	if !o.failed {
		n.known[o.i] = true
	}
}

// What comes over a link is sent again by whichever node has the link, while keepers
// move, links between nodes break, and what waits is given up: each receiver gets each
// message once, and in order.
func TestWhatComesOverALinkArrivesOnceAndInOrderWhileKeepersMoveAndLinksBreak(t *testing.T) {
	moveAndBreak(t, false)
}

// A node that was frozen may go on with a connection that is over since long, and give a
// later keeper what that had. Some of it may be there twice then; nothing comes for the
// first time behind what is later.
func TestWhatANodeStillHasOfALinkThatAnotherOneHasNowKeepsTheOrder(t *testing.T) {
	moveAndBreak(t, true)
}

func moveAndBreak(t *testing.T, unaware bool) {
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
	receivers := func(i int) []wire.UserID {
		if i%3 == 0 {
			return []wire.UserID{wireUser(i % 6), wireUser((i + 1) % 6), wireUser((i + 2) % 6)}
		}
		return []wire.UserID{wireUser(i % 6)}
	}
	n := newNeighbour(t, count, receivers)
	alone := -1 // who is cut off from the others
	reunite := func() {
		for i := 1; alone >= 0 && i < 3; i++ {
			w.mend(names[alone], names[(alone+i)%3])
		}
		alone = -1
	}
	var line *connection
	for round := 0; n.first() < count; round++ {
		if round == 2000 {
			t.Fatalf("message %d is never stored", n.first())
		}
		if line == nil || line.Over() || chance.IntN(4) == 0 {
			if line != nil && !(unaware && chance.IntN(2) == 0) {
				line.ended.Store(true)
			}
			line = n.connect(nodes[chance.IntN(3)].Office)
		}
		line.bring(1 + chance.IntN(20))
		switch chance.IntN(7) {
		case 0:
			reunite()
			i := chance.IntN(3)
			w.cut(names[i], names[(i+1)%3])
			w.mend(names[i], names[(i+1)%3])
		case 1:
			reunite()
			away := nodes[chance.IntN(3)]
			away.left.Store(true)
			stirAll(w)
			w.eventually("the shards have moved", func() bool { return len(away.Kept()) == 0 })
			away.left.Store(false)
			stirAll(w)
		case 2:
			reunite()
			alone = chance.IntN(3)
			w.cut(names[alone], names[(alone+1)%3])
			w.cut(names[alone], names[(alone+2)%3])
		case 3:
			reunite()
		default: // what waits since the last look has waited too long
			line.at.Tend(time.Now().Add(time.Duration(round) * 2 * Patience))
		}
		if alone < 0 && chance.IntN(3) > 0 { // else it is sent again while nobody knows what became of it
			w.eventually("every outcome is told", n.idle)
		}
	}
	reunite()
	w.served()
	w.eventually("every outcome is told", n.idle)
	for _, c := range clients {
		var want []string
		for i := range count {
			if slices.Contains(receivers(i), c.user) {
				want = append(want, fmt.Sprintf("far %d", i+1))
			}
		}
		w.eventually("everything arrives at "+string(c.user), func() bool { return len(c.received()) >= len(want) })
		last := w.sender(nodes[0], wireUser(999))
		text := last.send(c.user)
		w.eventually("the last one arrives", func() bool { return slices.Contains(c.received(), text) })
		got := c.received()
		if unaware {
			got = firsts(got)
		}
		wantSame(t, c.user, got, append(want, text))
	}
}

// firsts leaves out what comes once more.
func firsts(list []string) (once []string) {
	for _, text := range list {
		if !slices.Contains(once, text) {
			once = append(once, text)
		}
	}
	return once
}

// wantSame fails unless a user got what was to come, and says where it began to differ.
func wantSame(t *testing.T, user wire.UserID, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("%s got %d of %d; number %d differs: %q instead of %q", user, len(got), len(want), i, got[min(i, len(got)):min(i+8, len(got))], want[min(i, len(want)):min(i+8, len(want))])
			return
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
