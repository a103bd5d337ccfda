package match

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// retryAfter is how long an owner waits before it tries again what its log did not
	// do.
	retryAfter = 500 * time.Millisecond
	// complainEvery is how often it is said of a shard that its log does not store.
	complainEvery = 10 * time.Second
	// storeTime bounds the storing of one batch.
	storeTime = 5 * time.Second
	// gather is how often an owner lets others run before it has a batch stored, for
	// what they have for it.
	gather = 4
	// maxInbox is how many requests wait for an owner. Each node has one under way.
	maxInbox = 10_000
)

// owner owns the pools of a shard: the world around a core.
type owner struct {
	room  *Room
	shard int
	term  uint64
	ready atomic.Bool   // its log is read
	wake  chan struct{} // there is something in the inbox

	complained time.Time // when it was said last that the log does not store, by run; zero: it does

	mu     sync.Mutex // guards what follows
	inbox  []post
	closed bool

	waiting, matches atomic.Int64 // for those who count
}

// post is a request, or news.
type post struct {
	from    string
	request []byte
	answer  func(reply []byte, err error)
	lost    string
	limits  *Limits
}

func newOwner(r *Room, shard int, term uint64) *owner {
	return &owner{room: r, shard: shard, term: term, wake: make(chan struct{}, 1)}
}

