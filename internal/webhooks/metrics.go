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
	unread   prometheus.Counter

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
		unread: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "unread_total",
			Help: "What other nodes said of their webhooks that could not be read.",
		}),
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
	all := []prometheus.Collector{m, m.attempts, m.events}
	if r.opts.Nodes != nil {
		all = append(all, m.unread)
	}
	for _, c := range all {
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

// Collect implements prometheus.Collector. What waits is left out where the queue
// does not tell it in time, or is on another node.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	for _, h := range m.room.list() {
		gauge := func(d *prometheus.Desc, v float64, more ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{h.of.App, h.of.Name}, more...)...)
		}
		v := h.look()
		for _, s := range []string{StateOK, StateFailing, StateIdle} {
			is := 0.0
			if s == v.state() {
				is = 1
			}
			gauge(m.state, is, s)
		}
		gauge(m.stuck, float64(v.Stuck))
		backlog, here := h.backlog(ctx)
		ch <- prometheus.MustNewConstMetric(m.dropped, prometheus.CounterValue, float64(h.dropped()), h.of.App, h.of.Name)
		if !here {
			continue
		}
		gauge(m.waiting, float64(backlog.Events))
		gauge(m.bytes, float64(backlog.Bytes))
		age := 0.0
		if !backlog.Oldest.IsZero() {
			age = max(h.opts.Now().Sub(backlog.Oldest).Seconds(), 0)
		}
		gauge(m.oldest, age)
	}
}

// backlog asks the queue what waits, if that is on this node: what each node shows
// by itself is added up by whoever looks at all.
func (h *hook) backlog(ctx context.Context) (b Backlog, here bool) {
	place := h.opts.Place(h.of)
	if place == nil {
		h.lose(nil, 0)
		return b, false
	}
	b, err := h.opts.Queue.Backlog(ctx, h.of)
	if err != nil {
		return b, false
	}
	h.lose(place, b.Dropped)
	return b, true
}

// losses count the events that found the queue full while it was on this node. A
// queue counts anew in each place; these do not fall.
type losses struct {
	total uint64
	place any    // where the queue was last
	there uint64 // of them, those in that place
}

func (h *hook) lose(place any, there uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &h.losses
	if place != l.place {
		l.place, l.there = place, 0
	}
	if there > l.there { // else somebody else has asked since
		l.total += there - l.there
		l.there = there
	}
}

func (h *hook) dropped() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.losses.total
}
