package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/audit"
)

const (
	// dialTime is how long a connection to an instance may take: with one lost packet, and
	// early enough for another instance.
	dialTime = 2 * time.Second
	// idleTime is how long a connection to an instance is kept that nothing uses. Many
	// servers close theirs after 5 s, and a request that meets that may be lost.
	idleTime = 4 * time.Second
	// idleConnections is how many of them are kept for each instance.
	idleConnections = 256
	// maxAnswerHeader bounds the header of a service's answer, in bytes.
	maxAnswerHeader = 64 << 10
	copyBuffer      = 32 << 10
)

// Options configure a gateway. All but Dial are needed.
type Options struct {
	Config    Config
	Instances Instances
	Verifier  Verifier
	Now       func() time.Time
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	// Audit is told who was refused for his token. Nil: nobody is.
	Audit *audit.Log
	// Secure says whether a client came by TLS. Nil: where its connection to us has it.
	Secure func(*http.Request) bool
	// Dial connects to instances. Nil: as [net.Dialer] does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Gateway is the door. It serves before and while Run runs; its methods may be called
// from any goroutine.
type Gateway struct {
	opts      Options
	table     atomic.Pointer[table]
	transport *http.Transport
	health    *http.Transport
	proxy     httputil.ReverseProxy // but for its transport
	metrics   *metrics
	changed   chan struct{} // services are to be looked at

	clientTime time.Duration
	stale      stale

	setting sync.Mutex // held while the table is replaced
	lasting lasting
}

// dialError says that no connection could be made, so that nothing was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return "connect: " + e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// New returns a gateway with a configuration in force.
func New(o Options) (*Gateway, error) {
	if o.Instances == nil || o.Verifier == nil || o.Now == nil || o.Log == nil || o.Metrics == nil {
		return nil, errors.New("gateway: Options.Instances, Verifier, Now, Log and Metrics are needed")
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: dialTime}).DialContext
	}
	if o.Secure == nil {
		o.Secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	g := &Gateway{opts: o, changed: make(chan struct{}, 1), clientTime: clientTime}
	g.stale.services = make(map[string]struct{})
	g.lasting.list = make(map[*exchange]context.CancelCauseFunc)
	g.transport = newTransport(func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := o.Dial(ctx, network, address)
		if err != nil {
			return nil, &dialError{err}
		}
		return conn, nil
	})
	g.health = newTransport(o.Dial)
	g.health.DisableKeepAlives = true // that it takes connections is part of its being well
	g.proxy = httputil.ReverseProxy{
		BufferPool: newBuffers(), ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	g.metrics = newMetrics(o.Metrics, g)
	if err := g.Set(o.Config); err != nil {
		return nil, err
	}
	return g, nil
}

func newTransport(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: idleTime, TLSHandshakeTimeout: dialTime,
		DisableCompression: true, MaxResponseHeaderBytes: maxAnswerHeader, ExpectContinueTimeout: time.Second,
	}
}

// Set replaces what is in force. Requests under way end as they began.
func (g *Gateway) Set(c Config) error {
	for _, r := range c.Routes {
		if !strings.HasPrefix(r.Path, "/") || badPath(r.Path) != "" || r.Service == "" || r.Timeout <= 0 {
			return fmt.Errorf("gateway: route %q needs a path, a service and a timeout", r.Path)
		}
	}
	g.setting.Lock()
	defer g.setting.Unlock()
	before := g.table.Load()
	next := newTable(c.withDefaults(), before, g.opts.Now())
	for _, s := range next.services {
		g.refresh(s)
	}
	g.table.Store(next)
	if before != nil {
		g.forget(before, next)
	}
	g.wake()
	return nil
}

// forget lets go of what was only of routes and services that are gone.
func (g *Gateway) forget(before, now *table) {
	for name, s := range before.services {
		if now.services[name] == nil {
			g.replace(s, nil)
			g.metrics.forgetService(name)
		}
	}
	for _, r := range before.config.Routes {
		if now.at(r.Path) == nil {
			g.metrics.forgetRoute(r.Path)
		}
	}
}

// stale are services whose instances have changed.
type stale struct {
	mu       sync.Mutex
	services map[string]struct{}
}

// note is told that a service has changed.
func (g *Gateway) note(name string) {
	if g.table.Load().services[name] == nil {
		return
	}
	g.stale.mu.Lock()
	g.stale.services[name] = struct{}{}
	g.stale.mu.Unlock()
	g.wake()
}

