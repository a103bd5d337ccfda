//go:build linux

package nodetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// refusedSignIn is a scenario of a sign-in that is refused with a code.
func refusedSignIn(code, settings, frame string) scenario {
	return scenario{"refused with " + code, []string{"AUTH_CLIENT_REPLY " + code, "close 4002"}, func(t *testing.T, b *codeBook) {
		p := Dial(t, startWith(t, settings))
		b.send(p, frame)
		if f := b.want(p, "AUTH_CLIENT_REPLY "+code); f.Field("isAuthenticated") != "false" || f.Field("reason") == "" {
			t.Errorf("got %s", f.Raw)
		}
		b.closed(p, 4002)
	}}
}

func signInScenarios() []scenario {
	key := newKey("HS256")
	token := func(claims map[string]any) string { return tokenFrame("JWT-1", key.token(claims)) }
	return []scenario{
		refusedSignIn("BAD_USER_ID", codeApps, authFrame("app-id-343", "ANZ", "")),
		refusedSignIn("UNKNOWN_APP", codeApps, authFrame("app-id-343", "XYZ-1", "")),
		refusedSignIn("WRONG_APP_ID", codeApps, authFrame("shop-id", "ANZ-1", "")),
		refusedSignIn("BAD_TOKEN", key.app("JWT"), tokenFrame("JWT-1", "rubbish")),
		refusedSignIn("TOKEN_EXPIRED", key.app("JWT"), token(map[string]any{"sub": "JWT-1", "exp": time.Now().Add(-time.Minute).Unix()})),
		{"refused by a hook", []string{"AUTH_CLIENT_REPLY REFUSED"}, func(t *testing.T, b *codeBook) {
			hook := newHook(t)
			p := Dial(t, startWith(t, hook.app("HOOK")))
			b.send(p, authFrame("hook-id", "HOOK-1", ""))
			hook.next().no()
			b.want(p, "AUTH_CLIENT_REPLY REFUSED")
			b.closed(p, 4002)
		}},
		{"a hook that fails", []string{"AUTH_CLIENT_REPLY HOOK_FAILED"}, func(t *testing.T, b *codeBook) {
			hook := newHook(t)
			p := Dial(t, startWith(t, hook.app("HOOK")))
			b.send(p, authFrame("hook-id", "HOOK-1", ""))
			hook.next().say(500, "")
			b.want(p, "AUTH_CLIENT_REPLY HOOK_FAILED")
			b.closed(p, 4002)
		}},
		{"many that fail from one address", []string{"AUTH_CLIENT_REPLY RATE_LIMITED", "GENERAL_ERROR RATE_LIMITED"}, func(t *testing.T, b *codeBook) {
			s := startWith(t, codeApps+"limits: {failedSignIns: 1, frameRate: 1, exempt: []}\n")
			early := b.joined(s, "ANZ-1", "")
			p := Dial(t, s)
			b.send(p, authFrame("wrong-id", "ANZ-2", ""))
			b.want(p, "AUTH_CLIENT_REPLY WRONG_APP_ID")
			b.closed(p, 4002)
			p = Dial(t, s)
			b.send(p, authFrame("app-id-343", "ANZ-2", ""))
			b.want(p, "AUTH_CLIENT_REPLY RATE_LIMITED")
			b.closed(p, 4002)
			for range 30 { // ten seconds' worth may come at once
				b.send(early, `{"type":"MESSAGE","feature":"FAST","data":{"to":"ANZ-9","content":1}}`)
			}
			b.want(early, "GENERAL_ERROR RATE_LIMITED")
		}},
		{"many sessions", []string{"AUTH_CLIENT_REPLY TOO_MANY_SESSIONS", "close 4006"}, func(t *testing.T, b *codeBook) {
			s := startWith(t, codeApps+"limits: {sessionsPerUser: 1}\n")
			b.joined(s, "ANZ-1", "")
			p := Dial(t, s)
			b.send(p, authFrame("app-id-343", "ANZ-1", ""))
			b.want(p, "AUTH_CLIENT_REPLY TOO_MANY_SESSIONS")
			b.closed(p, 4006)
		}},
	}
}

