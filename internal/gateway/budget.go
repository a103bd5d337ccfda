package gateway

import (
	"sync"
	"time"
)

const (
	// retryShare is how much of what is asked of a service may be asked again: whatever
	// fails, a service gets at most a fifth more than its clients send.
	retryShare = 0.2
	// retryFloor is how many may be made again a second where little is asked.
	retryFloor = 5.0
	// retryReserve is how many may be made again at once: what is in flight at an instance
	// that dies fails all together.
	retryReserve = 200.0
)

// budget bounds the retries of a service.
type budget struct {
	mu   sync.Mutex
	left float64
	at   time.Time // when left was right
}

func newBudget(now time.Time) *budget { return &budget{left: retryReserve, at: now} }

// asked notes a request.
func (b *budget) asked() {
	b.mu.Lock()
	b.left = min(b.left+retryShare, retryReserve)
	b.mu.Unlock()
}

// take says whether one may be made again now.
func (b *budget) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(b.left+max(0, now.Sub(b.at).Seconds())*retryFloor, retryReserve)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
