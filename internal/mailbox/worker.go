package mailbox

import (
	"context"
	"errors"
	"sync"
	"time"
)

// worker does for a keeper what blocks: appending, reading, purging, and
// reading the log anew.
type worker struct {
	k         *Keeper
	spare     []event
	appending bool        // a batch is in flight
	hurry     bool        // batches do not wait for one another
	began     time.Time   // when the last append did
	crowd     int         // how many messages it had
	alarm     *time.Timer // when a batch that waits is to be sent
	failing   bool        // nothing was stored since the log failed last

	ctx        context.Context // of appends and purges
	cancel     context.CancelFunc
	patience   context.Context // of what nobody needs after the end
	impatience context.CancelFunc
	wg         sync.WaitGroup
	slots      chan struct{} // of reads
	log        chan logJob   // appends
	retired    chan struct{} // closed when the log belongs to another node
	landed     chan landing  // their results; never full, because the next append waits for it
	purges     chan uint64
}

type logJob struct {
	last  uint64
	batch []byte
}

type landing struct {
	seq uint64
	err error
}

func newWorker(k *Keeper) *worker {
	w := &worker{
		k: k, slots: make(chan struct{}, readers),
		log: make(chan logJob, 1), landed: make(chan landing, 1), purges: make(chan uint64, 1),
		alarm: time.NewTimer(time.Hour), retired: make(chan struct{}),
	}
	w.alarm.Stop()
	// The log's calls outlive Run's context: what is in flight when it ends is
	// still waited for.
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.patience, w.impatience = context.WithCancel(context.Background())
	w.wg.Add(2)
	go w.appender()
	go w.purger()
	return w
}

// wait ends the worker. Appends and purges that were asked for are done first,
// within flushTime.
func (w *worker) wait() {
	w.alarm.Stop()
	close(w.log)
	close(w.purges)
	w.impatience()
	late := time.AfterFunc(flushTime, w.cancel)
	w.wg.Wait()
	late.Stop()
	w.cancel()
}

// pace says how long a batch waits to be sent, for more to come into it.
func (w *worker) pace(p *pending, full bool, now time.Time) time.Duration {
	switch since := now.Sub(w.began); {
	case full || w.hurry || since < 0: // the clock may have been set back
		return 0
	case !p.urgent:
		return proofGap - since
	case w.crowd > 1:
		return min(time.Duration(w.crowd)*crowdGap, gapLimit) - since
	}
	return 0
}

func (w *worker) append(last uint64, batch []byte) { w.log <- logJob{last, batch} }

func (w *worker) appender() {
	defer w.wg.Done()
	for job := range w.log {
		start := time.Now()
		seq, err := w.k.opts.Log.Append(w.ctx, job.last, job.batch)
		w.k.metrics.sync.Observe(time.Since(start).Seconds())
		w.k.metrics.batchBytes.Observe(float64(len(job.batch)))
		w.landed <- landing{seq, err}
		w.k.stir()
	}
}

// purge asks for everything before below to go. A newer wish replaces one that
// has not begun.
func (w *worker) purge(below uint64) {
	select {
	case <-w.purges:
	default:
	}
	w.purges <- below
}

func (w *worker) purger() {
	defer w.wg.Done()
	for below := range w.purges {
		if err := w.k.opts.Log.Purge(w.ctx, below); err != nil {
			w.k.opts.Logger.Warn("cannot purge the head of the log; the next purge takes it along", "below", below, "err", err)
		}
	}
}

// read has a batch read, at most readers at once.
func (w *worker) read(seq uint64) {
	w.wg.Add(1)
	go func() {
		defer w.wg.Done()
		select {
		case w.slots <- struct{}{}:
		case <-w.patience.Done():
			return
		}
		batch, err := w.readBatch(seq)
		<-w.slots
		w.k.post(event{kind: evLoaded, n: seq, batch: batch, err: err})
	}()
}

// readBatch reads and checks a batch; nil without an error when it was purged. While
// the log as a whole does not answer, it is not the batch that cannot be read: to
// give that up would have what is behind it come before it.
func (w *worker) readBatch(seq uint64) (batch []byte, err error) {
	for attempt := 0; attempt < readAttempts; {
		batch, err = w.k.opts.Log.Read(w.patience, seq)
		if errors.Is(err, ErrGone) {
			return nil, nil
		}
		if err == nil {
			if _, _, err = openBatch(batch); err == nil {
				return batch, nil
			}
		}
		if _, _, _, err := w.k.opts.Log.Bounds(w.patience); err == nil {
			attempt++
		}
		select {
		case <-time.After(retryAfter):
		case <-w.patience.Done():
			return nil, w.patience.Err()
		}
	}
	return nil, err
}

// recover brings the log back and reads it to its end, as often as it takes;
// later waits a while before the first attempt.
func (w *worker) recover(limits Limits, later bool) {
	w.wg.Add(1)
	go func() {
		defer w.wg.Done()
		for {
			if later {
				select {
				case <-time.After(retryAfter):
				case <-w.patience.Done():
					return
				}
			}
			next, err := w.rebuild(limits)
			if err == nil {
				w.k.post(event{kind: evRecovered, core: next})
				return
			}
			if isRetired(err) {
				close(w.retired)
				return
			}
			w.k.post(event{kind: evGiveUp})
			if w.patience.Err() == nil {
				w.k.opts.Logger.Warn("the message log is not back yet", "err", err)
			}
			later = true
		}
	}()
}

func (w *worker) rebuild(limits Limits) (*core, error) {
	if w.k.opts.Recover != nil {
		if err := w.k.opts.Recover(w.patience); err != nil {
			return nil, err
		}
	}
	return w.k.rebuild(w.patience, limits)
}
