package nearby

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what happens to positions.
type metrics struct {
	taken, older, refused, hides, expired prometheus.Counter
	batches, failures, silent             prometheus.Counter

	watches atomic.Int64
	all     []prometheus.Collector
	to      prometheus.Registerer
}

func newMetrics(r *Room, to prometheus.Registerer) (*metrics, error) {
	m := &metrics{to: to}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_nearby_" + name, Help: help})
		m.all = append(m.all, c)
		return c
	}
	gauge := func(name, help string, value func() float64) {
		m.all = append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "switchboard_nearby_" + name, Help: help}, value))
	}
	m.taken = counter("taken_total", "Positions that this node has taken in as a keeper.")
	m.older = counter("older_total", "Positions that were older than what was known.")
	m.refused = counter("refused_total", "Positions that a keeper refused.")
	m.hides = counter("hides_total", "Positions that were hidden.")
	m.expired = counter("expired_total", "Positions that expired without news.")
	m.batches = counter("batches_total", "Batches of positions that were stored.")
	m.failures = counter("store_failures_total", "Batches of positions that could not be stored at once.")
	m.silent = counter("unanswered_total", "Questions that were not answered, since a keeper was out of reach.")
	gauge("watches", "Parts of the map that sessions of this node watch.", func() float64 { return float64(m.watches.Load()) })
	gauge("positions", "Positions of the shards that this node keeps, those that are hidden included.", func() float64 {
		n := int64(0)
		for i := range r.here {
			if o := r.here[i].Load(); o != nil {
				n += o.known.Load()
			}
		}
		return float64(n)
	})
	if to == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := to.Register(c); err != nil {
			m.all = m.all[:i]
			m.unregister()
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.to == nil {
		return
	}
	for _, c := range m.all {
		m.to.Unregister(c)
	}
}

// add adds what a core has counted, which begins anew.
func (m *metrics) add(c *counts) {
	m.taken.Add(float64(c.taken))
	m.older.Add(float64(c.older))
	m.refused.Add(float64(c.refused))
	m.hides.Add(float64(c.hides))
	m.expired.Add(float64(c.expired))
	*c = counts{}
}
