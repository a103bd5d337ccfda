package delivery

import (
	"slices"
	"sync"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// watched is a user whom others watch, watching the same from the other side. Each
// knows the other's place, so that a session leaves without a search: a popular
// user has many watchers.
//
// Its lock is taken within that of the user's shard and outlasts it: so whoever
// watches hears of each change, in order, while the shard's other users go on.
type watched struct {
	mu   sync.Mutex
	list []watcher
}

type watcher struct {
	session Receiver
	place   *watching
}

type watching struct {
	user wire.UserID
	at   int // in watched.list; guarded by that user's lock
}

// watch tells a session of users' coming and going: at once of those who are
// there.
func (r *roster) watch(x Receiver, users []wire.UserID) {
	if len(users) == 0 {
		return
	}
	users = slices.Clone(users)
	slices.Sort(users)
	users = slices.Compact(users)
	list := make([]watching, len(users))
	own := r.shard(x.User())
	own.mu.Lock()
	own.watches[x.ID()] = list
	own.mu.Unlock()
	for i, user := range users {
		list[i].user = user
		r.enlist(watcher{x, &list[i]})
	}
}

func (r *roster) enlist(x watcher) {
	user := x.place.user
	s := r.shard(user)
	s.mu.Lock()
	w := s.watched[user]
	if w == nil {
		w = &watched{}
		s.watched[user] = w
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	x.place.at = len(w.list)
	w.list = append(w.list, x)
	online := s.of(user).online()
	s.mu.Unlock()
	if online {
		x.session.Presence(user, true)
	}
}

// unwatch reverses watch: nothing is told from then on.
func (r *roster) unwatch(x Receiver) {
	own := r.shard(x.User())
	own.mu.RLock()
	list := own.watches[x.ID()]
	own.mu.RUnlock()
	if list == nil {
		return
	}
	own.mu.Lock()
	delete(own.watches, x.ID())
	own.mu.Unlock()
	for i := range list {
		r.discharge(&list[i])
	}
}

func (r *roster) discharge(place *watching) {
	s := r.shard(place.user)
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watched[place.user]
	w.mu.Lock()
	defer w.mu.Unlock()
	end := len(w.list) - 1
	last := w.list[end]
	w.list[place.at] = last
	last.place.at = place.at
	w.list[end] = watcher{}
	w.list = w.list[:end]
	if end == 0 {
		delete(s.watched, place.user)
	}
}
