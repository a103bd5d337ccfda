package delivery

import (
	"sync"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// joint brings the outcomes of a message's parts together: it is stored when all
// are known and some were stored, under the ID of the part that has its first
// receiver, or else the first that was stored.
type joint struct {
	whole *Send
	first wire.UserID

	mu       sync.Mutex
	left     int
	stored   bool
	id       wire.ID
	idOf     bool // id is that of the first receiver's part
	fresh    bool // some part was not stored before
	repeated bool
}

// jointPart is the origin of a part.
type jointPart struct {
	*joint
	send *Send
	to   []wire.UserID // its real receivers
	way  *way          // nil: they live here
}

// part makes a part for some of the receivers.
func (j *joint) part(to []wire.UserID, w *way) *Send {
	c := *j.whole
	p := &jointPart{joint: j, send: &c, to: to, way: w}
	c.Origin, c.Done = p, p.done
	return &c
}

// Stored implements Origin.
func (p *jointPart) Stored(id wire.ID, _ []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := len(p.to) > 0 && p.to[0] == p.first
	if !p.stored || first && !p.idOf {
		p.id, p.idOf = id, first
	}
	p.stored = true
}

// Failed implements Origin.
func (p *jointPart) Failed(e *wire.Error, reference []byte) {
	if o := p.whole.Origin; o != nil {
		o.Failed(p.way.failure(e, p.to), reference)
	}
}

// failure returns what a keeper says of a link as it is said of those behind it.
func (w *way) failure(e *wire.Error, to []wire.UserID) *wire.Error {
	if w == nil {
		return e
	}
	c := *e
	c.To = to
	return &c
}

// done is called once for each part.
func (p *jointPart) done() {
	j := p.joint
	j.mu.Lock()
	j.repeated = j.repeated || p.send.Repeated
	j.fresh = j.fresh || !p.send.Repeated
	j.left--
	last := j.left == 0
	j.mu.Unlock()
	if !last {
		return
	}
	s := j.whole
	s.Repeated = j.repeated && !j.fresh
	if j.stored && s.Receipt && s.Origin != nil {
		s.Origin.Stored(j.id, s.Reference)
	}
	if s.Done != nil {
		s.Done()
	}
}
