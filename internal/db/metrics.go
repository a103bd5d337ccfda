package db

import (
	"database/sql"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counters count what the database does.
type counters struct {
	seconds *prometheus.HistogramVec // does
	errors  *prometheus.CounterVec   // kind
}

func newCounters(r prometheus.Registerer, d *DB) *counters {
	c := &counters{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "switchboard_db_seconds", Help: "Time of transactions with the database, with the wait for a connection.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"does"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_db_errors_total", Help: "Transactions with the database that failed: because it was gone (down), had no room (full), is damaged, had another row in the place (conflict), or else.",
		}, []string{"kind"}),
	}
	for _, does := range []string{"read", "write"} {
		c.seconds.WithLabelValues(does)
	}
	for _, kind := range []string{"down", "full", "damaged", "conflict", "canceled", "other"} {
		c.errors.WithLabelValues(kind)
	}
	if r == nil {
		return c
	}
	gauge := func(state string, value func(sql.DBStats) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "switchboard_db_connections", Help: "Connections to the database, in use and idle.",
			ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 { return float64(d.connections(value)) })
	}
	r.MustRegister(c.seconds, c.errors,
		gauge("used", func(s sql.DBStats) int { return s.InUse }),
		gauge("idle", func(s sql.DBStats) int { return s.Idle }))
	return c
}

// connections adds up what all pools say.
func (d *DB) connections(value func(sql.DBStats) int) int {
	n := value(d.write.Stats())
	if d.read != d.write {
		n += value(d.read.Stats())
	}
	return n
}

// observe counts a transaction. What a store refuses, and that a row is not there,
// is no failure.
func (c *counters) observe(reading bool, took time.Duration, err error) {
	does := "write"
	if reading {
		does = "read"
	}
	c.seconds.WithLabelValues(does).Observe(took.Seconds())
	c.failed(err)
}

// failed counts an error that is the database's.
func (c *counters) failed(err error) {
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return
	}
	if kind := kindOf(err); kind != "other" || ofDatabase(err) {
		c.errors.WithLabelValues(kind).Inc()
	}
}
