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

// unblocked refuses a message to a one-to-one room whose other one has blocked the
// sender. That is asked before the message waits for the committer, which holds a
// transaction; where the sender is no member it comes to light there.
func (c *Chat) unblocked(ctx context.Context, who actor, room wire.ID) error {
	x, known := c.facts.get(room)
	if !known {
		err := c.opts.Store.Read(ctx, func(v View) error {
			r, err := v.Room(room)
			if err == nil && r != nil {
				x, known = fact{r.OneToOne, r.Low, r.High}, true
			}
			return err
		})
		if err != nil {
			return err
		}
		if known {
			c.facts.put(room, x)
		}
	}
	if !x.oneToOne || who.n != x.low && who.n != x.high {
		return nil
	}
	other := x.low
	if other == who.n {
		other = x.high
	}
	blocked, err := c.opts.People.Blocked(ctx, c.user(other), who.user)
	if err == nil && blocked {
		return general(wire.CodeForbidden, "the other one of this room does not want to hear from the user")
	}
	return err
}
