package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// console stands for the web console: one page, and plain text for the rest.
func console(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/", "/assets/app.js":
		w.Header().Set("Content-Security-Policy", "script-src 'self'")
		fmt.Fprint(w, "the console")
	default:
		http.Error(w, "there is nothing at this path", http.StatusNotFound)
	}
}

func options() Options {
	return Options{
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), MaxBody: func() int64 { return 100 },
		Socket: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
		}),
		Console: http.HandlerFunc(console),
	}
}

// ask sends one request and returns the answer with its body.
func ask(t testing.TB, h http.Handler, method, path string, change ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.Host = "127.0.0.1:8088"
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	answer := w.Result()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

func wantStatus(t testing.TB, h http.Handler, want int, method, path string, change ...func(*http.Request)) string {
	t.Helper()
	answer, body := ask(t, h, method, path, change...)
	if answer.StatusCode != want {
		t.Errorf("%s %s: got %d, want %d: %s", method, path, answer.StatusCode, want, body)
	}
	return body
}

// wantProblem checks that the answer is problem details with this code.
func wantProblem(t testing.TB, h http.Handler, status int, code, method, path string, change ...func(*http.Request)) {
	t.Helper()
	answer, body := ask(t, h, method, path, change...)
	var got struct {
		Type, Title, Code, Detail string
		Status                    int
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, body)
	}
	if answer.StatusCode != status || got.Status != status || got.Code != code {
		t.Errorf("%s %s: got %d %+v, want %d %s", method, path, answer.StatusCode, got, status, code)
	}
	if got.Detail == "" || got.Title != http.StatusText(status) || got.Type != "about:blank" {
		t.Errorf("%s %s: %+v is not complete", method, path, got)
	}
	if kind := answer.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("%s %s: content type %q", method, path, kind)
	}
}

func TestHealthIsThatTheProcessAnswers(t *testing.T) {
	o := options()
	o.Parts = []Part{{Name: "store", Check: func() error { return errors.New("away") }}}
	for _, h := range []http.Handler{NewAdmin(o), NewPublic(o)} {
		if body := wantStatus(t, h, 200, "GET", "/healthz"); body != `{"status":"alive"}`+"\n" {
			t.Error(body)
		}
	}
}

func TestReadinessListsThePartsAndWhyOneIsNot(t *testing.T) {
	o := options()
	var store error
	o.Parts = []Part{{Name: "node", Check: func() error { return nil }}, {Name: "store", Check: func() error { return store }}}
	for _, h := range []http.Handler{NewAdmin(o), NewPublic(o)} {
		store = errors.New("the disk is full")
		body := wantStatus(t, h, 503, "GET", "/readyz")
		if body != `{"parts":[{"name":"node","ready":true},{"name":"store","ready":false,"reason":"the disk is full"}],"ready":false}`+"\n" {
			t.Error(body)
		}
		store = nil
		body = wantStatus(t, h, 200, "GET", "/readyz")
		if body != `{"parts":[{"name":"node","ready":true},{"name":"store","ready":true}],"ready":true}`+"\n" {
			t.Error(body)
		}
	}
}

func TestOperatorsGetMetricsAndProfiles(t *testing.T) {
	o := options()
	h := NewAdmin(o)
	ask(t, h, "GET", "/healthz")
	if body := wantStatus(t, h, 200, "GET", "/metrics"); !strings.Contains(body, `switchboard_http_requests_total{door="admin",status="200"} 1`) {
		t.Error(body)
	}
	if body := wantStatus(t, h, 200, "GET", "/debug/pprof/"); !strings.Contains(body, "goroutine") {
		t.Error(body)
	}
	for _, path := range []string{"/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/pprof/profile?seconds=1", "/debug/pprof/trace?seconds=0.01"} {
		wantStatus(t, h, 200, "GET", path)
	}
	wantStatus(t, h, 200, "POST", "/debug/pprof/symbol")
	wantProblem(t, h, 404, "NOT_FOUND", "GET", "/debug/pprof/nothing")
	for path := range strings.Lines(wantStatus(t, h, 200, "GET", "/")) { // which names what there is
		wantStatus(t, h, 200, "GET", strings.TrimSpace(path))
	}
	wantProblem(t, h, 404, "NOT_FOUND", "GET", "/ws")
	wantProblem(t, h, 405, "METHOD_NOT_ALLOWED", "POST", "/metrics")
}

func TestTheWorldGetsTheSocketAndTheConsoleButNoMetrics(t *testing.T) {
	h := NewPublic(options())
	wantStatus(t, h, http.StatusTeapot, "GET", "/ws")
	for _, path := range []string{"/", "/assets/app.js"} {
		answer, body := ask(t, h, "GET", path)
		if answer.StatusCode != 200 || body != "the console" {
			t.Errorf("%s: %d %s", path, answer.StatusCode, body)
		}
		if policy := answer.Header.Get("Content-Security-Policy"); policy != "script-src 'self'" {
			t.Errorf("the console's own policy is lost: %s", policy)
		}
	}
	for _, path := range []string{"/metrics", "/debug/pprof/", "/nothing", "/ws/", "/healthz/", "//", "/../etc/passwd"} {
		wantProblem(t, h, 404, "NOT_FOUND", "GET", path)
	}
	for _, path := range []string{"/", "/ws", "/healthz", "/readyz", "/nothing"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "MADEUP"} {
			wantProblem(t, h, 405, "METHOD_NOT_ALLOWED", method, path)
		}
		if answer, _ := ask(t, h, "POST", path); answer.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s allows %q", path, answer.Header.Get("Allow"))
		}
	}
}

func TestTheDemoShowsMetricsAndAnswersToLoopbackNamesOnly(t *testing.T) {
	o := options()
	o.Demo = true
	public, admin := NewPublic(o), NewAdmin(o)
	wantStatus(t, public, 200, "GET", "/metrics")
	for _, h := range []http.Handler{public, admin} {
		for _, host := range []string{"localhost", "localhost:8088", "LOCALHOST", "a.localhost:1", "127.0.0.1", "127.0.0.1:8088", "127.9.9.9:1", "[::1]:8088", "[::1]", "[::ffff:127.0.0.1]:80"} {
			wantStatus(t, h, 200, "GET", "/healthz", func(r *http.Request) { r.Host = host })
		}
		for _, host := range []string{"", "evil.example", "evil.example:8088", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1:8088", "0.0.0.0:8088", "[::]:8088", "[fe80::1]:1", "[]:1", "notlocalhost"} {
			wantProblem(t, h, 421, "WRONG_HOST", "GET", "/healthz", func(r *http.Request) { r.Host = host })
		}
	}
	if n := testutil.ToFloat64(newCounters(o.Metrics, "public").refused.WithLabelValues("public", "WRONG_HOST")); n != 11 {
		t.Errorf("%v refusals were counted", n)
	}
}

func TestTheConsoleLearnsWhetherThisIsTheDemo(t *testing.T) {
	docs, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, demo := range []bool{true, false} {
		o := options()
		o.Demo = demo
		want := `{"demo":false,"devices":"off"}`
		if demo {
			o.Devices, o.Access, o.Map = http.NotFoundHandler(), "open", &Map{TTL: 300}
			want = `{"demo":true,"devices":"open","map":{"ttl":300}}`
		}
		if body := wantStatus(t, NewPublic(o), 200, "GET", "/console.json"); body != want+"\n" {
			t.Errorf("demo %t: %s", demo, body)
		} else if !strings.Contains(string(docs), "`"+strings.TrimSpace(body)+"`") {
			t.Errorf("docs/operations.md does not say that the answer is %s", body)
		}
		wantProblem(t, NewPublic(o), 405, "METHOD_NOT_ALLOWED", "POST", "/console.json")
		wantProblem(t, NewAdmin(o), 404, "NOT_FOUND", "GET", "/console.json")
	}
}

func TestPagesOfOtherOriginsAreRefused(t *testing.T) {
	o := options()
	o.Origin = func(r *http.Request) bool { return OriginAllowed(r, []string{"https://app.example"}, false) }
	h := NewPublic(o)
	wantStatus(t, h, 200, "GET", "/healthz")
	wantStatus(t, h, 200, "GET", "/healthz", header("Origin", "https://app.example"))
	wantProblem(t, h, 403, "ORIGIN_REFUSED", "GET", "/healthz", header("Origin", "https://evil.example"))
	wantProblem(t, NewAdmin(o), 403, "ORIGIN_REFUSED", "GET", "/metrics", header("Origin", "null"))
	// The socket is asked, and has its own counter.
	wantStatus(t, h, http.StatusTeapot, "GET", "/ws", header("Origin", "https://evil.example"))
}

func TestEveryAnswerHasTheHeadersThatProtect(t *testing.T) {
	h := NewPublic(options())
	for _, path := range []string{"/healthz", "/nothing", "/readyz"} {
		answer, _ := ask(t, h, "GET", path)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := answer.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
}

func TestABodyIsBounded(t *testing.T) {
	o := options()
	var read error
	o.Socket = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, read = io.ReadAll(r.Body) })
	h := NewPublic(o)
	body := func(n int, announced int64) func(*http.Request) {
		return func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(make([]byte, n))), announced
		}
	}
	wantStatus(t, h, 200, "GET", "/ws", body(100, 100))
	if read != nil {
		t.Error(read)
	}
	wantProblem(t, h, 413, "BODY_TOO_LARGE", "GET", "/ws", body(101, 101))
	ask(t, h, "GET", "/ws", body(101, -1))
	var tooLarge *http.MaxBytesError
	if !errors.As(read, &tooLarge) {
		t.Errorf("read more than allowed: %v", read)
	}
}

