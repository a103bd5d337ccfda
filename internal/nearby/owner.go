package nearby

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// newsEvery is how long changes are gathered before nodes that look are told.
	newsEvery = 20 * time.Millisecond
	// retryAfter is how long a keeper waits before it tries again what its log did not do.
	retryAfter = 500 * time.Millisecond
	// complainEvery is how often it is said of a shard that its log does not store.
	complainEvery = 10 * time.Second
	// storeTime bounds the storing of one batch.
	storeTime = 5 * time.Second
)

// errElsewhere is what is answered by who keeps a shard no longer.
var errElsewhere = errors.New("another node keeps these positions now")

// owner keeps the positions of a shard: the world around a core. Whoever looks, or says
// something, does so in its own goroutine; run only stores, and tells nodes.
type owner struct {
	room  *Room
	shard int
	term  uint64
	log   Log
	wake  chan struct{}
	end   context.CancelFunc
	ended chan struct{} // closed when run has returned
	known atomic.Int64  // positions, for those who count

	complained time.Time // when it was said last that the log does not store, by run; zero: it does

	mu      sync.RWMutex // guards what follows
	core    *core
	closed  bool      // another keeps the shard, or will
	alarm   time.Time // when run looks again; zero: when it is woken
	told    time.Time // when nodes were told last
	hold    time.Time // nothing is stored before
	waiting []waiting // in the order of their marks
}

// waiting is who waits until so many batches are stored.
type waiting struct {
	mark   uint64
	answer func(error)
}

// open reads the log of a shard.
func (r *Room) open(ctx context.Context, shard int, term uint64) (*owner, error) {
	log, err := r.opts.Logs(ctx, shard)
	if err != nil {
		return nil, err
	}
	c := newCore(shard, r.opts.Limits)
	last, err := log.Replay(ctx, c.replay)
	if err != nil {
		return nil, err
	}
	if c.latest > term {
		return nil, fmt.Errorf("%w: this would be term %d, and term %d has begun", errElsewhere, term, c.latest)
	}
	c.replayed(last, r.opts.Now())
	c.begin(term)
	o := &owner{room: r, shard: shard, term: term, log: log, core: c, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	if err := o.takeOver(ctx); err != nil {
		return nil, err
	}
	return o, nil
}

// takeOver writes behind all that keepers before this one have written, so that they write
// nothing more, and that nothing of theirs was missed: what is read may be a copy that
// lags. Where the log ends elsewhere it has to be read again. A log that takes nothing
// for another reason is tried again later.
func (o *owner) takeOver(ctx context.Context) error {
	o.core.journal.urgent()
	var b batch
	b.last, b.bytes = o.core.batch(o.room.opts.Now())
	b = o.store(ctx, b)
	switch {
	case b.err == nil:
		o.core.landed(b.seq)
	case errors.Is(b.err, errElsewhere), errors.Is(b.err, ErrFenced), errors.Is(b.err, ErrUnknown):
		return b.err
	default:
		o.complain(b.err)
		o.core.again(b.last)
		o.hold = o.room.opts.Now().Add(retryAfter)
	}
	return nil
}

// do has the core do something that changes it; false: it is not done here.
func (o *owner) do(f func(c *core, now time.Time)) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	now := o.room.opts.Now()
	f(o.core, now)
	o.plan(now)
	return true
}

// look has the core asked something; false: it is not asked here.
func (o *owner) look(f func(c *core)) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.closed {
		return false
	}
	f(o.core)
	return true
}

// await has somebody answered when so many batches are stored. mu is held.
func (o *owner) await(mark uint64, answer func(error)) {
	o.waiting = append(o.waiting, waiting{mark, answer})
}

