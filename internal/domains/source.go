package domains

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SourceOptions say where a description comes from.
type SourceOptions struct {
	// URL is that of the meta server, http or https, without user name and
	// password; or the path of a file as the meta server reads it, which is read
	// at the start and by Reload.
	URL string
	// Secret is sent to the meta server as a bearer token, unless it is empty.
	Secret string
	// Self is this domain's name. A description without it is refused.
	Self string
	// File is where the last good copy is kept. Its folder must exist.
	File string

	Retry    time.Duration // the pause after a first failure, 1 s; it doubles, less up to a quarter by chance, up to
	RetryMax time.Duration // 30 s
	Timeout  time.Duration // of a request, and for the head of a stream's answer: 10 s
	// Silence is how long the meta server's stream may say nothing, not even that
	// it is there, before it is taken for broken: 45 s, three times what a meta
	// server waits.
	Silence time.Duration

	// TLS says how the meta server's certificate is checked; nil: as usual. It is not used
	// with Client.
	TLS     *tls.Config
	Client  *http.Client // its Timeout is not used; nil: one that follows no redirects
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: none
	Now     func() time.Time
	Chance  func() float64 // 0 to 1
}

// Source keeps a domain's description current: it follows a meta server, or reads
// a file, and keeps the last good copy on disk. Whatever is wrong with the meta
// server or what it serves, the last good description stays; the trouble is
// logged once, counted, told by State, and over when it is over.
//
// A description is taken if it is good ([ParseJSON]), describes this domain, and
// is newer than what is there. One of a lower version is refused, and so is
// another content under the same version: which description a message was
// routed by is told by its version. Versions of one meta server say nothing about
// those of another: when the URL has changed since the last good copy, whatever
// comes is taken.
type Source struct {
	o      SourceOptions
	server *url.URL // nil: a file
	client *http.Client
	own    bool // the client was made here
	ledger *ledger

	current atomic.Pointer[Network]
	told    atomic.Uint64 // the version that the stream told last; 0: no stream
	open    atomic.Bool   // the stream is there
	kicked  chan struct{} // fetch now
	unsaved chan struct{} // the current one is not on disk

	taking sync.Mutex // fetching, reading and telling: one at a time
	etag   string     // of the current one; under taking

	mu       sync.Mutex
	held     held
	watchers []*watcher
}

// held is a description and where it came from.
type held struct {
	network   *Network
	from      string // see SourceOptions.URL
	stored    bool   // it was read from the last good copy and not yet confirmed
	since     time.Time
	confirmed time.Time
	turn      uint64 // counts what was taken
}

// State says how a domain's description is kept.
type State struct {
	From      string    // the URL of the meta server or the path of the file
	Version   uint64    // 0 if there is none, and for a file
	Hash      string    // empty if there is none
	Stored    bool      // it is the last good copy, which nobody has confirmed since the start
	Since     time.Time // when it was taken; zero if there is none
	Confirmed time.Time // when the source last said that it is current; zero if it did not since the start
	Following bool      // a meta server's stream of changes is open
	Trouble   string    // what is wrong now, as a sentence; empty if nothing is
	Kind      string    // of the trouble: see TroubleKinds
	Troubled  time.Time // since when
}

// NewSource checks the options and reads the last good copy, and the file if the
// description comes from one. It fails when that is bad and there is no copy.
func NewSource(o SourceOptions) (*Source, error) {
	s := &Source{o: o, kicked: make(chan struct{}, 1), unsaved: make(chan struct{}, 1)}
	s.fillIn()
	if err := s.check(); err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	s.ledger = &ledger{log: s.o.Log, now: s.o.Now, metrics: m, known: func() bool { return s.Current() != nil }, open: map[part]ongoing{}}
	if s.client = o.Client; s.client == nil {
		s.client, s.own = newClient(s.o.Timeout, s.o.TLS), true
	} else {
		unbound := *o.Client
		unbound.Timeout = 0 // it would cut the stream
		s.client = &unbound
	}
	s.recall()
	if s.server != nil {
		return s, nil
	}
	switch err := s.readFile(); {
	case err != nil && s.Current() == nil:
		return nil, err.err
	case err != nil:
		s.ledger.raise(fetching, err, true)
	}
	return s, nil
}

