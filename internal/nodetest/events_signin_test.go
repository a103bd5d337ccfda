package nodetest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Sign-in, and limits, of clients that get events.

// The hook is asked once for a session, not whenever its client comes back.
func TestTheHookIsAskedOnceForASessionOfEvents(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	s := startWith(t, h.app("HOOK"))
	l := NewListener(t, s.Addr, "HOOK-1", "appId=hook-id&token=t1")
	go l.run()
	call := h.next()
	if q := call.question; q.UserID != "HOOK-1" || q.Token != "t1" {
		t.Errorf("the hook was asked %s", call.body)
	}
	call.yes()
	reply := l.Expect("AUTH_CLIENT_REPLY")
	for n := range 3 {
		l.Cut()
		awaitMetric(t, s, "switchboard_events_resumed_total", float64(n+1))
	}
	if len(h.calls) > 0 {
		t.Error("it was asked again")
	}

	// Whoever has seen an event's ID, and has another token, is asked about.
	thief := NewListener(t, s.Addr, "HOOK-1", "appId=hook-id&lastEventId="+reply.EventID)
	thief.Token = "t2"
	go thief.run()
	call = h.next()
	if q := call.question; q.Token != "t2" {
		t.Errorf("the hook was asked %s", call.body)
	}
	call.no()
	Eventually(t, "it is refused", func() bool { return thief.Refused() != "" })
	if got := thief.Refused(); !strings.HasPrefix(got, "401 Unauthorized") || !strings.Contains(got, `"code":"REFUSED"`) {
		t.Errorf("refused with %s", got)
	}
	l.Send(`{"type":"MESSAGE","data":{"to":"HOOK-1","content":1}}`) // nothing of which the session notices
	l.Expect("MESSAGE")

	// A hook that does not answer, and a client that does not wait for it.
	leaver := NewListener(t, s.Addr, "HOOK-2", "appId=hook-id")
	go leaver.run()
	call = h.next()
	leaver.Close()
	Eventually(t, "the hook is let go", func() bool { return s.Metric("switchboard_socket_connections") == 1 })
	call.yes()
}

// A session lives as long as its token, which is renewed by a frame.
func TestATokenIsRenewedOverHTTP(t *testing.T) {
	t.Parallel()
	k := newKey("ES256")
	s := startWith(t, k.app("JWT"))
	short := func() string { return k.token(map[string]any{"sub": "JWT-1", "exp": soon().Unix()}) }
	listen := func() *Listener {
		l := NewListener(t, s.Addr, "JWT-1", "appId=jwt-id")
		l.Token = short()
		go l.run()
		l.Expect("AUTH_CLIENT_REPLY")
		return l
	}
	ends, stays := listen(), listen()
	stays.Send(tokenFrame("JWT-1", k.good("JWT-1")))
	if f := stays.Expect("AUTH_CLIENT_REPLY"); f.Field("isAuthenticated") != "true" || f.Field("session") != "" {
		t.Errorf("got %s", f.Raw)
	}
	if f := ends.Next(); f.Event != "close" || f.Raw != `{"code":4005,"reason":"TOKEN_EXPIRED"}` {
		t.Errorf("got %s", f.Raw)
	}
	Eventually(t, "it is refused when it comes back", func() bool { return strings.Contains(ends.Refused(), "TOKEN_EXPIRED") })
	stays.Cut() // its URL has the old token, its session the new one
	awaitMetric(t, s, "switchboard_events_resumed_total", 1)
	stays.Send(`{"type":"MESSAGE","data":{"to":"JWT-1","content":1}}`)
	stays.Expect("MESSAGE")
	for what, token := range map[string]string{"no": "", "a foreign": newKey("ES256").good("JWT-1"), "another user's": k.good("JWT-2")} {
		l := NewListener(t, s.Addr, "JWT-1", "appId=jwt-id")
		l.Token = token
		close(l.done)
		if l.listen() || !strings.HasPrefix(l.Refused(), "401") {
			t.Errorf("with %s token: %s", what, l.Refused())
		}
	}
}

