package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// LinkHandler is told what comes from other nodes. Calls for one peer come one at
// a time, in order, from a goroutine of that peer's own.
type LinkHandler interface {
	// Up begins a conversation: nothing that was sent before it, either way, arrives
	// any more. Send may be called from here.
	Up(peer string)
	// Down ends one: nothing arrives until the next Up.
	Down(peer string)
	// Receive brings a message, which is valid during the call.
	Receive(peer string, message []byte)
}

const (
	// LinkMessage is the largest message that Links.Send takes, in bytes.
	LinkMessage = maxPayload - 64<<10
	// linkQueue is how many bytes may wait for one peer. When there are more, the
	// peer does not keep up: the conversation ends, and both ends hear of it.
	linkQueue = 32 << 20
	// linkPacket is how large a packet of several messages grows, in bytes: the
	// server reads up to 64 KiB at once, and what is larger is copied more often.
	linkPacket = 48 << 10
	// linkPace is how soon a packet follows another, unless it is full: so much later,
	// at most, a message arrives where many go.
	linkPace = 500 * time.Microsecond
	// linkArrivals is how many packets may wait for a peer's goroutine. More than the
	// window cannot be of one conversation, so it is never full for long.
	linkArrivals = 8 * talkWindow
	// linkFarewell bounds how long an engine that ends is held up to tell the others so.
	linkFarewell = 250 * time.Millisecond
	// linkSpare is how many packets that were sent are kept for the next messages.
	linkSpare = 2
	// linkTick is how often a link looks at the clock.
	linkTick = 250 * time.Millisecond
	// linkPending bounds what the connection keeps of what came, in bytes, all peers
	// together. What does not fit is lost, and so found missing.
	linkPending = 256 << 20
)

// LinkStats count what links did, all peers together.
type LinkStats struct {
	Sent, Received               uint64 // messages
	PacketsSent, PacketsReceived uint64 // of messages
	Ups                          uint64 // conversations that began
	Lost                         uint64 // conversations that ended because of a loss, a silence, or the other end
	Overflows                    uint64 // conversations that ended because the queue was full
	Strays                       uint64 // packets that are none, or of nodes that this one does not talk to
}

// Links are the ordered links of this node to others, over NATS without JetStream:
// whatever is lost on the way, both ends hear that a new conversation begins.
// Methods may be called from any goroutine.
type Links struct {
	bus     *Bus
	self    string
	handler LinkHandler

	sent, received, packetsSent, packetsReceived, ups, lost, overflows, strays atomic.Uint64

	conn atomic.Pointer[nats.Conn] // nil while NATS is stopped

	mu     sync.RWMutex
	peers  map[string]*link
	closed bool
}

