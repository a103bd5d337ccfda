package socket

import (
	"bytes"
	"errors"

	"github.com/seed-3d8c1042/switchboard/internal/nearby"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Nearby is what the connector needs of whoever keeps positions. Its methods may be
// called from any goroutine and do not block; done is called once, maybe at once.
type Nearby interface {
	// Put takes in where a user is.
	Put(app, user string, p nearby.Position, done func(error))
	// Hide forgets it; done when that is stored.
	Hide(app, user string, done func(error))
	// Watch begins the part of a session that watches.
	Watch(app, user string, o nearby.Outlet) NearbyWatches
}

// NearbyWatches are what one session watches.
type NearbyWatches interface {
	// Watch looks at a part of the map, in place of what it looked at under this ID.
	Watch(id string, v nearby.View, reference []byte) error
	Unwatch(id string) error
	// Close ends all. Nothing is told any more when it has returned.
	Close()
}

// watch is what a session watches of the map: the end at which the room tells what
// comes of it.
type watch struct {
	s    *session
	room NearbyWatches
}

// nearby does what a frame about positions asks for.
func (s *session) nearby(f *wire.Frame) *wire.Error {
	room := s.srv.opts.Nearby
	if room == nil {
		return general(wire.CodeNearbyOff, s.srv.opts.NearbyOff)
	}
	ask, bad := wire.ParseNearby(f)
	if bad != nil {
		return bad
	}
	app, user := s.identity.user.App(), string(s.identity.user)
	reference := bytes.Clone(f.Reference)
	switch ask.Type {
	case wire.TypePosition:
		room.Put(app, user, nearby.PositionOf(&ask.Position), func(err error) {
			if err != nil {
				s.refuse(unplaced(err), reference)
			}
		})
	case wire.TypePositionHide:
		room.Hide(app, user, func(err error) {
			if err != nil {
				s.refuse(unplaced(err), reference)
				return
			}
			s.control(wire.AppendPositionHidden(nil, reference))
		})
	case wire.TypeNearbyWatch:
		if w := s.watches(); w != nil {
			return unplaced(w.room.Watch(ask.Watch, nearby.ViewOf(&ask.Area), reference))
		}
	case wire.TypeNearbyUnwatch:
		if w := s.watches(); w != nil {
			return unplaced(w.room.Unwatch(ask.Watch))
		}
	}
	return nil
}

// watches returns what the session watches, which begins with the first frame about it;
// nil: the session is over.
func (s *session) watches() *watch {
	s.mu.Lock()
	w, closing := s.watch, s.closing
	s.mu.Unlock()
	if w != nil || closing {
		return w
	}
	w = &watch{s: s}
	w.room = s.srv.opts.Nearby.Watch(s.identity.user.App(), string(s.identity.user), w)
	s.mu.Lock()
	if closing = s.closing; !closing {
		s.watch = w // by the one reader that there is
	}
	s.mu.Unlock()
	if closing {
		w.room.Close()
		return nil
	}
	return w
}

// lookAway ends what the session watches.
func (s *session) lookAway() {
	s.mu.Lock()
	w := s.watch
	s.mu.Unlock()
	if w != nil {
		w.room.Close()
	}
}

// unplaced returns what a client is told of an error about positions.
func unplaced(err error) *wire.Error {
	var r *nearby.Refusal
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &r):
		return general(wire.CodeStoreDown, "the server that keeps this does not answer at present: "+err.Error())
	case r.Code == wire.CodeBadField:
		return &wire.Error{Kind: wire.KindInvalidMessage, Code: r.Code, Reason: "data." + r.Field + " " + r.Reason, Field: "data." + r.Field}
	}
	return general(r.Code, r.Reason)
}

// tell queues a frame of which nothing is lost when there is no room: the room tells
// later how things stand then.
func (w *watch) tell(frame []byte) bool { return w.s.whole(frame) }

// Answer implements nearby.Outlet, as the next ones do.
func (w *watch) Answer(id string, a nearby.Answer, reference []byte) bool {
	if a.Cells != nil {
		return w.tell(wire.AppendNearbyCells(nil, id, crowds(a.Cells), a.Total, reference))
	}
	users, known := w.neighbours(a.Users)
	return known && w.tell(wire.AppendNearby(nil, id, users, a.Total, reference))
}

// Enter implements nearby.Outlet.
func (w *watch) Enter(id string, users []nearby.User) bool {
	return w.news(wire.TypeNearbyEnter, id, users)
}

// Move implements nearby.Outlet.
func (w *watch) Move(id string, users []nearby.User) bool {
	return w.news(wire.TypeNearbyMove, id, users)
}

// Leave implements nearby.Outlet.
func (w *watch) Leave(id string, users []string) bool {
	list := make([]wire.UserID, len(users))
	for i, user := range users {
		list[i] = wire.UserID(user)
	}
	return w.tell(wire.AppendNearbyLeave(nil, id, list))
}

// Cells implements nearby.Outlet.
func (w *watch) Cells(id string, changed []nearby.Cell) bool {
	return w.tell(wire.AppendNearbyMoveCells(nil, id, crowds(changed)))
}

// Trouble implements nearby.Outlet.
func (w *watch) Trouble(_ string, reference []byte, err error) bool {
	e := unplaced(err)
	w.s.srv.metrics.refused(e)
	return w.tell(wire.AppendFailure(nil, e, reference))
}

func (w *watch) news(t wire.Type, id string, users []nearby.User) bool {
	list, known := w.neighbours(users)
	return known && w.tell(wire.AppendNearbyNews(nil, t, id, list))
}

// neighbours returns users as they are told; false: their names are not known yet.
func (w *watch) neighbours(users []nearby.User) (list []wire.Neighbour, known bool) {
	ids := make([]wire.UserID, len(users))
	for i := range users {
		ids[i] = wire.UserID(users[i].User)
	}
	names, known := w.s.srv.opts.Names(ids)
	if !known {
		return nil, false
	}
	list = make([]wire.Neighbour, len(users))
	for i := range users {
		list[i] = users[i].Neighbour(names[ids[i]])
	}
	return list, true
}

func crowds(cells []nearby.Cell) []wire.Crowd {
	list := make([]wire.Crowd, len(cells))
	for i, c := range cells {
		list[i] = wire.Crowd(c)
	}
	return list
}
