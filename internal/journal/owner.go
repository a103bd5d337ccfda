package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Log is where the journal of all shards is stored.
type Log interface {
	// Append stores a batch of a shard right after the one at last, of the same shard, 0
	// for none, and returns its position: positions rise, over all shards. head is kept
	// beside the batch. ErrChanged says that another batch is stored after last,
	// ErrUnknown that nothing is known; after any other error nothing was stored. ErrFull
	// says that there is no room.
	Append(ctx context.Context, shard int, last uint64, head string, batch []byte) (pos uint64, err error)
	// Last returns the position of the newest batch of a shard that is there, 0 for none.
	Last(ctx context.Context, shard int) (uint64, error)
	// Replay calls f with every batch of a shard that is there, after one position and up
	// to another, in order.
	Replay(ctx context.Context, shard int, after, last uint64, f func(pos uint64, head string, batch []byte) error) error
	// Read returns batches from a position, or from a time where that is later, of one
	// shard, or of all with shard -1, in order: about most bytes, and one batch at least
	// if there is any.
	Read(ctx context.Context, shard int, from uint64, since time.Time, most int) ([]Batch, error)
	// Mark returns what tells this log from all others, whatever their positions are.
	Mark(ctx context.Context) (uint32, error)
	// End returns the position of the newest batch of all, 0 for none.
	End(ctx context.Context) (uint64, error)
	// Wait returns when a batch after a position may be there.
	Wait(ctx context.Context, after uint64) error
}

// Batch is one that is stored.
type Batch struct {
	Pos  uint64
	Data []byte // events, one a line
}

const (
	// inboxes is how many requests wait for an owner.
	inboxes = 1024
	// gathered is how many of them make one batch.
	gathered = 256
	// lastTime bounds what an owner does that ends.
	lastTime  = 5 * time.Second
	lineBytes = 220 // of most events
	retryMin  = 20 * time.Millisecond
	retryMax  = time.Second
)

// owner keeps one shard's journal, from Begin until End.
type owner struct {
	room  *Room
	shard int
	inbox chan *asked
	// unfenced says that a former owner may have stored something since open.
	unfenced bool
	next     *asked        // came behind what is being stored, and goes by itself; run's own
	stop     chan struct{} // closed by End
	done     chan struct{} // closed when run has returned

	mu   sync.Mutex // guards core, and what is in it; only run changes it
	core *core
	seq  uint64 // of the summary that is kept
	at   uint64 // position of that summary
	last uint64 // of the newest batch in the store, for the condition
	// storing is when the first event was taken in of what is being stored; 0: nothing is.
	storing int64
	swept   int64

	states atomic.Int64 // of devices, for those who count

	closing sync.RWMutex // held to put something into the inbox
	closed  bool         // nothing is put there any more; and nothing is answered
}

// asked is a request with who waits for its answer.
type asked struct {
	request request
	verdict verdict
	stored  bool // it was, before the batch that is made now
	rebuild bool
	answer  func(reply []byte, err error)
}

