package meta

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// metrics counts.
type metrics struct {
	version, domains, links, apps prometheus.Gauge
	lastLook, inTrouble           prometheus.Gauge
	streams, connections          prometheus.Gauge
	changes                       prometheus.Counter
	troubles, requests, refused   *prometheus.CounterVec
}

func newMetrics(to prometheus.Registerer) (*metrics, error) {
	var list []prometheus.Collector
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "switchboard_meta_" + name, Help: help})
		list = append(list, g)
		return g
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "switchboard_meta_" + name, Help: help}, []string{label})
		list = append(list, c)
		return c
	}
	m := &metrics{
		version:     gauge("version", "Version of the description that is served."),
		domains:     gauge("domains", "Domains that it has."),
		links:       gauge("links", "Links that it has."),
		apps:        gauge("apps", "Apps that it has."),
		lastLook:    gauge("last_look_timestamp_seconds", "When the description was looked at last, well or not."),
		inTrouble:   gauge("in_trouble", "1 while the description at its place cannot be read or is not good, so that an older one is served."),
		streams:     gauge("streams", "Open streams of events."),
		connections: gauge("connections", "Open connections."),
		changes:     prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_meta_changes_total", Help: "New descriptions that took effect."}),
		troubles:    counters("troubles_total", "Looks at the description that brought none, by kind.", "kind"),
		requests:    counters("requests_total", "Requests that were answered, by status.", "status"),
		refused:     counters("refused_total", "Requests, connections and streams that were refused or ended, by reason.", "reason"),
	}
	for _, c := range append(list, m.changes) {
		if err := to.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	for _, kind := range []string{troubleFile, troubleRepository, troubleAccess, troubleBranch, troubleBad, troubleDisk} {
		m.troubles.WithLabelValues(kind)
	}
	return m, nil
}

func (m *metrics) serving(n *domains.Network) {
	m.version.Set(float64(n.Version))
	m.domains.Set(float64(len(n.Domains)))
	m.links.Set(float64(len(n.Links)))
	m.apps.Set(float64(len(n.Apps)))
}

func (m *metrics) looked(at time.Time) { m.lastLook.Set(float64(at.UnixMilli()) / 1000) }
func (m *metrics) changed()            { m.changes.Inc() }
func (m *metrics) well()               { m.inTrouble.Set(0) }

func (m *metrics) trouble(kind string) {
	m.inTrouble.Set(1)
	m.troubles.WithLabelValues(kind).Inc()
}

func (m *metrics) refuse(reason string) { m.refused.WithLabelValues(reason).Inc() }
