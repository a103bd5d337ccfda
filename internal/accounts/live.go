package accounts

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Nodes reach the other nodes.
type Nodes interface {
	// Send sends a message to a node. It returns false when it will not arrive.
	Send(node string, parts ...[]byte) bool
}

// live are the sockets of this node that rest on sessions, by whom their users are
// blocked, and the nodes that are to be told when a session ends.
type live struct {
	mu       sync.RWMutex
	held     map[int64]*present // by account
	readings uint64             // how many have begun
	due      map[int64]struct{} // of whom other nodes say that it has changed by whom they are blocked
	peers    map[string]struct{}

	wake   chan struct{} // somebody is due
	behind chan struct{} // what other nodes said may have been missed
}

// held is one socket.
type held struct {
	session wire.ID
	end     func()
	ended   bool // end was called, or will be
}

func (l *live) init() {
	l.held = make(map[int64]*present)
	l.due = make(map[int64]struct{})
	l.peers = make(map[string]struct{})
	l.wake = make(chan struct{}, 1)
	l.behind = make(chan struct{}, 1)
}

// Hold has end called, once and without a lock of its caller's, when the session of a
// token ends. It asks the store whether it has ended already: a token that was
// verified a moment ago may have been revoked since. release ends the hold; nobody
// calls end any more after it has returned, but for a call that is under way.
func (r *Room) Hold(ctx context.Context, h Holder, end func()) (release func(), err error) {
	x := &held{session: h.Session, end: end}
	number := h.Number()
	r.live.mu.Lock()
	p := r.live.held[number]
	if p == nil {
		p = &present{sockets: make(map[*held]struct{}, 1)}
		r.live.held[number] = p
	}
	p.sockets[x] = struct{}{}
	r.live.mu.Unlock()
	err = r.stands(ctx, h)
	if err == nil {
		err = r.learnShunned(ctx, number)
	}
	if err != nil {
		r.release(number, x)
		return nil, err
	}
	return func() { r.release(number, x) }, nil
}

// release forgets a socket.
func (r *Room) release(number int64, x *held) {
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	p := r.live.held[number]
	if p == nil {
		return
	}
	delete(p.sockets, x)
	if len(p.sockets) == 0 {
		delete(r.live.held, number)
		delete(r.live.due, number)
	}
}

// sockets returns how many there are.
func (r *Room) sockets() (n int) {
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	for _, p := range r.live.held {
		n += len(p.sockets)
	}
	return n
}

// ended closes what rests on some sessions of an account, on all nodes.
func (r *Room) ended(number int64, sessions ...wire.ID) {
	for _, id := range sessions {
		r.end(number, id)
		r.tell(append(binary.BigEndian.AppendUint64([]byte{saysEnded}, uint64(number)), id[:]...))
	}
}

// endedAll closes what rests on any session of an account, on all nodes.
func (r *Room) endedAll(number int64) {
	r.end(number, wire.ID{})
	r.tell(binary.BigEndian.AppendUint64([]byte{saysEndedAll}, uint64(number)))
}

// end closes what rests here on a session of an account, or on any for the zero ID.
func (r *Room) end(number int64, session wire.ID) {
	r.live.mu.Lock()
	var list []*held
	if p := r.live.held[number]; p != nil {
		for x := range p.sockets {
			if !x.ended && (session.IsZero() || x.session == session) {
				x.ended = true
				list = append(list, x)
			}
		}
	}
	r.live.mu.Unlock()
	for _, x := range list {
		r.metrics.revoked.Inc()
		x.end()
	}
}

// What nodes say to each other: a byte, the account's number in 8, and an ID, or the
// number of whoever blocks it. What two of them say of blocks may come in either order, so
// whoever hears of one asks the store.
const (
	saysEnded     = 1
	saysEndedAll  = 2
	saysBlocked   = 3
	saysUnblocked = 4
	saysBegun     = 5 // nothing: a node can be heard from now on
)

// tell tells all other nodes.
func (r *Room) tell(message []byte) {
	if r.opts.Nodes == nil {
		return
	}
	r.live.mu.Lock()
	peers := make([]string, 0, len(r.live.peers))
	for peer := range r.live.peers {
		peers = append(peers, peer)
	}
	r.live.mu.Unlock()
	for _, peer := range peers {
		r.opts.Nodes.Send(peer, message) // what does not arrive is found out when the link begins anew
	}
}

// PeerUp is told that a link with another node begins, or begins anew: what it said
// before may be lost, so the store is asked.
func (r *Room) PeerUp(peer string) {
	r.live.mu.Lock()
	r.live.peers[peer] = struct{}{}
	r.live.mu.Unlock()
	r.live.missed()
	if r.opts.Nodes != nil {
		// The other end may have heard of the beginning sooner, and asked before this one
		// could tell anything.
		r.opts.Nodes.Send(peer, binary.BigEndian.AppendUint64([]byte{saysBegun}, 0))
	}
}

// missed has the store asked.
func (l *live) missed() {
	select {
	case l.behind <- struct{}{}:
	default: // it is known already
	}
}

// PeerDown is told that a link is down.
func (r *Room) PeerDown(peer string) {
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	delete(r.live.peers, peer)
}

// PeerReceive takes what another node says.
func (r *Room) PeerReceive(_ string, message []byte) {
	if len(message) < 9 {
		return
	}
	number := int64(binary.BigEndian.Uint64(message[1:]))
	switch kind, rest := message[0], message[9:]; {
	case kind == saysBegun:
		r.live.missed()
	case kind == saysEndedAll:
		r.end(number, wire.ID{})
	case kind == saysEnded && len(rest) == len(wire.ID{}):
		r.end(number, wire.ID(rest))
	case (kind == saysBlocked || kind == saysUnblocked) && len(rest) == 8:
		r.live.changed(number)
	}
}

const (
	// recheckAgain is when the store is asked again that did not answer, and while
	// another node may be telling something in vain: what ends there is to end here
	// within a second.
	recheckAgain = 500 * time.Millisecond
	// recheckAtOnce is of how many sessions it is asked with one question.
	recheckAtOnce = 500
)

// recheck asks the store of all sessions that are held here whenever something may
// have been missed.
func (r *Room) recheck(ctx context.Context) error {
	tick := time.NewTicker(recheckAgain)
	defer tick.Stop()
	behind := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.live.behind:
			behind = true
		case <-tick.C:
			behind = behind || r.opts.Apart()
		}
		if behind {
			behind = r.recheckAll(ctx) != nil
		}
	}
}

// recheckAll closes what rests on sessions that have ended, and then learns by whom
// everybody is blocked.
func (r *Room) recheckAll(ctx context.Context) error {
	of := make(map[wire.ID]int64)
	var ids []wire.ID
	r.live.mu.Lock()
	for number, p := range r.live.held {
		for x := range p.sockets {
			if _, ok := of[x.session]; !ok {
				of[x.session] = number
				ids = append(ids, x.session)
			}
		}
	}
	r.live.mu.Unlock()
	for len(ids) > 0 {
		some := ids[:min(len(ids), recheckAtOnce)]
		ids = ids[len(some):]
		standing, err := r.opts.Store.Standing(ctx, some, r.now())
		if err != nil {
			return err
		}
		for _, id := range standing {
			delete(of, id)
		}
		for _, id := range some {
			if number, ended := of[id]; ended {
				r.end(number, id)
			}
		}
	}
	return r.relearnShunned(ctx)
}
