package events

import (
	"context"
	"crypto/subtle"
	"net"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// The side of the node that has the session of a client that came to another one.

// question returns what answers a question of another node. mu is held.
func (x *Exchange) question(p *peer, n note) func() {
	if p.served >= servedMost || x.done {
		x.streams.metrics.handedRefused.Inc()
		x.send(p, note{kind: sayAnswer, id: n.id, number: uint64(isCrowded)})
		return nil
	}
	p.served++
	n.body = append([]byte(nil), n.body...)
	return func() {
		answer := x.answer(n)
		x.mu.Lock()
		defer x.mu.Unlock()
		p.served--
		if x.peers[p.node] == p {
			x.send(p, answer)
		}
	}
}

// answer carries a question out. Of one that was asked before, but for a frame, the
// outcome is the same.
func (x *Exchange) answer(n note) note {
	how, name := isDone, ""
	if n.kind == askBack {
		how, name = x.comesBack(n)
	} else {
		how, name = outcomeOf(x.carryOut(n))
	}
	return note{kind: sayAnswer, id: n.id, number: uint64(how), name: name}
}

// carryOut does what a client wants whose secret was sent along.
func (x *Exchange) carryOut(n note) error {
	st, err := x.streams.Find(n.name)
	if err != nil {
		return err
	}
	switch n.kind {
	case askAck:
		return st.Ack(string(n.body))
	case askFrame:
		return st.Send(x.ctx, n.body)
	case askEnd:
		st.End(uint16(n.number))
	}
	return nil
}

// comesBack answers whether a client may have the events of its session again.
func (x *Exchange) comesBack(n note) (outcome, string) {
	proof, ok := proofOf(n)
	if !ok {
		return isUnknown, ""
	}
	st, old, _, err := x.streams.back(n.name, &proof)
	switch {
	case err != nil:
		return outcomeOf(err)
	case st != nil:
		return isDone, ""
	case old != nil:
		return isOther, ""
	}
	return isUnknown, ""
}

// replaced ends a session whose client is signed in anew at another node.
func (x *Exchange) replaced(user, id string) {
	handle, n, ok := parseID(id)
	if !ok {
		return
	}
	if old := x.streams.named(handle); old != nil {
		old.replaced(wire.UserID(user), n)
	}
}

// attached returns the stream that a client of another node is to be attached to; nil
// for none.
func (x *Exchange) attached(n note) *Stream {
	st := x.streams.named(n.name)
	proof, ok := proofOf(n)
	if st == nil || !ok || subtle.ConstantTimeCompare(proof[:], st.proof[:]) == 0 {
		return nil
	}
	return st
}

// attach has the client of a session here reached through another node. mu is held.
func (x *Exchange) attach(p *peer, n note, st *Stream) func() {
	if st == nil {
		x.send(p, note{kind: sayEnd, id: n.id})
		return nil
	}
	out := &farOut{x: x, p: p, id: n.id, st: st, wrote: make(chan bool, 1), over: make(chan struct{})}
	p.hosted[n.id] = out
	return func() {
		if !st.Attach(out) {
			out.End()
		}
	}
}

// farOut is an answer of events at another node.
type farOut struct {
	x     *Exchange
	p     *peer
	id    uint64 // the other node's
	st    *Stream
	wrote chan bool // whether the part that was sent last was written
	once  sync.Once
	over  chan struct{} // closed by End

	mu    sync.Mutex
	hurry time.Time // zero: there is none
}

// Write implements Out.
func (o *farOut) Write(part []byte, patience time.Duration) error {
	o.mu.Lock()
	patience = time.Until(sooner(o.hurry, time.Now().Add(patience)))
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(o.x.ctx, patience+farPatience)
	defer cancel()
	n := note{kind: sayWrite, id: o.id, number: uint64(max(patience.Milliseconds(), 1)), body: part}
	p, err := o.x.weigh(ctx, o.p.node, &n)
	if err != nil {
		return err
	}
	if p.hosted[o.id] == o {
		o.x.send(p, n) // when it does not go, PeerDown ends the answer
	} else {
		p.flying -= noteHead + len(part)
	}
	o.x.mu.Unlock()
	select {
	case ok := <-o.wrote:
		if ok {
			return nil
		}
	case <-o.over:
	case <-ctx.Done():
	}
	return net.ErrClosed
}

// sooner returns the earlier of two times, the first of which may be zero.
func sooner(hurry, by time.Time) time.Time {
	if !hurry.IsZero() && hurry.Before(by) {
		return hurry
	}
	return by
}

// tell says whether the part that was sent last was written. It does not wait.
func (o *farOut) tell(ok bool) {
	select {
	case o.wrote <- ok:
	default: // one that nobody asked for
	}
}

// Hurry implements Out.
func (o *farOut) Hurry(by time.Time) {
	o.mu.Lock()
	o.hurry = by
	o.mu.Unlock()
	o.x.mu.Lock()
	defer o.x.mu.Unlock()
	if o.p.hosted[o.id] == o {
		o.x.send(o.p, note{kind: sayHurry, id: o.id, number: uint64(max(time.Until(by).Milliseconds(), 0))})
	}
}

// End implements Out.
func (o *farOut) End() {
	o.once.Do(func() {
		close(o.over)
		o.x.mu.Lock()
		defer o.x.mu.Unlock()
		if o.p.hosted[o.id] == o {
			delete(o.p.hosted, o.id)
			o.x.send(o.p, note{kind: sayEnd, id: o.id})
		}
	})
}
