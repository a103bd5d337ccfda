package nodetest

import (
	"fmt"
	"slices"
)

// tally is what became of one class of deliveries.
type tally struct {
	sent      int // messages times receivers
	certain   int // of those, such whose sender knows that they are stored
	arrived   int
	lost      int // certain, and not arrived
	unsent    int // arrived, and never sent
	refused   int // arrived, though its sender was told for certain that it was not accepted
	duplicate int // twice on one session; for "ack" twice at all
	again     int // once more on a later session
	reordered int
}

func (t tally) String() string {
	return fmt.Sprintf("lost %d, duplicated %d, reordered %d  (sent %d, stored for certain %d, arrived %d, again on a later session %d)",
		t.lost, t.duplicate, t.reordered, t.sent, t.certain, t.arrived, t.again)
}

// tally counts the deliveries to receivers of one kind, RELIABLE or FAST.
func (l *load) tally(kind string, fast bool) tally {
	var sum tally
	for _, book := range l.logs {
		if book.kind != kind {
			continue
		}
		for _, s := range l.senders {
			sum.stream(s, book, fast)
		}
	}
	return sum
}

// stream adds the deliveries from one sender to one receiver.
func (t *tally) stream(s *sender, book *logbook, fast bool) {
	arrived := make(map[int]bool)
	var firsts []int // in the order in which they arrived first
	for _, session := range book.sessions {
		list, repeats := unique(of(session, s.user, fast))
		t.duplicate += repeats
		apart := book.kind == "plain" || book.kind == "twin" // what is fetched, and what comes live
		if apart && !fast {
			t.reordered += splitDescents(list)
		} else {
			t.reordered += descents(list)
		}
		for _, n := range list {
			if arrived[n] {
				t.again++
				continue
			}
			arrived[n] = true
			firsts = append(firsts, n)
		}
	}
	if book.kind == "push" || book.kind == "ack" {
		t.reordered += descents(firsts)
	}
	t.arrived += len(arrived)
	for n, f := range s.fates {
		if f.fast != fast || !slices.Contains(f.to, book.user) {
			continue
		}
		t.sent++
		if f.stored {
			t.certain++
			if !arrived[n] {
				t.lost++
			}
		}
		if fast && !arrived[n] {
			t.lost++
		}
		if arrived[n] && f.refused != "" && !f.mayYetArrive {
			t.refused++
		}
		delete(arrived, n)
	}
	t.unsent += len(arrived)
}

// confirmations counts those that are missing, and those of messages that did
// not arrive.
func (l *load) confirmations() (confirmed, missing, wrong, again int) {
	for _, s := range l.senders {
		arrived := make(map[int]bool)
		for _, book := range l.logs {
			for _, session := range book.sessions {
				for _, n := range of(session, s.user, false) {
					arrived[n] = true
				}
			}
		}
		for n, f := range s.fates {
			single := !f.fast && len(f.to) == 1
			switch {
			case f.confirmed > 0 && (!single || !arrived[n]):
				wrong++
			case f.confirmed > 0:
				confirmed++
				again += f.confirmed - 1
			case single && arrived[n]:
				missing++
			}
		}
	}
	return confirmed, missing, wrong, again
}

// of returns what a session got from one sender, RELIABLE or FAST.
func of(session []arrival, from string, fast bool) []int {
	var list []int
	for _, a := range session {
		if a.from == from && a.fast == fast {
			list = append(list, a.n)
		}
	}
	return list
}

// descents counts how often a list goes down.
func descents(list []int) int {
	n := 0
	for i := 1; i < len(list); i++ {
		if list[i] < list[i-1] {
			n++
		}
	}
	return n
}

// splitDescents counts how often a list goes down that is two rising ones woven
// into each other, all of one below all of the other: what was fetched, and what
// came live. Repeats must be removed.
func splitDescents(list []int) int {
	places := make([]int, len(list))
	for i := range places {
		places[i] = i
	}
	slices.SortFunc(places, func(a, b int) int { return list[a] - list[b] })
	return max(0, descents(places)-1)
}

// unique returns the list without repeats, and how many there were.
func unique(list []int) (once []int, repeats int) {
	seen := make(map[int]bool, len(list))
	for _, n := range list {
		if seen[n] {
			repeats++
			continue
		}
		seen[n] = true
		once = append(once, n)
	}
	return once, repeats
}
