package apps

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// metrics counts what this package does. The label app is the name of a
// configured app, or empty.
type metrics struct {
	signIns *prometheus.CounterVec   // app, result: OK, CANCELLED, TIMEOUT or the refusal's code
	calls   *prometheus.HistogramVec // app; seconds
	flying  prometheus.Gauge
	waiting prometheus.Gauge
	fetches *prometheus.CounterVec // result: ok or failed
	links   *prometheus.CounterVec // result: OK or the refusal's code
}

// newMetrics registers with reg, which may be nil.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const space, sub = "switchboard", "apps"
	m := &metrics{
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "sign_ins_total",
			Help: "Attempts to sign in, by app (empty: none that is configured) and result (OK; CANCELLED: the client left; TIMEOUT: no answer in time; or the code of the refusal).",
		}, []string{"app", "result"}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: space, Subsystem: sub, Name: "hook_seconds",
			Help:    "Duration of calls of auth hooks, without the wait for a turn.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"app"}),
		flying: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: space, Subsystem: sub, Name: "hook_in_flight",
			Help: "Calls of auth hooks in flight.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: space, Subsystem: sub, Name: "hook_waiting",
			Help: "Attempts to sign in that wait for their turn at an auth hook.",
		}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "key_fetches_total",
			Help: "Fetches of JWT key sets, by result (ok, failed).",
		}, []string{"result"}),
		links: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "link_sign_ins_total",
			Help: "Attempts of other domains' links to sign in, by result (OK, or the code of the refusal).",
		}, []string{"result"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.signIns, m.calls, m.flying, m.waiting, m.fetches, m.links} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) signIn(app string, refusal *Refusal) {
	result := "OK"
	switch {
	case refusal == nil:
	case errors.Is(refusal, context.Canceled):
		result = "CANCELLED"
	case refusal.Code == wire.CodeHookFailed && errors.Is(refusal, context.DeadlineExceeded):
		result = "TIMEOUT"
	default:
		result = refusal.Code
	}
	m.signIns.WithLabelValues(app, result).Inc()
}

func (m *metrics) link(refusal *Refusal) {
	result := "OK"
	if refusal != nil {
		result = refusal.Code
	}
	m.links.WithLabelValues(result).Inc()
}

// waits counts an attempt that waits for its turn until the result is called.
func (m *metrics) waits() func() {
	m.waiting.Inc()
	return m.waiting.Dec
}

func (m *metrics) fetched(err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.fetches.WithLabelValues(result).Inc()
}

// forget drops the series of an app that is no longer configured.
func (m *metrics) forget(app string) {
	m.signIns.DeletePartialMatch(prometheus.Labels{"app": app})
	m.calls.DeletePartialMatch(prometheus.Labels{"app": app})
}
