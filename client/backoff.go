package client

import "time"

// backoff draws the waits between attempts to connect.
type backoff struct {
	Backoff
	random   func() float64
	attempts int
}

// next returns how long to wait before the next attempt.
func (b *backoff) next() time.Duration {
	bound := b.Max
	if shifted := b.Min << min(b.attempts, 30); shifted>>min(b.attempts, 30) == b.Min {
		bound = min(bound, shifted)
	}
	b.attempts++
	return time.Duration(b.random() * float64(bound))
}

// lasted tells how long the last connection lasted.
func (b *backoff) lasted(d time.Duration) {
	if d >= b.Max {
		b.attempts = 0
	}
}
