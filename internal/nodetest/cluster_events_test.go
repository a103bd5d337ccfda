package nodetest

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// A client without WebSocket needs no node in particular: what it sends goes to any,
// and cut off it goes on at any, in the session that it has.
func TestEventsNeedNoNodeInParticular(t *testing.T) {
	Alone(t, ReasonOwn)
	t.Parallel()
	c := StartCluster(t, 3, nil)
	one, two, three := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	ann := SignIn(t, two, "ANZ-1", `{"receipts":true}`)
	bob := Listen(t, one.Addr, "ANZ-2", "push=true")
	bob.Expect("AUTH_CLIENT_REPLY")

	// goesOn has bob come back to another node.
	goesOn := func(node *Server) {
		next := NewListener(t, node.Addr, "ANZ-2", "push=true")
		next.last, next.session = bob.last, bob.session
		bob.Close()
		bob = next
		go bob.run()
		Eventually(t, "the client is at another node", func() bool { return node.Metric("switchboard_events_elsewhere") == 1 })
	}
	for i, node := range []*Server{two, three} {
		bob.addr = node.Addr
		post(t, ann, "ANZ-2", "any", i, i+1, 10)
		f := bob.Expect("MESSAGE")
		bob.Ack(f.EventID)
		wantConfirmed(t, ann, "any", i, i+1)
		bob.Send(`{"type":"MESSAGE","data":{"to":"ANZ-1","content":"hello"},"reference":"r"}`)
		if f := ann.Expect("MESSAGE"); f.Field("from") != "ANZ-2" {
			t.Errorf("got %s", f.Raw)
		}
		if f := bob.Expect("MESSAGE_CONFIRMATION"); f.Field("reference") != "r" {
			t.Errorf("got %s", f.Raw)
		} else {
			bob.Ack(f.EventID)
		}
		if status, answer, err := bob.Do("POST", "/v1/frames", `{"type":"NONE"}`); err != nil || status != http.StatusBadRequest {
			t.Errorf("a frame that is none: %d %s %v", status, answer, err)
		}
	}

	// What came while it was away waits at its own node, FAST messages too.
	series := func(first int) {
		t.Helper()
		for i := range 4 {
			f := bob.Expect("MESSAGE")
			if s, n := number(f.Frame); s != "away" || n != first+i {
				t.Errorf("got %s %d, not %d", s, n, first+i)
			}
		}
	}
	bob.Close()
	awaitMetric(t, one, "switchboard_events_sessions_away", 1)
	kept := one.Metric("switchboard_events_sent_total")
	for i := range 4 {
		feature := []string{"RELIABLE", "FAST"}[i%2]
		ann.Message("ANZ-2", numbered("away", i, 10), `"feature":"`+feature+`","confirmationEnabled":false`)
		awaitMetric(t, one, "switchboard_events_sent_total", kept+float64(i)+1) // the two kinds go different ways
	}
	goesOn(two)
	series(0)

	// A node that stops lets it go, and it goes on at the next one.
	ann.Close()
	if code := two.Stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, two.Output())
	}
	goesOn(three)
	ann = SignIn(t, three, "ANZ-1", `{"receipts":true}`)
	for i := range 4 {
		ann.Message("ANZ-2", numbered("away", 4+i, 10), `"feature":"FAST"`)
	}
	series(4)
	if opened := one.Metric("switchboard_events_opened_total") + three.Metric("switchboard_events_opened_total"); opened != 1 {
		t.Errorf("it took %v sessions", opened)
	}
	two.Start()
	c.AwaitReady()

	// Its own node is frozen: the others say that it does not answer, and soon that it
	// is dead. Its session is gone then; what it had not acknowledged is not.
	send(ann, "ANZ-2", numbered("after", 0, 10), "after 0")
	unproved := bob.Expect("MESSAGE")
	secret := bob.Secret()
	one.Signal(syscall.SIGSTOP)
	old := NewListener(t, two.Addr, "ANZ-2", "")
	old.session = secret
	const frame = `{"type":"FETCH_MISSING_MESSAGES_REQUEST"}`
	status, answer, err := old.Do("POST", "/v1/frames", frame)
	if err != nil || status != http.StatusGatewayTimeout || !strings.Contains(answer, `"code":"TIMEOUT"`) || !strings.Contains(answer, `"mayYetArrive":true`) {
		t.Errorf("a frame for a frozen node: %d %s %v", status, answer, err)
	}
	if f := bob.Expect("AUTH_CLIENT_REPLY"); f.Field("session") == secret {
		t.Error("the session is the same")
	}
	if f := bob.Expect("MESSAGE"); f.ID != unproved.ID {
		t.Errorf("got %s, not %s again", f.Raw, unproved.Raw)
	}
	Eventually(t, "nobody knows its secret any more", func() bool {
		status, answer, err := old.Do("POST", "/v1/frames", frame)
		return err == nil && status == http.StatusUnauthorized && strings.Contains(answer, "SESSION_UNKNOWN")
	})
}
