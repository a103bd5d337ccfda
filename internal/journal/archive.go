package journal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Archive is the journal of one shard in a store that nobody serves any more. Reading it
// changes nothing there.
type Archive struct {
	// From is the position of the first batch that counts as held: what is before is gone, as
	// far as it is anything that an import brings. A store may have a batch again that was
	// gone, so each attempt is to say the same; 0 for all.
	From uint64

	log  Log
	last uint64   // where it ends
	mark uint32   // of the log
	old  *devices // their states
}

// ReadArchive reads the states of the only shard of a store.
func ReadArchive(ctx context.Context, log Log, states Checkpoints) (*Archive, error) {
	mark, err := log.Mark(ctx)
	if err != nil {
		return nil, err
	}
	c := newCore(0, 0, nil)
	_, s, err := c.loadAll(ctx, states)
	if err != nil {
		return nil, err
	}
	last, err := c.replay(ctx, log, c.lacks(s))
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return &Archive{log: log, last: last, mark: mark, old: c.devices}, nil
}

// First returns the position of the first batch that is held, 0 for none.
func (a *Archive) First(ctx context.Context) (uint64, error) {
	list, err := a.log.Read(ctx, 0, 0, time.Time{}, 1)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return list[0].Pos, nil
}

// Source is the name under which it is imported: no other archive has it.
func (a *Archive) Source() string { return fmt.Sprintf("import-%08x", a.mark) }

// each calls f with all events, in order, and with the number of their batch, which
// rises; and then with what the states have from events that are gone, under further
// numbers. It is the same each time, as long as nothing goes from a.From on.
func (a *Archive) each(ctx context.Context, f func(number uint64, events []Event) error) error {
	held := newDevices(0)
	var events []Event
	err := a.log.Replay(ctx, 0, max(a.From, 1)-1, a.last, func(pos uint64, _ string, batch []byte) (err error) {
		if events, err = parseBatch(batch, events[:0]); err != nil {
			return fmt.Errorf("batch %d: %w", pos, err)
		}
		held.Fold(pos, events, func(int) bool { return true })
		return f(pos, events)
	})
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	number := a.last
	for c, chunk := range a.old.chunks {
		for _, device := range slices.Sorted(maps.Keys(chunk)) {
			for i := range chunk[device] {
				number++
				e, any := carried(device, &chunk[device][i], held.state(c, device, chunk[device][i].App))
				if !any {
					continue
				}
				e.ID = fmt.Sprintf("carried-%08x", a.mark)
				if err := f(number, []Event{e}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// carried returns what a state has beyond what the events say that are held, if it has
// anything.
func carried(device string, old, held *State) (e Event, any bool) {
	more := &State{}
	beyond, was := more.counts(), held.counts()
	for i, n := range old.counts() {
		*beyond[i] = max(0, *n-*was[i])
		any = any || *beyond[i] > 0
	}
	return Event{Type: Carried, Device: device, App: old.App, At: old.At, Stored: old.Stored, Before: more}, any
}
