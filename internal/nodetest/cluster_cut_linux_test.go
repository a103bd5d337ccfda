package nodetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// refusedWithin is how long a sender on a node that is cut off may wait until it
// hears that its message is not kept, or its connection ends: the time in which a
// node finds out that it is alone, and as much again.
const refusedWithin = 30 * time.Second

// outcome is what a sender heard of its messages before its connection ended.
type outcome struct {
	stored, refused, unsure []string // references
	others                  []string
	ended                   bool
}

// hearOut reads until the connection ends or all n messages have an answer.
func hearOut(p *Peer, n int, within time.Duration) (o outcome) {
	deadline := time.Now().Add(within)
	for len(o.stored)+len(o.refused)+len(o.unsure) < n && time.Now().Before(deadline) {
		f, ok := p.take()
		if !ok {
			select {
			case <-p.news:
			case <-p.closed:
				if f, ok = p.take(); !ok {
					o.ended = true
					return o
				}
			case <-time.After(time.Until(deadline)):
			}
			if !ok {
				continue
			}
		}
		reference := strings.Trim(string(f.Reference), `"`)
		switch {
		case f.Type == "MESSAGE_STORED" || f.Type == "MESSAGE_CONFIRMATION":
			o.stored = append(o.stored, f.Field("reference"))
		case f.Type == "DELIVER_FAILED" && f.Field("mayYetArrive") == "true":
			o.unsure = append(o.unsure, reference)
		case f.Type == "DELIVER_FAILED":
			o.refused = append(o.refused, reference)
		default:
			o.others = append(o.others, f.Raw)
		}
	}
	return o
}

// A node that is cut off from the others tells its senders that it does not keep
// what they send, or lets go of them; it never says that something is stored or
// delivered, and lets nobody in. The others go on. When it is back, whatever
// anybody was told holds.
func TestAMinorityAcceptsNothingThatItCannotKeep(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	c, isles := startOnIslands(t, 3, plainApp)
	t.Cleanup(c.tell)
	cut := c.Nodes[0]
	// So many users that some are kept on each node. One third of the receivers is
	// on the node that is cut off, one elsewhere, one away.
	const users = 30
	receiver := func(u int) string { return fmt.Sprint("ANZ-", 200+u) }
	var senders, there []*Peer
	for u := range users {
		p := SignIn(t, cut, fmt.Sprint("ANZ-", 100+u), `{"receipts":true}`)
		post(t, p, receiver(u), "before", 0, 2, 50)
		senders = append(senders, p)
		switch u % 3 {
		case 0:
			there = append(there, SignIn(t, cut, receiver(u), `{"push":true}`))
		case 1:
			there = append(there, SignIn(t, c.Nodes[1], receiver(u), `{"push":true}`))
		}
	}
	for _, p := range there {
		wantSeries(t, p.user, take(p, 2), "before", 0, 2)
	}
	for u, p := range senders {
		if u%3 < 2 {
			wantConfirmed(t, p, "before", 0, 2)
		}
	}

	isles.isolate(0, true)
	began := time.Now()
	for _, p := range senders {
		_ = p.TrySend(minorityFrame(p)) // it may be closed already
	}
	refused, unsure := make(map[string]bool), make(map[string]bool)
	for u, p := range senders {
		o := hearOut(p, 1, refusedWithin-time.Since(began))
		switch {
		case len(o.stored) > 0:
			t.Errorf("the node that is cut off said that it keeps %v of %s", o.stored, p.user)
		case len(o.refused) > 0:
			refused[receiver(u)] = true
		case len(o.unsure) > 0 || o.ended:
			unsure[receiver(u)] = true
		default:
			t.Errorf("%s heard nothing in %s, and is still connected", p.user, refusedWithin)
		}
		if len(o.others) > 0 {
			t.Errorf("%s got %v", p.user, o.others)
		}
	}
	t.Logf("all senders knew after %s: %d refused, %d unsure", time.Since(began).Round(10*time.Millisecond), len(refused), len(unsure))
	for _, p := range senders {
		select {
		case <-p.closed:
		case <-time.After(time.Until(began.Add(refusedWithin))):
			t.Fatalf("the node that is cut off still has %s after %s", p.user, refusedWithin)
		}
	}
	for u := range 5 {
		p, err := TryDial(t.Context(), t, cut)
		if err == nil {
			err = p.TrySignIn("app-id-343", fmt.Sprint("ANZ-", 300+u), "")
		}
		if err == nil {
			t.Error("the node that is cut off let somebody in")
		}
	}

	// The others keep whatever is sent there, to everybody.
	for u := range users {
		Eventually(t, "the others keep a message for "+receiver(u), func() bool {
			return storedOn(t, c.Nodes[1+u%2], fmt.Sprint("ANZ-", 400+u), receiver(u))
		})
	}
	isles.isolate(0, false)
	c.AwaitReady()
	for _, p := range there {
		p.Abort()
	}
	for u := range users {
		missed, left := fetchOn(t, cut, receiver(u))
		var got []string
		for _, f := range missed {
			series, _ := number(f)
			got = append(got, series)
		}
		if left != "0" {
			t.Errorf("%s left for %s", left, receiver(u))
		}
		if !slices.Contains(got, "majority") && u%3 != 1 {
			t.Errorf("%s did not get what the others kept: %v", receiver(u), got)
		}
		if n := count(got, "minority"); n > 1 || n == 1 && !unsure[receiver(u)] {
			t.Errorf("%s got what was refused, or twice: %v", receiver(u), got)
		}
		if n := count(got, "before"); u%3 == 2 && n != 2 {
			t.Errorf("%s got %d of what was stored before", receiver(u), n)
		}
	}
}

func count(list []string, what string) (n int) {
	for _, s := range list {
		if s == what {
			n++
		}
	}
	return n
}

// minorityFrame is a message to the receiver that goes with a sender.
func minorityFrame(p *Peer) string {
	to := "ANZ-2" + strings.TrimPrefix(p.user, "ANZ-1")
	return fmt.Sprintf(`{"type":"MESSAGE","data":{"to":%q,"content":%q},"reference":"minority"}`, to, numbered("minority", 0, 50))
}

// storedOn has somebody send on a node, and says whether that is stored.
func storedOn(t *testing.T, n *Server, from, to string) bool {
	t.Helper()
	p, err := TryDial(t.Context(), t, n)
	if err != nil || p.TrySignIn("app-id-343", from, `{"receipts":true}`) != nil {
		return false
	}
	defer p.Abort()
	p.Message(to, numbered("majority", 0, 50), `"reference":"r","confirmationEnabled":false`)
	return len(hearOut(p, 1, Patience).stored) == 1
}
