package members

import (
	"sync"
	"sync/atomic"
	"time"
)

// lease is how long this node counts as one that is alive: from when a write of
// its row was begun that was stored.
type lease struct {
	time  time.Duration
	begun atomic.Pointer[time.Time] // nil: there never was one

	mu     sync.Mutex
	lapsed bool // somebody has seen that it ran out; only begin ends that
}

// over says whether what began at a time has run out. A machine that was suspended
// has a monotonic clock that stood still, so the wall clock counts as well: a leap
// of it costs a lease, and no more.
func (l *lease) over(begun, now time.Time) bool {
	return max(now.Sub(begun), now.Round(0).Sub(begun.Round(0))) >= l.time
}

// holds says whether it holds. Once it has said no, it does until begin.
func (l *lease) holds(now time.Time) bool {
	begun := l.begun.Load()
	if begun == nil {
		return false
	}
	if !l.over(*begun, now) {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.lapsed && !l.over(*l.begun.Load(), now) {
		return true // renewed meanwhile
	}
	l.lapsed = true
	return false
}

// end returns when it ran out, or will.
func (l *lease) end(now time.Time) time.Time {
	begun := l.begun.Load()
	if begun == nil {
		return now
	}
	return begun.Add(l.time)
}

// renew has it run from a time on, unless it has run out: then that has to be
// told first.
func (l *lease) renew(begun, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.begun.Load()
	if held == nil || l.lapsed || l.over(*held, now) {
		return
	}
	l.begun.Store(&begun)
}

// begin has it run from a time on that is not over.
func (l *lease) begin(begun time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lapsed = false
	l.begun.Store(&begun)
}
