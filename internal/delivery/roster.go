package delivery

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/btree"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// rosterShards spreads the roster's locks: a power of two.
const rosterShards = 64

// roster knows the sessions of every user on this node. Lists are replaced,
// never changed, so a reader may keep one.
type roster struct {
	seed   maphash.Seed
	shards [rosterShards]rosterShard

	orderMu sync.RWMutex // taken within the lock of a shard, never around it
	order   btree.Set[wire.UserID]
}

type rosterShard struct {
	mu    sync.RWMutex
	users map[wire.UserID][]Receiver
}

func newRoster() *roster {
	r := &roster{seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].users = make(map[wire.UserID][]Receiver)
	}
	return r
}

func (r *roster) shard(user wire.UserID) *rosterShard {
	return &r.shards[maphash.String(r.seed, string(user))%rosterShards]
}

// of returns the user's sessions, in the order in which they were added. The
// list must not be changed.
func (r *roster) of(user wire.UserID) []Receiver {
	s := r.shard(user)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.users[user]
}

// add returns false when the user has limit sessions already.
func (r *roster) add(x Receiver, limit int) bool {
	s := r.shard(x.User())
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.users[x.User()]
	if len(list) >= limit {
		return false
	}
	s.users[x.User()] = append(slices.Clip(list), x)
	if len(list) == 0 {
		r.orderMu.Lock()
		r.order.Insert(x.User())
		r.orderMu.Unlock()
	}
	return true
}

func (r *roster) remove(x Receiver) {
	s := r.shard(x.User())
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.users[x.User()]
	i := slices.IndexFunc(list, func(y Receiver) bool { return y.ID() == x.ID() })
	switch {
	case i < 0:
	case len(list) == 1:
		delete(s.users, x.User())
		r.orderMu.Lock()
		r.order.Delete(x.User())
		r.orderMu.Unlock()
	default:
		s.users[x.User()] = slices.Concat(list[:i], list[i+1:])
	}
}

// len returns how many users have a session.
func (r *roster) len() int {
	r.orderMu.RLock()
	defer r.orderMu.RUnlock()
	return r.order.Len()
}

// after returns the users of an app that come after one of them, at most limit;
// an empty user comes before all.
func (r *roster) after(app string, user wire.UserID, limit int) []wire.UserID {
	prefix := app + "-"
	list := make([]wire.UserID, 0, min(limit, 1024))
	r.orderMu.RLock()
	defer r.orderMu.RUnlock()
	r.order.Ascend(max(user, wire.UserID(prefix)), func(u wire.UserID) bool {
		if len(list) == limit || !strings.HasPrefix(string(u), prefix) {
			return false
		}
		if u != user {
			list = append(list, u)
		}
		return true
	})
	return list
}