// OpenLinks begins to listen as the node self, whose ID is good for a part of a
// subject and is not used again by another process. A Bus has one Links at a time.
func (b *Bus) OpenLinks(self string, h LinkHandler) (*Links, error) {
	if !isToken(self) || h == nil {
		return nil, fmt.Errorf("bus: %q cannot be a node that has links", self)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.links != nil {
		return nil, errors.New("bus: there are links already")
	}
	e, err := b.engine()
	if err != nil {
		return nil, err
	}
	l := &Links{bus: b, self: self, handler: h, peers: make(map[string]*link)}
	if err := l.attach(context.Background(), e); err != nil {
		return nil, err
	}
	b.links = l
	return l, nil
}

// subject is where a node listens.
func (l *Links) subject(node string) string { return l.bus.layout.subject("sb.node.") + node }

// attach makes the links use an engine. Bus.mu is held.
func (l *Links) attach(ctx context.Context, e *engine) error {
	ctx, cancel := context.WithTimeout(ctx, l.bus.opts.CallTimeout)
	defer cancel()
	conn, err := e.dial(ctx, "links")
	if err != nil {
		return fmt.Errorf("open links: %w", err)
	}
	sub, err := conn.Subscribe(l.subject(l.self), l.arrive)
	if err == nil {
		err = sub.SetPendingLimits(-1, linkPending)
	}
	if err == nil {
		err = conn.FlushWithContext(ctx)
	}
	if err != nil {
		conn.Close()
		return fmt.Errorf("open links: %w", err)
	}
	l.conn.Store(conn)
	return nil
}

// detach ends their use of an engine. Bus.mu is held.
func (l *Links) detach() {
	conn := l.conn.Swap(nil)
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, p := range l.peers {
		if b := p.fall(); b != nil && conn != nil {
			_ = conn.Publish(l.subject(p.peer), b) // a courtesy, as the next
		}
	}
	if conn != nil {
		_ = conn.FlushTimeout(linkFarewell)
		conn.Close()
	}
}

// Left says whether a node has ended the conversation with a word, and begun none since:
// it stops, or has its engine started anew.
func (l *Links) Left(peer string) bool {
	l.mu.RLock()
	p := l.peers[peer]
	l.mu.RUnlock()
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.talk.left
}

// Close ends all conversations. The handler is called no more once it returns.
func (l *Links) Close() {
	l.mu.Lock()
	peers := l.peers
	l.peers, l.closed = nil, true
	l.mu.Unlock()
	for _, p := range peers {
		p.leave()
	}
	for _, p := range peers {
		p.wg.Wait()
	}
	l.bus.mu.Lock()
	defer l.bus.mu.Unlock()
	if conn := l.conn.Load(); conn != nil {
		_ = conn.Flush() // so that the byes go; they are a courtesy
	}
	l.detach()
	if l.bus.links == l {
		l.bus.links = nil
	}
}

// Stats returns what the links have done so far.
func (l *Links) Stats() LinkStats {
	return LinkStats{
		Sent: l.sent.Load(), Received: l.received.Load(),
		PacketsSent: l.packetsSent.Load(), PacketsReceived: l.packetsReceived.Load(),
		Ups: l.ups.Load(), Lost: l.lost.Load(), Overflows: l.overflows.Load(), Strays: l.strays.Load(),
	}
}

// Apart says whether there is a node from which something may not arrive: there is no
// conversation with it, or it has been silent for longer than it is when all is well,
// though not for so long that the conversation is over.
func (l *Links) Apart() bool {
	now := time.Now()
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, p := range l.peers {
		if p.apart(now) {
			return true
		}
	}
	return false
}

// Connect begins to talk to a node; one that it talks to already is no matter. Both
// nodes must.
func (l *Links) Connect(peer string) {
	if !isToken(peer) || peer == l.self {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.peers[peer] != nil {
		return
	}
	p := newLink(l, peer)
	l.peers[peer] = p
	p.wg.Go(p.read)
	p.wg.Go(p.write)
}

// Disconnect ends talking to a node that is gone for good. When it returns, the
// handler has been told if a conversation ended, and is called no more; it must
// not be called from the handler for that peer.
func (l *Links) Disconnect(peer string) {
	l.mu.Lock()
	p := l.peers[peer]
	delete(l.peers, peer)
	l.mu.Unlock()
	if p != nil {
		p.leave()
		p.wg.Wait()
	}
}

// Send sends one message: the parts, joined, which are copied. False: there is no
// conversation, or there is none any more since the queue was full. It never blocks.
func (l *Links) Send(peer string, parts ...[]byte) bool {
	l.mu.RLock()
	p := l.peers[peer]
	l.mu.RUnlock()
	return p != nil && p.send(parts)
}

// arrive takes a packet from the bus to the goroutine of its peer.
func (l *Links) arrive(m *nats.Msg) {
	a, ok := parsePacket(m.Data)
	if !ok {
		l.strays.Add(1)
		return
	}
	l.mu.RLock()
	p := l.peers[string(a.node)]
	l.mu.RUnlock()
	if p == nil {
		l.strays.Add(1)
		return
	}
	select {
	case p.arrivals <- a:
	default: // it is missed there
	}
}
