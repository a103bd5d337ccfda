package journal

import (
	"math"
	"sync"
	"time"
)

const (
	// sumEvery is how often it is looked which sums are to be written.
	sumEvery = 50 * time.Millisecond
	// mostSums is how many devices are summed at once; of further ones each event is
	// written by itself.
	mostSums = 200_000
	// second is what is summed, in milliseconds.
	second    = 1000
	endOfTime = math.MaxInt64
)

// sumKey is what is summed together.
type sumKey struct {
	kind                            Type
	device, app, domain, capability string
}

// sum is what a device did since its second began.
type sum struct {
	end    int64 // of the second
	at     int64 // of the last that was added
	count  int64
	amount int64
	min    int64
	max    int64
	few    []int64 // the sizes, while they are few: most devices need no sketch
	sketch Sketch
}

// fewSizes is how many sizes are kept before a sketch takes them.
const fewSizes = 8

// sums sums bytes by device and second of the clock. An idle device's first event is
// written at once; while something comes in each second, one event a second is.
type sums struct {
	sketch func() Sketch

	mu  sync.Mutex
	of  map[sumKey]*sum
	end int64 // of the earliest second that is not over
}

// first says whether an event is to be written by itself; otherwise it is in a sum now.
func (s *sums) first(e *Event) bool {
	key := sumKey{e.Type, e.Device, e.App, e.Domain, e.Capability}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.of[key]
	if one == nil {
		if len(s.of) < mostSums && s.end != endOfTime {
			if s.of == nil {
				s.of = make(map[sumKey]*sum)
			}
			s.of[key] = &sum{end: (e.At/second + 1) * second}
			s.end = min(s.end, s.of[key].end)
		}
		return true
	}
	if one.count == 0 {
		one.min, one.max = e.Amount, e.Amount
	}
	one.count++
	one.at, one.amount = e.At, plus(one.amount, e.Amount)
	one.min, one.max = min(one.min, e.Amount), max(one.max, e.Amount)
	s.size(one, e.Amount)
	return false
}

// size takes a size into the sketch.
func (s *sums) size(one *sum, size int64) {
	switch {
	case s.sketch == nil:
		return
	case one.sketch == nil && len(one.few) < fewSizes:
		one.few = append(one.few, size)
		return
	case one.sketch == nil:
		one.sketch = s.sketch()
		for _, n := range one.few {
			one.sketch.Add(n)
		}
		one.few = one.few[:0]
	}
	one.sketch.Add(size)
}

// due returns the sums of the seconds that are over, and begins those devices anew;
// those of which nothing came are idle again. At the end of time it is the last call:
// from then on each event is written by itself.
func (s *sums) due(now int64) (list []Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now < s.end {
		return nil
	}
	next := int64(endOfTime)
	if now != endOfTime {
		next = (now/second + 1) * second
	}
	s.end = next
	for key, one := range s.of {
		if one.end > now {
			s.end = min(s.end, one.end)
			continue
		}
		if one.count > 0 {
			list = append(list, s.event(key, one))
		}
		if one.count == 0 || now == endOfTime {
			delete(s.of, key)
			continue
		}
		*one = sum{end: next, few: one.few[:0]}
	}
	return list
}

// event makes the event of a sum. The ID is given later.
func (s *sums) event(key sumKey, one *sum) Event {
	e := Event{
		At: one.at, Type: key.kind, Device: key.device, App: key.app, Domain: key.domain, Capability: key.capability,
		Amount: one.amount, Count: one.count, Min: one.min, Max: one.max,
	}
	if one.count == 1 {
		e.Count, e.Min, e.Max = 0, 0, 0
		return e
	}
	if one.sketch == nil && s.sketch != nil {
		one.sketch = s.sketch()
		for _, n := range one.few {
			one.sketch.Add(n)
		}
	}
	if one.sketch != nil {
		e.Sketch = one.sketch.Encode()
	}
	return e
}
