package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// replayBytes is how much is asked for at once. The server's queue to one
	// connection ends at 64 MiB.
	replayBytes = 4 << 20
	// replayBatch is how many messages are asked for at once.
	replayBatch = 1 << 16
	// replayQueue is how many batches wait for the one who reads.
	replayQueue = 64
)

// Replay calls f with every batch from first to last, in order; see
// mailbox.Log. The batch belongs to f. An error of f ends it and is returned as
// it is. While f works, the next batches are on their way: some 8 MiB wait in
// memory. In a cluster a batch that does not come is asked for again until
// Options.CallTimeout is over: another server may have it.
func (l *Log) Replay(ctx context.Context, first, last uint64, f func(seq uint64, batch []byte) error) error {
	if first > last {
		return nil
	}
	if first == 0 {
		return fmt.Errorf("replay %s: there is no batch 0", l.name)
	}
	e, err := l.bus.engine()
	if err != nil {
		return fmt.Errorf("replay %s: %w", l.name, err)
	}
	var refusal error // of f
	take := func(seq uint64, batch []byte) error {
		refusal = f(seq, batch)
		return refusal
	}
	next, progress := first, time.Now()
	for {
		from := next
		err := l.replay(ctx, e, &next, last, take)
		if next > from {
			progress = time.Now()
		}
		switch {
		case err == nil:
			return nil
		case refusal != nil:
			return refusal
		case !l.bus.opts.shared() || time.Since(progress) > l.bus.opts.CallTimeout || pause(ctx, e) != nil:
			return fmt.Errorf("replay %s, batch %d: %w", l.name, next, err)
		}
	}
}

// replay calls f with what comes, from *next on, and raises that.
func (l *Log) replay(ctx context.Context, e *engine, next *uint64, last uint64, f func(seq uint64, batch []byte) error) error {
	r := &replay{log: l, e: e, last: last, msgs: make(chan *nats.Msg, replayQueue), done: make(chan struct{})}
	if err := r.start(*next); err != nil {
		return err
	}
	defer r.stop()
	for *next <= last {
		batch, err := r.next(ctx, *next)
		if err != nil {
			return err
		}
		if err := f(*next, batch); err != nil {
			return err
		}
		*next++
	}
	return nil
}

// replay asks for range after range and queues what comes.
type replay struct {
	log  *Log
	e    *engine
	last uint64
	sub  *nats.Subscription
	msgs chan *nats.Msg
	done chan struct{} // closed by stop

	wait  time.Duration // for one batch
	timer *time.Timer   // of next
}

func (r *replay) start(first uint64) (err error) {
	if r.sub, err = r.e.reads.Subscribe(r.e.reads.NewRespInbox(), r.take); err != nil {
		return err
	}
	r.wait = r.log.bus.opts.CallTimeout
	if r.log.bus.opts.shared() {
		r.wait = min(r.wait, waitStep) // the one who was asked may have died
	}
	r.timer = time.NewTimer(r.wait)
	// What is outstanding bounds the queue, so nothing may be dropped from it.
	if err = r.sub.SetPendingLimits(-1, -1); err == nil {
		err = r.ask(first)
	}
	if err != nil {
		r.stop()
	}
	return err
}

func (r *replay) stop() {
	close(r.done)
	r.timer.Stop()
	_ = r.sub.Unsubscribe() // fails only on a closed connection
}

// ask requests the batches from seq on, as many as one request gives.
func (r *replay) ask(seq uint64) error {
	count := min(r.last-seq+1, replayBatch)
	return r.e.reads.PublishRequest(r.log.direct(), r.sub.Subject,
		fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d}`, seq, count, replayBytes))
}

// take queues a message. At the end of a range it asks for the next one before
// the queue is empty.
func (r *replay) take(m *nats.Msg) {
	if m.Header.Get("Status") == "204" {
		seq, err := strconv.ParseUint(m.Header.Get(jetstream.LastSequenceHeader), 10, 64)
		if err == nil && seq >= r.last {
			return
		}
		if err == nil && seq > 0 {
			err = r.ask(seq + 1)
		} else {
			err = errors.New("the server ended a range of batches without any")
		}
		if err == nil {
			return
		}
		m.Header.Set("Status", "500")
		m.Header.Set("Description", err.Error())
	}
	select {
	case r.msgs <- m:
	case <-r.done:
	}
}

// next returns the batch that must come now: seq.
func (r *replay) next(ctx context.Context, seq uint64) ([]byte, error) {
	select {
	case m := <-r.msgs:
		return r.accept(m, seq)
	default:
	}
	r.timer.Reset(r.wait)
	select {
	case m := <-r.msgs:
		return r.accept(m, seq)
	case <-r.timer.C:
		return nil, fmt.Errorf("the server gave no answer in %s", r.wait)
	case <-r.e.failed:
		return nil, r.e.failure()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (r *replay) accept(m *nats.Msg, seq uint64) ([]byte, error) {
	switch status := m.Header.Get("Status"); status {
	case "":
	case "404":
		return nil, errDamaged
	default:
		return nil, fmt.Errorf("the server answers %s %s", status, m.Header.Get("Description"))
	}
	got, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the server's sequence: %w", err)
	}
	if got != seq {
		return nil, fmt.Errorf("%w: the next one there is %d", errDamaged, got)
	}
	return m.Data, nil
}
