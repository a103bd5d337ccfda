package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/match"
)

// MatchLog is the log of the matches of one shard: a match.Log. It goes on working after
// Bus.Recover. Its methods may be called from any goroutine; appends must follow each
// other.
type MatchLog struct {
	stream  *Events // the stream of all shards, of which only reading and names of files are used
	subject string
}

var _ match.Log = (*MatchLog)(nil)

// Matches returns the log of the matches of a shard, which is created when it never was.
func (b *Bus) Matches(ctx context.Context, shard int) (*MatchLog, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.matches == nil {
		e, err := b.engine()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, b.openTimeout())
		defer cancel()
		config := b.layout.matches()
		if err := b.ensure(ctx, e, config); err != nil {
			return nil, err
		}
		b.matches = &Events{bus: b, name: config.Name}
	}
	return &MatchLog{b.matches, b.layout.subject(matchesPrefix) + strconv.Itoa(shard)}, nil
}

// Append implements match.Log.
func (l *MatchLog) Append(ctx context.Context, last uint64, batch []byte) (uint64, error) {
	seq, err := l.append(ctx, last, batch)
	switch {
	case err == nil:
		return seq, nil
	case errors.Is(err, ErrExists):
		err = fmt.Errorf("%w: %w", match.ErrFenced, err)
	case errors.Is(err, mailbox.ErrUnknown):
		err = fmt.Errorf("%w: %w", match.ErrUnknown, err)
	}
	return 0, fmt.Errorf("append to %s: %w", l.stream.name, err)
}

func (l *MatchLog) append(ctx context.Context, last uint64, batch []byte) (seq uint64, err error) {
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

// Replay implements match.Log. In a cluster what does not come is asked for again:
// another server may have it.
func (l *MatchLog) Replay(ctx context.Context, f func(seq uint64, batch []byte) error) (uint64, error) {
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
		if err := l.lag(ctx, progress); err != nil {
			return 0, fmt.Errorf("replay %s, after %d: %w", l.stream.name, after, err)
		}
	}
	return end.Sequence, nil
}

// lag waits for a moment for what a server that follows does not have yet, for as long
// as a call may take.
func (l *MatchLog) lag(ctx context.Context, progress time.Time) error {
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

// Purge implements match.Log.
func (l *MatchLog) Purge(ctx context.Context, below uint64) error {
	if below <= 1 {
		return nil // and 0 would mean everything to the server
	}
	b := l.stream.bus
	e, err := b.engine()
	if err != nil {
		return fmt.Errorf("purge %s below %d: %w", l.stream.name, below, err)
	}
	ctx, cancel := context.WithTimeout(ctx, b.opts.CallTimeout)
	defer cancel()
	err = e.patiently(ctx, func(ctx context.Context) error {
		stream, err := e.js.Stream(ctx, l.stream.name)
		if err != nil {
			return err
		}
		return stream.Purge(ctx, jetstream.WithPurgeSubject(l.subject), jetstream.WithPurgeSequence(below))
	})
	if err == nil && !b.opts.shared() {
		err = b.keepNames(l.stream.name) // the last file may be another one now
	}
	if err != nil {
		return fmt.Errorf("purge %s below %d: %w", l.stream.name, below, err)
	}
	return nil
}
