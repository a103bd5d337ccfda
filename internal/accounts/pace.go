package accounts

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// freeForName and freeForAddress are how many attempts may fail before each
	// further one has to wait: of an address more, since many people may come from one.
	freeForName    = 5
	freeForAddress = 50
	// longestDelay is the longest that anybody has to wait.
	longestDelay = time.Minute
	// forgetAfter is how long a failure is remembered.
	forgetAfter = 15 * time.Minute
	// paceKeys is of how many names, or addresses, failures are remembered.
	paceKeys = 100_000
)

// delay returns how long after the last of so many failures the next attempt may be
// made: nothing for the first free ones, then 1 s, 2 s, 4 s, and so on up to a minute.
func delay(failures, free int) time.Duration {
	if failures < free {
		return 0
	}
	wait := time.Second
	for range failures - free {
		if wait *= 2; wait >= longestDelay {
			return longestDelay
		}
	}
	return wait
}

// failures are those of one name or address.
type failures struct {
	n    int
	last time.Time
}

// pace slows down who fails often. An attempt counts as failed from its beginning
// on, so those that are made side by side are not free.
type pace struct {
	free int
	most int // keys

	mu    sync.Mutex
	byKey map[string]failures
}

func newPace(free int) *pace {
	return &pace{free: free, most: paceKeys, byKey: make(map[string]failures)}
}

// begin begins an attempt, or returns how long it has to wait.
func (p *pace) begin(key string, now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.byKey[key]
	if now.Sub(f.last) >= forgetAfter {
		f = failures{}
	}
	// One that began earlier may come later: last may lie after now.
	if d := delay(f.n, p.free); d > 0 && f.last.Add(d).After(now) {
		return f.last.Add(d).Sub(now)
	}
	if f.last.Before(now) {
		f.last = now
	}
	p.makeRoom(now)
	p.byKey[key] = failures{f.n + 1, f.last}
	return 0
}

// succeeded forgets what was before.
func (p *pace) succeeded(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byKey, key)
}

// takeBack takes an attempt back that has not failed.
func (p *pace) takeBack(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, ok := p.byKey[key]
	if f.n--; ok && f.n > 0 {
		p.byKey[key] = f
	} else {
		delete(p.byKey, key)
	}
}

// makeRoom forgets what is old where there are too many, and if need be some that is
// not. mu is held.
func (p *pace) makeRoom(now time.Time) {
	if len(p.byKey) < p.most {
		return
	}
	for key, f := range p.byKey {
		if now.Sub(f.last) >= forgetAfter {
			delete(p.byKey, key)
		}
	}
	for key := range p.byKey {
		if len(p.byKey) < p.most-p.most/10 {
			return
		}
		delete(p.byKey, key)
	}
}

// quota bounds how often something is done within an hour, for each key.
type quota struct {
	limit func() int
	most  int

	mu    sync.Mutex
	byKey map[string]bucket
}

// bucket is how much of a quota was used at a time; it leaks.
type bucket struct {
	used float64
	at   time.Time
}

func newQuota(limit func() int) *quota {
	return &quota{limit: limit, most: paceKeys, byKey: make(map[string]bucket)}
}

// after returns the bucket as it is later.
func (b bucket) after(now time.Time, limit float64) bucket {
	b.used = max(0, b.used-limit*now.Sub(b.at).Hours())
	b.at = now
	return b
}

// take counts one, or returns how long it has to wait.
func (q *quota) take(key string, now time.Time) (wait time.Duration) {
	limit := float64(q.limit())
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.byKey[key].after(now, limit)
	if b.used+1 > limit {
		return time.Duration((b.used + 1 - limit) / limit * float64(time.Hour))
	}
	if len(q.byKey) >= q.most {
		for k, other := range q.byKey {
			if other.after(now, limit).used == 0 || len(q.byKey) >= q.most {
				delete(q.byKey, k)
			}
		}
	}
	b.used++
	q.byKey[key] = b
	return 0
}

// giveBack takes one back that came to nothing, and not for its asker's fault.
func (q *quota) giveBack(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if b, ok := q.byKey[key]; ok {
		b.used = max(0, b.used-1)
		q.byKey[key] = b
	}
}

// place returns what of an address is counted: of IPv6 the network that one customer
// has.
func place(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if network, err := ip.Prefix(64); err == nil {
			return network.String()
		}
	}
	return ip.String()
}
