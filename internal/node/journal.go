package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/journal"
)

// journalPart is the journal and what stands around it.
type journalPart struct {
	room     *journal.Room
	watchers atomic.Int64
	leaving  sync.Once
	ended    chan struct{} // closed when nobody is to watch any more
}

// openJournal makes the journal, and has it written until stop is called.
func (n *node) openJournal(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	n.stage.is("opening the journal")
	j := n.opts.Settings.Journal
	log, err := n.bus.Events(ctx, bus.EventLimits{Age: j.Keep, Bytes: int64(j.Bytes)})
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	parts, err := n.bus.Parts(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the checkpoints of the journal: %w", err)
	}
	n.journal.ended = make(chan struct{})
	owners := &aloneOwners{}
	n.journal.room, err = journal.New(journal.Options{
		Self: n.id, Owners: owners, Log: roomyLog{log, n}, States: parts, Now: time.Now, Random: rand.Reader, Logger: n.log, Metrics: n.metrics,
		Limits: func() journal.Limits {
			j := n.settings.Load().Journal
			return journal.Limits{Keep: j.Keep, Queue: j.Queue, Devices: j.Devices}
		},
	})
	if err != nil {
		return nil, err
	}
	owners.room = n.journal.room
	if err := n.journal.room.Begin(ctx, 0); err != nil {
		return nil, err
	}
	writing, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.journal.room.Run(writing) }()
	return func() {
		end()
		if err := <-done; err != nil {
			n.log.Error("the journal ended with an error", "err", err)
		}
		n.journal.room.End(0)
	}, nil
}

// letGo has those who watch the journal leave.
func (j *journalPart) letGo() { j.leaving.Do(func() { close(j.ended) }) }

// aloneOwners is how a node that is alone asks itself.
type aloneOwners struct{ room *journal.Room }

// Shards implements journal.Owners.
func (aloneOwners) Shards() int { return 1 }

// ShardOf implements journal.Owners.
func (aloneOwners) ShardOf(string) int { return 0 }

// Ask implements journal.Owners.
func (a *aloneOwners) Ask(ctx context.Context, shard int, request []byte) ([]byte, error) {
	type result struct {
		reply []byte
		err   error
	}
	answers := make(chan result, 1)
	a.room.Serve(shard, request, func(reply []byte, err error) { answers <- result{reply, err} })
	select {
	case r := <-answers:
		return r.reply, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", journal.ErrUnknown, context.Cause(ctx))
	}
}

// roomyLog is the journal's log as long as there is room on the disk.
type roomyLog struct {
	*bus.Events
	node *node
}

// Append implements journal.Log.
func (l roomyLog) Append(ctx context.Context, shard int, last uint64, head string, batch []byte) (uint64, error) {
	free, err := l.node.bus.Free()
	if err != nil {
		return 0, err
	}
	if least := uint64(l.node.limits().MinDiskFree); free < least {
		return 0, fmt.Errorf("%w: the disk has %d bytes free, limits.minDiskFree is %d", journal.ErrFull, free, least)
	}
	return l.Events.Append(ctx, shard, last, head, batch)
}

// journalWatch is how the calls reach the journal: only so many may watch.
type journalWatch struct {
	*journal.Room
	node *node
}

// Watch implements api.Journal.
func (w journalWatch) Watch() (leave func(), ended <-chan struct{}, ok bool) {
	j := &w.node.journal
	leave = func() { j.watchers.Add(-1) }
	if j.watchers.Add(1) > int64(w.node.settings.Load().Journal.Streams) {
		leave()
		return nil, nil, false
	}
	return leave, j.ended, true
}
