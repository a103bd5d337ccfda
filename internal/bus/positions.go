package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/nearby"
)

// PositionLog is the log of the positions of one shard: a nearby.Log. It goes on working
// after Bus.Recover. Its methods may be called from any goroutine; appends must follow
// each other.
type PositionLog struct{ subLog }

var _ nearby.Log = (*PositionLog)(nil)

// Positions returns the log of the positions of a shard, which is created when it never
// was. What is older than age goes by itself; the age of the first call counts.
func (b *Bus) Positions(ctx context.Context, shard int, age time.Duration) (*PositionLog, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.positions == nil {
		e, err := b.engine()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, b.openTimeout())
		defer cancel()
		config := b.layout.positions(age)
		if err := b.ensure(ctx, e, config); err != nil {
			return nil, err
		}
		b.positions = &Events{bus: b, name: config.Name, limits: EventLimits{Age: age}}
	}
	return &PositionLog{subLog{b.positions, b.layout.subject(positionsPrefix) + strconv.Itoa(shard)}}, nil
}

// Append implements nearby.Log.
func (l *PositionLog) Append(ctx context.Context, last uint64, batch []byte) (uint64, error) {
	seq, err := l.append(ctx, last, batch)
	switch {
	case err == nil:
		return seq, nil
	case errors.Is(err, ErrExists):
		err = fmt.Errorf("%w: %w", nearby.ErrFenced, err)
	case errors.Is(err, mailbox.ErrUnknown):
		err = fmt.Errorf("%w: %w", nearby.ErrUnknown, err)
	}
	return 0, fmt.Errorf("append to %s: %w", l.stream.name, err)
}
