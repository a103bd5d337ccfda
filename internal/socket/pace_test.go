package socket

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// strangers are what stands before the door, in a test.
type strangers struct {
	mu     sync.Mutex
	wait   time.Duration
	failed int
	exempt bool
}

func (s *strangers) Blocked(string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wait
}

func (s *strangers) Failed(string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed++
}

func (s *strangers) Exempt(string) bool { return s.exempt }

// pacedBy has rates hold for who is not exempt.
func pacedBy(s *strangers) rigOption { return func(o *Options) { o.SignIns = s } }

// forbidden is a frame that is answered with FORBIDDEN once it is handled.
const forbidden = `{"type":"CLOSE_CONNECTION","data":{"userId":"ANZ-9"}}`

// rates has one second's worth be one frame, or a thousand bytes, of whom which names.
func (r *rig) rates(change func(*Limits)) {
	r.limit(change)
	r.clock.advance(tick) // the limits are read
}

func TestWhatASessionSendsTooMuchOfIsRefusedAndItGoesOnLater(t *testing.T) {
	r := newRig(t, pacedBy(&strangers{}))
	r.rates(func(l *Limits) { l.Session.Frames = 1 })
	p := r.join("ANZ-7", "")
	for range 10 { // ten seconds' worth
		p.send(forbidden)
		p.fails("GENERAL_ERROR", "FORBIDDEN")
	}
	for range 3 {
		p.send(forbidden)
		p.fails("GENERAL_ERROR", "RATE_LIMITED")
		p.send(`{"type":"MESSAGE_ACK","data":{"id":"01a21c0a-daf6-72fc-89bc-6f59bf9c3ba1"}}`)
		p.fails("GENERAL_ERROR", "UNKNOWN_ID") // which does not count
	}
	for _, other := range []string{`no frame`, `{"type":"AUTH_CLIENT","data":{"appId":"a","userId":"ANZ-7"}}`} {
		p.send(other)
		p.fails("GENERAL_ERROR", "RATE_LIMITED")
	}
	if n := r.counter("refused_total", "kind", "GENERAL_ERROR", "code", "RATE_LIMITED"); n != 5 {
		t.Errorf("counted %v", n)
	}
	r.advance(3 * time.Second)
	for range 2 {
		p.send(forbidden)
		p.fails("GENERAL_ERROR", "FORBIDDEN")
	}
	p.send(`no frame`)
	p.fails("INVALID_MESSAGE", "NOT_JSON")
	p.send(forbidden)
	p.fails("GENERAL_ERROR", "RATE_LIMITED")
}

func TestTheSessionsOfAUserAndTheUsersOfAnAppShareWhatTheyMaySend(t *testing.T) {
	for name, change := range map[string]func(*Limits){
		"user": func(l *Limits) { l.User.Bytes = len(forbidden)/5 + 1 },
		"app":  func(l *Limits) { l.App.Bytes = len(forbidden)/5 + 1 },
	} {
		r := newRig(t, pacedBy(&strangers{}))
		r.rates(change)
		first, second, other := r.join("ANZ-7", ""), r.join("ANZ-7", ""), r.join("ANZ-8", "")
		for _, p := range []*peer{first, second} {
			p.send(forbidden)
			p.fails("GENERAL_ERROR", "FORBIDDEN")
		}
		first.send(forbidden)
		first.fails("GENERAL_ERROR", "RATE_LIMITED")
		other.send(forbidden)
		if name == "user" {
			other.fails("GENERAL_ERROR", "FORBIDDEN")
		} else {
			other.fails("GENERAL_ERROR", "RATE_LIMITED")
		}
		for _, p := range []*peer{first, second, other} {
			p.write(frame(finClose, []byte{0x03, 0xe8}))
			p.closed(wire.CloseNormal)
		}
		r.wait("nothing is known of them", func() bool {
			r.srv.meters.mu.Lock()
			defer r.srv.meters.mu.Unlock()
			return len(r.srv.meters.users)+len(r.srv.meters.apps) == 0
		})
	}
}

func TestNoRatesHoldForWhoIsExempt(t *testing.T) {
	r := newRig(t, pacedBy(&strangers{exempt: true}))
	r.rates(func(l *Limits) { l.Session.Frames, l.User.Frames, l.App.Frames = 1, 1, 1 })
	p := r.join("ANZ-7", "")
	for range 30 {
		p.send(forbidden)
		p.fails("GENERAL_ERROR", "FORBIDDEN")
	}
}

// Who has to wait is told so without the gate being asked; what is nobody's guess does not
// count.
func TestSignInsThatFailAreCountedAndThenRefused(t *testing.T) {
	in := &strangers{}
	r := newRig(t, pacedBy(in))
	var asked atomic.Int64
	for _, code := range []string{wire.CodeBadToken, wire.CodeRefused, wire.CodeTokenExpired, wire.CodeHookFailed} {
		r.gate.mu.Lock()
		r.gate.answer = func(context.Context, wire.Auth) (apps.Grant, error) {
			asked.Add(1)
			return apps.Grant{}, &apps.Refusal{Code: code, Reason: "Because."}
		}
		r.gate.mu.Unlock()
		p := r.dial()
		p.send(`{"type":"AUTH_CLIENT","data":{"appId":"a","userId":"ANZ-7"}}`)
		p.fails("AUTH_CLIENT_REPLY", code)
		p.closed(wire.CloseNotAuthentic)
	}
	in.mu.Lock()
	if in.failed != 2 || asked.Load() != 4 {
		t.Errorf("%d failures of %d", in.failed, asked.Load())
	}
	in.wait = 20 * time.Second
	in.mu.Unlock()
	p := r.dial()
	p.send(`{"type":"AUTH_CLIENT","data":{"appId":"a","userId":"ANZ-7"}}`)
	p.fails("AUTH_CLIENT_REPLY", "RATE_LIMITED")
	p.closed(wire.CloseNotAuthentic)
	if asked.Load() != 4 {
		t.Error("the gate is asked all the same")
	}
}
