package api

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	nodes "github.com/seed-3d8c1042/switchboard/internal/members"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestANodeThatIsStartingLivesAndSaysWhatItWaitsFor(t *testing.T) {
	o, c := options(), newTwoNodes()
	c.list[0].Status, c.list[0].Reason = nodes.Joining, "waiting for node2"
	o.Cluster = c
	public, admin, control := Starting(o, func(bool) string { return "waiting for node2" })
	for _, h := range []http.Handler{public, admin, control} {
		wantStatus(t, h, 200, "GET", "/healthz")
		if text := wantStatus(t, h, 503, "GET", "/readyz"); !strings.Contains(text, `"reason":"the node is starting: waiting for node2"`) {
			t.Error(text)
		}
		for _, path := range []string{"/", "/ws", "/metrics", "/v1", "/v1/users", "/v1/events", "/console.json", "/nothing"} {
			wantProblem(t, h, 503, wire.CodeBusy, "GET", path)
			if a, text := ask(t, h, "GET", path); a.Header.Get("Retry-After") != "5" || !strings.Contains(text, "the server is starting: waiting for node2") {
				t.Errorf("%s: Retry-After %q, %s", path, a.Header.Get("Retry-After"), text)
			}
		}
		wantProblem(t, h, 503, wire.CodeBusy, "POST", "/v1/messages")
	}
	// Who may see the nodes later may now, too.
	for h, path := range map[http.Handler]string{admin: "/cluster", control: "/v1/cluster"} {
		if text := wantStatus(t, h, 200, "GET", path); !strings.Contains(text, `"status":"joining"`) || !strings.Contains(text, `"reason":"waiting for node2"`) {
			t.Error(text)
		}
	}
	wantStatus(t, public, 503, "GET", "/cluster")
	wantStatus(t, public, 503, "GET", "/v1/cluster")
	wantStatus(t, admin, 503, "GET", "/v1/cluster")
}

// Where its neighbours and servers are is not for strangers.
func TestWhyAStartTakesTimeIsForOperatorsOnly(t *testing.T) {
	public, admin, control := Starting(options(), func(operator bool) string {
		if operator {
			return "waiting: http://10.0.0.5 is away"
		}
		return "waiting"
	})
	for _, path := range []string{"/readyz", "/", "/v1/users"} {
		for h, want := range map[http.Handler]bool{public: false, admin: true, control: true} {
			if _, text := ask(t, h, "GET", path); strings.Contains(text, "10.0.0.5") != want || !strings.Contains(text, "starting: waiting") {
				t.Errorf("%s: %s", path, text)
			}
		}
	}
}

func TestAServerGoesOnWithTheHandlerThatItIsSwitchedTo(t *testing.T) {
	o := options()
	public, _, _ := Starting(o, func(bool) string { return "reading" })
	var server *Server
	addr, _ := serve(t, o, func(s *Server) { server = s; s.Switch(public) })
	c := dial(t, addr)
	get := func(want string) {
		t.Helper()
		send(t, c, "GET /console.json HTTP/1.1\r\nHost: x\r\n\r\n")
		if line := firstLine(t, c); !strings.HasPrefix(line, want) {
			t.Errorf("it said %q, not %s", line, want)
		}
	}
	get("HTTP/1.1 503 ")
	server.Switch(NewPublic(o))
	get("HTTP/1.1 200 ")
}

func TestAnEventSourceGetsNoAnswerFromANodeThatIsStartingForItWouldGiveUp(t *testing.T) {
	public, _, _ := Starting(options(), func(bool) string { return "reading" })
	addr, _ := serve(t, options(), func(s *Server) { s.Switch(public) })
	c := dial(t, addr)
	send(t, c, "GET /v1/events?appId=a&userId=b HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
	if said := wantClosed(t, c); said != "" {
		t.Errorf("it said %q", said)
	}
	wantProblem(t, public, 503, wire.CodeBusy, "GET", "/v1/events")
}

// firstLine returns the first line of an answer that comes in one piece.
func firstLine(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 8<<10)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b[:n]), "\r\n")
	return line
}

func TestANodeThatHasLostTouchRefusesWhatItCannotDoAndShowsHowItStands(t *testing.T) {
	x, c := meeting(t)
	var lost error
	x.v1.opts.Away = func() error { return lost }
	key := x.key("")
	lost = errors.New("this node has lost touch")
	var here int
	for _, call := range x.v1.calls {
		path := strings.NewReplacer("{userId}", "ANZ-7", "{id}", "x", "{name}", "x").Replace(call.Path)
		switch {
		case call.Here && call.Stream:
			here++
		case call.Here:
			here++
			if a, text := ask(t, x.h, call.Method, path, with(key)); a.StatusCode != 200 {
				t.Errorf("%s: %d %s", path, a.StatusCode, text)
			}
		default:
			wantProblem(t, x.h, 503, wire.CodeStoreDown, call.Method, path, with(key))
			if a, text := ask(t, x.h, call.Method, path); a.Header.Get("Retry-After") != "5" || !strings.Contains(text, "this node has lost touch; ask another node") {
				t.Errorf("%s: Retry-After %q, %s", path, a.Header.Get("Retry-After"), text)
			}
		}
	}
	if here != 9 {
		t.Errorf("%d calls are about the node alone", here)
	}
	c.mu.Lock()
	c.list[0].Status, c.list[0].Reason = nodes.Unreachable, lost.Error()
	c.mu.Unlock()
	if _, text := ask(t, x.h, "GET", "/v1/cluster", with(key)); !strings.Contains(text, `"status":"unreachable"`) || !strings.Contains(text, `"reason":"this node has lost touch","self":true`) {
		t.Error(text)
	}
	lost = nil
	if a, text := ask(t, x.h, "GET", "/v1/keys", with(x.key(""))); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, text)
	}
}
