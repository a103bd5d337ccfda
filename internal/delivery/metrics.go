package delivery

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	fast          prometheus.Counter
	droppedAbsent prometheus.Counter
	droppedQueue  prometheus.Counter
	droppedLink   prometheus.Counter
	droppedAway   prometheus.Counter
	droppedRoute  prometheus.Counter
	unconfirmed   prometheus.Counter
	askedReliable prometheus.Counter
	askedFast     prometheus.Counter
	knownTimeouts prometheus.Counter
	badMessages   prometheus.Counter
	sentForwards  prometheus.Counter
	tookForwards  prometheus.Counter
	failedForward *prometheus.CounterVec
}

// init registers the metrics, unless r is nil.
func (m *metrics) init(roster *roster, r prometheus.Registerer) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_" + name, Help: help})
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "switchboard_" + name, Help: help}, value)
	}
	m.fast = counter("fast_delivered_total", "FAST messages queued on a session.")
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "switchboard_fast_dropped_total", Help: "FAST messages dropped, by reason.",
	}, []string{"reason"})
	m.droppedAbsent = dropped.WithLabelValues("absent")
	m.droppedQueue = dropped.WithLabelValues("queue_full")
	m.droppedLink = dropped.WithLabelValues("node_unreachable")
	m.droppedAway = dropped.WithLabelValues("domain_unreachable")
	m.droppedRoute = dropped.WithLabelValues("no_route")
	m.unconfirmed = counter("fast_unconfirmed_total", "FAST messages whose proof could not be told to the sender's node, or was no longer waited for there for want of room.")
	asked := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "switchboard_api_messages_total", Help: "Messages and broadcasts that apps' own servers sent over HTTP, by feature.",
	}, []string{"feature"})
	m.askedReliable, m.askedFast = asked.WithLabelValues("RELIABLE"), asked.WithLabelValues("FAST")
	m.knownTimeouts = counter("roster_timeouts_total", "Sign-ins that did not wait any longer for another node to know of them.")
	m.badMessages = counter("roster_bad_messages_total", "Messages of other nodes that were not understood.")
	forwards := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "switchboard_forwards_total", Help: "What crosses links between domains: sent is made here for a next domain, of messages of this one and of others; received came from one.",
	}, []string{"direction"})
	m.sentForwards, m.tookForwards = forwards.WithLabelValues("sent"), forwards.WithLabelValues("received")
	m.failedForward = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "switchboard_forwards_refused_total", Help: "Receivers for whom what came over a link, or waited for one, was refused, by code. Senders are told, but of FAST messages, notices, and where they asked not to be.",
	}, []string{"code"})
	if r != nil {
		r.MustRegister(
			m.fast, dropped, forwards, m.failedForward, m.unconfirmed, asked, m.knownTimeouts, m.badMessages,
			gauge("online_users", "Users with a session on this node.", func() float64 { return float64(roster.local()) }),
			gauge("roster_users", "Users with a session on any node, as this one knows.", func() float64 { return float64(roster.users()) }),
			gauge("roster_remote_sessions", "Sessions on other nodes that this one knows of.", func() float64 { return float64(roster.far.Load()) }),
		)
	}
}
