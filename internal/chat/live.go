package chat

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Session is a client that is connected to this node. None of its methods waits or
// calls back.
type Session interface {
	ID() wire.ID
	User() wire.UserID
	// Answer queues the answer to what the client asked for; Failed an error.
	Answer(frame []byte)
	Failed(e *wire.Error, reference []byte)
	// Queue queues news without writing; false: too much waits. Write writes what is
	// queued.
	Queue(frame []byte, proof func()) bool
	Write()
}

// attached is the session of a chat user, from its sign-in on.
type attached struct {
	s    Session
	user wire.UserID
	n    int64 // the user's number

	loading chan struct{}  // holds one token: whoever has it reads the memberships
	sends   sync.WaitGroup // messages under way; of whoever serves the session's frames
	gen     atomic.Uint64  // rises when news say that the user came into a room, or left one

	mu     sync.Mutex
	loaded bool // the memberships are known
	gone   bool
	rooms  map[wire.ID]time.Duration // those that the user is in, and when the user was last writing there
	roster Roster                    // says which these are
}

// typingPause is how long nothing is told of somebody who goes on writing.
const typingPause = time.Second

// types notes that the user is writing in a room. in says whether the user is in that;
// tell, that it was not told a moment ago.
func (a *attached) types(room wire.ID, now time.Duration) (in, tell bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, in := a.rooms[room]
	if !in || last > 0 && now-last < typingPause {
		return in, false
	}
	a.rooms[room] = now
	return true, true
}

// local are the sessions of this node.
type local struct {
	mu       sync.RWMutex
	sessions map[wire.ID]*attached
	people   map[wire.UserID][]*attached
}

func (l *local) get(id wire.ID) *attached {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.sessions[id]
}

func (l *local) of(user wire.UserID) []*attached {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.people[user] // which is replaced, not changed
}

func (l *local) all() []*attached {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := make([]*attached, 0, len(l.sessions))
	for _, a := range l.sessions {
		list = append(list, a)
	}
	return list
}

func (l *local) add(a *attached) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions[a.s.ID()] = a
	l.people[a.user] = append(l.people[a.user][:len(l.people[a.user]):len(l.people[a.user])], a)
}

func (l *local) remove(id wire.ID) *attached {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.sessions[id]
	if a == nil {
		return nil
	}
	delete(l.sessions, id)
	var rest []*attached
	for _, other := range l.people[a.user] {
		if other != a {
			rest = append(rest, other)
		}
	}
	if len(rest) > 0 {
		l.people[a.user] = rest
	} else {
		delete(l.people, a.user)
	}
	return a
}

// Attach makes a session one that is told of the news of its user's rooms, and returns
// when it is. One that is no chat user's is left alone. When the database does not
// answer before ctx ends the session is told later: until then what it asks of rooms is
// refused.
func (c *Chat) Attach(ctx context.Context, s Session) {
	if s.User().App() != c.opts.App {
		return
	}
	a := &attached{s: s, user: s.User(), n: s.User().Number(), loading: make(chan struct{}, 1), rooms: make(map[wire.ID]time.Duration)}
	a.loading <- struct{}{}
	c.local.add(a)
	c.metrics.attached.Inc()
	if c.load(ctx, a) != nil { // compare tries again, and looks at what it came to
		c.peekSoon()
	}
}

// Detach ends that.
func (c *Chat) Detach(s Session) {
	a := c.local.remove(s.ID())
	if a == nil {
		return
	}
	c.metrics.attached.Dec()
	a.mu.Lock()
	a.gone = true
	a.mu.Unlock()
	for _, l := range c.lanes {
		l.do(func() { l.leaveAll(a) })
	}
}

// load reads the memberships of a session's user and puts the session into those rooms.
func (c *Chat) load(ctx context.Context, a *attached) error {
	select {
	case <-a.loading:
		defer func() { a.loading <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrDown, ctx.Err())
	}
	for {
		gen := a.gen.Load()
		list, err := c.membershipsOf(ctx, a.n)
		if err != nil {
			return err
		}
		fresh, stale, err := c.place(ctx, a, gen, list)
		if err != nil {
			return err
		}
		if stale {
			continue
		}
		a.mu.Lock()
		a.loaded = true
		a.mu.Unlock()
		// What was stored between the reading and the placing was told to nobody here.
		return c.look(ctx, fresh)
	}
}

// ready makes sure that a session's memberships are known.
func (c *Chat) ready(ctx context.Context, a *attached) error {
	a.mu.Lock()
	loaded := a.loaded
	a.mu.Unlock()
	if loaded {
		return nil
	}
	return c.load(ctx, a)
}

func (c *Chat) membershipsOf(ctx context.Context, user int64) (all []Membership, err error) {
	for after := int64(0); ; {
		var page []Membership
		err = c.opts.Store.Read(ctx, func(v View) (err error) {
			page, err = v.RoomsOf(user, after, wire.MaxRoomPage)
			return err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < wire.MaxRoomPage {
			return all, nil
		}
		after = page[len(page)-1].Room.N
	}
}

// place has every lane put a session into its rooms of a list, and out of all others.
// fresh are the rooms that had no session here before; stale: the list is not true any
// more.
func (c *Chat) place(ctx context.Context, a *attached, gen uint64, list []Membership) (fresh []int64, stale bool, err error) {
	type outcome struct {
		fresh []int64
		stale bool
	}
	done := make(chan outcome, len(c.lanes))
	for _, l := range c.lanes {
		var mine []Membership
		for _, m := range list {
			if c.laneOf(m.Room.ID) == l {
				mine = append(mine, m)
			}
		}
		l.do(func() {
			fresh, ok := l.place(a, gen, mine)
			done <- outcome{fresh, !ok}
		})
	}
	for range c.lanes {
		select {
		case o := <-done:
			fresh, stale = append(fresh, o.fresh...), stale || o.stale
		case <-ctx.Done():
			return nil, false, fmt.Errorf("%w: %w", ErrDown, ctx.Err())
		}
	}
	return fresh, stale, nil
}

// lookAt is how many rooms are looked at with one query.
const lookAt = 500

// look reads how far rooms have come, and has what was missed read.
func (c *Chat) look(ctx context.Context, rooms []int64) error {
	for len(rooms) > 0 {
		some := rooms[:min(lookAt, len(rooms))]
		rooms = rooms[len(some):]
		var heads []Head
		err := c.opts.Store.Read(ctx, func(v View) (err error) {
			heads, err = v.Heads(some)
			return err
		})
		if err != nil {
			return err
		}
		for _, l := range c.lanes {
			l.do(func() { l.heads(heads) })
		}
	}
	return nil
}
