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

// logStates reports states to the log, too.
func logStates(o *client.Options, l *log) {
	o.OnState = func(s client.State, why error) {
		if why == nil {
			l.add("%v", s)
		} else {
			l.add("%v: %v", s, why)
		}
	}
}

func TestALostConnectionIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		logStates(&o, l)
		c, p := dial(t, s, o)
		l.expect(t, "connected")
		p.end(1012)
		l.expect(t, "disconnected: client: the server closed the connection: 1012 because")
		p = s.welcome()
		l.expect(t, "connected")
		p.send(message(1, ""))
		l.expect(t, "message ANZ-2 1 ")
		_ = p.raw.Close() // without a close frame
		l.expect(t, "disconnected: the connection was lost: EOF")
		s.welcome()
		l.expect(t, "connected")
		c.Close()
		l.expect(t, "closed: client: closed")
		c.Close() // once more does no harm
		l.empty(t)
		if !errors.Is(c.Err(), client.ErrClosed) {
			t.Errorf("Err is %v", c.Err())
		}
	})
}

func TestWaitsGrowAndAreRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		o := s.options(newLog())
		o.Backoff = client.Backoff{Min: time.Second, Max: 10 * time.Second}
		_, p := dial(t, s, o) // Random is always 0.5
		s.setDown(true)
		time.Sleep(9 * time.Second)
		p.end(1012)
		time.Sleep(time.Minute)
		s.setDown(false)
		p = s.welcome()

		at := s.attempts()
		for i, want := range []time.Duration{9500, 1000, 2000, 4000, 5000, 5000, 5000} {
			if got := at[i+1].Sub(at[i]); got != want*time.Millisecond {
				t.Errorf("wait %d is %v, want %v", i, got, want*time.Millisecond)
			}
		}

		// A connection that did not last does not start the count anew, one that
		// did does.
		p.end(1012)
		lost := time.Now()
		p = s.welcome()
		if got := time.Since(lost); got != 5*time.Second {
			t.Errorf("waited %v", got)
		}
		time.Sleep(10 * time.Second)
		p.end(1012)
		lost = time.Now()
		s.welcome()
		if got := time.Since(lost); got != 500*time.Millisecond {
			t.Errorf("waited %v", got)
		}
	})
}

func TestTheServerMayAskToConnectAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		logStates(&o, l)
		_, p := dial(t, s, o)
		l.expect(t, "connected")
		start := time.Now()
		p.send(`{"type":"RECONNECT","data":{"reason":"restart","afterMs":1500}}`, `{"type":"RECONNECT","data":{"reason":"restart","afterMs":1500}}`)
		time.Sleep(time.Second)
		p.send(message(1, "")) // until then it works as before
		l.expect(t, "message ANZ-2 1 ")
		if code := p.expectClose(); code != 1000 {
			t.Errorf("closed with %d", code)
		}
		s.welcome()
		if got := time.Since(start); got != 1500*time.Millisecond {
			t.Errorf("connected anew after %v", got)
		}
		l.expect(t, "disconnected: client: the server asked to connect anew", "connected")
	})
}

func TestWhatIsFinalIsNotTriedAgain(t *testing.T) {
	for _, code := range wire.CloseCodes() {
		t.Run(fmt.Sprint(code.Code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, l := newServer(t), newLog()
				o := s.options(l)
				logStates(&o, l)
				c, p := dial(t, s, o)
				l.expect(t, "connected")
				p.end(code.Code)
				lost := fmt.Sprintf("client: the server closed the connection: %d because", code.Code)
				if code.Retry {
					l.expect(t, "disconnected: "+lost)
					s.welcome()
					return
				}
				l.expect(t, "closed: "+lost)
				<-c.Done()
				var closed *client.CloseError
				if !errors.As(c.Err(), &closed) || closed.Code != code.Code || closed.Reason != "because" {
					t.Errorf("Err is %v", c.Err())
				}
				if err := c.Send(t.Context(), "ANZ-2", "x"); !errors.Is(err, client.ErrClosed) {
					t.Errorf("Send: %v", err)
				}
				c.Close()
				if n := len(s.attempts()); n != 1 {
					t.Errorf("dialled %d times", n)
				}
			})
		})
	}
}

func TestARefusalOnTheWayBackMayBeFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		asked := 0
		o.Token = ""
		o.TokenSource = func(context.Context) (string, error) {
			asked++
			return fmt.Sprint("token ", asked), nil
		}
		c, p := dial(t, s, o)
		p.end(4005)
		s.refuse(wire.CodeTokenExpired) // the next one may be better
		s.refuse(wire.CodeBusy)
		s.refuse(wire.CodeHookFailed)
		s.refuse(wire.CodeTooManySessions)
		s.refuse(wire.CodeStoreDown)
		s.refuse(wire.CodeRefused)
		<-c.Done()
		var refused *wire.Error
		if !errors.As(c.Err(), &refused) || refused.Code != wire.CodeRefused || asked != 7 {
			t.Errorf("Err is %v, asked for %d tokens", c.Err(), asked)
		}
	})
}

func TestAnExpiredTokenIsFinalWithoutASource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c, p := dial(t, s, s.options(newLog()))
		p.end(4005)
		s.refuse(wire.CodeTokenExpired)
		<-c.Done()
	})
}

func TestAnErrorThatAnswersTheSignInIsFinal(t *testing.T) {
	for _, frame := range []string{
		`{"type":"INVALID_MESSAGE","data":{"code":"BAD_FIELD","reason":"data.options.presence: no"}}`,
		`{"type":"GENERAL_ERROR","data":{"code":"TOO_MANY","reason":"so many"}}`, // the limit is lower than it was
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t)
			c, p := dial(t, s, s.options(newLog()))
			p.end(1012)
			s.next().send(frame)
			<-c.Done()
			var refused *wire.Error
			if !errors.As(c.Err(), &refused) || !strings.Contains(frame, refused.Code) {
				t.Errorf("%s: Err is %v", frame, c.Err())
			}
		})
	}
}

func TestWithoutReconnectALostConnectionIsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		o.NoReconnect = true
		logStates(&o, l)
		c, p := dial(t, s, o)
		l.expect(t, "connected")
		p.end(1012)
		l.expect(t, "closed: client: the server closed the connection: 1012 because")
		<-c.Done()
	})
}

func TestCloseEndsAnAttempt(t *testing.T) {
	for name, prepare := range map[string]func(s *server){
		"that waits":            func(s *server) { s.setDown(true) },
		"that has just dialled": func(*server) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, l := newServer(t), newLog()
				o := s.options(l)
				logStates(&o, l)
				c, p := dial(t, s, o)
				prepare(s)
				p.end(1012)
				l.expect(t, "connected", "disconnected: client: the server closed the connection: 1012 because")
				time.Sleep(5 * time.Second)
				start := time.Now()
				c.Close()
				if took := time.Since(start); took != 0 {
					t.Errorf("it took %v", took)
				}
				l.expect(t, "closed: client: closed")
			})
		})
	}
}

func TestASilentServerIsPingedAndGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		logStates(&o, l)
		_, p := dial(t, s, o)
		time.Sleep(10 * time.Minute) // it answers pings
		l.expect(t, "connected")
		l.empty(t)
		s.mute = true
		p.end(1012)
		l.expect(t, "disconnected: client: the server closed the connection: 1012 because")
		s.welcome()
		start := time.Now()
		l.expect(t, "connected")
		time.Sleep(59 * time.Second)
		l.empty(t)
		l.expect(t, "disconnected: client: the server is silent")
		if took := time.Since(start); took > 91*time.Second {
			t.Errorf("it took %v", took)
		}
		s.welcome()
	})
}

func TestOnStateMayFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		clients := make(chan *client.Client, 1)
		o := s.options(l)
		o.OnState = func(state client.State, _ error) {
			if state != client.Connected {
				return
			}
			c := <-clients
			left, err := c.FetchMissing(t.Context(), 1)
			l.add("left %d, %v", left, err)
		}
		c, p := dial(t, s, o)
		clients <- c
		p.expect("FETCH")
		p.send(message(1, ""), `{"type":"FETCH_MISSING_MESSAGES_COMPLETE","data":{"leftMissingCount":0}}`)
		l.expect(t, "message ANZ-2 1 ", "left 0, <nil>")
	})
}

// A session that ends with its first breath was a session all the same: whoever
// follows the states sees it come and go.
func TestASessionThatEndsAtOnceIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		logStates(&o, l)
		_, p := dial(t, s, o)
		for range 50 { // who comes first, the reply or the end, is left to chance
			_ = p.raw.Close()
			l.expect(t, "connected", "disconnected: the connection was lost: EOF")
			p = s.welcome()
		}
		l.expect(t, "connected")
	})
}
