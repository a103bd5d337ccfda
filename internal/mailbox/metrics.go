package mailbox

import "github.com/prometheus/client_golang/prometheus"

// snapshot is what the metrics show, as of the last turn.
type snapshot struct {
	counts
	sessions int
	users    int
	claims   int

	producers int
	awaited   int
	logBytes  int64
	queued    int
	inbox     int
}

func (c *counts) add(o counts) {
	c.delivered += o.delivered
	c.proved += o.proved
	c.expired += o.expired
	c.evicted += o.evicted
	c.droppedFull += o.droppedFull
	c.droppedEvent += o.droppedEvent
	c.undelivered += o.undelivered
	c.repeated += o.repeated
	c.forgotten += o.forgotten
	c.forgottenProducers += o.forgottenProducers
	c.refused += o.refused
	c.droppedLag += o.droppedLag
	c.lost += o.lost
	c.copied += o.copied
	c.cleared += o.cleared
	c.returned += o.returned
	c.turnedAway += o.turnedAway
	c.forgottenPlaces += o.forgottenPlaces
	c.moved += o.moved
}

// publish makes the core's counts visible to Collect.
func (k *Keeper) publish() {
	c := k.core
	k.mu.Lock()
	k.snapshot = snapshot{
		counts: c.counts, sessions: len(c.sessions) - c.forwarders, users: len(c.users), claims: len(c.claims.byKey),
		producers: len(c.producers.byName), awaited: len(c.gather),
		logBytes: c.journal.bytes, queued: len(c.journal.queue), inbox: len(k.inbox),
	}
	k.mu.Unlock()
}

type metrics struct {
	keeper     *Keeper
	sync       prometheus.Histogram
	batchBytes prometheus.Histogram
	failures   prometheus.Counter
	registry   prometheus.Registerer // nil: none
	values     []value
}

// value is a metric read from the snapshot.
type value struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*snapshot) float64
}

