package mailbox

import (
	"slices"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// limited is a shard in which no more than so many messages may wait in all, and do.
func limited(most int) *shard {
	s := newShard(defaultTuning())
	s.core.limits.Waiting = most
	for range most {
		s.accept(s.now, &Message{From: "ANZ-1", To: []wire.UserID{"ANZ-2"}})
	}
	return s
}

// refuses hands a message over, and says with which code it is refused, if it is.
func (s *shard) refuses(m *Message) (code string) {
	s.forgetEffects()
	s.accept(s.now, m)
	if i := slices.IndexFunc(s.effects, func(e effect) bool { return e.kind == effFailed }); i >= 0 {
		code = s.effects[i].failure.Code
	}
	return code
}

// At the limit for all mailboxes nothing is taken from users, but from other domains:
// they would wait for each other else. That has an end, too.
func TestWhatComesOverALinkHasRoomWhereUsersHaveNone(t *testing.T) {
	for most, headroom := range map[int]int{1: 64, 100: 64, 800: 100} {
		s := limited(most)
		for n := range headroom {
			if code := s.refuses(turnMessage(3 * n)); code != "" {
				t.Fatalf("with a limit of %d the %d. message over a link is refused with %s", most, n, code)
			}
			if code := s.refuses(&Message{From: "ANZ-1", To: []wire.UserID{"ANZ-2"}}); code != wire.CodeStoreFull {
				t.Fatalf("with a limit of %d and %d messages a user is answered with %q", most, s.counts.waiting, code)
			}
		}
		next := turnMessage(3 * headroom)
		if code := s.refuses(next); code != wire.CodeStoreFull || s.counts.waiting != most+headroom {
			t.Errorf("with a limit of %d the next over a link gets %q, and %d wait", most, code, s.counts.waiting)
		}
		s.core.limits.Waiting += 8
		if code := s.refuses(next); code != "" {
			t.Errorf("with room again it gets %q", code)
		}
	}
}

// A message over a link that is for many is taken where there is room for one, and waits
// where there is none.
func TestAMessageOverALinkForManyDoesNotWaitForRoomForAll(t *testing.T) {
	s := limited(10)
	for n := range 63 {
		s.refuses(turnMessage(3 * n))
	}
	to := []wire.UserID{"ANZ-2", "ANZ-3", "ANZ-4"}
	if code := s.refuses(&Message{From: far, To: to, Group: true, Via: turnRoad, Place: 9998, ID: wire.ID{8}}); code != "" || s.counts.waiting != 76 {
		t.Errorf("it gets %q, and %d wait", code, s.counts.waiting)
	}
	if code := s.refuses(&Message{From: far, To: to, Group: true, Via: turnRoad, Place: 9999, ID: wire.ID{9}}); code != wire.CodeStoreFull {
		t.Errorf("the next one gets %q", code)
	}
}

// The notice that what came over a link is refused has the same room: that comes again
// until the notice is stored, and holds up what is behind it. Others have it not.
func TestWhatARefusalTellsHasTheRoomOfWhatComesOverALink(t *testing.T) {
	s := limited(10)
	told := &Message{From: "ANZ-2", To: []wire.UserID{linkUser}, Notice: true, ID: wire.ID{5}}
	if code := s.refuses(told); code != "" {
		t.Errorf("it gets %q", code)
	}
	if code := s.refuses(&Message{From: "ANZ-2", To: []wire.UserID{linkUser}, Notice: true}); code != wire.CodeStoreFull {
		t.Errorf("the confirmation of a FAST message gets %q", code)
	}
}
