package api

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are one door's. Doors that share a registry share the metrics, told
// apart by the label door.
type counters struct {
	door        string
	requests    *prometheus.CounterVec // door, status
	refused     *prometheus.CounterVec // door, reason
	connections *prometheus.GaugeVec   // door
}

func newCounters(r prometheus.Registerer, door string) *counters {
	return &counters{
		door: door,
		requests: registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_http_requests_total", Help: "HTTP requests that were answered, WebSocket handshakes included.",
		}, []string{"door", "status"})),
		refused: registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_http_refused_total", Help: "HTTP requests and connections refused before any handler saw them, by reason.",
		}, []string{"door", "reason"})),
		connections: registered(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "switchboard_http_connections", Help: "Open HTTP connections that are no WebSocket.",
		}, []string{"door"})),
	}
}

// registered registers a metric, or returns the same one that is registered
// already.
func registered[C prometheus.Collector](r prometheus.Registerer, c C) C {
	var known prometheus.AlreadyRegisteredError
	switch err := r.Register(c); {
	case err == nil:
		return c
	case errors.As(err, &known):
		return known.ExistingCollector.(C)
	default:
		panic(err) // our own names do not clash
	}
}

// serve counts an answer. Handlers that write nothing answer 200.
func (c *counters) serve(status int) {
	if status == 0 {
		status = 200
	}
	c.requests.WithLabelValues(c.door, strconv.Itoa(status)).Inc()
}

func (c *counters) refuse(reason string) { c.refused.WithLabelValues(c.door, reason).Inc() }

func (c *counters) connected(n int) { c.connections.WithLabelValues(c.door).Set(float64(n)) }
