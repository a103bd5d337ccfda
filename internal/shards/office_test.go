package shards

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestUsersReachEachOtherWhereverTheirKeepersAre(t *testing.T) {
	w := newWorld(t, 4)
	nodes := []*testNode{w.node("a"), w.node("b"), w.node("c")}
	w.served()
	var clients []*client
	for i := range 12 {
		clients = append(clients, w.client(nodes[i%3], wireUser(i)))
	}
	for i := range 12 {
		s := w.sender(nodes[(i+1)%3], wireUser(i))
		for j := range 12 {
			s.send(wireUser(j))
		}
		s.send(wireUser(0), wireUser(1), wireUser(2), wireUser(3), wireUser(4), wireUser(5))
		w.eventually("everything is stored", func() bool { return s.outstanding() == 0 })
		if len(s.failed) > 0 || len(s.stored) != 13 {
			t.Fatalf("%d stored, failed %v", len(s.stored), s.failed)
		}
	}
	for i, c := range clients {
		want := 12
		if i < 6 {
			want += 12
		}
		w.eventually("everything arrives", func() bool { return len(c.received()) == want })
	}
}

// inOrder fails unless what a client got of each sender rises.
func inOrder(t *testing.T, c *client) {
	t.Helper()
	last := map[string]int{}
	for _, text := range c.received() {
		from, number, _ := strings.Cut(text, " ")
		var n int
		if _, err := fmt.Sscan(number, &n); err != nil {
			t.Fatalf("%s got %q", c.user, text)
		}
		if n <= last[from] {
			t.Fatalf("%s got %d of %s after %d: twice, or out of order", c.user, n, from, last[from])
		}
		last[from] = n
	}
}

func TestNothingIsLostTwiceOrOutOfOrderWhileKeepersMoveAndLinksBreak(t *testing.T) {
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
	var senders []*sender
	for i := range 9 {
		clients = append(clients, w.client(nodes[i%3], wireUser(i)))
		senders = append(senders, w.sender(nodes[(i/3)%3], wireUser(100+i)))
		if i%2 == 1 {
			senders[i].producer = "phone"
		}
	}
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	for round := range rounds {
		for range 20 {
			senders[chance.IntN(len(senders))].send(wireUser(chance.IntN(9)))
		}
		switch chance.IntN(4) {
		case 0:
			i := chance.IntN(3)
			w.cut(names[i], names[(i+1)%3])
			w.mend(names[i], names[(i+1)%3])
		case 1: // its shards go to the others, and some come back
			n := nodes[chance.IntN(3)]
			n.left.Store(true)
			stirAll(w)
			w.eventually("the shards have moved", func() bool { return len(n.Kept()) == 0 })
			n.left.Store(false)
			stirAll(w)
		case 2:
			i := chance.IntN(3)
			w.cut(names[i], names[(i+1)%3])
			senders[round%9].send(wireUser(round % 9))
			w.mend(names[i], names[(i+1)%3])
		}
	}
	w.served()
	for _, s := range senders {
		w.eventually("every outcome is told", func() bool { return s.outstanding() == 0 })
		for text, e := range s.failed {
			if !e.MayYetArrive || s.producer != "" { // what a producer sent is asked about again
				t.Errorf("%s was refused: %v", text, e)
			}
		}
	}
	for i, c := range clients {
		want := map[string]bool{}
		for _, s := range senders {
			for text := range s.stored {
				want[text] = true
			}
		}
		_ = i
		last := w.sender(nodes[0], wireUser(999))
		text := last.send(c.user)
		w.eventually("the last one arrives at "+string(c.user), func() bool { return slices.Contains(c.received(), text) })
		inOrder(t, c)
	}
	got := map[string]int{}
	for _, c := range clients {
		for _, text := range c.received() {
			got[text]++
		}
	}
	for _, s := range senders {
		for text := range s.stored {
			if got[text] != 1 {
				t.Errorf("%s arrived %d times", text, got[text])
			}
		}
	}
}

