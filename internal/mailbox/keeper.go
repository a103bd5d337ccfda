package mailbox

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// maxFetches is how many fetches one session may have waiting.
	maxFetches = 8
	// maxPending bounds the bytes of messages accepted but not yet stored;
	// past it new ones are refused as OVERLOADED.
	maxPending = 64 << 20
	// readers is how many batches are read from the log at once.
	readers = 4
	// readAttempts is how often a read that fails is tried.
	readAttempts = 5
	// retryAfter is how long a keeper without its log waits between attempts.
	retryAfter = time.Second
	// flushTime bounds how long stopping waits for the log.
	flushTime = 10 * time.Second
)

// Options configure a Keeper. Log, Limits, Now, Random and Logger are needed.
type Options struct {
	Log     Log
	Limits  Limits
	Now     func() time.Time
	Random  io.Reader // of IDs; used by one goroutine
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil for none

	// Free returns the free bytes of the log's disk; nil when nobody knows.
	// Below MinFree messages are refused until there is room again.
	Free    func() (uint64, error)
	MinFree uint64
	// Recover brings the log back after it failed; nil when it comes by itself.
	Recover func(context.Context) error
}

// Keeper runs one shard: see the package comment. Its methods may be called
// from any goroutine and do not block; they take effect in the order in which
// they are called.
type Keeper struct {
	opts Options
	tune tuning
	core *core // owned by Run

	mu       sync.Mutex
	inbox    []event
	fetches  map[wire.ID]int // how many of each session wait
	snapshot snapshot
	closed   bool

	wake    chan struct{}
	pending atomic.Int64 // bytes of messages accepted but not yet stored
	ready   atomic.Bool
	metrics metrics
}

// event is one call, on its way to the core.
type event struct {
	kind    eventKind
	session Session
	id      wire.ID
	n       uint64
	message *Message
	batch   []byte
	err     error
	limits  Limits
	minFree uint64
	core    *core
}

type eventKind uint8

const (
	evAccept eventKind = iota
	evOpen
	evClose
	evProof
	evPass
	evFetch
	evStored    // the batch in flight is synced, or err
	evLoaded    // a read ended
	evRecovered // a new core has read the log to its end
	evLimits
)

// Open reads the log to its end. Run then takes it over and serves.
func Open(ctx context.Context, opts Options) (*Keeper, error) {
	k := &Keeper{opts: opts, tune: defaultTuning(), fetches: make(map[wire.ID]int), wake: make(chan struct{}, 1)}
	k.metrics.init(k, opts.Metrics)
	core, err := k.rebuild(ctx, opts.Limits)
	if err != nil {
		return nil, err
	}
	core.closeStale(opts.Now())
	k.core = core
	k.publish()
	return k, nil
}

// rebuild makes a core from the log.
func (k *Keeper) rebuild(ctx context.Context, limits Limits) (*core, error) {
	id, err := wire.NewID(k.opts.Now(), k.opts.Random)
	if err != nil {
		return nil, fmt.Errorf("make the keeper's ID: %w", err)
	}
	c := newCore(id, limits, k.opts.Random, k.tune)
	first, last, _, err := k.opts.Log.Bounds(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at the log: %w", err)
	}
	ord := uint64(1)
	if first <= last {
		batch, err := k.opts.Log.Read(ctx, last)
		if err != nil {
			return nil, fmt.Errorf("read the last batch, %d: %w", last, err)
		}
		trim, next, err := openBatch(batch)
		if err != nil {
			return nil, fmt.Errorf("batch %d: %w", last, err)
		}
		if first > trim {
			return nil, fmt.Errorf("the log begins at batch %d, but batch %d still mattered: batches are missing from its head", first, trim)
		}
		ord = next
		if err := k.opts.Log.Replay(ctx, trim, last, c.replay); err != nil {
			return nil, fmt.Errorf("replay the log: %w", err)
		}
	}
	c.takeOver(last, ord)
	return c, nil
}

// Accept takes a message for its receivers' mailboxes.
func (k *Keeper) Accept(m *Message) {
	if k.pending.Add(messageCost(m)) > maxPending {
		k.pending.Add(-messageCost(m))
		if m.Origin != nil {
			m.Origin.Failed(&wire.Error{
				Kind: wire.KindDeliverFailed, Code: wire.CodeOverloaded,
				Reason: "more messages arrive than the disk takes; try again", To: m.To, Group: m.Group,
			}, m.Reference)
		}
		if m.Done != nil {
			m.Done()
		}
		return
	}
	k.post(event{kind: evAccept, message: m})
}

func messageCost(m *Message) int64 { return int64(len(m.Frame)) + 24*int64(len(m.To)) + 128 }

// Open registers a session; deliveries to its Outlet may begin before Open
// returns.
func (k *Keeper) Open(s Session) { k.post(event{kind: evOpen, session: s}) }

// Close ends a session: what it did not prove goes back to its place. Closing
// one that is not open does nothing.
func (k *Keeper) Close(id wire.ID) { k.post(event{kind: evClose, id: id}) }

// Prove says that every delivery up to n is proved.
func (k *Keeper) Prove(id wire.ID, n uint64) { k.post(event{kind: evProof, id: id, n: n}) }

// Pass says that every delivery up to n has arrived, on a session where that
// does not prove it: more may follow.
func (k *Keeper) Pass(id wire.ID, n uint64) { k.post(event{kind: evPass, id: id, n: n}) }

