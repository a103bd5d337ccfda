package client

import "github.com/seed-3d8c1042/switchboard/wire"

// seen remembers the last IDs that were handled.
type seen struct {
	known map[wire.ID]struct{}
	ring  []wire.ID
	next  int // where the oldest is, once the ring is full
}

func newSeen(size int) *seen {
	return &seen{known: make(map[wire.ID]struct{}), ring: make([]wire.ID, 0, min(size, 64)), next: 0}
}

func (s *seen) has(id wire.ID) bool {
	_, ok := s.known[id]
	return ok
}

// add remembers an ID that is not known yet, and forgets the oldest when there
// are more than limit.
func (s *seen) add(id wire.ID, limit int) {
	s.known[id] = struct{}{}
	if len(s.ring) < limit {
		s.ring = append(s.ring, id)
		return
	}
	delete(s.known, s.ring[s.next])
	s.ring[s.next] = id
	s.next = (s.next + 1) % limit
}