// Whoever gives a shard up in good order has answered all that it took, and gives
// the rest to the next one: nobody hears of it.
func TestAShardThatMovesInGoodOrderCostsNoMessageItsOutcome(t *testing.T) {
	w := newWorld(t, 3)
	nodes := []*testNode{w.node("a"), w.node("b"), w.node("c")}
	w.served()
	var clients []*client
	var senders []*sender
	for i := range 9 {
		clients = append(clients, w.client(nodes[i%3], wireUser(i)))
		senders = append(senders, w.sender(nodes[(i/3)%3], wireUser(100+i)))
	}
	const moves = 30
	sent := 0
	for move := range moves {
		n := nodes[move%3]
		n.left.Store(true)
		stirAll(w)
		for moved := false; !moved; moved = len(n.Kept()) == 0 {
			for i, s := range senders {
				s.send(wireUser((sent + i) % 9))
			}
			sent++
		}
		n.left.Store(false)
		stirAll(w)
	}
	for _, s := range senders {
		w.eventually("every outcome is told", func() bool { return s.outstanding() == 0 })
		if len(s.failed) > 0 || len(s.stored) != sent {
			t.Errorf("%d of %d stored, failed %v", len(s.stored), sent, s.failed)
		}
	}
	for i, c := range clients {
		w.eventually("everything arrives", func() bool { return len(c.received()) == sent })
		inOrder(t, clients[i])
	}
}

func stirAll(w *world) {
	for _, n := range w.all() {
		n.leases.Stir()
	}
}

func TestConfirmationsReachSendersOfOtherShardsOnce(t *testing.T) {
	w := newWorld(t, 3)
	a, b := w.node("a"), w.node("b")
	w.served()
	const users = 12
	var clients []*client
	for i := range users {
		n := a
		if i%2 == 0 {
			n = b
		}
		clients = append(clients, w.client(n, wireUser(i)))
	}
	for i := range users {
		s := w.sender(a, wireUser(i))
		for j := range users {
			s.confirm = true
			s.send(wireUser(j))
		}
		w.eventually("all are stored", func() bool { return s.outstanding() == 0 })
		if len(s.stored) != users {
			t.Fatalf("stored %v, failed %v", s.stored, s.failed)
		}
		w.cut("a", "b")
		w.mend("a", "b")
	}
	for i, c := range clients {
		w.eventually("all confirmations come", func() bool {
			n := 0
			for _, text := range c.received() {
				if strings.Contains(text, "MESSAGE_CONFIRMATION") {
					n++
				}
			}
			return n == users
		})
		seen := map[string]bool{}
		for _, text := range c.received() {
			if seen[text] {
				t.Errorf("%s got %s twice", wireUser(i), text)
			}
			seen[text] = true
		}
	}
}

func TestADeadNodesSessionsAreClosedAndItsShardsTaken(t *testing.T) {
	w := newWorld(t, 3)
	a, b := w.node("a"), w.node("b")
	w.served()
	master := wire.UserID("ANZ-1000")
	boss := w.client(a, master)
	for i := range 20 {
		w.client(b, wireUser(i), func(s *mailbox.Session) { s.TellMaster = master })
	}
	count := func(what string) (n int) {
		for _, text := range boss.received() {
			if strings.Contains(text, what) {
				n++
			}
		}
		return n
	}
	w.eventually("the master hears of all", func() bool { return count("USER_CONNECTED") == 20 })
	// It dies without a word: its leases go on, unheard, and it is fenced.
	b.valid.Store(false)
	w.mu.Lock()
	delete(w.nodes, "b")
	w.mu.Unlock()
	w.cut("a", "b")
	a.Died("b")
	a.leases.Stir()
	w.eventually("a keeps all shards", func() bool { return len(a.Kept()) == 3 })
	w.eventually("the master hears that they left", func() bool {
		return count("USER_DISCONNECTED") >= 20
	})
	s := w.sender(a, wireUser(1))
	s.send(master)
	w.eventually("a message is stored", func() bool { return s.outstanding() == 0 })
	if c, d := count("USER_CONNECTED"), count("USER_DISCONNECTED"); c != 20 || d != 20 {
		t.Errorf("%d came, %d left", c, d)
	}
	b.valid.Store(true) // it wakes up
	b.leases.Stir()
	b.end()
}

// A node that others took for dead and that does not know it hears that its
// sessions are over: their users would wait for ever for what comes no more.
func TestSessionsOfANodeThatWasTakenForDeadEnd(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.node("a"), w.node("b")
	w.served()
	var there []*client
	for i := range 8 {
		if user := wireUser(i); a.Keeper(a.ShardOf(user)) != nil {
			there = append(there, w.client(b, user))
		}
	}
	if len(there) == 0 {
		t.Fatal("no user has a keeper at a")
	}
	w.cut("a", "b")
	a.Died("b")
	w.mend("a", "b")
	for _, c := range there {
		select {
		case <-c.gone:
		case <-time.After(patience):
			t.Fatalf("the session of %s goes on", c.user)
		}
	}
}

