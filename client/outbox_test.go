package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// producing returns options of a client with an outbox whose numbers begin at 1.
func (s *server) producing(l *log) client.Options {
	o := s.options(l)
	o.Producer, o.NextSeq = "phone-1", 1
	o.OnStored = func(reference string) { l.add("stored %s", reference) }
	o.OnError = func(e *wire.Error, reference string) { l.add("%s %s", e.Code, reference) }
	return o
}

func stored(reference string) string {
	return fmt.Sprintf(`{"type":"MESSAGE_STORED","data":{"reference":%q}}`, reference)
}

func refused(code, to, reference string) string {
	return fmt.Sprintf(`{"type":"DELIVER_FAILED","data":{"code":%q,"reason":"because","to":%s},"reference":%q}`, code, to, reference)
}

// sendAll sends messages with the references a to the last letter given.
func sendAll(t *testing.T, c *client.Client, references ...string) {
	t.Helper()
	for _, r := range references {
		if err := c.Send(t.Context(), "ANZ-2", r, client.WithReference(r)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnOutboxIsSentAgainOnTheNextConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		c, p := dial(t, s, s.producing(l))
		sendAll(t, c, "a", "b", "c")
		p.expect(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":"a"},"reference":"a","seq":1}`)
		p.expect(`"seq":2}`)
		p.expect(`"seq":3}`)
		p.send(stored("b"))
		l.expect(t, "stored b")
		s.setDown(true)
		p.end(1012)
		synctest.Wait()
		sendAll(t, c, "d")
		s.setDown(false)
		p = s.next()
		p.expect(`"options":{"receipts":true,"producer":"phone-1"}`)
		p.send(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"ANZ-1","isAuthenticated":true}}`)
		p.expect(`"reference":"a","seq":1}`)
		p.expect(`"reference":"c","seq":3}`)
		p.expect(`"reference":"d","seq":4}`)
		flushed := make(chan error, 1)
		go func() { flushed <- c.Flush(t.Context()) }()
		p.send(stored("a"), stored("c"))
		l.expect(t, "stored a", "stored c")
		synctest.Wait()
		if len(flushed) > 0 {
			t.Error("one message is not stored yet")
		}
		p.send(stored("d"))
		if err := <-flushed; err != nil {
			t.Error(err)
		}
		l.expect(t, "stored d")
	})
}

// What is refused for the moment is sent again under its number, and what was not
// sent yet waits for it; what is refused for good is the application's to know.
func TestWhatIsRefusedForTheMomentIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		c, p := dial(t, s, s.producing(l))
		sendAll(t, c, "a", "b", "c")
		for range 3 {
			p.expect("")
		}
		p.send(refused("STORE_DOWN", `"ANZ-2"`, "a"), stored("b"), refused("MAILBOX_FULL", `"ANZ-2"`, "c"))
		l.expect(t, "stored b", "MAILBOX_FULL c")
		sendAll(t, c, "d")
		synctest.Wait()
		if len(p.frames) > 0 {
			t.Errorf("%s was sent", <-p.frames)
		}
		p.expect(`"reference":"a","seq":1}`)
		p.expect(`"reference":"d","seq":4}`)
		p.send(refused("EXPIRED", `"ANZ-2"`, "d")) // of an earlier message
		l.expect(t, "EXPIRED d")
		p.send(strings.Replace(refused("TIMEOUT", `"ANZ-2"`, "d"), `"to"`, `"mayYetArrive":true,"to"`, 1), stored("a"))
		p.expect(`"reference":"d","seq":4}`)
		p.send(stored("d"))
		l.expect(t, "stored a", "stored d")
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		sendAll(t, c, "c")
		p.expect(`"reference":"c","seq":5}`)
	})
}

func TestAGroupIsSettledWhenAllItsReceiversAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		c, p := dial(t, s, s.producing(l))
		group := func(reference string) {
			if err := c.SendGroup(t.Context(), []wire.UserID{"ANZ-2", "ANZ-3", "ANZ-2"}, 1, client.WithReference(reference)); err != nil {
				t.Fatal(err)
			}
			p.expect(fmt.Sprintf("%q", reference))
		}
		group("some")
		p.send(refused("MAILBOX_FULL", `["ANZ-2"]`, "some"), stored("some"))
		l.expect(t, "MAILBOX_FULL some", "stored some")
		group("none")
		p.send(refused("MAILBOX_FULL", `["ANZ-2"]`, "none"), refused("UNKNOWN_APP", `["ANZ-3"]`, "none"))
		l.expect(t, "MAILBOX_FULL none", "UNKNOWN_APP none")
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		group("half")
		p.send(refused("STORE_DOWN", `["ANZ-2"]`, "half"))
		time.Sleep(time.Minute)
		if len(p.frames) > 0 {
			t.Errorf("%s was sent while its outcome was open", <-p.frames)
		}
		p.send(stored("half"))
		p.expect(`"half"`)
		p.send(stored("half"))
		l.expect(t, "stored half")
	})
}

// The server remembers so many numbers exactly: none may be sent that would push
// one out of its memory that is not settled.
func TestAnOutboxIsNoLongerThanTheServerRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		c, p := dial(t, s, s.producing(l))
		for i := range wire.SeqWindow {
			sendAll(t, c, fmt.Sprint(i+1))
			p.expect("")
		}
		p.send(stored("2"))
		l.expect(t, "stored 2")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Send(ctx, "ANZ-2", 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- c.Send(t.Context(), "ANZ-2", 0) }()
		p.send(stored("1"))
		if err := <-done; err != nil {
			t.Error(err)
		}
		p.expect(fmt.Sprintf(`"confirmationEnabled":false,"seq":%d}`, wire.SeqWindow+1))
		if err := c.Send(t.Context(), "ANZ-2", 0, client.WithReference("3")); !errors.Is(err, client.ErrReferenceInUse) {
			t.Errorf("got %v", err)
		}
		go func() { done <- c.Send(context.Background(), "ANZ-2", 0, client.WithSeq(10_000)) }()
		synctest.Wait()
		c.Close()
		if err := <-done; !errors.Is(err, client.ErrClosed) {
			t.Errorf("got %v", err)
		}
		if err := c.Send(context.Background(), "ANZ-2", 0); !errors.Is(err, client.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// An application that keeps its outbox itself gives the numbers.
func TestAnApplicationMayNumberItsMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.producing(l)
		o.NextSeq = 0
		c, p := dial(t, s, o)
		ctx := t.Context()
		for _, seq := range []uint64{7, 9} {
			if err := c.Send(ctx, "ANZ-2", "x", client.WithSeq(seq)); err != nil {
				t.Fatal(err)
			}
			p.expect(fmt.Sprintf(`"seq":%d}`, seq))
		}
		for _, seq := range []uint64{0, 8, 9, wire.MaxSeq + 1} {
			if err := c.Send(ctx, "ANZ-2", "x", client.WithSeq(seq)); !errors.Is(err, client.ErrSeq) {
				t.Errorf("%d: got %v", seq, err)
			}
		}
		if err := c.Send(ctx, "ANZ-2", "x", client.WithSeq(11), client.Fast()); err != nil {
			t.Error(err)
		}
		if f := p.expect("FAST"); strings.Contains(f, "seq") {
			t.Errorf("sent %s", f)
		}
		if err := c.Send(ctx, "ANZ-2", "x", client.WithSeq(10)); err != nil {
			t.Error(err)
		}
		p.expect(`"seq":10}`)
	})
}

// What waits for a confirmation waits on when the message is tried again.
func TestSendAndWaitGoesThroughTheOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		c, p := dial(t, s, s.producing(l))
		done := make(chan error, 1)
		go func() { done <- c.SendAndWait(t.Context(), "ANZ-2", "x", client.WithReference("w")) }()
		p.expect(`"reference":"w","seq":1}`)
		p.send(refused("OVERLOADED", `"ANZ-2"`, "w"))
		p.expect(`"reference":"w","seq":1}`)
		p.send(`{"type":"MESSAGE_CONFIRMATION","data":{"reference":"w"}}`)
		if err := <-done; err != nil {
			t.Error(err)
		}
		p.end(1012)
		p = s.welcome()
		p.expect(`"reference":"w","seq":1}`) // that it is stored was not said
		p.send(stored("w"))
		l.expect(t, "stored w")
	})
}

func TestOutboxOptionsAreChecked(t *testing.T) {
	s := newServer(t)
	for _, change := range []func(*client.Options){
		func(o *client.Options) { o.Producer = "a b" },
		func(o *client.Options) { o.Producer = strings.Repeat("a", wire.MaxProducer+1) },
		func(o *client.Options) { o.Producer = "" },
		func(o *client.Options) { o.NextSeq = wire.MaxSeq + 1 },
	} {
		o := s.producing(newLog())
		change(&o)
		if _, err := client.Dial(t.Context(), o); err == nil {
			t.Errorf("%q, %d: no error", o.Producer, o.NextSeq)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c, _ := dial(t, s, s.options(newLog()))
		if err := c.Send(t.Context(), "ANZ-2", 1, client.WithSeq(1)); err == nil {
			t.Error("a number without a producer was taken")
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
