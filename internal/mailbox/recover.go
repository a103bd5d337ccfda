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
// adopts the sessions is kept in them.
func (c *core) lose(cause error) {
	c.down = true
	for i, p := range c.journal.queue {
		for _, m := range p.messages {
			e := failureFor(cause, i == 0)
			e.To = m.to
			c.refuse(m.message, e)
		}
	}
	c.journal.queue = nil
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
	c.counts.add(from.counts)
	sessions := make(map[*session]*session, len(from.sessions))
	users := make([]*user, 0, len(from.users))
	for _, u := range from.users {
		if len(u.sessions) > 0 {
			users = append(users, u)
		}
	}
	slices.SortFunc(users, func(a, b *user) int { return strings.Compare(string(a.id), string(b.id)) })
	for _, u := range users {
		c.adoptUser(u, sessions)
	}
	c.writeAdopted(now, users)
	for _, u := range users {
		c.pumpUser(now, c.users[u.id])
	}
}

// adoptUser takes over a user's sessions, in their order. sessions gets the new
// one for each old one.
func (c *core) adoptUser(old *user, sessions map[*session]*session) {
	u := c.user(old.id)
	for _, o := range old.sessions {
		s := &session{
			Session: o.Session, user: u,
			mark: min(o.mark, c.journal.storedOrd), cursor: min(o.cursor, c.journal.storedOrd),
			flight: o.flight, passed: o.passed, open: o.open,
			nextN: o.nextN, provedTo: o.provedTo,
			returned: o.returned, fetches: o.fetches, fetchAt: o.fetchAt,
		}
		sessions[o] = s
		c.sessions[s.ID] = s
		u.sessions = append(u.sessions, s)
		for i := range s.flight {
			f := &s.flight[i]
			if f.ord >= c.journal.storedOrd {
				f.ord = 0 // the log lost what it had synced; the place will be another message's
			}
			if e := u.entries.find(f.ord); e != nil {
				e.holders++
				if f.fetched {
					e.state |= entryClaimed
				}
			}
		}
	}
	if old.lanes != nil {
		c.adoptLanes(u, old.lanes, sessions)
	}
	// What a session proved that is closed by now waits again if the proof was
	// lost.
	c.passedOver(u, func(*entry) bool { return true })
}

// adoptLanes shares a user's messages out as before.
func (c *core) adoptLanes(u *user, old *lanes, sessions map[*session]*session) {
	u.lanes = &lanes{mark: min(old.mark, c.journal.storedOrd)}
	for i := range old.lane {
		o := &old.lane[i]
		u.lanes.lane[i] = lane{owner: sessions[o.owner], next: sessions[o.next], busy: o.busy}
	}
}

// writeAdopted writes the opened records that were lost with the log, and ends
// the sessions that are in the log and nowhere else.
func (c *core) writeAdopted(now time.Time, users []*user) {
	for _, old := range users {
		for _, s := range c.users[old.id].sessions {
			if log, there := c.stale[s.ID]; there {
				delete(c.stale, s.ID)
				s.seq = log.seq
			} else {
				c.logOpened(now, s)
			}
		}
	}
	c.closeStale(now)
}