func (g *Gateway) wake() {
	select {
	case g.changed <- struct{}{}:
	default: // it is known already
	}
}

// refresh learns which instances a service has.
func (g *Gateway) refresh(s *service) {
	list := g.opts.Instances.List(s.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	before := *s.list.Load()
	next := make([]*instance, 0, len(list))
	for _, one := range list {
		at := slices.IndexFunc(before, func(i *instance) bool { return i.Instance == one })
		if at >= 0 {
			next = append(next, before[at])
		} else if i := g.newInstance(s.name, one); i != nil {
			next = append(next, i)
		}
	}
	g.swap(s, before, next)
}

// replace has a service have these instances.
func (g *Gateway) replace(s *service, next []*instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.swap(s, *s.list.Load(), next)
}

// swap is replace; mu of the service is held.
func (g *Gateway) swap(s *service, before, next []*instance) {
	s.list.Store(&next)
	for _, i := range before {
		if !slices.Contains(next, i) {
			stays := slices.ContainsFunc(next, func(n *instance) bool { return n.Name == i.Name }) // with another URL, say
			g.metrics.forgetInstance(i, stays)
		}
	}
}

func (g *Gateway) newInstance(service string, one Instance) *instance {
	target, err := url.Parse(one.URL)
	if err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" {
		g.opts.Log.Warn("an instance of a service has a URL that is none", "service", service, "instance", one.Name)
		return nil
	}
	target.RawQuery, target.Fragment, target.User = "", "", nil
	i := &instance{Instance: one, service: service, target: target, weight: int64(max(1, one.Weight))}
	i.turned(g.opts.Now(), nil)
	g.metrics.adopt(i)
	return i
}

// Run looks after instances until ctx ends.
func (g *Gateway) Run(ctx context.Context) error {
	defer g.transport.CloseIdleConnections()
	defer g.opts.Instances.Watch(g.note)()
	var all sync.WaitGroup
	defer all.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	tended := make(map[*instance]context.CancelFunc)
	for _, s := range g.table.Load().services {
		g.refresh(s) // what changed before it was watched
	}
	for {
		g.reconcile(ctx, &all, tended)
		select {
		case <-ctx.Done():
			return nil
		case <-g.changed:
		}
		g.freshen()
	}
}

// freshen learns which instances those services have that have changed.
func (g *Gateway) freshen() {
	g.stale.mu.Lock()
	names := g.stale.services
	g.stale.services = make(map[string]struct{})
	g.stale.mu.Unlock()
	g.setting.Lock()
	defer g.setting.Unlock()
	t := g.table.Load()
	for name := range names {
		if s := t.services[name]; s != nil {
			g.refresh(s)
		}
	}
}

// reconcile has each instance, and none besides, tended.
func (g *Gateway) reconcile(ctx context.Context, all *sync.WaitGroup, tended map[*instance]context.CancelFunc) {
	present := make(map[*instance]bool)
	for _, s := range g.table.Load().services {
		for _, i := range *s.list.Load() {
			present[i] = true
		}
	}
	for i, stop := range tended {
		if !present[i] {
			stop()
			delete(tended, i)
		}
	}
	for i := range present {
		if tended[i] == nil {
			one, stop := context.WithCancel(ctx)
			tended[i] = stop
			all.Go(func() { g.tend(one, i) })
		}
	}
}

// lasting are the exchanges that have no end of their own.
type lasting struct {
	mu   sync.Mutex
	left bool
	list map[*exchange]context.CancelCauseFunc
}

// add has an exchange ended with the gateway; false: that has ended.
func (l *lasting) add(x *exchange, end context.CancelCauseFunc) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left {
		return false
	}
	l.list[x] = end
	return true
}

func (l *lasting) remove(x *exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.list, x)
}

// Leave ends WebSockets and streams of events, which would go on as long as their clients
// do, and refuses further ones: the server is about to stop. Other requests go on.
func (g *Gateway) Leave() {
	g.lasting.mu.Lock()
	defer g.lasting.mu.Unlock()
	g.lasting.left = true
	for _, end := range g.lasting.list {
		end(errLeaves)
	}
}

// buffers are lent for copying bodies.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{sync.Pool{New: func() any { return new([copyBuffer]byte) }}}
}

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte { return b.pool.Get().(*[copyBuffer]byte)[:] }

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put((*[copyBuffer]byte)(p)) }
