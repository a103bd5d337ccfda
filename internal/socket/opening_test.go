package socket

import (
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const granted = `{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"ANZ-7","isAuthenticated":true}}`

// farHub is a hub with other nodes, which know of a session when the test says so.
type farHub struct {
	*delivery.Hub
	known chan struct{}
	many  bool // every session is one too many
}

func (f farHub) Surplus(r delivery.Receiver) error {
	if f.many {
		return &wire.Error{Kind: wire.KindGeneralError, Code: wire.CodeTooMany, Reason: "too many"}
	}
	return f.Hub.Surplus(r)
}

func (f farHub) Add(r delivery.Receiver, watch []wire.UserID) (<-chan struct{}, error) {
	_, err := f.Hub.Add(r, watch)
	return f.known, err
}

// waits returns a client whose sign-in is granted, and that hub and keeper, who
// take their time, were told of.
func waits(t *testing.T) (r *rig, p *peer, known chan struct{}) {
	known = make(chan struct{})
	r = newRig(t, func(o *Options) { o.Hub, o.Node = farHub{o.Hub.(*delivery.Hub), known, false}, "me" })
	r.keeper.slow = true
	p = r.dial()
	p.send(auth("ANZ-7", ""))
	r.expect("open ANZ-7")
	r.wait("the hub and the keeper to be told", func() bool {
		s := r.session()
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.opening != nil && s.opening.told
	})
	return r, p, known
}

// A session that turns out to be one too many, when all nodes know of it, is refused
// with nothing before that.
func TestASessionThatOtherNodesHadNoRoomForIsRefused(t *testing.T) {
	known := make(chan struct{})
	r := newRig(t, func(o *Options) { o.Hub, o.Node = farHub{o.Hub.(*delivery.Hub), known, true}, "me" })
	r.keeper.slow = true
	p := r.dial()
	p.send(auth("ANZ-7", ""))
	r.expect("open ANZ-7")
	r.hub.Send(&delivery.Send{From: "ANZ-9", To: []wire.UserID{"ANZ-7"}, Content: []byte("1"), Fast: true})
	close(known)
	p.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"ANZ-7","isAuthenticated":false,"code":"TOO_MANY_SESSIONS","reason":"too many"}}`)
	p.closed(4006)
	r.expect("close ANZ-7")
}

// The reply is the first that the client gets, and it gets it when the keeper has
// its session and the other nodes have heard of it, in whichever order.
func TestTheReplyWaitsForKeeperAndOtherNodes(t *testing.T) {
	for _, keeperFirst := range []bool{true, false} {
		r, p, known := waits(t)
		s := r.session()
		opened := r.keeper.opened()
		if opened.Node != "me" {
			t.Errorf("the keeper was told of node %q", opened.Node)
		}
		first, second := func() { opened.Outlet.Opened(1) }, func() { close(known) }
		if !keeperFirst {
			first, second = second, first
		}
		first()
		r.hub.Send(&delivery.Send{From: "ANZ-9", To: []wire.UserID{"ANZ-7"}, Content: []byte("1"), Fast: true})
		r.deliver(1, number(2))
		p.send(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":1}}`) // it is not signed in yet
		r.wait("the client's message to be answered", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.queue.own.frames == 1
		})
		if s.known() {
			t.Fatal("signed in before all know of it")
		}
		second()
		p.text(granted)
		p.text(string(number(1)))
		p.text(string(number(2)))
		p.text(`{"type":"AUTH_REQUIRED","data":{}}`)
		p.pong(p.next(finPing))
		r.expect("prove 1")
		opened.Outlet.Opened(5) // registered anew, with another keeper
		r.advance(20 * time.Second)
		p.settledDown()
	}
}

// Whoever ends while the reply waits never was there: hub and keeper are told of
// the end, the client gets nothing of what was to follow the reply, and nothing
// of that counts as proved.
func TestASessionThatEndsBeforeItsReplyLeavesNothingBehind(t *testing.T) {
	for name, c := range map[string]struct {
		code int // 0: there is no close frame
		end  func(r *rig, p *peer)
	}{
		"deadline":      {wire.CloseSignInTimeout, func(r *rig, _ *peer) { r.clock.advance(16 * time.Second) }},
		"kicked":        {wire.CloseByMaster, func(r *rig, _ *peer) { r.hub.Kick("ANZ-7", wire.CloseByMaster, "") }},
		"client closes": {wire.CloseNormal, func(_ *rig, p *peer) { p.write(frame(finClose, []byte{0x03, 0xe8})) }},
		"client gone":   {0, func(_ *rig, p *peer) { p.conn.Close() }},
		"killed":        {0, func(r *rig, _ *peer) { r.srv.killAll() }},
	} {
		t.Run(name, func(t *testing.T) {
			r, p, known := waits(t)
			r.deliver(1, number(1))
			r.hub.Send(&delivery.Send{
				From: "ANZ-9", To: []wire.UserID{"ANZ-7"}, Content: []byte("1"), Reference: []byte(`"r"`), Fast: true, Confirm: true,
			})
			opened := r.keeper.opened()
			c.end(r, p)
			r.expect("close ANZ-7")
			if c.code != 0 {
				p.pong("1")
				p.closed(c.code)
			}
			p.conn.Close()
			r.wait("the connection to be gone", func() bool { return r.counter("connections") == 0 })
			opened.Outlet.Opened(1)
			opened.Outlet.Deliver(mailbox.Delivery{N: 2, Frame: number(2)})
			close(known)
			if n := len(r.hub.Sessions("ANZ-7")); n != 0 || r.counter("sessions") != 0 || r.counter("queued_bytes") != 0 {
				t.Errorf("%d sessions are left, %v are counted, %v bytes wait", n, r.counter("sessions"), r.counter("queued_bytes"))
			}
			r.quiet()
		})
	}
}

// A server that stops does not wait for a keeper that does not answer.
func TestADrainEndsSessionsWhoseReplyWaits(t *testing.T) {
	r, p, known := waits(t)
	defer close(known)
	r.stop()
	r.expect("close ANZ-7")
	p.ended()
}

func TestASessionHearsOfThoseWhomItWatches(t *testing.T) {
	r := newRig(t)
	there := r.join("ANZ-8", "")
	p := r.dial()
	p.send(auth("ANZ-7", `{"presence":["ANZ-8","ANZ-9"]}`))
	p.text(granted)
	p.text(`{"type":"USER_CONNECTED","data":{"userId":"ANZ-8"}}`)
	r.expect("open ANZ-7")
	r.join("ANZ-9", "")
	p.text(`{"type":"USER_CONNECTED","data":{"userId":"ANZ-9"}}`)
	there.conn.Close()
	p.text(`{"type":"USER_DISCONNECTED","data":{"userId":"ANZ-8"}}`)
}
