package events

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts.
type metrics struct {
	streams atomic.Int64
	away    atomic.Int64
	lent    atomic.Int64

	opened    prometheus.Counter
	resumed   prometheus.Counter
	takenOver prometheus.Counter
	turns     prometheus.Counter
	events    prometheus.Counter
	forgotten prometheus.Counter

	handed, handedRefused prometheus.Counter
}

func newMetrics(to prometheus.Registerer) (*metrics, error) {
	m := new(metrics)
	var list []prometheus.Collector
	gauge := func(name, help string, value *atomic.Int64) {
		list = append(list, prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: "switchboard_events_" + name, Help: help},
			func() float64 { return float64(value.Load()) },
		))
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_events_" + name, Help: help})
		list = append(list, c)
		return c
	}
	gauge("sessions", "Sessions of clients that get server-sent events.", &m.streams)
	gauge("sessions_away", "Those whose client is away at present.", &m.away)
	gauge("elsewhere", "Answers of events here whose session another node has.", &m.lent)
	m.opened = counter("opened_total", "Sessions that were opened.")
	m.resumed = counter("resumed_total", "Times that a client came back to its session.")
	m.takenOver = counter("taken_over_total", "Times that it did so while its former answer was open.")
	m.turns = counter("turns_total", "Answers ended so that a client comes back and says what it has.")
	m.events = counter("sent_total", "Events that were to be sent.")
	m.forgotten = counter("forgotten_total", "Events that nobody has to prove and that were not kept for a client that may come back, for want of room.")
	m.handed = counter("handed_over_total", "Requests of clients that were handed over to the node that has their session.")
	m.handedRefused = counter("handed_over_refused_total", "Those that were refused: too many were under way, or that node did not answer in time.")
	if to == nil {
		return m, nil
	}
	for _, c := range list {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
