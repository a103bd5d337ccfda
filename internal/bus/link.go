package bus

import (
	"encoding/binary"
	"sync"
	"time"
)

// A packet of a link is
//
//	version  1 byte
//	kind     1 byte
//	from, to, n, done  8 bytes each, little endian; see packet
//	node     1 byte its length, the ID of the sender
//	messages each with its length before it, as a varint
const (
	packetVersion = 1
	packetHead    = 2 + 4*8 + 1
)

// arrival is a packet that came.
type arrival struct {
	packet
	node     []byte
	messages []byte
}

func parsePacket(b []byte) (a arrival, ok bool) {
	if len(b) < packetHead || b[0] != packetVersion {
		return a, false
	}
	a.kind = packetKind(b[1])
	a.from, a.to = binary.LittleEndian.Uint64(b[2:]), binary.LittleEndian.Uint64(b[10:])
	a.n, a.done = binary.LittleEndian.Uint64(b[18:]), binary.LittleEndian.Uint64(b[26:])
	rest := b[packetHead:]
	node := int(b[packetHead-1])
	if len(rest) < node || a.kind < hello || a.kind > bye {
		return a, false
	}
	a.node, a.messages = rest[:node], rest[node:]
	return a, true
}

// putHead writes what stands before the messages.
func putHead(b []byte, p packet, node string) {
	b[0], b[1] = packetVersion, byte(p.kind)
	binary.LittleEndian.PutUint64(b[2:], p.from)
	binary.LittleEndian.PutUint64(b[10:], p.to)
	binary.LittleEndian.PutUint64(b[18:], p.n)
	binary.LittleEndian.PutUint64(b[26:], p.done)
	b[packetHead-1] = byte(len(node))
	copy(b[packetHead:], node)
}

// link is the link to one node: a goroutine reads, one writes.
type link struct {
	links    *Links
	peer     string
	head     int // bytes of a packet before its messages
	arrivals chan arrival
	quit     chan struct{} // closed by leave
	wake     chan struct{} // there is something to write
	roused   chan struct{} // the conversation ended outside of read
	wg       sync.WaitGroup

	mu      sync.Mutex
	talk    talk
	open    bool // the handler has been told that it is up: messages are taken
	fell    bool // it ended, and the handler has not been told
	asleep  bool // write waits to be woken
	leaving bool

	queue  [][]byte // packets to be sent, each with room for its head
	first  int      // which of the queue is the next
	queued int      // bytes
	spare  [][]byte // empty ones
}

func newLink(l *Links, peer string) *link {
	p := &link{
		links: l, peer: peer, head: packetHead + len(l.self), arrivals: make(chan arrival, linkArrivals),
		quit: make(chan struct{}), wake: make(chan struct{}, 1), roused: make(chan struct{}, 1),
	}
	p.talk.begin(time.Now())
	return p
}

// send queues a message.
func (p *link) send(parts [][]byte) bool {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open || size > LinkMessage {
		return false
	}
	if p.queued+size > linkQueue { // counted and told: see LinkStats, Down
		p.links.overflows.Add(1)
		p.end(p.talk.begin(time.Now()))
		return false
	}
	n := len(p.queue) - 1
	if n < p.first || len(p.queue[n])+size > linkPacket {
		p.queue = append(p.queue, p.empty(size))
		p.queued += p.head
		n++
	}
	b := binary.AppendUvarint(p.queue[n], uint64(size))
	for _, part := range parts {
		b = append(b, part...)
	}
	p.queued += len(b) - len(p.queue[n])
	p.queue[n] = b
	p.links.sent.Add(1)
	p.rouse()
	return true
}

// empty returns a packet without messages, that takes one of a size. mu is held.
func (p *link) empty(size int) []byte {
	if n := len(p.spare) - 1; n >= 0 {
		b := p.spare[n]
		p.spare = p.spare[:n]
		return b
	}
	room := 4 << 10
	if len(p.queue) > p.first { // others wait already: this one will be full as well
		room = p.head + linkPacket + binary.MaxVarintLen32
	}
	return make([]byte, p.head, max(room, p.head+size+binary.MaxVarintLen32))
}

// rouse wakes write if it sleeps. mu is held.
func (p *link) rouse() {
	if p.asleep {
		p.asleep = false
		p.wake <- struct{}{} // of which there is never another
	}
}

// end does what follows when a conversation may have ended outside of read. mu is
// held.
func (p *link) end(does turn) {
	if !does.down {
		return
	}
	p.open, p.fell = false, true
	p.clear()
	p.rouse()
	select {
	case p.roused <- struct{}{}:
	default:
	}
}

// clear forgets what is queued. mu is held.
func (p *link) clear() { p.queue, p.first, p.queued = nil, 0, 0 }

// fall ends the conversation, since what carries it is about to end, and returns the
// packet that says so to the other end; nil when there is none to be told.
func (p *link) fall() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	farewell := p.farewell(make([]byte, p.head))
	p.end(p.talk.begin(time.Now()))
	return farewell
}

