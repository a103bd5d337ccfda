package journal

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// mostOfRequest and mostOfRequestBytes bound what goes to an owner at once; the
	// bytes are an estimate.
	mostOfRequest      = 1000
	mostOfRequestBytes = 200 << 10
	// drainTime is how long events that wait at a stop may take to be stored.
	drainTime = 5 * time.Second
)

// item is an event that waits, with who waits for it: nobody for what was noted.
type item struct {
	event Event
	by    *waiter
	index int // among what that waits for
}

func (i *item) size() int {
	e := &i.event
	return 160 + len(e.ID) + len(e.Device) + len(e.App) + len(e.Domain) + len(e.Capability) + 2*len(e.Sketch)
}

// waiter waits for events that were added in one call, of maybe several shards.
type waiter struct {
	mu   sync.Mutex
	left int
	err  error // the first
	not  []int // which were not stored since others have their IDs
	done chan struct{}
}

func newWaiter(events int) *waiter { return &waiter{left: events, done: make(chan struct{})} }

// conflict says that an event was not stored since another one has its ID.
func (w *waiter) conflict(index int) {
	w.mu.Lock()
	w.not = append(w.not, index)
	w.mu.Unlock()
	w.settle(1, nil)
}

// outcome is what became of all of them. It is asked for when done is closed.
func (w *waiter) outcome() error {
	if w.err != nil || len(w.not) == 0 {
		return w.err
	}
	slices.Sort(w.not)
	return &ConflictError{w.not}
}

// settle says what became of some of the events.
func (w *waiter) settle(n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left == 0 {
		return
	}
	if w.err == nil || errors.Is(err, ErrUnknown) { // which says the least
		w.err = err
	}
	if w.left -= n; w.left <= 0 {
		w.left = 0
		close(w.done)
	}
}

// sender is this node's way to one shard's owner: one request at a time, while what
// comes meanwhile makes the next one.
type sender struct {
	room   *Room
	shard  int
	number uint64 // of the last request; run's own
	wake   chan struct{}

	mu    sync.Mutex
	queue []item
}

// put adds items to the queue, for which the room has made room.
func (s *sender) put(items ...item) {
	s.mu.Lock()
	s.queue = append(s.queue, items...)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns what goes into the next request.
func (s *sender) take() []item {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, bytes := 0, 0
	for n < len(s.queue) && n < mostOfRequest && bytes < mostOfRequestBytes {
		bytes += s.queue[n].size()
		n++
	}
	list := s.queue[:n:n]
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue = nil
	}
	return list
}

// run sends until ctx ends, and then what is left, until last ends.
func (s *sender) run(ctx, last context.Context) {
	for {
		list := s.take()
		if len(list) == 0 {
			select {
			case <-s.wake:
				continue
			default:
			}
			select {
			case <-s.wake:
				continue
			case <-ctx.Done():
				if list = s.take(); len(list) == 0 {
					return
				}
			}
		}
		s.send(last, list)
	}
}

// send has items stored, and tells those who wait. What was noted is tried until ctx
// ends; what somebody waits for until it is known that it is not stored.
func (s *sender) send(ctx context.Context, list []item) {
	s.number++
	for wait := retryMin; len(list) > 0; wait = min(2*wait, retryMax) {
		v, err := s.ask(ctx, list)
		switch {
		case err == nil:
			s.settle(list, v)
			return
		case errors.Is(err, ErrUnknown) && ctx.Err() == nil:
			// The same again, under the same number: it is stored once.
		case ctx.Err() != nil:
			s.lose(list, "stop", err)
			return
		case errors.Is(err, errRequest): // of an owner of another version
			s.lose(list, "refused", err)
			return
		default:
			list = s.tell(list, err)
			s.number++ // what is left is another request
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (s *sender) ask(ctx context.Context, list []item) (v verdict, err error) {
	q := request{source: s.room.opts.Self, number: s.number, events: make([]Event, len(list))}
	for i := range list {
		q.events[i] = list[i].event
	}
	reply, err := s.room.ask(ctx, s.shard, q.encode())
	if err != nil {
		return v, err
	}
	return readVerdict(reply)
}

// settle says that all is stored, but for what was not taken.
func (s *sender) settle(list []item, v verdict) {
	here := func(at *[]int, i int) bool {
		is := len(*at) > 0 && (*at)[0] == i
		if is {
			*at = (*at)[1:]
		}
		return is
	}
	for i := range list {
		full, other := here(&v.refused, i), here(&v.conflicts, i)
		switch by := list[i].by; {
		case by == nil && full:
			s.room.metrics.lose("devices", 1)
		case by == nil: // what this program noted is there: it gives each an ID of its own
		case full:
			by.settle(1, errDevices)
		case other:
			by.conflict(list[i].index)
		default:
			by.settle(1, nil)
		}
	}
	s.room.release(len(list))
}

// tell says to those who wait that nothing is stored, and returns the rest.
func (s *sender) tell(list []item, err error) (noted []item) {
	for _, one := range list {
		if one.by == nil {
			noted = append(noted, one)
			continue
		}
		one.by.settle(1, err)
	}
	s.room.release(len(list) - len(noted))
	return noted
}

// lose gives items up.
func (s *sender) lose(list []item, why string, err error) {
	noted := s.tell(list, err)
	s.room.metrics.lose(why, len(noted))
	s.room.release(len(noted))
}
