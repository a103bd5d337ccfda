package nodetest

import (
	"fmt"
	"testing"
)

// outbox is what a device sends again until it hears that it is stored: numbered
// messages of one producer, each with its place.
type outbox struct {
	t      *testing.T
	user   string
	stored map[string]bool // references
	to     func(k int) string
}

func (o *outbox) signIn(n *Server) *Peer {
	o.t.Helper()
	var p *Peer
	Eventually(o.t, "the device is let in", func() bool {
		var err error
		p, err = TryDial(o.t.Context(), o.t, n)
		return err == nil && p.TrySignIn("app-id-343", o.user, `{"receipts":true,"producer":"phone-1"}`) == nil
	})
	return p
}

// send sends messages first to last-1, whether they are stored already or not.
func (o *outbox) send(p *Peer, first, last int) {
	for k := first; k < last; k++ {
		frame := fmt.Sprintf(`{"type":"MESSAGE","data":{"to":%q,"content":%q},"reference":"%d","seq":%d,"confirmationEnabled":false}`, o.to(k), numbered("m", k, 100), k, k+1)
		if p.TrySend(frame) != nil {
			return // the node is gone; it is sent again
		}
	}
}

// settle sends everything again, through a node, until all of it is stored.
func (o *outbox) settle(n *Server, last int) {
	o.t.Helper()
	o.stored = make(map[string]bool)
	Eventually(o.t, "everything is stored", func() bool {
		p := o.signIn(n)
		defer p.Abort()
		o.send(p, 0, last)
		for len(o.stored) < last {
			f, err := p.TryNext()
			switch {
			case err != nil:
				return false
			case f.Type == "MESSAGE_STORED":
				o.stored[f.Field("reference")] = true
			case f.Type != "DELIVER_FAILED":
				o.t.Errorf("the device got %s", f.Raw)
			default:
				return false // what comes behind it must not pass it
			}
		}
		return true
	})
}

// An outbox is sent, and the node that takes it is killed in the middle. Sent again
// through another one, and once more through the third, as a phone does that was
// away for days, each message is delivered once and in order.
func TestAnOutboxSentAgainThroughAnotherNodeIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	c := three(t, roomyApp)
	const receivers, each = 12, 40
	const all = receivers * each
	o := &outbox{t: t, user: "ANZ-1", stored: make(map[string]bool), to: func(k int) string { return fmt.Sprint("ANZ-", 200+k%receivers) }}
	p := o.signIn(c.Nodes[0])
	o.send(p, 0, all)
	for range all / 4 {
		p.Next()
	}
	c.Nodes[0].Kill()
	o.settle(c.Nodes[1], all)
	o.settle(c.Nodes[2], all)
	c.Nodes[0].Start()
	c.AwaitReady()
	o.settle(c.Nodes[0], all)
	lost, again, reordered := 0, 0, 0
	for r := range receivers {
		missed, left := fetchOn(t, c.Nodes[r%3], fmt.Sprint("ANZ-", 200+r))
		if left != "0" {
			t.Errorf("%s left", left)
		}
		var list []int
		for _, f := range missed {
			_, k := number(f)
			list = append(list, k)
		}
		list, repeats := unique(list)
		again += repeats
		lost += each - len(list)
		reordered += descents(list)
	}
	t.Logf("lost %d, duplicated %d, reordered %d", lost, again, reordered)
	if lost != 0 || again != 0 || reordered != 0 {
		t.Errorf("lost %d, duplicated %d, reordered %d", lost, again, reordered)
	}
}

// Two producers of one user, and one producer's name with two users, have nothing
// to do with each other.
func TestProducersAreApart(t *testing.T) {
	t.Parallel()
	c := three(t, plainApp)
	for i, who := range []struct{ user, producer string }{{"ANZ-1", "phone-1"}, {"ANZ-1", "phone-2"}, {"ANZ-2", "phone-1"}} {
		p := SignIn(t, c.Nodes[i], who.user, fmt.Sprintf(`{"receipts":true,"producer":%q}`, who.producer))
		for k := range 3 {
			p.Message("ANZ-7", numbered(fmt.Sprint("p", i), k, 20), fmt.Sprintf(`"reference":"%d","seq":%d`, k, k+1))
			if f := p.Expect("MESSAGE_STORED"); f.Field("reference") != fmt.Sprint(k) {
				t.Errorf("got %s", f.Raw)
			}
		}
	}
	missed, _ := SignIn(t, c.Nodes[0], "ANZ-7", "").Fetch(100)
	wantWoven(t, "the receiver", missed, 3, "p0", "p1", "p2")
}
