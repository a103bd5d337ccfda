package webhooks

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits bound every webhook. They may change at run time.
type Limits struct {
	Timeout     time.Duration // of one attempt, from dialling to the end of the answer
	Retry       time.Duration // how long after it happened an event is tried again
	Concurrency int           // attempts at one webhook at once
}

func (l Limits) machine() limits { return limits{l.Concurrency, l.Retry} }

// DefaultGrace is the default of Options.Grace.
const DefaultGrace = 5 * time.Second

// Options configure a Room. Queue, Archive, Logger and Limits are needed.
type Options struct {
	Queue    Queue
	Archive  Archive
	Logger   *slog.Logger
	Webhooks []Webhook
	Limits   Limits
	Version  string                // of the program, for User-Agent
	Metrics  prometheus.Registerer // nil for none

	// Place returns where the events of a webhook are on this node, nil when they
	// are another node's to post. When it returns something else, the webhook's queue
	// is opened anew: see Moved. Default: all are here, for ever.
	Place func(Name) any
	// Nodes are the ways to other nodes, each of which posts what is its own to post.
	// Default: there are none.
	Nodes Nodes
	// Grace is how long attempts that are on their way may still take when the
	// room stops. Default DefaultGrace.
	Grace  time.Duration
	Now    func() time.Time // default time.Now
	Chance func() float64   // 0 to 1, from any goroutine; default math/rand
	Random io.Reader        // of the IDs of tests; default crypto/rand

	// Dial replaces how connections are made, in tests. Private addresses are then
	// the caller's business.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (o *Options) check() error {
	if o.Queue == nil || o.Archive == nil || o.Logger == nil {
		return errors.New("webhooks: Options.Queue, Options.Archive and Options.Logger are needed")
	}
	if o.Limits.Timeout <= 0 || o.Limits.Retry <= 0 || o.Limits.Concurrency <= 0 {
		return errors.New("webhooks: Options.Limits must be above zero")
	}
	o.Grace = cmp.Or(o.Grace, DefaultGrace)
	if o.Place == nil {
		o.Place = func(Name) any { return true }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Chance == nil {
		o.Chance = mathrand.Float64
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	return nil
}

// Room posts the events of all webhooks. Its methods may be called from any
// goroutine.
type Room struct {
	opts    Options
	poster  *poster
	metrics *metrics
	changed chan struct{}

	mu    sync.Mutex // guards hooks
	hooks map[Name]*hook

	sharing sync.Mutex // guards others; taken before mu
	others  others
}

// New makes a room. Run has it work.
func New(opts Options) (*Room, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	r := &Room{opts: opts, changed: make(chan struct{}, 1), hooks: make(map[Name]*hook)}
	r.poster = newPoster(opts.Version, opts.Now, opts.Dial)
	var err error
	if r.metrics, err = newMetrics(r, opts.Metrics); err != nil {
		return nil, fmt.Errorf("register the metrics of webhooks: %w", err)
	}
	r.Replace(opts.Webhooks, opts.Limits)
	return r, nil
}

// Replace makes list the webhooks that there are. One that stays, by app and
// name, goes on with its new settings at once, and tries anew what had failed;
// attempts on their way to where it is not any more are broken off and made anew.
// What waits for one that goes stays in its queue: a webhook of the same app and
// name that comes back finds it there.
func (r *Room) Replace(list []Webhook, l Limits) {
	r.mu.Lock()
	old := r.hooks
	r.hooks = make(map[Name]*hook, len(list))
	for _, w := range list {
		h := old[w.Of]
		if h == nil {
			h = newHook(w, l, &r.opts, r.poster, r.metrics)
		} else {
			h.set(w, l)
		}
		r.hooks[w.Of] = h
	}
	for of := range old {
		if r.hooks[of] == nil {
			r.metrics.forget(of)
		}
	}
	r.mu.Unlock()
	r.stir()
}

// Run posts events until ctx ends, and leaves nothing behind.
func (r *Room) Run(ctx context.Context) error {
	defer r.poster.close()
	running := make(map[Name]work)
	var all sync.WaitGroup
	defer all.Wait()
	tell, stop := r.telling()
	defer stop()
	for ctx.Err() == nil {
		wanted := r.list()
		for of, w := range running {
			switch {
			case w.ended():
				delete(running, of)
			case !slices.Contains(wanted, w.hook) || w.place != r.opts.Place(of):
				w.cancel() // others do not wait for its end
			}
		}
		for _, h := range wanted {
			place := r.opts.Place(h.of)
			if _, runs := running[h.of]; !runs && place != nil { // nor does one of the same name that is to end
				running[h.of] = r.start(ctx, h, place, &all)
			}
		}
		select {
		case <-ctx.Done():
		case <-r.changed:
		case <-tell:
			r.tell()
		}
	}
	return nil
}

// work is a hook that runs.
type work struct {
	hook   *hook
	place  any
	cancel context.CancelFunc
	done   chan struct{}
}

func (w work) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// start has a hook run, as one of all. Its end makes Run look again.
func (r *Room) start(ctx context.Context, h *hook, place any, all *sync.WaitGroup) work {
	ctx, cancel := context.WithCancel(ctx)
	w := work{h, place, cancel, make(chan struct{})}
	all.Go(func() {
		defer cancel()
		h.run(ctx)
		close(w.done)
		r.stir()
	})
	return w
}

// Moved says that Options.Place may say something else now.
func (r *Room) Moved() { r.stir() }

// stir has Run look at what there is.
func (r *Room) stir() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// list returns all hooks, by app and name.
func (r *Room) list() []*hook {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.hooks), func(a, b *hook) int {
		return cmp.Or(cmp.Compare(a.of.App, b.of.App), cmp.Compare(a.of.Name, b.of.Name))
	})
}

