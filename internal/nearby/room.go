package nearby

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options configure a Room. Node, Shards, Logs, Now and Logger are needed.
type Options struct {
	Node   string // this node's ID
	Shards int    // the same on all nodes
	// Logs opens the log of a shard.
	Logs    func(ctx context.Context, shard int) (Log, error)
	Now     func() time.Time // with a monotonic clock
	Limits  Limits           // what is 0 gets the default in brackets there
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil for none
}

// Room is one node's part in positions: a duty of package shards for those that it keeps,
// and what the sessions of this node watch. Its methods may be called from any goroutine.
type Room struct {
	opts    Options
	owners  Owners
	metrics *metrics
	here    []atomic.Pointer[owner] // by shard; nil: this node does not keep it
	asked   []atomic.Int64          // by shard: what was said by way of Owners and is not answered
	sight   *sight
}

// New makes a room. Attach, then Run, make it work.
func New(o Options) (*Room, error) {
	if o.Node == "" || o.Shards < 1 || o.Logs == nil || o.Now == nil || o.Logger == nil {
		return nil, errors.New("nearby: Options.Node, Shards, Logs, Now and Logger are needed")
	}
	o.Limits = o.Limits.orDefaults()
	o.Limits.shards = o.Shards
	r := &Room{opts: o, here: make([]atomic.Pointer[owner], o.Shards), asked: make([]atomic.Int64, o.Shards)}
	var err error
	if r.metrics, err = newMetrics(r, o.Metrics); err != nil {
		return nil, fmt.Errorf("register metrics of positions: %w", err)
	}
	r.sight = newSight(r)
	return r, nil
}

// Attach says how keepers and nodes are reached. It is called once, before Run and before
// any other method.
func (r *Room) Attach(o Owners) { r.owners = o }

// Begin has this node keep the positions of a shard, for the term'th time, until End. It
// returns when the log is read.
func (r *Room) Begin(ctx context.Context, shard int, term uint64) error {
	o, err := r.open(ctx, shard, term)
	if err != nil {
		return fmt.Errorf("read the positions of shard %d: %w", shard, err)
	}
	ctx, o.end = context.WithCancel(ctx) // which ends with the shard's tenure, too
	r.here[shard].Store(o)
	go o.run(ctx) // End waits for it
	return nil
}

// End ends that: what is known is stored, and whoever waits is answered.
func (r *Room) End(shard int) {
	o := r.here[shard].Load()
	if o == nil {
		return
	}
	o.end()
	<-o.ended
	r.here[shard].CompareAndSwap(o, nil)
}

// Serve takes a request of a node to the keeper of a shard, and has answer called once,
// soon or right away. The request is not kept.
func (r *Room) Serve(shard int, from string, request []byte, answer func(reply []byte, err error)) {
	o := r.here[shard].Load()
	if o == nil {
		answer(nil, errElsewhere)
		return
	}
	o.serve(from, request, answer)
}

// Lost says that a node is dead or gone: nobody looks there any more.
func (r *Room) Lost(node string) {
	for i := range r.here {
		if o := r.here[i].Load(); o != nil {
			o.do(func(c *core, _ time.Time) { c.lost(node) })
		}
	}
}

// shardOf returns where a user's position is kept.
func (r *Room) shardOf(user string) int {
	if len(r.here) == 1 {
		return 0
	}
	return r.owners.ShardOf(user)
}

// Put takes in where a user is. done is called once, maybe at once, with nil when the
// keeper has it, which stores it within a second; with a *Refusal; or with another error,
// when the keeper is out of reach and it may have been taken in or not.
func (r *Room) Put(app, user string, p Position, done func(error)) {
	shard := r.shardOf(user)
	var err error
	if o := r.mine(shard); o != nil && o.do(func(c *core, now time.Time) { err = c.put(now, app, user, p) }) {
		done(err)
		return
	}
	r.say(shard, appendPut(nil, app, user, &p), done)
}

// mine returns the keeper of a shard that is kept here, for who has something to say: not
// while there is something on its way to it that was said before.
func (r *Room) mine(shard int) *owner {
	if r.asked[shard].Load() > 0 {
		return nil
	}
	return r.here[shard].Load()
}

