package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/client"
)

// gate makes the handler wait for the test.
type gate struct {
	entered chan string   // content of the message
	leave   chan error    // what the handler returns
	ended   chan struct{} // closed when the handler's context has ended
}

func (g *gate) handle(ctx context.Context, m client.Message) error {
	g.entered <- string(m.Content)
	select {
	case err := <-g.leave:
		return err
	case <-ctx.Done():
		close(g.ended)
		return ctx.Err()
	}
}

func newGate(o *client.Options) *gate {
	g := &gate{entered: make(chan string, 1000), leave: make(chan error), ended: make(chan struct{})}
	o.OnMessage = g.handle
	return g
}

func ack(n int) string { return fmt.Sprintf(`{"type":"MESSAGE_ACK","data":{"id":"%s%d"}}`, id, n) }

func ids(from, to int) (frames []string) {
	for n := from; n <= to; n++ {
		frames = append(frames, message(n, fmt.Sprint(id, n)))
	}
	return frames
}

func TestAMessageOfAnOutboxHasItsNumberThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		o := s.options(newLog())
		got := make(chan client.Message, 1)
		o.OnMessage = func(_ context.Context, m client.Message) error {
			got <- m
			return nil
		}
		_, p := dial(t, s, o)
		p.send(`{"type":"MESSAGE","data":{"from":"ANZ-2","content":1},"producer":"phone-1","seq":17}`)
		if m := <-got; m.Producer != "phone-1" || m.Seq != 17 {
			t.Errorf("got %+v", m)
		}
	})
}

func TestAMessageIsAcknowledgedAfterItsHandlerReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		o := s.options(newLog())
		o.Ack = true
		g := newGate(&o)
		_, p := dial(t, s, o)
		p.send(ids(1, 1)...)
		<-g.entered
		synctest.Wait()
		if len(p.frames) > 0 {
			t.Fatalf("the client sent %s", <-p.frames)
		}
		g.leave <- nil
		if got := p.expect(""); got != ack(1) {
			t.Errorf("got %s", got)
		}
	})
}

func TestAcknowledgementsAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		o := s.options(newLog())
		o.Ack, o.AckEvery = true, 4
		g := newGate(&o)
		_, p := dial(t, s, o)
		p.send(ids(1, 7)...)
		synctest.Wait() // all wait while the first is handled
		for range 7 {
			g.leave <- nil
		}
		p.expect(ack(4)) // every fourth
		p.expect(ack(7)) // and when there is nothing more
		p.send(ids(8, 9)...)
		synctest.Wait()
		time.Sleep(time.Second)
		g.leave <- nil // it took a second: the first one does not wait for the other
		synctest.Wait()
		p.send(message(0, "")) // FAST: nothing to acknowledge
		g.leave <- nil
		g.leave <- nil
		p.expect(ack(9))
		synctest.Wait()
		if len(p.frames) > 0 {
			t.Errorf("the client sent %s", <-p.frames)
		}
	})
}

func TestAnAcknowledgementDoesNotWaitForSlowHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		o := s.options(newLog())
		o.Ack = true
		o.OnMessage = func(context.Context, client.Message) error {
			time.Sleep(600 * time.Millisecond)
			return nil
		}
		_, p := dial(t, s, o)
		p.send(ids(1, 9)...)
		start := time.Now()
		for _, n := range []int{3, 6, 9} {
			p.expect(ack(n))
			if got, want := time.Since(start), time.Duration(n)*600*time.Millisecond; got != want {
				t.Errorf("%d was acknowledged after %v, want %v", n, got, want)
			}
		}
	})
}

func TestARepeatIsAcknowledgedAndNotHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		o.Ack, o.Seen = true, 3
		o.OnConfirmation = func(reference string) { l.add("confirmed %s", reference) }
		_, p := dial(t, s, o)
		p.send(ids(1, 3)...)
		l.expect(t, "message ANZ-2 1 ", "message ANZ-2 2 ", "message ANZ-2 3 ")
		for p.expect("ACK") != ack(3) {
		}
		p.end(1012)

		p = s.welcome()
		p.send(ids(2, 4)...)
		l.expect(t, "message ANZ-2 4 ")
		for p.expect("ACK") != ack(4) {
		}
		p.send(ids(2, 2)...) // one of the last three
		p.expect(ack(2))
		p.send(ids(1, 1)...) // this one is forgotten
		l.expect(t, "message ANZ-2 1 ")
		p.expect(ack(1))

		// The same for what is no message.
		confirmation := fmt.Sprintf(`{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r"},"id":"%s%d"}`, id, 9)
		p.send(confirmation, confirmation, `{"type":"NEWS","id":"`+id+`8"}`)
		l.expect(t, "confirmed r")
		for p.expect("ACK") != ack(8) {
		}
		synctest.Wait()
		l.empty(t)
	})
}

func TestAMessageThatWasNotHandledComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		o.Ack = true
		logStates(&o, l)
		g := newGate(&o)
		_, p := dial(t, s, o)
		l.expect(t, "connected")
		p.send(ids(1, 3)...)
		p.send(message(0, "")) // FAST
		p.send(ids(4, 4)...)
		synctest.Wait()
		g.leave <- nil
		g.leave <- errors.New("disk full")
		p.expect(ack(1))
		l.expect(t, "disconnected: the handler failed: disk full")
		g.leave <- nil
		for _, want := range []string{"1", "2", "0"} { // 3 and 4 come again, the FAST one would not
			if got := <-g.entered; got != want {
				t.Errorf("handled %s, want %s", got, want)
			}
		}
		p = s.welcome()
		p.send(ids(2, 4)...)
		for _, want := range []string{"2", "3", "4"} {
			g.leave <- nil
			if got := <-g.entered; got != want {
				t.Errorf("handled %s, want %s", got, want)
			}
		}
		for p.expect("ACK") != ack(4) {
		}
	})
}

func TestAHandlerThatFailsWithoutAckKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		o.OnMessage = func(_ context.Context, m client.Message) error {
			l.add("message %s", m.Content)
			return errors.New("disk full")
		}
		_, p := dial(t, s, o)
		p.send(message(1, ""), message(2, ""))
		l.expect(t, "message 1", "message 2")
	})
}

func TestCloseHandlesWhatHasArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		o := s.options(newLog())
		o.Ack = true
		g := newGate(&o)
		c, p := dial(t, s, o)
		p.send(ids(1, 3)...)
		synctest.Wait()
		closed := make(chan struct{})
		go func() {
			c.Close()
			close(closed)
		}()
		synctest.Wait()
		p.send(ids(4, 4)...) // too late: not handled, not acknowledged, not proved
		if err := p.WritePing([]byte("7")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range 3 {
			g.leave <- nil
		}
		p.expect(ack(3))
		if code := p.expectClose(); code != 1000 {
			t.Errorf("closed with %d", code)
		}
		<-closed
		if len(p.pongs) > 0 || len(g.entered) != 3 {
			t.Errorf("%d pongs, %d messages", len(p.pongs), len(g.entered))
		}
	})
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		o := s.options(newLog())
		o.Ack, o.DrainTimeout = true, 3*time.Second
		g := newGate(&o)
		c, p := dial(t, s, o)
		p.send(ids(1, 3)...)
		synctest.Wait()
		start := time.Now()
		c.Close()
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
		<-g.ended
		if len(g.entered) != 1 || len(p.frames) > 0 {
			t.Errorf("%d messages, %d acknowledgements", len(g.entered), len(p.frames))
		}
	})
}

func TestSlowHandlersHoldTheServerBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		o.Inbox = 2
		logStates(&o, l)
		g := newGate(&o)
		_, p := dial(t, s, o)
		l.expect(t, "connected")
		sent := make(chan struct{})
		go func() {
			for n := range 10 {
				p.send(message(n, ""))
			}
			_ = p.WritePing([]byte("10"))
			close(sent)
		}()
		time.Sleep(10 * time.Minute)
		l.empty(t) // its own silence is not the server's
		select {
		case <-sent:
			t.Error("the client took all")
		default:
		}
		if len(p.pongs) > 0 {
			t.Errorf("what was not taken was proved: %s", <-p.pongs)
		}
		for n := range 10 {
			g.leave <- nil
			if got := <-g.entered; got != fmt.Sprint(n) {
				t.Errorf("got %s, want %d", got, n)
			}
		}
		if got := <-p.pongs; got != "10" {
			t.Errorf("got %s", got)
		}
		<-sent
	})
}

func TestWhatHasArrivedIsHandledThoughTheConnectionIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		o := s.options(newLog())
		g := newGate(&o)
		_, p := dial(t, s, o)
		p.send(message(1, ""), message(2, ""))
		synctest.Wait()
		p.end(1012)
		p = s.welcome()
		p.send(message(3, ""))
		for _, want := range []string{"1", "2", "3"} {
			g.leave <- nil
			if got := <-g.entered; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}
