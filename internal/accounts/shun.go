package accounts

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Blocking says that one account has blocked another.
type Blocking struct{ By, Whom int64 }

// Shunned returns who does not want to hear from a user who has sockets here. The set is
// never changed. For what others send it is empty.
func (r *Room) Shunned(user wire.UserID) map[wire.UserID]struct{} {
	if user.App() != r.opts.App {
		return nil
	}
	r.live.mu.RLock()
	defer r.live.mu.RUnlock()
	return r.live.shunned[user.Number()]
}

// learnShunned asks the store by whom some accounts are blocked.
func (r *Room) learnShunned(ctx context.Context, numbers ...int64) error {
	for {
		r.live.mu.RLock()
		before := r.live.shuns
		r.live.mu.RUnlock()
		list, err := r.opts.Store.BlockedBy(ctx, numbers)
		if err != nil {
			return err
		}
		sets := make(map[int64]map[wire.UserID]struct{})
		for _, b := range list {
			if sets[b.Whom] == nil {
				sets[b.Whom] = make(map[wire.UserID]struct{})
			}
			sets[b.Whom][r.user(b.By)] = struct{}{}
		}
		if r.putShunned(before, numbers, sets) {
			return nil
		}
	}
}

// putShunned keeps what the store has said. False: something was told meanwhile, which
// the store may not have known.
func (r *Room) putShunned(before uint64, numbers []int64, sets map[int64]map[wire.UserID]struct{}) bool {
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	if r.live.shuns != before {
		return false
	}
	for _, n := range numbers {
		r.live.setShunned(n, sets[n])
	}
	return true
}

// setShunned notes by whom an account is blocked, if there are sockets of it. mu is held.
func (l *live) setShunned(number int64, by map[wire.UserID]struct{}) {
	if len(by) == 0 || l.held[number] == nil {
		delete(l.shunned, number)
		return
	}
	l.shunned[number] = by
}

// relearnShunned asks it of all who have sockets here.
func (r *Room) relearnShunned(ctx context.Context) error {
	r.live.mu.RLock()
	numbers := slices.Collect(maps.Keys(r.live.held))
	r.live.mu.RUnlock()
	for some := range slices.Chunk(numbers, recheckAtOnce) {
		if err := r.learnShunned(ctx, some...); err != nil {
			return err
		}
	}
	return nil
}

// blocks tells all nodes that one account has blocked another, or does no longer.
func (r *Room) blocks(b Blocking, on bool) {
	r.shun(b, on)
	kind := byte(saysUnblocked)
	if on {
		kind = saysBlocked
	}
	message := binary.BigEndian.AppendUint64([]byte{kind}, uint64(b.Whom))
	r.tell(binary.BigEndian.AppendUint64(message, uint64(b.By)))
}

// shun notes that.
func (r *Room) shun(b Blocking, on bool) {
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	r.live.shuns++
	next := maps.Clone(r.live.shunned[b.Whom])
	if on && next == nil {
		next = make(map[wire.UserID]struct{})
	}
	if by := r.user(b.By); on {
		next[by] = struct{}{}
	} else {
		delete(next, by)
	}
	r.live.setShunned(b.Whom, next)
}