func TestMailboxesAreLookedIntoFromEveryNode(t *testing.T) {
	w := newWorld(t, 3)
	a, b := w.node("a"), w.node("b")
	w.served()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := range 9 {
		user := wireUser(i)
		s := w.sender(a, wireUser(100))
		for range i {
			s.send(user)
		}
		w.eventually("stored", func() bool { return s.outstanding() == 0 })
		for _, n := range []*testNode{a, b} {
			m, err := n.Mailbox(ctx, user)
			if err != nil || m.Messages != i {
				t.Errorf("%s at %s: %+v, %v", user, n.id, m, err)
			}
			list, more, err := n.Peek(ctx, user, 0, 5)
			if err != nil || len(list) != min(i, 5) || more != (i > 5) {
				t.Errorf("%s at %s: %d, %v, %v", user, n.id, len(list), more, err)
			}
		}
		if n, err := b.Clear(ctx, user); err != nil || n != i {
			t.Errorf("%d removed, %v", n, err)
		}
	}
}

// What a node missed while it was frozen it is told when its links begin anew, which
// is before its own keepers know that they have been replaced.
func TestANodeThatWasFrozenFindsTheKeepersThatReplacedItsOwn(t *testing.T) {
	w := newWorld(t, 4)
	a, b := w.node("a"), w.node("b")
	w.served()
	mine := w.client(b, wireUser(1))
	b.valid.Store(false)
	b.silent.Store(true)
	w.mu.Lock()
	delete(w.nodes, "b")
	w.mu.Unlock()
	w.cut("a", "b")
	a.Died("b")
	a.leases.Stir()
	w.eventually("a keeps all shards", func() bool { return len(a.Kept()) == 4 })
	for i := range 8 { // of each shard some
		s := w.sender(a, wireUser(100+i))
		s.send(wireUser(i))
		w.eventually("a message is stored", func() bool { return s.outstanding() == 0 })
	}
	b.left.Store(true) // it takes none back
	w.mend("a", "b")
	w.mu.Lock()
	w.nodes["b"] = b
	w.mu.Unlock()
	b.silent.Store(false)
	b.valid.Store(true)
	b.leases.Stir()
	b.Close(mine.id) // as the node does with all sessions when its lease has run out
	w.served()
	for i := range 8 {
		s := w.sender(b, wireUser(200+i))
		s.send(wireUser(i))
		w.eventually("a message is stored", func() bool { return s.outstanding() == 0 })
		if len(s.stored) != 1 {
			t.Errorf("%v", s.failed)
		}
	}
}

// Whoever gives a shard up says when all is answered, so that nobody waits for it.
func TestSessionsFollowAKeeperThatMovesAtOnce(t *testing.T) {
	w := newWorld(t, 4)
	nodes := []*testNode{w.node("a"), w.node("b"), w.node("c")}
	w.served()
	for round := range 6 {
		n := nodes[round%3]
		n.left.Store(true)
		stirAll(w)
		w.eventually("the shards have moved", func() bool { return len(n.Kept()) == 0 })
		began := time.Now()
		for i := range 8 {
			w.client(nodes[i%3], wireUser(100*round+i)) // is open, or the test fails
		}
		if took := time.Since(began); took > courtesy/2 {
			t.Errorf("sessions were open after %s", took)
		}
		n.left.Store(false)
	}
}

// A node that leaves while the keepers that replace its own are being opened has no
// sessions any more: nobody waits for them.
func TestAKeeperDoesNotWaitForANodeThatLeftWhileItWasOpened(t *testing.T) {
	w := newWorld(t, 4)
	a, b := w.node("a"), w.node("b")
	w.served()
	left := sync.OnceFunc(b.end)
	a.opening.Store(&left)
	b.left.Store(true)
	stirAll(w)
	w.eventually("a keeps all shards", func() bool { return len(a.Kept()) == 4 })
	for i := range 8 { // of each shard some
		c, s := w.client(a, wireUser(i)), w.sender(a, wireUser(100+i))
		text := s.send(wireUser(i))
		w.eventually("a message arrives", func() bool { return slices.Contains(c.received(), text) })
	}
}