func (o *owner) post(p post) {
	o.mu.Lock()
	refused := o.closed || p.answer != nil && len(o.inbox) >= maxInbox
	if !refused {
		o.inbox = append(o.inbox, p)
	}
	o.mu.Unlock()
	if refused && p.answer != nil {
		p.answer(nil, errNotOwned)
		return
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run reads the log and serves, until ctx ends.
func (o *owner) run(ctx context.Context) {
	defer o.close()
	failing := false
	for again := false; ctx.Err() == nil; {
		log, c, err := o.open(ctx)
		switch {
		case err != nil:
			if !failing && ctx.Err() == nil {
				o.room.opts.Logger.Error("the log of matches cannot be read; nobody is matched until it can", "shard", o.shard, "err", err)
			}
			failing = true
			pause(ctx, retryAfter)
			continue
		case c.heard > o.term:
			o.room.opts.Logger.Info("another node owns these pools", "shard", o.shard)
			o.close()
			<-ctx.Done()
			return
		}
		failing = false
		if err := o.serve(ctx, log, c, again); err != nil {
			o.room.metrics.failures.Inc()
			o.room.opts.Logger.Warn("the log of matches has to be read again", "shard", o.shard, "err", err)
		}
		o.ready.Store(false)
		again = true
	}
}

// close refuses whatever is asked from now on.
func (o *owner) close() {
	o.mu.Lock()
	rest := o.inbox
	o.inbox, o.closed = nil, true
	o.mu.Unlock()
	for _, p := range rest {
		if p.answer != nil {
			p.answer(nil, errNotOwned)
		}
	}
	o.waiting.Store(0)
	o.matches.Store(0)
}

// open makes a core of the log.
func (o *owner) open(ctx context.Context) (Log, *core, error) {
	log, err := o.room.opts.Logs(ctx, o.shard)
	if err != nil {
		return nil, nil, err
	}
	c := newCore(o.shard, o.term, o.room.currentLimits(), o.room.opts.Random, o.room.opts.Now(), defaultTuning())
	last, err := log.Replay(ctx, c.replay)
	if err == nil && last != c.journal.last {
		err = errors.New("the last batch was not among what was read")
	}
	return log, c, err
}

// job is what is to be done with the log; result is what came of it.
type job struct {
	last  uint64
	batch []byte
	below uint64
}

type result struct {
	seq uint64
	err error
}

// serve serves until ctx ends, or until the log is another one's; then the error says
// so. With again it has done so before: nodes have to tell everything once more.
func (o *owner) serve(ctx context.Context, log Log, c *core, again bool) error {
	jobs, results := make(chan job, 1), make(chan result, 1)
	var storing sync.WaitGroup
	storing.Go(func() { o.store(ctx, log, jobs, results) })
	defer storing.Wait()
	defer close(jobs)

	nodes := o.room.opts.Nodes()
	if !slices.Contains(nodes, o.room.opts.Node) {
		nodes = append(slices.Clone(nodes), o.room.opts.Node)
	}
	c.begin(o.room.opts.Now(), nodes)
	o.ready.Store(true)
	if again {
		for _, n := range nodes {
			o.room.owners.Tell(n, binary.AppendUvarint([]byte{sayAgain}, uint64(o.shard)))
		}
	}
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	var retry <-chan time.Time
	for {
		o.turn(c)
		if last, batch := c.journal.next(); batch != nil && retry == nil {
			jobs <- job{last, batch, c.takePurge()}
		} else if batch != nil {
			c.journal.again()
		}
		o.count(c)
		if at, ok := c.nextDue(); ok {
			alarm.Reset(max(0, at.Sub(o.room.opts.Now())))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.wake:
		case <-alarm.C:
		case <-retry:
			retry = nil
		case r := <-results:
			switch {
			case r.err == nil:
				o.stored()
				o.tell(c.landed(r.seq))
			case errors.Is(r.err, ErrFenced):
				return r.err
			default:
				o.room.metrics.failures.Inc()
				o.complain(r.err)
				c.journal.again()
				retry = time.After(retryAfter)
			}
		}
	}
}

// complain says that the log does not store, unless that was said just now.
func (o *owner) complain(err error) {
	now := o.room.opts.Now()
	if !o.complained.IsZero() && now.Sub(o.complained) < complainEvery {
		return
	}
	o.complained = now
	o.room.opts.Logger.Error("matches cannot be stored; they wait until they can", "shard", o.shard, "err", err)
}

// stored says that the log stores again, where it was said that it does not.
func (o *owner) stored() {
	if o.complained.IsZero() {
		return
	}
	o.complained = time.Time{}
	o.room.opts.Logger.Info("matches are stored again", "shard", o.shard)
}

// turn takes what is in the inbox, and what is due, through the core.
func (o *owner) turn(c *core) {
	now := o.room.opts.Now()
	for range gather {
		o.mu.Lock()
		posts := o.inbox
		o.inbox = nil
		o.mu.Unlock()
		if len(posts) == 0 {
			break
		}
		for i := range posts {
			o.step(c, now, &posts[i])
		}
		o.tell(c.flush())
		runtime.Gosched()
		now = o.room.opts.Now()
	}
	c.tick(now)
	o.tell(c.flush())
}

func (o *owner) step(c *core, now time.Time, p *post) {
	switch {
	case p.lost != "":
		c.lost(now, p.lost)
	case p.limits != nil:
		c.limits = *p.limits
	default:
		answer, err := c.take(now, p.from, p.request)
		if err != nil {
			o.room.opts.Logger.Warn("a node asks of matching what this one does not understand", "node", p.from, "err", err)
		}
		p.answer([]byte{answer}, err)
	}
}

func (o *owner) tell(list tells) {
	for _, t := range list {
		o.room.owners.Tell(t.node.id, t.buf)
	}
}

// count publishes what those see who count.
func (o *owner) count(c *core) {
	o.waiting.Store(int64(c.waiting))
	o.matches.Store(int64(len(c.matches)))
	o.room.metrics.add(c.counts)
	c.counts = counts{}
}

// store does what is to be done with the log, one after another, until jobs is closed.
// What has begun is finished also when ctx ends.
func (o *owner) store(ctx context.Context, log Log, jobs <-chan job, results chan<- result) {
	for j := range jobs {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
		if j.below > 0 {
			if err := log.Purge(ctx, j.below); err != nil {
				o.room.opts.Logger.Warn("the log of matches cannot be shortened", "shard", o.shard, "err", err)
			}
		}
		seq, err := log.Append(ctx, j.last, j.batch)
		cancel()
		if err == nil {
			o.room.metrics.batches.Inc()
		}
		results <- result{seq, err}
	}
}

// takePurge returns below what the log is to be purged now; 0 for nothing.
func (c *core) takePurge() uint64 {
	below := c.journal.below
	c.journal.below = 0
	return below
}

// flush returns what nodes may be told at once.
func (c *core) flush() tells {
	now := c.now
	c.now = nil
	return now
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
