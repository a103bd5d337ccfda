package chat

import (
	"context"
	"slices"
	"time"
)

const (
	// lookEvery is how often memberships that could not be read are read again, and all
	// that another node may have told in vain is asked of the database: who is removed
	// there is to hear nothing here within a second.
	lookEvery = 500 * time.Millisecond
	// compareEvery is how often that is asked though nothing was heard of a loss.
	compareEvery = 30 * time.Second
	// compareTime bounds one reading.
	compareTime = 5 * time.Second
)

// compareSoon has what is known here compared with the database.
func (c *Chat) compareSoon() {
	select {
	case c.stir <- struct{}{}:
	default: // it will be
	}
}

// peekSoon has how far rooms have come compared.
func (c *Chat) peekSoon() {
	select {
	case c.peek <- struct{}{}:
	default: // it will be
	}
}

// compare keeps sessions where they belong: those whose memberships could not be read,
// and all of them when news may have been lost.
func (c *Chat) compare(ctx context.Context) {
	look, again := time.NewTicker(lookEvery), time.NewTicker(compareEvery)
	defer look.Stop()
	defer again.Stop()
	all, heads := false, false
	for {
		select {
		case <-c.stir:
			all, heads = true, true
		case <-c.peek:
			heads = true
		case <-again.C:
			if c.opts.Nodes != nil {
				all, heads = true, true
			}
		case <-look.C:
			if c.opts.Apart() {
				all, heads = true, true
			}
		case <-ctx.Done():
			return
		}
		if c.reload(ctx, all) != nil { // the store is down: what is left waits for it
			heads = true
		} else {
			all = false
		}
		if heads && c.lookAtAll(ctx) == nil {
			heads = false
		}
	}
}

// reload reads the memberships of sessions of which they are not known, and, of all, those
// that are not as they are known. What is as it was costs one query for many.
func (c *Chat) reload(ctx context.Context, all bool) error {
	var wanted, known []*attached
	for _, a := range c.local.all() {
		a.mu.Lock()
		loaded := a.loaded
		a.mu.Unlock()
		if !loaded {
			wanted = append(wanted, a)
		} else if all {
			known = append(known, a)
		}
	}
	for some := range slices.Chunk(known, lookAt) {
		others, err := c.strayed(ctx, some)
		if err != nil {
			return err
		}
		wanted = append(wanted, others...)
	}
	for _, a := range wanted {
		call, cancel := context.WithTimeout(ctx, compareTime)
		err := c.load(call, a)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// strayed returns those of some sessions that are not in the rooms of their users.
func (c *Chat) strayed(ctx context.Context, list []*attached) (others []*attached, err error) {
	ctx, cancel := context.WithTimeout(ctx, compareTime)
	defer cancel()
	users := make([]int64, len(list))
	for i, a := range list {
		users[i] = a.n
	}
	slices.Sort(users)
	users = slices.Compact(users)
	of := make(map[int64]Roster, len(users))
	err = c.opts.Store.Read(ctx, func(v View) error {
		rosters, err := v.Rosters(users)
		clear(of)
		for _, r := range rosters {
			of[r.User] = Roster{Rooms: r.Rooms, Sum: r.Sum, Squares: r.Squares}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		a.mu.Lock()
		same := a.roster == of[a.n]
		a.mu.Unlock()
		if !same {
			others = append(others, a)
		}
	}
	return others, nil
}

// lookAtAll looks at every room of which there is a session here.
func (c *Chat) lookAtAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, compareTime)
	defer cancel()
	numbers := make(chan []int64, len(c.lanes))
	for _, l := range c.lanes {
		l.do(func() { numbers <- l.numbers() })
	}
	for range c.lanes {
		select {
		case list := <-numbers:
			if err := c.look(ctx, list); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
