package delivery

import (
	"bytes"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Online is a user who is connected.
type Online struct {
	User     wire.UserID
	Sessions int
	Since    time.Time // when the oldest of them began
}

// Session is one session of a user.
type Session struct {
	ID        wire.ID
	User      wire.UserID
	Since     time.Time
	Address   string
	Transport string
	Node      string // the other node that it is on; empty for this one
}

// Place is where a list of sessions was left: behind a session of a user, who
// need not be there any more. The zero value is before all.
type Place struct {
	User wire.UserID
	ID   wire.ID
}

// Users returns the connected users of an app whose IDs come after one of them,
// in the order of their text, and whether there are more. An empty user comes
// before all. While users come and go, whoever stays is in exactly one page of
// a walk through all of them. A page costs what is in it.
func (h *Hub) Users(app string, after wire.UserID, limit int) (list []Online, more bool) {
	for {
		// One more than wanted says whether there are more; those who left just now
		// are made up for.
		wanted := limit - len(list) + 1
		users := h.roster.after(app, after, wanted)
		for _, u := range users {
			if len(list) == limit {
				return list, true
			}
			after = u
			if o := h.Online(u); o.Sessions > 0 {
				list = append(list, o)
			}
		}
		if len(users) < wanted {
			return list, false
		}
	}
}

// Online returns one user; with no sessions when it is not connected.
func (h *Hub) Online(user wire.UserID) Online {
	p := h.roster.of(user)
	return Online{User: user, Sessions: p.sessions(), Since: p.since()}
}

// Sessions returns a user's sessions, in the order of their IDs.
func (h *Hub) Sessions(user wire.UserID) []Session {
	p := h.roster.of(user)
	sessions := make([]Session, 0, p.sessions())
	for _, r := range p.here {
		sessions = append(sessions, Session{ID: r.ID(), User: user, Since: r.ID().Time(), Address: r.Address(), Transport: r.Transport()})
	}
	for x := p.there; x != nil; x = x.next {
		sessions = append(sessions, Session{ID: x.id, User: user, Since: x.id.Time(), Address: x.address(), Transport: x.transport(), Node: x.node.id})
	}
	slices.SortFunc(sessions, func(a, b Session) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return sessions
}

// SessionsOf returns the sessions of an app that come after a place, by user and
// ID, and whether there are more. It keeps the promises of Users.
func (h *Hub) SessionsOf(app string, after Place, limit int) (list []Session, more bool) {
	if after.User != "" {
		for _, s := range h.Sessions(after.User) {
			if bytes.Compare(s.ID[:], after.ID[:]) > 0 {
				list = append(list, s)
			}
		}
	}
	for user := after.User; len(list) <= limit; {
		wanted := limit - len(list) + 1
		users := h.roster.after(app, user, wanted)
		for _, user = range users {
			if list = append(list, h.Sessions(user)...); len(list) > limit {
				return list[:limit], true
			}
		}
		if len(users) < wanted {
			return list, false
		}
	}
	return list[:limit], true
}

// since returns when the oldest of a user's sessions began.
func (p present) since() time.Time {
	var oldest time.Time
	note := func(id wire.ID) {
		if t := id.Time(); oldest.IsZero() || t.Before(oldest) {
			oldest = t
		}
	}
	for _, r := range p.here {
		note(r.ID())
	}
	for x := p.there; x != nil; x = x.next {
		note(x.id)
	}
	return oldest
}
