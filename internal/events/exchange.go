package events

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// askedMost is how many requests may be under way for sessions of other nodes,
	// and servedMost how many of one other node here. What is more is refused, and
	// counted. A request may wait for its session as long as one at its own node, so
	// there are many where a few sessions have no room.
	askedMost, servedMost = 4096, 4096
	// windowMost is how many bytes of requests and events may be on their way to one
	// node: the rest waits here, so that they do not fill a link that others need. One
	// note goes in any case.
	windowMost = 4 << 20
	// farPatience is how much longer than at its own node something may take.
	farPatience = 2 * time.Second
)

// Session is one session as the calls of its client see it, here or at another
// node. Errors are those of Stream, or a *wire.Error when the node that has it did
// not answer.
type Session interface {
	// Known returns nil when the secret opens a session.
	Known(ctx context.Context) error
	// Ack takes the ID of the last event that the client has.
	Ack(ctx context.Context, id string) error
	// Send hands it a frame, which is valid and not changed any more.
	Send(ctx context.Context, frame []byte) error
	// End ends it for its client.
	End(ctx context.Context, code uint16) error
	// Attach and Detach are those of Stream.
	Attach(out Out) bool
	Detach(out Out)
}

// here is a session of this node.
type here struct{ *Stream }

// Known implements Session: it was found.
func (h here) Known(context.Context) error { return nil }

// Ack implements Session.
func (h here) Ack(_ context.Context, id string) error { return h.Stream.Ack(id) }

// End implements Session.
func (h here) End(_ context.Context, code uint16) error {
	h.Stream.End(code)
	return nil
}

// Nodes is the way to other nodes.
type Nodes interface {
	// Send sends one message, of the parts joined, which are copied. It never blocks.
	// False: there is no conversation with the node, of which PeerDown tells.
	Send(node string, parts ...[]byte) bool
}

// Exchange finds the session that a client means, at whichever node it is: the
// secret, and the IDs of its events, name the node. Requests for a session of
// another node are handed over to that one, and its events come from there.
// Methods may be called from any goroutine; those that begin with Peer must come in
// order for each node.
type Exchange struct {
	streams *Streams
	nodes   Nodes
	self    string // this node's tag

	running sync.WaitGroup  // what was begun for other nodes
	ctx     context.Context // of it
	stop    context.CancelFunc

	mu    sync.Mutex // guards what follows; nothing of a Stream is called under it
	peers map[string]*peer
	tags  map[string]string // nodes by tag
	last  uint64            // number that was given to a question, or an answer of events
	asked int               // questions under way
	ended bool              // no answer of events begins here any more
	done  bool              // nothing is begun for other nodes any more
}

// peer is another node. What is in it is guarded by Exchange.mu.
type peer struct {
	node    string
	up      bool
	changed chan struct{} // closed when it came up, is gone, or has more room
	wanted  bool          // somebody waits for that
	flying  int           // bytes that are on their way to it
	served  int           // questions of its that are under way here

	asks   map[uint64]chan note // that wait for its answer; closed when there will be none
	outs   map[uint64]Out       // answers of events here, of sessions there
	hosted map[uint64]*farOut   // answers of events there, of sessions here
}

// NewExchange returns an exchange that knows no other node yet. nodes is nil for a
// node that is alone.
func NewExchange(streams *Streams, nodes Nodes) *Exchange {
	x := &Exchange{
		streams: streams, nodes: nodes, self: streams.tag,
		peers: make(map[string]*peer), tags: make(map[string]string),
	}
	x.ctx, x.stop = context.WithCancel(context.Background())
	return x
}

// PeerJoined tells of a node that has come.
func (x *Exchange) PeerJoined(node string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.peers[node] == nil {
		x.peers[node] = &peer{node: node, changed: make(chan struct{})}
		x.tags[tag(node)] = node
	}
}

// PeerUp says that what is sent to a node arrives from now on.
func (x *Exchange) PeerUp(node string) {
	x.PeerJoined(node)
	x.interrupt(node)
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.peers[node]; p != nil {
		p.up = true
		p.signal()
	}
}