// say has the keeper of a shard take in something, wherever it is.
func (r *Room) say(shard int, request []byte, done func(error)) {
	r.asked[shard].Add(1)
	r.owners.Request(shard, request, func(reply []byte, err error) {
		r.asked[shard].Add(-1)
		if err == nil {
			err = readPut(reply)
		}
		done(err)
	})
}

// Hide forgets where a user is. done is called with nil when that is stored; otherwise
// as by Put.
func (r *Room) Hide(app, user string, done func(error)) {
	shard := r.shardOf(user)
	var err error
	waits := false
	if o := r.mine(shard); o != nil && o.do(func(c *core, now time.Time) {
		if waits, err = c.hide(now, app, user); waits {
			o.await(c.mark(), done)
		}
	}) {
		if !waits {
			done(err)
		}
		return
	}
	r.say(shard, appendHide(nil, app, user), done)
}

// Get looks where a user is, as others see it.
func (r *Room) Get(app, user string, done func(p Position, known bool, err error)) {
	shard := r.shardOf(user)
	var p Position
	known := false
	if o := r.here[shard].Load(); o != nil && o.look(func(c *core) { p, known = c.get(app, user) }) {
		done(p, known, nil)
		return
	}
	r.question(shard, appendGet(nil, app, user), func(reply []byte, err error) {
		if err != nil {
			done(Position{}, false, err)
			return
		}
		done(readGet(reply))
	})
}

// Near looks who of an app is in a view: all keepers are asked, and done is told of at
// most limit users, or of an error: a *Refusal, or what kept one of them from answering.
func (r *Room) Near(app string, v View, limit int, done func(Answer, error)) {
	if refused := v.check(&r.opts.Limits); refused != nil {
		done(Answer{}, refused)
		return
	}
	if limit < 1 || limit > MaxAnswer {
		done(Answer{}, refuseField("limit", fmt.Sprintf("has to be from 1 to %d", MaxAnswer)))
		return
	}
	var out Answer
	var far []int
	for shard := range r.here {
		o := r.here[shard].Load()
		if o == nil || !o.near(app, &v, limit, &out) {
			far = append(far, shard)
		}
	}
	if far == nil {
		if len(r.here) > 1 {
			mergeAnswers(&out, limit)
		}
		done(out, nil)
		return
	}
	g := &gathering{app: app, limit: limit, left: len(far), out: out, done: done}
	request := appendNear(nil, app, &v, limit)
	for _, shard := range far {
		r.question(shard, request, g.take)
	}
}

// near is core.near where the shard is kept here.
func (o *owner) near(app string, v *View, limit int, out *Answer) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.closed {
		return false
	}
	o.core.near(app, *v, limit, out)
	return true
}

// gathering puts together what keepers answer.
type gathering struct {
	app   string
	limit int
	done  func(Answer, error)

	mu   sync.Mutex // guards what follows
	left int        // keepers that have not answered
	out  Answer
	err  error
}

func (g *gathering) take(reply []byte, err error) {
	g.mu.Lock()
	if err == nil {
		err = readAnswer(reply, g.app, &g.out)
	}
	if g.err == nil {
		g.err = err
	}
	g.left--
	over := g.left == 0
	g.mu.Unlock()
	switch {
	case !over:
	case g.err != nil:
		g.done(Answer{}, g.err)
	default:
		mergeAnswers(&g.out, g.limit)
		g.done(g.out, nil)
	}
}

// questionAgain is how often something that changes nothing is asked when nobody knows
// what came of it, as when the node that was asked has died.
const questionAgain = 3

// question asks a keeper something that changes nothing.
func (r *Room) question(shard int, request []byte, answer func(reply []byte, err error)) {
	tries := 0
	var ask func()
	ask = func() {
		r.owners.Request(shard, request, func(reply []byte, err error) {
			if tries++; errors.Is(err, ErrNoAnswer) && tries < questionAgain {
				ask()
				return
			}
			if err != nil {
				r.metrics.silent.Inc()
			}
			answer(reply, err)
		})
	}
	ask()
}
