package mailbox

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Run takes the log over and serves until ctx ends, or until Retire, then stores
// what it has. It returns nil, whatever the log does meanwhile: a log that fails
// is tried again until it comes back. Only when Options.Recover says that another
// node owns it, Run ends with ErrRetired.
func (k *Keeper) Run(ctx context.Context) error {
	w := newWorker(k)
	defer w.wait()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		k.turn(w) // the first one writes the takeover
		select {
		case <-ctx.Done():
			k.flush(w)
			return nil
		case <-k.retire:
			k.leave(w, true)
			return nil
		case <-w.retired:
			k.leave(w, false)
			return ErrRetired
		case <-k.wake:
		case <-w.alarm.C:
		case <-tick.C:
			if k.valid() {
				k.watchDisk()
				k.core.tick(k.opts.Now())
			}
		}
	}
}

// turn takes what is in the inbox through the core, and its effects out. A batch
// that is stored meanwhile does not wait for the end of a long inbox: the next
// one is to follow at once.
func (k *Keeper) turn(w *worker) {
	if !k.valid() {
		w.alarm.Reset(validAgain)
		return
	}
	now := k.opts.Now()
	k.perform() // what a tick or a predecessor left
	k.land(w, now)
	for range gather {
		if !k.valid() || !k.take(w, now) {
			break
		}
		runtime.Gosched()
	}
	k.send(w)
	k.publish()
}

// take takes what is in the inbox through the core, and says whether there was
// anything.
func (k *Keeper) take(w *worker, now time.Time) bool {
	k.mu.Lock()
	events := k.inbox
	k.inbox = w.spare[:0]
	k.mu.Unlock()
	for i := range events {
		k.step(now, &events[i])
		k.perform()
		k.land(w, now)
	}
	clear(events)
	w.spare = events
	if cap(events) > maxSpare {
		w.spare = nil
	}
	return len(events) > 0
}

// land takes the result of the append, if there is one.
func (k *Keeper) land(w *worker, now time.Time) {
	select {
	case r := <-w.landed:
		w.appending = false
		switch {
		case r.err != nil:
			k.lose(w, r.err)
		case !k.core.down:
			k.core.stored(now, r.seq)
			w.failing = false
			k.ready.Store(true)
		}
		k.perform()
		k.send(w)
	default:
	}
}

// step is one event.
func (k *Keeper) step(now time.Time, ev *event) {
	c := k.core
	switch ev.kind {
	case evAccept:
		c.accept(now, ev.message)
	case evAcceptAll:
		c.acceptAll(now, ev.request.messages, ev.request.once)
	case evOpen:
		c.open(now, *ev.session)
	case evClose:
		c.close(now, ev.id)
		k.forgetFetches(ev.id)
	case evProof:
		c.proof(now, ev.id, ev.n)
	case evProveEach:
		c.proveEach(now, ev.id, ev.n)
	case evPass:
		c.pass(now, ev.id, ev.n)
	case evFetch:
		if c.sessions[ev.id] == nil {
			k.forgetFetches(ev.id) // it was closed a moment before
		}
		c.fetch(now, ev.id, int(ev.n))
	case evForward:
		c.forward(now, ev.forward)
	case evGiveUp:
		c.giveUp()
	case evDetach:
		c.detach(ev.node)
	case evReopen:
		c.reopen(now, *ev.held)
	case evRegistered:
		c.registered(now, ev.node)
	case evCloseNode:
		c.closeNode(now, ev.node)
	case evLoaded:
		k.loaded(now, ev)
	case evRecovered:
		k.recovered(now, ev.core)
	case evAsk:
		ev.ask(c, now)
	case evLimits:
		c.limits = ev.change.limits
		k.opts.MinFree = ev.change.minFree
		k.watchDisk()
	case evSubscriptions:
		c.subscriptions = ev.change.subscriptions
	}
}

func (k *Keeper) forgetFetches(id wire.ID) {
	k.mu.Lock()
	delete(k.fetches, id)
	k.mu.Unlock()
}

// perform carries the core's effects out.
func (k *Keeper) perform() {
	for i := range k.core.effects {
		e := &k.core.effects[i]
		switch e.kind {
		case effDeliver:
			e.outlet.Deliver(e.delivery)
		case effFetchDone:
			k.mu.Lock()
			if n := k.fetches[e.id]; n > 1 {
				k.fetches[e.id] = n - 1
			} else {
				delete(k.fetches, e.id)
			}
			k.mu.Unlock()
			e.outlet.FetchDone(e.left)
		case effSettled:
			e.outlet.Settled(e.n)
		case effOpened:
			e.outlet.Opened(e.n)
		case effStored:
			m := e.message
			if m.Receipt && m.Origin != nil {
				m.Origin.Stored(e.id, m.Reference)
			}
			k.done(m)
		case effFailed:
			if e.message.Origin != nil {
				e.message.Origin.Failed(e.failure, e.message.Reference)
			}
		case effDone:
			k.done(e.message)
		case effGone:
			if o, ok := e.outlet.(Ender); ok {
				o.Gone()
			}
		case effForwarded:
			e.forwarded.done(e.forwarded.upTo, e.forwarded.err)
		}
	}
	clear(k.core.effects)
	k.core.effects = k.core.effects[:0]
}

