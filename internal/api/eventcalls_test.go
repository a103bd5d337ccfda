package api

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/internal/events"
	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// listeners is what tests of events stand on: real streams and answers, and
// sessions that the test plays.
type listeners struct {
	*world
	mu       sync.Mutex
	refuse   string // the answer to a sign-in, in place of a good one
	sessions []*played
	limits   EventLimits
	write    time.Duration
}

// played is a session: what it is told, it notes.
type played struct {
	x    *listeners
	far  *events.Stream
	user wire.UserID
	busy bool
	told chan string
	said atomic.Bool // far was told of the end
	over atomic.Bool
}

func newListeners(t *testing.T) *listeners {
	t.Helper()
	x := &listeners{world: newWorld(t), limits: EventLimits{Frame: 1000, Receivers: 2, Unanswered: 10 * time.Second, Heartbeat: 15 * time.Second}, write: 10 * time.Second}
	streams, err := events.New(events.Options{Open: x.open, Limits: func() events.Limits {
		return events.Limits{Write: x.write, Resume: time.Minute, Frames: 4, Frame: 100 * time.Millisecond}
	}})
	if err != nil {
		t.Fatal(err)
	}
	calls := NewEvents(events.NewExchange(streams, nil), func() EventLimits { return x.limits })
	x.v1.calls = Calls(Rooms{Keys: x.ring, Apps: someApps{"ANZ"}, Events: calls})
	o := options()
	o.MaxBody = func() int64 { return 10_000 }
	o.V1 = x.v1
	o.Origin = func(r *http.Request) bool { return OriginAllowed(r, []string{"https://app.example"}, false) }
	x.h = NewPublic(o)
	t.Cleanup(calls.Wait)
	return x
}

func (x *listeners) open(address string, far *events.Stream) (events.Pipe, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := &played{x: x, far: far, told: make(chan string, 1000)}
	x.sessions = append(x.sessions, s)
	s.told <- "open " + address
	return s, nil
}

// last returns the newest session.
func (x *listeners) last() *played {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sessions[len(x.sessions)-1]
}

func (s *played) User() wire.UserID { return s.user }

func (s *played) Text(ctx context.Context, frame []byte) error {
	s.x.mu.Lock()
	refuse, busy := s.x.refuse, s.busy
	s.x.mu.Unlock()
	s.told <- "text " + string(frame)
	f, _ := wire.ParseFrame(frame)
	switch {
	case busy:
		<-ctx.Done()
		return errors.New("no room")
	case f.Type == wire.TypeAuthClient && refuse != "":
		s.far.Text([]byte(refuse))
	case f.Type == wire.TypeAuthClient:
		a, err := wire.ParseAuth(f.Data)
		if err != nil {
			s.far.Text(wire.AppendFailure(nil, err, nil))
			break
		}
		s.user = a.User
		s.far.Text(wire.AppendAuthReply(nil, a.AppID, a.UserText, true, "", ""))
	}
	s.far.Through()
	return nil
}

func (s *played) Pong(number uint64)          { s.told <- fmt.Sprintf("pong %d", number) }
func (s *played) Acknowledge(id wire.ID) bool { s.told <- "ack " + id.String(); return true }
func (s *played) Away(away bool)              { s.told <- fmt.Sprintf("away %t", away) }

// Close ends the session as a pipe does.
func (s *played) Close(code uint16) {
	s.told <- fmt.Sprintf("close %d", code)
	s.end(code)
	if s.over.CompareAndSwap(false, true) {
		s.far.Gone()
	}
}

// end ends the session from its side. It is closed when its client was told.
func (s *played) end(code uint16) {
	if s.said.CompareAndSwap(false, true) {
		s.far.Closed(code, "")
	}
}

// expect waits until the session was told something.
func (s *played) expect(want string) {
	s.x.t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		select {
		case got := <-s.told:
			if got == want {
				return
			}
		case <-deadline:
			s.x.t.Fatalf("the session was not told %q", want)
		}
	}
}

