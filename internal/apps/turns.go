package apps

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// errQueueFull is what turns.take returns when too many wait already.
var errQueueFull = errors.New("too many wait")

// turns lets a limited number through at once and the others in the order in
// which they came. Who is let through gives the turn back.
type turns struct {
	mu     sync.Mutex
	limit  int       // turns at once
	taken  int       // turns that are out
	queue  list.List // of chan struct{}, closed when its turn has come
	places int       // longest queue
}

func newTurns(limit, places int) *turns {
	return &turns{limit: limit, places: places}
}

// take waits for a turn as long as ctx allows; waits is called before it waits,
// and what it returns afterwards.
func (t *turns) take(ctx context.Context, waits func() func()) error {
	t.mu.Lock()
	if t.taken < t.limit && t.queue.Len() == 0 {
		t.taken++
		t.mu.Unlock()
		return nil
	}
	if t.queue.Len() >= t.places {
		t.mu.Unlock()
		return errQueueFull
	}
	come := make(chan struct{})
	place := t.queue.PushBack(come)
	t.mu.Unlock()
	defer waits()()
	select {
	case <-come:
	case <-ctx.Done():
	}
	if ctx.Err() == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-come: // both at once: what the turn is for would be for nothing
		t.taken--
		t.next()
	default:
		t.queue.Remove(place)
	}
	return ctx.Err()
}

// give gives a turn back.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	t.next()
}

// setLimit changes how many have a turn at once. Turns that are out stay out.
func (t *turns) setLimit(limit int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = limit
	t.next()
}

// next lets those through for whom there is room. t.mu is held.
func (t *turns) next() {
	for t.taken < t.limit && t.queue.Len() > 0 {
		come := t.queue.Remove(t.queue.Front()).(chan struct{})
		t.taken++
		close(come)
	}
}
