package keys

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Why a key is refused.
var (
	ErrMalformed = errors.New("a key is sb_, its ID, _ and its secret")
	ErrUnknown   = errors.New("there is no such key: it never was, or was revoked")
	ErrExpired   = errors.New("the key has expired")
)

// Store keeps the rows of keys. What a call has changed is synced, and the
// watchers of this process have been told of it, when the call returns. Its
// methods may be called from any goroutine.
type Store interface {
	// Create adds a row, and fails when there is one under that ID.
	Create(ctx context.Context, id string, row []byte) error
	// Delete removes a row; one that is not there is no error.
	Delete(ctx context.Context, id string) error
	// Watch calls f for every row that there is, before it returns, and then for
	// every change, in order, one call at a time: row is nil when it is gone.
	Watch(f func(id string, row []byte)) (stop func())
}

// Options configure a Ring. Store, Now, Random, Max and MaxOfApp are needed.
type Options struct {
	Store    Store
	Now      func() time.Time
	Random   io.Reader  // crypto/rand.Reader outside of tests
	Max      func() int // keys that there may be
	MaxOfApp func() int // keys that an app may have when it makes another
	Log      *slog.Logger
	Metrics  prometheus.Registerer // nil: nothing is registered
}

// Ring has all keys. Its methods may be called from any goroutine.
type Ring struct {
	opts Options
	stop func()

	making sync.Mutex // one key at a time is made, so that Max holds

	mu   sync.RWMutex
	keys map[string]*entry
}

// entry is one key of the ring.
type entry struct {
	key  Key
	hash digest
	used atomic.Int64 // Unix nanoseconds of the last use; 0: none
}

// New returns a ring with all keys of the store. Close ends it.
func New(o Options) (*Ring, error) {
	if o.Store == nil || o.Now == nil || o.Random == nil || o.Max == nil || o.MaxOfApp == nil {
		return nil, errors.New("keys: Options.Store, Now, Random, Max and MaxOfApp are needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Ring{opts: o, keys: make(map[string]*entry)}
	if err := r.register(); err != nil {
		return nil, fmt.Errorf("register the metrics of keys: %w", err)
	}
	r.stop = o.Store.Watch(r.apply)
	return r, nil
}

func (r *Ring) register() error {
	if r.opts.Metrics == nil {
		return nil
	}
	return r.opts.Metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "switchboard_api_keys", Help: "API keys that there are, expired ones included.",
	}, func() float64 { return float64(r.Len()) }))
}

// Close stops watching the store.
func (r *Ring) Close() { r.stop() }

// apply takes in what the store says of one row.
func (r *Ring) apply(id string, row []byte) {
	var e *entry
	if row != nil {
		key, hash, err := decodeRow(id, row)
		if err != nil {
			// A key that cannot be read lets nobody in.
			r.opts.Log.Error("a stored API key cannot be read and is not in force", "key", id, "err", err)
		} else {
			e = &entry{key: key, hash: hash}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e == nil {
		delete(r.keys, id)
		return
	}
	if old := r.keys[id]; old != nil {
		e.used.Store(old.used.Load())
	}
	r.keys[id] = e
}

func (r *Ring) find(id string) *entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.keys[id]
}

// Len returns how many keys there are.
func (r *Ring) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.keys)
}

// count returns how many keys of an app there are, or of all with an empty name.
func (r *Ring) count(app string) int {
	if app == "" {
		return r.Len()
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := 0
	for _, e := range r.keys {
		if e.key.App == app {
			n++
		}
	}
	return n
}

// Verify returns the key that is presented as sb_<id>_<secret>, or why it is
// refused: ErrMalformed, ErrUnknown or ErrExpired.
func (r *Ring) Verify(presented string) (*Key, error) {
	id, secret, err := split(presented)
	if err != nil {
		return nil, err
	}
	hash := sum(secret)
	e := r.find(id)
	var want digest // of no secret that anybody knows
	if e != nil {
		want = e.hash
	}
	if subtle.ConstantTimeCompare(hash[:], want[:]) != 1 || e == nil {
		return nil, ErrUnknown
	}
	now := r.opts.Now()
	if e.key.expired(now) {
		return nil, ErrExpired
	}
	e.used.Store(now.UnixNano())
	return &e.key, nil
}

// Used returns when a key was used last on this node since it began; zero for
// not at all.
func (r *Ring) Used(id string) time.Time {
	if e := r.find(id); e != nil {
		if at := e.used.Load(); at != 0 {
			return time.Unix(0, at)
		}
	}
	return time.Time{}
}

// Get returns a key by its ID; nil for none.
func (r *Ring) Get(id string) *Key {
	if e := r.find(id); e != nil {
		return &e.key
	}
	return nil
}

// List returns the keys of an app, or all with an empty name, oldest first, at
// most limit. after is the key behind which the list begins, which may be gone;
// the zero Key: at the beginning.
func (r *Ring) List(app string, after Key, limit int) []*Key {
	r.mu.RLock()
	list := make([]*Key, 0, len(r.keys))
	for _, e := range r.keys {
		if (app == "" || e.key.App == app) && older(&after, &e.key) < 0 {
			list = append(list, &e.key)
		}
	}
	r.mu.RUnlock()
	slices.SortFunc(list, older)
	return list[:min(limit, len(list))]
}

// older orders keys by when they were made, and by ID: neither ever changes.
func older(a, b *Key) int {
	return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
}
