package members

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Store is the table of the nodes' rows: *bus.Table.
type Store interface {
	// Put adds or replaces a row.
	Put(ctx context.Context, id string, row []byte) error
	// Delete removes a row; one that is not there is no error.
	Delete(ctx context.Context, id string) error
	// Watch calls f for every row that there is, before it returns, and then for
	// every change, in order, one call at a time: row is nil when it is gone.
	Watch(f func(id string, row []byte)) (stop func())
}

// Options configure a Room. Self with ID and Name, Speaks and Now are needed.
type Options struct {
	Table  Store  // nil: this node is alone
	Self   Member // this node; its Status is Joining
	Speaks Range  // of the protocol between nodes
	// Lease is for how long a node that is not heard of counts as alive; the same
	// on all nodes. Every is the time between two beats; 0: a fifth of Lease.
	Lease, Every time.Duration
	// Load says how many sessions there are, and how busy the process is; nil: 0.
	// It is asked once a beat.
	Load func() (sessions int, load float64)
	Now  func() time.Time // with a monotonic clock, as time.Now
	// What is told from Run's goroutine, one call at a time; nil: not told. While a
	// call lasts nothing else is heard, but the lease is renewed. Joined and Died
	// begin before In is closed.
	Joined func(Member)    // another node has come, or has come back
	Died   func(id string) // one that Joined was told of has left, or is dead
	Lost   func()          // this node's lease has run out
	Found  func()          // it holds again, after Lost
	// Ended says whether the process of a node that has missed a beat has ended; nil:
	// that is never known, and such a node is dead when its lease is over. It may take
	// a second, and is called from several goroutines, for one node by one at a time.
	// What it says has to be known for certain, as far as it can be: a node that is slow,
	// or frozen, or out of reach, has not.
	Ended func(context.Context, Member) bool
	// Waiting says what a node that is Joining waits for; nil: nothing is said of it.
	Waiting func() string

	Log     *slog.Logger          // nil: nothing is logged
	Metrics prometheus.Registerer // nil: nothing is registered
}

// Room knows the members. Its methods may be called from any goroutine.
type Room struct {
	opts   Options
	in     chan struct{} // closed when this node is a member
	wake   chan struct{} // there is something in the inbox
	hurry  chan struct{} // the own row is to be written now
	counts counts

	lease  lease
	ended  atomic.Bool
	asking sync.WaitGroup // who asks Ended

	mu      sync.Mutex // guards what follows
	self    Member
	core    *core
	inbox   map[string][]byte // rows that changed, by ID; nil for one that is gone
	removal []string          // IDs whose rows are to be removed

	telling  sync.Mutex // held while watchers are told, so that they are told in order; taken before mu
	told     []Member   // last
	watchers map[int]func([]Member)
	watched  int
}

