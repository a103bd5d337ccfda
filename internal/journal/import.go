package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// importPatience is how long an import goes on without getting anywhere: some elections,
// and a node that is started anew, take less.
const importPatience = 3 * time.Minute

// Import is a copying of an archive to the owners of its devices' shards.
type Import struct {
	Archive *Archive

	most int // events in a request, about; 0: as many as others have
	done atomic.Int64
}

// Imported is what an import has brought.
type Imported struct {
	Events    int // of the archive, whichever attempt brought them
	States    int // that have something of events that are gone
	Conflicts int // events that are not there, since another one of the device has their ID
}

// Done returns how many events have been copied so far.
func (i *Import) Done() int { return int(i.done.Load()) }

// Import has all events of an archive stored as they were, and their devices' states have
// what the archive's say. It may end at any moment, and is repeated then: what is stored
// is not stored again. It waits for owners that are not there, and fails when it gets
// nowhere for long.
func (r *Room) Import(ctx context.Context, i *Import) (all Imported, err error) {
	lanes := make([]*importLane, len(r.senders))
	for shard := range lanes {
		l := &importLane{room: r, shard: shard, source: i.Archive.Source()}
		if lanes[shard] = l; err == nil {
			err = l.ask(ctx)
		}
	}
	if err != nil {
		return all, err
	}
	err = i.Archive.each(ctx, func(number uint64, events []Event) error {
		for k := range events {
			e := &events[k]
			key := e.Device
			if key == "" {
				key = i.Archive.Source()
			}
			lanes[r.opts.Owners.ShardOf(key)].put(number, e)
			if e.Type == Carried {
				all.States++
			} else {
				all.Events++
			}
		}
		i.done.Store(int64(all.Events))
		for _, l := range lanes {
			if err := l.flush(ctx, cmp.Or(i.most, mostOfRequest), mostOfRequestBytes); err != nil {
				return err
			}
		}
		return nil
	})
	for _, l := range lanes {
		if err == nil {
			err = l.flush(ctx, 1, 1)
		}
		all.Conflicts += l.conflicts
	}
	return all, err
}

// importLane carries what is for one shard.
type importLane struct {
	room    *Room
	shard   int
	source  string
	reached uint64 // what comes up to this number was brought before

	number    uint64 // of what was collected last
	list      []Event
	size      int
	conflicts int
}

// put collects an event.
func (l *importLane) put(number uint64, e *Event) {
	if number <= l.reached {
		return
	}
	l.number, l.list = number, append(l.list, *e)
	l.size += (&item{event: *e}).size()
}

// flush has the owner store what was collected, if it is so much.
func (l *importLane) flush(ctx context.Context, most, bytes int) error {
	if len(l.list) < most && l.size < bytes {
		return nil
	}
	q := request{source: l.source, number: l.number, events: l.list, imported: true}
	reply, err := l.insist(ctx, q.encode())
	if err != nil {
		return err
	}
	v, err := readVerdict(reply)
	if err != nil {
		return err
	}
	l.conflicts += len(v.conflicts)
	clear(l.list)
	l.list, l.size = l.list[:0], 0
	return nil
}

// ask finds out what was brought before.
func (l *importLane) ask(ctx context.Context) error {
	reply, err := l.insist(ctx, append([]byte{askReached}, l.source...))
	if err != nil {
		return err
	}
	p := reader{rest: reply}
	if l.reached = p.uint(); !p.end() {
		return errRequest
	}
	return nil
}

// insist asks the owner again and again until it answers. All that is asked here may be
// done twice.
func (l *importLane) insist(ctx context.Context, request []byte) ([]byte, error) {
	began := time.Now()
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		reply, err := l.room.ask(ctx, l.shard, request)
		if err == nil {
			return reply, nil
		}
		if time.Since(began) > importPatience {
			return nil, fmt.Errorf("the keeper of the journal's shard %d has taken nothing for %s: %w", l.shard, importPatience, err)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(wait):
		}
	}
}
