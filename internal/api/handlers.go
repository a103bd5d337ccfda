package api

import (
	"encoding/json"
	"io"
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
	// Note is what an operator has to know of a part that works; nil, or empty, for
	// nothing.
	Note func() string
}

// Options configure both handlers. Log, Metrics and MaxBody are needed.
type Options struct {
	Log     *slog.Logger
	Metrics Metrics
	Parts   []Part       // what /readyz asks
	MaxBody func() int64 // bytes of a request's body

	Demo   bool                       // loopback names only; the public handler serves metrics and the cluster, and its console offers the demo's users
	Origin func(r *http.Request) bool // whether a page may ask; nil: any

	V1      *V1     // the calls under /v1; nil: there are none
	Cluster Cluster // at /cluster, of the admin handler and the demo; nil: there is no such path

	// For the public handler only.
	Socket  http.Handler // at /ws; it checks origins itself
	Devices http.Handler // at /device/connect; so does it; nil: there is no such door
	Access  string       // who may connect there, for the console: open, key or jwt
	Console http.Handler // at / and below; with Serves(path) bool it leaves other paths to Gateway
	Gateway Gateway      // behind all other paths; nil: there is none
	// DevicesOff says which setting would let devices in, where there is no such door.
	DevicesOff string
	// Map is what the console's map has to know; nil where nobody says where he is.
	Map *Map
}

// Metrics is what /metrics shows, and where the handlers count.
type Metrics interface {
	prometheus.Gatherer
	prometheus.Registerer
}

// Methods that paths take.
var (
	read       = []string{http.MethodGet, http.MethodHead}
	readOrPost = []string{http.MethodGet, http.MethodHead, http.MethodPost}
)

// NewAdmin returns what operators may ask: / names the rest, /healthz, /readyz, /metrics,
// /cluster and /debug/pprof.
func NewAdmin(o Options) http.Handler {
	d := newDoor(adminDoor, o)
	paths := "/healthz\n/readyz\n/metrics\n/debug/pprof/\n"
	if o.Cluster != nil {
		d.exact("/cluster", read, clusterPage(o.Cluster))
		paths += "/cluster\n"
	}
	if o.V1 != nil {
		paths += "/docs/api\n/openapi.json\n"
	}
	d.exact("/", read, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, paths) // whoever asked may have gone
	}))
	d.exact("/metrics", read, metrics(o))
	d.exact("/debug/pprof/cmdline", read, http.HandlerFunc(pprof.Cmdline))
	d.exact("/debug/pprof/profile", read, http.HandlerFunc(pprof.Profile))
	d.exact("/debug/pprof/symbol", readOrPost, http.HandlerFunc(pprof.Symbol))
	d.exact("/debug/pprof/trace", read, http.HandlerFunc(pprof.Trace))
	d.below("/debug/pprof/", read, http.HandlerFunc(pprof.Index))
	return d
}

// NewPublic returns what clients may ask: /ws, the console and what it has to
// know of the server (/console.json), /healthz and /readyz; on the loopback
// demo /metrics and /cluster too.
func NewPublic(o Options) http.Handler {
	d := newDoor(publicDoor, o)
	d.exact("/ws", read, o.Socket)
	d.exact("/device/connect", read, devicesOf(o))
	d.ownOrigin = []string{"/ws", "/device/connect"}
	if o.Demo {
		d.exact("/metrics", read, metrics(o))
		if o.Cluster != nil {
			d.exact("/cluster", read, clusterPage(o.Cluster))
		}
	}
	d.exact("/console.json", read, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, about(o))
	}))
	d.below("/", read, o.Console)
	d.gateway = o.Gateway
	if pages, ok := o.Console.(interface{ Serves(path string) bool }); ok {
		d.pages = pages.Serves
	}
	return d
}

// aboutServer is what the console has to know before anybody signs in.
type aboutServer struct {
	Demo    bool   `json:"demo"`
	Devices string `json:"devices"`
	Map     *Map   `json:"map,omitempty"`
}

// Map is what the console's map has to know.
type Map struct {
	TTL         float64 `json:"ttl"`             // seconds after which a position without news is gone
	Tiles       string  `json:"tiles,omitempty"` // where to get them, with {z}, {x} and {y}
	Attribution string  `json:"attribution,omitempty"`
}

func about(o Options) aboutServer {
	a := aboutServer{Demo: o.Demo, Devices: "off", Map: o.Map}
	if o.Devices != nil {
		a.Devices = o.Access
	}
	return a
}

// devicesOf returns what serves devices, or says that nobody does.
func devicesOf(o Options) http.Handler {
	if o.Devices != nil {
		return o.Devices
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		Problem(w, http.StatusNotFound, CodeNotFound, o.DevicesOff)
	})
}

// NewControl returns what the operator may ask at the control socket: the calls
// under /v1, as an admin and without a key, /healthz and /readyz. Who may open
// the socket is the file system's to say; pages and host names do not come here.
func NewControl(o Options) http.Handler {
	o.Demo, o.Origin = false, nil
	return newDoor(controlDoor, o)
}

func metrics(o Options) http.Handler {
	return promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), // whoever asks is told, and is why, if he leaves,
		MaxRequestsInFlight: 8,
	})
}

// alive answers /healthz: the process runs and takes requests, nothing more.
func alive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

// readiness answers 200 when every part works, and 503 otherwise; either way it
// lists them.
func readiness(w http.ResponseWriter, parts []Part) {
	type line struct {
		Name   string `json:"name"`
		Ready  bool   `json:"ready"`
		Reason string `json:"reason,omitempty"`
		Note   string `json:"note,omitempty"`
	}
	lines := make([]line, 0, len(parts))
	for _, p := range parts {
		l := line{Name: p.Name, Ready: true}
		if err := p.Check(); err != nil {
			l.Ready, l.Reason = false, err.Error()
		}
		if p.Note != nil {
			l.Note = p.Note()
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
	w.WriteHeader(status)
	// The client may be gone; there is nobody else to tell.
	_, _ = w.Write(append(body, '\n'))
}
