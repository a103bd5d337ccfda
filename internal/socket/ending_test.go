package socket

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// A client that never stops sending is cut off like any other, whatever it
// sends: when its time to sign in is over, when its session is closed, and when
// the server stops.
func TestWhoNeverStopsSendingIsCutOff(t *testing.T) {
	for _, c := range []struct {
		name string
		join bool
		end  func(r *rig)
	}{
		{"not signed in", false, func(r *rig) { r.advance(16 * time.Second) }},
		{"closed by the master", true, func(r *rig) { r.hub.Kick("ANZ-7", wire.CloseByMaster, "") }},
		{"killed", true, func(r *rig) { r.srv.killAll() }},
	} {
		for kind, piece := range map[string][]byte{"text": frame(finText, []byte("[")), "pongs": frame(finPong, nil)} {
			t.Run(c.name+" "+kind, func(t *testing.T) {
				r := newRig(t)
				p := r.dial()
				if c.join {
					p.signIn("ANZ-7", "")
				}
				sent := make(chan struct{})
				go func() { // reads too, so that nothing holds the server up
					defer close(sent)
					flood := bytes.Repeat(piece, 5000)
					for {
						_ = p.conn.SetDeadline(time.Now().Add(patience))
						if _, err := p.conn.Write(flood); err != nil {
							return
						}
					}
				}()
				go func() { _, _ = p.br.WriteTo(discard{}) }()
				c.end(r)
				select {
				case <-sent:
				case <-time.After(patience):
					t.Fatal("the client is still being read")
				}
				for deadline := time.Now().Add(patience); r.counter("connections") > 0; runtime.Gosched() {
					if time.Now().After(deadline) {
						t.Fatal("the connection is still there")
					}
				}
			})
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// A write that waits is no sign of death where the client answers what it has
// read: the kernel may have taken megabytes before.
func TestASlowClientThatAnswersLives(t *testing.T) {
	l := DefaultLimits()
	s := new(session)
	s.phase.Store(phaseJoined)
	s.queue.writing, s.proofs.asked, s.proofs.sent = true, 5, 5
	for progress, dead := range map[time.Duration]bool{3 * time.Second: false, 2 * time.Second: true, 0: true} {
		s.proofs.progress = progress
		a := agenda{now: 12 * time.Second, next: time.Hour}
		if end := s.overdue(&a, &l); end.frame != dead {
			t.Errorf("12 s after the write began, %v after the last answer: %+v", 12*time.Second-progress, end)
		}
	}
}

// A reader that waits now and then puts no proof off for longer than it waits.
func TestWaitingForRoomIsNoProof(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.QueueFrames = 4 })
	p := r.join("ANZ-7", "")
	r.deliver(1, number(1))
	p.text(string(number(1)))
	p.next(finPing) // which is never answered
	// A second in which the reader waits as the clock goes on is excused: so there are more.
	for second := range 60 {
		for range 20 {
			p.send("[")
		}
		for range 20 {
			first, payload, err := p.read()
			switch {
			case err != nil:
				t.Fatal(err)
			case first != finClose:
			case second < 10 || binary.BigEndian.Uint16(payload) != wire.CloseNoProof:
				t.Fatalf("closed in second %d with %q", second, payload)
			default:
				return
			}
		}
		r.clock.advance(time.Second)
	}
	t.Error("nothing is proved, and the session goes on")
}