// next returns when run has something to do; zero: not by itself. mu is held.
func (o *owner) next(now time.Time) time.Time {
	if o.core.asked() {
		return now
	}
	at, ok := o.core.due()
	if ok && at.Before(o.hold) {
		at = o.hold
	}
	if o.core.newsy() {
		if t := o.told.Add(newsEvery); !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	if !ok {
		return time.Time{}
	}
	return at
}

// plan wakes run if it is to do something sooner than it knows of. mu is held.
func (o *owner) plan(now time.Time) {
	at := o.next(now)
	if at.IsZero() || !o.alarm.IsZero() && !at.Before(o.alarm) {
		return
	}
	o.alarm = at
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// serve does what another node asks, or this one by way of it.
func (o *owner) serve(from string, request []byte, answer func(reply []byte, err error)) {
	var reply []byte
	var err error
	if looks(request) {
		if !o.look(func(c *core) { reply, err = c.look(request) }) {
			err = errElsewhere
		}
		answer(reply, err)
		return
	}
	waits := false
	if !o.do(func(c *core, now time.Time) {
		var mark uint64
		if reply, mark, err = c.serve(now, from, request); mark > 0 && err == nil {
			waits = true
			o.await(mark, func(err error) { answer(reply, err) })
		}
	}) {
		err = errElsewhere
	}
	if !waits {
		answer(reply, err)
	}
}

// batch is what is to be appended, or what came of it.
type batch struct {
	last, seq uint64
	bytes     []byte
	err       error
}

// run stores and tells until ctx ends; then it stores the rest.
func (o *owner) run(ctx context.Context) {
	defer close(o.ended)
	results := make(chan batch, 1)
	var storing sync.WaitGroup
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for under := false; ; {
		b, at := o.turn()
		if b.bytes != nil {
			under = true
			storing.Go(func() { results <- o.store(ctx, b) })
		}
		if !at.IsZero() {
			alarm.Reset(max(0, at.Sub(o.room.opts.Now())))
		}
		select {
		case <-ctx.Done():
			o.finish(ctx, under, results)
			storing.Wait()
			return
		case <-o.wake:
		case <-alarm.C:
		case b = <-results:
			under = false
			o.settle(b)
		}
	}
}

// turn does what is due, and returns what is to be stored, and when something is due next.
func (o *owner) turn() (b batch, next time.Time) {
	o.mu.Lock()
	now := o.room.opts.Now()
	o.core.tick(now)
	var parcels []parcel
	if !o.closed && (o.core.asked() || now.Sub(o.told) >= newsEvery && o.core.newsy()) {
		parcels = o.core.news(now.UnixMilli())
		o.told = now
	}
	if !o.closed && !now.Before(o.hold) {
		b.last, b.bytes = o.core.batch(now)
	}
	answers := o.ripe()
	next = o.next(now)
	if o.closed {
		next = time.Time{}
	}
	o.alarm = next
	o.known.Store(int64(o.core.known))
	o.room.metrics.add(&o.core.counts)
	o.mu.Unlock()
	for _, answer := range answers {
		answer(nil)
	}
	for _, p := range parcels {
		o.room.owners.Tell(p.Node, p.Message)
	}
	return b, next
}

// ripe returns who need not wait any longer. mu is held.
func (o *owner) ripe() (list []func(error)) {
	n := 0
	for n < len(o.waiting) && o.waiting[n].mark <= o.core.stored() {
		list = append(list, o.waiting[n].answer)
		n++
	}
	o.waiting = o.waiting[n:]
	if len(o.waiting) == 0 {
		o.waiting = nil
	}
	return list
}

// store appends a batch, also when ctx ends meanwhile. Where the log ends elsewhere, or
// may, last says where, and the error is errElsewhere when another keeper has written.
func (o *owner) store(ctx context.Context, b batch) batch {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	b.seq, b.err = o.log.Append(ctx, b.last, b.bytes)
	if !errors.Is(b.err, ErrFenced) && !errors.Is(b.err, ErrUnknown) {
		return b
	}
	var newest uint64
	last, err := o.log.Replay(ctx, func(_ uint64, batch []byte) error {
		term, err := scan(batch)
		newest = max(newest, term)
		return err
	})
	switch {
	case err != nil:
		b.err = errors.Join(b.err, err)
	case newest > o.term:
		b.err = errElsewhere
	default:
		b.last = last
	}
	return b
}

// settle takes in what came of storing a batch.
func (o *owner) settle(b batch) {
	opts := &o.room.opts
	o.mu.Lock()
	switch {
	case b.err == nil:
		o.core.landed(b.seq)
	case errors.Is(b.err, errElsewhere):
		o.closed = true
	default:
		o.core.again(b.last)
		o.hold = opts.Now().Add(retryAfter)
		if errors.Is(b.err, ErrFenced) {
			o.hold = opts.Now().Add(newsEvery)
		}
	}
	o.mu.Unlock()
	switch {
	case b.err == nil:
		o.room.metrics.batches.Inc()
		if !o.complained.IsZero() {
			o.complained = time.Time{}
			opts.Logger.Info("positions are stored again", "shard", o.shard)
		}
	case errors.Is(b.err, errElsewhere):
		opts.Logger.Warn("another node keeps these positions", "shard", o.shard)
		o.forsake()
	case errors.Is(b.err, ErrFenced): // all that was there has expired, so that it begins anew
	default:
		o.room.metrics.failures.Inc()
		o.complain(b.err)
	}
}

// complain says that the log does not store, unless that was said just now.
func (o *owner) complain(err error) {
	now := o.room.opts.Now()
	if !o.complained.IsZero() && now.Sub(o.complained) < complainEvery {
		return
	}
	o.complained = now
	o.room.opts.Logger.Error("positions cannot be stored; they are known until this node ends", "shard", o.shard, "err", err)
}

// finish stores what is not stored yet, and answers who waits for it.
func (o *owner) finish(ctx context.Context, under bool, results chan batch) {
	o.mu.Lock()
	lost := o.closed
	o.closed = true
	o.mu.Unlock()
	if under {
		o.settle(<-results)
	}
	for range 2 { // what was under way when the rest came, and the rest
		o.mu.Lock()
		var b batch
		if !lost {
			b.last, b.bytes = o.core.batch(o.room.opts.Now().Add(saveEvery))
		}
		o.mu.Unlock()
		if b.bytes == nil {
			break
		}
		b = o.store(ctx, b)
		o.settle(b)
		if b.err != nil && !errors.Is(b.err, ErrFenced) {
			break
		}
	}
	o.mu.Lock()
	answers := o.ripe()
	o.mu.Unlock()
	for _, answer := range answers {
		answer(nil)
	}
	o.forsake()
}

// forsake answers who waits for what this node will not store.
func (o *owner) forsake() {
	o.mu.Lock()
	rest := o.waiting
	o.waiting = nil
	o.mu.Unlock()
	for _, w := range rest {
		w.answer(errElsewhere)
	}
}