// init makes the metrics; reg may be nil. It fails when reg has them already.
func (m *metrics) init(k *Keeper, reg prometheus.Registerer) error {
	m.keeper = k
	m.sync = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "switchboard_log_sync_seconds", Help: "Time to store and sync one batch.",
		Buckets: prometheus.ExponentialBuckets(50e-6, 2, 16),
	})
	m.batchBytes = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "switchboard_log_batch_bytes", Help: "Size of stored batches.",
		Buckets: prometheus.ExponentialBuckets(128, 4, 9),
	})
	m.failures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "switchboard_log_failures_total", Help: "Times the log failed and had to be read anew.",
	})
	gauge := func(name, help string, read func(*snapshot) float64) {
		m.values = append(m.values, value{prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, read})
	}
	gauge("switchboard_mailbox_messages", "RELIABLE messages that wait or are on their way, unproved.", func(s *snapshot) float64 { return float64(s.waiting) })
	gauge("switchboard_mailbox_bytes", "Bytes of the frames that wait or are on their way.", func(s *snapshot) float64 { return float64(s.waitingBytes) })
	gauge("switchboard_mailbox_sessions", "Sessions registered with the keeper.", func(s *snapshot) float64 { return float64(s.sessions) })
	gauge("switchboard_mailbox_users", "Users with a session or a waiting message.", func(s *snapshot) float64 { return float64(s.users) })
	gauge("switchboard_keyed_requests", "Requests with an Idempotency-Key that are remembered.", func(s *snapshot) float64 { return float64(s.claims) })
	gauge("switchboard_producers", "Outboxes of senders of which it is remembered what was accepted.", func(s *snapshot) float64 { return float64(s.producers) })
	gauge("switchboard_log_bytes", "Bytes of the log that still matter or are not trimmed yet.", func(s *snapshot) float64 { return float64(s.logBytes) })
	gauge("switchboard_log_queue_batches", "Batches waiting to be stored.", func(s *snapshot) float64 { return float64(s.queued) })
	gauge("switchboard_keeper_awaited_nodes", "Nodes that have not registered their sessions anew yet; until then nothing is delivered.", func(s *snapshot) float64 { return float64(s.awaited) })
	gauge("switchboard_keeper_inbox_events", "Events waiting for the keeper.", func(s *snapshot) float64 { return float64(s.inbox) })
	total := func(name, help string, read func(*snapshot) uint64) {
		m.values = append(m.values, value{prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, func(s *snapshot) float64 { return float64(read(s)) }})
	}
	total("switchboard_reliable_handed_total", "Deliveries of RELIABLE messages handed to sessions.", func(s *snapshot) uint64 { return s.delivered })
	total("switchboard_reliable_proved_total", "RELIABLE messages whose delivery was proved.", func(s *snapshot) uint64 { return s.proved })
	total("switchboard_reliable_expired_total", "RELIABLE messages that expired.", func(s *snapshot) uint64 { return s.expired })
	dropped := func(reason string, read func(*snapshot) uint64) {
		desc := prometheus.NewDesc("switchboard_reliable_dropped_total", "Notices and repeats that were dropped, by reason.", nil, prometheus.Labels{"reason": reason})
		m.values = append(m.values, value{desc, prometheus.CounterValue, func(s *snapshot) float64 { return float64(read(s)) }})
	}
	dropped("presence_made_room", func(s *snapshot) uint64 { return s.evicted })
	dropped("notice_mailbox_full", func(s *snapshot) uint64 { return s.droppedFull })
	dropped("event_queue_full", func(s *snapshot) uint64 { return s.droppedEvent })
	dropped("notice_refused", func(s *snapshot) uint64 { return s.refused })
	dropped("session_lagged", func(s *snapshot) uint64 { return s.droppedLag })
	dropped("lost_in_store", func(s *snapshot) uint64 { return s.lost })
	total("switchboard_reliable_cleared_total", "RELIABLE messages taken out of mailboxes that somebody emptied.", func(s *snapshot) uint64 { return s.cleared })
	total("switchboard_reliable_undelivered_total", "RELIABLE messages that waited so long that subscribers were told.", func(s *snapshot) uint64 { return s.undelivered })
	total("switchboard_keyed_repeated_total", "Messages of requests with an Idempotency-Key, or of producers, that were accepted before.", func(s *snapshot) uint64 { return s.repeated })
	total("switchboard_keyed_forgotten_total", "Requests with an Idempotency-Key that were forgotten early, to make room for newer ones.", func(s *snapshot) uint64 { return s.forgotten })
	total("switchboard_producers_forgotten_total", "Outboxes of senders that were forgotten, to make room for newer ones.", func(s *snapshot) uint64 { return s.forgottenProducers })
	total("switchboard_roads_repeated_total", "RELIABLE messages that came over a link, or over two, once more and were passed over.", func(s *snapshot) uint64 { return s.returned })
	total("switchboard_roads_refused_total", "RELIABLE messages that came over a link and found a full mailbox, each counted for each of its receivers.", func(s *snapshot) uint64 { return s.turnedAway })
	total("switchboard_roads_forgotten_total", "Places of messages that came over a link and may come again, forgotten to make room for others.", func(s *snapshot) uint64 { return s.forgottenPlaces })
	total("switchboard_reliable_moved_total", "RELIABLE messages that were sent another way when the network changed.", func(s *snapshot) uint64 { return s.moved })
	total("switchboard_log_copied_total", "Messages copied forward out of old batches.", func(s *snapshot) uint64 { return s.copied })
	if reg == nil {
		return nil
	}
	for _, c := range m.collectors() {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	m.registry = reg
	return nil
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m, m.sync, m.batchBytes, m.failures}
}

// unregister takes the metrics of a keeper that has ended away: another may keep
// the same shard in this process later.
func (m *metrics) unregister() {
	if m.registry == nil {
		return
	}
	for _, c := range m.collectors() {
		m.registry.Unregister(c)
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for i := range m.values {
		ch <- m.values[i].desc
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.keeper.mu.Lock()
	s := m.keeper.snapshot
	m.keeper.mu.Unlock()
	for _, v := range m.values {
		ch <- prometheus.MustNewConstMetric(v.desc, v.kind, v.read(&s))
	}
}
