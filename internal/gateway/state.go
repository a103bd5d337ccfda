package gateway

import (
	"strings"
	"time"
)

// What an instance is called by how it stands.
const (
	Up      = "up"
	Failing = "failing" // its breaker is open: requests before failed
	Down    = "down"    // its health checks are bad
)

// longestReason is how many bytes of an error are shown.
const longestReason = 200

// State is how an instance stands at this node.
type State struct {
	Word     string    // one of Up, Failing and Down
	Since    time.Time // it is so
	Reason   string    // why it is not up
	InFlight int       // requests that it has of this node
}

// story is since when, and why, an instance stands as it does.
type story struct {
	since  time.Time
	reason string
}

// turned notes that an instance stands otherwise from now on; err says why it is not up.
func (i *instance) turned(now time.Time, err error) {
	t := &story{since: now}
	if err != nil {
		t.reason = err.Error()
		t.reason = strings.ToValidUTF8(t.reason[:min(len(t.reason), longestReason)], "")
	}
	i.story.Store(t)
}

// State returns how an instance of a service stands here; false where no route leads to it.
func (g *Gateway) State(service, name string) (State, bool) {
	s := g.table.Load().services[service]
	if s == nil {
		return State{}, false
	}
	for _, i := range *s.list.Load() {
		if i.Name != name {
			continue
		}
		t := i.story.Load()
		state := State{Word: Up, Since: t.since, InFlight: int(i.inFlight.Load())}
		switch {
		case i.down.Load():
			state.Word, state.Reason = Down, t.reason
		case i.breaker.is() != closed:
			state.Word, state.Reason = Failing, t.reason
		}
		return state, true
	}
	return State{}, false
}