// run serves until stop is closed, then keeps what has changed and answers those who
// wait.
func (o *owner) run() {
	defer close(o.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with run
		select {
		case <-o.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case a := <-o.inbox:
			if a.rebuild {
				a.answer(o.rebuild(ctx))
				continue
			}
			o.store(ctx, o.gather(a))
			if next := o.next; next != nil {
				o.next = nil
				next.answer(o.rebuild(ctx))
			}
		case <-tick.C:
			if err := o.check(ctx, false); err != nil && ctx.Err() == nil {
				o.room.opts.Logger.Warn("a checkpoint of the journal was not kept; it is tried again", "shard", o.shard, "err", err)
			}
		}
	}
	o.leave()
	last, end := context.WithTimeout(context.Background(), lastTime)
	defer end()
	if err := o.check(last, true); err != nil {
		o.room.opts.Logger.Info("the last checkpoint of the journal was not kept: more is read at the next start", "shard", o.shard, "err", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range o.core.kinds {
		h.of.End()
	}
}

// leave answers all that wait, and sees to it that nobody does any more.
func (o *owner) leave() {
	o.closing.Lock()
	o.closed = true
	o.closing.Unlock()
	for {
		select {
		case a := <-o.inbox:
			a.answer(nil, ErrNext)
		default:
			return
		}
	}
}

// ask hands a request to the owner.
func (o *owner) ask(a *asked) {
	o.closing.RLock()
	defer o.closing.RUnlock()
	if o.closed {
		a.answer(nil, ErrNext)
		return
	}
	select {
	case o.inbox <- a:
	default:
		a.answer(answerError(ErrBusy), nil)
	}
}

// retry does something until it is done; false when ctx ended before.
func (o *owner) retry(ctx context.Context, what string, do func(context.Context) error) bool {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		err := do(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		o.room.opts.Logger.Warn("the journal waits for its store", "what", what, "shard", o.shard, "err", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}

// takeOver stores an empty batch: whoever owned the shard before stores nothing after it,
// and all that he stored is in the core. Where there is no room for it he may store more, should
// there be room again: so what is not stored is looked for once more; see store.
func (o *owner) takeOver(ctx context.Context) error {
	for {
		pos, err := o.room.opts.Log.Append(ctx, o.shard, o.last, "", nil)
		switch {
		case err == nil:
			o.core.apply(pos, nil, nil, 0)
			o.last = pos
			return nil
		case errors.Is(err, ErrFull):
			o.unfenced = true
			return nil
		case !errors.Is(err, ErrChanged) && !errors.Is(err, ErrUnknown):
			return fmt.Errorf("take the shard over: %w", err)
		}
		if o.last, err = o.replay(ctx, o.core, o.core.pos); err != nil {
			return err
		}
	}
}

// replay has a core take in what is stored after a position, and returns the last one.
func (o *owner) replay(ctx context.Context, c *core, after uint64) (last uint64, err error) {
	return c.replay(ctx, o.room.opts.Log, after)
}

func (c *core) replay(ctx context.Context, log Log, after uint64) (last uint64, err error) {
	if last, err = log.Last(ctx, c.shard); err != nil || last <= after {
		return last, err
	}
	var events []Event
	err = log.Replay(ctx, c.shard, after, last, func(pos uint64, head string, batch []byte) (err error) {
		events, err = parseBatch(batch, events[:0])
		if err != nil {
			return fmt.Errorf("batch %d: %w", pos, err)
		}
		sources, err := parseHead(head)
		if err == nil {
			c.apply(pos, sources, events, len(batch))
		}
		return err
	})
	return last, err
}

// catchUp takes in what is stored that this owner does not know of.
func (o *owner) catchUp(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	last, err := o.replay(ctx, o.core, o.core.pos)
	if err == nil {
		o.last = last
	}
	return err
}

// gather returns what waits, the first one of it given, as far as it fits together.
func (o *owner) gather(first *asked) []*asked {
	list, size := []*asked{first}, len(first.request.events)
	for len(list) < gathered && size < maxBatch/200 {
		select {
		case a := <-o.inbox:
			if a.rebuild {
				o.next = a
				return list
			}
			list, size = append(list, a), size+len(a.request.events)
		default:
			return list
		}
	}
	return list
}

// store stores what requests ask for and answers them.
func (o *owner) store(ctx context.Context, list []*asked) {
	defer func() {
		o.mu.Lock()
		o.storing = 0
		o.mu.Unlock()
	}()
	for {
		b, repeated := o.form(list)
		err := o.append(ctx, b)
		switch {
		case err == nil:
			o.room.metrics.repeated.Add(float64(repeated))
			for _, a := range list {
				a.answer(putVerdict([]byte{tellDone}, &a.verdict), nil)
			}
			return
		case !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrChanged):
			o.lookAgain(ctx, list)
			for _, a := range list {
				if a.stored { // before, when nobody heard of it
					a.answer(putVerdict([]byte{tellDone}, &a.verdict), nil)
				} else {
					a.answer(answerError(err), nil)
				}
			}
			return
		}
		// What is stored now may be this batch, or another owner's.
		outcome := ErrUnknown
		done := o.retry(ctx, "catch up", func(ctx context.Context) error {
			still, err := o.room.opts.Still(ctx, o.shard)
			if err == nil && !still {
				outcome = ErrNext // who knows what was stored
				return nil
			}
			if err == nil {
				err = o.catchUp(ctx)
			}
			return err
		})
		if done && outcome == ErrUnknown {
			continue
		}
		for _, a := range list {
			if outcome == ErrNext {
				a.answer(nil, ErrNext)
			} else {
				a.answer(answerError(ErrUnknown), nil)
			}
		}
		if outcome == ErrNext {
			o.leave()
		}
		return
	}
}

// lookAgain finds out which requests a former owner has stored after all.
func (o *owner) lookAgain(ctx context.Context, list []*asked) {
	if !o.unfenced || o.catchUp(ctx) != nil { // then the next batch finds out
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range list {
		a.stored = o.core.has(&a.request)
	}
}

func (o *owner) form(list []*asked) (b *batch, repeated int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b = o.core.form(o.room.now())
	if o.storing == 0 {
		o.storing = b.now
	}
	events := 0
	for _, a := range list {
		events += len(a.request.events)
	}
	b.events, b.data = make([]Event, 0, events), make([]byte, 0, lineBytes*events)
	for _, a := range list {
		a.stored = o.core.has(&a.request)
		a.verdict = o.core.admit(b, &a.request, o.room.opts.Limits().Devices)
		repeated += a.verdict.repeated
	}
	return b, repeated
}

// append stores a batch and takes it in.
func (o *owner) append(ctx context.Context, b *batch) error {
	if len(b.events) == 0 {
		return nil // all of it was stored before; or nothing of it may be
	}
	began := time.Now()
	pos, err := o.room.opts.Log.Append(ctx, o.shard, o.last, head(b.sources), b.data)
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.core.apply(pos, b.sources, b.events, len(b.data))
	o.last, o.unfenced = pos, false
	o.states.Store(int64(o.core.devices.count))
	o.mu.Unlock()
	o.room.metrics.stored(b, time.Since(began))
	return nil
}

// reached returns as an answer how far a source has come.
func (o *owner) reached(source string) ([]byte, error) {
	o.closing.RLock()
	closed := o.closed
	o.closing.RUnlock()
	if closed {
		return nil, ErrNext
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return binary.AppendUvarint([]byte{tellDone}, o.core.sources[source].number), nil
}

// device returns the state of a device as an answer.
func (o *owner) device(app string, any bool, name string) ([]byte, error) {
	o.closing.RLock()
	closed := o.closed
	o.closing.RUnlock()
	if closed {
		return nil, ErrNext
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.core.devices.find(app, any, name)
	if !ok {
		return answerError(ErrNone), nil
	}
	b := putText([]byte{tellDone}, s.App)
	for _, n := range s.numbers() {
		b = binary.AppendVarint(b, *n)
	}
	return b, nil
}

func readState(b []byte) (s State, err error) {
	r := reader{rest: b}
	s.App = r.text()
	for _, n := range s.numbers() {
		*n = r.int()
	}
	if !r.end() {
		return s, errRequest
	}
	return s, nil
}
