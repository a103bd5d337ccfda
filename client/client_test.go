package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestTheClientSignsInAsItIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*client.Options)
		want   string
	}{
		"without options": {func(*client.Options) {},
			`{"type":"AUTH_CLIENT","data":{"appId":"app-id-343","userId":"ANZ-1","token":"token-12345"}}`},
		"with all": {func(o *client.Options) {
			o.Ack, o.Receipts, o.Push, o.Presence = true, true, true, []wire.UserID{"ANZ-7", "ANZ-8"}
		}, `{"type":"AUTH_CLIENT","data":{"appId":"app-id-343","userId":"ANZ-1","token":"token-12345","options":{"ack":true,"receipts":true,"push":true,"presence":["ANZ-7","ANZ-8"]}}}`},
		"with one": {func(o *client.Options) { o.Push, o.AppID = true, `a"b` },
			`{"type":"AUTH_CLIENT","data":{"appId":"a\"b","userId":"ANZ-1","token":"token-12345","options":{"push":true}}}`},
		"with a token that is made": {func(o *client.Options) {
			o.Token, o.TokenSource = "", func(context.Context) (string, error) { return "fresh", nil }
		}, `{"type":"AUTH_CLIENT","data":{"appId":"app-id-343","userId":"ANZ-1","token":"fresh"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				o := s.options(newLog())
				test.change(&o)
				go func() {
					p := s.next()
					if got := p.expect("AUTH_CLIENT"); got != test.want {
						t.Errorf("got  %s\nwant %s", got, test.want)
					}
					if f, err := wire.ParseFrame([]byte(test.want)); err != nil {
						t.Error(err)
					} else if _, err := wire.ParseAuth(f.Data); err != nil {
						t.Error(err)
					}
					p.send(`{"type":"AUTH_CLIENT_REPLY","data":{"isAuthenticated":true}}`)
				}()
				c, err := client.Dial(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
			})
		})
	}
}

func TestARefusedSignInIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		go s.refuse(wire.CodeBadToken)
		c, err := client.Dial(t.Context(), s.options(newLog()))
		var refused *wire.Error
		if c != nil || !errors.As(err, &refused) || refused.Code != wire.CodeBadToken || refused.Kind != wire.KindAuthReply || refused.Reason != "no" {
			t.Fatalf("got %v", err)
		}
	})
}

func TestDialFailsInTime(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(*server, *client.Options)
		want    error
		text    string
	}{
		"nobody listens":           {func(s *server, _ *client.Options) { s.setDown(true) }, nil, "connection refused"},
		"no answer to the sign-in": {func(*server, *client.Options) {}, context.DeadlineExceeded, "sign in"},
		"the server hangs up":      {func(s *server, _ *client.Options) { go func() { s.next().end(1011) }() }, nil, "1011 because"},
		"nonsense": {func(s *server, _ *client.Options) {
			go func() {
				s.next().send(`{"type":"NEWS"}`, `{"type":"AUTH_CLIENT_REPLY","data":5}`, `{"type":"AUTH_CLIENT_REPLY"}`)
			}()
		}, nil, "cannot be read"},
		"the frame is not understood": {func(s *server, _ *client.Options) {
			go func() {
				s.next().send(`{"type":"INVALID_MESSAGE","data":{"code":"BAD_FIELD","reason":"data.options: x"}}`)
			}()
		}, nil, "BAD_FIELD"},
		"no token": {func(_ *server, o *client.Options) {
			o.Token = ""
			o.TokenSource = func(context.Context) (string, error) { return "", errors.New("the vault is shut") }
		}, nil, "the vault is shut"},
		"a token that takes for ever": {func(_ *server, o *client.Options) {
			o.Token = ""
			o.TokenSource = func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		}, context.DeadlineExceeded, "token"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				o := s.options(newLog())
				test.prepare(s, &o)
				_, err := client.Dial(t.Context(), o)
				if err == nil || (test.want != nil && !errors.Is(err, test.want)) || !strings.Contains(err.Error(), test.text) {
					t.Fatalf("got %v", err)
				}
			})
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := client.Dial(ctx, s.options(newLog()))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Fatalf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestOptionsThatAreRefused(t *testing.T) {
	s := newServer(t)
	for name, change := range map[string]func(*client.Options){
		"no URL":            func(o *client.Options) { o.URL = "" },
		"no websocket URL":  func(o *client.Options) { o.URL = "http://test/ws" },
		"a broken URL":      func(o *client.Options) { o.URL = "ws://%zz" },
		"no host":           func(o *client.Options) { o.URL = "ws:///ws" },
		"no app":            func(o *client.Options) { o.AppID = "" },
		"no user":           func(o *client.Options) { o.UserID = "" },
		"no user ID":        func(o *client.Options) { o.UserID = "ANZ-01" },
		"bad presence":      func(o *client.Options) { o.Presence = []wire.UserID{"ANZ-1", "x"} },
		"no handler":        func(o *client.Options) { o.OnMessage = nil },
		"two tokens":        func(o *client.Options) { o.TokenSource = func(context.Context) (string, error) { return "", nil } },
		"a negative window": func(o *client.Options) { o.Seen = -1 },
		"a negative time":   func(o *client.Options) { o.KeepAlive = -1 },
		"a backoff upside down": func(o *client.Options) {
			o.Backoff = client.Backoff{Min: time.Minute, Max: time.Second}
		},
	} {
		o := s.options(newLog())
		change(&o)
		if _, err := client.Dial(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), "client: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if n := len(s.attempts()); n > 0 {
		t.Errorf("dialled %d times", n)
	}
}

func TestHandlersAreCalledInTheOrderOfTheFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		o.OnConfirmation = func(reference string) { l.add("confirmed %s", reference) }
		o.OnStored = func(reference string) { l.add("stored %s", reference) }
		o.OnPresence = func(user wire.UserID, online bool) { l.add("%s %v", user, online) }
		o.OnError = func(e *wire.Error, reference string) {
			l.add("%v to %v %v %v: %s", e, e.To, e.Group, e.MayYetArrive, reference)
		}
		o.OnFrame = func(f wire.ServerFrame) { l.add("frame %s %s", f.TypeName, f.Data) }
		_, p := dial(t, s, o)
		p.send(
			`{"type":"MESSAGE","data":{"from":"ANZ-2","content":{"a" : 1}},"reference":"r\u0031"}`,
			`{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r2"}}`,
			`{"type":"MESSAGE_STORED","data":{"reference":"r3"}}`,
			`{"type":"USER_CONNECTED","data":{"userId":"ANZ-7"}}`,
			`{"type":"USER_DISCONNECTED","data":{"userId":"ANZ-7"}}`,
			`{"type":"GENERAL_ERROR","data":{"code":"FORBIDDEN","reason":"no"}}`,
			`{"type":"DELIVER_FAILED","data":{"code":"TIMEOUT","reason":"slow","to":"ANZ-3","mayYetArrive":true},"reference":"r4"}`,
			`{"type":"DELIVER_FAILED","data":{"code":"MAILBOX_FULL","reason":"full","to":["ANZ-3","ANZ-4"]},"reference":"r5"}`,
			`this is no frame`, `{"type":"MESSAGE","data":{"from":5}}`,
			`{"type":"ROOM_NEWS","data":{"x": 1},"later":true}`,
			`{"type":"MESSAGE","data":{"from":"ANZ-2","content":2}}`,
		)
		l.expect(t, `message ANZ-2 {"a" : 1} r1`, "confirmed r2", "stored r3", "ANZ-7 true", "ANZ-7 false",
			"GENERAL_ERROR: FORBIDDEN: no to [] false false: ", "DELIVER_FAILED: TIMEOUT: slow to [ANZ-3] false true: r4",
			"DELIVER_FAILED: MAILBOX_FULL: full to [ANZ-3 ANZ-4] true false: r5",
			`frame ROOM_NEWS {"x": 1}`, "message ANZ-2 2 ")
	})
}

func TestHandlersThatAreNotThereAreNotCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		_, p := dial(t, s, s.options(l))
		p.send(`{"type":"MESSAGE_CONFIRMATION"}`, `{"type":"MESSAGE_STORED"}`, `{"type":"USER_CONNECTED"}`,
			`{"type":"GENERAL_ERROR"}`, `{"type":"NEWS"}`, `{"type":"FETCH_MISSING_MESSAGES_COMPLETE"}`, message(1, ""))
		l.expect(t, "message ANZ-2 1 ")
	})
}

func TestAPingIsAnsweredWithItsOwnPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		_, p := dial(t, s, s.options(newLog()))
		for _, payload := range []string{"1", "", "18446744073709551615"} {
			if err := p.WritePing([]byte(payload)); err != nil {
				t.Fatal(err)
			}
			if got := <-p.pongs; got != payload {
				t.Errorf("got %q, want %q", got, payload)
			}
		}
	})
}

func TestAMessageIsDecoded(t *testing.T) {
	var v struct{ A int }
	m := client.Message{From: "ANZ-2", Content: json.RawMessage(`{"a":5}`)}
	if err := m.Decode(&v); err != nil || v.A != 5 {
		t.Errorf("got %v, %v", v, err)
	}
	if err := (client.Message{From: "ANZ-2", Content: json.RawMessage(`5`)}).Decode(&v); err == nil || !strings.Contains(err.Error(), "ANZ-2") {
		t.Errorf("got %v", err)
	}
}

func TestStatesHaveNames(t *testing.T) {
	for s, want := range map[client.State]string{client.Connected: "connected", client.Disconnected: "disconnected", client.Closed: "closed", 0: "unknown"} {
		if s.String() != want {
			t.Errorf("got %q, want %q", s, want)
		}
	}
}
