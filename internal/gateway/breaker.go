package gateway

import (
	"sync"
	"sync/atomic"
	"time"
)

// breakerState is how an instance stands.
type breakerState int32

const (
	closed   breakerState = iota // it gets requests
	halfOpen                     // one request is being tried
	open                         // it gets none
)

// breaker keeps requests from an instance at which those before failed. Its state is
// changed under mu alone; that of a healthy one is read, and left as it is, without it.
type breaker struct {
	state    atomic.Int32 // a breakerState
	failures atomic.Int32 // in a row

	mu    sync.Mutex
	until time.Time // when an open one lets one request through
	soft  bool      // it opened by answers, not since there were none
}

func (b *breaker) is() breakerState { return breakerState(b.state.Load()) }

// ready says whether a request may go there: yes, or as the one that is tried.
func (b *breaker) ready(now func() time.Time) bool {
	switch b.is() {
	case closed:
		return true
	case halfOpen:
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.is() == open && !now().Before(b.until)
}

// answers says whether it opened by answers: where nobody else is there, bad answers are
// better than none, and one caller's bad request is not to take a service from all.
func (b *breaker) answers() bool {
	if b.is() == closed {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.is() != closed && b.soft
}

// take says whether a request that was to go there still may; then it does, and
// what becomes of it is to be noted. trial says that it is the one that is tried.
func (b *breaker) take(now time.Time) (ok, trial bool) {
	if b.is() == closed {
		return true, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.is() != open || now.Before(b.until) {
		return b.is() == closed, false
	}
	b.state.Store(int32(halfOpen))
	return true, true
}

// outcome is what became of a request.
type outcome int

const (
	answered  outcome = iota // well
	badAnswer                // with a 5xx
	noAnswer                 // none, none in time, or what is no HTTP
	undecided                // its client left before
	outcomes                 // how many there are
)

// String names it in metrics.
func (o outcome) String() string {
	return [outcomes]string{"answered", "error", "failed", "left"}[o]
}

// note takes what became of a request at a time. It says whether the breaker has opened.
func (b *breaker) note(o outcome, trial bool, now time.Time, c Breaker) (opened bool) {
	if !trial && (o == undecided || o == answered && b.failures.Load() == 0 && b.is() == closed) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case o == undecided: // the next one is tried
		if b.is() == halfOpen {
			b.state.Store(int32(open))
		}
		return false
	case o == answered:
		if trial || b.is() == closed { // of those that began before it opened none counts
			b.failures.Store(0)
			b.state.Store(int32(closed))
		}
		return false
	}
	n := b.failures.Load() + 1
	b.failures.Store(n)
	if !trial && (b.is() != closed || int(n) < c.Failures) {
		return false
	}
	b.state.Store(int32(open))
	b.until, b.soft = now.Add(c.OpenFor), o == badAnswer
	return !trial
}

// wait returns how long until one request is let through; 0 where that is now.
func (b *breaker) wait(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.is() == closed {
		return 0
	}
	return max(0, b.until.Sub(now))
}
