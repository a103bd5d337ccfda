package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/domains"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// minWait and maxWait bound how long after a lost link it is tried again. However long
	// it was down, whoever has put it right at the other end sees it come up while he looks
	// on; one attempt in two seconds is nothing to either.
	minWait = 250 * time.Millisecond
	maxWait = 4 * time.Second
	// connectTime bounds one attempt to connect and sign in.
	connectTime = 10 * time.Second
	// pingEvery is how often the round trip is measured.
	pingEvery = 5 * time.Second
	// holdTime is how long a connection is kept that has brought what was routed by a
	// newer description: in half of the time in which a neighbour wants to hear a
	// proof (limits.proofTimeout, 10 s) a meta server is asked in most cases.
	holdTime = 5 * time.Second
	// maxFrame is the largest frame that limits.frame may allow a client, in any domain.
	// What another domain takes from its clients is its own to decide: to refuse it here
	// would have all that is behind it wait.
	maxFrame = 1 << 20
	// maxInner is how large what a receiver gets may be: a refusal has the reference and
	// the receivers of what is refused, and says why. It bounds what is passed on, for
	// the FORWARD around it is written anew: the next domain must not find it too large.
	maxInner = maxFrame + 1<<10
)

// Options configure Links. Self, Network, Secret and Forward are needed.
type Options struct {
	Self    string // this domain
	Network func() *domains.Network
	// Secret returns what this domain shows a neighbour; empty for nothing.
	Secret func(neighbour string) (string, error)
	// TLS returns what a neighbour at wss:// is shown, and how its certificate is checked,
	// for each attempt; a nil configuration: as usual. Nil: it is as usual for all.
	TLS func() (*tls.Config, error)
	// Forward takes what came over a link. done says that everything in it is stored or
	// refused, or, with an error, that nobody knows: then it is to come again.
	Forward func(f *wire.Forward, from delivery.Neighbour, done func(error))
	// Mine says whether this node is to have the link to a neighbour. Nil: it is.
	Mine func(neighbour string) bool
	// Stale is called when a neighbour routes by a newer description than Network
	// returns. Nil for nobody.
	Stale func()

	Metrics prometheus.Registerer // nil for none
	Log     *slog.Logger          // nil: nothing is logged
	Now     func() time.Time      // nil: time.Now
	Random  func() float64        // in [0, 1), for any goroutine; nil: math/rand/v2

	dial dialer // nil: by package client
}

// Links are the links of this node to the neighbours of its domain.
type Links struct {
	opts    Options
	metrics *metrics
	stirred chan struct{} // holds one token when neighbours are to be looked at

	mu         sync.Mutex
	neighbours map[string]*neighbour
	seen       *domains.Network // by which they were looked at last
}

// New makes the links, which Run keeps up.
func New(o Options) (*Links, error) {
	if o.Self == "" || o.Network == nil || o.Secret == nil || o.Forward == nil {
		return nil, errors.New("link: Options.Self, Network, Secret and Forward are needed")
	}
	if o.Mine == nil {
		o.Mine = func(string) bool { return true }
	}
	if o.TLS == nil {
		o.TLS = func() (*tls.Config, error) { return nil, nil }
	}
	if o.Stale == nil {
		o.Stale = func() {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.dial == nil {
		o.dial = dial
	}
	l := &Links{opts: o, stirred: make(chan struct{}, 1), neighbours: make(map[string]*neighbour)}
	var err error
	if l.metrics, err = newMetrics(o.Metrics, l.List); err != nil {
		return nil, fmt.Errorf("register the metrics of links: %w", err)
	}
	return l, nil
}

// Stir has the links looked at: the network has changed, or who Mine is. It does
// not block.
func (l *Links) Stir() {
	select {
	case l.stirred <- struct{}{}:
	default:
	}
}

// Run keeps the links up until ctx ends.
func (l *Links) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		l.reconcile(ctx, &running)
		select {
		case <-ctx.Done():
			return nil
		case <-l.stirred:
		}
	}
}

