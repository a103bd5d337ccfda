package journal

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what happens.
type metrics struct {
	events   *prometheus.CounterVec // type
	lost     *prometheus.CounterVec // reason
	repeated prometheus.Counter
	seconds  prometheus.Histogram
}

func newMetrics(to prometheus.Registerer, r *Room) (*metrics, error) {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_journal_events_total", Help: "Events that this node stored in the journal as the keeper of their shards, by type.",
		}, []string{"type"}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_journal_lost_total", Help: "Events that this node noticed itself and that are in no journal: as many waited as may (queue), as many devices are known as may be (devices), the node stopped first (stop), or what it noticed is no event (refused).",
		}, []string{"reason"}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "switchboard_journal_repeated_total", Help: "Events that came again, with an ID or in a request that was stored before.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "switchboard_journal_append_seconds", Help: "Time to store one batch of the journal.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .5, 1, 5},
		}),
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "switchboard_journal_waiting", Help: "Events of this node that wait to be stored.",
	}, func() float64 { return float64(r.waiting.Load()) })
	devices := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "switchboard_journal_devices", Help: "Devices whose state this node keeps.",
	}, func() float64 { return float64(r.devices()) })
	for _, c := range []prometheus.Collector{m.events, m.lost, m.repeated, m.seconds, waiting, devices} {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	for _, why := range []string{"queue", "devices", "stop", "refused"} {
		m.lost.WithLabelValues(why)
	}
	return m, nil
}

func (m *metrics) lose(why string, n int) { m.lost.WithLabelValues(why).Add(float64(n)) }

func (m *metrics) stored(b *batch, took time.Duration) {
	m.seconds.Observe(took.Seconds())
	count := make(map[Type]int, 8)
	for i := range b.events {
		count[b.events[i].Type]++
	}
	for t, n := range count {
		m.events.WithLabelValues(string(t)).Add(float64(n))
	}
}

// devices counts the states that this node keeps.
func (r *Room) devices() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.owners {
		n += int(o.states.Load())
	}
	return n
}
