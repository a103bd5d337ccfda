package bus

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/seed-3d8c1042/switchboard/internal/journal"
)

// Parts is where checkpoints of what is folded from the journal are kept: a
// journal.Checkpoints. It goes on working after Bus.Recover. Its methods may be called
// from any goroutine.
type Parts struct {
	bus  *Bus
	name string // of the stream
}

var _ journal.Checkpoints = (*Parts)(nil)

// Parts returns the store of checkpoints, which is created when it never was. Every call
// returns the same one.
func (b *Bus) Parts(ctx context.Context) (*Parts, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.parts != nil {
		return b.parts, nil
	}
	e, err := b.engine()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.openTimeout())
	defer cancel()
	config := b.layout.parts()
	if err := b.ensure(ctx, e, config); err != nil {
		return nil, err
	}
	b.parts = &Parts{bus: b, name: config.Name}
	return b.parts, nil
}

func (p *Parts) subject(shard int, kind string, chunk int) (string, error) {
	if !isToken(kind) {
		return "", fmt.Errorf("bus: checkpoints cannot be named %q", kind)
	}
	return fmt.Sprintf("%s%d.%s.%d", p.bus.layout.subject(partsPrefix), shard, kind, chunk), nil
}

// LoadPart implements journal.Checkpoints.
func (p *Parts) LoadPart(ctx context.Context, shard int, kind string, chunk int) (uint64, []byte, error) {
	subject, err := p.subject(shard, kind, chunk)
	if err != nil {
		return 0, nil, err
	}
	m, err := p.bus.lastOf(ctx, p.name, subject)
	if err != nil {
		return 0, nil, fmt.Errorf("load from %s: %w", p.name, err)
	}
	return m.Sequence, m.Data, nil
}

// SavePart implements journal.Checkpoints.
func (p *Parts) SavePart(ctx context.Context, shard int, kind string, chunk int, after uint64, part []byte) (uint64, error) {
	seq, err := p.save(ctx, shard, kind, chunk, after, part)
	if err != nil {
		return 0, fmt.Errorf("keep in %s: %w", p.name, journalError(err))
	}
	return seq, nil
}

func (p *Parts) save(ctx context.Context, shard int, kind string, chunk int, after uint64, part []byte) (uint64, error) {
	subject, err := p.subject(shard, kind, chunk)
	if err != nil {
		return 0, err
	}
	if len(part) > MaxBatch {
		return 0, fmt.Errorf("a checkpoint of %d bytes is larger than %d", len(part), MaxBatch)
	}
	e, err := p.bus.engine()
	if err == nil {
		err = p.bus.room(len(part))
	}
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.bus.opts.CallTimeout)
	defer cancel()
	seq, err := publish(ctx, e, p.name, false, &nats.Msg{Subject: subject, Data: part}, after)
	if err != nil {
		return 0, err
	}
	return seq, p.bus.keepNames(p.name)
}

// marshal writes what is asked of the server.
func marshal(v any) ([]byte, error) { return json.Marshal(v) }