func (k *Keeper) done(m *Message) {
	k.pending.Add(-messageCost(m))
	if m.Done != nil {
		m.Done()
	}
}

// send starts what the core wants of the log.
func (k *Keeper) send(w *worker) {
	c := k.core
	if c.down || !k.valid() {
		return
	}
	if p := c.journal.waiting(); p != nil && !w.appending {
		now := k.opts.Now()
		if wait := w.pace(p, c.journal.full(), now); wait > 0 {
			w.alarm.Reset(wait)
		} else {
			last, batch := c.journal.next()
			w.appending, w.began, w.crowd = true, now, p.count
			w.append(last, batch)
		}
	}
	for _, seq := range c.reads {
		w.read(seq)
	}
	c.reads = c.reads[:0]
	if c.purge > 0 {
		w.purge(c.purge)
		c.purge = 0
	}
}

// loaded takes a read's result, unless it was asked for by an older core.
func (k *Keeper) loaded(now time.Time, ev *event) {
	c := k.core
	if _, asked := c.cache.waiting[ev.n]; !asked || c.down {
		return
	}
	if ev.err != nil {
		k.opts.Logger.Error("a batch of the log cannot be read; what waits in it waits until it can", "batch", ev.n, "err", ev.err)
		c.unreadable(now, ev.n)
		return
	}
	lost := c.counts.lost
	c.loaded(now, ev.n, ev.batch)
	if n := c.counts.lost - lost; n > 0 {
		k.opts.Logger.Error("messages are not in the log, where they should be", "batch", ev.n, "messages", n)
	}
}

// lose gives up the core's memory: nobody knows what the log holds. Senders
// that wait are told so, and a new core is built from the log; after a while,
// if the last one was lost before it could store anything.
func (k *Keeper) lose(w *worker, cause error) {
	k.ready.Store(false)
	k.opts.Logger.Error("the message log failed; nothing is accepted until it is back", "err", cause)
	k.metrics.failures.Inc()
	k.core.lose(cause, k.opts.Returned != nil && errors.Is(cause, ErrFenced))
	w.recover(k.core.limits, w.failing)
	w.failing = true
}

// recovered puts a new core in the place of the one that lost its log.
func (k *Keeper) recovered(now time.Time, next *core) {
	old := k.core
	k.core = next
	next.adopt(now, old)
	k.opts.Logger.Info("the message log is back", "waiting", next.counts.waiting, "sessions", len(next.sessions))
}

// watchDisk refuses messages while the disk is nearly full.
func (k *Keeper) watchDisk() {
	if k.opts.Free == nil {
		return
	}
	free, err := k.opts.Free()
	full := err == nil && free < k.opts.MinFree
	if full != k.core.full {
		k.core.full = full
		if full {
			k.opts.Logger.Warn("the disk is nearly full; messages are refused", "free", free, "needed", k.opts.MinFree)
		} else {
			k.opts.Logger.Info("the disk has room again", "free", free)
		}
	}
}

// flush stores what was posted before the stop, and leaves a short log.
func (k *Keeper) flush(w *worker) {
	w.hurry = true
	deadline := time.NewTimer(flushTime)
	defer deadline.Stop()
	for trimmed := false; ; {
		k.turn(w)
		if k.core.down {
			break
		}
		if !k.valid() {
			k.core.lose(ErrUnknown, false)
			k.perform()
			break
		}
		if k.core.journal.idle() {
			if trimmed || !k.core.leaveTrim() {
				break
			}
			trimmed = true
			continue
		}
		select {
		case <-k.wake:
			continue
		case <-deadline.C:
			k.opts.Logger.Warn("the message log did not take everything in time", "batches", len(k.core.journal.queue))
			k.core.lose(ErrUnknown, false)
			k.perform()
		}
		break
	}
	k.mu.Lock()
	k.closed = true
	rest := k.inbox
	k.inbox = nil
	k.mu.Unlock()
	for i := range rest {
		k.afterStop(&rest[i])
	}
	k.ready.Store(false)
	k.metrics.unregister()
	if below := k.core.finalPurge(); below > 0 {
		w.purge(below)
	}
}