func (s *Source) fillIn() {
	for field, value := range map[*time.Duration]time.Duration{
		&s.o.Retry: time.Second, &s.o.RetryMax: 30 * time.Second, &s.o.Timeout: 10 * time.Second, &s.o.Silence: 45 * time.Second,
	} {
		if *field == 0 {
			*field = value
		}
	}
	if s.o.Log == nil {
		s.o.Log = slog.New(slog.DiscardHandler)
	}
	if s.o.Now == nil {
		s.o.Now = time.Now
	}
	if s.o.Chance == nil {
		s.o.Chance = rand.Float64
	}
}

// check checks the options and sorts out what the URL is.
func (s *Source) check() error {
	o := s.o
	switch {
	case o.URL == "":
		return errors.New("the network has no source: name the URL of the meta server, or a file")
	case o.File == "":
		return errors.New("the last good copy of the network needs the name of a file")
	case o.Retry < 0 || o.RetryMax < o.Retry || o.Timeout < 0 || o.Silence < 0:
		return errors.New("the pauses of the network's source must not be negative, nor the longest be less than the first")
	}
	if _, err := linkUser(o.Self, "any-1"); err != nil { // which user it is, if its name does not say so, the description says
		return fmt.Errorf("this domain's name %w", err)
	}
	scheme, _, isURL := strings.Cut(o.URL, "://")
	if !isURL {
		return nil
	}
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("the network's source is neither a meta server nor a file: write http://host:port or https://host:port, or a path (not %s://)", quote(scheme))
	case u.User != nil:
		return errors.New("the URL of the meta server must not carry a user name or password: give it the secret")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("the URL of the meta server must not have a query or a fragment: name the server alone")
	}
	s.server = u
	return nil
}

// Run keeps the description current until ctx ends; it returns nil then.
func (s *Source) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { s.keepSaved(ctx) })
	if s.server != nil {
		all.Go(func() { s.keep(ctx) })
		all.Go(func() { s.follow(ctx) })
	}
	all.Wait()
	if s.own {
		s.client.CloseIdleConnections()
	}
	return nil
}

// Current returns the description; nil before there was any.
func (s *Source) Current() *Network { return s.current.Load() }

// Reload fetches the description, or reads the file, now. It says what is wrong,
// as State does; the last good one stays then.
func (s *Source) Reload() error {
	t := s.refresh(context.Background(), false)
	if t == nil {
		return nil
	}
	return t.err
}

// State says how things are.
func (s *Source) State() State {
	s.mu.Lock()
	h := s.held
	s.mu.Unlock()
	st := State{From: s.o.URL, Following: s.open.Load()}
	if h.network != nil {
		st.Version, st.Hash = h.network.Version, h.network.Hash()
		st.Stored, st.Since, st.Confirmed = h.stored, h.since, h.confirmed
	}
	st.Trouble, st.Kind, st.Troubled = s.ledger.worst()
	return st
}

// refresh fetches or reads once; it notes the trouble, or its end. Unless aloud,
// nothing is logged: whoever asked is told.
func (s *Source) refresh(ctx context.Context, aloud bool) *trouble {
	var t *trouble
	if s.server == nil {
		t = s.readFile()
	} else {
		t = s.fetch(ctx)
	}
	switch {
	case t == nil:
		s.ledger.clear(fetching)
	case ctx.Err() == nil:
		s.ledger.raise(fetching, t, aloud)
	}
	return t
}

// leastPause is the least time from one fetch to the next, whatever a meta
// server's stream tells.
const leastPause = 100 * time.Millisecond

// keep fetches at once, whenever it is kicked, and again while that fails.
func (s *Source) keep(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		if s.refresh(ctx, true) != nil {
			failures++
			s.wait(ctx, s.delay(failures), s.kicked)
		} else {
			failures = 0
			select {
			case <-ctx.Done():
			case <-s.kicked:
			}
		}
		s.wait(ctx, min(leastPause, s.o.Retry), nil)
	}
}

// kick has the description fetched soon.
func (s *Source) kick() {
	select {
	case s.kicked <- struct{}{}:
	default: // it is to be fetched already
	}
}

// wait returns after a while, or when ctx ends or something comes on early.
func (s *Source) wait(ctx context.Context, d time.Duration, early <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-early:
	case <-ctx.Done():
	}
}

// delay is the pause after so many failures.
func (s *Source) delay(failures int) time.Duration {
	d := s.o.RetryMax
	if shift := failures - 1; shift < 20 {
		d = min(s.o.Retry<<shift, s.o.RetryMax)
	}
	return d - time.Duration(s.o.Chance()*float64(d)/4)
}
