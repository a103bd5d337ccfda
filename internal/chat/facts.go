package chat

import (
	"context"
	"sync"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// maxFacts is how many rooms are remembered.
const maxFacts = 20_000

// fact is what never changes about a room.
type fact struct {
	oneToOne  bool
	low, high int64
}

// facts remembers what never changes about rooms, so that a message to one need not ask
// for it.
type facts struct {
	mu sync.Mutex
	of map[wire.ID]fact
}

func (f *facts) get(room wire.ID) (fact, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x, ok := f.of[room]
	return x, ok
}

func (f *facts) put(room wire.ID, x fact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = make(map[wire.ID]fact)
	}
	for old := range f.of { // whichever: it is read again when it is needed
		if len(f.of) < maxFacts {
			break
		}
		delete(f.of, old)
	}
	f.of[room] = x
}

// factOf returns what never changes about a room; that of none where there is none.
func (c *Chat) factOf(ctx context.Context, room wire.ID) (fact, error) {
	x, known := c.facts.get(room)
	if known {
		return x, nil
	}
	err := c.opts.Store.Read(ctx, func(v View) error {
		r, err := v.Room(room)
		if err == nil && r != nil {
			x, known = fact{r.OneToOne, r.Low, r.High}, true
		}
		return err
	})
	if known {
		c.facts.put(room, x)
	}
	return x, err
}

// blocked says whether a room is one of two, the other of whom has blocked the user.
// That is asked before a message waits for the committer, which holds a transaction;
// where the user is no member it comes to light there.
func (c *Chat) blocked(ctx context.Context, who actor, room wire.ID) (bool, error) {
	x, err := c.factOf(ctx, room)
	if err != nil || !x.oneToOne || who.n != x.low && who.n != x.high {
		return false, err
	}
	other := x.low
	if other == who.n {
		other = x.high
	}
	return c.opts.People.Blocked(ctx, c.user(other), who.user)
}

// unblocked refuses what would put words before somebody who has blocked the user.
func (c *Chat) unblocked(ctx context.Context, who actor, room wire.ID) error {
	blocked, err := c.blocked(ctx, who, room)
	if err == nil && blocked {
		return isBlocked()
	}
	return err
}

func isBlocked() *wire.Error {
	return general(wire.CodeForbidden, "the other one of this room does not want to hear from the user")
}
