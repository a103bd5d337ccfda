package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c, p := dial(t, s, s.options(newLog()))
		ctx := t.Context()
		for _, test := range []struct {
			send func() error
			want string
		}{
			{func() error { return c.Send(ctx, "ANZ-2", "hello") },
				`{"type":"MESSAGE","data":{"to":"ANZ-2","content":"hello"}}`},
			{func() error {
				return c.Send(ctx, "ANZ-2", json.RawMessage(`{ "a" : 1.0 }`), client.WithReference(`r"1`))
			},
				`{"type":"MESSAGE","data":{"to":"ANZ-2","content":{ "a" : 1.0 }},"reference":"r\"1"}`},
			{func() error {
				return c.Send(ctx, "ANZ-2", map[string]any{"html": "<b>&"}, client.Fast(), client.WithReference("r2"), client.NoConfirmation())
			}, `{"type":"MESSAGE","data":{"to":"ANZ-2","content":{"html":"<b>&"}},"feature":"FAST","reference":"r2","confirmationEnabled":false}`},
			{func() error { return c.Send(ctx, "ANZ-2", 5, client.WithTTL(90*time.Second), client.WithReference("")) },
				`{"type":"MESSAGE","data":{"to":"ANZ-2","content":5},"ttl":90}`},
			{func() error { return c.Send(ctx, "ANZ-2", 5, client.WithTTL(time.Millisecond)) },
				`{"type":"MESSAGE","data":{"to":"ANZ-2","content":5},"ttl":1}`},
			{func() error {
				return c.SendGroup(ctx, []wire.UserID{"ANZ-2", "ANZ-3"}, []int{1, 2}, client.WithReference("g"))
			},
				`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-2","ANZ-3"],"content":[1,2]},"reference":"g"}`},
			{func() error { return c.CloseConnection(ctx, "ANZ-9") },
				`{"type":"CLOSE_CONNECTION","data":{"userId":"ANZ-9"}}`},
		} {
			if err := test.send(); err != nil {
				t.Errorf("%s: %v", test.want, err)
				continue
			}
			got := p.expect("")
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if _, err := wire.ParseFrame([]byte(got)); err != nil {
				t.Errorf("%s: %v", got, err)
			}
		}
	})
}

func TestWhatIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c, p := dial(t, s, s.options(newLog()))
		ctx := t.Context()
		for name, send := range map[string]func() error{
			"no receiver":            func() error { return c.Send(ctx, "", "x") },
			"a receiver that is bad": func() error { return c.Send(ctx, "ANZ-01", "x") },
			"a group of nobody":      func() error { return c.SendGroup(ctx, nil, "x") },
			"a group with a bad one": func() error { return c.SendGroup(ctx, []wire.UserID{"ANZ-1", "x"}, "x") },
			"nil":                    func() error { return c.Send(ctx, "ANZ-2", nil) },
			"null":                   func() error { return c.Send(ctx, "ANZ-2", json.RawMessage(" null ")) },
			"no JSON":                func() error { return c.Send(ctx, "ANZ-2", json.RawMessage("{")) },
			"empty JSON":             func() error { return c.Send(ctx, "ANZ-2", json.RawMessage(nil)) },
			"no UTF-8":               func() error { return c.Send(ctx, "ANZ-2", json.RawMessage("\"\xff\"")) },
			"a function":             func() error { return c.Send(ctx, "ANZ-2", func() {}) },
			"nobody to close":        func() error { return c.CloseConnection(ctx, "x") },
			"a negative fetch":       func() error { _, err := c.FetchMissing(ctx, -1); return err },
			"nothing to wait for":    func() error { return c.SendAndWait(ctx, "ANZ-2", nil) },
		} {
			if err := send(); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if err := c.Send(ctx, "ANZ-2", strings.Repeat("x", 64<<10)); !errors.Is(err, client.ErrTooLarge) {
			t.Errorf("got %v", err)
		}
		if err := c.Send(ctx, "ANZ-2", "the connection is as good as before"); err != nil {
			t.Error(err)
		}
		p.expect("as good as before")
	})
}