// has hands the client a FAST frame.
func (s *played) has(content string) {
	s.far.Text(wire.AppendMessage(nil, "ANZ-9", []byte(content), nil))
	s.far.Through()
}

const listenPath = "/v1/events?appId=app-id-343&userId=ANZ-7"

// protocols are the ways in which a client may reach the server, where an answer
// that is no stream may take so long; 0: as long as it likes.
func protocols(t *testing.T, h http.Handler, answers time.Duration) map[string]*httptest.Server {
	t.Helper()
	servers := map[string]*httptest.Server{}
	for _, name := range []string{"HTTP/1.1", "HTTP/1.1 over TLS", "HTTP/2"} {
		web := httptest.NewUnstartedServer(h)
		web.Config.WriteTimeout = answers
		switch name {
		case "HTTP/1.1":
			web.Start()
		case "HTTP/2":
			web.EnableHTTP2 = true
			web.StartTLS()
		default:
			web.StartTLS()
		}
		t.Cleanup(web.Close)
		servers[name] = web
	}
	return servers
}

// listen asks for events until ctx ends.
func listen(t *testing.T, ctx context.Context, web *httptest.Server, more string) (*http.Response, *nodetest.EventReader) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", web.URL+listenPath+more, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := web.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer, nodetest.NewEventReader(answer.Body)
}

func next(t *testing.T, r *nodetest.EventReader) nodetest.Event {
	t.Helper()
	e, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEventsOverEveryProtocol(t *testing.T) {
	const answers = 500 * time.Millisecond
	x := newListeners(t)
	for name, web := range protocols(t, x.h, answers) {
		t.Run(name, func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			answer, r := listen(t, ctx, web, "")
			if answer.StatusCode != 200 || !strings.HasPrefix(name, answer.Proto[:6]) {
				t.Fatalf("%s %s", answer.Proto, answer.Status)
			}
			for header, want := range map[string]string{
				"Content-Type": "text/event-stream", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no",
				"X-Content-Type-Options": "nosniff", "Vary": "Origin", "Content-Length": "",
			} {
				if got := answer.Header.Get(header); got != want {
					t.Errorf("%s is %q", header, got)
				}
			}
			if date, err := http.ParseTime(answer.Header.Get("Date")); err != nil || time.Since(date) > time.Minute {
				t.Errorf("dated %q", answer.Header.Get("Date"))
			}
			first := next(t, r)
			if !strings.Contains(first.Data, `"session":"`) || r.Retry == "" {
				t.Errorf("begins with %q", first)
			}
			s := x.last()
			s.expect("away false")
			for began := time.Now(); time.Since(began) < answers*3/2; { // longer than the server's other answers may take
				s.has(`"hello"`)
				if e := next(t, r); e.Data != `{"type":"MESSAGE","data":{"from":"ANZ-9","content":"hello"}}` {
					t.Fatalf("got %q", e)
				}
			}
			s.far.Ping(1, false)
			s.far.Through()
			s.expect("pong 1")

			// Another takes over: this one ends as it should.
			second, r2 := listen(t, t.Context(), web, "&lastEventId="+first.ID)
			if _, err := r.Next(); err != io.EOF && name != "HTTP/2" {
				t.Errorf("the first ends with %v", err)
			}
			if e := next(t, r2); e.Data != `{"type":"MESSAGE","data":{"from":"ANZ-9","content":"hello"}}` || r.Comments != 1 {
				t.Errorf("got %q", e)
			}
			second.Body.Close() // the client goes
			s.expect("away true")
			s.end(wire.CloseNormal)
		})
	}
}

func TestAnAnswerThatEndsIsReadToItsEnd(t *testing.T) {
	x := newListeners(t)
	for name, web := range protocols(t, x.h, 0) {
		_, r := listen(t, t.Context(), web, "")
		next(t, r)
		s := x.last()
		long := `"` + strings.Repeat("x", 100_000) + `"`
		s.far.Text(wire.AppendMessage(nil, "ANZ-9", []byte(long), nil))
		s.end(wire.CloseByMaster)
		if e := next(t, r); len(e.Data) < len(long) {
			t.Errorf("%s: got %d bytes", name, len(e.Data))
		}
		if e := next(t, r); e.Event != "close" || e.Data != `{"code":4003,"reason":""}` {
			t.Errorf("%s: got %q", name, e)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: ends with %v", name, err)
		}
	}
}

