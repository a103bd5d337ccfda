package gateway

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// table is what is in force: it is not changed once made.
type table struct {
	config   Config
	exact    map[string]*route
	prefixes []*route // the longest first
	services map[string]*service
}

// route is one that is in force.
type route struct {
	Route
	service *service
	use     *use
}

// use is how much of a route is used. It outlives the table.
type use struct {
	inFlight atomic.Int64
	pace     atomic.Pointer[rate.Limiter] // nil: there is no limit
}

// newTable makes the table of a configuration. What is known of services and routes that
// stay is kept.
func newTable(c Config, before *table, now time.Time) *table {
	t := &table{config: c, exact: make(map[string]*route), services: make(map[string]*service)}
	for _, r := range c.Routes {
		if r.Auth == "" {
			r.Auth = Required
		}
		if t.at(r.Path) != nil {
			continue
		}
		t.add(r, before, now)
	}
	slices.SortStableFunc(t.prefixes, func(a, b *route) int { return cmp.Compare(len(b.Path), len(a.Path)) })
	return t
}

func (t *table) add(r Route, before *table, now time.Time) {
	added := &route{Route: r, use: new(use)}
	if before != nil {
		if known := before.at(r.Path); known != nil {
			added.use = known.use
		}
		added.service = before.services[r.Service]
	}
	if s := t.services[r.Service]; s != nil {
		added.service = s
	}
	if added.service == nil {
		added.service = newService(r.Service, now)
	}
	t.services[r.Service] = added.service
	added.use.setPace(r.Rate, r.Burst)
	if strings.HasSuffix(r.Path, "/") {
		t.prefixes = append(t.prefixes, added)
	} else {
		t.exact[r.Path] = added
	}
}

// at returns the route with exactly this path in the settings.
func (t *table) at(path string) *route {
	if r := t.exact[path]; r != nil {
		return r
	}
	for _, r := range t.prefixes {
		if r.Path == path {
			return r
		}
	}
	return nil
}

// find returns the route for a path: its own, or the longest that it is below; nil for none.
func (t *table) find(path string) *route {
	if r := t.exact[path]; r != nil {
		return r
	}
	for _, r := range t.prefixes {
		if strings.HasPrefix(path, r.Path) {
			return r
		}
	}
	return nil
}

// stripped returns what the service is to see of a path of this route: what follows the
// route's own, behind a /.
func (r *route) stripped(path string) string {
	if !r.StripPrefix {
		return path
	}
	return "/" + strings.TrimPrefix(path, r.Path)
}

// setPace has the limit of a route hold from now on. One that has not changed goes on.
func (u *use) setPace(perSecond float64, burst int) {
	if perSecond <= 0 {
		u.pace.Store(nil)
		return
	}
	if burst < 1 {
		burst = max(1, int(math.Ceil(perSecond)))
	}
	if l := u.pace.Load(); l == nil || l.Limit() != rate.Limit(perSecond) || l.Burst() != burst {
		u.pace.Store(rate.NewLimiter(rate.Limit(perSecond), burst))
	}
}

// enter counts one more request in flight, unless that is one too many.
func (u *use) enter(most int) bool {
	if n := u.inFlight.Add(1); most > 0 && n > int64(most) {
		u.inFlight.Add(-1)
		return false
	}
	return true
}

func (u *use) leave() { u.inFlight.Add(-1) }
