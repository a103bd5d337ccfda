package webhooks

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTime bounds how long showing metrics waits for the queue.
const scrapeTime = time.Second

// metrics counts what this room does. It is a collector for what is asked of the
// queue.
type metrics struct {
	room     *Room
	attempts *prometheus.CounterVec // app, webhook, result
	events   *prometheus.CounterVec // app, webhook, state

	state, waiting, bytes, oldest, stuck, dropped *prometheus.Desc
}

// newMetrics registers with reg, which may be nil.
func newMetrics(r *Room, reg prometheus.Registerer) (*metrics, error) {
	const space, sub = "switchboard", "webhooks"
	labels := []string{"app", "webhook"}
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(space, sub, name), help, append(labels, more...), nil)
	}
	m := &metrics{
		room: r,
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "attempts_total",
			Help: "Attempts to post an event, by result: ok, status (another than 2xx), redirect, timeout, address (not on the public network), answer (too long or broken off), connect.",
		}, append(labels, "result")),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "events_total",
			Help: "Events that ended: delivered, or failed, which were given up.",
		}, append(labels, "state")),
		state:   desc("state", "1 for the state that the webhook is in: ok, failing or idle.", "state"),
		waiting: desc("waiting", "Events that wait for the webhook, on their way included."),
		bytes:   desc("waiting_bytes", "Bytes of the events that wait for the webhook."),
		oldest:  desc("oldest_seconds", "How long the oldest event has waited; 0 for none."),
		stuck:   desc("stuck_users", "Users whose next event has failed and is to be tried again."),
		dropped: desc("dropped_total", "Events that found the webhook's queue full."),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m, m.attempts, m.events} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) attempt(of Name, result string) {
	m.attempts.WithLabelValues(of.App, of.Name, result).Inc()
}

func (m *metrics) end(of Name, s State) {
	m.events.WithLabelValues(of.App, of.Name, s.String()).Inc()
}

// forget drops the series of a webhook that is no longer configured.
func (m *metrics) forget(of Name) {
	labels := prometheus.Labels{"app": of.App, "webhook": of.Name}
	m.attempts.DeletePartialMatch(labels)
	m.events.DeletePartialMatch(labels)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.state, m.waiting, m.bytes, m.oldest, m.stuck, m.dropped} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. What the queue does not tell in time
// is left out.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	for _, h := range m.room.list() {
		gauge := func(d *prometheus.Desc, v float64, more ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{h.of.App, h.of.Name}, more...)...)
		}
		h.mu.Lock()
		v := h.view
		h.mu.Unlock()
		for _, s := range []string{StateOK, StateFailing, StateIdle} {
			is := 0.0
			if s == v.state() {
				is = 1
			}
			gauge(m.state, is, s)
		}
		gauge(m.stuck, float64(v.stuck))
		backlog, err := h.opts.Queue.Backlog(ctx, h.of)
		if err != nil {
			continue
		}
		gauge(m.waiting, float64(backlog.Events))
		gauge(m.bytes, float64(backlog.Bytes))
		age := 0.0
		if !backlog.Oldest.IsZero() {
			age = max(h.opts.Now().Sub(backlog.Oldest).Seconds(), 0)
		}
		gauge(m.oldest, age)
		ch <- prometheus.MustNewConstMetric(m.dropped, prometheus.CounterValue, float64(backlog.Dropped), h.of.App, h.of.Name)
	}
}
