package turnstile

import (
	"time"
)

// mostFailing is of how many addresses failures are known.
const mostFailing = 100_000

// bucket is how many failures there were at a time; it leaks as many a minute as may be.
type bucket struct {
	n  float64
	at time.Time
}

// after returns what is left of it later.
func (b bucket) after(now time.Time, limit float64) bucket {
	return bucket{max(0, b.n-limit*now.Sub(b.at).Minutes()), now}
}

// Blocked says how long an address (host:port) has to wait before it may try to sign in:
// 0 for not at all. More than that is counted as a refusal.
func (t *Turnstile) Blocked(address string) (wait time.Duration) {
	ip := addressOf(address)
	if !ip.IsValid() {
		return 0
	}
	limit := float64(t.o.Failures())
	t.failing.Lock()
	b, known := t.failed[place(ip)]
	t.failing.Unlock()
	if !known {
		return 0
	}
	if b = b.after(t.o.Now(), limit); b.n+1 <= limit || within(t.o.Exempt(), ip) {
		return 0
	}
	t.metrics.refused.WithLabelValues("sign_ins").Inc()
	return time.Duration((b.n + 1 - limit) / limit * float64(time.Minute))
}

// Failed notes that a sign-in from an address has failed.
func (t *Turnstile) Failed(address string) {
	ip := addressOf(address)
	if !ip.IsValid() || within(t.o.Exempt(), ip) {
		return
	}
	p, now, limit := place(ip), t.o.Now(), float64(t.o.Failures())
	t.failing.Lock()
	defer t.failing.Unlock()
	b := t.failed[p].after(now, limit)
	// Attempts that were under way at once may go past the limit, but not have others from
	// there wait for long.
	b.n = min(b.n+1, 2*limit)
	if _, known := t.failed[p]; !known && len(t.failed) >= mostFailing {
		t.forget(now, limit)
	}
	t.failed[p] = b
}

// forget makes room: what has leaked away goes, and if need be some that has not. failing
// is held.
func (t *Turnstile) forget(now time.Time, limit float64) {
	for p, b := range t.failed {
		if b.after(now, limit).n == 0 {
			delete(t.failed, p)
		}
	}
	for p := range t.failed {
		if len(t.failed) <= mostFailing-mostFailing/10 {
			return
		}
		delete(t.failed, p)
	}
}
