package socket

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// drain begins to drain; the result is sent when it has ended.
func (r *rig) drain(within time.Duration) <-chan error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	r.t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- r.srv.Drain(ctx, "going home") }()
	r.wait("draining begins", func() bool {
		r.srv.mu.Lock()
		defer r.srv.mu.Unlock()
		return r.srv.stopping
	})
	return done
}

func (r *rig) drained(done <-chan error) error {
	r.t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		r.t.Fatal("draining does not end")
		return nil
	}
}

// planned returns when every session is to be closed.
func (r *rig) planned() {
	r.wait("every session has a delay", func() bool {
		for _, s := range r.srv.stop() {
			s.mu.Lock()
			at := s.closeAt
			s.mu.Unlock()
			if at == 0 {
				return false
			}
		}
		return true
	})
}

func TestDrainTellsWhoAskedAndClosesTheOthers(t *testing.T) {
	r := newRig(t)
	plain, modern, stranger := r.join("ANZ-7", ""), r.join("ANZ-8", `{"ack":true}`), r.dial()
	done := r.drain(patience)
	text := modern.next(finText)
	var f struct {
		Type string
		Data struct {
			Reason  string
			AfterMs int64
		}
	}
	if err := json.Unmarshal([]byte(text), &f); err != nil || f.Type != "RECONNECT" || f.Data.Reason != "going home" || f.Data.AfterMs < 0 || f.Data.AfterMs > 15000 {
		t.Errorf("got %s", text)
	}
	r.planned()
	if _, resp := r.request("GET", nil); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new connection while draining: %s", resp.Status)
	}
	modern.send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":5}}`) // it may still work
	r.expect("fetch 5")
	r.clock.advance(time.Second)
	for _, p := range []*peer{plain, modern, stranger} {
		p.closed(wire.CloseRestart)
	}
	if err := r.drained(done); err != nil {
		t.Error(err)
	}
}

func TestDrainWritesWhatWaits(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	s, release := r.held()
	for n := range 100 {
		s.Fast(number(n), nil)
	}
	r.deliver(1, number(100))
	done := r.drain(patience)
	r.planned()
	r.clock.advance(time.Second)
	release()
	for n := range 101 {
		p.text(string(number(n)))
	}
	p.next(finPing)
	p.next(finClose)
	p.pong("1")
	r.expect("prove 1")
	p.write(frame(finClose, []byte{0x03, 0xe8}))
	r.expect("close ANZ-7")
	if err := r.drained(done); err != nil {
		t.Error(err)
	}
}

func TestDelaysAreSpread(t *testing.T) {
	r := newRig(t)
	for range 16 {
		r.join("ANZ-7", "")
	}
	r.drain(patience)
	r.planned()
	different := make(map[time.Duration]bool)
	for _, s := range r.srv.stop() {
		s.mu.Lock()
		different[s.closeAt] = true
		s.mu.Unlock()
	}
	if len(different) < 12 {
		t.Errorf("only %d different delays for 16 sessions", len(different))
	}
}

func TestDrainEndsWithItsContext(t *testing.T) {
	r := newRig(t)
	r.join("ANZ-7", "")
	done := r.drain(200 * time.Millisecond) // and the clock stands still
	err := r.drained(done)
	if err == nil || !strings.Contains(err.Error(), "cut off 1 connection") {
		t.Errorf("draining ended with %v", err)
	}
	r.expect("close ANZ-7")
}

func TestDrainOfNobodyEndsAtOnce(t *testing.T) {
	r := newRig(t)
	if err := r.drained(r.drain(patience)); err != nil {
		t.Error(err)
	}
}

func TestStopCutsEverythingOff(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	asked, _ := slowGate(r)
	other := r.dial()
	other.send(auth("ANZ-8", ""))
	<-asked
	r.stop()
	r.expect("close ANZ-7")
	p.ended()
	other.ended()
	if r.counter("connections") != 0 || r.counter("sessions") != 0 {
		t.Error("connections are left")
	}
}
