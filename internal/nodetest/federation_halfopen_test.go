package nodetest

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// deadEnd stands between a domain and who dials it. On command the dialling end of
// every connection is gone, and the other end hears nothing of that: as when a
// machine has lost its power.
type deadEnd struct {
	Addr string

	mu    sync.Mutex
	pairs map[net.Conn]net.Conn // by the dialling end
	gone  map[net.Conn]bool     // far ends that hear nothing any more
}

func newDeadEnd(t *testing.T, target string) *deadEnd {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &deadEnd{Addr: l.Addr().String(), pairs: make(map[net.Conn]net.Conn), gone: make(map[net.Conn]bool)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			d.mu.Lock()
			d.pairs[near] = far
			d.mu.Unlock()
			serving.Go(func() { d.pass(near, far) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		d.mu.Lock()
		for near, far := range d.pairs {
			near.Close()
			far.Close()
		}
		for far := range d.gone {
			far.Close()
		}
		d.mu.Unlock()
		serving.Wait()
	})
	return d
}

func (d *deadEnd) pass(near, far net.Conn) {
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(far, near) // ends when either is closed
		if !d.isGone(far) {
			far.Close()
		}
	})
	both.Go(func() {
		_, _ = io.Copy(near, far)
		if d.isGone(far) {
			_, _ = io.Copy(io.Discard, far) // what is sent is acknowledged by nobody but the network
		}
		near.Close()
	})
	both.Wait()
	far.Close()
	d.mu.Lock()
	delete(d.pairs, near)
	delete(d.gone, far)
	d.mu.Unlock()
}

func (d *deadEnd) isGone(far net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone[far]
}

// abandon takes the dialling ends away.
func (d *deadEnd) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for near, far := range d.pairs {
		d.gone[far] = true
		near.Close()
	}
	clear(d.pairs)
}

// What was on its way over a connection of which one end is gone comes first over the
// next one, though the other end has not noticed yet.
func TestOrderHoldsAcrossALinkOfWhichOneEndIsGone(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 2, Later: []int{0, 1}})
	line := newDeadEnd(t, f.Domains[0].Addr)
	f.Relocate(0, line.Addr)
	f.Domains[0].Start()
	f.Domains[1].Start()
	f.LinksUp()
	ann, bob := f.SignIn(0, 1, `{"receipts":true}`), f.SignIn(1, 1, "")
	ann.sendMany(bob.user, 1, 10)
	bob.wantSeries(1, 10)
	sent := 10
	for range 3 {
		line.abandon()
		ann.sendMany(bob.user, sent+1, sent+50) // on their way to nowhere
		f.LinksUp()
		ann.sendMany(bob.user, sent+51, sent+100)
		bob.wantSeries(sent+1, sent+100)
		sent += 100
	}
}

// So does what had waited before that connection began.
func TestOrderOfWhatWaitedHoldsAcrossALinkOfWhichOneEndIsGone(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 2, Later: []int{0, 1}})
	line := newDeadEnd(t, f.Domains[0].Addr)
	f.Relocate(0, line.Addr)
	f.Domains[0].Start()
	ann := f.SignIn(0, 1, `{"receipts":true}`)
	const all = 600
	for i := 1; i <= all; i++ {
		ann.Message(f.User(1, 1), fmt.Sprint("m", i, " ", strings.Repeat("x", 10<<10)), `"reference":"r","confirmationEnabled":false`)
	}
	for range all {
		ann.Expect("MESSAGE_STORED")
	}
	f.Domains[1].launch()
	for range 5 { // in the middle of it
		before := f.Waiting(0, 1)
		Eventually(t, "some has crossed, or all", func() bool { n := f.Waiting(0, 1); return n < before || n == 0 })
		line.abandon()
	}
	f.LinksUp()
	bob := SignIn(t, f.Domains[1], f.User(1, 1), `{"push":true}`)
	last := 0
	for n := 0; n < all; n++ {
		var i int
		if _, err := fmt.Sscanf(bob.Expect("MESSAGE").Field("content"), "m%d ", &i); err != nil || i != last+1 {
			t.Fatalf("m%d came behind m%d", i, last)
		}
		last = i
	}
}
