package domains_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// patience is how long a test waits for what has to happen.
const patience = 20 * time.Second

// described is a description of domain a and others, under a version. The number
// of others makes the content.
func described(t testing.TB, version uint64, others int) *domains.Network {
	t.Helper()
	file := "domains:\n  - {name: a, urls: [ws://a]}\n" + repeat(others, func(i int) string { return fmt.Sprintf("  - {name: b%d, urls: [ws://b]}\n", i) }) +
		"domainLinks:\n" + repeat(others, func(i int) string { return fmt.Sprintf("  - {n1: a, n2: b%d}\n", i) })
	return parsed(t, file).WithVersion(version)
}

// meta is a meta server that does what a test says.
type meta struct {
	t    *testing.T
	addr string

	mu      sync.Mutex
	changed chan struct{} // closed and made anew whenever anything changes
	http    *httptest.Server
	network *domains.Network
	told    uint64           // by the stream, if it is not the network's version
	graph   http.HandlerFunc // instead of the network
	events  http.HandlerFunc // instead of the stream
	heard   []*http.Request  // what it was asked
	etags   []string         // what it answered 304 to
}

func startMeta(t *testing.T, n *domains.Network) *meta {
	m := &meta{t: t, addr: "127.0.0.1:0", network: n, changed: make(chan struct{})}
	m.up()
	t.Cleanup(m.down)
	return m
}

// up has it listen, where it did before.
func (m *meta) up() {
	m.t.Helper()
	l, err := net.Listen("tcp", m.addr)
	if err != nil {
		m.t.Fatal(err)
	}
	m.addr = l.Addr().String()
	s := httptest.NewUnstartedServer(http.HandlerFunc(m.serve))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	m.change(func() { m.http = s })
}

// down ends it, with all connections.
func (m *meta) down() {
	m.mu.Lock()
	s := m.http
	m.http = nil
	m.mu.Unlock()
	if s != nil {
		s.CloseClientConnections()
		s.Listener.Close()
		m.change(func() {}) // streams look whether it is theirs
		s.Close()
	}
}

func (m *meta) url() string { return "http://" + m.addr }

// change changes what it does, and tells its streams.
func (m *meta) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *meta) serves(n *domains.Network) {
	m.change(func() { m.network, m.told, m.graph, m.events = n, 0, nil, nil })
}

// asked counts the requests for a path.
func (m *meta) asked(path string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	count := 0
	for _, r := range m.heard {
		if r.URL.Path == path {
			count++
		}
	}
	return count
}

func (m *meta) serve(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.heard = append(m.heard, r)
	n, graph, events := m.network, m.graph, m.events
	m.mu.Unlock()
	switch {
	case r.URL.Path == "/events" && events != nil:
		events(w, r)
	case r.URL.Path == "/events":
		m.stream(w, r)
	case r.URL.Path != "/domains/graph":
		http.NotFound(w, r)
	case graph != nil:
		graph(w, r)
	default:
		etag := fmt.Sprintf("%q", fmt.Sprint(n.Version, n.Hash()))
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			m.change(func() { m.etags = append(m.etags, etag) })
			w.WriteHeader(http.StatusNotModified)
			return
		}
		serveJSON(w, encoded(m.t, n))
	}
}

func serveJSON(w http.ResponseWriter, text []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Write(text)
}

// stream tells each change until the server goes down, with a comment every
// 20 ms.
func (m *meta) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	alive := time.NewTicker(20 * time.Millisecond)
	defer alive.Stop()
	for last := uint64(0); ; {
		m.mu.Lock()
		version, changed, gone := m.network.Version, m.changed, m.http == nil || m.events != nil
		if m.told != 0 {
			version = m.told
		}
		m.mu.Unlock()
		if gone {
			return
		}
		if version != last {
			fmt.Fprintf(w, "id: %d\nevent: network\ndata: {\"version\":%d}\n\n", version, version)
			last = version
		}
		http.NewResponseController(w).Flush()
		select {
		case <-alive.C:
			fmt.Fprint(w, ": alive\n\n")
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// logged keeps what was logged.
type logged struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// count counts the lines that contain all of the texts.
func (l *logged) count(texts ...string) int {
	count := 0
lines:
	for line := range strings.Lines(l.String()) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue lines
			}
		}
		count++
	}
	return count
}

// rig is a source of domain a with what one sees of it.
type rig struct {
	t   *testing.T
	o   domains.SourceOptions
	s   *domains.Source
	log *logged
	reg *prometheus.Registry
}

// options are those of a test: as quick as it may be.
func options(t *testing.T, url string) domains.SourceOptions {
	return domains.SourceOptions{
		URL: url, Self: "a", File: filepath.Join(t.TempDir(), "network.json"),
		Retry: time.Millisecond, RetryMax: 10 * time.Millisecond, Timeout: 5 * time.Second, Silence: 5 * time.Second,
	}
}

// newRig makes a source, and runs it unless it reads a file.
func newRig(t *testing.T, o domains.SourceOptions) *rig {
	t.Helper()
	r := &rig{t: t, o: o, log: &logged{}, reg: prometheus.NewRegistry()}
	o.Log, o.Metrics = slog.New(slog.NewTextHandler(r.log, nil)), r.reg
	s, err := domains.NewSource(o)
	if err != nil {
		t.Fatal(err)
	}
	r.s = s
	return r
}

// run runs it until the test ends, or what it returns is called.
func (r *rig) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				r.t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			r.t.Error("Run does not end")
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// until waits for something that has to become true.
func (r *rig) until(what string, is func() bool) {
	r.t.Helper()
	until(r.t, what, func() string { return fmt.Sprintf("state %+v\n%s", r.s.State(), r.log) }, is)
}

func until(t *testing.T, what string, seen func() string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("still not: %s\n%s", what, seen())
		}
	}
}

// untilVersion waits until a version is the current one.
func (r *rig) untilVersion(version uint64) {
	r.t.Helper()
	r.until(fmt.Sprintf("version %d", version), func() bool {
		n := r.s.Current()
		return n != nil && n.Version == version
	})
}

// settle waits until the stream is open and what that causes is over, so that
// nothing but the stream causes another request.
func (r *rig) settle(m *meta) {
	r.t.Helper()
	r.until("it follows", func() bool { return r.s.State().Following })
	for last, since := -1, time.Now(); time.Since(since) < 50*time.Millisecond; time.Sleep(time.Millisecond) {
		if n := m.asked("/domains/graph"); n != last {
			last, since = n, time.Now()
		}
	}
}

// metric returns the value of a metric, of a kind unless it is empty.
func (r *rig) metric(name, kind string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (kind == "" || labelled(m, kind)) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	r.t.Fatalf("no metric %s of kind %q", name, kind)
	return 0
}

func labelled(m *dto.Metric, kind string) bool {
	for _, l := range m.GetLabel() {
		if l.GetName() == "kind" && l.GetValue() == kind {
			return true
		}
	}
	return false
}

// copyOf returns the version in the last good copy; 0 if there is none.
func copyOf(t *testing.T, file string) uint64 {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	var c struct {
		Network struct{ Version uint64 }
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatalf("the copy is not whole: %v", err)
	}
	return c.Network.Version
}
