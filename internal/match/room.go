package match

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Owners reaches the owners of shards, and other nodes.
type Owners interface {
	// Ask has the owner of a shard take a request, wherever that is: its Room.Serve,
	// and Room.Moved of this node when the answer is not to be relied on. An error
	// means that it may or may not have been taken.
	Ask(ctx context.Context, shard int, request []byte) (reply []byte, err error)
	// Tell has Room.Told of a node hear a message, in order, unless it is lost: then
	// Room.Moved is called there for all shards that this node keeps. It does not
	// block. The message is not changed any more by either.
	Tell(node string, message []byte)
}

// Limits bound what is taken.
type Limits struct {
	Tickets    int           // waiting in one shard (200 000)
	Matches    int           // live in one shard (200 000)
	PerSession int           // tickets and matches of one session (16)
	Timeout    time.Duration // the longest that a ticket waits, and how long it does unless it says (10 m)
	Patience   time.Duration // see Request (2 s)
	// GestureWindow is how far two gestures may be apart (2 s).
	GestureWindow time.Duration
}

// Options configure a Room. Node, Shards, Logs, Now, Random and Logger are needed.
type Options struct {
	Node   string // this node's ID
	Shards int    // the same on all nodes
	// Logs opens the log of a shard; called by whoever owns it, again after it failed.
	Logs func(ctx context.Context, shard int) (Log, error)
	// Nodes returns the IDs of all nodes that are alive, this one's included. A new
	// owner waits for a moment for their tickets before it matches anybody, and what
	// the log has of others is over. Nil: this node is alone.
	Nodes func() []string
	Now   func() time.Time // with a monotonic clock
	// Random is for IDs, and is used by several goroutines.
	Random  io.Reader
	Limits  Limits // what is 0 gets the default in brackets there
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil for none
}

// Room is one node's part in matching: a duty of package shards for the pools that it
// owns, and the sessions of devices that are connected to it. Its methods may be
// called from any goroutine and do not wait for anything but memory.
type Room struct {
	opts    Options
	owners  Owners
	desks   []*desk
	metrics *metrics
	running sync.WaitGroup // what Begin began

	mu     sync.Mutex // guards what follows
	limits Limits
	owned  map[int]*owner
	ended  bool
}

// New makes a room. Attach, then Run, make it work.
func New(o Options) (*Room, error) {
	if o.Node == "" || o.Shards < 1 || o.Logs == nil || o.Now == nil || o.Random == nil || o.Logger == nil {
		return nil, errors.New("match: Options.Node, Shards, Logs, Now, Random and Logger are needed")
	}
	if o.Nodes == nil {
		o.Nodes = func() []string { return []string{o.Node} }
	}
	r := &Room{opts: o, limits: o.Limits.orDefaults(), owned: make(map[int]*owner)}
	for shard := range o.Shards {
		r.desks = append(r.desks, newDesk(r, shard))
	}
	var err error
	if r.metrics, err = newMetrics(r, o.Metrics); err != nil {
		return nil, fmt.Errorf("register metrics of matching: %w", err)
	}
	return r, nil
}

// orDefaults returns the limits with the defaults in place of zeros.
func (l Limits) orDefaults() Limits {
	def := func(n *int, to int) {
		if *n == 0 {
			*n = to
		}
	}
	last := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	def(&l.Tickets, 200_000)
	def(&l.Matches, 200_000)
	def(&l.PerSession, 16)
	last(&l.Timeout, 10*time.Minute)
	last(&l.Patience, 2*time.Second)
	last(&l.GestureWindow, 2*time.Second)
	return l
}

// Attach says how owners and nodes are reached. It is called once, before Run and
// before any other method.
func (r *Room) Attach(o Owners) { r.owners = o }

// Run does what is to be done by time and by the conversations with owners, until ctx
// ends; then it waits for all that Begin began, whose contexts must end, too.
func (r *Room) Run(ctx context.Context) error {
	var desks sync.WaitGroup
	for _, d := range r.desks {
		desks.Go(func() { d.run(ctx) })
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			for _, d := range r.desks {
				d.giveUp(r.opts.Now())
			}
		}
	}
	desks.Wait()
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.running.Wait()
	r.metrics.unregister()
	return nil
}

// Begin has this node own the pools of a shard until ctx ends, for the term'th time.
// It returns at once.
func (r *Room) Begin(ctx context.Context, shard int, term uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	o := newOwner(r, shard, term)
	r.owned[shard] = o
	r.running.Go(func() {
		o.run(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.owned[shard] == o {
			delete(r.owned, shard)
		}
	})
}

var errNotOwned = errors.New("match: this node does not own the shard")

// Serve takes a request of a node to the owner of a shard, and has answer called once,
// soon or right away. The request is not changed any more.
func (r *Room) Serve(shard int, from string, request []byte, answer func(reply []byte, err error)) {
	r.mu.Lock()
	o := r.owned[shard]
	r.mu.Unlock()
	if o == nil {
		answer(nil, errNotOwned)
		return
	}
	o.post(post{from: from, request: request, answer: answer})
}

// Told takes what a node told this one, which is not changed any more.
func (r *Room) Told(from string, message []byte) {
	in := reader{b: message}
	what, shard := in.byte(), in.uvarint()
	if in.err != nil || shard >= uint64(len(r.desks)) {
		r.opts.Logger.Warn("a node says of matching what this one does not understand", "node", from)
		return
	}
	d := r.desks[shard]
	switch what {
	case sayEvents:
		d.hear(&in)
	case sayAgain:
		d.anew()
	case sayMessage:
		d.message(&in)
	}
	if in.err != nil {
		r.opts.Logger.Warn("a node says of matching what this one does not understand", "node", from)
	}
}

// Moved says that another node owns a shard, or that the conversation with its owner
// began anew; also for the first owner, and when it is this node.
func (r *Room) Moved(shard int) { r.desks[shard].anew() }

// Lost says that a node is dead or gone: what its sessions had is over.
func (r *Room) Lost(node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.owned {
		o.post(post{lost: node})
	}
}

// Ready says whether this node's owners have read their logs; of a node that owns
// nothing it is true.
func (r *Room) Ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.owned {
		if !o.ready.Load() {
			return false
		}
	}
	return true
}

// SetLimits changes the limits for what is asked for from now on.
func (r *Room) SetLimits(l Limits) {
	l = l.orDefaults()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limits = l
	for _, o := range r.owned {
		o.post(post{limits: &l})
	}
}

func (r *Room) currentLimits() Limits {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limits
}

// shardOf says to which shard a pool belongs.
func (r *Room) shardOf(p Pool) int {
	const offset, prime = 2166136261, 16777619 // FNV-1a
	h := uint32(offset)
	for _, s := range []string{p.App, "\x00", p.Name} {
		for i := range len(s) {
			h = (h ^ uint32(s[i])) * prime
		}
	}
	return int(h % uint32(len(r.desks)))
}
