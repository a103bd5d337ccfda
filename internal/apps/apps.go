package apps

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Defaults of [Options].
const (
	DefaultHookTimeout     = 5 * time.Second
	DefaultHookConcurrency = 64
	DefaultHookWaiting     = 10_000
	DefaultKeysMaxAge      = 15 * time.Minute
	DefaultKeysPause       = 5 * time.Second
)

// App is one client application.
type App struct {
	Name        string      // what stands before the '-' in its users' IDs
	ID          string      // the appId that its clients sign in with
	Master      wire.UserID // its master user; empty for none
	AuthEnabled bool        // false: whoever names the right appId may sign in
	AuthURL     string      // its hook, http or https; empty for none
	JWT         *JWT        // its keys; nil for none. They go before the hook
	AllowApps   []string    // names of other apps that its users may reach
	Authority   Authority   // decides who may sign in, instead of all that; nil: none
}

// Authority decides who may sign in as an app's users.
type Authority interface {
	// Check says what a sign-in rests on, or why it is refused: a *[Refusal], or any
	// other error when that cannot be decided.
	Check(ctx context.Context, a wire.Auth) (Basis, error)
}

// Basis is what a sign-in rests on.
type Basis struct {
	Expires time.Time // when it ends unless renewed; zero: never
	Ground  Ground    // what may be gone before; nil: nothing
}

// Ground is what can be taken from under a sign-in.
type Ground interface {
	// Hold has end called when it is gone, without a lock that release takes. It fails,
	// as Check does, where it is gone already. release ends the hold.
	Hold(ctx context.Context, end func()) (release func(), err error)
}

// Options says what a Registry is made from. The zero value of each field but
// Apps means its default.
type Options struct {
	Apps []App

	// Home says in which domain a user lives, and whether that is this one. It
	// is called for every attempt, from many goroutines, and must not block.
	// Nil: everybody lives here.
	Home func(app string, number int64) (domain string, local bool)
	// Link says which link from another domain a user is. It is called for each
	// sign-in with the option link, must not block for long, and the apps that it
	// takes users of must not be configured. Nil: there are no other domains.
	Link func(user wire.UserID) (Link, bool)

	// HookTimeout limits one call of a hook, from dialling to the last byte of
	// the answer, and one fetch of a key set. Default 5 s.
	HookTimeout time.Duration
	// HookConcurrency limits the calls in flight to one URL. Default 64.
	HookConcurrency int
	// HookWaiting limits the attempts that wait for a turn at one URL; the next
	// is refused with BUSY. Default 10 000.
	HookWaiting int

	// KeysMaxAge is how long fetched keys are used without being fetched anew.
	// Default 15 min.
	KeysMaxAge time.Duration
	// KeysPause is the time between two fetches of one key set, however many
	// tokens name unknown keys. Default 5 s.
	KeysPause time.Duration

	Metrics prometheus.Registerer // nil: nothing is registered
	Log     *slog.Logger          // nil: nothing is logged
	Now     func() time.Time      // nil: time.Now
}

// Registry holds the configured apps. All methods may be called from many
// goroutines at once.
type Registry struct {
	home    func(app string, number int64) (domain string, local bool)
	link    func(user wire.UserID) (Link, bool)
	metrics *metrics
	tasks   *tasks
	client  *http.Client
	env     env

	current atomic.Pointer[snapshot]

	mu sync.Mutex // held while a snapshot is replaced; guards the two below
	// What outlives a snapshot, by URL: the turns at a hook and fetched keys.
	hooks map[string]*hook
	sets  map[string]*keySet
}

// env is what hooks and key sets need of their surroundings.
type env struct {
	client  *http.Client
	limits  *limits
	waiting int
	maxAge  time.Duration
	pause   time.Duration
	metrics *metrics
	tasks   *tasks
	log     *slog.Logger
	now     func() time.Time
}

// limits are those that change at run time.
type limits struct {
	timeout     atomic.Int64 // nanoseconds
	concurrency atomic.Int64
}

func (l *limits) callTimeout() time.Duration { return time.Duration(l.timeout.Load()) }

// New returns a registry of the apps in o, or a [FieldErrors] that says what is
// wrong with them. It begins to fetch the key sets of the apps that have one;
// [Registry.Close] ends that.
func New(o Options) (*Registry, error) {
	if o.HookTimeout < 0 || o.HookConcurrency < 0 || o.HookWaiting < 0 || o.KeysMaxAge < 0 || o.KeysPause < 0 {
		return nil, errors.New("apps: a limit is below zero")
	}
	o = o.withDefaults()
	if err := Check(o.Apps); err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of apps: %w", err)
	}
	r := &Registry{home: o.Home, link: o.Link, metrics: m, tasks: newTasks(), client: newClient()}
	r.env = env{
		client: r.client, limits: new(limits), waiting: o.HookWaiting,
		maxAge: o.KeysMaxAge, pause: o.KeysPause, metrics: m, tasks: r.tasks, log: o.Log, now: o.Now,
	}
	r.current.Store(&snapshot{})
	r.SetHookLimits(o.HookTimeout, o.HookConcurrency)
	if err := r.Replace(o.Apps); err != nil {
		return nil, err
	}
	return r, nil
}

