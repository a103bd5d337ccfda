package match

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the room counts.
type metrics struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector

	made, ended, timedOut, refused, replaced prometheus.Counter
	batches, failures                        prometheus.Counter
	sent, dropped                            prometheus.Counter

	once sync.Once // unregisters
}

func newMetrics(r *Room, to prometheus.Registerer) (*metrics, error) {
	m := &metrics{registerer: to}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_match_" + name, Help: help})
		m.all = append(m.all, c)
		return c
	}
	gauge := func(name, help string, of func(*owner) int64) {
		m.all = append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "switchboard_match_" + name, Help: help}, func() float64 {
			r.mu.Lock()
			defer r.mu.Unlock()
			n := int64(0)
			for _, o := range r.owned {
				n += of(o)
			}
			return float64(n)
		}))
	}
	m.made = counter("matches_total", "Matches that were made in pools that this node owns.")
	m.ended = counter("matches_ended_total", "Matches that have ended in pools that this node owns.")
	m.timedOut = counter("timeouts_total", "Tickets of which the time ran out.")
	m.refused = counter("refused_total", "Tickets that were refused: their device took part already, or too many wait.")
	m.replaced = counter("replaced_total", "Tickets and parts in matches that ended because another session of the device took their place.")
	m.batches = counter("batches_total", "Batches of matches and their ends that were stored.")
	m.failures = counter("log_failures_total", "Times that a log of matches could not be written, or had to be read again.")
	m.sent = counter("messages_total", "Messages between members of matches, sent from this node.")
	m.dropped = counter("messages_dropped_total", "Messages between members that found nobody who was still in the match.")
	gauge("waiting", "Tickets that wait in pools that this node owns.", func(o *owner) int64 { return o.waiting.Load() })
	gauge("matches", "Live matches of pools that this node owns.", func(o *owner) int64 { return o.matches.Load() })
	if to == nil {
		return m, nil
	}
	for _, c := range m.all {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// add counts what a core has counted since it was asked last.
func (m *metrics) add(c counts) {
	if c == (counts{}) {
		return
	}
	m.made.Add(float64(c.made))
	m.ended.Add(float64(c.ended))
	m.timedOut.Add(float64(c.timedOut))
	m.refused.Add(float64(c.refused))
	m.replaced.Add(float64(c.replaced))
}

func (m *metrics) unregister() {
	m.once.Do(func() {
		if m.registerer == nil {
			return
		}
		for _, c := range m.all {
			m.registerer.Unregister(c)
		}
	})
}
