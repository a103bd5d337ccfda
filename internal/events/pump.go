package events

import (
	"slices"
	"time"
)

// pump writes to the client what there is, unless somebody does already.
func (st *Stream) pump() {
	st.mu.Lock()
	if st.pumping {
		st.mu.Unlock()
		return
	}
	st.pumping = true
	for out := st.out; out != nil && st.push(out); out = st.out {
	}
	st.pumping = false
	st.watch()
	closing := st.closing
	st.mu.Unlock()
	st.tell()
	if closing {
		st.finish()
	}
}

// push writes the next part, and returns false when there is nothing left. The
// caller holds mu, which push gives up meanwhile.
func (st *Stream) push(out Out) (more bool) {
	if !st.greet && !st.beat && st.tail == nil && st.kept.written() {
		if st.turn {
			st.leave(out)
		}
		return false
	}
	buf := st.streams.buffers.get()
	part, to, last := st.next(*buf)
	patience := st.streams.opts.Limits().Write
	st.mu.Unlock()
	err := write(out, part, patience)
	*buf = part
	st.streams.buffers.put(buf)
	st.mu.Lock()
	switch {
	case st.out != out: // another is there meanwhile, or none
		return true
	case err == nil:
		st.kept.wrote(to)
		st.signal()
		st.answer()
	}
	if (last || err != nil) && st.out == out {
		st.leave(out)
	}
	return true
}

// write writes in pieces, each of which has so long: a line break costs seven
// bytes, so whoever sends nothing else must not cut off a client that is slow.
func write(out Out, part []byte, patience time.Duration) error {
	for piece := range slices.Chunk(part, chunkMost) {
		if err := out.Write(piece, patience); err != nil {
			return err
		}
	}
	return nil
}

// answer answers the pings that have their answer. The caller holds mu, which
// answer gives up meanwhile.
func (st *Stream) answer() {
	if number := st.kept.answered(); number > 0 {
		st.mu.Unlock()
		st.pipe.Pong(number)
		st.mu.Lock()
	}
}

// next appends what is to be written next, and returns the number of its last
// event, and whether the answer ends after it. The caller holds mu.
func (st *Stream) next(part []byte) (out []byte, to uint64, last bool) {
	if st.greet {
		part = appendPreamble(part, int(st.retry))
	}
	beat := st.beat
	st.greet, st.beat = false, false
	if part, to = st.kept.chunk(part, st.handle); to > 0 {
		return part, to, false
	}
	if beat {
		part = append(part, heartbeat...)
	}
	part = append(part, st.tail...)
	last = st.tail != nil
	st.tail = nil
	return part, 0, last
}

// leave ends the answer. The caller holds mu.
func (st *Stream) leave(out Out) {
	if st.turn {
		st.streams.metrics.turns.Inc()
	}
	st.out, st.turn = nil, false
	out.End()
}
