package nearby

import (
	"math/bits"
	"math/rand/v2"
)

// slots finds the slot of a user. It is a hash table with open addressing that has slots
// alone, for their entries have the users: so a million take 8 MB, and who looks one up
// waits for memory once before he comes to the entry.
type slots struct {
	cells []uint32 // a power of two of them; 0: nothing
	n     int
	seed  uint64 // so that nobody can choose users that collide
}

func newSlots() slots { return slots{cells: make([]uint32, 8), seed: rand.Uint64()} }

func (s *slots) len() int { return s.n }

// home returns where a user is looked for first.
func (s *slots) home(user int64) int {
	high, low := bits.Mul64(uint64(user)^s.seed, 0x9e3779b97f4a7c15)
	return int((high ^ low) & uint64(len(s.cells)-1))
}

// of returns the slot of a user; 0: he has none.
func (s *slots) of(w *crowd, user int64) uint32 {
	for i := s.home(user); ; i = (i + 1) & (len(s.cells) - 1) {
		if slot := s.cells[i]; slot == 0 || w.at(slot).user == user {
			return slot
		}
	}
}

// add takes in a slot whose user has none.
func (s *slots) add(w *crowd, slot uint32) {
	if s.n++; s.n > len(s.cells)/2 {
		old := s.cells
		s.cells = make([]uint32, 2*len(old))
		for _, slot := range old {
			if slot != 0 {
				s.set(w, slot)
			}
		}
	}
	s.set(w, slot)
}

func (s *slots) set(w *crowd, slot uint32) {
	i := s.home(w.at(slot).user)
	for s.cells[i] != 0 {
		i = (i + 1) & (len(s.cells) - 1)
	}
	s.cells[i] = slot
}

// remove forgets a slot that is there.
func (s *slots) remove(w *crowd, slot uint32) {
	mask := len(s.cells) - 1
	gap := s.home(w.at(slot).user)
	for s.cells[gap] != slot {
		gap = (gap + 1) & mask
	}
	// Those behind the gap that were looked for at it or before it move up.
	for i := (gap + 1) & mask; s.cells[i] != 0; i = (i + 1) & mask {
		if home := s.home(w.at(s.cells[i]).user); (i-home)&mask >= (i-gap)&mask {
			s.cells[gap], gap = s.cells[i], i
		}
	}
	s.cells[gap] = 0
	s.n--
}