// New makes a room. Run makes this node a member.
func New(o Options) (*Room, error) {
	if o.Self.ID == "" || o.Self.Name == "" || o.Speaks.Min < 1 || o.Speaks.Max < o.Speaks.Min || o.Now == nil {
		return nil, errors.New("members: Options.Self with ID and Name, Speaks and Now are needed")
	}
	if o.Table != nil && o.Lease <= 0 {
		return nil, errors.New("members: Options.Lease is needed where there is a Table")
	}
	if o.Every == 0 {
		o.Every = max(o.Lease/5, 0)
	}
	if o.Every == 0 {
		o.Every = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Self.Status, o.Self.Since, o.Self.Lease = Joining, o.Now(), o.Lease
	r := &Room{
		opts: o, in: make(chan struct{}), wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		lease: lease{time: o.Lease * 4 / 5}, self: o.Self, core: newCore(o.Self.ID, o.Self.Name, o.Speaks, o.Lease, o.Every),
		inbox: make(map[string][]byte), watchers: make(map[int]func([]Member)),
	}
	return r, r.register(o.Metrics)
}

// Self returns the ID of this node.
func (r *Room) Self() string { return r.opts.Self.ID }

// In is closed when this node is a member: its row is stored, and nobody refuses
// it. It is not closed when Run ends before that.
func (r *Room) In() <-chan struct{} { return r.in }

// Valid says whether this node's own lease holds. It costs a look at the clock.
func (r *Room) Valid() bool {
	return r.opts.Table == nil || r.lease.holds(r.opts.Now()) && !r.ended.Load()
}

// errLost is why a node whose lease has run out serves nothing.
var errLost = errors.New("this node has lost touch with the cluster: its lease has run out")

// lost says whether this node was a member, and has lost touch with the others.
func (r *Room) lost() bool { return r.member() && !r.Valid() && !r.ended.Load() }

// Check returns nil while the node is a member whose lease holds, and otherwise
// why not.
func (r *Room) Check() error {
	select {
	case <-r.in:
	default:
		return errors.New("this node has not joined the cluster yet")
	}
	if !r.Valid() {
		return errLost
	}
	return nil
}

// Alive says whether a node may be serving: whether it is known, and not found
// dead. This node is alive while it is Valid. An ID that is not known is not
// alive; another table may name one a moment before this one does.
func (r *Room) Alive(id string) bool {
	if id == r.opts.Self.ID {
		return r.Valid()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.core.alive(id)
}

// List returns all members, this node among them, by name and ID, as they are to be
// shown: a node that has lost touch with the others is unreachable itself, and so are
// those of which it has not heard for a lease since.
func (r *Room) List() []Member {
	lost, now := r.lost(), r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	self := r.self
	if !lost {
		if self.Status == Joining && r.opts.Waiting != nil {
			self.Reason = r.opts.Waiting()
		}
		return inOrder(append(r.core.list(), self))
	}
	self.Status, self.Since, self.Reason = Unreachable, r.lease.end(now), errLost.Error()
	return inOrder(append(r.core.silent(now), self))
}

// Judged returns all members in the same order, but as this node has judged them: while
// it is lost nobody's standing changes, its own neither.
func (r *Room) Judged() []Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return inOrder(append(r.core.list(), r.self))
}

// Watch calls f with the members before it returns, and then when they change, one
// call at a time: at once when one comes, goes or takes another status, else with
// the beats. f must be quick, and must not call Watch or stop.
func (r *Room) Watch(f func([]Member)) (stop func()) {
	r.telling.Lock()
	defer r.telling.Unlock()
	f(r.List())
	id := r.watched
	r.watched++
	r.watchers[id] = f
	return func() {
		r.telling.Lock()
		defer r.telling.Unlock()
		delete(r.watchers, id)
	}
}

// tell tells the watchers, unless nothing has changed.
func (r *Room) tell() {
	r.telling.Lock()
	defer r.telling.Unlock()
	list := r.List()
	if slices.EqualFunc(list, r.told, same) {
		return
	}
	r.told = list
	for _, f := range r.watchers {
		f(slices.Clone(list))
	}
}

func same(a, b Member) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Address == b.Address && a.Status == b.Status && slices.Equal(a.Roles, b.Roles) &&
		a.Version == b.Version && a.Sessions == b.Sessions && a.Load == b.Load && a.Since.Equal(b.Since) && a.Reason == b.Reason
}

// Forget removes the rows of nodes of that name that are unreachable: it is known that
// they do not come back.
func (r *Room) Forget(name string) {
	r.mu.Lock()
	for id, p := range r.core.peers {
		if p.Name == name && !p.dead.IsZero() {
			r.removal = append(r.removal, id)
		}
	}
	r.mu.Unlock()
	ring(r.hurry)
}

// SetAddress says where clients reach this node. The others hear it with the next
// beat.
func (r *Room) SetAddress(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.self.Address = address
}

// SetStatus says what this node is: Joining, Up or Leaving. The others hear it soon.
func (r *Room) SetStatus(s Status) {
	r.mu.Lock()
	if r.self.Status != s {
		r.self.Status, r.self.Since = s, r.opts.Now()
	}
	r.mu.Unlock()
	ring(r.hurry)
	ring(r.wake)
}

// ring has whoever waits for a bell wake up. It does not block.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// measure asks how busy this node is.
func (r *Room) measure() {
	sessions, load := 0, 0.0
	if r.opts.Load != nil {
		sessions, load = r.opts.Load()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.self.Sessions, r.self.Load = sessions, math.Round(load*100)/100
}

// counts count what happens.
type counts struct {
	lost, died, failed, passed prometheus.Counter
}

// register makes the metrics.
func (r *Room) register(to prometheus.Registerer) error {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_cluster_" + name, Help: help})
	}
	r.counts = counts{
		lost:   counter("lost_total", "How often this node's lease ran out: it closed its sessions and served nothing."),
		died:   counter("died_total", "Other nodes that left, or were found dead."),
		failed: counter("renewals_failed_total", "Attempts to renew this node's lease that failed; each is made again."),
		passed: counter("members_passed_total", "Rows of nodes that were passed over: they could not be read, or were too many."),
	}
	if to == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{r.counts.lost, r.counts.died, r.counts.failed, r.counts.passed} {
		if err := to.Register(c); err != nil {
			return fmt.Errorf("register the metrics of members: %w", err)
		}
	}
	for _, s := range Statuses() {
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "switchboard_cluster_members", Help: "Members, this node among them, by status.", ConstLabels: prometheus.Labels{"status": string(s)},
		}, func() float64 {
			n := 0
			for _, m := range r.List() {
				if m.Status == s {
					n++
				}
			}
			return float64(n)
		})
		if err := to.Register(gauge); err != nil {
			return fmt.Errorf("register the metrics of members: %w", err)
		}
	}
	return nil
}