// Fetch asks for count of the messages that the session missed. It returns
// false when too many fetches of the session wait already.
func (k *Keeper) Fetch(id wire.ID, count int) bool {
	k.mu.Lock()
	if k.fetches[id] >= maxFetches {
		k.mu.Unlock()
		return false
	}
	k.fetches[id]++
	k.mu.Unlock()
	k.post(event{kind: evFetch, id: id, n: uint64(count)})
	return true
}

// SetLimits changes the limits for what is accepted from now on.
func (k *Keeper) SetLimits(l Limits, minFree uint64) {
	k.post(event{kind: evLimits, limits: l, minFree: minFree})
}

// Ready says whether the keeper owns its log and stores messages.
func (k *Keeper) Ready() bool { return k.ready.Load() }

func (k *Keeper) post(ev event) {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		k.afterStop(&ev)
		return
	}
	k.inbox = append(k.inbox, ev)
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// afterStop answers what comes when nobody serves any more.
func (k *Keeper) afterStop(ev *event) {
	if ev.kind == evAccept {
		k.fail(ev.message, &wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeStoreDown, Reason: "the server is stopping; try again"})
	}
}

// Run takes the log over and serves until ctx ends, then stores what it has.
// It returns nil, whatever the log does meanwhile: a log that fails is tried
// again until it comes back.
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
		case <-k.wake:
		case <-tick.C:
			k.watchDisk()
			k.core.tick(k.opts.Now())
		}
	}
}

// turn takes what is in the inbox through the core, and its effects out.
func (k *Keeper) turn(w *worker) {
	k.mu.Lock()
	events := k.inbox
	k.inbox = w.spare[:0]
	k.mu.Unlock()
	now := k.opts.Now()
	for i := range events {
		k.step(w, now, &events[i])
		k.perform()
	}
	clear(events)
	w.spare = events
	k.perform()
	k.send(w)
	k.publish()
}

// step is one event.
func (k *Keeper) step(w *worker, now time.Time, ev *event) {
	c := k.core
	switch ev.kind {
	case evAccept:
		c.accept(now, ev.message)
	case evOpen:
		c.open(now, ev.session)
	case evClose:
		c.close(now, ev.id)
		k.mu.Lock()
		delete(k.fetches, ev.id)
		k.mu.Unlock()
	case evProof:
		c.proof(now, ev.id, ev.n)
	case evPass:
		c.pass(now, ev.id, ev.n)
	case evFetch:
		c.fetch(now, ev.id, int(ev.n))
	case evStored:
		w.appending = false
		if ev.err != nil {
			k.lose(w, ev.err)
		} else if !c.down {
			c.stored(now, ev.n)
			k.ready.Store(true)
		}
	case evLoaded:
		k.loaded(now, ev)
	case evRecovered:
		k.recovered(now, ev.core)
	case evLimits:
		c.limits = ev.limits
		k.opts.MinFree = ev.minFree
		k.watchDisk()
	}
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
			if n := k.fetches[e.session]; n > 1 {
				k.fetches[e.session] = n - 1
			} else {
				delete(k.fetches, e.session)
			}
			k.mu.Unlock()
			e.outlet.FetchDone(e.left)
		case effSettled:
			e.outlet.Settled(e.n)
		case effPresence:
			e.outlet.Presence(e.user, e.online)
		case effStored:
			m := e.message
			if m.Receipt && m.Origin != nil {
				m.Origin.Stored(m.Reference)
			}
			k.done(m)
		case effFailed:
			if e.message.Origin != nil {
				e.message.Origin.Failed(e.failure, e.message.Reference)
			}
		case effDone:
			k.done(e.message)
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

// fail tells a sender that its whole message failed.
func (k *Keeper) fail(m *Message, e *wire.Error) {
	if m.Origin != nil {
		own := *e
		own.To, own.Group = m.To, m.Group
		m.Origin.Failed(&own, m.Reference)
	}
	k.done(m)
}

// send starts what the core wants of the log.
func (k *Keeper) send(w *worker) {
	c := k.core
	if c.down {
		return
	}
	if !w.appending {
		if last, batch := c.journal.next(); batch != nil {
			w.appending = true
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
	if _, asked := k.core.cache.waiting[ev.n]; !asked || k.core.down {
		return
	}
	if ev.err != nil {
		k.opts.Logger.Error("a batch of the log cannot be read; what waits in it is not delivered until a restart reads it", "batch", ev.n, "err", ev.err)
	}
	k.core.loaded(now, ev.n, ev.batch)
}

// lose gives up the core's memory: nobody knows what the log holds. Senders
// that wait are told so, and a new core is built from the log.
func (k *Keeper) lose(w *worker, cause error) {
	k.ready.Store(false)
	k.opts.Logger.Error("the message log failed; nothing is accepted until it is back", "err", cause)
	k.metrics.failures.Inc()
	k.core.lose(cause)
	w.recover(k.core.limits)
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
	deadline := time.NewTimer(flushTime)
	defer deadline.Stop()
	trimmed := false
	for {
		k.turn(w)
		if k.core.down {
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
	if below := k.core.finalPurge(); below > 0 {
		w.purge(below)
	}
}

// leaveTrim writes an empty batch if it would let the head of the log go.
func (c *core) leaveTrim() bool {
	j := &c.journal
	j.advance()
	if j.trimmedBytes == j.purgedBytes {
		return false
	}
	j.room(0)
	return true
}

// finalPurge returns what the log may forget when the keeper stops.
func (c *core) finalPurge() uint64 {
	j := &c.journal
	if c.down || !j.idle() || j.trimmedBytes == j.purgedBytes {
		return 0
	}
	j.purgedBytes = j.trimmedBytes
	return min(j.first, j.last)
}
