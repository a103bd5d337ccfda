package shards

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// request is what a keeper is asked and answers: messages, a list that is
// forwarded, a question about a mailbox.
type request struct {
	messages []*mailbox.Message
	once     *mailbox.Once
	all      bool // they came together
	left     int  // how many have no outcome yet
	settled  []bool
	cost     int64

	forward *forward
	ask     *asked

	number uint64    // in the conversation
	since  time.Time // when it began to wait; zero until the next look
	unsure bool      // a keeper had it before, and nobody knows what became of it
	told   bool      // the sender of its one message has heard what became of it
}

// repeatable says whether it does no harm when another keeper is asked again.
func (r *request) repeatable() bool {
	if r.ask != nil {
		return r.ask.repeatable()
	}
	return len(r.messages) == 1 && (r.messages[0].Producer != "" || r.messages[0].Via != "")
}

func newRequest(once *mailbox.Once, all bool, list ...*mailbox.Message) *request {
	r := &request{messages: list, once: once, all: all, left: len(list)}
	for _, m := range list {
		r.cost += int64(len(m.Frame)) + 64*int64(len(m.To)) + 256
	}
	return r
}

// give gives it to a keeper of this node, who answers.
func (r *request) give(k *mailbox.Keeper) {
	switch {
	case r.forward != nil:
		k.Forward(r.forward.source, r.forward.list, r.forward.done)
	case r.ask != nil:
		r.ask.here(k)
	case r.all:
		k.AcceptAll(r.messages, r.once)
	default:
		k.Accept(r.messages[0])
	}
}

// acceptOne has a message accepted. Where the keeper is on this node, as on one that
// is alone, that needs no request.
func (d *desk) acceptOne(m *mailbox.Message) {
	if m.Line != nil {
		d.lines.enter(m)
	}
	d.mu.RLock()
	if k := d.keeper; k != nil {
		defer d.mu.RUnlock()
		k.Accept(m)
		return
	}
	d.mu.RUnlock()
	d.accept(newRequest(nil, false, m))
}

// accept has a request answered by the shard's keeper, now or when there is one.
func (d *desk) accept(r *request) {
	d.mu.RLock()
	if k := d.keeper; k != nil {
		defer d.mu.RUnlock()
		r.give(k)
		return
	}
	d.mu.RUnlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.begins() {
		d.forsake()
	}
	switch {
	case d.keeper != nil:
		r.give(d.keeper)
	case d.far != nil && d.next == nil && len(d.waiting) == 0: // else a later keeper was heard of, and lost again: what waits for it comes first
		d.cost.Add(r.cost)
		d.send(r)
	case d.cost.Load()+r.cost > maxWaiting:
		r.refuse(&wire.Error{
			Kind: wire.KindDeliverFailed, Code: wire.CodeOverloaded,
			Reason: "no node keeps the mailboxes of these users at the moment, and as much waits for one as may; try again",
		})
	default:
		d.cost.Add(r.cost)
		d.waiting = append(d.waiting, r)
	}
}

// send sends a request to the keeper elsewhere. mu is held.
func (d *desk) send(r *request) {
	f := d.far
	f.last++
	r.number, r.since = f.last, time.Time{}
	f.requests[r.number] = r
	switch {
	case r.forward != nil:
		b := appendUvarint(d.begin(kindForward), r.number)
		d.say(appendForwarded(appendBytes(b, r.forward.source), r.forward.list))
	case r.ask != nil:
		d.say(appendJSON(appendUvarint(d.begin(kindAsk), r.number), r.ask.question))
	default:
		b := make([]byte, 0, 128+len(r.messages[0].Frame))
		b = appendUvarint(begin(b, kindAccept, d.shard, f.conv), r.number)
		b = append(b, flags(r.all))
		b = appendOnce(b, r.once)
		b = appendUvarint(b, uint64(len(r.messages)))
		for _, m := range r.messages {
			b = appendMessage(b, m)
		}
		d.say(b)
	}
}

// finish takes a request out of those that are waited for, when all of it is
// answered. mu is held.
func (d *desk) finish(r *request) {
	delete(d.far.requests, r.number)
	d.cost.Add(-r.cost)
}

// outcome is what became of message i of a request.
func (d *desk) outcome(k kind, number uint64, i int, r *reader) {
	req := d.far.requests[number]
	if req == nil || i >= len(req.messages) {
		return
	}
	m := req.messages[i]
	if req.settled != nil && req.settled[i] {
		return
	}
	switch k {
	case kindStored:
		id := r.id()
		if m.Repeated = r.byte() != 0; m.Receipt && m.Origin != nil && r.err == nil {
			m.Origin.Stored(id, m.Reference)
		}
		req.told = len(req.messages) == 1
	case kindFailed:
		failure := new(wire.Error)
		if r.json(failure); r.err == nil && m.Origin != nil {
			m.Origin.Failed(failure, m.Reference)
		}
		req.told = len(req.messages) == 1 && !m.Group // others of a group may have it
	case kindDone:
		m.Repeated = r.byte() != 0
		d.settle(req, i)
		if m.Done != nil {
			m.Done()
		}
	case kindReturned:
		d.settle(req, i)
		d.giveBack(&request{messages: []*mailbox.Message{m}, once: req.once, all: req.all, number: number, unsure: req.unsure})
	}
}

