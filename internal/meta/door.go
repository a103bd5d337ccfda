package meta

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The codes of problems. What internal/api refuses, too, has its codes.
const (
	codeAuthRequired   = "AUTH_REQUIRED"
	codeKeyInvalid     = "KEY_INVALID"
	codeNotFound       = "NOT_FOUND"
	codeWrongMethod    = "METHOD_NOT_ALLOWED"
	codeWrongHost      = "WRONG_HOST"
	codeTooManyStreams = "TOO_MANY_STREAMS"
	codeInternal       = "INTERNAL"
)

// door answers requests.
type door struct {
	network   *network  // nil: none is served
	settings  *settings // nil likewise
	log       *slog.Logger
	metrics   *metrics
	numbers   http.Handler  // GET /metrics
	secret    string        // empty: none is asked for
	local     bool          // answers to loopback names only
	keepAlive time.Duration // between two signs of life on a stream
	slots     chan struct{} // one for each stream that is open
	stopping  chan struct{} // closed when streams are to end
}

func newDoor(n *network, s *settings, o *Options, local bool, m *metrics) *door {
	return &door{
		network: n, settings: s, log: o.Log, metrics: m, secret: o.Secret, local: local && o.Secret == "",
		numbers:   promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}),
		keepAlive: o.keepAlive, slots: make(chan struct{}, o.streams), stopping: make(chan struct{}),
	}
}

// problem answers with problem details (RFC 9457).
func problem(w http.ResponseWriter, status int, code, detail string) {
	body, err := plainJSON(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}{"about:blank", http.StatusText(status), status, code, detail})
	if err != nil {
		panic(err) // strings and a number
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The reader may be gone; there is nobody else to tell.
	_, _ = w.Write(append(body, '\n'))
}

// noted remembers the status of an answer.
type noted struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (n *noted) WriteHeader(status int) {
	if n.status == 0 {
		n.status = status
	}
	n.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (n *noted) Write(b []byte) (int, error) {
	if n.status == 0 {
		n.status = http.StatusOK
	}
	return n.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// ServeHTTP implements http.Handler.
func (d *door) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	w := &noted{ResponseWriter: to}
	defer d.finish(w, r)
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	serve := d.find(r.URL.Path)
	switch {
	case d.local && !loopbackHost(r.Host):
		// A page elsewhere may have a name of its own point here.
		d.refuse(w, http.StatusMisdirectedRequest, codeWrongHost, "without a secret this server answers to loopback names only, such as 127.0.0.1 and localhost")
	case r.URL.Path != "/healthz" && !d.admits(w, r):
	case serve == nil:
		d.refuse(w, http.StatusNotFound, codeNotFound, "there is nothing at this path: there are "+strings.Join(d.paths(), ", ")+d.names())
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		d.refuse(w, http.StatusMethodNotAllowed, codeWrongMethod, "this path takes GET, HEAD")
	default:
		serve(w, r)
	}
}

// paths returns all that is served.
func (d *door) paths() []string {
	var list []string
	if d.network != nil {
		list = append(list, pathDomains, pathLinks, pathGraph, pathApps, "/events")
	}
	if d.settings != nil {
		list = append(list, pathConfig, pathConfig+"/{service}/{profile}", pathConfig+"/{service}/{profile}/events")
	}
	return append(list, "/healthz", "/metrics")
}

// names says what names a path may have.
func (d *door) names() string {
	if d.settings == nil {
		return ""
	}
	return fmt.Sprintf("; service and profile have 1 to %d letters, digits, -, _ and dots, a letter or digit first, and no service is called %s", maxName, shared)
}

func (d *door) find(path string) http.HandlerFunc {
	switch path {
	case pathDomains, pathLinks, pathGraph, pathApps:
		if d.network != nil {
			return d.description
		}
	case "/events":
		if d.network != nil {
			return d.events
		}
	case "/metrics":
		return d.numbers.ServeHTTP
	case "/healthz":
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_, _ = w.Write([]byte("{\"status\":\"alive\"}\n"))
		}
	}
	if d.settings != nil && (path == pathConfig || strings.HasPrefix(path, pathConfig+"/")) {
		return d.findSettings(strings.Split(path, "/")[2:])
	}
	return nil
}

func (d *door) refuse(w http.ResponseWriter, status int, code, detail string) {
	d.metrics.refuse(code)
	problem(w, status, code, detail)
}

// admits says whether a reader has the secret, and answers who has not.
func (d *door) admits(w http.ResponseWriter, r *http.Request) bool {
	if d.secret == "" {
		return true
	}
	scheme, shown, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || shown == "" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		d.refuse(w, http.StatusUnauthorized, codeAuthRequired, "this server asks for its secret: Authorization: Bearer …")
		return false
	}
	// Digests, so that the time says nothing of how long the secret is.
	have, want := sha256.Sum256([]byte(strings.TrimSpace(shown))), sha256.Sum256([]byte(d.secret))
	if subtle.ConstantTimeCompare(have[:], want[:]) == 1 {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	d.refuse(w, http.StatusUnauthorized, codeKeyInvalid, "this is not the secret of this server")
	return false
}

// description answers with a part of what is served.
func (d *door) description(w http.ResponseWriter, r *http.Request) {
	v, _ := d.network.current()
	give(w, r, v.answers[r.URL.Path])
}

// give answers with what is ready, unless the reader has it.
func give(w http.ResponseWriter, r *http.Request, a answer) {
	h := w.Header()
	h.Set("Etag", a.etag)
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Type", "application/json; charset=utf-8")
	if matches(r.Header.Values("If-None-Match"), a.etag) {
		h.Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	if r.Method == http.MethodHead {
		return
	}
	// The reader may be gone; there is nobody else to tell.
	_, _ = w.Write(a.body)
}

// matches says whether If-None-Match names a tag. Its comparison is the weak one
// (RFC 9110, 13.1.2). Our tags have no comma in them.
func matches(header []string, etag string) bool {
	for _, line := range header {
		for tag := range strings.SplitSeq(line, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// finish counts a request. A panic costs no more than its own.
func (d *door) finish(w *noted, r *http.Request) {
	if cause := recover(); cause != nil {
		if cause == http.ErrAbortHandler {
			panic(cause)
		}
		d.log.Error("a request ended in a panic", "path", r.URL.Path, "err", fmt.Sprint(cause), "stack", string(debug.Stack()))
		if w.status != 0 {
			panic(http.ErrAbortHandler)
		}
		problem(w, http.StatusInternalServerError, codeInternal, "the server failed to answer; its log says why")
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	d.metrics.requests.WithLabelValues(strconv.Itoa(w.status)).Inc()
}

// loopbackHost says whether a request's Host is a name of this machine alone.
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return loopback(strings.TrimSuffix(host, "."))
}