// PeerDown says that what was sent to a node, and has no answer, may be lost.
func (x *Exchange) PeerDown(node string) { x.interrupt(node) }

// PeerGone says that a node is dead: its sessions are over.
func (x *Exchange) PeerGone(node string) {
	x.interrupt(node)
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.peers[node]; p != nil {
		delete(x.peers, node)
		delete(x.tags, tag(node))
		p.signal()
	}
}

// interrupt ends all that is under way with a node. Its clients here come back, and
// so do those of this one there.
func (x *Exchange) interrupt(node string) {
	x.mu.Lock()
	p := x.peers[node]
	if p == nil {
		x.mu.Unlock()
		return
	}
	asks, outs, hosted := p.asks, p.outs, p.hosted
	p.asks, p.outs, p.hosted = make(map[uint64]chan note), make(map[uint64]Out), make(map[uint64]*farOut)
	p.up, p.flying = false, 0
	x.mu.Unlock()
	x.streams.metrics.lent.Add(-int64(len(outs)))
	for _, answer := range asks {
		close(answer)
	}
	for _, out := range outs {
		out.End()
	}
	for _, out := range hosted {
		x.run(func() { out.st.Detach(out) })
	}
}

// signal has those look again who wait for the node. Exchange.mu is held.
func (p *peer) signal() {
	close(p.changed)
	p.changed, p.wanted = make(chan struct{}), false
}

// run runs something for another node, unless all that has ended.
func (x *Exchange) run(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.done {
		x.running.Go(f)
	}
}

// Leave ends the answers of events here whose sessions are at other nodes, and
// lets none begin: this node stops, and those clients go on elsewhere.
func (x *Exchange) Leave() {
	x.mu.Lock()
	x.ended = true
	var outs []Out
	for _, p := range x.peers {
		for id, out := range p.outs {
			outs = append(outs, out)
			x.send(p, note{kind: sayGone, id: id})
		}
		x.streams.metrics.lent.Add(-int64(len(p.outs)))
		clear(p.outs)
	}
	x.mu.Unlock()
	for _, out := range outs {
		out.End()
	}
}

// Close ends what is under way for other nodes, and waits for its end.
func (x *Exchange) Close() {
	x.Leave()
	x.mu.Lock()
	x.done = true
	x.mu.Unlock()
	x.stop()
	x.running.Wait()
}

// send sends a note that does not wait for room. mu is held.
func (x *Exchange) send(p *peer, n note) bool { return x.nodes.Send(p.node, n.head(), n.body) }

// weigh waits until a note may be sent to a node, which is up then, and counts it.
// It returns with mu held, or an error and without it.
func (x *Exchange) weigh(ctx context.Context, node string, n *note) (*peer, error) {
	size := noteHead + len(n.name) + len(n.body)
	x.mu.Lock()
	for {
		p := x.peers[node]
		if p == nil {
			x.mu.Unlock()
			return nil, ErrUnknown
		}
		if p.up && (p.flying == 0 || p.flying+size <= windowMost) {
			p.flying += size
			return p, nil
		}
		changed := p.changed
		p.wanted = true
		x.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		x.mu.Lock()
	}
}

// errLost says that a node did not answer, and will not.
var errLost = errors.New("the answer of another node was lost")

