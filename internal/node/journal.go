package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/journal"
	"github.com/seed-3d8c1042/switchboard/internal/shards"
)

// journalPart is the journal and what stands around it.
type journalPart struct {
	room     *journal.Room
	watchers atomic.Int64
	leaving  sync.Once
	ended    chan struct{} // closed when nobody is to watch any more
}

// openJournal makes the journal.
func (n *node) openJournal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	n.stage.is("opening the journal")
	j := n.opts.Settings.Journal
	log, err := n.bus.Events(ctx, bus.EventLimits{Age: j.Keep, Bytes: int64(j.Bytes)})
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	parts, err := n.bus.Parts(ctx)
	if err != nil {
		return fmt.Errorf("open the checkpoints of the journal: %w", err)
	}
	n.journal.ended = make(chan struct{})
	duty := &journalDuty{}
	owners, err := n.addDuty("journal", tagJournal, duty)
	if err != nil {
		return err
	}
	if duty.traffic, err = n.buildTraffic(owners); err != nil {
		return err
	}
	n.journal.room, err = journal.New(journal.Options{
		Self: n.id, Owners: journalOwners{owners}, Still: owners.Still, Log: roomyLog{log, n}, States: parts, Now: time.Now, Random: rand.Reader, Logger: n.log, Metrics: n.metrics,
		Limits: func() journal.Limits {
			j := n.settings.Load().Journal
			return journal.Limits{Keep: j.Keep, Queue: j.Queue, Devices: j.Devices}
		},
		Kinds: []journal.Kind{duty.traffic.kind()}, Sketch: newSizes,
	})
	duty.room = n.journal.room
	return err
}

// letGo has those who watch the journal leave.
func (j *journalPart) letGo() { j.leaving.Do(func() { close(j.ended) }) }

// journalDuty is the journal as what is done for each shard.
type journalDuty struct {
	room    *journal.Room
	traffic *trafficDesk
}

// Begin implements shards.Duty.
func (d *journalDuty) Begin(ctx context.Context, shard int, _ uint64) error {
	if err := d.room.Begin(ctx, shard); err != nil {
		return err
	}
	d.traffic.begin(shard)
	return nil
}

// End implements shards.Duty.
func (d *journalDuty) End(shard int) {
	d.traffic.end(shard)
	d.room.End(shard)
}

// Serve implements shards.Duty.
func (d *journalDuty) Serve(shard int, _ string, request []byte, answer func(reply []byte, err error)) {
	if len(request) > 0 && request[0] == askTraffic {
		d.traffic.serve(d.room, shard, request[1:], answer)
		return
	}
	d.room.Serve(shard, request, func(reply []byte, err error) {
		if errors.Is(err, journal.ErrNext) {
			err = shards.ErrNext
		}
		answer(reply, err)
	})
}

// Told implements shards.Duty; nobody tells the journal anything.
func (*journalDuty) Told(string, []byte) {}

// Moved implements shards.Duty: whoever was not answered asks again.
func (*journalDuty) Moved(int, func([]byte, func([]byte, error))) {}

// Lost implements shards.Duty.
func (*journalDuty) Lost(string) {}

// journalOwners is how the journal asks those who keep its shards.
type journalOwners struct{ *shards.Owners }

// Ask implements journal.Owners.
func (o journalOwners) Ask(ctx context.Context, shard int, request []byte) ([]byte, error) {
	reply, err := o.Owners.Ask(ctx, shard, request)
	for _, known := range []struct{ theirs, ours error }{
		{shards.ErrUnknown, journal.ErrUnknown}, {shards.ErrNobody, journal.ErrNobody}, {shards.ErrCrowded, journal.ErrBusy},
	} {
		if errors.Is(err, known.theirs) {
			return nil, fmt.Errorf("%w: %w", known.ours, err)
		}
	}
	return reply, err
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
