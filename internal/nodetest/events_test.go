package nodetest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a client without WebSocket gets, says and is told, through the real
// program.

func TestEventsCarryWhatASocketWould(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	post(t, ann, "ANZ-2", "missed", 0, 2, 10)
	bob := Listen(t, s.Addr, "ANZ-2", "push=true&receipts=true&presence=ANZ-1")
	if reply := bob.Expect("AUTH_CLIENT_REPLY"); reply.Field("isAuthenticated") != "true" || reply.Field("session") != bob.Secret() {
		t.Errorf("the reply is %s", reply.Raw)
	}
	var missed []HeardFrame
	for len(missed) < 2 {
		if f := bob.Next(); f.Type != "USER_CONNECTED" {
			missed = append(missed, f)
		}
	}
	for i, f := range missed {
		if series, n := number(f.Frame); series != "missed" || n != i || f.ID == "" {
			t.Errorf("got %s", f.Raw)
		}
	}
	bob.Ack(missed[1].EventID)
	wantConfirmed(t, ann, "missed", 0, 2)

	bob.Send(`{"type":"MESSAGE","data":{"to":"ANZ-1","content":"hello"},"reference":"r1"}`)
	if f := ann.Expect("MESSAGE"); f.Raw != `{"type":"MESSAGE","data":{"from":"ANZ-2","content":"hello"},"reference":"r1"}` {
		t.Errorf("got %s", f.Raw)
	}
	if f := bob.Expect("MESSAGE_STORED"); f.Field("reference") != "r1" {
		t.Errorf("got %s", f.Raw)
	}
	confirmed := bob.Expect("MESSAGE_CONFIRMATION")
	bob.Send(`{"type":"MESSAGE_ACK","data":{"id":"` + confirmed.ID + `"}}`)
	bob.Send(`{"type":"MESSAGE_ACK","data":{"id":"` + confirmed.ID + `"}}`)
	if f := bob.Expect("GENERAL_ERROR"); f.Field("code") != "UNKNOWN_ID" {
		t.Errorf("got %s", f.Raw)
	}
	bob.Send(`{"type":"MESSAGE","data":{"to":"NOBODY-1","content":1},"reference":"r2"}`)
	if f := bob.Expect("DELIVER_FAILED"); f.Field("code") != "UNKNOWN_APP" || string(f.Reference) != `"r2"` {
		t.Errorf("got %s", f.Raw)
	}
	bob.Send(`{"type":"CLOSE_CONNECTION","data":{"userId":"ANZ-1"}}`)
	bob.Expect("GENERAL_ERROR")
	bob.Send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST"}`)
	bob.Expect("FETCH_MISSING_MESSAGES_COMPLETE")

	if status, answer, err := bob.Do("DELETE", "/v1/events", ""); err != nil || status != http.StatusNoContent {
		t.Errorf("signing out: %d %s %v", status, answer, err)
	}
	if f := bob.Next(); f.Event != "close" || f.Raw != `{"code":1000,"reason":""}` {
		t.Errorf("got %s %s", f.Event, f.Raw)
	}
	Eventually(t, "it does not come back", func() bool { return strings.Contains(bob.Refused(), "SESSION_OVER") })
	awaitSessions(t, s, 1)
	if status, answer, _ := bob.Do("POST", "/v1/frames", `{}`); status != http.StatusUnauthorized || !strings.Contains(answer, "SESSION_UNKNOWN") {
		t.Errorf("a frame after it: %d %s", status, answer)
	}
}