func closeScenarios() []scenario {
	// raw is a scenario of bytes that end the session.
	raw := func(name string, send []byte, code int) scenario {
		key := fmt.Sprint("close ", code)
		return scenario{name, []string{key}, func(t *testing.T, b *codeBook) {
			p := signInRaw(t, Start(t), "ANZ-1", "")
			p.write(send)
			if got, _ := p.closeCode(); got != code {
				t.Fatalf("close code %d, want %d", got, code)
			}
			b.seen[key] = true
		}}
	}
	return []scenario{
		raw("good bye", rawCloseFrame(1000, ""), 1000),
		raw("an unmasked frame", []byte{rawText, 0}, 1002),
		raw("a binary frame", rawFrame(rawBinary, "x"), 1003),
		raw("no UTF-8", rawFrame(rawText, "\xff"), 1007),
		raw("a large frame", rawHeader(rawText, 64<<10+1), 1009),
		{"a page that is left", []string{"close 1001"}, leftPage},
		{"nobody signs in", []string{"close 4001"}, func(t *testing.T, b *codeBook) {
			b.closed(Dial(t, startWith(t, plainApp+"limits: {signInDeadline: 1s}\n")), 4001)
		}},
		{"pings without an answer", []string{"close 4004"}, func(t *testing.T, b *codeBook) {
			p := b.joined(startWith(t, plainApp+"limits: {pingInterval: 500ms, proofTimeout: 1s}\n"), "ANZ-1", "")
			p.Silence(true)
			b.closed(p, 4004)
		}},
		{"a token's end", []string{"close 4005"}, func(t *testing.T, b *codeBook) {
			key := newKey("HS256")
			p := Dial(t, startWith(t, key.app("JWT")))
			b.send(p, tokenFrame("JWT-1", key.token(map[string]any{"sub": "JWT-1", "exp": soon().Unix()})))
			b.want(p, "AUTH_CLIENT_REPLY")
			b.closed(p, 4005)
		}},
		{"nothing is read", []string{"close 4007"}, nothingIsRead},
		{"nothing is acknowledged", []string{"close 4008"}, func(t *testing.T, b *codeBook) {
			s := startWith(t, plainApp+"limits: {ackTimeout: 1s}\n")
			p := b.joined(s, "ANZ-1", `{"ack":true}`)
			p.Message("ANZ-1", "acknowledge me", "")
			b.want(p, "MESSAGE")
			b.closed(p, 4008)
		}},
	}
}

// leftPage is a browser's tab that is closed: it says 1001. The server's answer
// is 1000, as to every code that a browser has of its own; 1001 is what it counts.
func leftPage(t *testing.T, b *codeBook) {
	s := Start(t)
	p := b.joined(s, "ANZ-1", "")
	if err := p.ws.Close(websocket.StatusGoingAway, ""); err != nil {
		t.Logf("the other side: %v", err)
	}
	awaitMetric(t, s, closesMetric(1001), 1)
	b.seen["close 1001"] = true
}

// nothingIsRead is a client that reads none of its notices. The close frame comes
// behind what it has not read, and in the end not at all, so this looks at what
// the server counts.
func nothingIsRead(t *testing.T, b *codeBook) {
	s := startWith(t, plainApp+"limits: {queueFrames: 16, queueBytes: 256KiB, proofTimeout: 5m}\n")
	p := SignIn(t, s, "ANZ-2", `{"presence":["ANZ-3"]}`)
	p.Freeze()
	fillQueue(t, s, "ANZ-2")
	Eventually(t, "the session is closed", func() bool {
		SignIn(t, s, "ANZ-3", "").Close()
		return s.Metric(closesMetric(4007)) > 0
	})
	p.Abort()
	b.seen["close 4007"] = true
}
