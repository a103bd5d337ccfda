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
			if sessions := h.roster.of(u); len(sessions) > 0 {
				list = append(list, Online{User: u, Sessions: len(sessions), Since: since(sessions)})
			}
		}
		if len(users) < wanted {
			return list, false
		}
	}
}

// Online returns one user; with no sessions when it is not connected.
func (h *Hub) Online(user wire.UserID) Online {
	sessions := h.roster.of(user)
	return Online{User: user, Sessions: len(sessions), Since: since(sessions)}
}

// Sessions returns a user's sessions, in the order of their IDs.
func (h *Hub) Sessions(user wire.UserID) []Session {
	list := h.roster.of(user)
	sessions := make([]Session, len(list))
	for i, r := range list {
		sessions[i] = Session{ID: r.ID(), User: user, Since: r.ID().Time(), Address: r.Address(), Transport: r.Transport()}
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

// Close closes one session of a user, and says whether it was there.
func (h *Hub) Close(user wire.UserID, id wire.ID, code uint16, reason string) bool {
	list := h.roster.of(user)
	i := slices.IndexFunc(list, func(r Receiver) bool { return r.ID() == id })
	if i < 0 {
		return false
	}
	list[i].Kick(code, reason)
	return true
}

// since returns when the oldest of some sessions began.
func since(list []Receiver) time.Time {
	var oldest time.Time
	for _, r := range list {
		if t := r.ID().Time(); oldest.IsZero() || t.Before(oldest) {
			oldest = t
		}
	}
	return oldest
}
