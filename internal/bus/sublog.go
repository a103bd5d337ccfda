package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// subLog is the log of one shard in a stream of all: batches under one subject. Its
// methods may be called from any goroutine; appends must follow each other.
type subLog struct {
	stream  *Events // of which only reading and names of files are used
	subject string
}

func (l *subLog) append(ctx context.Context, last uint64, batch []byte) (seq uint64, err error) {
	b := l.stream.bus
	e, err := b.engine()
	if err == nil {
		err = b.room(len(batch))
	}
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.opts.CallTimeout)
	defer cancel()
	seq, err = publish(ctx, e, l.stream.name, true, &nats.Msg{Subject: l.subject, Data: batch}, last)
	if err == nil && !b.opts.shared() {
		if err = l.stream.keepNewName(); err != nil {
			e.fail(err)
			err = unknown(err)
		}
	}
	return seq, err
}

// Replay calls f with every batch, from the first that there is to the one that was the
// last when Replay was called, in order, and returns the sequence of that. In a cluster
// what does not come is asked for again: another server may have it.
func (l *subLog) Replay(ctx context.Context, f func(seq uint64, batch []byte) error) (uint64, error) {
	end, err := l.stream.bus.lastOf(ctx, l.stream.name, l.subject)
	if err != nil {
		return 0, fmt.Errorf("look for the end of %s: %w", l.stream.name, err)
	}
	progress := time.Now()
	for after := uint64(0); after < end.Sequence; {
		list, err := l.stream.fetch(ctx, rangeOf{Seq: after + 1, NextFor: l.subject, Batch: replayBatch, MaxBytes: replayBytes})
		if err != nil {
			return 0, fmt.Errorf("replay %s: %w", l.stream.name, err)
		}
		for _, m := range list {
			if m.seq > end.Sequence {
				return end.Sequence, nil
			}
			if err := f(m.seq, m.data); err != nil {
				return 0, err
			}
			after, progress = m.seq, time.Now()
		}
		if len(list) > 0 {
			continue
		}
		gone, err := l.gone(ctx, end.Sequence)
		if gone || err != nil {
			return end.Sequence, err
		}
		if err := l.lag(ctx, progress); err != nil {
			return 0, fmt.Errorf("replay %s, after %d: %w", l.stream.name, after, err)
		}
	}
	return end.Sequence, nil
}

// gone says whether what was the last is there no more: it went by itself.
func (l *subLog) gone(ctx context.Context, last uint64) (bool, error) {
	if l.stream.limits.Age == 0 {
		return false, nil
	}
	now, err := l.stream.bus.lastOf(ctx, l.stream.name, l.subject)
	if err != nil {
		return false, fmt.Errorf("look for the end of %s: %w", l.stream.name, err)
	}
	return now.Sequence < last, nil
}

// lag waits for a moment for what a server that follows does not have yet, for as long
// as a call may take.
func (l *subLog) lag(ctx context.Context, progress time.Time) error {
	b := l.stream.bus
	if time.Since(progress) > b.opts.CallTimeout {
		return errors.New("what is to be there does not come")
	}
	e, err := b.engine()
	if err != nil {
		return err
	}
	return pause(ctx, e)
}
