package shards

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// importAgain is after what time keepers are asked again who did not take
	// something, or whose log changed while it was read.
	importAgain = 200 * time.Millisecond
	// importPatience is how long an import goes on without getting anywhere: some
	// elections, and a node that is started anew, take less.
	importPatience = 3 * time.Minute
	// importLooks is how often a log is read anew that was purged meanwhile.
	importLooks = 10
)

// Archive is where waiting messages come from: a mailbox.Archive.
type Archive interface {
	Each(ctx context.Context, shards int, shardOf func(wire.UserID) int, f func(shard int, m mailbox.Forwarded, stored bool) error) error
}

// Import is a copying of all that waits in an archive to the keepers of its
// receivers.
type Import struct {
	Source  string // see mailbox.ArchiveSource; what it brought before is not taken again
	Archive Archive
	// Log returns the log of a shard, to be read.
	Log func(ctx context.Context, shard int) (mailbox.Log, error)
	Now func() time.Time

	done atomic.Int64
}

// ErrDiffers says that what was copied is not what waits in the archive.
var ErrDiffers = errors.New("what was copied differs from what was there")

// Done returns how many messages have been copied so far, each counted for each of
// its receivers.
func (i *Import) Done() int { return int(i.done.Load()) }

// Import copies, then reads the logs of all shards, as their next keepers would, and
// compares: ErrDiffers when anything is missing, altered, there twice, or out of
// order. It may end at any moment, and is repeated then. It waits for keepers that
// are not there, and fails when it gets nowhere for long.
func (o *Office) Import(ctx context.Context, i *Import) (mailbox.Compared, error) {
	lanes, err := o.lanes(ctx, i)
	if err != nil {
		return mailbox.Compared{}, err
	}
	copied := mailbox.NewComparison()
	var carrying errgroup.Group
	stop, failed := context.WithCancel(ctx)
	defer failed()
	for _, l := range lanes {
		carrying.Go(func() error {
			err := l.run(stop)
			if err != nil {
				failed()
			}
			return err
		})
	}
	read := i.Archive.Each(stop, len(lanes), o.ShardOf, func(shard int, m mailbox.Forwarded, stored bool) error {
		if stored {
			copied.Add(&m)
		}
		return lanes[shard].put(stop, m)
	})
	for _, l := range lanes {
		if read == nil {
			read = l.flush(stop)
		}
		close(l.lists)
	}
	if err := carrying.Wait(); err != nil { // the reader was stopped by it
		return mailbox.Compared{}, err
	}
	if read != nil {
		return mailbox.Compared{}, fmt.Errorf("read what is to be copied: %w", read)
	}
	for _, l := range lanes {
		if err := l.look(ctx, copied); err != nil {
			return mailbox.Compared{}, err
		}
	}
	result := copied.Result()
	if result.Problems > 0 {
		return result, fmt.Errorf("%w: %d of %d messages are missing, altered, twice or out of order; the first: %s",
			ErrDiffers, result.Problems, result.Messages, result.First)
	}
	return result, nil
}

// lane carries what is for one shard, in order: one list is on its way while the next
// is collected.
type lane struct {
	office *Office
	desk   *desk
	i      *Import
	log    mailbox.Log
	lists  chan []mailbox.Forwarded

	list []mailbox.Forwarded // being collected
	size int

	reached uint64 // by an import that was interrupted
	first   uint64 // where the log began when this one did
}

// lanes asks how far each shard has come before.
func (o *Office) lanes(ctx context.Context, i *Import) ([]*lane, error) {
	lanes := make([]*lane, len(o.desks))
	var asking errgroup.Group
	for shard, d := range o.desks {
		l := &lane{office: o, desk: d, i: i, lists: make(chan []mailbox.Forwarded, 1)}
		lanes[shard] = l
		asking.Go(func() (err error) {
			if l.reached, err = l.forward(ctx, nil); err != nil {
				return err
			}
			err = insist(ctx, func() (err error) {
				if l.log, err = i.Log(ctx, shard); err == nil {
					l.first, _, _, err = l.log.Bounds(ctx)
				}
				return err
			})
			if err != nil {
				return fmt.Errorf("look at the log of shard %d: %w", shard, err)
			}
			return nil
		})
	}
	return lanes, asking.Wait()
}

// put collects one message.
func (l *lane) put(ctx context.Context, m mailbox.Forwarded) error {
	if m.Seq <= l.reached {
		l.i.done.Add(int64(1 + len(m.More)))
		return nil
	}
	l.list = append(l.list, m)
	l.size += len(m.Frame) + len(m.Reference) + 128 + 64*len(m.More)
	if len(l.list) < maxForward && l.size < forwardBytes {
		return nil
	}
	return l.flush(ctx)
}

// flush hands over what was collected.
func (l *lane) flush(ctx context.Context) error {
	if len(l.list) == 0 {
		return nil
	}
	select {
	case l.lists <- l.list:
		l.list, l.size = nil, 0
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *lane) run(ctx context.Context) error {
	for list := range l.lists {
		if _, err := l.forward(ctx, list); err != nil {
			return err
		}
		n := 0
		for i := range list {
			n += 1 + len(list[i].More)
		}
		l.i.done.Add(int64(n))
	}
	return nil
}

// forward has the keeper take a list, whoever that is, and returns how far it has
// come. Without a list it asks.
func (l *lane) forward(ctx context.Context, list []mailbox.Forwarded) (upTo uint64, err error) {
	type outcome struct {
		upTo uint64
		err  error
	}
	progress := time.Now()
	for {
		size := 0
		for i := range list {
			size += len(list[i].Frame) + 128
		}
		outcomes := make(chan outcome, 1)
		var once sync.Once
		done := func(upTo uint64, err error) {
			once.Do(func() { outcomes <- outcome{upTo, err} })
		}
		l.desk.accept(&request{forward: &forward{source: l.i.Source, list: list, done: done}, cost: int64(size)})
		var out outcome
		select {
		case out = <-outcomes:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		before := len(list)
		for len(list) > 0 && list[0].Seq <= out.upTo {
			list = list[1:]
		}
		switch {
		case out.err == nil && len(list) == 0:
			return out.upTo, nil
		case len(list) < before:
			progress = time.Now()
		case time.Since(progress) > importPatience:
			return 0, fmt.Errorf("the keeper of shard %d has taken nothing for %s: %w", l.desk.shard, importPatience, errors.Join(out.err, errNotTaken))
		}
		select {
		case <-time.After(importAgain):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// insist does something again and again until it succeeds: a cluster may be without a
// leader for a while.
func insist(ctx context.Context, f func() error) error {
	began := time.Now()
	for {
		err := f()
		if err == nil || time.Since(began) > importPatience {
			return err
		}
		select {
		case <-time.After(importAgain):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// look compares what the shard's log has with what was copied.
func (l *lane) look(ctx context.Context, copied *mailbox.Comparison) error {
	for attempt := 1; ; attempt++ {
		err := copied.Look(ctx, l.log, l.i.Now(), func(user wire.UserID) bool { return l.office.ShardOf(user) == l.desk.shard },
			func(first, seq uint64) bool { return first == 1 || seq > l.reached && first <= l.first })
		if err == nil {
			return nil
		}
		if attempt == importLooks || ctx.Err() != nil {
			return fmt.Errorf("read what was copied to shard %d: %w", l.desk.shard, err)
		}
		select { // a batch may have been purged while it was read
		case <-time.After(importAgain):
		case <-ctx.Done():
		}
	}
}
