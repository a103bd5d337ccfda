package gateway

import (
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// instance is one process of a service, as this node sees it. What is not atomic, or
// under a lock of its own, is not changed once made.
type instance struct {
	Instance
	service string
	target  *url.URL
	weight  int64
	label   string // in metrics

	inFlight atomic.Int64
	down     atomic.Bool // its health checks say so
	breaker  breaker
	attempts [outcomes]counter
	story    atomic.Pointer[story]

	looks vitals // of the goroutine that looks after it
}

// counter is what of prometheus.Counter is needed.
type counter interface{ Inc() }

// service is what a route leads to.
type service struct {
	name   string
	budget *budget
	turn   atomic.Uint32 // where the next search begins, so that equals take turns

	mu   sync.Mutex                  // held while instances are replaced
	list atomic.Pointer[[]*instance] // those that there are, by name; the slice is not changed
}

func newService(name string, now time.Time) *service {
	s := &service{name: name, budget: newBudget(now)}
	s.list.Store(new([]*instance))
	return s
}

// maxTries is how often a request is tried at most, tries that sent nothing included.
const maxTries = 8

// tried are the instances that a request was sent to, or was to be.
type tried struct {
	list [maxTries]*instance
	n    int
}

func (t *tried) has(i *instance) bool {
	for _, x := range t.list[:t.n] {
		if x == i {
			return true
		}
	}
	return false
}

// pick takes the usable instance with the fewest requests in flight for its weight that
// was not tried yet, and counts one more there; nil where there is none. Where all
// others are out of use, those count as usable whose answers alone were bad. It costs
// one look at each instance, and no memory.
func (s *service) pick(t *tried, now func() time.Time) (best *instance, trial bool) {
	at := s.turn.Add(1)
	for {
		best = s.least(t, at, func(i *instance) bool { return i.breaker.ready(now) })
		if best == nil {
			break
		}
		// Between the look and this another request may have taken the one trial.
		if ok, trial := best.take(now); ok {
			return best, trial
		}
	}
	if best = s.least(t, at, func(i *instance) bool { return i.breaker.answers() }); best != nil {
		best.inFlight.Add(1)
	}
	return best, false
}

// least returns the instance with the fewest requests in flight for its weight among
// those that may be used; of equals the first from a place on.
func (s *service) least(t *tried, from uint32, usable func(*instance) bool) (best *instance) {
	list := *s.list.Load()
	if len(list) == 0 {
		return nil
	}
	var load int64
	at := int(from % uint32(len(list)))
	for range list {
		i := list[at]
		if at++; at == len(list) {
			at = 0
		}
		if i.down.Load() {
			continue
		}
		// What it would have in flight with this one, over its weight.
		n := i.inFlight.Load() + 1
		if best != nil && n*best.weight >= load*i.weight || t.has(i) || !usable(i) {
			continue
		}
		best, load = i, n
	}
	return best
}

// take counts one more request in flight, if the breaker lets it through.
func (i *instance) take(now func() time.Time) (ok, trial bool) {
	if i.breaker.is() != closed {
		if ok, trial = i.breaker.take(now()); !ok {
			return false, false
		}
	}
	i.inFlight.Add(1)
	return true, trial
}

// others says whether there is an instance that was not tried and may be used.
func (s *service) others(t *tried, now func() time.Time) bool {
	return s.least(t, 0, func(i *instance) bool { return i.breaker.ready(now) }) != nil
}

// soonest returns when it is worth to ask again where no instance is usable.
func (s *service) soonest(now time.Time, c Config) time.Duration {
	soonest := c.Health.Interval
	for _, i := range *s.list.Load() {
		if !i.down.Load() {
			soonest = min(soonest, i.breaker.wait(now))
		}
	}
	return max(soonest, time.Second)
}
