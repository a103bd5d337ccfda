package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// tickTime is the time between two looks at who is over.
	tickTime = 250 * time.Millisecond
	// stallTime is more than passes between two of them while the process runs.
	stallTime = 5 * time.Second
	// removeTime bounds the removal of one row.
	removeTime = 5 * time.Second
)

// Why something is not registered, or not removed, besides a *Refusal.
var (
	ErrTooMany = errors.New("too many instances")
	ErrFixed   = errors.New("the instance is one of the file of static instances")
	ErrUnknown = errors.New("there is no such instance: it never was, has left, or was not renewed in time")
	// ErrStore says that the store failed; what it says is behind it.
	ErrStore = errors.New("services cannot be stored at present")
)

// Table is where the rows are: *bus.Table.
type Table interface {
	// Put adds or replaces a row.
	Put(ctx context.Context, key string, row []byte) error
	// Delete removes a row; one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// Get returns a row and its revision; false when there is none.
	Get(key string) (row []byte, revision uint64, ok bool)
	// Remove removes a row if it still has a revision.
	Remove(ctx context.Context, key string, revision uint64) error
	// Watch calls f for every row that there is, before it returns, and then for
	// every change, in order, one call at a time, before the call that made it
	// returns: row is nil when it is gone.
	Watch(f func(key string, row []byte)) (stop func())
}

// Options configure a Room. Table, Now and Max are needed.
type Options struct {
	Table Table
	Now   func() time.Time // with a monotonic clock, as time.Now
	Max   func() int       // instances that may be registered
	// Valid says whether this node is one of its cluster, so that it may judge; nil: it is.
	Valid   func() bool
	Log     *slog.Logger          // nil: nothing is logged
	Metrics prometheus.Registerer // nil: nothing is registered
}

// Room knows the instances. Its methods may be called from any goroutine.
type Room struct {
	opts   Options
	stop   func()        // watching the table
	wake   chan struct{} // there are rows to remove
	counts counts

	mu       sync.Mutex // guards what follows
	core     *core
	coming   map[string]string // services of those that are being registered, by key
	due      []string          // keys of rows to be removed
	watchers map[int]func(service string)
	watched  int
}

// New makes a room that follows its table. Close ends that.
func New(o Options) (*Room, error) {
	if o.Table == nil || o.Now == nil || o.Max == nil {
		return nil, errors.New("registry: Options.Table, Now and Max are needed")
	}
	if o.Valid == nil {
		o.Valid = func() bool { return true }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Room{
		opts: o, wake: make(chan struct{}, 1), core: newCore(stallTime),
		coming: make(map[string]string), watchers: make(map[int]func(string)),
	}
	if err := r.register(o.Metrics); err != nil {
		return nil, fmt.Errorf("register the metrics of services: %w", err)
	}
	r.stop = o.Table.Watch(r.hear)
	return r, nil
}

// Close stops following the table.
func (r *Room) Close() { r.stop() }

// hear takes in what the table says of one row. It is called by the table.
func (r *Room) hear(key string, b []byte) {
	if b == nil {
		r.change(func(c *core) []string { return c.gone(key) })
		return
	}
	i, err := decode(key, b)
	if err != nil {
		r.counts.passed.Inc()
		r.opts.Log.Warn("the row of a service cannot be read and is passed over", "row", key, "err", err)
		r.change(func(c *core) []string { return c.gone(key) })
		return
	}
	r.change(func(c *core) []string { return c.row(key, i, r.opts.Now()) })
}

// change has something happen to what is known, and tells who watches.
func (r *Room) change(event func(c *core) (changed []string)) []string {
	r.mu.Lock()
	changed := event(r.core)
	var told []func(string)
	if len(changed) > 0 {
		for _, f := range r.watchers {
			told = append(told, f)
		}
	}
	r.mu.Unlock()
	slices.Sort(changed)
	changed = slices.Compact(changed)
	for _, service := range changed {
		for _, f := range told {
			f(service)
		}
	}
	return changed
}

// List returns the instances of a service, by name; of all services with an empty
// name, by service and name.
func (r *Room) List(service string) []Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.core.list(service)
}

// Watch calls f after each change of a service's instances, until stop is called; one
// call may still be under way then. f must be quick, may call List, must call nothing
// else of the room, and may be called from several goroutines at once.
func (r *Room) Watch(f func(service string)) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.watched
	r.watched++
	r.watchers[id] = f
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, id)
	}
}

// SetStatic makes list the static instances, whose Source and Since it sets, and returns
// the names of the services that have changed by it.
func (r *Room) SetStatic(list []Instance) []string { return r.set(list, Static) }

// SetNodes makes list the nodes, as instances of the service [Nodes]. Those whose URL is
// none are passed over.
func (r *Room) SetNodes(list []Instance) {
	r.set(slices.DeleteFunc(list, func(i Instance) bool { return checkURL(i.URL) != nil }), Node)
}

func (r *Room) set(list []Instance, source Source) []string {
	list = slices.Clone(list)
	for n := range list {
		list[n].Source, list[n].TTL = source, 0
	}
	return r.change(func(c *core) []string {
		if source == Node {
			return c.replace(&c.nodes, list)
		}
		now := r.opts.Now().UTC().Truncate(time.Millisecond)
		for n := range list { // what stays has been there since it came
			list[n].Since = now
			if old, has := c.fixed[keyOf(list[n].Service, list[n].Name)]; has {
				list[n].Since = old.Since
			}
		}
		return c.replace(&c.fixed, list)
	})
}

