package relay

import (
	"fmt"
	"log/slog"
)

// doorMove is what becomes of a door under other settings. It is planned, which may
// fail, and then done or called off, which does not: a program plans the moves of all
// its doors before it does any, so that settings are taken over whole or not at all.
type doorMove struct {
	old, door *door // before and afterwards; nil for none
	b         behind
	done      bool
}

// planMove plans to have a door serve something else, at another address perhaps: the
// new one listens then, and is not served yet. old may be nil, and an address empty:
// there is none then.
func planMove(old *door, log *slog.Logger, address string, most int, b behind) (*doorMove, error) {
	m := &doorMove{old: old, b: b}
	switch {
	case address == "":
		return m, nil
	case old == nil || old.asked != address:
		d, err := newDoor(log, address, most, b)
		m.door = d
		return m, err
	case old.secure() != (b.creds.server != nil):
		return m, fmt.Errorf("TLS cannot be turned on or off at %s while it is in use: take another port, or start again", address)
	}
	m.door = old
	return m, nil
}

// moveDoors does what was planned: all new doors are served before the first old one
// closes, which takes as long as what is on its way there.
func moveDoors(moves ...*doorMove) {
	var over []*door
	for _, m := range moves {
		switch {
		case m.done:
		case m.door != m.old:
			over = append(over, m.old)
			if m.door != nil {
				m.door.serve()
			}
		case m.door != nil:
			m.door.replace(m.b)
		}
		m.done = true
	}
	for _, d := range over {
		d.close()
	}
}

// callOff leaves the old door as it is, unless the move was done.
func (m *doorMove) callOff() {
	if !m.done && m.door != nil && m.door != m.old {
		_ = m.door.listener.Close() // nobody was let in
	}
}