// settle notes that message i of a request needs nothing more. mu is held.
func (d *desk) settle(r *request, i int) {
	if len(r.messages) > 1 {
		if r.settled == nil {
			r.settled = make([]bool, len(r.messages))
		}
		r.settled[i] = true
	}
	if r.left--; r.left == 0 {
		d.finish(r)
	}
}

// refuse tells whoever asked that nothing came of it.
func (r *request) refuse(e *wire.Error) {
	switch {
	case r.forward != nil:
		r.forward.done(0, e)
	case r.ask != nil:
		r.ask.answer(nil, e)
	}
	for i, m := range r.messages {
		if r.settled != nil && r.settled[i] {
			continue
		}
		if m.Origin != nil {
			failure := *e
			failure.To, failure.Group = m.To, m.Group
			m.Origin.Failed(&failure, m.Reference)
		}
		if m.Done != nil {
			m.Done()
		}
	}
}

// unknown is what the sender of a message hears when the keeper that had it is
// gone.
func unknown() *wire.Error {
	return &wire.Error{
		Kind: wire.KindDeliverFailed, Code: wire.CodeTimeout, MayYetArrive: true,
		Reason: "the node that keeps the receiver's mailbox does not answer; the message may yet arrive",
	}
}

// drop ends the conversation with a keeper elsewhere. Of what it has not answered
// nobody knows the outcome, unless it has said that it is gone: then it has
// answered all that it had taken. What it did not take, what it gave back, and what
// may be asked twice, waits for the next one, in the order in which it came: so what
// a producer sent later does not come before it. mu is held.
func (d *desk) drop(gone bool) {
	f := d.far
	d.far, d.next = nil, nil
	if f == nil {
		return
	}
	numbers := make([]uint64, 0, len(f.requests))
	for n := range f.requests {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		r := f.requests[n]
		d.cost.Add(-r.cost)
		if r.told {
			if done := r.messages[0].Done; done != nil {
				done()
			}
			continue
		}
		if gone || r.repeatable() {
			r.unsure = r.unsure || !gone
			d.giveBack(r)
			continue
		}
		r.refuse(unknown())
	}
	slices.SortStableFunc(d.returned, func(a, b *request) int { return int(int64(a.number) - int64(b.number)) })
	d.requeue()
}

// giveBack has what is left of a request wait for the next keeper. mu is held.
func (d *desk) giveBack(r *request) {
	if len(r.messages) > 0 {
		var left []*mailbox.Message
		for i, m := range r.messages {
			if r.settled == nil || !r.settled[i] {
				left = append(left, m)
			}
		}
		number, unsure := r.number, r.unsure
		r = newRequest(r.once, r.all, left...)
		r.number, r.unsure = number, unsure
	}
	r.since = time.Time{}
	d.returned = append(d.returned, r)
	d.cost.Add(r.cost)
}

// tend gives up what has waited for too long.
func (d *desk) tend(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.next; n != nil && d.keeper == nil && !d.isMoving {
		if n.since.IsZero() {
			n.since = now
		} else if now.Sub(n.since) >= courtesy {
			d.follow()
		}
	}
	d.forsake()
	late := 0
	for _, r := range d.waiting {
		if r.since.IsZero() {
			r.since = now
		} else if now.Sub(r.since) < Patience {
			break // those behind it came later
		} else {
			late++
		}
	}
	for _, r := range d.waiting[:late] {
		d.cost.Add(-r.cost)
		d.office.refused.Add(float64(len(r.messages)))
		if r.unsure {
			r.refuse(unknown())
			continue
		}
		r.refuse(&wire.Error{
			Kind: wire.KindDeliverFailed, Code: wire.CodeStoreDown,
			Reason: "no node keeps the mailboxes of these users at the moment; try again",
		})
	}
	d.waiting = slices.Delete(d.waiting, 0, late)
	if d.far == nil {
		return
	}
	for n, r := range d.far.requests {
		if r.since.IsZero() {
			r.since = now
		} else if now.Sub(r.since) >= silence {
			delete(d.far.requests, n)
			d.cost.Add(-r.cost)
			r.refuse(unknown())
		}
	}
}

// courtesy is how long the answers of a keeper are waited for when another says
// that it has the shard now.
const courtesy = 2 * time.Second

func appendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }
