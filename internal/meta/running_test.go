package meta

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// patience is how long anything may take before it counts as failed.
const patience = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(victimVariable) != "" {
		beVictim()
		return
	}
	goleak.VerifyTestMain(m)
}

// text is a buffer that several goroutines may use.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

// reset forgets what was written.
func (t *text) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b.Reset()
}

// String returns what was written.
func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// running is a meta server under test. It looks at its description only when it is
// told to.
type running struct {
	t       *testing.T
	options Options
	url     string
	log     text
	out     text
	looks   chan struct{}
	cancel  context.CancelFunc
	ended   chan struct{}
	err     error
}

// quiet returns options of a server that looks when told, and believes at once that
// a file is written to its end.
func quiet(t *testing.T) Options {
	t.Helper()
	passed := make(chan time.Time)
	close(passed)
	return Options{
		Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "meta"), Every: time.Hour,
		after: func(d time.Duration) <-chan time.Time {
			if d == settleTime {
				return passed
			}
			return nil
		},
	}
}

// start starts a server and waits until it serves. It stops with the test.
func start(t *testing.T, o Options) *running {
	t.Helper()
	r := begin(t, o)
	deadline := time.After(patience)
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if out := r.out.String(); strings.HasSuffix(out, "ready\n") {
			before, after, _ := strings.Cut(out, "://")
			address, _, _ := strings.Cut(after, "/")
			r.url = before[strings.LastIndexByte(before, ' ')+1:] + "://" + address
			return r
		}
		select {
		case <-r.ended:
			t.Fatalf("it ended: %v\n%s", r.err, r.log.String())
		case <-deadline:
			t.Fatalf("it is not ready\n%s\n%s", r.out.String(), r.log.String())
		default:
		}
	}
}

// begin starts a server.
func begin(t *testing.T, o Options) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, looks: make(chan struct{}), cancel: cancel, ended: make(chan struct{})}
	o.Look, o.Out, o.Version = r.looks, &r.out, "v1"
	o.Log = slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.options = o
	go func() {
		defer close(r.ended)
		r.err = Run(ctx, o)
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

// stop stops the server and returns what Run returned.
func (r *running) stop() error {
	r.cancel()
	<-r.ended
	http.DefaultClient.CloseIdleConnections()
	return r.err
}

// again starts another server with the same options.
func (r *running) again() *running {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
	r.options.Metrics = nil
	return start(r.t, r.options)
}

// look has the server look, and returns when it has: the second order is taken only
// when the first is carried out.
func (r *running) look() {
	r.t.Helper()
	for range 2 {
		select {
		case r.looks <- struct{}{}:
		case <-r.ended:
			r.t.Fatalf("it ended: %v\n%s", r.err, r.log.String())
		case <-time.After(patience):
			r.t.Fatalf("it does not look\n%s", r.log.String())
		}
	}
}

// get asks for a path, with headers as pairs.
func (r *running) get(path string, header ...string) (*http.Response, string) {
	r.t.Helper()
	return r.ask(http.MethodGet, path, header...)
}

func (r *running) ask(method, path string, header ...string) (*http.Response, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
		if header[i] == "Host" {
			request.Host = header[i+1]
		}
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer, string(body)
}

// network returns what the server serves.
func (r *running) network() *domains.Network {
	r.t.Helper()
	answer, body := r.get(pathGraph)
	if answer.StatusCode != http.StatusOK {
		r.t.Fatalf("status %d: %s", answer.StatusCode, body)
	}
	n, err := domains.ParseJSON([]byte(body))
	if err != nil {
		r.t.Fatalf("what is served is not good: %v\n%s", err, body)
	}
	return n
}

// serves checks how many domains are served, which tells descriptions of this test
// from each other, and returns the version.
func (r *running) serves(domains int) uint64 {
	r.t.Helper()
	n := r.network()
	if len(n.Domains) != domains {
		r.t.Fatalf("%d domains are served, want %d\n%s", len(n.Domains), domains, r.log.String())
	}
	return n.Version
}

// logged checks how often the log has a text.
func (r *running) logged(times int, what string) {
	r.t.Helper()
	if n := strings.Count(r.log.String(), what); n != times {
		r.t.Errorf("the log says %d times, not %d: %s\n%s", n, times, what, r.log.String())
	}
}

// metric returns the value of a metric, as it is printed.
func (r *running) metric(name string) string {
	r.t.Helper()
	_, body := r.get("/metrics")
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// describe returns a good description of so many domains in a row.
func describe(domains int) string {
	var b strings.Builder
	b.WriteString("domains:\n")
	for i := range domains {
		fmt.Fprintf(&b, "  - {name: domain-%d, urls: [\"ws://127.0.0.1:%d\"]}\n", i+1, 8000+i)
	}
	if domains > 1 {
		b.WriteString("domainLinks:\n")
	}
	for i := 1; i < domains; i++ {
		fmt.Fprintf(&b, "  - {n1: domain-%d, n2: domain-%d}\n", i, i+1)
	}
	return b.String()
}

// write writes a file as one should: beside, and renamed.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// described returns options of a server of a file with a description of so many
// domains, and the file.
func described(t *testing.T, domains int) (Options, string) {
	t.Helper()
	o := quiet(t)
	o.Config = filepath.Join(t.TempDir(), "network.yaml")
	write(t, o.Config, describe(domains))
	return o, o.Config
}
