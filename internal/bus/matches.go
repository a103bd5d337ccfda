package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/match"
)

// MatchLog is the log of the matches of one shard: a match.Log. It goes on working after
// Bus.Recover. Its methods may be called from any goroutine; appends must follow each
// other.
type MatchLog struct{ subLog }

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
	return &MatchLog{subLog{b.matches, b.layout.subject(matchesPrefix) + strconv.Itoa(shard)}}, nil
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
