package journal

import (
	"context"
	"encoding/binary"
	"slices"
)

// Rebuilt is what making states anew has found.
type Rebuilt struct {
	Events  int64 // that the journal holds
	Devices int64 // of which it holds something
	Changed int64 // of which the state is another one now
}

// rebuild makes all projections anew from what the journal holds, and puts them in the
// place of those that were there. What is asked meanwhile waits.
func (o *owner) rebuild(ctx context.Context) ([]byte, error) {
	var fresh *core
	var counter *counting
	done := o.retry(ctx, "make the states anew", func(ctx context.Context) error {
		counter = &counting{}
		fresh = newCore(o.shard, o.room.opts.Limits().Keep.Milliseconds(), o.room.opts.Kinds)
		fresh.kinds = append(fresh.kinds, &held{of: counter})
		defer func() { fresh.kinds = fresh.kinds[:len(fresh.kinds)-1] }()
		// Both are to know the same when they are compared.
		for after := uint64(0); ; after = fresh.pos {
			last, err := o.replay(ctx, fresh, after)
			if err == nil && last == o.last {
				return nil
			}
			if err == nil {
				err = o.catchUp(ctx)
			}
			if err != nil {
				return err
			}
		}
	})
	if !done {
		return nil, ErrNext
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.core
	for _, c := range []*core{was, fresh} {
		c.tick(o.room.now())
	}
	for i, h := range fresh.kinds {
		for j := range h.chunks {
			old := &was.kinds[i].chunks[j]
			h.chunks[j].seq, h.chunks[j].size = old.seq, old.size
			h.chunks[j].touch(fresh)
		}
	}
	// Of what the journal does not hold any more only states are forgotten.
	fresh.pos, fresh.stored, fresh.sources = max(fresh.pos, was.pos), max(fresh.stored, was.stored), was.sources
	o.core = fresh
	o.states.Store(int64(fresh.devices.count))
	b := []byte{tellDone}
	for _, n := range []int64{counter.events, int64(fresh.devices.count), differing(was.devices, fresh.devices)} {
		b = binary.AppendVarint(b, n)
	}
	return b, nil
}

func readRebuilt(b []byte) (Rebuilt, error) {
	r := reader{rest: b}
	done := Rebuilt{Events: r.int(), Devices: r.int(), Changed: r.int()}
	if !r.end() {
		return done, errRequest
	}
	return done, nil
}

// differing counts the states that are not the same in both.
func differing(a, b *devices) (n int64) {
	for c := range a.chunks {
		same := 0
		for name, of := range a.chunks[c] {
			for _, s := range of {
				if slices.Contains(b.chunks[c][name], s) {
					same++
				} else {
					n++
				}
			}
		}
		for _, of := range b.chunks[c] {
			n += int64(len(of))
		}
		n -= int64(same)
	}
	return n
}

// counting is a projection that counts.
type counting struct{ events int64 }

func (c *counting) Fold(_ uint64, events []Event, _ func(int) bool) {
	for i := range events {
		if events[i].Type != Carried {
			c.events++
		}
	}
}
func (c *counting) Load(int, []byte) error     { return nil }
func (c *counting) Save(int) []byte            { return nil }
func (c *counting) Tick(int64, func(int) bool) {}
func (c *counting) End()                       {}