func TestAPanicCostsItsOwnRequestOnly(t *testing.T) {
	var lines bytes.Buffer
	o := options()
	o.Log = slog.New(slog.NewTextHandler(&lines, nil))
	o.Socket = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Late") != "" {
			fmt.Fprint(w, "half an ans")
		}
		if r.Header.Get("Error") != "" {
			http.Error(w, "first this", http.StatusBadRequest)
		}
		panic("a bug: " + r.URL.Path)
	})
	h := NewPublic(o)
	wantProblem(t, h, 500, "INTERNAL", "GET", "/ws")
	wantProblem(t, h, 500, "INTERNAL", "GET", "/ws", header("Error", "1"))
	if !strings.Contains(lines.String(), "a bug: /ws") || !strings.Contains(lines.String(), "level=ERROR") {
		t.Errorf("the log says %s", lines.String())
	}
	wantStatus(t, h, 200, "GET", "/healthz")

	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("an answer that has begun must be cut off, got %v", v)
		}
	}()
	ask(t, h, "GET", "/ws", header("Late", "1"))
}

func TestAHandlersPlainErrorLeavesAsProblemDetails(t *testing.T) {
	o := options()
	o.Socket = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "5")
		http.Error(w, strings.Repeat("long ", 1000), http.StatusServiceUnavailable)
	})
	h := NewPublic(o)
	wantProblem(t, h, 503, "SERVICE_UNAVAILABLE", "GET", "/ws")
	answer, body := ask(t, h, "GET", "/ws")
	if answer.Header.Get("Retry-After") != "5" || len(body) > 2*longestDetail {
		t.Errorf("%v, %d bytes", answer.Header, len(body))
	}
	if got := codeOf(http.StatusNonAuthoritativeInfo); got != "NON_AUTHORITATIVE_INFORMATION" {
		t.Error(got)
	}
}

func TestOrigins(t *testing.T) {
	named := []string{"https://app.example", "http://dev.example:3000"}
	for _, c := range []struct {
		host, origin string
		demo, want   bool
	}{
		{host: "chat.example", origin: "https://chat.example", want: true},
		{host: "chat.example", origin: "http://chat.example", want: true},
		{host: "chat.example:443", origin: "https://chat.example", want: true},
		{host: "chat.example", origin: "https://CHAT.example:443", want: true},
		{host: "chat.example:8088", origin: "http://chat.example:8088", want: true},
		{host: "[::1]:8088", origin: "http://[::1]:8088", want: true},
		{host: "chat.example:8088", origin: "http://chat.example"},
		{host: "chat.example", origin: "https://chat.example:444"},
		{host: "chat.example", origin: "https://app.example", want: true},
		{host: "chat.example", origin: "https://app.example:443", want: true},
		{host: "chat.example", origin: "https://App.Example", want: true},
		{host: "chat.example", origin: "http://dev.example:3000", want: true},
		{host: "chat.example", origin: "http://app.example"},
		{host: "chat.example", origin: "https://app.example:8443"},
		{host: "chat.example", origin: "https://app.example.evil.example"},
		{host: "chat.example", origin: "https://evil.example/https://app.example"},
		{host: "chat.example", origin: "https://app.example@evil.example"},
		{host: "chat.example", origin: "https://app.example/"},
		{host: "chat.example", origin: "https://app.example?x"},
		{host: "chat.example", origin: "null"},
		{host: "chat.example", origin: ""},
		{host: "chat.example", origin: "file://"},
		{host: "chat.example", origin: "chrome-extension://chat.example"},
		{host: "chat.example", origin: "https://%zz"},
		{host: "chat.example", origin: "http://localhost:5173"},
		{host: "127.0.0.1:8088", origin: "http://localhost:5173", demo: true, want: true},
		{host: "127.0.0.1:8088", origin: "https://127.0.0.2", demo: true, want: true},
		{host: "127.0.0.1:8088", origin: "http://[::1]:3000", demo: true, want: true},
		{host: "127.0.0.1:8088", origin: "http://evil.example", demo: true},
		{host: "127.0.0.1:8088", origin: "http://localhost.evil.example", demo: true},
		{host: "127.0.0.1:8088", origin: "null", demo: true},
	} {
		r := httptest.NewRequest("GET", "/ws", nil)
		r.Host = c.host
		r.Header.Set("Origin", c.origin)
		if got := OriginAllowed(r, named, c.demo); got != c.want {
			t.Errorf("page %q at %q, demo %v: %v", c.origin, c.host, c.demo, got)
		}
	}
	for origin, want := range map[string]bool{"https://chat.example": true, "http://chat.example": false, "http://dev.example:3000": true} {
		r := httptest.NewRequest("GET", "https://chat.example/ws", nil) // by TLS
		r.Header.Set("Origin", origin)
		if got := OriginAllowed(r, named, false); got != want {
			t.Errorf("page %q by TLS: %v", origin, got)
		}
	}
	r := httptest.NewRequest("GET", "/ws", nil)
	if !OriginAllowed(r, nil, false) {
		t.Error("a program was refused")
	}
	r.Header["Origin"] = []string{"https://app.example", "https://app.example"}
	if OriginAllowed(r, named, false) {
		t.Error("two origins are none")
	}
}
