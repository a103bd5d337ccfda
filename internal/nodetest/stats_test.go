package nodetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// asked sends a request to the HTTP interface with the demo's key and returns
// what is answered.
func asked(t *testing.T, s *Server, method, path, body string) (status int, answer map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.Key)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
	return resp.StatusCode, answer
}

// at returns the number at a path of an answer, such as "messages.in.fast"; 0
// when there is none.
func at(answer map[string]any, path string) float64 {
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		answer, _ = answer[name].(map[string]any)
	}
	n, _ := answer[names[len(names)-1]].(float64)
	return n
}

// Each number of the stats moves with what it stands for: a metric that is
// renamed without them would leave it at 0.
func TestStatsFollowWhatHappens(t *testing.T) {
	s := Start(t)
	ann, bob := SignIn(t, s, "ANZ-1", `{"receipts":true}`), SignIn(t, s, "ANZ-2", "")
	SignIn(t, s, "ANZ-2", "")
	for range 3 {
		ann.Message("ANZ-2", "hello", `"reference":"r"`)
		ann.Message("ANZ-2", "quick", `"feature":"FAST"`)
	}
	ann.Message("ANZ-2", "quick", `"feature":"FAST"`)
	ann.Send(`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-2","ANZ-3"],"content":"all"},"confirmationEnabled":false}`)
	ann.Message("ANZ-99", "quick", `"feature":"FAST","confirmationEnabled":false`) // nobody is there
	ann.Message("XYZ-1", "hello", "")
	for seen := 0; seen < 8; {
		if f := bob.Next(); f.Type == "MESSAGE" {
			seen++
		}
	}
	for _, message := range []string{`{"to":"ANZ-3","content":1}`, `{"to":"ANZ-3","content":1,"ttl":1}`, `{"to":"ANZ-2","content":1,"feature":"FAST"}`} {
		if status, answer := asked(t, s, "POST", "/v1/messages", strings.Replace(message, "{", `{"from":"ANZ-1",`, 1)); status > 299 {
			t.Fatal(answer)
		}
	}
	if status, _ := asked(t, s, "GET", "/v1/nothing", ""); status != http.StatusNotFound {
		t.Fatal(status)
	}
	if status, _ := asked(t, s, "GET", "/v1/users/bad", ""); status != http.StatusBadRequest {
		t.Fatal(status)
	}
	want := map[string]float64{
		"sessions": 3, "connections": 3, "users": 2,
		"messages.in.reliable": 3 + 1 + 1 + 2, "messages.in.fast": 5 + 1, "messages.delivered.fast": 2 * (4 + 1),
		"messages.proved": 3 + 1 + 3 + 1, "messages.expired": 1, // the last one says that one expired
		"messages.dropped":           1,
		"mailboxes.messages":         2 + 3, // three for the master user, who was not there
		"refused.socket.UNKNOWN_APP": 1, "refused.http.INVALID_REQUEST": 1,
	}
	var stats map[string]any
	var wrong []string
	t.Cleanup(func() {
		if len(wrong) > 0 {
			t.Log(wrong)
		}
	})
	Eventually(t, "stats that say what happened", func() bool {
		_, stats = asked(t, s, "GET", "/v1/stats", "")
		wrong = nil
		for path, n := range want {
			if at(stats, path) != n {
				wrong = append(wrong, fmt.Sprintf("%s is %v, not %v", path, at(stats, path), n))
			}
		}
		return len(wrong) == 0
	})
	for _, path := range []string{
		"messages.delivered.reliable", "mailboxes.bytes", "http.requests", "http.connections", "log.bytes", "log.syncs",
		"log.sync.p50Seconds", "log.sync.p95Seconds", "log.sync.p99Seconds", "memory.bytes", "memory.heap", "goroutines", "uptimeSeconds",
	} {
		if at(stats, path) <= 0 {
			t.Errorf("%s is %v", path, at(stats, path))
		}
	}
}