func (o Options) withDefaults() Options {
	if o.Home == nil {
		o.Home = func(string, int64) (string, bool) { return "", true }
	}
	if o.Link == nil {
		o.Link = func(wire.UserID) (Link, bool) { return Link{}, false }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.HookTimeout = orDefault(o.HookTimeout, DefaultHookTimeout)
	o.HookConcurrency = orDefault(o.HookConcurrency, DefaultHookConcurrency)
	o.HookWaiting = orDefault(o.HookWaiting, DefaultHookWaiting)
	o.KeysMaxAge = orDefault(o.KeysMaxAge, DefaultKeysMaxAge)
	o.KeysPause = orDefault(o.KeysPause, DefaultKeysPause)
	return o
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Replace makes list the configured apps, all at once. A list with anything
// wrong in it is refused with a [FieldErrors] and changes nothing.
//
// Sessions that are signed in are not touched. An attempt that is under way is
// finished by the authority that it began with, and then still refused if its
// app is gone, has another appId, or the user another home.
func (r *Registry) Replace(list []App) error {
	if err := Check(list); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next := &snapshot{apps: make(map[string]*entry, len(list))}
	hooks, sets := make(map[string]*hook), make(map[string]*keySet)
	for _, app := range list {
		e, err := r.build(app, hooks, sets)
		if err != nil {
			return err
		}
		next.apps[app.Name] = e
	}
	old := r.current.Swap(next)
	r.hooks, r.sets = hooks, sets
	for name := range maps.Keys(old.apps) {
		if next.apps[name] == nil {
			r.metrics.forget(name)
		}
	}
	for _, app := range list {
		r.warnPlain(app)
	}
	for _, set := range sets {
		set.prefetch()
	}
	return nil
}

// SetHookLimits changes HookTimeout and HookConcurrency for calls that have not
// begun; values that are not above zero change nothing.
func (r *Registry) SetHookLimits(timeout time.Duration, concurrency int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if timeout > 0 {
		r.env.limits.timeout.Store(int64(timeout))
	}
	if concurrency > 0 {
		r.env.limits.concurrency.Store(int64(concurrency))
		for _, h := range r.hooks {
			h.turns.setLimit(concurrency)
		}
	}
}

// build makes the entry of one app, with the hook and the key set that its URLs
// have had before, if they have.
func (r *Registry) build(app App, hooks map[string]*hook, sets map[string]*keySet) (*entry, error) {
	e := newEntry(app)
	switch {
	case e.app.Authority != nil:
		e.authority = foreign{e.app.Authority}
	case !e.app.AuthEnabled:
	case e.app.JWT != nil && e.app.JWT.JWKSURL != "":
		set := keep(app.JWT.JWKSURL, sets, r.sets, func() *keySet { return newKeySet(app.Name, app.JWT.JWKSURL, r.env) })
		e.authority = newVerifier(e.app.JWT, set, r.env.now, algRS256, algES256, algEdDSA)
	case e.app.JWT != nil:
		key, err := e.app.JWT.key()
		if err != nil {
			return nil, FieldErrors{{App: app.Name, Field: "jwt", Problem: err.Error()}} // Check would have found it
		}
		e.authority = newVerifier(e.app.JWT, key, r.env.now, key.alg)
	default:
		e.authority = keep(app.AuthURL, hooks, r.hooks, func() *hook { return newHook(app.AuthURL, r.env) })
	}
	return e, nil
}

// keep returns what next or else old has under a URL, or else makes it, and
// leaves it in next.
func keep[T any](url string, next, old map[string]*T, make func() *T) *T {
	v := next[url]
	if v == nil {
		v = old[url]
	}
	if v == nil {
		v = make()
	}
	next[url] = v
	return v
}

// warnPlain tells the operator about tokens and keys that cross a network
// unencrypted.
func (r *Registry) warnPlain(app App) {
	switch {
	case app.Authority != nil, !app.AuthEnabled:
	case app.JWT != nil:
		if isPlain(app.JWT.JWKSURL) {
			r.env.log.Warn("the keys for an app's tokens are fetched without encryption", "app", app.Name)
		}
	case isPlain(app.AuthURL):
		r.env.log.Warn("an app's hook is sent tokens without encryption", "app", app.Name)
	}
}

// Names returns the names of the configured apps, in alphabetical order.
func (r *Registry) Names() []string {
	return slices.Sorted(maps.Keys(r.current.Load().apps))
}

// Known says whether an app of this name is configured.
func (r *Registry) Known(app string) bool {
	return r.current.Load().apps[app] != nil
}

// MayReach says whether users of the app from may send to users of the app to.
// Both have to be configured. It does not follow that the other may answer.
func (r *Registry) MayReach(from, to string) bool {
	apps := r.current.Load().apps
	f := apps[from]
	if f == nil || apps[to] == nil {
		return false
	}
	if from == to {
		return true
	}
	_, ok := f.reach[to]
	return ok
}

// MasterOf returns the master user of an app, if it is known and has one.
func (r *Registry) MasterOf(app string) (wire.UserID, bool) {
	e := r.current.Load().apps[app]
	if e == nil || e.app.Master == "" {
		return "", false
	}
	return e.app.Master, true
}

// Close stops fetching keys, waits until that has ended and closes idle
// connections. Call it after the last Authenticate has returned: attempts that
// come later are not refused, but keys are no longer fetched for them.
func (r *Registry) Close() {
	r.tasks.close()
	r.client.CloseIdleConnections()
}

// tasks runs functions beside their caller until it is closed, which waits for
// them.
type tasks struct {
	ctx    context.Context // done when closing
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool // guarded by mu, so that nothing is started once close waits
	wg     sync.WaitGroup
}

func newTasks() *tasks {
	ctx, cancel := context.WithCancel(context.Background())
	return &tasks{ctx: ctx, cancel: cancel}
}

// run starts f and returns true, or returns false when closed.
func (t *tasks) run(f func(context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Go(func() { f(t.ctx) })
	return true
}

func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.wg.Wait()
}
