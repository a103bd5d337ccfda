package nodetest

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// numberAt returns the number at a path of an answer, such as "messages.in.fast"; 0
// when there is none.
func numberAt(a Answer, path string) float64 {
	n, _ := strconv.ParseFloat(a.at(path), 64)
	return n
}

// Each number of the stats moves with what it stands for: a metric that is
// renamed without them would leave it at 0.
func TestStatsFollowWhatHappens(t *testing.T) {
	t.Parallel()
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
		if a := s.Call("POST", "/v1/messages", s.Key, strings.Replace(message, "{", `{"from":"ANZ-1",`, 1)); a.Status > 299 {
			t.Fatal(a)
		}
	}
	wantCode(t, "a call that there is not", s.Call("GET", "/v1/nothing", s.Key, ""), 404, "NOT_FOUND")
	wantCode(t, "a bad user ID", s.Call("GET", "/v1/users/bad", s.Key, ""), 400, "INVALID_REQUEST")
	want := map[string]float64{
		"sessions": 3, "connections": 3, "users": 2,
		"messages.in.reliable": 3 + 1 + 1 + 2, "messages.in.fast": 5 + 1, "messages.delivered.fast": 2 * (4 + 1),
		"messages.proved": 3 + 1 + 3, "messages.expired": 1, "messages.dropped": 1,
		"mailboxes.messages":         2 + 3, // three for the master user, who was not there
		"refused.socket.UNKNOWN_APP": 1, "refused.http.INVALID_REQUEST": 1,
	}
	var stats Answer
	var wrong []string
	t.Cleanup(func() {
		if len(wrong) > 0 {
			t.Log(wrong)
		}
	})
	Eventually(t, "stats that say what happened", func() bool {
		stats = s.Call("GET", "/v1/stats", s.Key, "")
		wrong = nil
		for path, n := range want {
			if numberAt(stats, path) != n {
				wrong = append(wrong, fmt.Sprintf("%s is %v, not %v", path, numberAt(stats, path), n))
			}
		}
		return len(wrong) == 0
	})
	for _, path := range []string{
		"messages.delivered.reliable", "mailboxes.bytes", "http.requests", "http.connections", "log.bytes", "log.syncs",
		"log.sync.p50Seconds", "log.sync.p95Seconds", "log.sync.p99Seconds", "memory.bytes", "memory.heap", "goroutines", "uptimeSeconds",
	} {
		if numberAt(stats, path) <= 0 {
			t.Errorf("%s is %v", path, numberAt(stats, path))
		}
	}
}

// Whoever hears events and sends frames over HTTP counts like any client.
func TestStatsCountClientsWithoutSockets(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	bob := Listen(t, s.Nodes()[0].Addr, "ANZ-2", "receipts=true") // what it sends belongs where its stream is
	bob.Expect("AUTH_CLIENT_REPLY")
	bob.Send(`{"type":"MESSAGE","data":{"to":"ANZ-3","content":"hello"},"reference":"r1"}`)
	bob.Expect("MESSAGE_STORED")
	_, key := s.NewKey(`{"app":"ANZ","scopes":["stats:read"]}`)
	Eventually(t, "stats with a client of events", func() bool {
		stats := s.Call("GET", "/v1/stats", key, "")
		return numberAt(stats, "sessions") == 1 && numberAt(stats, "users") == 1 && numberAt(stats, "messages.in.reliable") == 1
	})
}

// watchStats opens a stream of stats and reads its first event.
func watchStats(t *testing.T, s *Server, key string) (status int, lines *bufio.Scanner) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr+"/v1/stats/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	lines = bufio.NewScanner(res.Body)
	if !lines.Scan() {
		t.Fatal("the answer is empty")
	}
	return res.StatusCode, lines
}

func TestStreamsOfStatsAreBoundedByASetting(t *testing.T) {
	t.Parallel()
	path := Settings(t, plainApp+"limits: {statsStreams: 1}\n")
	s := Start(t, "--config", path)
	_, key := s.NewKey(`{"app":"ANZ","scopes":["stats:read"]}`)
	n := s.Nodes()[0] // each counts its own
	if status, _ := watchStats(t, n, key); status != 200 {
		t.Fatal(status)
	}
	wantCode(t, "a second stream", n.Call("GET", "/v1/stats/stream", key, ""), 503, "BUSY")
	reload(t, s, path, plainApp+"limits: {statsStreams: 2}\n", inEffect)
	if status, _ := watchStats(t, n, key); status != 200 {
		t.Errorf("after the setting was changed: %d", status)
	}
}

func TestAStoppingNodeEndsStreamsOfStatsAndWaitsForNone(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	_, key := s.NewKey(`{"app":"ANZ","scopes":["stats:read"]}`)
	_, lines := watchStats(t, s, key)
	if code := s.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for lines.Scan() {
		continue
	}
	if lines.Err() != nil {
		t.Errorf("the stream was cut off: %v", lines.Err())
	}
	if strings.Contains(s.Output(), "cut off") {
		t.Error(s.Output())
	}
}
