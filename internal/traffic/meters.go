package traffic

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/window"
)

// Capability is by what a message was sent.
type Capability uint8

// Capabilities that are counted as they are handed to sessions.
const (
	Message Capability = iota // MESSAGE and GROUP_MESSAGE, broadcasts and what was sent over HTTP
	Chat                      // messages of rooms
	Link                      // what was handed to another domain
	capabilities
)

func (c Capability) String() string { return [...]string{"message", "chat", "link"}[c] }

// Meters count what this node hands to sessions, and give sums of it once a second.
// A message costs a lock that hardly anybody else wants.
type Meters struct {
	now func() time.Time

	mu    sync.Mutex
	all   []*Counter
	by    map[Key][]*Counter
	next  int
	since time.Time // what is counted since then is in no sum yet
}

// NewMeters returns Meters; now nil is the system's clock.
func NewMeters(now func() time.Time) *Meters {
	if now == nil {
		now = time.Now
	}
	return &Meters{now: now, by: make(map[Key][]*Counter), since: now()}
}

// Counter counts for some sessions of an app.
type Counter struct {
	app, domain string
	of          [capabilities]meter
}

// meter keeps the last sizes by themselves and sums up many at once: so a message
// touches little memory.
type meter struct {
	mu    sync.Mutex // guards what follows
	n     int
	sizes [256]uint32
	sum   window.Aggregate
}

// fold sums up what waits for it. The caller holds mu.
func (x *meter) fold() {
	for _, size := range x.sizes[:x.n] {
		x.sum.Add(0, uint64(size))
	}
	x.n = 0
}

// Counter returns one for a session of an app in a domain. There are a few of each,
// among which the sessions are divided.
func (m *Meters) Counter(app, domain string) *Counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := Key{App: app, Domain: domain}
	list := m.by[k]
	if len(list) < 2*runtime.GOMAXPROCS(0) {
		c := &Counter{app: app, domain: domain}
		m.by[k] = append(list, c)
		m.all = append(m.all, c)
		return c
	}
	m.next++
	return list[m.next%len(list)]
}

// Count counts a message of so many bytes. A nil Counter counts nothing.
func (c *Counter) Count(by Capability, bytes int) {
	if c == nil {
		return
	}
	x := &c.of[by]
	x.mu.Lock()
	x.sizes[x.n] = uint32(bytes)
	if x.n++; x.n == len(x.sizes) {
		x.fold()
	}
	x.mu.Unlock()
}

// Take returns what was counted since it was called before, summed up.
func (m *Meters) Take() []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.since.UnixMilli()
	m.since = m.now()
	sums := make(map[Key]*window.Aggregate)
	for _, c := range m.all {
		for i := range c.of {
			one := c.of[i].take()
			if one.Count == 0 {
				continue
			}
			k := Key{Type: Delivered, App: c.app, Capability: Capability(i).String(), Domain: c.domain}
			if sums[k] == nil {
				sums[k] = new(window.Aggregate)
			}
			moved := one.Moved(at)
			sums[k].Merge(&moved)
		}
	}
	var list []Event
	for k, sum := range sums {
		list = append(list, Event{At: at, Key: k, Amount: sum.Sum, Sums: sum})
	}
	slices.SortFunc(list, func(a, b Event) int { return compareKeys(a.Key, b.Key) })
	return list
}

func (x *meter) take() window.Aggregate {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fold()
	sum := x.sum
	x.sum = window.Aggregate{}
	return sum
}

// Run gives what was counted to do, once a second until ctx ends. What is counted
// later is for who calls Take in the end.
func (m *Meters) Run(ctx context.Context, do func([]Event)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if list := m.Take(); len(list) > 0 {
				do(list)
			}
		case <-ctx.Done():
			return nil
		}
	}
}