// A client that does not read is given up in time, whatever it is reached by,
// and while it is not, it holds up nobody who would end its session.
func TestAClientThatDoesNotReadIsGivenUp(t *testing.T) {
	x := newListeners(t)
	x.write = 200 * time.Millisecond
	for name, web := range protocols(t, x.h, 0) {
		t.Run(name, func(t *testing.T) {
			config := &tls.Config{InsecureSkipVerify: true}
			var conn net.Conn
			var err error
			switch name {
			case "HTTP/1.1":
				conn, err = net.Dial("tcp", web.Listener.Addr().String())
			case "HTTP/1.1 over TLS":
				conn, err = tls.Dial("tcp", web.Listener.Addr().String(), config)
			case "HTTP/2": // whose library reads into a window of its own
				answer, r := listen(t, t.Context(), web, "")
				next(t, r)
				defer answer.Body.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			if conn != nil {
				defer conn.Close()
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", listenPath)
				if _, err := bufio.NewReaderSize(conn, 16).ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			s := x.last()
			s.expect("away false")
			long := `"` + strings.Repeat("x", 60_000) + `"`
			var writing sync.WaitGroup
			writing.Go(func() {
				for !s.over.Load() {
					s.has(long)
				}
			})
			s.expect("away true")
			s.end(wire.CloseNormal)
			writing.Wait()
		})
	}
}

func TestEventsOverHTTP10(t *testing.T) {
	x := newListeners(t)
	web := httptest.NewServer(x.h)
	defer web.Close()
	conn, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", listenPath)
	br := bufio.NewReader(conn)
	answer, err := http.ReadResponse(br, nil)
	if err != nil || answer.StatusCode != 200 {
		t.Fatal(err, answer)
	}
	if e := next(t, nodetest.NewEventReader(br)); !strings.Contains(e.Data, "AUTH_CLIENT_REPLY") {
		t.Errorf("got %q", e)
	}
	fmt.Fprint(conn, strings.Repeat("what nobody asked for\r\n", 10_000)) // is thrown away
	conn.Close()
	x.last().expect("away true")
	x.last().end(wire.CloseNormal)
}

func TestASignInIsRefusedBeforeTheStreamBegins(t *testing.T) {
	x := newListeners(t)
	for _, c := range []struct {
		answer string
		status int
		code   string
	}{
		{`{"type":"AUTH_CLIENT_REPLY","data":{"isAuthenticated":false,"code":"BAD_TOKEN","reason":"the token is not signed"}}`, 401, "BAD_TOKEN"},
		{`{"type":"AUTH_CLIENT_REPLY","data":{"isAuthenticated":false,"code":"REFUSED","reason":"no"}}`, 401, "REFUSED"},
		{`{"type":"AUTH_CLIENT_REPLY","data":{"isAuthenticated":false,"code":"TOO_MANY_SESSIONS","reason":"no"}}`, 429, "TOO_MANY_SESSIONS"},
		{`{"type":"AUTH_CLIENT_REPLY","data":{"isAuthenticated":false,"code":"HOOK_FAILED","reason":"no"}}`, 502, "HOOK_FAILED"},
		{`{"type":"AUTH_CLIENT_REPLY","data":{"isAuthenticated":false,"code":"BUSY","reason":"no"}}`, 503, "BUSY"},
		{`{"type":"GENERAL_ERROR","data":{"code":"TOO_MANY","reason":"no"}}`, 400, "TOO_MANY"},
		{`{"type":"AUTH_CLIENT_REPLY","data":{"isAuthenticated":false,"code":"BAD_USER_ID","reason":"no"}}`, 401, "BAD_USER_ID"},
		{`{"type":"AUTH_CLIENT_REPLY","data":{"isAuthenticated":false,"code":"WRONG_APP_ID","reason":"no"}}`, 401, "WRONG_APP_ID"},
	} {
		x.refuse = c.answer
		p := x.refused(c.status, c.code, "GET", listenPath)
		parameter, _ := p["field"].(string)
		if want := map[string]string{"TOO_MANY": "presence", "BAD_USER_ID": "userId", "WRONG_APP_ID": "appId"}[c.code]; parameter != want {
			t.Errorf("%s is said to be of %q", c.code, parameter)
		}
		answer, _ := ask(t, x.h, "GET", listenPath)
		if asks := answer.Header.Get("WWW-Authenticate") != ""; asks != (c.status == 401) {
			t.Errorf("%s asks for a token: %t", c.code, asks)
		}
		if again := answer.Header.Get("Retry-After") != ""; again != (c.status == 429 || c.status == 503) {
			t.Errorf("%s may be tried again: %t", c.code, again)
		}
	}
}

func TestWhatAURLOfEventsMaySay(t *testing.T) {
	x := newListeners(t)
	const path = "/v1/events"
	for _, c := range []struct{ query, field string }{
		{"", "appId"}, {"?appId=a", "userId"}, {"?userId=ANZ-7", "appId"}, {"?appId=&userId=", "appId"},
		{"?appId=a&userId=ANZ-7&userId=ANZ-8", "userId"}, {"?appId=a&userId=ANZ-7&push=1", "push"}, {"?appId=a&userId=ANZ-7&push=", "push"},
		{"?appId=a&userId=ANZ-7&precense=ANZ-8", "precense"}, {"?appId=a&userId=ANZ-7&ack=false", "ack"}, {"?appid=a&userId=ANZ-7", "appid"},
		{"?appId=a&userId=ANZ-7&presence=bob", "presence"}, {"?appId=a&userId=ANZ-7&presence=ANZ-8,,", "presence"},
		{"?appId=a&userId=ANZ-7&producer=a%20b", "producer"},
	} {
		if p := x.refused(400, CodeInvalidRequest, "GET", path+c.query); p["field"] != c.field {
			t.Errorf("%s: %v", c.query, p)
		}
	}
	x.refused(400, CodeInvalidRequest, "GET", listenPath+"&token=%zz")
	x.refused(400, CodeInvalidRequest, "GET", listenPath+"&token=t", header("Authorization", "Bearer t"))
	x.refused(401, CodeAuthRequired, "GET", listenPath, header("Authorization", "Basic dDp0"))
	x.refused(401, CodeAuthRequired, "GET", listenPath, header("Authorization", "Bearer a"), header("Authorization", "Bearer b"))
	x.refused(400, CodeInvalidRequest, "GET", listenPath, body(`{}`))
	x.refused(405, CodeWrongMethod, "PUT", path)
	x.refused(405, CodeWrongMethod, "GET", "/v1/frames")
	// A look at a URL signs nobody in.
	if answer, _ := ask(t, x.h, "HEAD", listenPath); answer.StatusCode != 405 || answer.Header.Get("Allow") != "DELETE, GET" {
		t.Errorf("HEAD is answered with %s, and allowed is %s", answer.Status, answer.Header.Get("Allow"))
	}
	x.refused(403, CodeOriginRefused, "GET", listenPath, header("Origin", "https://evil.example"))
	if n := len(x.sessions); n != 0 {
		t.Fatalf("%d sessions were opened", n)
	}

	web := httptest.NewServer(x.h)
	defer web.Close()
	for query, want := range map[string]string{
		"&receipts=true&producer=phone-1":                    `{"appId":"app-id-343","options":{"ack":true,"producer":"phone-1","push":false,"receipts":true},"token":"","userId":"ANZ-7"}`,
		"&token=a%20b%22&receipts=true&presence=ANZ-8,ANZ-9": `{"appId":"app-id-343","options":{"ack":true,"presence":["ANZ-8","ANZ-9"],"push":false,"receipts":true},"token":"a b\"","userId":"ANZ-7"}`,
		"&push=true&lastEventId=%00%ff%0a":                   `{"appId":"app-id-343","options":{"ack":true,"push":true,"receipts":false},"token":"","userId":"ANZ-7"}`,
		"&lastEventId=" + strings.Repeat("x", 5000):          `{"appId":"app-id-343","options":{"ack":true,"push":false,"receipts":false},"token":"","userId":"ANZ-7"}`,
	} {
		ctx, leave := context.WithCancel(t.Context())
		answer, r := listen(t, ctx, web, query)
		if answer.StatusCode != 200 {
			t.Fatal(answer.Status)
		}
		next(t, r)
		x.last().expect(`text {"data":` + want + `,"type":"AUTH_CLIENT"}`)
		leave()
		x.last().expect("away true")
		x.last().end(wire.CloseNormal)
	}
}

// speak opens a stream and returns its session's secret and first event.
func (x *listeners) speak(t *testing.T) (s *played, secret, first string) {
	t.Helper()
	web := httptest.NewServer(x.h)
	t.Cleanup(web.Close)
	_, r := listen(t, t.Context(), web, "")
	e := next(t, r)
	var reply struct{ Data struct{ Session string } }
	if err := json.Unmarshal([]byte(e.Data), &reply); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.last().end(wire.CloseNormal) })
	return x.last(), reply.Data.Session, e.ID
}

