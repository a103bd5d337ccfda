package turnstile

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options configure a Turnstile. Connections and Failures are needed.
type Options struct {
	// ProtocolFrom are the networks whose connections begin with a header of the PROXY
	// protocol.
	ProtocolFrom []netip.Prefix
	// Trusted are the networks of proxies whose Header counts.
	Trusted []netip.Prefix
	// Header is what those add to: "Forwarded" or "X-Forwarded-For". Default: the latter.
	Header string
	// Connections is how many one address may have at once, Failures how many of its
	// sign-ins may fail in a minute.
	Connections, Failures func() int
	// Exempt are networks for which neither holds. It is called often.
	Exempt func() []netip.Prefix
	// HeaderTime bounds how long the header of the PROXY protocol may take. Default 5 s.
	HeaderTime time.Duration

	Metrics prometheus.Registerer // nil for none
	Log     *slog.Logger          // nil: nothing is logged
	Now     func() time.Time      // nil: time.Now
}

// Turnstile counts what comes from where. Its methods may be called from many goroutines
// at once.
type Turnstile struct {
	o       Options
	metrics *metrics

	mu   sync.Mutex
	open map[netip.Prefix]int // connections; nothing where there are none

	failing sync.Mutex
	failed  map[netip.Prefix]bucket
}

// New makes one.
func New(o Options) (*Turnstile, error) {
	if o.Header == "" {
		o.Header = XForwardedFor
	}
	if o.Exempt == nil {
		o.Exempt = func() []netip.Prefix { return nil }
	}
	if o.HeaderTime == 0 {
		o.HeaderTime = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Turnstile{o: o, open: make(map[netip.Prefix]int), failed: make(map[netip.Prefix]bucket)}
	var err error
	if t.metrics, err = newMetrics(o.Metrics, t); err != nil {
		return nil, fmt.Errorf("register the metrics of addresses: %w", err)
	}
	return t, nil
}

// place returns what of an address is counted.
func place(ip netip.Addr) netip.Prefix {
	bits := 32
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // it has so many
	return p
}

// addressOf reads host:port, or a host alone. The zero Addr where it is neither.
func addressOf(text string) netip.Addr {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Addr().Unmap()
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap()
}

func within(networks []netip.Prefix, ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// Exempt says whether an address (host:port) is one for which no limits hold.
func (t *Turnstile) Exempt(address string) bool {
	ip := addressOf(address)
	return !ip.IsValid() || within(t.o.Exempt(), ip)
}

// enter takes a place for a connection from an address; leave gives it back. ok is false
// when there is none.
func (t *Turnstile) enter(ip netip.Addr) (leave func(), ok bool) {
	if !ip.IsValid() || within(t.o.Exempt(), ip) {
		return func() {}, true
	}
	p, most := place(ip), t.o.Connections()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[p] >= most {
		t.metrics.refused.WithLabelValues("connections").Inc()
		return nil, false
	}
	t.open[p]++
	return sync.OnceFunc(func() { t.left(p) }), true
}

func (t *Turnstile) left(p netip.Prefix) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[p]--; t.open[p] <= 0 {
		delete(t.open, p)
	}
}

// metrics count.
type metrics struct{ refused *prometheus.CounterVec }

func newMetrics(to prometheus.Registerer, t *Turnstile) (*metrics, error) {
	m := &metrics{refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "switchboard_address_refused_total", Help: "What was refused since too much of it came from one address, by what: connections, sign_ins; or since its PROXY header was absent or not good: protocol.",
	}, []string{"what"})}
	known := func(what string, count func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "switchboard_addresses", Help: "Addresses of which something is known: connections, or sign-ins that failed lately.", ConstLabels: prometheus.Labels{"what": what},
		}, func() float64 { return float64(count()) })
	}
	if to == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.refused,
		known("connections", func() int {
			t.mu.Lock()
			defer t.mu.Unlock()
			return len(t.open)
		}),
		known("sign_ins", func() int {
			t.failing.Lock()
			defer t.failing.Unlock()
			return len(t.failed)
		}),
	} {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
