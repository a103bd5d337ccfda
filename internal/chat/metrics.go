package chat

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	stored    prometheus.Counter // messages
	batches   prometheus.Counter
	refused   prometheus.Counter // with BUSY
	told      prometheus.Counter // news, a session each
	dropped   prometheus.Counter // of sessions whose queue was full
	overrun   prometheus.Counter // lanes
	filled    prometheus.Counter // messages out of the database
	attached  prometheus.Gauge
	liveRooms prometheus.Gauge
}

func newMetrics(to prometheus.Registerer) (*metrics, error) {
	var err error
	add := func(c prometheus.Collector) {
		if to != nil && err == nil {
			err = to.Register(c)
		}
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_chat_" + name, Help: help})
		add(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "switchboard_chat_" + name, Help: help})
		add(g)
		return g
	}
	m := &metrics{
		stored:    counter("messages_stored_total", "Messages stored in rooms by this node."),
		batches:   counter("batches_total", "Transactions in which they and read marks were stored."),
		refused:   counter("busy_total", "Messages and read marks that were refused because too many waited."),
		told:      counter("news_total", "News handed to sessions of members."),
		dropped:   counter("news_dropped_total", "News that a session did not get because too much waited for it already."),
		overrun:   counter("news_overrun_total", "News that nobody got because too many waited; messages among them are read from the database."),
		filled:    counter("news_filled_total", "News that were read from the database because they had not come."),
		attached:  gauge("sessions", "Sessions of chat users that are told of news."),
		liveRooms: gauge("live_rooms", "Rooms of which there are sessions of members."),
	}
	return m, err
}