func TestTheLimitsOfEventsAreSettings(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonLine) // limits.connections are those of a process
	path := Settings(t, plainApp+"limits: {sessionsPerUser: 2, connections: 3, eventHeartbeat: 10m, presenceWatch: 1}\n")
	s := Start(t, "--config", path)
	first := Listen(t, s.Addr, "ANZ-1", "")
	Listen(t, s.Addr, "ANZ-1", "")
	if got := Listen(t, s.Addr, "ANZ-1", "").Refused(); !strings.Contains(got, `"code":"TOO_MANY_SESSIONS"`) || !strings.HasPrefix(got, "429") {
		t.Errorf("too many sessions: %s", got)
	}
	if got := Listen(t, s.Addr, "ANZ-2", "presence=ANZ-1,ANZ-3").Refused(); !strings.Contains(got, `"code":"TOO_MANY"`) || !strings.HasPrefix(got, "400") {
		t.Errorf("too many watched: %s", got)
	}
	Listen(t, s.Addr, "ANZ-2", "")
	if got := Listen(t, s.Addr, "ANZ-3", "").Refused(); !strings.Contains(got, `"code":"BUSY"`) || !strings.HasPrefix(got, "503") {
		t.Errorf("too many connections: %s", got)
	}

	first.Close()
	raw := dialTCP(t, s.Addr)
	raw.write([]byte("GET /v1/events?appId=app-id-343&userId=ANZ-1&lastEventId=" + first.Expect("AUTH_CLIENT_REPLY").EventID + " HTTP/1.1\r\nHost: " + s.Addr + "\r\n\r\n"))
	raw.response()
	reload(t, s, path, plainApp+"limits: {eventHeartbeat: 100ms}\n", inEffect)
	raw.write([]byte("\r\n")) // is thrown away
	for line := ""; line != ":\n"; {
		var err error
		if line, err = raw.r.ReadString('\n'); err != nil {
			t.Fatalf("no heartbeat: %v", err)
		}
	}
}

// A client that sends without end, and takes nothing of what comes of it, is
// kept waiting, for a time, and not very often.
func TestFramesWaitWhileTheirSenderTakesNothing(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {queueBytes: 256KiB, framesWaiting: 2, frameTimeout: 200ms, resumeTimeout: 5m}\n")
	bob := Listen(t, s.Addr, "ANZ-2", "")
	bob.Expect("AUTH_CLIENT_REPLY")
	bob.Close()
	awaitMetric(t, s, "switchboard_events_sessions_away", 1)
	// Each is answered with as much.
	frame := `{"type":"MESSAGE","data":{"to":"NOBODY-1","content":1},"reference":"` + strings.Repeat("x", 60_000) + `"}`
	sent := 0
	status, answer := 0, ""
	for status, answer, _ = bob.Do("POST", "/v1/frames", frame); status == http.StatusAccepted && sent < 100; sent++ {
		status, answer, _ = bob.Do("POST", "/v1/frames", frame)
	}
	if status != http.StatusServiceUnavailable || !strings.Contains(answer, `"code":"OVERLOADED"`) || sent > 15 {
		t.Fatalf("after %d frames: %d %s", sent, status, answer)
	}
	var all sync.WaitGroup
	statuses := make(chan int, 8)
	for range cap(statuses) {
		all.Go(func() {
			status, _, _ := bob.Do("POST", "/v1/frames", frame)
			statuses <- status
		})
	}
	all.Wait()
	close(statuses)
	count := map[int]int{}
	for status := range statuses {
		count[status]++
	}
	if count[http.StatusServiceUnavailable] == 0 || count[http.StatusTooManyRequests] == 0 || count[http.StatusAccepted] > 0 {
		t.Errorf("answered with %v", count)
	}

	// Back, it gets what waited, and is heard again.
	again := NewListener(t, s.Addr, "ANZ-2", "lastEventId="+bob.last)
	again.session = bob.session
	go again.run()
	for range sent {
		f := again.Expect("DELIVER_FAILED")
		again.Ack(f.EventID)
	}
	began := time.Now()
	again.Send(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":"heard"}}`)
	for f := again.Next(); f.Type != "MESSAGE"; f = again.Next() {
		if time.Since(began) > Patience {
			t.Fatal(fmt.Sprint("it is not heard: ", f.Type))
		}
	}
}
