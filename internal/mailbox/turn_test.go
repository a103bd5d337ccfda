package mailbox

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const turnRoad = "domain-02/a"

// bring has a connection bring message n, after the one before, and says whether it is
// taken, or was so before.
func (s *shard) bring(n int, low uint64, before Before) bool {
	m := turnMessage(n)
	m.Low, m.Before = low, before
	s.accept(s.now, m)
	refused := slices.ContainsFunc(s.effects, func(e effect) bool { return e.kind == effFailed })
	s.forgetEffects()
	return !refused
}

// turnMessage is what a neighbour has in a place: in turn for a user, for two, and for a
// link.
func turnMessage(n int) *Message {
	to := [][]wire.UserID{{"ANZ-2"}, {"ANZ-2", "ANZ-3"}, {linkUser}}[n%3]
	return &Message{From: far, To: to, Via: turnRoad, Place: turnPlace(n), ID: wire.ID{1, byte(n), byte(n >> 8)}, Frame: fmt.Appendf(nil, "%d", n)}
}

func turnPlace(n int) uint64 { return uint64(10*n + 10) }

// afterTurn is what the message behind n comes after.
func afterTurn(n int) Before {
	m := turnMessage(n)
	b := Before{Via: m.Via, Place: m.Place}
	if len(m.To) == 1 {
		b.To = m.To[0]
	}
	return b
}

// What is behind a message that was refused is refused, too, until that has come again:
// the keeper had no room for a moment, or its log was away, or it is another keeper.
func TestNothingIsTakenBehindWhatWasRefused(t *testing.T) {
	for _, c := range []struct {
		what   string
		lose   func(s *shard) // message 2, which comes third
		regain func(s *shard)
	}{
		{"the disk is full", func(s *shard) { s.full = true }, func(s *shard) { s.full = false }},
		{"the log is away", func(s *shard) { s.down = true }, func(s *shard) { s.down = false }},
		{"the keeper is killed", func(*shard) {}, (*shard).kill},
		{"the log did not answer", func(*shard) {}, func(s *shard) {
			s.journal.next()
			s.lose(ErrUnknown, true)
			s.forgetEffects()
			s.kill()
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := newShard(defaultTuning())
			for n := range 2 {
				var before Before
				if n > 0 {
					before = afterTurn(n - 1)
				}
				if !s.bring(n, 1, before) {
					t.Fatalf("message %d is refused", n)
				}
				s.store()
			}
			c.lose(s)
			s.bring(2, 1, afterTurn(1))
			c.regain(s)
			for n := 3; n < 6; n++ {
				if s.bring(n, 1, afterTurn(n-1)) {
					t.Errorf("message %d is taken, and message 2 is not", n)
				}
			}
			for n := range 6 { // the next connection
				var before Before
				if n > 0 {
					before = afterTurn(n - 1)
				}
				if !s.bring(n, 1, before) {
					t.Errorf("message %d is refused when all comes again", n)
				}
			}
			if got := s.users["ANZ-2"].waiting; got != 4 {
				t.Errorf("%d messages wait", got)
			}
		})
	}
}

// What its other end says to be stored is, also when this keeper never heard of it, or
// has forgotten it.
func TestWhatTheOtherEndKnowsHoldsUpNothing(t *testing.T) {
	s := newShard(defaultTuning())
	if !s.bring(7, turnPlace(7), afterTurn(6)) {
		t.Error("it is refused, though nothing before it comes any more")
	}
	s = newShard(defaultTuning())
	for n := range maxTaken + 10 {
		s.over(turnRoad, turnPlace(n), 0, 1, "ANZ-3")
		if n%512 == 0 {
			s.clear("ANZ-3", &Message{})
			s.store()
		}
	}
	if !s.bring(5, 1, Before{Via: turnRoad, Place: turnPlace(4)}) {
		t.Error("it is refused because what was before it had to make room for others")
	}
}

// One connection after the other brings what a neighbour has, each from the first that
// this does not know to be stored. What an old one brought may come late, and single
// messages get lost on the way to the keeper, are refused, or die with it. Whatever
// comes for the first time is the next one.
func TestWhateverBecomesOfConnectionsNothingOvertakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newShard(defaultTuning())
		type connection struct {
			next   int
			low    uint64
			before Before
		}
		taken, stored, known := 0, 0, 0 // the first so many messages
		var list []*connection
		settle := func() {
			s.store()
			stored = taken
		}
		t.Repeat(map[string]func(*rapid.T){
			"connect": func(*rapid.T) {
				list = append(list, &connection{next: known, low: turnPlace(known)})
			},
			"bring": func(t *rapid.T) {
				if len(list) == 0 {
					return
				}
				l := rapid.SampledFrom(list).Draw(t, "connection")
				for range rapid.IntRange(1, 5).Draw(t, "messages") {
					n := l.next
					came := rapid.IntRange(0, 9).Draw(t, "lost on the way") > 0 && s.bring(n, l.low, l.before)
					l.next, l.before = n+1, afterTurn(n)
					if came && n > taken {
						t.Fatalf("message %d is taken, and message %d is not", n, taken)
					}
					if came && n == taken {
						taken++
					}
				}
			},
			"full":  func(*rapid.T) { s.full = !s.full },
			"store": func(*rapid.T) { settle() },
			"learn": func(t *rapid.T) { known = rapid.IntRange(known, stored).Draw(t, "known") },
			"kill": func(*rapid.T) {
				s.kill()
				taken = stored
			},
		})
	})
}
