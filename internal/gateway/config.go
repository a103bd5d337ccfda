package gateway

import (
	"context"
	"time"
)

// Auth says who may use a route.
type Auth string

// Who may use a route.
const (
	Required Auth = "required" // whoever shows a good token
	Optional Auth = "optional" // anybody; a token that is shown has to be good
	Open     Auth = "none"     // anybody; tokens are the service's own matter, and are handed on
)

// Config is what the gateway does. It is replaced as a whole: [Gateway.Set].
type Config struct {
	Routes  []Route // of equal paths the first counts
	Health  Health
	Breaker Breaker
}

// Route says where requests for some paths go. Zero in a limit means that there is none.
type Route struct {
	Path        string // ends in "/": all paths below it; else this one alone
	Service     string
	Auth        Auth          // empty: Required
	Apps        []string      // whose users may come; empty: those of any
	StripPrefix bool          // the service sees what follows Path, behind a /
	Timeout     time.Duration // for the service to begin its answer, all tries together; above 0
	Retries     int           // tries that may be made again of what is safe to repeat
	Fallback    *Fallback     // instead of a problem where the service gives no answer; nil: none
	Rate        float64       // requests a second, on this node
	Burst       int           // of them at once; 0: as many as Rate, at least 1
	Concurrency int           // requests in flight at once, on this node
	MaxBody     int64         // bytes of a request's body
}

// Fallback is an answer.
type Fallback struct {
	Status      int
	Body        string
	ContentType string
}

// Health says how instances are looked at that no request may have met.
type Health struct {
	Path           string        // of a GET; empty: a connection is enough
	Interval       time.Duration // between two looks
	Timeout        time.Duration // of one
	UnhealthyAfter int           // bad looks in a row
	HealthyAfter   int           // good looks in a row
}

// Breaker says when an instance gets no requests for a while since those before failed.
type Breaker struct {
	Failures int           // in a row
	OpenFor  time.Duration // then one request is tried
}

// What holds where [Health] and [Breaker] say nothing.
const (
	defaultInterval = 5 * time.Second
	defaultLook     = 2 * time.Second
	defaultLooks    = 2
	defaultFailures = 5
	defaultOpenFor  = 10 * time.Second
)

func (c Config) withDefaults() Config {
	h, b := &c.Health, &c.Breaker
	h.Interval, h.Timeout = orDefault(h.Interval, defaultInterval), orDefault(h.Timeout, defaultLook)
	h.UnhealthyAfter, h.HealthyAfter = orDefault(h.UnhealthyAfter, defaultLooks), orDefault(h.HealthyAfter, defaultLooks)
	b.Failures, b.OpenFor = orDefault(b.Failures, defaultFailures), orDefault(b.OpenFor, defaultOpenFor)
	return c
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Instance is one process of a service.
type Instance struct {
	Name   string
	URL    string // http or https, host and port, maybe a path
	Weight int    // 1 to 100: its share of what is in flight
	Health string // path of its health check; empty: that of [Health]
}

// Instances knows which there are. Its methods may be called at any time, from any
// goroutine; the function that Watch is given returns at once.
type Instances interface {
	List(service string) []Instance
	// Watch has f called after each change of a service, until stop is called.
	Watch(f func(service string)) (stop func())
}

// Verifier says who shows a token.
type Verifier interface {
	// Verify returns who it is, or a *wire.Error whose code says whether the token is bad,
	// or cannot be judged at present.
	Verify(ctx context.Context, token string) (Caller, error)
}

// Caller is who makes a request.
type Caller struct {
	User    string    // as app-number
	App     string    // of the user
	Expires time.Time // when the token does; zero: never
	// Hold has end called, once, when the token is revoked, until release is called. Nil:
	// it cannot be revoked.
	Hold func(ctx context.Context, end func()) (release func(), err error)
}
