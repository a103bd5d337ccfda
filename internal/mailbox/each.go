package mailbox

import (
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// proveEach says that one delivery is proved, on a session that proves each by
// itself. What was delivered before it may still wait.
func (c *core) proveEach(now time.Time, id wire.ID, n uint64) {
	s := c.sessions[id]
	if s == nil || !s.Each {
		return
	}
	if i, there := s.flightAt(n); there && !s.flight[i].done {
		f := &s.flight[i]
		f.done = true
		if i >= s.passed {
			s.open -= int(f.size)
		}
		c.proveOne(s, f)
		c.pump(now, s)
	}
}

// proveOne writes the proof of one delivery; a core whose log is in doubt leaves
// that to the next one.
func (c *core) proveOne(s *session, f *flight) {
	e := s.user.entries.find(f.ord)
	if e != nil {
		if e.holders--; e.holders == 0 {
			e.state &^= entryClaimed
		}
	}
	switch {
	case c.down:
	case e != nil && e.waits():
		c.counts.proved++
		p := c.journal.hold(64)
		defer c.journal.letGo()
		p.settles = append(p.settles, settle{s, f.n})
		c.gone(s.user, goneProved, f.ord)
	default:
		c.settleAfter(s, f.n)
		c.dropPassed(s.user, f.ord)
	}
}

// settledOne forgets one delivery whose proof is in the log.
func (c *core) settledOne(s *session, n uint64) {
	i, there := s.flightAt(n)
	if !there {
		return
	}
	if i < s.passed {
		s.passed--
	}
	if i < s.proved {
		s.proved--
	}
	s.flight = slices.Delete(s.flight, i, i+1)
	c.effects = append(c.effects, effect{kind: effSettled, outlet: s.Outlet, n: n})
}

// flightAt finds delivery n among those on their way.
func (s *session) flightAt(n uint64) (int, bool) {
	return slices.BinarySearchFunc(s.flight, n, func(f flight, n uint64) int { return int(int64(f.n) - int64(n)) })
}
