package api

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Part is one thing that has to work for the node to be ready.
type Part struct {
	Name string
	// Check returns nil when the part works, or why it does not. It is called
	// for every look at /readyz and must be quick.
	Check func() error
}

// Options configure both handlers. Log, Metrics and MaxBody are needed.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Gatherer
	Parts   []Part       // what /readyz asks
	MaxBody func() int64 // bytes of a request's body

	// For the public handler only.
	Socket  http.Handler               // at /ws
	Console http.Handler               // at /
	Demo    bool                       // serves metrics to clients too, and loopback names only
	Origin  func(r *http.Request) bool // whether a page may ask; nil: any
}

// NewAdmin returns what operators may ask: /healthz, /readyz, /metrics and
// /debug/pprof.
func NewAdmin(o Options) http.Handler {
	mux := http.NewServeMux()
	health(mux, o)
	mux.Handle("/metrics", only(http.MethodGet, promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{})))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/", notFound)
	return guard(mux, o.Log, o.MaxBody)
}

// NewPublic returns what clients may ask: /ws, the console, /healthz and
// /readyz; on the loopback demo /metrics too.
func NewPublic(o Options) http.Handler {
	mux := http.NewServeMux()
	health(mux, o)
	mux.Handle("/ws", only(http.MethodGet, o.Socket))
	if o.Demo {
		mux.Handle("/metrics", only(http.MethodGet, promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{})))
	}
	mux.Handle("/", only(http.MethodGet, o.Console))
	return guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case o.Demo && !HostAllowed(r):
			Problem(w, http.StatusMisdirectedRequest, "WRONG_HOST", "the demo answers to loopback names only, such as 127.0.0.1 and localhost")
		case o.Origin != nil && !o.Origin(r):
			Problem(w, http.StatusForbidden, "ORIGIN_REFUSED", "pages of this origin may not use this server; name it in origins")
		default:
			mux.ServeHTTP(w, r)
		}
	}), o.Log, o.MaxBody)
}

func health(mux *http.ServeMux, o Options) {
	mux.Handle("/healthz", only(http.MethodGet, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})))
	mux.Handle("/readyz", only(http.MethodGet, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		readiness(w, o.Parts)
	})))
}

// readiness answers 200 when every part works, and 503 otherwise; either way it
// lists them.
func readiness(w http.ResponseWriter, parts []Part) {
	type line struct {
		Name   string `json:"name"`
		Ready  bool   `json:"ready"`
		Reason string `json:"reason,omitempty"`
	}
	lines := make([]line, 0, len(parts))
	for _, p := range parts {
		l := line{Name: p.Name, Ready: true}
		if err := p.Check(); err != nil {
			l.Ready, l.Reason = false, err.Error()
		}
		lines = append(lines, l)
	}
	ready := !slices.ContainsFunc(lines, func(l line) bool { return !l.Ready })
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, map[string]any{"ready": ready, "parts": lines})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own values marshal
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client may be gone; there is nobody else to tell.
	_, _ = w.Write(append(body, '\n'))
}
