package events

import (
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// keepMost is how many bytes a stream keeps: what may be on its way to a
	// session that has to be proved (128 KiB and a frame), and as much again.
	keepMost = 256 << 10
	// eventCost is what an event costs besides its frame.
	eventCost = 48
	// askBytes is after how much that has to be proved a client that says nothing
	// for a while is asked: half of what a session is sent without proof.
	askBytes = 64 << 10
	// chunkMost is how much is written at once: what a slow link has to take
	// within the time for a write.
	chunkMost = 32 << 10
)

// kept holds the events of a stream that its client has not acknowledged, and
// the pings that wait for that. It is a value that changes by its methods only;
// whoever owns it sees to it that they come one at a time.
type kept struct {
	buf    []byte  // the frames; what line breaks cost as events is not kept
	events []event // one for each
	last   uint64  // the number of the last event
	acked  uint64  // the client has all up to this number
	tried  uint64  // all up to this number may have reached some client
	sent   uint64  // all up to this number were written, to some client
	free   uint64  // none up to this number has to be proved
	pinged uint64  // the last event before the last ping
	old    uint64  // all up to this number were written before the last silence

	cursor int // events written to the client that is there
	offset int // bytes of them in buf

	pings []ping
}

type event struct {
	n    uint64
	size int
	id   wire.ID // of a RELIABLE frame; zero for others
	free bool    // nobody has to prove it
}

// ping is a ping of the session that is not answered.
type ping struct {
	number   uint64
	after    uint64 // it came after this event
	unproved bool   // see Far.Ping
}

// add keeps a frame as the next event.
func (k *kept) add(frame []byte) {
	k.last++
	k.buf = append(k.buf, frame...)
	e := event{n: k.last, size: len(frame)}
	if f, err := wire.ParseServerFrame(frame); err == nil {
		e.id, e.free = f.ID, f.ID.IsZero() && f.Reference == nil
	}
	k.events = append(k.events, e)
}

// ping notes a ping after what was added.
func (k *kept) ping(number uint64, unproved bool) {
	k.pings = append(k.pings, ping{number, k.last, unproved})
	if !unproved {
		k.free = k.last
	}
	if k.pinged == k.last && k.written() {
		k.silence()
	}
	k.pinged = k.last
}

// size is how much is kept.
func (k *kept) size() int { return len(k.buf) + eventCost*len(k.events) }

// rewind has everything written again, to another client.
func (k *kept) rewind() { k.cursor, k.offset = 0, 0 }

// written says whether the client that is there has been written everything.
func (k *kept) written() bool { return k.cursor == len(k.events) }

// unproved is how many bytes are kept that have to be proved.
func (k *kept) unproved() (bytes int) {
	for i := range k.events {
		if e := &k.events[i]; !k.forgettable(e) {
			bytes += e.size
		}
	}
	return bytes
}

// chunk appends what is to be written next, whole events, and returns the number
// of the last of them. They are at most chunkMost bytes, unless one alone is
// more. The client may acknowledge them before it is known that they were
// written, also when that failed.
func (k *kept) chunk(dst []byte, handle string) (out []byte, to uint64) {
	start, offset := len(dst), k.offset
	for _, e := range k.events[k.cursor:] {
		before := len(dst)
		dst = appendEvent(dst, handle, e.n, k.buf[offset:offset+e.size])
		if to > 0 && len(dst)-start > chunkMost {
			dst = dst[:before]
			break
		}
		offset += e.size
		to = e.n
	}
	k.tried = max(k.tried, to)
	return dst, to
}

// wrote notes that everything up to an event was written to the client that is
// there.
func (k *kept) wrote(to uint64) {
	for k.cursor < len(k.events) && k.events[k.cursor].n <= to {
		k.offset += k.events[k.cursor].size
		k.cursor++
	}
	k.sent = max(k.sent, to)
}

// answered returns the last ping that has its answer, and forgets it and those
// before; 0 for none.
func (k *kept) answered() (number uint64) {
	n := 0
	for _, p := range k.pings {
		if have := k.acked; p.after > have && (p.unproved || p.after > k.sent) {
			break
		}
		number = p.number
		n++
	}
	k.pings = k.pings[:copy(k.pings, k.pings[n:])]
	if len(k.pings) == 0 && cap(k.pings) > 4 {
		k.pings = nil
	}
	return number
}

// ack takes that the client has everything up to an event. It returns the last
// RELIABLE frame among what it did not have before; zero for none.
func (k *kept) ack(n uint64) (reliable wire.ID) {
	if n <= k.acked {
		return wire.ID{}
	}
	k.acked = n
	count, size := 0, 0
	for ; count < len(k.events) && k.events[count].n <= n; count++ {
		e := &k.events[count]
		size += e.size
		if !e.id.IsZero() {
			reliable = e.id
		}
	}
	k.events, k.buf = shortened(k.events, count), shortened(k.buf, size)
	k.cursor, k.offset = max(k.cursor-count, 0), max(k.offset-size, 0)
	return reliable
}

// shortened returns a list without its first n; an empty one keeps no memory.
func shortened[T any](list []T, n int) []T {
	if n == len(list) {
		return nil
	}
	return list[n:]
}

// find returns the number of the event that carries a RELIABLE frame; 0 for none
// that can have reached a client.
func (k *kept) find(id wire.ID) uint64 {
	i := slices.IndexFunc(k.events, func(e event) bool { return e.id == id })
	if i < 0 || id.IsZero() || k.events[i].n > k.tried {
		return 0
	}
	return k.events[i].n
}

// forgettable says whether nobody has to prove an event.
func (k *kept) forgettable(e *event) bool { return e.free || e.n <= k.free }

// forget drops events that were written to the client that is there and that
// nobody has to prove, the oldest first, until no more than so much is kept. It
// returns how many.
func (k *kept) forget(most int) (count int) {
	if k.size() <= most {
		return 0
	}
	left := k.size()
	return k.drop(func(e *event) bool {
		if left <= most {
			return false
		}
		left -= e.size + eventCost
		return true
	})
}

// silence notes that nothing came between two pings. It drops what was written
// before the silence before this one, and which nobody has to prove: the client
// has had its time for it.
func (k *kept) silence() {
	if k.old > k.acked {
		k.drop(func(e *event) bool { return e.n <= k.old })
	}
	k.old = k.last
}

// drop drops those events for which which says so, of those that were written to
// the client that is there and that nobody has to prove. It returns how many.
func (k *kept) drop(which func(*event) bool) (count int) {
	var buf []byte
	var events []event
	at, cursor, offset := 0, 0, 0
	for i, e := range k.events {
		bytes := k.buf[at : at+e.size]
		at += e.size
		if i < k.cursor && k.forgettable(&e) && which(&e) {
			count++
			continue
		}
		if i < k.cursor {
			cursor++
			offset += e.size
		}
		buf, events = append(buf, bytes...), append(events, e)
	}
	if count > 0 {
		k.buf, k.events, k.cursor, k.offset = buf, events, cursor, offset
	}
	return count
}
