package socket

import (
	"sync"
	"time"
)

const (
	tick       = 100 * time.Millisecond // how exact deadlines are
	wheelSlots = 512                    // a power of two; later deadlines are looked at early and put back
)

// wheel calls sessions back when a deadline of theirs may have come. It costs
// the same however many there are: a session has one timer, for the earliest of
// its deadlines, and is asked for the next one each time.
//
// Times are since the start of the server, by the monotonic clock.
type wheel struct {
	mu    sync.Mutex
	slots [wheelSlots]*timer
	at    int64 // the tick that the wheel has reached
}

// timer is a session's place on the wheel.
type timer struct {
	session    *session
	next, prev *timer
	due        int64 // tick; 0 when it is not on the wheel
}

// schedule has the timer's session checked at a time, or earlier.
func (w *wheel) schedule(t *timer, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	due := int64((at + tick - 1) / tick)
	due = min(max(due, w.at+1), w.at+wheelSlots-1)
	if t.due != 0 {
		if t.due <= due {
			return
		}
		w.unlink(t)
	}
	t.due = due
	slot := &w.slots[due%wheelSlots]
	t.next = *slot
	if t.next != nil {
		t.next.prev = t
	}
	*slot = t
}

// cancel takes the timer off the wheel.
func (w *wheel) cancel(t *timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.due != 0 {
		w.unlink(t)
	}
}

// unlink removes a timer that is on the wheel. The caller holds mu.
func (w *wheel) unlink(t *timer) {
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.slots[t.due%wheelSlots] = t.next
	}
	t.next, t.prev, t.due = nil, nil, 0
}

// advance turns the wheel to a time and appends the sessions that are due.
func (w *wheel) advance(to time.Duration, due []*session) []*session {
	w.mu.Lock()
	defer w.mu.Unlock()
	target := int64(to / tick)
	for i := max(w.at+1, target-wheelSlots+1); i <= target; i++ {
		for t := w.slots[i%wheelSlots]; t != nil; t = w.slots[i%wheelSlots] {
			due = append(due, t.session)
			w.unlink(t)
		}
	}
	w.at = max(w.at, target)
	return due
}
