package traffic

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	folded  prometheus.Counter
	queries prometheus.Counter
	failed  prometheus.Counter
}

// register makes the metrics, and registers them unless to is nil.
func (m *metrics) register(to prometheus.Registerer) error {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_traffic_" + name, Help: help})
	}
	m.folded = counter("events_total", "Events of the journal that this node has folded into windows, those that were folded again included.")
	m.queries = counter("queries_total", "Answers about traffic that were asked for on this node, each second of a stream one.")
	m.failed = counter("queries_failed_total", "Those of which a part was not to be had.")
	if to == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.folded, m.queries, m.failed} {
		if err := to.Register(c); err != nil {
			return err
		}
	}
	return nil
}
