package link

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// metrics counts what links do. The label domain is the name of a neighbour.
type metrics struct {
	dials    *prometheus.CounterVec // domain, result: ok or failed
	forwards *prometheus.CounterVec // domain, feature
	bytes    *prometheus.CounterVec // domain
	refused  *prometheus.CounterVec // domain
	holds    *prometheus.CounterVec // domain
	trips    *prometheus.GaugeVec   // domain
}

func newMetrics(to prometheus.Registerer, list func() []State) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "switchboard_link_" + name, Help: help}, append([]string{"domain"}, labels...))
	}
	m := &metrics{
		dials:    counter("dials_total", "Attempts to connect to a neighbour, by result (ok, failed).", "result"),
		forwards: counter("received_total", "Frames that came over the link from a neighbour, by feature.", "feature"),
		bytes:    counter("received_bytes_total", "Their bytes."),
		refused:  counter("malformed_total", "Frames from a neighbour that were no good FORWARD; each closed the link."),
		holds:    counter("held_total", "Times that the link waited for a newer description of the network."),
		trips: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "switchboard_link_round_trip_seconds", Help: "Round trip to a neighbour, as measured last.",
		}, []string{"domain"}),
	}
	if to == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.dials, m.forwards, m.bytes, m.refused, m.holds, m.trips, ups{list}} {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// ups tells which links are up, of those that this node is to have.
type ups struct{ list func() []State }

var upDesc = prometheus.NewDesc("switchboard_link_up", "Whether this domain is connected to a neighbour, of those that this node is to be connected to.", []string{"domain"}, nil)

// Describe implements prometheus.Collector.
func (ups) Describe(to chan<- *prometheus.Desc) { to <- upDesc }

// Collect implements prometheus.Collector.
func (u ups) Collect(to chan<- prometheus.Metric) {
	for _, s := range u.list() {
		if !s.Mine {
			continue
		}
		up := 0.0
		if s.Up {
			up = 1
		}
		to <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, up, s.Domain)
	}
}

func (m *metrics) dialled(domain string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.dials.WithLabelValues(domain, result).Inc()
}

func (m *metrics) received(domain string, f *wire.Forward, bytes int) {
	feature := "RELIABLE"
	if f.Fast {
		feature = "FAST"
	}
	m.forwards.WithLabelValues(domain, feature).Inc()
	m.bytes.WithLabelValues(domain).Add(float64(bytes))
}

func (m *metrics) bad(domain string)  { m.refused.WithLabelValues(domain).Inc() }
func (m *metrics) held(domain string) { m.holds.WithLabelValues(domain).Inc() }

func (m *metrics) roundTrip(domain string, took time.Duration) {
	m.trips.WithLabelValues(domain).Set(took.Seconds())
}

// forget drops the series of a domain that is no neighbour any more.
func (m *metrics) forget(domain string) {
	labels := prometheus.Labels{"domain": domain}
	for _, v := range []*prometheus.CounterVec{m.dials, m.forwards, m.bytes, m.refused, m.holds} {
		v.DeletePartialMatch(labels)
	}
	m.trips.DeletePartialMatch(labels)
}
