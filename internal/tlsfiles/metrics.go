package tlsfiles

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics tell of all certificates of a process. A nil *Metrics counts nothing.
type Metrics struct {
	expiry  *prometheus.GaugeVec
	reloads *prometheus.CounterVec
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "switchboard_tls_expires_timestamp_seconds", Help: "When the certificate of a listener expires, in Unix time.",
		}, []string{"listener"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_tls_reloads_total", Help: "Certificates that were replaced while the process ran, and those that were not good (result bad).",
		}, []string{"listener", "result"}),
	}
	for _, c := range []prometheus.Collector{m.expiry, m.reloads} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of certificates: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) expires(listener string, at time.Time) {
	if m != nil {
		m.expiry.WithLabelValues(listener).Set(float64(at.Unix()))
	}
}

func (m *Metrics) reloaded(listener string, good bool) {
	if m == nil {
		return
	}
	result := "good"
	if !good {
		result = "bad"
	}
	m.reloads.WithLabelValues(listener, result).Inc()
}
