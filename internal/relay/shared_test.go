package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// handClock is a clock that a test turns.
type handClock struct{ at time.Time }

func (c *handClock) now() time.Time          { return c.at }
func (c *handClock) forward(d time.Duration) { c.at = c.at.Add(d) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start reads the lines that a program writes when it starts.
type start struct {
	mu    sync.Mutex
	text  strings.Builder
	ready chan struct{}
}

func newStart() *start { return &start{ready: make(chan struct{})} }

func (s *start) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	if string(b) == "ready\n" {
		close(s.ready)
	}
	return len(b), nil
}

// wait returns the lines by their first word, once the program is ready.
func (s *start) wait(t *testing.T, ended <-chan error) map[string]string {
	t.Helper()
	select {
	case <-s.ready:
	case err := <-ended:
		t.Fatal("it does not start: ", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	words := map[string]string{}
	for line := range strings.Lines(s.text.String()) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		words[key] = strings.TrimSpace(value)
	}
	return words
}

// get returns the status and the body of an answer.
func get(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func request(t *testing.T, method, url string, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func TestATallyCountsOverTenSecondsAndKeepsTheNewestFailures(t *testing.T) {
	clock := &handClock{time.Unix(1_700_000_000, 0)}
	tally := newTally(clock.now)
	for range 20 {
		tally.done(100)
		clock.forward(time.Second)
	}
	for i := range maxFailures + 3 {
		tally.fail(Failure{Name: fmt.Sprint(i), Where: fmt.Sprint(i), Reason: strings.Repeat("x", 2*maxText)})
	}
	var r Report
	tally.fill(&r)
	if r.Files != 20 || r.Bytes != 2000 || r.FileRate != 1 || r.ByteRate != 100 {
		t.Errorf("%d files and %d bytes, %g and %g a second", r.Files, r.Bytes, r.FileRate, r.ByteRate)
	}
	if len(r.Failures) != maxFailures || r.Failures[0].Name != "22" || r.Failures[19].Name != "3" || len(r.Failures[0].Reason) > maxText+3 || !r.Failures[0].At.Equal(clock.at) {
		t.Errorf("failures: %+v", r.Failures)
	}
	clock.forward(10 * time.Second)
	if c := tally.count(); c.fileRate != 0 || c.files != 20 || c.failed != maxFailures+3 {
		t.Errorf("ten seconds later: %+v", c)
	}
}

func TestTheSameFailureAgainIsCountedAndLeavesRoomForOthers(t *testing.T) {
	clock := &handClock{time.Unix(1_700_000_000, 0)}
	tally := newTally(clock.now)
	tally.fail(Failure{Name: "other", Where: "c/2", Reason: "answered 500"})
	for i := range 3 * maxFailures {
		clock.forward(time.Second)
		tally.fail(Failure{Name: fmt.Sprint(i), Where: "c/1", Reason: fmt.Sprintf("answered 503: FULL: the disk lacks %d bytes", 1000+i)})
	}
	tally.fail(Failure{Name: "other", Where: "c/1", Reason: "answered 500"})
	tally.fail(Failure{Name: "a", Reason: "not delivered", Final: true})
	tally.fail(Failure{Name: "b", Reason: "not delivered", Final: true})
	tally.fail(Failure{Name: "again", Where: "c/1", Reason: "answered 503: FULL: the disk lacks 77777 bytes"})
	var r Report
	tally.fill(&r)
	var got []string
	for _, f := range r.Failures {
		got = append(got, fmt.Sprint(f.Name, " ", f.Where, " ", f.Count))
	}
	if want := "again c/1 61, b  0, a  0, other c/1 0, other c/2 0"; strings.Join(got, ", ") != want || !r.Failures[0].At.Equal(clock.at) {
		t.Errorf("failures are %q", got)
	}
	if c := tally.count(); c.failed != 3*maxFailures+5 {
		t.Errorf("%d are counted", c.failed)
	}
}

func TestAnAdminDoorSaysHowAProgramIs(t *testing.T) {
	report := Report{Program: programUploader, ID: "u", Targets: []Target{{Cluster: "c", ID: "1", State: "up"}}, Full: "no room"}
	refused := newRefused()
	refused.WithLabelValues(codeFull).Inc()
	registry, err := newRegistry(refused, newReported(newTally(time.Now), func() Report { return report }))
	if err != nil {
		t.Fatal(err)
	}
	var trouble error = errors.New("the spool is gone")
	a := newAdmin(registry, func() error { return trouble }, func() any { return report })
	d, err := moveAdmin(nil, quiet(), "127.0.0.1:0", &credentials{}, a)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { d.close() }()
	ask := func(path string, headers ...string) (int, string) {
		return get(t, request(t, http.MethodGet, "http://"+d.address().String()+path, headers...))
	}
	for path, want := range map[string]string{
		"/healthz": `200 {"status":"alive"}`,
		"/readyz":  "503 NOT_READY: the spool is gone",
		"/":        "404 NOT_FOUND: there are /healthz",
		"/status":  `200 {"program":"uploader","id":"u"`,
		"/metrics": "200 ",
	} {
		status, body := ask(path)
		if got := fmt.Sprint(status, " ", body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, not %s", path, got, want)
		}
		if path == "/metrics" {
			for _, line := range []string{`switchboard_relay_refused_total{code="FULL"} 1`, `switchboard_relay_target_up{cluster="c",id="1"} 1`, "switchboard_relay_full 1"} {
				if !strings.Contains(body, line+"\n") {
					t.Errorf("/metrics lacks %s", line)
				}
			}
		}
	}
	if status, _ := ask("/status", "Host", "elsewhere.example"); status != http.StatusMisdirectedRequest {
		t.Errorf("another name is answered %d", status)
	}
	before := d.address().String()
	if d, err = moveAdmin(d, quiet(), "localhost:0", &credentials{secret: "a secret of many letters"}, a); err != nil {
		t.Fatal(err)
	}
	if d.address().String() == before {
		t.Fatal("the door did not move")
	}
	trouble = nil
	if status, _ := ask("/status"); status != http.StatusUnauthorized {
		t.Errorf("without the secret: %d", status)
	}
	if status, _ := ask("/readyz"); status != http.StatusOK {
		t.Errorf("readiness without the secret: %d", status)
	}
}

func TestAReportThatIsTooLargeTellsOfTheWorstFirst(t *testing.T) {
	r := Report{Program: programUploader, ID: "u"}
	for i := range 2000 {
		state := "up"
		if i == 1999 {
			state = "down"
		}
		r.Targets = append(r.Targets, Target{ID: fmt.Sprint(i), State: state})
	}
	got, err := parseReport(encodeReport(r))
	if err != nil || len(got.Targets) < 100 || got.Targets[0].ID != "1999" {
		t.Errorf("%v: %d collectors", err, len(got.Targets))
	}
}

// A network server of another make knows of no reports: it is left in peace for long.
func TestAReporterTellsEachHeartbeatAndAStrangerSeldom(t *testing.T) {
	stranger := false
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		report, err := parseReport(body)
		if err != nil || r.URL.Path != pathReport || r.Header.Get("Authorization") != "Bearer s" {
			t.Error(err, r.URL.Path, r.Header)
		}
		got = append(got, fmt.Sprint(report.ID, " ", report.Every))
		if !filepath.IsAbs(report.Spool) || filepath.Base(report.Spool) != "spool" {
			t.Errorf("it reports the spool %q", report.Spool)
		}
		if stranger {
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	waits, ticks := make(chan time.Duration), make(chan time.Time)
	r := &reporter{
		log: quiet(), creds: &credentials{secret: "s"}, client: server.Client(), base: server.URL, every: 5 * time.Second,
		report: func() Report { return Report{Program: programMaker, ID: "m", Spool: "./spool"} },
		after:  func(d time.Duration) <-chan time.Time { waits <- d; return ticks },
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.run(ctx) }()
	first := <-waits
	stranger = true
	ticks <- time.Time{}
	if second := <-waits; first != 5*time.Second || second != strangerTime {
		t.Error(first, second)
	}
	cancel()
	<-ended
	if len(got) != 2 || got[0] != "m 5000" {
		t.Error(got)
	}
}

func TestAProgramThatOnlyReportsSaysOnceThatItCannot(t *testing.T) {
	answer := http.StatusUnauthorized
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(answer) }))
	defer server.Close()
	said := &heard{}
	waits, ticks := make(chan time.Duration), make(chan time.Time)
	r := &reporter{
		log: said.log(), creds: &credentials{}, client: server.Client(), base: server.URL, every: time.Second, alone: true,
		report: func() Report { return Report{Program: programMaker} },
		after:  func(d time.Duration) <-chan time.Time { waits <- d; return ticks },
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.run(ctx) }()
	for _, next := range []int{http.StatusUnauthorized, http.StatusServiceUnavailable, http.StatusOK, http.StatusOK} {
		<-waits
		answer = next
		ticks <- time.Time{}
	}
	<-waits
	cancel()
	<-ended
	failed := said.lines("level=WARN", "cannot be told how this program is doing", "401")
	again := said.lines("level=INFO", "is told how this program is doing")
	if len(failed) != 1 || len(again) != 1 {
		t.Errorf("it said %q, then %q", failed, again)
	}
}
