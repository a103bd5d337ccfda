package chat

import "time"

// edits puts the news of one room's edits and deletions into order, by the numbers that
// the room counts them with. Of a message that was changed again before its change was
// read, the last change is told alone. It is a function of what it is told; the lane of the
// room owns it.
type edits struct {
	told    int64           // the number of the last that was told
	last    int64           // the highest that is known to be stored
	held    map[int64]*news // behind a gap
	gap     time.Duration   // when the gap began; of no meaning without one
	reading bool            // it is being read
}

// open says whether something is missing.
func (e *edits) open() bool { return e.last > e.told }

// begin notes how many there were.
func (e *edits) begin(last int64) { e.told, e.last = last, last }

// saw notes that there are so many, of which some may be missing.
func (e *edits) saw(last int64, now time.Duration) {
	if !e.open() {
		e.gap = now
	}
	e.last = max(e.last, last)
}

// take takes news of a change and returns what is to be told now, in order.
func (e *edits) take(n *news, now time.Duration) (ready []*news) {
	switch {
	case n.change <= e.told: // it was read from the database meanwhile, or what came after it
		return nil
	case n.change > e.told+1 && len(e.held) >= feedHeld:
		e.saw(n.change, now)
		return nil
	}
	if e.held == nil {
		e.held = make(map[int64]*news)
	}
	e.held[n.change] = n
	e.saw(n.change, now)
	return e.release(now)
}

// release takes out what is in order.
func (e *edits) release(now time.Duration) (ready []*news) {
	for n := e.held[e.told+1]; n != nil; n = e.held[e.told+1] {
		e.told++
		delete(e.held, e.told)
		ready = append(ready, n)
		e.gap = now // what is still missing is another gap
	}
	return ready
}

// due says whether a gap is to be read from the database now; then read is to be called.
func (e *edits) due(now time.Duration) bool {
	if !e.open() || e.reading || now-e.gap < gapPatience {
		return false
	}
	e.reading = true
	return true
}

// read takes the changes behind told that were read, in order, and returns what is to be
// told. There were as many as to when they were read, or more; those that are not in the
// list were followed by others. failed: they could not be read, and that is tried again.
func (e *edits) read(list []*news, to int64, failed bool, now time.Duration) (ready []*news) {
	e.reading, e.gap = false, now
	if failed {
		e.gap = now + fillPause
		return nil
	}
	for _, n := range list {
		if n.change <= e.told {
			continue
		}
		if came := e.held[n.change]; came != nil {
			n = came // which knows whose it is
		}
		e.told = n.change
		ready = append(ready, n)
	}
	e.told = max(e.told, to)
	e.last = max(e.last, e.told)
	for change := range e.held {
		if change <= e.told {
			delete(e.held, change)
		}
	}
	return append(ready, e.release(now)...)
}

// ahead knows of messages that were read from the database which change was their last
// then: what came before it is not told after it. It forgets them as soon as the changes
// of the room have come so far.
type ahead map[int64]int64

// follows takes what is told next, and says whether it is: an older change of a message is
// not.
func (a *ahead) follows(n *news) bool {
	switch {
	case n.kind == newsChange:
		return n.change > (*a)[n.seq]
	case n.kind == newsMessage && n.change > 0:
		if *a == nil {
			*a = make(ahead)
		}
		(*a)[n.seq] = max((*a)[n.seq], n.change)
	}
	return true
}

// settle forgets what all changes up to one are told of, and returns the last that there
// is.
func (a ahead) settle(told int64) (last int64) {
	for seq, change := range a {
		last = max(last, change)
		if change <= told {
			delete(a, seq)
		}
	}
	return last
}
