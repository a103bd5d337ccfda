package gateway

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// namedInstances is how many instances have metrics of their own; the others share one.
	namedInstances = 1000
	otherInstances = "other"
)

// metrics are those of the gateway. Routes and services are those of the settings.
type metrics struct {
	requests *prometheus.CounterVec   // route, status
	seconds  *prometheus.HistogramVec // route
	refused  *prometheus.CounterVec   // route, code
	attempts *prometheus.CounterVec   // service, instance, result
	retries  *prometheus.CounterVec   // service, result
	named    atomic.Int64
}

func newMetrics(r prometheus.Registerer, g *Gateway) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_gateway_requests_total", Help: "Requests for services, by their route (empty: none) and the status of their answer; 499: their client left before.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "switchboard_gateway_seconds", Help: "Time until the answer to a request for a service begins, by its route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_gateway_refused_total", Help: "Requests for services that the gateway answered by itself, by their route (empty: none) and the code.",
		}, []string{"route", "code"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_gateway_attempts_total", Help: "What became of requests at instances of services: answered, error (a 500, 502, 503 or 504), failed (no answer, or one cut off), left (the client did).",
		}, []string{"service", "instance", "result"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_gateway_retries_total", Help: "Requests that were to be tried at another instance: repeated, unsent (nothing had been sent before), refused (since there were too many).",
		}, []string{"service", "result"}),
	}
	r.MustRegister(m.requests, m.seconds, m.refused, m.attempts, m.retries, newStates(g))
	return m
}

// adopt gives an instance its metrics.
func (m *metrics) adopt(i *instance) {
	i.label = i.Name
	if m.named.Add(1) > namedInstances {
		i.label = otherInstances
	}
	for o := range outcomes {
		i.attempts[o] = m.attempts.WithLabelValues(i.service, i.label, o.String())
	}
}

// forgetInstance lets go of an instance; named says that another has its name.
func (m *metrics) forgetInstance(i *instance, named bool) {
	m.named.Add(-1)
	if i.label != otherInstances && !named {
		m.attempts.DeletePartialMatch(prometheus.Labels{"service": i.service, "instance": i.label})
	}
}

func (m *metrics) forgetService(name string) {
	m.attempts.DeletePartialMatch(prometheus.Labels{"service": name})
	m.retries.DeletePartialMatch(prometheus.Labels{"service": name})
}

func (m *metrics) forgetRoute(path string) {
	match := prometheus.Labels{"route": path}
	m.requests.DeletePartialMatch(match)
	m.seconds.DeletePartialMatch(match)
	m.refused.DeletePartialMatch(match)
}

// served counts a request whose answer has ended.
func (m *metrics) served(x *exchange, status int) {
	path := ""
	if x.route != nil {
		path = x.route.Path
	}
	m.requests.WithLabelValues(path, strconv.Itoa(status)).Inc()
}

// begun measures how long an answer took to begin.
func (m *metrics) begun(x *exchange, after time.Duration) {
	m.seconds.WithLabelValues(x.route.Path).Observe(after.Seconds())
}

// states shows how instances stand when that is asked, so that a request costs nothing for it.
type states struct {
	g                        *Gateway
	healthy, inFlight, state *prometheus.Desc
}

func newStates(g *Gateway) *states {
	labels := []string{"service", "instance"}
	return &states{
		g:        g,
		healthy:  prometheus.NewDesc("switchboard_gateway_healthy", "1 when the health checks of an instance of a service are good, else 0; of those without a name of their own how many.", labels, nil),
		inFlight: prometheus.NewDesc("switchboard_gateway_in_flight", "Requests in flight at an instance of a service, WebSockets included.", labels, nil),
		state:    prometheus.NewDesc("switchboard_gateway_breaker", "0 when an instance of a service gets requests, 1 when one is tried, 2 when it gets none since those before failed.", labels, nil),
	}
}

// Describe implements prometheus.Collector.
func (s *states) Describe(c chan<- *prometheus.Desc) {
	c <- s.healthy
	c <- s.inFlight
	c <- s.state
}

// Collect implements prometheus.Collector.
func (s *states) Collect(c chan<- prometheus.Metric) {
	t := s.g.table.Load()
	if t == nil {
		return
	}
	for name, one := range t.services {
		var healthy, inFlight, others int64
		for _, i := range *one.list.Load() {
			up := int64(1)
			if i.down.Load() {
				up = 0
			}
			if i.label == otherInstances {
				healthy, inFlight, others = healthy+up, inFlight+i.inFlight.Load(), others+1
				continue
			}
			s.send(c, s.healthy, up, name, i.label)
			s.send(c, s.inFlight, i.inFlight.Load(), name, i.label)
			s.send(c, s.state, int64(i.breaker.is()), name, i.label)
		}
		if others > 0 {
			s.send(c, s.healthy, healthy, name, otherInstances)
			s.send(c, s.inFlight, inFlight, name, otherInstances)
		}
	}
}

func (s *states) send(c chan<- prometheus.Metric, d *prometheus.Desc, v int64, service, instance string) {
	c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), service, instance)
}
