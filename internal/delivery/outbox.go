package delivery

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// knownTime is how long a new session waits at most until the other nodes know
// of it. A node that does not answer for so long is most likely frozen or dead,
// and nobody should have to wait for the seconds that it takes to be sure of that.
const knownTime = 500 * time.Millisecond

// outbox tells other nodes of the sessions of this one. Its nil value is of a
// node that is alone.
//
// Changes are numbered, and told to every node in the order of their numbers. A
// node to which one is lost begins a new conversation, in which it gets all
// sessions.
type outbox struct {
	nodes    Nodes
	after    func(time.Duration, func()) (stop func())
	timeouts prometheus.Counter

	mu      sync.Mutex // taken within the lock of a roster's shard, never around it
	up      []*peer    // with whom there is a conversation
	seq     uint64     // of the last change
	waiting []waiter   // for others to know of a change; by its number
	buf     []byte
}

// waiter waits until the other nodes know of a change.
type waiter struct {
	seq   uint64
	known chan struct{}
	stop  func() // of its timer
}

// joined tells of a new session. The caller holds the lock of its shard. The
// result is as that of Hub.Add.
func (o *outbox) joined(x Receiver) <-chan struct{} {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.up) == 0 {
		o.seq++
		return nil
	}
	o.tell(opJoin, x)
	seq, known := o.seq, make(chan struct{})
	o.waiting = append(o.waiting, waiter{seq, known, o.after(knownTime, func() { o.expire(seq) })})
	return known
}

// left tells that a session is over. The caller holds the lock of its shard.
func (o *outbox) left(x Receiver) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tell(opLeave, x)
}

// tell sends a change. The caller holds mu.
func (o *outbox) tell(op byte, x Receiver) {
	o.seq++
	if len(o.up) == 0 {
		return
	}
	b := binary.AppendUvarint(append(o.buf[:0], encoding, kindChange), o.seq)
	if b = append(b, op); op == opJoin {
		b = appendEntry(b, x)
	} else {
		b = appendName(b, x)
	}
	o.buf = b
	for _, p := range o.up {
		o.nodes.Send(p.id, b) // what is lost is made up for in the next conversation
	}
}

// begun notes that a conversation with a node begins.
func (o *outbox) begun(p *peer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(o.up, p) {
		o.up = append(o.up, p)
	}
}

// ended notes that there is no conversation with a node.
func (o *outbox) ended(p *peer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.up = slices.DeleteFunc(o.up, func(x *peer) bool { return x == p })
	o.release()
}

// told ends the list of all sessions that a node gets: it holds what there was
// to tell so far.
func (o *outbox) told(p *peer, snapshot uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := binary.AppendUvarint([]byte{encoding, kindEnd}, snapshot)
	o.nodes.Send(p.id, binary.AppendUvarint(b, o.seq))
}

// acked notes that a node knows of all changes up to one.
func (o *outbox) acked(p *peer, seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p.acked = max(p.acked, min(seq, o.seq))
	o.release()
}

// release ends the waiting for what all nodes know. The caller holds mu.
func (o *outbox) release() {
	known := o.seq
	for _, p := range o.up {
		known = min(known, p.acked)
	}
	o.releaseTo(known)
}

func (o *outbox) releaseTo(seq uint64) {
	n := 0
	for ; n < len(o.waiting) && o.waiting[n].seq <= seq; n++ {
		o.waiting[n].stop()
		close(o.waiting[n].known)
	}
	o.waiting = slices.Delete(o.waiting, 0, n)
}

// expire ends the waiting for a change, and for those before it, which have been
// waited for longer.
func (o *outbox) expire(seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := len(o.waiting)
	o.releaseTo(seq)
	o.timeouts.Add(float64(before - len(o.waiting)))
}
