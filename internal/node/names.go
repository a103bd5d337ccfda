package node

import (
	"context"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// nameAge is for how long a name is told before it is looked up again.
	nameAge = time.Minute
	// nameless is for how long somebody is told of without a name when it could not be
	// looked up.
	nameless = 5 * time.Second
	// mostNames is how many are kept; past it all are forgotten.
	mostNames = 100_000
	// namesAtOnce is how many are looked up with one question.
	namesAtOnce = 500
	// nameTime bounds one of those.
	nameTime = 2 * time.Second
)

// names are what users of chat are called, as far as somebody has asked. Its methods
// may be called from any goroutine.
type names struct {
	lookUp func(ctx context.Context, users []wire.UserID) (map[wire.UserID]accounts.Profile, error)
	app    string
	wake   chan struct{}

	mu     sync.Mutex // guards what follows
	known  map[wire.UserID]name
	wanted map[wire.UserID]struct{}
}

// name is what somebody is called; empty: there is no such account.
type name struct {
	text string
	good time.Time // until then
}

func newNames(lookUp func(ctx context.Context, users []wire.UserID) (map[wire.UserID]accounts.Profile, error), app string) *names {
	return &names{lookUp: lookUp, app: app, wake: make(chan struct{}, 1), known: make(map[wire.UserID]name), wanted: make(map[wire.UserID]struct{})}
}

// Now returns the names that are known of some users; false: some will be known in a
// moment. It does not block.
func (n *names) Now(users []wire.UserID) (list map[wire.UserID]string, all bool) {
	list, missing := n.have(users)
	return list, len(missing) == 0
}

// have returns the names that are known, and those who are not; who is not, or was
// looked up too long ago, is wanted.
func (n *names) have(users []wire.UserID) (list map[wire.UserID]string, missing []wire.UserID) {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, user := range users {
		if user.App() != n.app {
			continue
		}
		one, ok := n.known[user]
		if !ok || one.good.Before(now) {
			n.wanted[user] = struct{}{}
		}
		if !ok {
			missing = append(missing, user)
		} else if one.text != "" {
			if list == nil {
				list = make(map[wire.UserID]string)
			}
			list[user] = one.text
		}
	}
	if len(n.wanted) > 0 {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
	return list, missing
}

// Ask returns the names of some users, as far as they can be found out.
func (n *names) Ask(ctx context.Context, users []wire.UserID) map[wire.UserID]string {
	list, missing := n.have(users)
	if len(missing) == 0 {
		return list
	}
	n.learn(ctx, missing)
	list, _ = n.have(users)
	return list
}

// run looks up what is wanted, until ctx ends.
func (n *names) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
		}
		n.mu.Lock()
		list := make([]wire.UserID, 0, len(n.wanted))
		for user := range n.wanted {
			list = append(list, user)
		}
		clear(n.wanted)
		n.mu.Unlock()
		for len(list) > 0 && ctx.Err() == nil {
			some := list[:min(len(list), namesAtOnce)]
			list = list[len(some):]
			n.learn(ctx, some)
		}
	}
}

// learn looks users up. Whose name cannot be found out is called as before for a while,
// or nothing.
func (n *names) learn(ctx context.Context, users []wire.UserID) {
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	found, err := n.lookUp(ctx, users)
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.known)+len(users) > mostNames {
		clear(n.known)
	}
	for _, user := range users {
		if err != nil {
			n.known[user] = name{n.known[user].text, now.Add(nameless)}
			continue
		}
		p := found[user]
		text := p.DisplayName
		if text == "" {
			text = p.Username
		}
		n.known[user] = name{text, now.Add(nameAge)}
	}
}
