package socket

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// cutOff makes a rig whose server is away when the test says so.
func cutOff(t *testing.T) (r *rig, away *atomic.Bool) {
	away = new(atomic.Bool)
	r = newRig(t, func(o *Options) {
		o.Away = func() error {
			if away.Load() {
				return errors.New("this server is cut off")
			}
			return nil
		}
	})
	return r, away
}

func TestWhileNobodyCanBeSignedInConnectionsAreRefusedBeforeTheUpgrade(t *testing.T) {
	r, away := cutOff(t)
	away.Store(true)
	_, resp := r.request("GET", nil)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	var busy *wire.Error
	if _, err := r.srv.Pipe("here", nil); !errors.As(err, &busy) || busy.Code != wire.CodeBusy {
		t.Errorf("a pipe: %v", err)
	}
	if n := r.counter("handshakes_refused_total", "reason", "cut_off"); n != 2 {
		t.Errorf("%v are counted", n)
	}
	away.Store(false)
	r.join("ANZ-7", "")
}

func TestSignInsThatWaitWhenNobodyCanBeSignedInAnyMoreAreClosedAtOnce(t *testing.T) {
	r, away := cutOff(t)
	joined := r.join("ANZ-6", "")
	// One has not said who it is, one waits for the gate, one for the keeper.
	silent := r.dial()
	asked, _ := slowGate(r)
	gated := r.dial()
	gated.send(auth("ANZ-7", ""))
	<-asked
	r.gate.set(nil)
	r.keeper.mu.Lock()
	r.keeper.slow = true
	r.keeper.mu.Unlock()
	opening := r.dial()
	opening.send(auth("ANZ-8", ""))
	r.expect("open ANZ-8")
	away.Store(true)
	r.srv.CloseWaiting(wire.CloseRestart, "cut off")
	for _, p := range []*peer{silent, gated, opening} {
		if reason := p.closed(wire.CloseRestart); reason != "cut off" {
			t.Errorf("closed with %q", reason)
		}
	}
	r.expect("close ANZ-8")
	joined.settledDown() // it is the hub's to close
}

func TestWhoIsAnsweredWhileTheServerIsCutOffIsClosedWithACode(t *testing.T) {
	var asked atomic.Int32
	r := newRig(t, func(o *Options) {
		o.Away = func() error {
			if asked.Add(1) > 1 { // at first it lets the client in
				return errors.New("this server is cut off")
			}
			return nil
		}
	})
	if reason := r.dialWith(nil).closed(wire.CloseRestart); reason != "this server is cut off" {
		t.Errorf("closed with %q", reason)
	}
}
