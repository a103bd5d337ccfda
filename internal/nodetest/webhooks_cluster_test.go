package nodetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hookView is what is shown of a webhook.
type hookView struct {
	State                      string
	Waiting, Delivered, Failed int
	StuckUsers                 int
	LastFailure                struct{ Reason string }
}

// hookViewOf returns what a node shows.
func hookViewOf(t *testing.T, n *Server, key string) (v hookView) {
	t.Helper()
	a := n.Call("GET", "/v1/webhooks/billing", key, "")
	if err := json.Unmarshal([]byte(a.Body), &v); err != nil || a.Status != http.StatusOK {
		t.Fatal(a, err)
	}
	return v
}

// Whichever node posts, each shows how it goes, and queues events again: each once.
func TestEveryNodeShowsAWebhookOfAllAndReplaysIt(t *testing.T) {
	t.Parallel()
	b := startHookServer(t)
	c := three(t, hookSettings(b.url(), "", "connected"))
	_, key := c.Nodes[0].NewKey(`{"app":"ANZ","scopes":["webhooks:read","webhooks:manage","stats:read"]}`)
	b.answer(func(e event) int {
		if strings.HasPrefix(e.user(), "ANZ-9") {
			return http.StatusTeapot
		}
		return http.StatusOK
	})
	const good, bad = 12, 6
	sign := func(prefix string, users int) {
		for u := range users {
			SignIn(t, c.Nodes[u%3], fmt.Sprint(prefix, u), "").Close()
		}
	}
	all := func(what string, is func(v hookView) bool) {
		t.Helper()
		for i, n := range c.Nodes {
			var last hookView
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("%s: node %d shows %+v", what, i+1, last)
				}
			})
			Eventually(t, what, func() bool {
				last = hookViewOf(t, n, key)
				return is(last)
			})
		}
	}
	sign("ANZ-10", good)
	b.await(good)
	sign("ANZ-90", bad)
	all("that it fails for six users", func(v hookView) bool {
		return v.State == "failing" && v.Delivered == good && v.Failed == 0 && v.Waiting == bad && v.StuckUsers == bad &&
			strings.Contains(v.LastFailure.Reason, "it answered with status 418")
	})
	for i, n := range c.Nodes {
		var waiting float64
		Eventually(t, fmt.Sprintf("the stats of node %d count each event that waits once", i+1), func() bool {
			waiting = numberAt(n.Call("GET", "/v1/stats", key, ""), "webhooks.waiting")
			return waiting == bad
		})
	}
	b.answer(nil)
	const events = good + bad
	all("that it works again", func(v hookView) bool {
		return v.State == "ok" && v.Delivered == events && v.Waiting == 0 && v.StuckUsers == 0
	})
	body := fmt.Sprintf(`{"state":"delivered","to":%q}`, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	for i, n := range c.Nodes {
		a := n.Call("POST", "/v1/webhooks/billing/replays", key, body)
		wantStatusOf(t, a, 202)
		if a.Field("replayed") != fmt.Sprint(events) {
			t.Errorf("node %d: %s", i+1, a.Body)
		}
	}
	all("what was replayed through each", func(v hookView) bool { return v.Delivered == 4*events && v.Waiting == 0 })
	b.await(events)
	b.mu.Lock()
	defer b.mu.Unlock()
	times := make(map[string]int)
	for _, e := range b.heard {
		times[e.ID]++
	}
	for id, n := range times {
		if n != 4 {
			t.Errorf("event %s came %d times, want once and in each of three replays", id, n)
		}
	}
}
