package delivery

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// rosterShards spreads the roster's locks: a power of two.
const rosterShards = 64

// roster knows the sessions of every user: those of this node as receivers, those
// of others by name. Lists are replaced, never changed, so a reader may keep one.
type roster struct {
	seed   maphash.Seed
	shards [rosterShards]rosterShard
	out    *outbox // hears of what changes here, within the lock of the shard; nil: this node is alone
	far    atomic.Int64
	links  atomic.Int64 // users of here that are links to other domains

	orderMu sync.RWMutex // taken within the lock of a shard, never around it
	order   btree.Set[wire.UserID]
}

// rosterShard has its share of the users.
type rosterShard struct {
	mu      sync.RWMutex
	here    map[wire.UserID]present // those with a session on this node
	there   map[wire.UserID]*remote // those with sessions on other nodes only: they are many, and have to be small
	watched map[wire.UserID]*watched
	watches map[wire.ID][]watching // what a session of one of these users watches
}

// present is a user's sessions.
type present struct {
	here  []Receiver // on this node, in the order in which they were added
	there *remote    // on others
}

func (p present) sessions() int { return len(p.here) + p.there.count() }

func (p present) online() bool { return len(p.here) > 0 || p.there != nil }

func newRoster() *roster {
	r := &roster{seed: maphash.MakeSeed()}
	for i := range r.shards {
		s := &r.shards[i]
		s.here, s.there = make(map[wire.UserID]present), make(map[wire.UserID]*remote)
		s.watched, s.watches = make(map[wire.UserID]*watched), make(map[wire.ID][]watching)
	}
	return r
}

func (r *roster) shard(user wire.UserID) *rosterShard {
	return &r.shards[maphash.String(r.seed, string(user))%rosterShards]
}

// of returns the user's sessions, which must not be changed.
func (r *roster) of(user wire.UserID) present {
	s := r.shard(user)
	s.mu.RLock()
	p, here := s.here[user]
	if !here && len(s.there) > 0 {
		p.there = s.there[user]
	}
	s.mu.RUnlock()
	return p
}

// of is roster.of for a caller that holds the lock.
func (s *rosterShard) of(user wire.UserID) present {
	p, here := s.here[user]
	if !here && len(s.there) > 0 {
		p.there = s.there[user]
	}
	return p
}

// add returns false when the user has limit sessions already. known is of
// Hub.Add.
func (r *roster) add(x Receiver, limit int) (known <-chan struct{}, ok bool) {
	s := r.shard(x.User())
	s.mu.Lock()
	p := s.of(x.User())
	if p.sessions() >= limit {
		s.mu.Unlock()
		return nil, false
	}
	known = r.out.joined(x)
	r.replace(s, x.User(), p, present{append(slices.Clip(p.here), x), p.there})
	return known, true
}

func (r *roster) remove(x Receiver) {
	s := r.shard(x.User())
	s.mu.Lock()
	p := s.of(x.User())
	i := slices.IndexFunc(p.here, func(y Receiver) bool { return y.ID() == x.ID() })
	if i < 0 {
		s.mu.Unlock()
		return
	}
	r.out.left(x)
	r.replace(s, x.User(), p, present{slices.Concat(p.here[:i], p.here[i+1:]), p.there})
}

// join takes a session of another node, unless it is known.
func (r *roster) join(node *peer, e entry) {
	s := r.shard(e.user())
	s.mu.Lock()
	p := s.of(e.user())
	if p.there.find(node, e.id()) != nil {
		s.mu.Unlock()
		return
	}
	x := e.remote(node, p.there)
	r.far.Add(1)
	r.replace(s, x.user(), p, present{p.here, x})
}

// leave forgets a session of another node, if it is known.
func (r *roster) leave(node *peer, user wire.UserID, id wire.ID) {
	s := r.shard(user)
	s.mu.Lock()
	p := s.of(user)
	if p.there.find(node, id) == nil {
		s.mu.Unlock()
		return
	}
	r.far.Add(-1)
	r.replace(s, user, p, present{p.here, p.there.without(id)})
}

// replace puts new sessions of a user in the place of old ones. Those who watch
// the user are told if it came or went, in order and without holding up the other
// users. The caller holds the lock of the shard, which replace gives up.
func (r *roster) replace(s *rosterShard, user wire.UserID, was, is present) {
	s.store(user, was, is)
	r.links.Add(is.link() - was.link())
	online := is.online()
	if online == was.online() {
		s.mu.Unlock()
		return
	}
	r.orderMu.Lock()
	switch {
	case !online:
		r.order.Delete(user)
	case !is.isLink(): // it is in no list of users, nor in their number
		r.order.Insert(user)
	}
	r.orderMu.Unlock()
	w := s.watched[user]
	if w == nil {
		s.mu.Unlock()
		return
	}
	w.mu.Lock() // before the next change can come here
	defer w.mu.Unlock()
	s.mu.Unlock()
	for _, x := range w.list {
		x.session.Presence(user, online)
	}
}

func (s *rosterShard) store(user wire.UserID, was, is present) {
	switch {
	case len(is.here) > 0:
		s.here[user] = is
		if len(was.here) == 0 && was.there != nil {
			delete(s.there, user)
		}
		return
	case len(was.here) > 0:
		delete(s.here, user)
	}
	switch {
	case is.there != nil:
		s.there[is.there.user()] = is.there
	case len(was.here) == 0:
		delete(s.there, user)
	}
}

// isLink says whether it is a link to another domain, on whichever node.
func (p present) isLink() bool {
	return p.link() > 0 || p.there != nil && p.there.transport() == transportNames[transportLink]
}

// link returns 1 for a link to another domain that has a session on this node.
func (p present) link() int64 {
	if len(p.here) > 0 && p.here[0].Transport() == transportNames[transportLink] {
		return 1
	}
	return 0
}

// local returns how many users have a session on this node.
func (r *roster) local() (users int) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		users += len(s.here)
		s.mu.RUnlock()
	}
	return max(users-int(r.links.Load()), 0)
}

// users returns how many users have a session on any node.
func (r *roster) users() int {
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