const goodFrame = `{"type":"MESSAGE","data":{"to":"ANZ-1","content":1}}`

func TestRequestsOfASession(t *testing.T) {
	x := newListeners(t)
	s, secret, first := x.speak(t)
	for _, call := range []struct{ method, path, good string }{
		{"POST", "/v1/events/acks", `{"id":"` + first + `"}`}, {"POST", "/v1/frames", goodFrame}, {"DELETE", "/v1/events", ""},
	} {
		send := func(change ...func(*http.Request)) []func(*http.Request) {
			if call.good != "" {
				change = append(change, body(call.good))
			}
			return change
		}
		x.refused(401, CodeAuthRequired, call.method, call.path, send()...)
		x.refused(401, CodeAuthRequired, call.method, call.path, send(header("Authorization", secret))...)
		if p := x.refused(400, CodeInvalidRequest, call.method, call.path, send(with(secret), header(onceHeader, "k"))...); p["field"] != onceHeader {
			t.Errorf("%v", p)
		}
		for _, wrong := range []string{"", "x", first, secret + "x", secret[:len(secret)-1] + "!", strings.Repeat("A", len(secret)), "sb_" + secret} {
			p := x.refused(401, CodeSessionUnknown, call.method, call.path, send(with(wrong))...)
			if said := fmt.Sprint(p); strings.Contains(said, "sb_") || strings.Contains(said, "API key") != strings.HasPrefix(wrong, "sb_") {
				t.Errorf("%s: %v", wrong, p)
			}
		}
	}
	const acks, frames = "/v1/events/acks", "/v1/frames"
	for _, bad := range []string{`{"id":"x"}`, `{"id":"` + first + `1"}`, `{"id":""}`, `{}`, `{"id":1}`, `{"id":"` + first + `","more":1}`, `[]`, `x`, ``} {
		x.refused(400, CodeInvalidRequest, "POST", acks, with(secret), body(bad))
	}
	for bad, want := range map[string]string{"01a2155c-d1f2-76e4-bf9a-4187b5d07f95": "is a message's", "x": "its line id:"} {
		if p := x.refused(400, CodeInvalidRequest, "POST", acks, with(secret), body(`{"id":"`+bad+`"}`)); p["field"] != "id" || !strings.Contains(p["detail"].(string), want) {
			t.Errorf("%v", p)
		}
	}
	x.refused(415, CodeMediaType, "POST", acks, with(secret), body(`{"id":"`+first+`"}`), func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") })
	wantStatus(t, x.h, 204, "POST", acks, with(secret), body(`{"id":"`+first+`"}`))

	for code, bad := range map[string]string{
		"NOT_JSON": `{"type":`, "UNKNOWN_TYPE": `{"type":"MESSAGE_CONFIRMATION"}`, "MISSING_FIELD": `{"data":{}}`,
		"BAD_FIELD": `{"type":"MESSAGE","reference":1}`, "TOO_DEEP": `{"type":"MESSAGE","data":` + strings.Repeat("[", 600) + strings.Repeat("]", 300) + `}`,
	} {
		if code == "TOO_DEEP" {
			x.limits.Frame = 5000
		}
		x.refused(400, code, "POST", frames, with(secret), body(bad))
	}
	x.refused(400, "NOT_JSON", "POST", frames, with(secret), body("{\"type\":\"MESSAGE\",\"data\":\"\xff\"}"))
	for bad, want := range map[string]string{
		`{"type":"MESSAGE","data":{"to":"ANZ-1"}}`: "data.content", `{"type":"MESSAGE","data":{"to":"bob","content":1}}`: "data.to",
		`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-1","ANZ-2","ANZ-3"],"content":1}}`: "data.to", `{"type":"MESSAGE","ttl":"1"}`: "ttl",
	} {
		answer, said := ask(t, x.h, "POST", frames, with(secret), body(bad))
		if answer.StatusCode != 400 || !strings.Contains(said, `"field":"`+want+`"`) {
			t.Errorf("%s: %s %s", bad, answer.Status, said)
		}
	}
	x.refused(413, CodeBodyTooLarge, "POST", frames, with(secret), body(`{"type":"MESSAGE","data":"`+strings.Repeat("x", 5000)+`"}`))
	const twice = `{"type":"MESSAGE","data":{"to":"ANZ-1","content":{"a":1,"a":[ 2]}}}` // which the socket takes, too
	wantStatus(t, x.h, 202, "POST", frames, with(secret), body(twice))
	s.expect("text " + twice)
	x.mu.Lock()
	s.busy = true
	x.mu.Unlock()
	x.refused(503, wire.CodeOverloaded, "POST", frames, with(secret), body(goodFrame))

	wantStatus(t, x.h, 204, "DELETE", "/v1/events", with(secret))
	s.expect("close 1000")
	x.refused(401, CodeSessionUnknown, "DELETE", "/v1/events", with(secret))
	x.refused(410, CodeSessionOver, "GET", listenPath, header("Last-Event-ID", first))
}

func TestTooManyFramesOfASessionWait(t *testing.T) {
	x := newListeners(t)
	s, secret, _ := x.speak(t)
	x.mu.Lock()
	s.busy = true
	x.mu.Unlock()
	statuses := make(chan int, 8)
	for range cap(statuses) {
		go func() {
			answer, _ := ask(t, x.h, "POST", "/v1/frames", with(secret), body(goodFrame))
			statuses <- answer.StatusCode
		}()
	}
	count := map[int]int{}
	for range cap(statuses) {
		count[<-statuses]++
	}
	if count[429] == 0 || count[503] == 0 || count[429]+count[503] != cap(statuses) {
		t.Errorf("answered with %v", count)
	}
}

func TestPagesOfOtherOriginsMayListenIfTheyAreNamed(t *testing.T) {
	x := newListeners(t)
	page := header("Origin", "https://app.example")
	answer, _ := ask(t, x.h, "OPTIONS", "/v1/events/acks", page, header("Access-Control-Request-Method", "POST"), header("Access-Control-Request-Headers", "authorization,content-type"))
	if answer.StatusCode != 204 || !strings.Contains(answer.Header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("%d %v", answer.StatusCode, answer.Header)
	}
	web := httptest.NewServer(x.h)
	defer web.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", web.URL+listenPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://app.example")
	stream, err := web.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.Header.Get("Access-Control-Allow-Origin"); got != "https://app.example" {
		t.Errorf("the stream is for %q", got)
	}
	stream.Body.Close()
	x.last().expect("away true")
	x.last().end(wire.CloseNormal)
	nodetest.Eventually(t, "the answer is counted", func() bool {
		return testutil.ToFloat64(x.h.(*door).counters.requests.WithLabelValues("public", "200")) == 1
	})
}
