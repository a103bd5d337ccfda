package mailbox

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// lose gives up the core's memory after an append failed: nobody knows what
// the log holds. Senders that wait are told so. What happens until another core
// adopts the sessions is kept in them. With hold, messages that are certainly not
// in the log are kept too, until it is known who takes them; not those that some
// of their receivers had no room for, whose senders have had an answer.
func (c *core) lose(cause error, hold bool) {
	c.down = true
	for i, p := range c.journal.queue {
		inFlight := i == 0 && c.journal.inFlight
		for _, m := range p.messages {
			unknown := inFlight && errors.Is(cause, ErrUnknown)
			if hold && !m.keyed && !unknown && len(m.to) == len(m.message.To) {
				c.unsent = append(c.unsent, m.message)
				continue
			}
			e := failureFor(cause, inFlight)
			e.To = m.to
			c.refuse(m.message, e)
		}
		for _, a := range p.forwards {
			a.upTo, a.err = 0, failureFor(cause, inFlight)
			c.answer(a)
		}
	}
	c.journal.queue = nil
	c.holding = hold
}

// giveUp refuses what was kept for a log that does not come back soon.
func (c *core) giveUp() {
	c.holding = false
	for _, m := range c.unsent {
		e := failureFor(nil, false)
		e.To = m.To
		c.refuse(m, e)
	}
	c.unsent = nil
}

// failureFor is what senders hear when a batch was not stored, or when nobody
// knows whether it was.
func failureFor(cause error, inFlight bool) *wire.Error {
	e := &wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeStoreDown, Reason: "the message store failed; try again"}
	switch {
	case errors.Is(cause, ErrFull):
		e.Code, e.Reason = wire.CodeStoreFull, "the server's disk is full; try again later"
	case inFlight && errors.Is(cause, ErrUnknown):
		e.Code, e.Reason, e.MayYetArrive = wire.CodeTimeout, "the message store did not answer; the message may yet arrive", true
	}
	return e
}

// adopt takes over the open sessions of a core that lost its log: what they
// were given stays given, what they proved is proved again where it was not
// stored.
func (c *core) adopt(now time.Time, from *core) {
	c.limits, c.full, c.subscriptions, c.dropped = from.limits, from.full, from.subscriptions, from.dropped
	c.gather, c.dead = from.gather, from.dead
	c.counts.add(from.counts)
	users := make([]*user, 0, len(from.users))
	for _, u := range from.users {
		if len(u.sessions) > 0 {
			users = append(users, u)
		}
	}
	slices.SortFunc(users, func(a, b *user) int { return strings.Compare(string(a.id), string(b.id)) })
	var sessions []*session
	for _, u := range users {
		for _, s := range u.sessions {
			h := s.held()
			n := c.place(now, h)
			if n.mark != h.Mark {
				c.tellMark(n)
			}
			sessions = append(sessions, n)
		}
	}
	c.closeStale(now)
	for _, s := range sessions {
		c.proveHeld(now, s)
	}
	for _, m := range from.unsent {
		c.accept(now, m)
	}
}
