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

// By whom somebody is blocked is what the store says, and nothing else: who is told of a
// change asks it after the change was stored. Of two readings that overlap, that which began
// later counts, whichever ends first: so the last change is known when all have ended,
// however many there are meanwhile, and none has to be made again because of others.

// present is somebody who has sockets here.
type present struct {
	sockets map[*held]struct{}
	shunned map[wire.UserID]struct{} // by whom; replaced, never changed

	learned  uint64                 // the reading that said all of shunned
	pairs    map[wire.UserID]uint64 // those that said it of one since; nil where none is under way
	readings int                    // under way
}

// reading is one of the store, of some who are present.
type reading struct {
	began uint64 // which it is, in the order in which they began
	of    map[int64]*present
}

// Shunned returns who does not want to hear from a user who has sockets here. The set is
// never changed. For what others send it is empty.
func (r *Room) Shunned(user wire.UserID) map[wire.UserID]struct{} {
	if user.App() != r.opts.App {
		return nil
	}
	r.live.mu.RLock()
	defer r.live.mu.RUnlock()
	if p := r.live.held[user.Number()]; p != nil {
		return p.shunned
	}
	return nil
}

// ask begins a reading of those accounts that have sockets here.
func (l *live) ask(numbers ...int64) reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readings++
	q := reading{began: l.readings, of: make(map[int64]*present, len(numbers))}
	for _, n := range numbers {
		if p := l.held[n]; p != nil && q.of[n] == nil {
			q.of[n] = p
			p.readings++
		}
	}
	return q
}

// answered ends it: put notes what it has said of each.
func (l *live) answered(q reading, put func(number int64, p *present)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, p := range q.of {
		if put != nil {
			put(n, p)
		}
		if p.readings--; p.readings == 0 {
			p.pairs = nil // whatever begins now counts more
		}
	}
}

// put notes that somebody is blocked by these, and by nobody else. live.mu is held.
func (p *present) put(began uint64, by map[wire.UserID]struct{}) {
	if began < p.learned {
		return
	}
	for user, at := range p.pairs {
		if at < began {
			delete(p.pairs, user)
		} else if _, is := p.shunned[user]; is {
			if by == nil {
				by = make(map[wire.UserID]struct{})
			}
			by[user] = struct{}{}
		} else {
			delete(by, user)
		}
	}
	p.shunned, p.learned = by, began
}

// putOne notes whether somebody is blocked by one. live.mu is held.
func (p *present) putOne(began uint64, by wire.UserID, is bool) {
	if began < p.learned || began < p.pairs[by] {
		return
	}
	if p.pairs == nil {
		p.pairs = make(map[wire.UserID]uint64)
	}
	p.pairs[by] = began
	if _, was := p.shunned[by]; was == is {
		return
	}
	next := maps.Clone(p.shunned)
	if next == nil {
		next = make(map[wire.UserID]struct{})
	}
	if is {
		next[by] = struct{}{}
	} else {
		delete(next, by)
	}
	p.shunned = next
}

// learnShunned asks the store by whom some accounts are blocked.
func (r *Room) learnShunned(ctx context.Context, numbers ...int64) error {
	q := r.live.ask(numbers...)
	if len(q.of) == 0 { // they have left
		return nil
	}
	list, err := r.opts.Store.BlockedBy(ctx, slices.Collect(maps.Keys(q.of)))
	if err != nil {
		r.live.answered(q, nil)
		return err
	}
	sets := make(map[int64]map[wire.UserID]struct{})
	for _, b := range list {
		if sets[b.Whom] == nil {
			sets[b.Whom] = make(map[wire.UserID]struct{})
		}
		sets[b.Whom][r.user(b.By)] = struct{}{}
	}
	r.live.answered(q, func(n int64, p *present) { p.put(q.began, sets[n]) })
	return nil
}

// relearnShunned asks it of all who have sockets here.
func (r *Room) relearnShunned(ctx context.Context) error {
	r.live.mu.RLock()
	numbers := slices.Collect(maps.Keys(r.live.held))
	r.live.mu.RUnlock()
	return r.learnSome(ctx, numbers)
}

// learnSome asks it of so many.
func (r *Room) learnSome(ctx context.Context, numbers []int64) error {
	for some := range slices.Chunk(numbers, recheckAtOnce) {
		if err := r.learnShunned(ctx, some...); err != nil {
			return err
		}
	}
	return nil
}

// blocks tells all nodes that one account has blocked another, or does no longer.
func (r *Room) blocks(ctx context.Context, b Blocking, on bool) {
	if is, err := r.askAgain(ctx, b); err != nil {
		r.live.missed() // it is asked until it answers
	} else {
		on = is
	}
	kind := byte(saysUnblocked)
	if on {
		kind = saysBlocked
	}
	message := binary.BigEndian.AppendUint64([]byte{kind}, uint64(b.Whom))
	r.tell(binary.BigEndian.AppendUint64(message, uint64(b.By)))
}

// askAgain asks the store whether one account has blocked another.
func (r *Room) askAgain(ctx context.Context, b Blocking) (is bool, err error) {
	q := r.live.ask(b.Whom)
	is, err = r.opts.Store.Blocked(ctx, b.By, b.Whom)
	if err != nil {
		r.live.answered(q, nil)
		return false, err
	}
	r.live.answered(q, func(_ int64, p *present) { p.putOne(q.began, r.user(b.By), is) })
	return is, nil
}

// changed is told by another node that it has changed by whom somebody is blocked.
func (l *live) changed(whom int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[whom] == nil {
		return
	}
	l.due[whom] = struct{}{}
	select {
	case l.wake <- struct{}{}:
	default: // it is known already
	}
}

// relearn asks the store of those of whom other nodes say that it has changed, with one
// question for all that was told while the last was asked.
func (r *Room) relearn(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.live.wake:
		}
		r.live.mu.Lock()
		numbers := slices.Collect(maps.Keys(r.live.due))
		clear(r.live.due)
		r.live.mu.Unlock()
		if err := r.learnSome(ctx, numbers); err != nil {
			r.live.missed()
		}
	}
}