// ErrUnknown says that there is no webhook of that app and name.
var ErrUnknown = errors.New("there is no such webhook")

func (r *Room) find(of Name) (*hook, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.hooks[of]; h != nil {
		return h, nil
	}
	return nil, ErrUnknown
}

// States of a webhook.
const (
	StateOK      = "ok"
	StateFailing = "failing" // nothing has got through for several attempts
	StateIdle    = "idle"    // nothing was posted since the start
)

// Status tells how it goes with one webhook, on all nodes that there are together.
// Counts are since the start of each; those of a node that is gone are not among
// them.
type Status struct {
	Of           Name
	URL          string // without what may be a secret
	Events       []string
	AllowPrivate bool
	State        string
	Waiting      Backlog
	StuckUsers   int // whose next event has failed and is to be tried again
	Delivered    uint64
	Failed       uint64    // given up
	LastSuccess  time.Time // zero for none
	LastFailure  time.Time // of an attempt; zero for none
	LastReason   string    // of that failure
}

// Status tells how it goes with a webhook.
func (r *Room) Status(ctx context.Context, of Name) (Status, error) {
	h, err := r.find(of)
	if err != nil {
		return Status{}, err
	}
	return r.status(ctx, h)
}

// List tells it of all webhooks of an app, by name; of all apps if it is empty.
func (r *Room) List(ctx context.Context, app string) ([]Status, error) {
	var list []Status
	for _, h := range r.list() {
		if app != "" && h.of.App != app {
			continue
		}
		s, err := r.status(ctx, h)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func (r *Room) status(ctx context.Context, h *hook) (Status, error) {
	backlog, err := r.opts.Queue.Backlog(ctx, h.of)
	if err != nil {
		return Status{}, fmt.Errorf("look at what waits for webhook %s: %w", h.of, err)
	}
	v := r.together(h)
	to, _ := h.settings()
	return Status{
		Of: h.of, URL: shown(&to), Events: to.Events, AllowPrivate: to.AllowPrivate,
		State: v.state(), Waiting: backlog, StuckUsers: v.Stuck, Delivered: v.Delivered, Failed: v.Failed,
		LastSuccess: v.LastSuccess, LastFailure: v.LastFailure, LastReason: v.LastReason,
	}, nil
}

// shown returns a webhook's URL without what may be a secret: user, password and query,
// or all of it.
func shown(w *Webhook) string {
	if w.HideURL {
		return "(hidden)"
	}
	u, err := url.Parse(w.URL)
	if err != nil {
		return ""
	}
	u.User = nil
	if u.RawQuery != "" {
		u.RawQuery = "(hidden)"
	}
	return u.String()
}

// History returns a page of what was delivered and given up, newest first; of
// one state, or of any if it is 0. at is where a page before ended.
func (r *Room) History(ctx context.Context, of Name, state State, at Cursor, limit int) (Page, error) {
	if _, err := r.find(of); err != nil {
		return Page{}, err
	}
	p, err := page(ctx, r.opts.Archive, of, state, at, limit)
	if err != nil && !errors.Is(err, ErrCursor) {
		err = fmt.Errorf("read the history of webhook %s: %w", of, err)
	}
	return p, err
}
