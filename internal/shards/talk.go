package shards

import (
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

// Up says that a link to a node begins anew: what was said before, either way,
// will not be heard any more.
func (o *Office) Up(node string) {
	o.Down(node)
	for _, d := range o.desks {
		d.mu.RLock()
		if d.keeper != nil {
			o.opts.Links.Send(node, begin(nil, kindReady, d.shard, d.term))
		}
		d.mu.RUnlock()
	}
}

// Down says that the link to a node is broken.
func (o *Office) Down(node string) {
	for _, d := range o.desks {
		d.lost(node)
	}
}

// Died says that a node is gone for good: its sessions are closed.
func (o *Office) Died(node string) {
	for _, d := range o.desks {
		d.lost(node)
		d.mu.RLock()
		if d.keeper != nil {
			d.keeper.CloseNode(node)
		}
		d.mu.RUnlock()
	}
}

// lost ends the conversations with a node.
func (d *desk) lost(node string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dismiss(node)
	if n := d.next; n != nil && n.node == node {
		d.next = nil // it says so again when its link is back
	}
	switch {
	case d.far == nil || d.far.node != node:
	case d.next != nil:
		d.follow()
	default:
		d.drop(false)
	}
}

// Announce tells other nodes that this one keeps a shard.
func (o *Office) Announce(shard int, nodes []string) {
	d := o.desks[shard]
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.keeper == nil {
		return
	}
	for _, node := range nodes {
		o.opts.Links.Send(node, begin(nil, kindReady, shard, d.term))
	}
}

// ready is what a node says that keeps the shard.
func (d *desk) ready(node string, term uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.keeper != nil && term <= d.term, term < d.term:
		return // it does not know yet that it has lost the shard
	case d.far != nil && d.far.node == node && d.far.term == term:
		return
	}
	d.next = &successor{node: node, term: term}
	if d.keeper != nil {
		return // ours is fenced, and will be withdrawn; then we follow
	}
	d.term = term
	if d.far == nil && !d.isMoving {
		d.follow()
	}
}

// follow begins the conversation with the next keeper. mu is held.
func (d *desk) follow() {
	n := d.next
	d.drop(false)
	d.office.moves.Inc()
	d.far = &far{node: n.node, term: n.term, conv: d.office.convs.Add(1), requests: make(map[uint64]*request)}
	d.say(d.begin(kindHello))
	for _, h := range d.sessions {
		was := h.Held()
		d.say(appendHeld(d.begin(kindReopen), &was))
	}
	d.say(d.begin(kindRegistered))
	d.forsake()
	waiting := d.waiting
	d.waiting = nil
	for _, r := range waiting {
		d.send(r)
	}
}

// hear takes in what the keeper elsewhere says in the conversation.
func (d *desk) hear(node string, k kind, conv uint64, r *reader) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.far == nil || d.far.node != node || d.far.conv != conv {
		return
	}
	switch k {
	case kindGone:
		next := d.next
		d.drop(true)
		if d.next = next; next != nil {
			d.follow()
		}
	case kindOpened, kindDeliver, kindFetchDone, kindSettled, kindOver:
		d.hearSession(k, r)
	case kindStored, kindFailed, kindDone, kindReturned:
		number, i := r.uvarint(), r.uvarint()
		if r.err == nil {
			d.outcome(k, number, int(i), r)
		}
	case kindForwarded:
		d.hearForwarded(r)
	case kindAnswer:
		d.hearAnswer(r)
	}
}

// hearSession is about one session. mu is held.
func (d *desk) hearSession(k kind, r *reader) {
	h := d.sessions[r.id()]
	if h == nil {
		return // closed, and the keeper hears of it
	}
	if k == kindDeliver {
		if del := r.delivery(); r.err == nil {
			h.deliver(del)
		}
		return
	}
	n := r.uvarint()
	switch {
	case r.err != nil:
	case k == kindOpened:
		h.open(n)
	case k == kindFetchDone:
		h.fetchDone(int(n))
	case k == kindSettled:
		h.settle(n)
	case k == kindOver:
		if o, ok := h.outlet.(mailbox.Ender); ok {
			o.Gone()
		}
	}
}
