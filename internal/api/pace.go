package api

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// manyPaces is from how many on those are let go that have nothing to remember.
const manyPaces = 1024

// paces bounds the requests of each key. A key that has been quiet for a second
// leaves nothing behind, so there are not many more than keys in use.
type paces struct {
	limit func() int // requests a second
	now   func() time.Time

	mu    sync.Mutex
	byKey map[string]*rate.Limiter
	sweep int // how many there may be before the next sweep
}

func newPaces(limit func() int, now func() time.Time) *paces {
	return &paces{limit: limit, now: now, byKey: make(map[string]*rate.Limiter), sweep: manyPaces}
}

// The headers that tell a client how it stands.
const (
	paceLimit     = "RateLimit-Limit"
	paceRemaining = "RateLimit-Remaining"
	paceReset     = "RateLimit-Reset"
)

// take counts a request of a key, and tells its client how it stands.
func (p *paces) take(h http.Header, key string) *Refusal {
	limit, now := p.limit(), p.now()
	l := p.of(key, limit, now)
	ok := l.AllowN(now, 1)
	tokens := max(l.TokensAt(now), 0)
	h.Set(paceLimit, strconv.Itoa(limit))
	h.Set(paceRemaining, strconv.Itoa(int(tokens)))
	h.Set(paceReset, strconv.Itoa(int(math.Ceil((float64(limit)-tokens)/float64(limit)))))
	if ok {
		return nil
	}
	r := Refuse(http.StatusTooManyRequests, CodeRateLimited, "the key has made more than %d requests a second", limit)
	r.RetryAfter = time.Duration((1 - tokens) / float64(limit) * float64(time.Second))
	return r
}

// of returns the limiter of a key, with the limit that holds now.
func (p *paces) of(key string, limit int, now time.Time) *rate.Limiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.byKey[key]
	if l == nil || l.Burst() != limit { // with another limit a key begins anew
		p.letGo(now)
		l = rate.NewLimiter(rate.Limit(limit), limit)
		p.byKey[key] = l
	}
	return l
}

// letGo drops limiters that are full, when there are many. mu is held.
func (p *paces) letGo(now time.Time) {
	if len(p.byKey) < p.sweep {
		return
	}
	for key, l := range p.byKey {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(p.byKey, key)
		}
	}
	p.sweep = max(manyPaces, 2*len(p.byKey))
}