// ask asks a node and returns its answer. A question that may be asked twice is
// asked again when the answer is lost.
func (x *Exchange) ask(ctx context.Context, node string, n note) (note, error) {
	m := x.streams.metrics
	x.mu.Lock()
	if x.asked >= askedMost {
		x.mu.Unlock()
		m.handedRefused.Inc()
		return note{}, errCrowded()
	}
	x.asked++
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		x.asked--
		x.mu.Unlock()
	}()
	m.handed.Inc()
	bounded, cancel := context.WithTimeout(ctx, x.streams.opts.Limits().Frame+farPatience)
	defer cancel()
	a, sent, err := x.askOnce(bounded, node, n)
	for errors.Is(err, errLost) && n.kind != askFrame {
		a, sent, err = x.askOnce(bounded, node, n)
	}
	switch {
	case err == nil || errors.Is(err, ErrUnknown):
		return a, err
	case ctx.Err() != nil:
		return note{}, ctx.Err() // the client went
	}
	m.handedRefused.Inc()
	told := &wire.Error{Kind: wire.KindGeneralError, Code: wire.CodeBusy, Reason: "the server that has this session cannot be reached at present"}
	if sent {
		told.Code, told.Reason, told.MayYetArrive = wire.CodeTimeout, "the server that has this session did not answer in time", n.kind == askFrame
	}
	return note{}, told
}

// askOnce asks a node once. sent says that the question may have arrived.
func (x *Exchange) askOnce(ctx context.Context, node string, n note) (a note, sent bool, err error) {
	p, err := x.weigh(ctx, node, &n)
	if err != nil {
		return note{}, false, err
	}
	x.last++
	n.id = x.last
	answer := make(chan note, 1)
	p.asks[n.id] = answer
	x.send(p, n) // when it does not go, PeerDown tells
	x.mu.Unlock()
	select {
	case a, ok := <-answer:
		if !ok {
			return note{}, true, errLost
		}
		return a, true, nil
	case <-ctx.Done():
		x.mu.Lock()
		delete(p.asks, n.id)
		x.mu.Unlock()
		return note{}, true, ctx.Err()
	}
}

// PeerReceive takes a message of another node, which is valid during the call.
func (x *Exchange) PeerReceive(node string, message []byte) {
	n, ok := parseNote(message)
	if !ok {
		return // of no version that is ours
	}
	var st *Stream
	if n.kind == sayAttach {
		st = x.attached(n)
	}
	x.mu.Lock()
	p := x.peers[node]
	if p == nil {
		x.mu.Unlock()
		return
	}
	if n.heavy() {
		x.send(p, note{kind: sayTaken, number: uint64(len(message))})
	}
	var then func()
	switch n.kind {
	case askKnown, askAck, askFrame, askEnd, askBack:
		then = x.question(p, n)
	case sayReplaced:
		then = func() { x.replaced(n.name, string(n.body)) }
		n.body = append([]byte(nil), n.body...)
	case sayAttach:
		then = x.attach(p, n, st)
	case sayWrote:
		if out := p.hosted[n.id]; out != nil {
			out.tell(n.number == 1)
		}
	case sayGone:
		if out := p.hosted[n.id]; out != nil {
			then = func() { out.st.Detach(out) }
		}
	case sayAnswer:
		if answer := p.asks[n.id]; answer != nil {
			delete(p.asks, n.id)
			answer <- n // there is room for one
		}
	case sayWrite:
		then = x.write(p, n)
	case sayHurry:
		if out := p.outs[n.id]; out != nil {
			out.Hurry(time.Now().Add(time.Duration(n.number) * time.Millisecond))
		}
	case sayEnd:
		if out := p.outs[n.id]; out != nil {
			x.forget(p, n.id)
			out.End()
		}
	case sayTaken:
		p.flying = max(p.flying-int(n.number), 0)
		if p.wanted {
			p.signal()
		}
	}
	if then != nil && !x.done {
		x.running.Go(then)
	}
	x.mu.Unlock()
}

// forget forgets an answer of events here. mu is held.
func (x *Exchange) forget(p *peer, id uint64) {
	delete(p.outs, id)
	x.streams.metrics.lent.Add(-1)
}

// elsewhere returns the other node that a handle, or a secret, names.
func (x *Exchange) elsewhere(handle string) (node string, ok bool) {
	if len(handle) < tagText || handle[:tagText] == x.self {
		return "", false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	node, ok = x.tags[handle[:tagText]]
	return node, ok
}

// proofOf returns the print of credentials that a note has.
func proofOf(n note) (proof [sha256.Size]byte, ok bool) {
	return proof, copy(proof[:], n.body) == len(proof)
}
