package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Checkpoints is where parts of projections are kept. A part that is kept has a sequence.
type Checkpoints interface {
	// LoadPart returns a part with its sequence; 0 when there is none.
	LoadPart(ctx context.Context, shard int, kind string, chunk int) (seq uint64, part []byte, err error)
	// SavePart keeps a part in place of the one with a sequence, 0 for none: ErrChanged
	// when another one is there.
	SavePart(ctx context.Context, shard int, kind string, chunk int, after uint64, part []byte) (seq uint64, err error)
}

const (
	// summaryKind is the kind under which the checkpoint of a whole shard is kept.
	summaryKind = "shard"
	// checkEvery is how often an owner looks whether something is to be kept.
	checkEvery = 5 * time.Second
	// keepBytes is how many bytes of events, at least, have to be read anew before a
	// chunk that changed is kept: as many as its kind has, if that is more.
	keepBytes = 1 << 20
	// keepAfter is how long a chunk that changed is not kept at most.
	keepAfter = 5 * 60 * 1000
)

// open loads the checkpoints and reads what came after them. Nobody else has the owner yet.
func (o *owner) open(ctx context.Context) error {
	c := newCore(o.shard, o.room.opts.Limits().Keep.Milliseconds(), o.room.opts.Kinds)
	seq, s, err := c.loadAll(ctx, o.room.opts.States)
	if err != nil {
		return err
	}
	if o.last, err = o.replay(ctx, c, c.lacks(s)); err != nil {
		return err
	}
	o.core, o.seq, o.at = c, seq, s.pos
	if err := o.takeOver(ctx); err != nil {
		return err
	}
	o.states.Store(int64(c.devices.count))
	return nil
}

// loadAll takes in the checkpoints that there are, and returns that of the whole, with its
// sequence: 0 when there is none, and all is to be read.
func (c *core) loadAll(ctx context.Context, states Checkpoints) (seq uint64, s summary, err error) {
	seq, part, err := states.LoadPart(ctx, c.shard, summaryKind, 0)
	if err == nil && seq > 0 {
		s, err = decodeSummary(part)
	}
	if err != nil {
		return 0, s, fmt.Errorf("load the checkpoint: %w", err)
	}
	c.begin(s)
	if seq == 0 {
		return 0, s, nil
	}
	for _, h := range c.kinds {
		for i := range h.chunks {
			seq, part, err := states.LoadPart(ctx, c.shard, h.kind.Name, i)
			if err == nil {
				err = c.load(h, i, seq, part, s)
			}
			if err != nil {
				return 0, s, err
			}
		}
	}
	return seq, s, nil
}

// check keeps what has changed, as far as it is due; all of it at the end.
func (o *owner) check(ctx context.Context, end bool) error {
	now := o.room.now()
	if o.unfenced && !end {
		if err := o.catchUp(ctx); err != nil {
			return err
		}
	}
	o.mu.Lock()
	if now-o.swept > time.Hour.Milliseconds() && !end {
		o.swept = now
		o.core.tick(now)
		o.states.Store(int64(o.core.devices.count))
	}
	o.mu.Unlock()
	wrote := false
	for _, h := range o.core.kinds {
		size := 0
		for i := range h.chunks {
			size += h.chunks[i].size
		}
		for i := range h.chunks {
			if !o.due(&h.chunks[i], size, now, end) {
				continue
			}
			if err := o.save(ctx, h, i); err != nil {
				return err
			}
			wrote = true
		}
	}
	if wrote || o.core.pos != o.at && (end || o.far()) {
		return o.summarize(ctx)
	}
	return nil
}

// due says whether a chunk of a kind with so many bytes is to be kept.
func (o *owner) due(k *chunk, size int, now int64, end bool) bool {
	if !k.dirty || end {
		return k.dirty
	}
	behind := o.core.bytes - k.from
	return behind >= uint64(max(size, keepBytes)) || now-k.since >= keepAfter
}

// far says whether so much has come since the summary that a new one is worth it.
func (o *owner) far() bool { return o.core.pos-o.at > 1000 }

// save keeps a chunk.
func (o *owner) save(ctx context.Context, h *held, i int) error {
	k := &h.chunks[i]
	o.mu.Lock()
	state, has, after := h.of.Save(i), o.core.pos, k.seq
	o.mu.Unlock()
	seq, err := o.keep(ctx, h.kind.Name, i, after, encodeKept(has, state), func(part []byte) bool {
		other, _, err := decodeKept(part)
		return err != nil || other <= has
	})
	if err != nil {
		return fmt.Errorf("keep chunk %d of %s: %w", i, h.kind.Name, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	k.seq, k.size, k.dirty = seq, len(state), false
	return nil
}

func (o *owner) summarize(ctx context.Context) error {
	o.mu.Lock()
	s := o.core.summary()
	part := s.encode()
	o.mu.Unlock()
	seq, err := o.keep(ctx, summaryKind, 0, o.seq, part, func(part []byte) bool {
		other, err := decodeSummary(part)
		return err != nil || other.pos <= s.pos
	})
	if err != nil {
		return fmt.Errorf("keep the checkpoint: %w", err)
	}
	o.seq, o.at = seq, s.pos
	return nil
}

// keep keeps a part in place of the one with a sequence. Where another one stands, which
// may be of a former owner, or this one after all, it is replaced if older says that
// it may be: never a newer one.
func (o *owner) keep(ctx context.Context, kind string, i int, after uint64, part []byte, older func([]byte) bool) (uint64, error) {
	states := o.room.opts.States
	seq, err := states.SavePart(ctx, o.shard, kind, i, after, part)
	if err == nil || !errors.Is(err, ErrChanged) && !errors.Is(err, ErrUnknown) {
		return seq, err
	}
	after, other, err := states.LoadPart(ctx, o.shard, kind, i)
	if err != nil {
		return 0, err
	}
	if after > 0 && !older(other) {
		return 0, fmt.Errorf("%w: the checkpoint of a later owner is there", ErrChanged)
	}
	return states.SavePart(ctx, o.shard, kind, i, after, part)
}