// Content arrives as on a socket, byte for byte, but for CR between tokens, which
// arrives as LF.
func TestContentOnEventsIsWhatWasSent(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	ann, bob, socket := SignIn(t, s, "ANZ-1", ""), Listen(t, s.Addr, "ANZ-2", ""), SignIn(t, s, "ANZ-2", "")
	bob.Expect("AUTH_CLIENT_REPLY")
	const large = 60_000
	contents := []string{
		`"a\nb"`, `{"a":[1, 2 ,3],"a":1}`, `1e400`, `"\ud800"`, `"\u2028"`, "\"\u2028\u0085\ufeff\"", `"data: x"`,
		"[1,\n\r\n2]", "[\n  1,\n   2,\n\t3\n]", "{\r\n \"a\":\r\n  \"b\"\r\n}", "[\n\n\n1\n\n]", "[\r\r\n\n\r1\r]", "[\n \n  \n]", "{\n\"id: 1\"\n:\n\"data: x\"}",
		`"` + strings.Repeat("x", large) + `"`, "[" + strings.Repeat("\n", large) + "]", "[" + strings.Repeat("\r\n", large/2) + "]", "[" + strings.Repeat("0,\n ", large/4) + "0]",
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for range 30 {
		content := []byte("[1")
		for range random.IntN(2000) {
			content = append(content, "\n\n\n\r  \t"[random.IntN(7)])
		}
		contents = append(contents, string(append(content, ",2]"...)))
	}
	for _, content := range contents {
		for _, feature := range []string{"FAST", "RELIABLE"} {
			ann.Send(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":` + content + `},"feature":"` + feature + `"}`)
			want := `{"type":"MESSAGE","data":{"from":"ANZ-1","content":` + content + `}`
			if f := socket.Expect("MESSAGE"); !strings.HasPrefix(f.Raw, want) {
				t.Errorf("the socket got %.100q, not %.100q", f.Raw, want)
			}
			f := bob.Expect("MESSAGE")
			if want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(want); !strings.HasPrefix(f.Raw, want) {
				t.Errorf("the stream got %.100q, not %.100q", f.Raw, want)
			}
			bob.Ack(f.EventID)
		}
	}
	if n := bob.Answers(); n != 1 {
		t.Errorf("it took %d answers", n)
	}
}

func TestAFastMessageIsConfirmedWhenItsEventIsAcknowledged(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	ann, bob := SignIn(t, s, "ANZ-1", ""), Listen(t, s.Addr, "ANZ-2", "")
	bob.Expect("AUTH_CLIENT_REPLY")
	ann.Send(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":1},"feature":"FAST","reference":"r"}`)
	f := bob.Expect("MESSAGE")
	wantNothing(t, "the sender, before the acknowledgement,", ann)
	bob.Ack(f.EventID)
	if f := ann.Expect("MESSAGE_CONFIRMATION"); f.Field("reference") != "r" {
		t.Errorf("got %s", f.Raw)
	}

	// Come back without it, it is sent again; with it, that confirms it.
	ann.Send(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":2},"feature":"FAST","reference":"again"}`)
	bob.Expect("MESSAGE")
	bob.Cut()
	ann.Expect("MESSAGE_CONFIRMATION")
	awaitMetric(t, s, "switchboard_events_resumed_total", 1)
}

// A page that does nothing but listen is a receiver like any other: twice in the
// time that it has it is asked, by the end of its answer, what it has.
func TestABareEventSourceProvesByComingBack(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp, "--set", "limits.ackTimeout=4s")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	bob := Listen(t, s.Addr, "ANZ-2", "push=true")
	bob.Expect("AUTH_CLIENT_REPLY")
	post(t, ann, "ANZ-2", "m", 0, 3, 10)
	ann.Send(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":2},"feature":"FAST","reference":"m 3"}`)
	var confirmed []string // FAST messages are confirmed on another way
	for range 4 {
		if r := ann.Expect("MESSAGE_CONFIRMATION").Field("reference"); r != "m 3" {
			confirmed = append(confirmed, r)
		}
	}
	if !slices.Equal(confirmed, []string{"m 0", "m 1", "m 2"}) {
		t.Errorf("confirmed are %q and m 3", confirmed)
	}
	for i := range 3 {
		if series, n := number(bob.Expect("MESSAGE").Frame); series != "m" || n != i {
			t.Errorf("got %s %d", series, n)
		}
	}
	bob.Expect("MESSAGE")
	if got := s.Metric("switchboard_events_turns_total"); got < 1 || bob.Answers() < 2 {
		t.Errorf("it was had come back %v times, %d answers", got, bob.Answers())
	}
	// Many more than may be unproved.
	const n = 30
	for i := range n {
		send(ann, "ANZ-2", numbered("many", i, 20_000), fmt.Sprint("many ", i))
	}
	for i := range n {
		if series, k := number(bob.Expect("MESSAGE").Frame); series != "many" || k != i {
			t.Fatalf("got %s %d, not %d", series, k, i)
		}
	}
	awaitWaiting(t, s, 0)
	if sessions := s.Metric("switchboard_events_opened_total"); sessions != 1 {
		t.Errorf("it took %v sessions", sessions)
	}
}

// A client that is there and does not acknowledge, whatever it is asked, ends as
// one on a socket does.
func TestAClientThatDoesNotAcknowledgeLosesItsSession(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp, "--set", "limits.ackTimeout=5s")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	bob := NewListener(t, s.Addr, "ANZ-2", "")
	close(bob.done)
	go bob.listen() // and never again
	bob.Expect("AUTH_CLIENT_REPLY")
	post(t, ann, "ANZ-2", "m", 0, 1, 10)
	bob.Expect("MESSAGE")
	awaitSessions(t, s, 2)
	bob.Cut()
	last := bob.last
	// It comes back again and again, and never knows of the message.
	stubborn := NewListener(t, s.Addr, "ANZ-2", "")
	stubborn.last = strings.Split(last, ".")[0] + ".1"
	close(stubborn.done)
	seen := 0
	for stubborn.listen() {
		for {
			f, ok := stubborn.TryNext(0)
			if !ok {
				break
			}
			if f.Event == "close" && f.Raw == `{"code":4008,"reason":"NOT_ACKNOWLEDGED"}` {
				awaitWaiting(t, s, 1)
				if seen < 2 {
					t.Errorf("it was sent the message %d times", seen)
				}
				return
			}
			seen++
		}
		stubborn.last = strings.Split(last, ".")[0] + ".1"
	}
	t.Fatalf("refused with %s", stubborn.Refused())
}

func TestASessionEndsWhenItsClientStaysAway(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp, "--set", "limits.resumeTimeout=1s")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true,"presence":["ANZ-2"]}`)
	bob := Listen(t, s.Addr, "ANZ-2", "push=true")
	ann.Expect("USER_CONNECTED")
	bob.Expect("AUTH_CLIENT_REPLY")
	post(t, ann, "ANZ-2", "m", 0, 2, 10)
	bob.Expect("MESSAGE")
	bob.Expect("MESSAGE")
	bob.Close()
	ann.Expect("USER_DISCONNECTED")
	awaitWaiting(t, s, 2)
	again := Listen(t, s.Addr, "ANZ-2", "push=true&lastEventId="+bob.last)
	again.Expect("AUTH_CLIENT_REPLY") // a new session, which has them again
	for i := range 2 {
		f := again.Expect("MESSAGE")
		if series, n := number(f.Frame); series != "m" || n != i {
			t.Errorf("got %s", f.Raw)
		}
	}
}

// A page that is loaded again says nothing of the session that it had. It gets in
// however often it is, and gets again what it did not acknowledge.
func TestQuickReloadsDoNotLockAUserOut(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp, "--set", "limits.sessionsPerUser=3")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	post(t, ann, "ANZ-2", "m", 0, 1, 10)
	for range 12 {
		page := Listen(t, s.Addr, "ANZ-2", "push=true")
		page.Expect("AUTH_CLIENT_REPLY")
		if series, n := number(page.Expect("MESSAGE").Frame); series != "m" || n != 0 {
			t.Fatalf("got %s %d", series, n)
		}
		page.Close()
	}
	awaitWaiting(t, s, 1)
	awaitMetric(t, s, "switchboard_events_sessions_away", 3)
	for range 3 {
		Listen(t, s.Addr, "ANZ-2", "").Expect("AUTH_CLIENT_REPLY")
	}
	if got := Listen(t, s.Addr, "ANZ-2", "").Refused(); !strings.Contains(got, "ANZ-2 has 3 sessions already") {
		t.Errorf("one too many: %s", got)
	}
	res, err := http.Get("http://" + s.Addr + "/v1/events?appId=app-id-343&userId=ANZ-2")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	// Until then a client that went without a word is found out.
	if got := res.Header.Get("Retry-After"); got != "25" {
		t.Errorf("to come back after %q seconds", got)
	}
}

func TestTwoPagesWithTheSameURLAreTwoSessions(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	ann := SignIn(t, s, "ANZ-1", "")
	one, two := Listen(t, s.Addr, "ANZ-2", ""), Listen(t, s.Addr, "ANZ-2", "")
	if one.Secret() == two.Secret() {
		t.Error("they are one session")
	}
	ann.Message("ANZ-2", "hello", `"reference":"r"`)
	for _, l := range []*Listener{one, two} {
		l.Expect("AUTH_CLIENT_REPLY")
		f := l.Expect("MESSAGE")
		l.Ack(f.EventID)
		if status, _, _ := l.Do("POST", "/v1/events/acks", `{"id":"`+one.last+`"}`); (status == http.StatusNoContent) != (l == one) {
			t.Errorf("an event of the other: %d", status)
		}
	}
	ann.Expect("MESSAGE_CONFIRMATION")
}

// A second answer takes over; the first, which did not know that it was cut off,
// ends.
func TestAnAnswerTakesOverFromTheOneBefore(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	ann, bob := SignIn(t, s, "ANZ-1", ""), Listen(t, s.Addr, "ANZ-2", "")
	reply := bob.Expect("AUTH_CLIENT_REPLY")
	second := NewListener(t, s.Addr, "ANZ-2", "lastEventId="+reply.EventID)
	go second.run()
	awaitMetric(t, s, "switchboard_events_taken_over_total", 1)
	ann.Message("ANZ-2", "hello", "")
	Eventually(t, "one of them gets it", func() bool { // they take it from each other, as both come back
		for _, l := range []*Listener{bob, second} {
			if f, ok := l.TryNext(0); ok && f.Type == "MESSAGE" {
				return true
			}
		}
		return false
	})
	if n := s.Metric("switchboard_events_sessions"); n != 1 {
		t.Errorf("%v sessions", n)
	}
}

func TestAKickedClientDoesNotComeBack(t *testing.T) {
	t.Parallel()
	s := Start(t)
	master := SignIn(t, s, "ANZ-123223", "")
	bob := Listen(t, s.Addr, "ANZ-2", "")
	bob.Expect("AUTH_CLIENT_REPLY")
	master.Send(`{"type":"CLOSE_CONNECTION","data":{"userId":"ANZ-2"}}`)
	if f := bob.Next(); f.Event != "close" || f.Raw != `{"code":4003,"reason":"CLOSED_BY_MASTER"}` {
		t.Errorf("got %s %s", f.Event, f.Raw)
	}
	Eventually(t, "it is told so", func() bool { return strings.Contains(bob.Refused(), `"closeCode":4003`) })
	if got := bob.Refused(); !strings.HasPrefix(got, "410") {
		t.Errorf("refused with %s", got)
	}
	Listen(t, s.Addr, "ANZ-2", "").Expect("AUTH_CLIENT_REPLY") // a person may
}

func TestAStopDrainsStreams(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	bob := Listen(t, s.Addr, "ANZ-2", "")
	bob.Expect("AUTH_CLIENT_REPLY")
	ann := SignIn(t, s, "ANZ-1", "")
	ann.Message("ANZ-2", "hello", "")
	bob.Expect("MESSAGE")
	began := time.Now()
	if code := s.Stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Output())
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %s", took)
	}
	bob.Expect("RECONNECT")
	if f := bob.Next(); f.Event != "close" || f.Raw != `{"code":1012,"reason":"RESTART"}` {
		t.Errorf("got %s %s", f.Event, f.Raw)
	}
	s.Start()
	bob.Expect("AUTH_CLIENT_REPLY") // it has come back, to a new session
}