// Register registers an instance, or renews it, and returns it as it is listed from
// then on. Its Weight may be 0, which is 1, and its TTL, which is DefaultTTL; Since and
// Source are set here. Its errors are a *Refusal, ErrTooMany, ErrFixed, and ErrStore: then
// it may have been registered all the same, and doing it again does no harm.
func (r *Room) Register(ctx context.Context, i Instance) (is Instance, fresh bool, err error) {
	if i.Weight == 0 {
		i.Weight = 1
	}
	if i.TTL == 0 {
		i.TTL = DefaultTTL
	}
	if wrong := i.Check(); wrong != nil {
		return Instance{}, false, wrong[0]
	}
	key := keyOf(i.Service, i.Name)
	since, err := r.admit(key, i.Service)
	if err != nil {
		return Instance{}, false, err
	}
	defer r.admitted(key)
	if fresh = since.IsZero(); fresh {
		since = r.opts.Now().UTC().Truncate(time.Millisecond)
	}
	i.Since, i.Source = since, Registered
	if err := r.opts.Table.Put(ctx, key, encode(i)); err != nil {
		return Instance{}, false, fmt.Errorf("%w: register %s of %s: %w", ErrStore, i.Name, i.Service, err)
	}
	return i, fresh, nil
}

// admit finds out whether an instance may be registered, and since when it is; zero: it
// is not yet. admitted is to be called after it was.
func (r *Room) admit(key, service string) (since time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, fixed := r.core.fixed[key]; fixed {
		return since, ErrFixed
	}
	if e := r.core.rows[key]; e != nil {
		if !e.over {
			since = e.Since
		}
		return since, nil
	}
	if _, comes := r.coming[key]; comes {
		return since, nil
	}
	if most := r.opts.Max(); len(r.core.rows)+len(r.coming) >= most {
		r.counts.refused.Inc()
		return since, fmt.Errorf("%w: there are %d, as registry.instances allows", ErrTooMany, most)
	}
	if r.core.names[service] == nil && r.services(service) >= MaxServices {
		r.counts.refused.Inc()
		return since, fmt.Errorf("%w: there are as many services as there may be, %d", ErrTooMany, MaxServices)
	}
	r.coming[key] = service
	return since, nil
}

// services counts the services that have instances that are registered, or are coming;
// all that there may be when the one that is given is among those.
func (r *Room) services(given string) int {
	fresh := make(map[string]bool)
	for _, service := range r.coming {
		if service == given {
			return 0
		}
		if r.core.names[service] == nil {
			fresh[service] = true
		}
	}
	return len(r.core.names) + len(fresh)
}

func (r *Room) admitted(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.coming, key)
}

// Remove has an instance take its leave. Its errors are ErrUnknown, ErrFixed and ErrStore.
func (r *Room) Remove(ctx context.Context, service, name string) error {
	key := keyOf(service, name)
	r.mu.Lock()
	e := r.core.rows[key]
	_, fixed := r.core.fixed[key]
	r.mu.Unlock()
	switch {
	case fixed:
		return ErrFixed
	case e == nil:
		return ErrUnknown
	}
	if err := r.opts.Table.Delete(ctx, key); err != nil {
		return fmt.Errorf("%w: remove %s of %s: %w", ErrStore, name, service, err)
	}
	return nil
}

// Run judges who is over, and removes their rows, until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	removed := make(chan struct{})
	go func() {
		defer close(removed)
		r.removeDue(ctx)
	}()
	defer func() { <-removed }()
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	for {
		r.tick()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (r *Room) tick() {
	valid := r.opts.Valid()
	r.change(func(c *core) []string {
		changed, due := c.tick(r.opts.Now(), valid)
		r.counts.expired.Add(float64(len(changed)))
		if len(due) > 0 {
			r.due = due
			select {
			case r.wake <- struct{}{}:
			default:
			}
		}
		return changed
	})
}

// removeDue removes rows that are over, until ctx ends.
func (r *Room) removeDue(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		r.mu.Lock()
		due := r.due
		r.due = nil
		r.mu.Unlock()
		for _, key := range due {
			if err := r.removeOver(ctx, key); err != nil {
				r.opts.Log.Debug("the row of a service that was not renewed could not be removed, or was by another node", "err", err)
			}
			if ctx.Err() != nil {
				return
			}
		}
	}
}

// removeOver removes a row, if it is still the one that was judged: the table tells of
// another one before Get returns it.
func (r *Room) removeOver(ctx context.Context, key string) error {
	_, revision, ok := r.opts.Table.Get(key)
	r.mu.Lock()
	over := r.core.over(key)
	r.mu.Unlock()
	if !ok || !over {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	return r.opts.Table.Remove(ctx, key, revision)
}

// counts count what happens.
type counts struct {
	expired, refused, passed prometheus.Counter
}

// register makes the metrics.
func (r *Room) register(to prometheus.Registerer) error {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_registry_" + name, Help: help})
	}
	r.counts = counts{
		expired: counter("expired_total", "Instances of services that were not renewed in time, as this node judged."),
		refused: counter("refused_total", "Instances of services that were not registered since there were too many."),
		passed:  counter("passed_total", "Rows of services that were passed over: they could not be read."),
	}
	if to == nil {
		return nil
	}
	all := []prometheus.Collector{r.counts.expired, r.counts.refused, r.counts.passed}
	for _, s := range Sources() {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "switchboard_registry_instances", Help: "Instances of services that are listed, by where they are known from.", ConstLabels: prometheus.Labels{"source": string(s)},
		}, func() float64 { return float64(r.count(s)) }))
	}
	for _, c := range all {
		if err := to.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (r *Room) count(s Source) (n int) {
	for _, i := range r.List("") {
		if i.Source == s {
			n++
		}
	}
	return n
}