func TestWithoutAConnectionNothingIsSentOrKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		states := make(chan client.State, 10)
		o := s.options(newLog())
		o.OnState = func(s client.State, _ error) { states <- s }
		c, p := dial(t, s, o)
		if got := <-states; got != client.Connected {
			t.Fatal(got)
		}
		s.setDown(true)
		p.end(1012)
		if got := <-states; got != client.Disconnected {
			t.Fatal(got)
		}
		ctx := t.Context()
		if err := c.Send(ctx, "ANZ-2", "lost"); !errors.Is(err, client.ErrNotConnected) {
			t.Errorf("Send: %v", err)
		}
		if err := c.SendAndWait(ctx, "ANZ-2", "lost"); !errors.Is(err, client.ErrNotConnected) {
			t.Errorf("SendAndWait: %v", err)
		}
		if _, err := c.FetchMissing(ctx, 0); !errors.Is(err, client.ErrNotConnected) {
			t.Errorf("FetchMissing: %v", err)
		}
		if err := c.CloseConnection(ctx, "ANZ-2"); !errors.Is(err, client.ErrNotConnected) {
			t.Errorf("CloseConnection: %v", err)
		}
		s.setDown(false)
		p = s.welcome()
		if got := <-states; got != client.Connected {
			t.Fatal(got)
		}
		if err := c.Send(ctx, "ANZ-2", "there again"); err != nil {
			t.Error(err)
		}
		p.expect("there again")
		c.Close()
		if got := <-states; got != client.Closed {
			t.Fatal(got)
		}
		if err := c.Send(ctx, "ANZ-2", "late"); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Send: %v", err)
		}
	})
}

func TestSendAndWaitWaitsForTheConfirmation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		o.OnConfirmation = func(reference string) { l.add("confirmed %s", reference) }
		c, p := dial(t, s, o)
		go func() {
			l.add("sent: %v", c.SendAndWait(t.Context(), "ANZ-2", "hello", client.WithReference("r1"), client.NoConfirmation()))
		}()
		if got, want := p.expect("r1"), `{"type":"MESSAGE","data":{"to":"ANZ-2","content":"hello"},"reference":"r1"}`; got != want {
			t.Errorf("got %s", got)
		}
		p.send(`{"type":"MESSAGE_STORED","data":{"reference":"r1"}}`, `{"type":"MESSAGE_CONFIRMATION","data":{"reference":"other"}}`)
		l.expect(t, "confirmed other")
		synctest.Wait()
		l.empty(t)
		p.send(`{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r1"}}`)
		l.expect(t, "sent: <nil>")
		p.send(`{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r1"}}`)
		l.expect(t, "confirmed r1") // nobody waits any more
	})
}

func TestSendAndWaitMakesAReference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		c, p := dial(t, s, s.options(l))
		for i := range 3 {
			go func() { l.add("sent: %v", c.SendAndWait(t.Context(), "ANZ-2", i)) }()
		}
		var confirmations []string
		for range 3 {
			_, reference, _ := strings.Cut(p.expect("reference"), `"reference":`)
			confirmations = append(confirmations, `{"type":"MESSAGE_CONFIRMATION","data":{"reference":`+reference+`}`)
		}
		p.send(confirmations...)
		l.expect(t, "sent: <nil>", "sent: <nil>", "sent: <nil>")
	})
}

func TestSendAndWaitReportsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		o.OnError = func(e *wire.Error, reference string) { l.add("error %s %s", e.Code, reference) }
		c, p := dial(t, s, o)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		go func() { l.add("sent: %v", c.SendAndWait(ctx, "ANZ-2", "hello", client.WithReference("r1"))) }()
		p.expect("r1")
		if err := c.SendAndWait(ctx, "ANZ-2", "hello", client.WithReference("r1")); !errors.Is(err, client.ErrReferenceInUse) {
			t.Errorf("got %v", err)
		}
		p.send(`{"type":"DELIVER_FAILED","data":{"code":"MAILBOX_FULL","reason":"full","to":"ANZ-2"},"reference":"r1"}`)
		l.expect(t, "sent: DELIVER_FAILED: MAILBOX_FULL: full")

		go func() { l.add("sent: %v", c.SendAndWait(ctx, "ANZ-2", "hello")) }()
		p.expect("hello")
		l.expect(t, "sent: context deadline exceeded")

		go func() { l.add("sent: %v", c.SendAndWait(t.Context(), "ANZ-2", "hello")) }()
		p.expect("hello")
		synctest.Wait()
		c.Close()
		l.expect(t, "sent: client: closed")
	})
}

func TestSendAndWaitGoesOnOverALostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		c, p := dial(t, s, s.options(l))
		go func() { l.add("sent: %v", c.SendAndWait(t.Context(), "ANZ-2", "hello", client.WithReference("r1"))) }()
		p.expect("r1")
		p.end(1012)
		p = s.welcome()
		p.send(`{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r1"}}`)
		l.expect(t, "sent: <nil>")
	})
}

func TestAHandlerMaySendAndWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		var c *client.Client
		ready := make(chan struct{})
		o := s.options(l)
		o.OnMessage = func(ctx context.Context, m client.Message) error {
			<-ready
			l.add("answered: %v", c.SendAndWait(ctx, m.From, "answer", client.WithReference("r1")))
			return nil
		}
		var p *peer
		c, p = dial(t, s, o)
		close(ready)
		p.send(message(1, ""))
		p.expect("answer")
		p.send(`{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r1"}}`)
		l.expect(t, "answered: <nil>")
	})
}

func TestFetchMissingWaitsForTheHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		c, p := dial(t, s, s.options(l))
		fetch := func(count int) {
			left, err := c.FetchMissing(t.Context(), count)
			l.add("left %d, %v", left, err)
		}
		go fetch(2)
		p.expect(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":2},"reference":"c-`)
		p.send(message(1, ""), message(2, ""), `{"type":"FETCH_MISSING_MESSAGES_COMPLETE","data":{"leftMissingCount":25}}`)
		l.expect(t, "message ANZ-2 1 ", "message ANZ-2 2 ", "left 25, <nil>")

		go fetch(0)
		p.expect(`"count":100`)
		synctest.Wait()
		go fetch(5)
		p.expect(`"count":5`)
		p.send(`{"type":"FETCH_MISSING_MESSAGES_COMPLETE","data":{"leftMissingCount":7}}`)
		l.expect(t, "left 7, <nil>")
		p.send(`{"type":"FETCH_MISSING_MESSAGES_COMPLETE","data":{"leftMissingCount":2}}`)
		l.expect(t, "left 2, <nil>")
	})
}

func TestFetchMissingReportsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		c, p := dial(t, s, s.options(l))
		fetch := func(ctx context.Context) {
			left, err := c.FetchMissing(ctx, 9)
			l.add("left %d, %v", left, err)
		}
		go fetch(t.Context())
		_, reference, _ := strings.Cut(p.expect("FETCH"), `"reference":`)
		p.send(`{"type":"GENERAL_ERROR","data":{"code":"BUSY","reason":"later"},"reference":` + reference)
		l.expect(t, "left 0, GENERAL_ERROR: BUSY: later")

		// One that nobody waits for any more does not answer the next one.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go fetch(ctx)
		p.expect("FETCH")
		l.expect(t, "left 0, context deadline exceeded")
		go fetch(t.Context())
		p.expect("FETCH")
		p.send(`{"type":"FETCH_MISSING_MESSAGES_COMPLETE","data":{"leftMissingCount":1}}`,
			`{"type":"FETCH_MISSING_MESSAGES_COMPLETE","data":{"leftMissingCount":2}}`)
		l.expect(t, "left 2, <nil>")

		go fetch(t.Context())
		p.expect("FETCH")
		p.end(1012)
		l.expect(t, "left 0, client: not connected")
		p = s.welcome()
		synctest.Wait()
		go fetch(t.Context())
		p.expect("FETCH")
		go c.Close()
		l.expect(t, "left 0, client: closed")
	})
}

func TestFetchesThatWaitAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		c, p := dial(t, s, s.options(l))
		for range 17 {
			go func() {
				_, err := c.FetchMissing(t.Context(), 1)
				l.add("fetched: %v", err)
			}()
		}
		l.expect(t, "fetched: client: too many fetches have not ended")
		for range 16 {
			p.expect("FETCH")
			p.send(`{"type":"FETCH_MISSING_MESSAGES_COMPLETE","data":{"leftMissingCount":0}}`)
			l.expect(t, "fetched: <nil>")
		}
	})
}

func TestManyMaySendAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c, p := dial(t, s, s.options(newLog()))
		for i := range 50 {
			go func() {
				for j := range 10 {
					if err := c.Send(t.Context(), "ANZ-2", fmt.Sprint(i, ".", j)); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		for range 500 {
			if _, err := wire.ParseFrame([]byte(p.expect("MESSAGE"))); err != nil {
				t.Fatal(err)
			}
		}
	})
}
