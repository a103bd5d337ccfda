package shards

import (
	"sync"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// split divides a message by the shards of its receivers: a part for each shard
// that has some, nil where there is none. It returns nil for a message whose
// receivers are all in one.
func (o *Office) split(m *mailbox.Message) []*mailbox.Message {
	if len(m.To) < 2 || len(o.desks) == 1 {
		return nil
	}
	byShard := make([][]wire.UserID, len(o.desks))
	used := 0
	for _, to := range m.To {
		shard := o.ShardOf(to)
		if byShard[shard] == nil {
			used++
		}
		byShard[shard] = append(byShard[shard], to)
	}
	if used == 1 {
		return nil
	}
	j := &joint{whole: m, left: used, first: o.ShardOf(m.To[0])}
	parts := make([]*mailbox.Message, len(byShard))
	for shard, to := range byShard {
		if to == nil {
			continue
		}
		part := *m
		part.To = to
		p := &jointPart{joint: j, shard: shard, part: &part}
		part.Origin, part.Done = p, p.done
		if m.Origin == nil {
			part.Origin = nil
		}
		parts[shard] = &part
	}
	return parts
}

// joint brings the outcomes of a message's parts together: it is stored when all
// are known and some were stored, under the ID that the part of its first
// receiver has, or else the first that was stored.
type joint struct {
	whole *mailbox.Message
	first int

	mu       sync.Mutex
	left     int
	stored   bool
	id       wire.ID
	idOf     bool // id is that of the first receiver's part
	repeated bool
	fresh    bool
}

type jointPart struct {
	*joint
	shard int
	part  *mailbox.Message
}

// Stored implements mailbox.Origin.
func (p *jointPart) Stored(id wire.ID, _ []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stored || p.shard == p.first && !p.idOf {
		p.id, p.idOf = id, p.shard == p.first
	}
	p.stored = true
	if p.part.Repeated {
		p.repeated = true
	} else {
		p.fresh = true
	}
}

// Failed implements mailbox.Origin.
func (p *jointPart) Failed(e *wire.Error, reference []byte) { p.whole.Origin.Failed(e, reference) }

// done is called once for each part.
func (p *jointPart) done() {
	p.mu.Lock()
	p.left--
	last := p.left == 0
	p.mu.Unlock()
	if !last {
		return
	}
	p.whole.Repeated = p.repeated && !p.fresh
	if p.stored && p.whole.Receipt && p.whole.Origin != nil {
		p.whole.Origin.Stored(p.id, p.whole.Reference)
	}
	if p.whole.Done != nil {
		p.whole.Done()
	}
}