// reconcile begins links to new neighbours, ends those to others, and tells all
// that something may have changed.
func (l *Links) reconcile(ctx context.Context, running *sync.WaitGroup) {
	network := l.opts.Network()
	wanted := make(map[string]domains.Domain)
	if network != nil {
		for _, n := range network.Routes(l.opts.Self).Neighbours() {
			wanted[n.Name] = n.Domain
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := network != l.seen
	l.seen = network
	for name, n := range l.neighbours {
		// One who signs in as another user now is another one: by that user it is known
		// what would go back whence it came.
		if d, ok := wanted[name]; !ok || d.User() != n.from.Link {
			n.end()
			delete(l.neighbours, name)
			l.metrics.forget(name)
		}
	}
	for name, d := range wanted {
		n := l.neighbours[name]
		if n == nil {
			living, end := context.WithCancel(ctx)
			n = &neighbour{links: l, from: delivery.Neighbour{Domain: name, Link: d.User()}, end: end, stirred: make(chan struct{}, 1)}
			n.state = State{Domain: name, Since: l.opts.Now(), Why: "not tried yet"}
			n.urls = d.URLs // which run is to know from its beginning
			l.neighbours[name] = n
			running.Go(func() { n.run(living) })
			continue
		}
		n.change(d.URLs, fresh)
	}
}

// State is how a link is.
type State struct {
	Domain    string // the neighbour
	Mine      bool   // this node is to have it
	Up        bool
	Since     time.Time     // when it came up, or went down
	Why       string        // it is down, as a sentence; empty while it is up
	URL       string        // that it is up at, or that was tried last
	RoundTrip time.Duration // measured last; 0 for not yet
	Waits     uint64        // the version of the network that is waited for; 0: none
}

// List returns the state of all links, by the names of the neighbours.
func (l *Links) List() []State {
	l.mu.Lock()
	list := make([]State, 0, len(l.neighbours))
	for _, n := range l.neighbours {
		list = append(list, n.look())
	}
	l.mu.Unlock()
	slices.SortFunc(list, func(a, b State) int { return strings.Compare(a.Domain, b.Domain) })
	return list
}

// neighbour is one link.
type neighbour struct {
	links   *Links
	from    delivery.Neighbour
	end     context.CancelFunc
	stirred chan struct{} // holds one token when something may have changed

	mu    sync.Mutex // guards what follows
	urls  []string
	fresh bool // the description has changed since the last attempt
	state State
}

// change tells of the neighbour's URLs, and that something may have changed; fresh
// says that the description has.
func (n *neighbour) change(urls []string, fresh bool) {
	n.mu.Lock()
	n.urls, n.fresh = urls, n.fresh || fresh
	n.mu.Unlock()
	select {
	case n.stirred <- struct{}{}:
	default:
	}
}

func (n *neighbour) look() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state
}

// note changes the state.
func (n *neighbour) note(f func(*State)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.state)
}

// run keeps the link up.
func (n *neighbour) run(ctx context.Context) {
	o := &n.links.opts
	tries := 0
	for i := 0; ctx.Err() == nil; i++ {
		if !n.await(ctx) {
			break
		}
		began := o.Now()
		url := n.url(i)
		err := n.once(ctx, url)
		if ctx.Err() != nil || errors.Is(err, errNotMine) {
			tries = 0
			n.down(url, "another node of this domain has the link")
			continue
		}
		n.fails(url, err, tries)
		if o.Now().Sub(began) >= maxWait {
			tries = 0
		}
		if n.sleep(ctx, tries) {
			tries++
		} else {
			tries = 0
		}
	}
	n.down("", "this node ends")
}

// await waits until this node is to have the link.
func (n *neighbour) await(ctx context.Context) bool {
	for ctx.Err() == nil {
		mine := n.links.opts.Mine(n.from.Domain)
		n.note(func(s *State) { s.Mine = mine })
		if mine {
			return true
		}
		n.down("", "another node of this domain has the link")
		select {
		case <-n.stirred:
		case <-ctx.Done():
		}
	}
	return false
}

// url returns what to try for the i-th time: the neighbour's URLs in turn.
func (n *neighbour) url(i int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fresh = false
	if len(n.urls) == 0 {
		return ""
	}
	return n.urls[i%len(n.urls)]
}

// sleep waits before the next attempt, and says whether all of the time was over:
// a change of the description ends it.
func (n *neighbour) sleep(ctx context.Context, tries int) bool {
	o := &n.links.opts
	most := min(minWait<<min(tries, 10), maxWait)
	timer := time.NewTimer(minWait + time.Duration(o.Random()*float64(most-minWait)))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		case <-n.stirred:
			n.mu.Lock()
			fresh := n.fresh
			n.mu.Unlock()
			if fresh {
				return false
			}
		}
	}
}

// down notes that there is no link, and why.
func (n *neighbour) down(url, why string) {
	n.note(func(s *State) {
		if s.Up || s.Since.IsZero() {
			s.Since = n.links.opts.Now()
		}
		s.Up, s.Why, s.RoundTrip, s.Waits = false, why, 0, 0
		if url != "" {
			s.URL = url
		}
	})
}

// fails notes a link that is lost, or did not come up. What is the same as before
// is logged once.
func (n *neighbour) fails(url string, err error, tries int) {
	before := n.look()
	n.down(url, err.Error())
	if wait, ok := errors.AsType[*waitError](err); ok {
		n.note(func(s *State) { s.Waits = wait.version })
	}
	if before.Up || before.Why != err.Error() {
		n.links.opts.Log.Warn("the link to another domain is down; what it has for this one waits there", "domain", n.from.Domain, "url", url, "err", err)
	}
}