// farewell writes a bye; nil when there is no conversation. mu is held.
func (p *link) farewell(b []byte) []byte {
	if !p.talk.up {
		return nil
	}
	putHead(b, packet{kind: bye, from: p.talk.mine, to: p.talk.theirs, n: p.talk.sent, done: p.talk.done}, p.links.self)
	return b
}

// apart says whether something may not arrive.
func (p *link) apart(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.open || now.Sub(p.talk.heard) > talkBeat+3*linkTick
}

// leave makes both goroutines end.
func (p *link) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving = true
	p.open = false
	close(p.quit)
	p.rouse()
}

// read takes what comes, and time, until the link is left.
func (p *link) read() {
	tick := time.NewTicker(linkTick)
	defer tick.Stop()
	for {
		select {
		case a := <-p.arrivals:
			p.take(a)
		case now := <-tick.C:
			p.mu.Lock()
			does := p.talk.tick(now)
			p.mu.Unlock()
			p.tell(does, nil)
		case <-p.roused:
			p.tell(turn{}, nil)
		case <-p.quit:
			p.mu.Lock()
			does := turn{down: p.talk.up}
			p.mu.Unlock()
			p.tell(does, nil)
			return
		}
	}
}

func (p *link) take(a arrival) {
	p.mu.Lock()
	does := p.talk.hear(a.packet, time.Now())
	mine := p.talk.mine
	p.mu.Unlock()
	p.tell(does, a.messages)
	p.mu.Lock()
	defer p.mu.Unlock()
	if does.deliver {
		p.talk.handled(mine)
	}
	if p.talk.say || p.first < len(p.queue) {
		p.rouse()
	}
}

// tell does in order what follows from an event.
func (p *link) tell(does turn, messages []byte) {
	p.mu.Lock()
	if does.down {
		p.links.lost.Add(1)
		p.open = false
		p.clear()
	}
	down := does.down || p.fell
	p.fell = false
	if p.talk.say {
		p.rouse()
	}
	p.mu.Unlock()
	if down {
		p.links.handler.Down(p.peer)
	}
	if does.up {
		p.links.ups.Add(1)
		p.mu.Lock()
		p.open = p.talk.up && !p.leaving
		p.mu.Unlock()
		p.links.handler.Up(p.peer)
	}
	if does.deliver {
		p.deliver(messages)
	}
}

// deliver hands over the messages of a packet.
func (p *link) deliver(b []byte) {
	p.links.packetsReceived.Add(1)
	count := uint64(0)
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			p.links.strays.Add(1) // nobody of ours writes such a packet
			break
		}
		p.links.handler.Receive(p.peer, b[n:n+int(size)])
		b = b[n+int(size):]
		count++
	}
	p.links.received.Add(count)
}

// write sends what is to be sent, until the link is left.
//
// A packet goes at once when the one before it is some time ago, and otherwise when
// linkPace is over or a packet is full: each costs several times what a message in it
// does, since the processors of two servers and of two clients take it in turn.
func (p *link) write() {
	subject := p.links.subject(p.peer)
	control := make([]byte, p.head)
	pace := time.NewTimer(time.Hour)
	defer pace.Stop()
	var sent time.Time
	for {
		if wait := linkPace - time.Since(sent); wait > 0 && p.patient() {
			pace.Reset(wait)
			select {
			case <-pace.C:
			case <-p.quit:
			}
		}
		b, last := p.next(control)
		if b == nil {
			if last {
				return
			}
			<-p.wake
			continue
		}
		sent = time.Now()
		// What does not go is missed at the other end.
		if conn := p.links.conn.Load(); conn != nil {
			_ = conn.Publish(subject, b)
		}
		if last {
			return
		}
		p.reuse(b)
	}
}

// patient says that what is to be sent may wait for more.
func (p *link) patient() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.leaving && p.first == len(p.queue)-1
}

// next returns the packet to be sent now, nil for none: then write must wait to be
// woken. last: the link is left.
func (p *link) next(control []byte) (b []byte, last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaving {
		return p.farewell(control), true
	}
	what, ok := p.talk.speak(p.first < len(p.queue), time.Now())
	if !ok {
		p.asleep = true
		return nil, false
	}
	b = control
	if what.kind == data {
		b = p.queue[p.first]
		p.queue[p.first] = nil
		p.first++
		p.queued -= len(b)
		if p.first == len(p.queue) || p.first >= 64 && 2*p.first > len(p.queue) {
			p.queue, p.first = append(p.queue[:0], p.queue[p.first:]...), 0
		}
		p.links.packetsSent.Add(1)
	}
	putHead(b, what, p.links.self)
	return b, false
}

// reuse keeps a packet that was sent, for the next messages.
func (p *link) reuse(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spare) < linkSpare && len(b) > p.head && cap(b) <= 2*linkPacket {
		p.spare = append(p.spare, b[:p.head])
	}
}
