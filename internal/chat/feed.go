package chat

import "time"

const (
	// gapPatience is how long a gap in what comes is waited for: the other nodes store
	// side by side, and what they tell may overtake each other.
	gapPatience = 100 * time.Millisecond
	// fillPause is how much longer it is waited for when it could not be read.
	fillPause = time.Second
	// feedHeld is how much may wait behind a gap. What is past it is read from the
	// database with the gap.
	feedHeld = 1000
)

// feed puts the news of one room into order, without gaps. It is a function of what it
// is told; the lane of the room owns it.
type feed struct {
	next    int64           // the number that comes next
	last    int64           // the highest that is known to be stored
	held    map[int64]*news // messages behind a gap
	changes []*news         // of messages that have not come
	gap     time.Duration   // when the gap began; of no meaning without one
	filling bool            // it is being read
}

// open says whether something is missing.
func (f *feed) open() bool { return f.last >= f.next }

// begin notes how far the room has come.
func (f *feed) begin(last int64) { f.next, f.last = last+1, last }

// take takes news with a number and returns what is to be told now, in order.
func (f *feed) take(n *news, now time.Duration) (ready []*news) {
	if n.kind == newsChange {
		switch {
		case n.seq < f.next:
			return []*news{n}
		case len(f.changes) < feedHeld:
			f.changes = append(f.changes, n)
		}
		f.saw(n.seq, now)
		return nil
	}
	switch {
	case n.seq < f.next: // it was read from the database meanwhile
		return nil
	case n.seq == f.next && len(f.held) == 0 && len(f.changes) == 0: // as nearly always
		f.next++
		f.last = max(f.last, n.seq)
		return []*news{n}
	case n.seq > f.next && len(f.held) >= feedHeld:
		f.saw(n.seq, now)
		return nil
	}
	if f.held == nil {
		f.held = make(map[int64]*news)
	}
	f.held[n.seq] = n
	f.saw(n.seq, now)
	return f.release(now)
}

// saw notes that there is a message, which may be missing.
func (f *feed) saw(seq int64, now time.Duration) {
	if !f.open() {
		f.gap = now
	}
	f.last = max(f.last, seq)
}

// release takes out what is in order.
func (f *feed) release(now time.Duration) (ready []*news) {
	began := f.next
	for n := f.held[f.next]; n != nil; n = f.held[f.next] {
		delete(f.held, f.next)
		ready = append(ready, n)
		f.next++
		ready = f.settle(ready)
	}
	if f.next > began {
		f.gap = now // what is still missing is another gap
	}
	return ready
}

// settle takes out the changes of messages that have come.
func (f *feed) settle(ready []*news) []*news {
	kept := f.changes[:0]
	for _, c := range f.changes {
		if c.seq < f.next {
			ready = append(ready, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(f.changes[len(kept):])
	f.changes = kept
	return ready
}

// due says whether a gap is to be read from the database now; then filled is to be
// called.
func (f *feed) due(now time.Duration) bool {
	if !f.open() || f.filling || now-f.gap < gapPatience {
		return false
	}
	f.filling = true
	return true
}

// filled takes what was read of the gap, in order, and returns what is to be told: of a
// long one only the end was read. failed: it could not be read, and is tried again.
func (f *feed) filled(list []*news, failed bool, now time.Duration) (ready []*news) {
	f.filling, f.gap = false, now
	if failed {
		f.gap = now + fillPause
		return nil
	}
	if len(list) == 0 && len(f.held) == 0 { // nothing is missing after all
		f.last = f.next - 1
	}
	for _, n := range list {
		if n.seq < f.next {
			continue
		}
		if came := f.held[n.seq]; came != nil {
			n = came // which knows whose it is
		}
		for seq := range f.held {
			if seq <= n.seq {
				delete(f.held, seq)
			}
		}
		f.next = n.seq + 1
		f.last = max(f.last, n.seq)
		ready = f.settle(append(ready, n))
	}
	return append(ready, f.release(now)...)
}
