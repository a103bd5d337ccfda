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
	i, there := slices.BinarySearchFunc(s.flight, n, func(f flight, n uint64) int { return int(int64(f.n) - int64(n)) })
	if !there {
		return
	}
	f := s.flight[i]
	s.flight = slices.Delete(s.flight, i, i+1)
	s.open -= int(f.size)
	if e := s.user.entries.find(f.ord); e != nil {
		e.holders--
		if e.waits() && !c.down { // else it comes again
			c.counts.proved++
			c.gone(s.user, goneProved, f.ord)
		}
	}
	c.pump(now, s)
}
