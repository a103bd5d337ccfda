package relay

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminConnections is how many an admin door has at once.
const adminConnections = 64

// admin serves what operators ask of a program.
type admin struct {
	ready   func() error // nil when all is well, else why it is not
	status  func() any   // what /status has, as JSON
	metrics http.Handler
}

// newAdmin makes the handler of an admin door. Its functions are called by many
// requests at once.
func newAdmin(from *prometheus.Registry, ready func() error, status func() any) *admin {
	return &admin{ready: ready, status: status, metrics: promhttp.HandlerFor(from, promhttp.HandlerOpts{})}
}

// moveAdmin has an admin door serve under other settings, and the first time
// (old is nil) at all. After an error the old one serves on as it did. Whether the
// program is alive and ready is told without the secret, too.
func moveAdmin(old *door, log *slog.Logger, address string, creds *credentials, a *admin) (*door, error) {
	m, err := planAdmin(old, log, address, creds, a)
	if err != nil {
		return old, err
	}
	moveDoors(m)
	return m.door, nil
}

// planAdmin plans the move of an admin door.
func planAdmin(old *door, log *slog.Logger, address string, creds *credentials, a *admin) (*doorMove, error) {
	m, err := planMove(old, log, address, adminConnections, behind{
		handler: a, creds: creds, names: []string{}, within: quickTime,
		open: func(r *http.Request) bool { return r.URL.Path == "/healthz" || r.URL.Path == "/readyz" },
	})
	if err != nil {
		return m, fmt.Errorf("admin: %w", err)
	}
	return m, nil
}

// ServeHTTP implements http.Handler.
func (a *admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, codeMethod, "this path takes GET")
		return
	}
	switch r.URL.Path {
	case "/healthz":
		answer(w, map[string]string{"status": "alive"})
	case "/readyz":
		if err := a.ready(); err != nil {
			refuse(w, http.StatusServiceUnavailable, codeNotReady, err.Error())
			return
		}
		answer(w, map[string]string{"status": "ready"})
	case "/metrics":
		a.metrics.ServeHTTP(w, r)
	case "/status":
		answer(w, a.status())
	default:
		refuse(w, http.StatusNotFound, codeNotFound, "there are /healthz, /readyz, /metrics and /status")
	}
}

// answer answers with JSON.
func answer(w http.ResponseWriter, v any) { answerText(w, encode(v)) }

// encode returns JSON on a line.
func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	return append(body, '\n')
}

// answerText answers with JSON that is there already.
func answerText(w http.ResponseWriter, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	// The caller may be gone; there is nobody else to tell.
	_, _ = w.Write(body)
}

// newRegistry returns a registry with what every program of ours shows.
func newRegistry(more ...prometheus.Collector) (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	more = append(more, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, c := range more {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return r, nil
}

// newRefused returns the counter of what was refused, by its code.
func newRefused() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "switchboard_relay_refused_total", Help: "Requests, files and records that were refused or left alone, by code.",
	}, []string{"code"})
}

// reported are the metrics that a report has already.
type reported struct {
	report   func() Report
	failed   func() counted
	families []family
}

// family is a metric that is read off a report.
type family struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*Report) float64
}

// newReported returns a collector of metrics which reads report at each scrape.
func newReported(t *tally, report func() Report) prometheus.Collector {
	r := &reported{report: report, failed: t.count}
	add := func(name, help string, kind prometheus.ValueType, value func(*Report) float64) {
		r.families = append(r.families, family{prometheus.NewDesc("switchboard_relay_"+name, help, nil, nil), kind, value})
	}
	add("files_total", "Files that were sent, stored or made.", prometheus.CounterValue, func(r *Report) float64 { return float64(r.Files) })
	add("bytes_total", "Bytes of those files.", prometheus.CounterValue, func(r *Report) float64 { return float64(r.Bytes) })
	add("waiting_files", "Files that lie in the spool.", prometheus.GaugeValue, func(r *Report) float64 { return float64(r.Waiting.Files) })
	add("waiting_bytes", "Bytes of the files that lie in the spool.", prometheus.GaugeValue, func(r *Report) float64 { return float64(r.Waiting.Bytes) })
	add("waiting_oldest_seconds", "How long the oldest file has waited.", prometheus.GaugeValue, func(r *Report) float64 { return float64(r.Waiting.Oldest) })
	add("left_alone_files", "Files that no rule matches, or that are none of ours to send.", prometheus.GaugeValue, func(r *Report) float64 { return float64(r.LeftAlone) })
	add("full", "1 while everything is refused for want of room.", prometheus.GaugeValue, func(r *Report) float64 {
		if r.Full != "" {
			return 1
		}
		return 0
	})
	return r
}

var (
	descFailures = prometheus.NewDesc("switchboard_relay_failures_total", "Things that did not go well.", nil, nil)
	descTargetUp = prometheus.NewDesc("switchboard_relay_target_up", "1 when a collector takes files.", []string{"cluster", "id"}, nil)
	descTarget   = prometheus.NewDesc("switchboard_relay_target_waiting_files", "Files that a collector still lacks.", []string{"cluster", "id"}, nil)
)

// Describe implements prometheus.Collector.
func (r *reported) Describe(to chan<- *prometheus.Desc) {
	for _, f := range r.families {
		to <- f.desc
	}
	to <- descFailures
	to <- descTargetUp
	to <- descTarget
}

// Collect implements prometheus.Collector.
func (r *reported) Collect(to chan<- prometheus.Metric) {
	report := r.report()
	for _, f := range r.families {
		to <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(&report))
	}
	to <- prometheus.MustNewConstMetric(descFailures, prometheus.CounterValue, float64(r.failed().failed))
	for _, t := range report.Targets {
		up := 0.0
		if t.State == "up" {
			up = 1
		}
		to <- prometheus.MustNewConstMetric(descTargetUp, prometheus.GaugeValue, up, t.Cluster, t.ID)
		to <- prometheus.MustNewConstMetric(descTarget, prometheus.GaugeValue, float64(t.Waiting.Files), t.Cluster, t.ID)
	}
}
