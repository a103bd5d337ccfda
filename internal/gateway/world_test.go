package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// patienceOfTests is how long anything may take before it counts as failed.
const patienceOfTests = 30 * time.Second

// directory is an Instances of the test's own.
type directory struct {
	mu    sync.Mutex
	of    map[string][]Instance
	watch func(string)
}

func (d *directory) List(service string) []Instance {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.of[service])
}

func (d *directory) Watch(f func(string)) func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch = f
	return func() {}
}

func (d *directory) set(service string, list ...Instance) {
	d.mu.Lock()
	d.of[service] = list
	watch := d.watch
	d.mu.Unlock()
	if watch != nil {
		watch(service)
	}
}

// people is a Verifier: tokens are user IDs.
type people struct {
	mu   sync.Mutex
	ends map[string]func()
}

func (p *people) Verify(_ context.Context, token string) (Caller, error) {
	switch token {
	case "expired":
		return Caller{}, &wire.Error{Code: wire.CodeTokenExpired}
	case "unknown":
		return Caller{}, &wire.Error{Code: wire.CodeStoreDown}
	}
	user, err := wire.ParseUserID(token)
	if err != nil {
		return Caller{}, &wire.Error{Code: wire.CodeBadToken}
	}
	return Caller{User: token, App: user.App(), Hold: func(_ context.Context, end func()) (func(), error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ends[token] = end
		return func() {}, nil
	}}, nil
}

// world is a gateway with services behind it.
type world struct {
	t         *testing.T
	gateway   *Gateway
	front     *httptest.Server
	directory *directory
	people    *people
	metrics   *prometheus.Registry
}

// serverTime is that of the server for what is read and what is written.
const serverTime = 200 * time.Millisecond

// pass waits until the server's own deadlines are over.
func (w *world) pass() {
	w.t.Helper()
	began := time.Now()
	w.eventually("time passes", func() bool { return time.Since(began) > 2*serverTime })
}

// begin starts a gateway. Its server has deadlines that are too short for what lasts.
func begin(t *testing.T, c Config) *world {
	t.Helper()
	w := &world{t: t, directory: &directory{of: map[string][]Instance{}}, people: &people{ends: map[string]func(){}}, metrics: prometheus.NewPedanticRegistry()}
	var err error
	w.gateway, err = New(Options{
		Config: c, Instances: w.directory, Verifier: w.people, Now: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: w.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.gateway.Run(ctx) }()
	w.front = httptest.NewUnstartedServer(w.gateway)
	w.front.Config.ReadTimeout, w.front.Config.WriteTimeout = serverTime, serverTime
	w.front.Start()
	t.Cleanup(func() {
		w.gateway.Leave()
		w.front.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// openTo is a configuration with one route for everybody.
func openTo(service string) Config {
	return Config{Routes: []Route{{Path: "/", Service: service, Auth: Open, Timeout: 10 * time.Second, Retries: 1}}}
}

// start starts an instance of a service and puts it into the directory.
func (w *world) start(service, name string, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	w.join(service, Instance{Name: name, URL: s.URL, Weight: 1})
	return s
}

// join puts an instance into the directory and waits until the gateway knows it.
func (w *world) join(service string, i Instance) {
	w.t.Helper()
	w.directory.set(service, append(w.directory.List(service), i)...)
	w.eventually("the gateway knows "+i.Name, func() bool { _, ok := w.gateway.State(service, i.Name); return ok })
}

func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	end, tick := time.After(patienceOfTests), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-end:
			w.t.Fatalf("it does not happen that %s", what)
		case <-tick.C:
		}
	}
}

// ask makes a request; headers as name, value.
func (w *world) ask(method, path, body string, headers ...string) (*http.Response, string) {
	w.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, w.front.URL+path, content)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %s", method, path, err)
	}
	return res, string(got)
}

// want checks status and, of a problem, code.
func (w *world) want(res *http.Response, body string, status int, code string) {
	w.t.Helper()
	if res.StatusCode != status || code != "" && !strings.Contains(body, `"code":"`+code+`"`) {
		w.t.Errorf("%s %s: got %s %s, want %d %s", res.Request.Method, res.Request.URL.Path, res.Status, body, status, code)
	}
}

// raw writes bytes to the gateway and returns all that comes until the end of the answer.
func (w *world) raw(text string) (*http.Response, string) {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patienceOfTests)) // of an open connection
	if _, err := io.WriteString(conn, text); err != nil {
		w.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatalf("%q: %v", text, err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body) // what there is
	res.Request = &http.Request{Method: "raw", URL: w.mustURL()}
	return res, string(body)
}

func (w *world) mustURL() *url.URL {
	r, err := http.NewRequest("GET", w.front.URL, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.URL
}

func (w *world) metric(c prometheus.Collector) float64 { return testutil.ToFloat64(c) }

// garbage is an instance that answers any connection with some bytes and closes it.
func (w *world) garbage(service, name, answer string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 4096)) // whatever there is
				_, _ = io.WriteString(conn, answer)
			})
		}
	})
	w.t.Cleanup(func() { _ = l.Close(); all.Wait() })
	w.join(service, Instance{Name: name, URL: "http://" + l.Addr().String(), Weight: 1})
}

// dead is an instance at whose address nobody listens.
func (w *world) dead(service, name string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	_ = l.Close()
	w.join(service, Instance{Name: name, URL: "http://" + l.Addr().String(), Weight: 1})
}

// frozen is an instance that takes connections and says nothing.
func (w *world) frozen(service, name string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	w.join(service, Instance{Name: name, URL: "http://" + l.Addr().String(), Weight: 1})
}

// says answers with a text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, text) }
}

// told answers with what a service is told.
func told(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s host=%s\n", r.Method, r.URL.RequestURI(), r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], "|"))
	}
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "body=%q err=%v trailer=%v length=%d te=%v\n", body, err, r.Trailer, r.ContentLength, r.TransferEncoding)
}
