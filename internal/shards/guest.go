package shards

import (
	"slices"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Receive takes a message of another node; it must not be used after it returns.
// Calls for one node come one at a time, in order.
func (o *Office) Receive(node string, message []byte) {
	r := &reader{b: message}
	if r.byte() != protocol {
		return // a later version's, which says more than we understand
	}
	k, shard, conv := kind(r.byte()), r.uvarint(), r.uvarint()
	if r.err != nil || shard >= uint64(len(o.desks)) {
		o.opts.Logger.Warn("a message of another node cannot be read", "node", node, "kind", int(k))
		return
	}
	d := o.desks[shard]
	switch {
	case k == kindReady:
		d.ready(node, conv)
	case k != kindGone && k < kindOpened:
		// What is kept of it outlives the call.
		r.b = slices.Clone(r.b)
		d.host(node, k, conv, r)
	default:
		d.hear(node, k, conv, r)
	}
	if r.err != nil {
		o.opts.Logger.Warn("a message of another node cannot be read", "node", node, "kind", int(k))
	}
}

// guest is a conversation with a node that has sessions here.
type guest struct {
	d    *desk
	node string
	conv uint64
}

// say answers. When the link does not take it, the conversation is over.
func (g *guest) say(k kind, body ...[]byte) {
	var b [32]byte
	parts := append([][]byte{begin(b[:0], k, g.d.shard, g.conv)}, body...)
	g.d.office.opts.Links.Send(g.node, parts...)
}

// host does what a node with sessions asks of the keeper here.
func (d *desk) host(node string, k kind, conv uint64, r *reader) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	g := &guest{d, node, conv}
	if k == kindHello {
		d.welcome(node, conv)
		return
	}
	if d.guestOf(node) != conv {
		return // of a conversation that is over
	}
	if d.keeper == nil { // it ends; what it was not given goes to the next one
		if k == kindAccept || k == kindForward || k == kindAsk {
			g.turnAway(k, r)
		}
		return
	}
	switch keeper := d.keeper; k {
	case kindReopen:
		h := r.held()
		h.Node, h.Outlet = node, &guestOutlet{*g, h.ID}
		if r.err == nil {
			keeper.Reopen(h)
		}
	case kindRegistered:
		keeper.Registered(node)
	case kindOpen:
		s := r.session()
		s.Node, s.Outlet = node, &guestOutlet{*g, s.ID}
		if r.err == nil {
			keeper.Open(s)
		}
	case kindAccept:
		g.accept(keeper, r)
	case kindForward:
		number, source := r.uvarint(), string(r.bytes())
		list := r.forwarded()
		if r.err == nil {
			keeper.Forward(source, list, func(upTo uint64, err error) { g.forwarded(number, upTo, err) })
		}
	case kindAsk:
		g.ask(keeper, r)
	default:
		if p := (op{kind: k, id: r.id(), n: r.uvarint()}); r.err == nil && !apply(keeper, p) {
			// The session's own node lets no fetch come that is too many.
			d.office.opts.Logger.Warn("a fetch of another node's session is one too many", "node", node)
		}
	}
}

// welcome begins a conversation: the node's sessions are registered anew in what
// follows. mu is held for reading, by the one goroutine of the node's link.
func (d *desk) welcome(node string, conv uint64) {
	if d.keeper == nil {
		if !d.isMoving { // else it is told in a moment, when all are
			d.office.opts.Links.Send(node, begin(nil, kindGone, d.shard, conv))
			return
		}
	}
	d.guestMu.Lock()
	d.guests[node] = conv
	d.guestMu.Unlock()
	if d.keeper != nil {
		d.keeper.Detach(node)
	}
}

// guestOf returns the conversation with a node; 0 for none. mu is held for reading.
func (d *desk) guestOf(node string) uint64 {
	d.guestMu.Lock()
	defer d.guestMu.Unlock()
	return d.guests[node]
}

// dismiss ends the conversation with a node. mu is held for reading.
func (d *desk) dismiss(node string) {
	d.guestMu.Lock()
	defer d.guestMu.Unlock()
	delete(d.guests, node)
}

// turnAway gives messages back that come while the keeper ends.
func (g *guest) turnAway(k kind, r *reader) {
	number := r.uvarint()
	switch k {
	case kindAccept:
		r.byte()
		r.once()
		for i := range r.count() {
			g.say(kindReturned, appendUvarint(appendUvarint(nil, number), uint64(i)))
		}
	case kindForward:
		g.forwarded(number, 0, errNotTaken)
	default:
		g.say(kindAnswer, appendJSON(appendUvarint(nil, number), answer{Again: true}))
	}
}

// accept takes messages in.
func (g *guest) accept(keeper *mailbox.Keeper, r *reader) {
	number, all, once := r.uvarint(), r.byte()&1 != 0, r.once()
	list := make([]*mailbox.Message, r.count())
	for i := range list {
		m := r.message()
		origin := &guestOrigin{*g, number, i, m}
		m.Origin, m.Done = origin, origin.done
		list[i] = m
	}
	switch {
	case r.err != nil || len(list) == 0:
	case all:
		keeper.AcceptAll(list, once)
	default:
		keeper.Accept(list[0])
	}
}

// guestOrigin is the sender of a message, on another node.
type guestOrigin struct {
	guest
	number  uint64
	i       int
	message *mailbox.Message
}

func (o *guestOrigin) head() []byte { return appendUvarint(appendUvarint(nil, o.number), uint64(o.i)) }

// Stored implements mailbox.Origin.
func (o *guestOrigin) Stored(id wire.ID, _ []byte) {
	o.say(kindStored, append(append(o.head(), id[:]...), flags(o.message.Repeated)))
}

// Failed implements mailbox.Origin.
func (o *guestOrigin) Failed(e *wire.Error, _ []byte) { o.say(kindFailed, appendJSON(o.head(), e)) }

func (o *guestOrigin) done() { o.say(kindDone, append(o.head(), flags(o.message.Repeated))) }

func (o *guestOrigin) returned() { o.say(kindReturned, o.head()) }

func (g *guest) forwarded(number, upTo uint64, err error) {
	g.say(kindForwarded, append(appendUvarint(appendUvarint(nil, number), upTo), flags(err == nil)))
}

// guestOutlet is a session on another node.
type guestOutlet struct {
	guest
	id wire.ID
}

// Opened implements mailbox.Outlet.
func (o *guestOutlet) Opened(mark uint64) { o.tell(kindOpened, mark) }

// Deliver implements mailbox.Outlet.
func (o *guestOutlet) Deliver(d mailbox.Delivery) {
	var b [96]byte
	head := appendDelivery(append(begin(b[:0], kindDeliver, o.d.shard, o.conv), o.id[:]...), &d)
	o.d.office.opts.Links.Send(o.node, head, d.Frame)
}

// FetchDone implements mailbox.Outlet.
func (o *guestOutlet) FetchDone(left int) { o.tell(kindFetchDone, uint64(left)) }

// Settled implements mailbox.Outlet.
func (o *guestOutlet) Settled(n uint64) { o.tell(kindSettled, n) }

// Gone implements mailbox.Ender.
func (o *guestOutlet) Gone() { o.tell(kindOver, 0) }

func (o *guestOutlet) tell(k kind, n uint64) {
	var b [64]byte
	o.d.office.opts.Links.Send(o.node, appendUvarint(append(begin(b[:0], k, o.d.shard, o.conv), o.id[:]...), n))
}
