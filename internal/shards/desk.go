package shards

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// desk is one shard as this node sees it: its keeper is here, or elsewhere, or
// nowhere that is known.
type desk struct {
	office *Office
	shard  int

	// mu guards what follows. Calls to a keeper of this node are made with it held
	// for reading, so that none is under way when the keeper is taken away; what
	// changes anything, and what is said to a keeper elsewhere, so that it is said
	// in order, holds it alone. Outlets and origins are called with it held:
	// they do not call back.
	mu     sync.RWMutex
	keeper *mailbox.Keeper // nil: none here
	term   uint64          // of the last keeper that was heard of

	lines lines // over which messages come here

	guestMu sync.Mutex        // taken within mu, for a moment
	guests  map[string]uint64 // nodes whose sessions are registered with the keeper here, and their conversations

	far      *far       // the conversation with a keeper elsewhere; nil: none
	next     *successor // a later keeper, while the answers of the one before are waited for
	moving   []op       // what came since the keeper here was taken away and until its sessions are known; nil: not so
	isMoving bool
	sessions map[wire.ID]*held // of this node, while the keeper is not here
	waiting  []*request        // messages, while there is no keeper
	returned []*request        // those that the last keeper gave back: they come before

	// These are looked at without mu: by sessions that hold locks of their own, which
	// outlets and origins take.
	here atomic.Pointer[mailbox.Keeper] // keeper
	cost atomic.Int64                   // bytes of messages that wait, or are with a keeper elsewhere
}

// far is a conversation with a keeper elsewhere.
type far struct {
	node     string
	term     uint64
	conv     uint64
	last     uint64 // the number of the last request
	requests map[uint64]*request
}

// successor is a keeper that is ready to take over from one that has not said
// that it is gone.
type successor struct {
	node  string
	term  uint64
	since time.Time // zero until the next look
}

// op is one call about a session.
type op struct {
	kind    kind
	id      wire.ID
	n       uint64
	session *mailbox.Session
}

// local returns the keeper if it is here.
func (d *desk) local() *mailbox.Keeper { return d.here.Load() }

func (d *desk) served() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.keeper != nil {
		return d.keeper.Ready()
	}
	return d.far != nil
}

func (d *desk) behind() bool {
	k := d.here.Load()
	return k != nil && k.Behind() || d.cost.Load() > muchWaiting
}

// do is one call about a session.
func (d *desk) do(p op) bool {
	d.mu.RLock()
	if k := d.keeper; k != nil {
		defer d.mu.RUnlock()
		return apply(k, p)
	}
	d.mu.RUnlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.keeper != nil:
		return apply(d.keeper, p)
	case d.isMoving:
		d.moving = append(d.moving, p)
		return true
	}
	return d.note(p)
}

// apply does it at a keeper of this node.
func apply(k *mailbox.Keeper, p op) bool {
	switch p.kind {
	case kindOpen:
		k.Open(*p.session)
	case kindClose:
		k.Close(p.id)
	case kindProve:
		k.Prove(p.id, p.n)
	case kindProveEach:
		k.ProveEach(p.id, p.n)
	case kindPass:
		k.Pass(p.id, p.n)
	case kindFetch:
		return k.Fetch(p.id, int(p.n))
	}
	return true
}

// note takes it into what is known of the session, and tells a keeper elsewhere,
// if there is one. mu is held.
func (d *desk) note(p op) bool {
	if p.kind == kindOpen {
		d.sessions[p.id] = &held{mailbox.NewLedger(*p.session), p.session.Outlet}
		if d.far != nil {
			d.say(appendSession(d.begin(kindOpen), p.session))
		}
		return true
	}
	h := d.sessions[p.id]
	if h == nil {
		return true // closed a moment ago
	}
	if p.kind == kindClose {
		delete(d.sessions, p.id)
	} else if !h.note(p) {
		return false
	}
	if d.far != nil {
		d.say(appendUvarint(append(d.begin(p.kind), p.id[:]...), p.n))
	}
	return true
}

// begin begins a message in the conversation. mu is held.
func (d *desk) begin(k kind) []byte { return begin(make([]byte, 0, 128), k, d.shard, d.far.conv) }

// say sends a message to the keeper elsewhere. When the link does not take it,
// the link begins anew in a moment, and so does all of the conversation. mu is held.
func (d *desk) say(parts ...[]byte) { d.office.opts.Links.Send(d.far.node, parts...) }

// Serve makes a keeper of this node the shard's: sessions of this node are
// registered with it, and what waits is given to it. term tells it from earlier
// ones.
func (o *Office) Serve(shard int, term uint64, k *mailbox.Keeper) {
	d := o.desks[shard]
	d.mu.Lock()
	later := d.next
	d.drop(false)
	if later != nil && later.term > term {
		d.next = later // this keeper is fenced before it begins
	}
	d.keeper, d.term, d.guests = k, term, make(map[string]uint64)
	d.here.Store(k)
	for id, h := range d.sessions {
		k.Reopen(h.Held())
		delete(d.sessions, id)
	}
	k.Registered(o.opts.Self)
	d.forsake()
	waiting := d.waiting
	d.waiting = nil
	for _, r := range waiting {
		d.cost.Add(-r.cost)
		r.give(k)
	}
	d.mu.Unlock()
	o.changed()
}

// Withdraw takes the shard's keeper away from sockets and other nodes: what comes
// from now on waits for the next one. The keeper is to be ended then, and Leave
// to be called.
func (o *Office) Withdraw(shard int) {
	d := o.desks[shard]
	d.mu.Lock()
	d.keeper, d.isMoving = nil, true
	d.here.Store(nil)
	d.mu.Unlock()
	o.changed()
}

// Leave takes the sessions over from a keeper that was withdrawn and has ended,
// and tells the nodes that had sessions with it.
func (o *Office) Leave(shard int, list []mailbox.Held) {
	d := o.desks[shard]
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range list {
		d.sessions[list[i].ID] = &held{mailbox.ResumeLedger(list[i]), list[i].Outlet}
	}
	moving := d.moving
	d.moving, d.isMoving = nil, false
	d.requeue()
	for _, p := range moving {
		d.note(p)
	}
	for node, conv := range d.guests {
		o.opts.Links.Send(node, begin(nil, kindGone, shard, conv))
	}
	d.guests = nil
	if d.next != nil {
		d.term = d.next.term
		d.follow()
	}
}

// Returned takes a message back that a keeper of this node accepted and did not
// send to its log, before it ended: the next one gets it.
func (o *Office) Returned(m *mailbox.Message) {
	if origin, ok := m.Origin.(*guestOrigin); ok {
		origin.returned()
		return
	}
	d := o.desk(m.To[0])
	r := newRequest(nil, false, m)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.returned = append(d.returned, r)
	d.cost.Add(r.cost)
}

// requeue puts what was given back before what came since. mu is held.
func (d *desk) requeue() {
	d.waiting = append(d.returned, d.waiting...)
	d.returned = nil
}

func (o *Office) changed() {
	if o.opts.Changed != nil {
		o.opts.Changed()
	}
}
