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
	streams, connections          prometheus.Gauge
	files, answers                prometheus.Gauge
	changes, settingsChanges      prometheus.Counter
	requests, refused             *prometheus.CounterVec

	ofNetwork, ofSettings *looks
}

// looks count the looks at one source.
type looks struct {
	lastLook, inTrouble prometheus.Gauge
	troubles            *prometheus.CounterVec
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
		streams:     gauge("streams", "Open streams of events."),
		connections: gauge("connections", "Open connections."),
		changes:     prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_meta_changes_total", Help: "New descriptions that took effect."}),
		files:       gauge("settings_files", "Files of settings that are served."),
		answers:     gauge("settings_answers", "Answers that are kept ready: one for each service and profile that was asked for since the last commit."),
		settingsChanges: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "switchboard_meta_settings_changes_total", Help: "Commits, or states of a folder, with settings that took effect.",
		}),
		requests: counters("requests_total", "Requests that were answered, by status.", "status"),
		refused:  counters("refused_total", "Requests, connections and streams that were refused or ended, by reason.", "reason"),
	}
	look := func(prefix, what string) *looks {
		l := &looks{
			lastLook:  gauge(prefix+"last_look_timestamp_seconds", "When "+what+" at their place were looked at last, well or not."),
			inTrouble: gauge(prefix+"in_trouble", "1 while "+what+" at their place cannot be read or are not good, so that older ones are served."),
			troubles:  counters(prefix+"troubles_total", "Looks at "+what+" that brought none, by kind.", "kind"),
		}
		for _, kind := range troubleKinds() {
			l.troubles.WithLabelValues(kind)
		}
		return l
	}
	m.ofNetwork, m.ofSettings = look("", "descriptions"), look("settings_", "settings")
	for _, c := range append(list, m.changes, m.settingsChanges) {
		if err := to.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) serving(n *domains.Network) {
	m.version.Set(float64(n.Version))
	m.domains.Set(float64(len(n.Domains)))
	m.links.Set(float64(len(n.Links)))
	m.apps.Set(float64(len(n.Apps)))
}

func (l *looks) looked(at time.Time) { l.lastLook.Set(float64(at.UnixMilli()) / 1000) }
func (l *looks) well()               { l.inTrouble.Set(0) }

func (l *looks) trouble(kind string) {
	l.inTrouble.Set(1)
	l.troubles.WithLabelValues(kind).Inc()
}

func (m *metrics) refuse(reason string) { m.refused.WithLabelValues(reason).Inc() }
