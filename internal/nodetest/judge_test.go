package nodetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// verdict is what became of one class of deliveries: RELIABLE or FAST, to one
// kind of receiver.
type verdict struct {
	Sent       int // messages times receivers
	Accepted   int // of those, such as their senders rely on
	Arrived    int
	Lost       int // accepted and not arrived; for FAST, which may be lost, not arrived
	Duplicated int // twice on one session; for "ack" twice at all
	Again      int // once more on a later session, as a client without ack must expect
	Reordered  int // for the first time, after one that the sender sent later on the same connection
	Unexpected int // never sent, not to this receiver, not what was sent, or refused for good
}

func (v verdict) String() string {
	return fmt.Sprintf("lost %d, duplicated %d, reordered %d, unexpected %d  (sent %d, accepted %d, arrived %d, again on a later session %d)",
		v.Lost, v.Duplicated, v.Reordered, v.Unexpected, v.Sent, v.Accepted, v.Arrived, v.Again)
}

// class names what a verdict is about.
type class struct {
	Fast bool
	Kind string
}

func (c class) String() string {
	if c.Fast {
		return "FAST     to " + c.Kind
	}
	return "RELIABLE to " + c.Kind
}

// violations counts what must not happen. FAST messages may be lost.
func (v verdict) violations(c class) int {
	n := v.Duplicated + v.Reordered + v.Unexpected
	if !c.Fast {
		n += v.Lost
	}
	if c.Fast || c.Kind == "ack" {
		n += v.Again // FAST messages are not kept, so nothing can come again
	}
	return n
}

// judge says what became of all messages of a history, by class.
//
// A repeat may come late: when the log fails while the server lives, the proofs
// that it did not keep are lost, and what they proved comes again, to sessions
// that have newer messages already. Only first arrivals count for the order.
func judge(h *history) map[class]verdict {
	verdicts := make(map[class]verdict)
	for _, r := range h.Receivers {
		for _, fast := range []bool{false, true} {
			c := class{fast, r.Kind}
			v := verdicts[c]
			for from, sends := range h.Sends {
				v.stream(r, from, sends, fast)
			}
			if !fast {
				v.Unexpected += unsent(r, h.Sends)
			}
			verdicts[c] = v
		}
	}
	return verdicts
}

// unsent counts what a receiver got that nobody sent.
func unsent(r *receiverLog, sends map[string][]posting) int {
	n := 0
	for _, session := range r.Sessions {
		for _, d := range session {
			if !d.Intact || d.N < 0 || d.N >= len(sends[d.From]) {
				n++
			}
		}
	}
	return n
}

// stream adds the deliveries from one sender to one receiver, RELIABLE or FAST.
func (v *verdict) stream(r *receiverLog, from string, sends []posting, fast bool) {
	arrived := make(map[int]bool)
	var firsts []int // in the order in which they arrived first
	for _, session := range r.Sessions {
		var list []int
		for _, d := range session {
			if d.From == from && d.Intact && d.N >= 0 && d.N < len(sends) && sends[d.N].Fast == fast {
				list = append(list, d.N)
			}
		}
		list, repeats := unique(list)
		v.Duplicated += repeats
		fresh := slices.DeleteFunc(slices.Clone(list), func(n int) bool { return arrived[n] })
		v.Again += len(list) - len(fresh)
		v.Reordered += disorder(fresh, sends, !fast && r.Kind == "fetch")
		for _, n := range fresh {
			arrived[n] = true
		}
		firsts = append(firsts, fresh...)
	}
	if !fast && r.Kind != "fetch" && len(r.Sessions) > 1 {
		v.Reordered += disorder(firsts, sends, false)
	}
	v.Arrived += len(arrived)
	v.compare(r.User, arrived, sends, fast)
}

// compare adds what was sent to a receiver and what of it arrived.
func (v *verdict) compare(user string, arrived map[int]bool, sends []posting, fast bool) {
	for n, s := range sends {
		if s.Fast != fast {
			continue
		}
		if !slices.Contains(s.To, user) {
			if arrived[n] {
				v.Unexpected++
			}
			continue
		}
		v.Sent++
		if s.acceptedFor(user) {
			v.Accepted++
		}
		if !arrived[n] && (s.acceptedFor(user) || fast) {
			v.Lost++
		}
		if arrived[n] && s.refusedForGood() {
			v.Unexpected++
		}
	}
}

// disorder counts how often a list goes down among messages that left on one
// connection of their sender: of two connections nobody promises which one the
// server reads first. A woven list may be two rising ones, what was fetched and
// what came live, each of which is below or above the other.
func disorder(list []int, sends []posting, woven bool) int {
	byLink := make(map[int][]int)
	for _, n := range list {
		if link := sends[n].Link; link > 0 {
			byLink[link] = append(byLink[link], n)
		}
	}
	n := 0
	for _, part := range byLink {
		if woven {
			n += splitDescents(part)
		} else {
			n += descents(part)
		}
	}
	return n
}

// wantGood prints the verdicts and fails the test if anything happened that must
// not.
func wantGood(t *testing.T, h *history) {
	t.Helper()
	h.mu.Lock()
	verdicts := judge(h)
	h.mu.Unlock()
	classes := make([]class, 0, len(verdicts))
	for c := range verdicts {
		classes = append(classes, c)
	}
	slices.SortFunc(classes, func(a, b class) int { return strings.Compare(a.String(), b.String()) })
	bad := 0
	for _, c := range classes {
		v := verdicts[c]
		t.Logf("%-17s: %s", c, v)
		n := v.violations(c)
		if c.Fast && h.waysChange {
			n -= v.Reordered
		}
		if n > 0 {
			bad++
			t.Errorf("%s: %d violations", c, n)
		}
		if !c.Fast && v.Accepted == 0 {
			t.Errorf("%s: nothing was accepted", c)
		}
	}
	if bad > 0 {
		h.dump(t)
	}
}
