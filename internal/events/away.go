package events

import (
	"context"
	"errors"
	"time"
)

// The side of the node to which a client came whose session is at another one.

// Find returns the session that a secret opens, or ErrUnknown. Whether one at
// another node is there only its methods say.
func (x *Exchange) Find(secret string) (Session, error) {
	if node, ok := x.elsewhere(secret); ok && len(secret) == handleText+secretText {
		return &away{x: x, node: node, secret: secret}, nil
	}
	st, err := x.streams.Find(secret)
	if err != nil {
		return nil, err
	}
	return here{st}, nil
}

// Connect is that of Streams, for a client whose session may be at another node.
// When that node does not answer the client is signed in anew, as it would be when
// that node were dead.
func (x *Exchange) Connect(ctx context.Context, r Request) (Session, error) {
	handle, _, ok := parseID(r.LastEventID)
	node, far := x.elsewhere(handle)
	if !ok || !far {
		st, err := x.streams.Connect(ctx, r)
		if err != nil {
			return nil, err
		}
		return here{st}, nil
	}
	proof := r.print()
	answer, err := x.ask(ctx, node, note{kind: askBack, name: r.LastEventID, body: proof[:]})
	var over *OverError
	switch told := answer.errorOf(); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err == nil && (errors.As(told, &over) || errors.Is(told, ErrBadID)):
		return nil, told
	case err == nil && outcome(answer.number) == isDone:
		return &away{x: x, node: node, handle: handle, proof: proof[:]}, nil
	}
	st, err := x.streams.open(ctx, r, proof)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.peers[node]; p != nil { // otherwise its sessions are over by themselves
		x.send(p, note{kind: sayReplaced, name: string(st.User()), body: []byte(r.LastEventID)})
	}
	return here{st}, nil
}

// away is a session of another node.
type away struct {
	x      *Exchange
	node   string
	secret string // for a request

	handle string // for an answer of events, with the print of the credentials
	proof  []byte
	id     uint64 // of that answer
}

// Known implements Session.
func (a *away) Known(ctx context.Context) error { return a.ask(ctx, note{kind: askKnown}) }

// Ack implements Session.
func (a *away) Ack(ctx context.Context, id string) error {
	return a.ask(ctx, note{kind: askAck, body: []byte(id)})
}

// Send implements Session.
func (a *away) Send(ctx context.Context, frame []byte) error {
	return a.ask(ctx, note{kind: askFrame, body: frame})
}

// End implements Session.
func (a *away) End(ctx context.Context, code uint16) error {
	return a.ask(ctx, note{kind: askEnd, number: uint64(code)})
}

func (a *away) ask(ctx context.Context, n note) error {
	n.name = a.secret
	answer, err := a.x.ask(ctx, a.node, n)
	if err != nil {
		return err
	}
	return answer.errorOf()
}

// Attach implements Session.
func (a *away) Attach(out Out) bool {
	a.x.mu.Lock()
	defer a.x.mu.Unlock()
	p := a.x.peers[a.node]
	if p == nil || !p.up || a.x.ended {
		return false
	}
	a.x.last++
	a.id = a.x.last
	p.outs[a.id] = out
	a.x.streams.metrics.lent.Add(1)
	return a.x.send(p, note{kind: sayAttach, id: a.id, name: a.handle, body: a.proof}) // when it does not go, PeerDown ends the answer
}

// Detach implements Session.
func (a *away) Detach(out Out) {
	a.x.mu.Lock()
	if p := a.x.peers[a.node]; p != nil && p.outs[a.id] == out {
		a.x.forget(p, a.id)
		a.x.send(p, note{kind: sayGone, id: a.id})
	}
	a.x.mu.Unlock()
	out.End()
}

// write returns what writes a part of the events of a session elsewhere. mu is held.
func (x *Exchange) write(p *peer, n note) func() {
	out := p.outs[n.id]
	if out == nil {
		x.send(p, note{kind: sayGone, id: n.id})
		return nil
	}
	part := append([]byte(nil), n.body...)
	return func() {
		wrote := note{kind: sayWrote, id: n.id}
		if out.Write(part, time.Duration(n.number)*time.Millisecond) == nil {
			wrote.number = 1
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		if p.outs[n.id] == out {
			x.send(p, wrote)
		}
	}
}
