package nodetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// aloneJournal is a data folder of a node that was alone, and what its journal answers.
type aloneJournal struct {
	*aloneStore
	keys    map[string]string // admin, and apps
	devices []string
	at      time.Time
	answers map[string]string // by whose key it is, and the question
}

// fillJournal has a node that is alone count messages, and store events of several apps and
// devices, some of them late; and returns what it answers.
func fillJournal(t *testing.T) *aloneJournal {
	t.Helper()
	a := &aloneJournal{
		aloneStore: &aloneStore{data: filepath.Join(t.TempDir(), "data"), settings: anyApps},
		keys:       map[string]string{}, at: time.Now().Truncate(10 * time.Second),
	}
	s := StartIn(t, a.data, "--config", Settings(t, a.settings))
	_, a.keys["admin"] = s.NewKey(`{"admin":true}`)
	for _, app := range []string{"ANZ", "SHOP"} {
		_, a.keys[app] = s.NewKey(`{"app":"` + app + `","scopes":["journal:read","journal:write","stats:read"]}`)
	}
	for i := range 10 {
		a.devices = append(a.devices, fmt.Sprint("device-", i))
	}
	for name, key := range a.keys {
		var events []string
		for i := range 300 {
			at := a.at.Add(time.Duration(i%200-190) * time.Second) // of which some come too late
			kind := []string{"bytesSent", "bytesReceived", "connectionsOpen", "connectionsClosed", "matched"}[i%5]
			events = append(events, fmt.Sprintf(`{"id":"%s-%d","type":%q,"device":%q,"amount":%d,"at":%q}`, name, i, kind, a.devices[i%7], i%40, at.Format(time.RFC3339Nano)))
		}
		wantAnswer(t, "write", s.Call("POST", "/v1/journal", key, `{"events":[`+strings.Join(events, ",")+`]}`), 201, "")
		for _, d := range a.devices[5:] {
			wantAnswer(t, "write", s.Call("POST", "/device/event", key, fmt.Sprintf(`{"deviceId":%q,"eventType":"bytesSent","amount":%d}`, d, len(name))), 201, "")
		}
	}
	p, q := SignIn(t, s, "ANZ-1", ""), SignIn(t, s, "ANZ-2", "")
	for i := range 50 {
		p.Message("ANZ-2", strings.Repeat("x", i), `"feature":"FAST"`)
		q.Expect("MESSAGE")
	}
	s.Stop() // so that all of it is stored that was counted
	s.Start()
	a.answers = a.look(t, s)
	s.Kill()
	return a
}

// look asks a node for all that can be asked of its journal.
func (a *aloneJournal) look(t *testing.T, s *Server) map[string]string {
	t.Helper()
	answers := make(map[string]string)
	ask := func(who, path string) string {
		var body string
		Eventually(t, "the shards are kept", func() bool {
			answer := s.Call("GET", path, a.keys[who], "")
			body = answer.Body
			return answer.Status == 200 || answer.Status == 404
		})
		return body
	}
	for who := range a.keys {
		for _, d := range a.devices {
			answers[who+" /device/state/"+d] = ask(who, "/device/state/"+d)
			answers[who+" /v1/journal/devices/"+d] = ask(who, "/v1/journal/devices/"+d)
			answers[who+" /v1/journal?device="+d] = pageOf(t, ask(who, "/v1/journal?limit=1000&device="+d))
		}
		answers[who+" traffic"] = pageOf(t, ask(who, "/v1/journal?limit=1000&type=traffic"))
		for _, window := range []string{"window=10s&by=device", "window=10s&by=type,app&type=traffic,matched,bytesSent", "window=1m&by=app,capability", "gap=20s&kind=session&by=device", "window=1h"} {
			from, to := a.at.Add(-30*time.Minute), a.at.Add(time.Minute)
			if window == "window=1h" {
				from, to = a.at.Add(-5*time.Hour), a.at.Add(time.Hour)
			}
			if who != "admin" {
				window += "&app=" + who
			}
			path := fmt.Sprintf("/v1/traffic?%s&from=%s&to=%s", window, from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
			answers[who+" "+path] = windowsOf(t, ask(who, path))
		}
	}
	return answers
}

// pageOf returns the events of a page.
func pageOf(t *testing.T, body string) string {
	t.Helper()
	var p struct{ Events []json.RawMessage }
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(body)
	}
	return fmt.Sprintf("%d: %s", len(p.Events), p.Events)
}

// windowsOf returns the windows of an answer, but for whether they are final, and what
// came too late: how much that is, and not up to when.
func windowsOf(t *testing.T, body string) string {
	t.Helper()
	var p trafficPage
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(body)
	}
	for i := range p.Windows {
		p.Windows[i].Final = false
	}
	text, err := json.Marshal(p.Windows)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d too late, %d ahead, %d windows: %s", p.TooLate, p.Ahead, len(p.Windows), text)
}

// wantSame fails unless every node answers as the one did that was alone.
func (a *aloneJournal) wantSame(t *testing.T, c *Cluster) {
	t.Helper()
	for i, n := range c.Nodes {
		for question, is := range a.look(t, n) {
			if was := a.answers[question]; is != was {
				t.Errorf("node %d, %s:\n%.2000s\nwas\n%.2000s", i+1, question, is, was)
			}
		}
	}
}

// A node that grows to three has the same events, states and traffic then, also when they
// are made anew, and what is written goes on from there.
func TestAJournalIsTheSameAfterANodeHasGrownToThree(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	a := fillJournal(t)
	for question, is := range a.answers {
		if strings.Contains(question, "window=10s&by=type") && strings.HasPrefix(is, "0 too late") || strings.HasPrefix(is, "0:") && question != "SHOP traffic" {
			t.Fatalf("there is nothing to compare: %s: %s", question, is)
		}
	}
	c := a.join(t)
	c.Launch(c.Nodes...)
	tellImports(t, c.Nodes[0])
	a.wantAside(t)
	a.wantSame(t, c)
	got := c.Nodes[1].Call("POST", "/v1/journal/rebuild", a.keys["admin"], "")
	if got.Status != 200 || got.Field("changed") != "0" {
		t.Errorf("made anew: %d %s", got.Status, got.Body)
	}
	a.wantSame(t, c)
	again := `{"events":[{"id":"ANZ-0","type":"bytesSent","device":"device-0","amount":0}]}`
	wantAnswer(t, "an event of before, sent again", c.Nodes[2].Call("POST", "/v1/journal", a.keys["ANZ"], again), 201, "")
	a.wantSame(t, c)
	c.Nodes[0].Stop() // others keep its shards, by checkpoints and what came after them
	c.Launch(c.Nodes[0])
	a.wantSame(t, c)
}

// On a NATS that exists the journal comes along as well.
func TestAJournalIsImportedIntoANATSThatExists(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	a := fillJournal(t)
	a.nats = StartNATS(t)
	c := a.join(t)
	c.Launch(c.Nodes...)
	a.wantAside(t)
	a.wantSame(t, c)
}

// largeJournal is that of a node that was alone, of which the oldest events went by size:
// connections that were opened are in the states of devices only.
type largeJournal struct {
	data    string
	devices []string
	events  int // that it holds of bytes
	windows string
	states  []string
	from    time.Time
}

const largeQuery = "/v1/traffic?window=1m&by=device&app=ANZ&from="

func fillLargeJournal(t *testing.T) *largeJournal {
	t.Helper()
	j := &largeJournal{data: filepath.Join(t.TempDir(), "data"), from: time.Now().Truncate(time.Minute).Add(-time.Minute)}
	s := StartIn(t, j.data, "--config", Settings(t, anyApps+"journal: {bytes: 64MiB}\n"))
	_, key := s.NewKey(`{"app":"ANZ","scopes":["journal:read","journal:write","stats:read"]}`)
	for d := range 20 {
		j.devices = append(j.devices, strings.Repeat("long-", 20)+fmt.Sprint(d))
	}
	const large, opened = 260, 60 // of a thousand events each
	for i := range large {
		kind := "bytesSent"
		if i < opened {
			kind = "connectionsOpen"
		}
		var events []string
		for k := range 1000 {
			events = append(events, fmt.Sprintf(`{"id":"%s-%d-%d","type":%q,"device":%q,"amount":%d}`, strings.Repeat("i", 40), i, k, kind, j.devices[k%20], 1+k%9))
		}
		wantAnswer(t, "write", s.Call("POST", "/v1/journal", key, `{"events":[`+strings.Join(events, ",")+`]}`), 201, "")
	}
	s.Stop()
	s.Start()
	for _, d := range j.devices {
		j.states = append(j.states, s.Call("GET", "/v1/journal/devices/"+d, key, "").Body)
	}
	ids, _ := readJournal(t, s, key)
	j.events, j.windows = len(ids), windowsOf(t, s.Call("GET", largeQuery+j.from.UTC().Format(time.RFC3339), key, "").Body)
	if a := s.Call("GET", "/v1/journal?limit=1&type=connectionsOpen", key, ""); j.events != (large-opened)*1000 || strings.Contains(a.Body, "-0-0") {
		t.Fatalf("%d events of bytes are held; of the others: %.300s", j.events, a.Body)
	}
	s.Kill()
	return j
}

// wantAll fails unless a node has all events of bytes once, and the states and windows that
// there were, with the matches that the cluster knew of before.
func (j *largeJournal) wantAll(t *testing.T, n *Server, key string, matches int) {
	t.Helper()
	ids, _ := readJournal(t, n, key)
	once := len(slices.Compact(slices.Sorted(slices.Values(ids))))
	t.Logf("%d events: %d lost, %d duplicated", j.events, j.events-once, len(ids)-once)
	if len(ids) != j.events || once != j.events {
		t.Errorf("%d events, %d of them once; there were %d", len(ids), once, j.events)
	}
	for i, d := range j.devices {
		is, was := n.Call("GET", "/v1/journal/devices/"+d, key, ""), Answer{Body: j.states[i]}
		for _, field := range []string{"opened", "bytesSent"} {
			if is.Field(field) != was.Field(field) || was.Field(field) == "0" {
				t.Errorf("%s of %s is %s, was %s", field, d, is.Body, was.Body)
			}
		}
		if is.Field("matched") != fmt.Sprint(matches) {
			t.Errorf("of %d matches there are: %s", matches, is.Body)
		}
	}
	if is := windowsOf(t, n.Call("GET", largeQuery+j.from.UTC().Format(time.RFC3339), key, "").Body); is != j.windows {
		t.Errorf("the windows are\n%.3000s\nwere\n%.3000s", is, j.windows)
	}
}

// A node that joins a cluster that has a journal brings its own along, once, though it is
// killed again and again meanwhile; nothing of the cluster's own is lost by that.
func TestKilledWhileItImportsAJournalANodeImportsItOnce(t *testing.T) {
	t.Parallel()
	j := fillLargeJournal(t)
	c := three(t, anyApps+readers)
	_, key := c.Nodes[1].NewKey(`{"app":"ANZ","scopes":["journal:read","journal:write","stats:read"]}`)
	for _, d := range j.devices {
		wantAnswer(t, "write", c.Nodes[1].Call("POST", "/device/event", key, fmt.Sprintf(`{"deviceId":%q,"eventType":"matched"}`, d)), 201, "")
	}
	first := c.Nodes[0]
	first.Stop()
	store := filepath.Join(first.Data, "jetstream")
	if err := os.Rename(filepath.Join(j.data, "jetstream"), store); err != nil {
		t.Fatal(err)
	}
	kills := 0
	for range 3 {
		before := eventsOn(c.Nodes[1:])
		first.launch()
		Eventually(t, "another node has stored some of it", func() bool {
			return eventsOn(c.Nodes[1:]) > before+20_000 || strings.Contains(first.Output(), "is in the cluster")
		})
		first.Kill()
		if _, err := os.Stat(store); err != nil {
			break
		}
		kills++
	}
	t.Logf("killed %d times before the store was aside", kills)
	c.Launch(first)
	tellImports(t, first)
	for _, n := range []*Server{first, c.Nodes[2]} {
		j.wantAll(t, n, key, 1)
	}
	if got := c.Nodes[2].Call("POST", "/v1/journal/rebuild", makeKey(t, c.Nodes[2], "--admin"), ""); got.Field("changed") != "0" {
		t.Errorf("made anew: %d %s", got.Status, got.Body)
	}
	j.wantAll(t, c.Nodes[1], key, 1)
	var odd []string
	readLines(t, readersURL(t, c.Nodes[1]), func(line string) bool {
		if strings.Contains(line, `"carried"`) || len(odd) < 50 && strings.Contains(line, `"imported"`) {
			odd = append(odd, line)
		}
		return len(odd) < 50+len(j.devices)
	})
	wantSchema(t, odd)
	if kills == 0 {
		t.Error("it was never killed while it imported")
	}
}

// eventsOn returns how many events nodes have stored in the journal.
func eventsOn(nodes []*Server) (sum float64) {
	for _, n := range nodes {
		_, body := n.Get("/metrics")
		sum += sumOf(body, "switchboard_journal_events_total{")
	}
	return sum
}
