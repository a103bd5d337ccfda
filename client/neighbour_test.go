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

func forward(n int) string {
	return fmt.Sprintf(`{"type":"FORWARD","data":{"origin":"domain-02","frame":{"n":%d}},"id":"%s%d","log":"l","place":%d,"low":1}`, n, id, n, n)
}

// link returns options of a link that reports what it gets.
func link(s *server, l *log) client.Options {
	o := s.options(l)
	o.OnMessage, o.Link, o.NoReconnect = nil, true, true
	o.OnForward = func(_ context.Context, frame []byte) error {
		l.add("%s", frame)
		if strings.Contains(string(frame), `"n":9`) {
			return errors.New("no nine")
		}
		return nil
	}
	return o
}

func TestALinkGetsWholeForwardsAndAcknowledgesThemItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		signIns := make(chan string, 1)
		peers := make(chan *peer, 1)
		go func() {
			p := s.next()
			signIns <- p.expect(`"AUTH_CLIENT"`)
			p.send(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"link","userId":"domain1-1","isAuthenticated":true}}`)
			peers <- p
		}()
		c, err := client.Dial(t.Context(), link(s, l))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		if got := <-signIns; !strings.Contains(got, `"options":{"ack":true,"push":true,"link":true}`) {
			t.Errorf("signed in by %s", got)
		}
		p := <-peers
		p.send(forward(1), forward(2), forward(2)) // what comes again is for whoever handles it to know
		l.expect(t, forward(1), forward(2), forward(2))
		synctest.Wait()
		if len(p.frames) > 0 {
			t.Fatalf("the client sent %s by itself", <-p.frames)
		}
		two, err := wire.ParseID([]byte(id + "2"))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Acknowledge(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		p.expect(ack(2))
		if took, err := c.Ping(t.Context()); err != nil || took < 0 {
			t.Errorf("%v, %v", took, err)
		}
		c.End(wire.ClosePolicy, strings.Repeat("because ", 100))
		if code := p.expectClose(); code != wire.ClosePolicy {
			t.Errorf("closed with %d", code)
		}
		<-c.Done()
		if err := c.Acknowledge(t.Context(), two); !errors.Is(err, client.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAForwardThatIsNotHandledEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		c, p := dial(t, s, link(s, l))
		p.send(forward(9), forward(3))
		l.expect(t, forward(9))
		<-c.Done()
		if err := c.Err(); err == nil || !strings.Contains(err.Error(), "no nine") || len(l.lines) > 0 {
			t.Errorf("%v, and %d handled after it", err, len(l.lines))
		}
	})
}

// Nobody else is there to handle it, and it is not acknowledged by itself, for that
// would acknowledge what came before it.
func TestWhatIsNoForwardIsForTheHandlerOfALinkToJudge(t *testing.T) {
	for _, bad := range []string{
		`{"type":"MESSAGE","data":{"from":"ANZ-1","content":1}}`,
		`{"type":"MESSAGE","data":{"from":"ANZ-1","content":1},"id":"` + id + `1"}`,
		`{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r"},"id":"` + id + `1"}`,
		`{"type":"SOMETHING","data":{},"id":"` + id + `1"}`,
		`{"type":"FORWARD","data":{}`,
		`{"type":"FORWARD","data":{},"id":"no ID"}`,
		`[]`,
	} {
		synctest.Test(t, func(t *testing.T) {
			s, l := newServer(t), newLog()
			_, p := dial(t, s, link(s, l))
			p.send(bad, forward(2))
			l.expect(t, bad, forward(2))
			synctest.Wait()
			if len(p.frames) > 0 {
				t.Errorf("%s: the client sent %s by itself", bad, <-p.frames)
			}
		})
	}
}

func TestAPingThatIsNotAnsweredEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		s.mute = true
		c, _ := dial(t, s, link(s, l))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestALinkNeedsAHandler(t *testing.T) {
	o := client.Options{URL: "ws://test/ws", AppID: "link", UserID: "domain1-1", Link: true}
	if _, err := client.Dial(t.Context(), o); err == nil || !strings.Contains(err.Error(), "OnForward is missing") {
		t.Errorf("got %v", err)
	}
}
