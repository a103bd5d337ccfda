package relay

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Bounds of a roster.
const (
	mostMembers = 10_000          // that are there; one more is refused
	maxKnown    = 2 * mostMembers // with those that are gone; the oldest of these are forgotten
	atOnce      = 16              // that part of them
)

// roster is who is in which cluster, and who got which ID and port. It is state
// alone: each call is told the time, and nothing in it runs by itself. Whoever uses it
// guards it.
//
// Times are compared by their monotonic reading where they have one, so a clock that
// is set drops nobody.
type roster struct {
	firstPort   int
	expireAfter time.Duration
	newID       func() string

	nextPort  int // the next that is given out
	members   map[memberKey]*registered
	places    map[memberPlace]*registered // who was at a place last
	nameless  map[memberPlace]*registered // got both ID and port; by cluster and address
	up        int
	scanned   time.Time // nobody expires before
	changes   uint64    // counts what has to be kept
	onJoined  func(*registered)
	onDropped func(*registered)
}

// memberKey names a member. IDs that we give out are unique by themselves; others may
// call themselves the same in two clusters.
type memberKey struct{ cluster, id string }

// memberPlace is where a member is. Port 0 stands for any.
type memberPlace struct {
	cluster, address string
	port             int
}

// registered is a member, or one that was and is remembered.
type registered struct {
	memberKey
	address  string
	port     int
	nameless bool // asks without ID and port
	up       bool
	left     bool      // by /remove; else it was lost, unless it is up
	since    time.Time // of being what it is
	seen     time.Time // the last heartbeat, or the start of this process
	change   uint64    // the change that it was part of last
}

func newRoster(firstPort int, expireAfter time.Duration, newID func() string) *roster {
	return &roster{
		firstPort: firstPort, expireAfter: expireAfter, newID: newID, nextPort: firstPort,
		members: map[memberKey]*registered{}, places: map[memberPlace]*registered{}, nameless: map[memberPlace]*registered{},
		onJoined: func(*registered) {}, onDropped: func(*registered) {},
	}
}

// set changes the settings of a roster.
func (g *roster) set(firstPort int, expireAfter time.Duration) {
	if firstPort != g.firstPort {
		g.firstPort, g.nextPort = firstPort, firstPort
	}
	g.expireAfter, g.scanned = expireAfter, time.Time{}
}

// asking is what a call of /register asks for. An ID that is empty and a port of 0
// are given out.
type asking struct {
	cluster, address, id string
	port                 int
	taken                int // a port that something else at this address has; 0 for none
}

// fullError says that there is no room for another one.
type fullError struct{ reason string }

func (e *fullError) Error() string { return e.reason }

// register has a member join, or renews it.
func (g *roster) register(now time.Time, a asking) (*registered, error) {
	g.expire(now)
	m := g.find(a)
	if m == nil || !m.up {
		if g.up >= mostMembers {
			return nil, &fullError{fmt.Sprintf("there are %d members already", mostMembers)}
		}
	}
	port := a.port
	if port == 0 && m != nil && m.port != a.taken && (m.address == a.address || g.free(m, a.address, m.port)) {
		port = m.port
	}
	if port == 0 {
		var err error
		if port, err = g.nextFree(m, a); err != nil {
			return nil, err
		}
	}
	if m == nil {
		m = &registered{memberKey: memberKey{a.cluster, a.id}, nameless: a.id == "" && a.port == 0}
		if m.id == "" {
			m.id = g.newID()
		}
		g.members[m.memberKey] = m
		g.changed(m)
	}
	g.move(now, m, a.address, port)
	m.seen = now
	if !m.up {
		m.up, m.left, m.since = true, false, now
		g.up++
		if until := now.Add(g.expireAfter); until.Before(g.scanned) {
			g.scanned = until
		}
		g.changed(m)
		g.onJoined(m)
	}
	g.forget()
	return m, nil
}

// find returns who asks, if it is known.
func (g *roster) find(a asking) *registered {
	switch {
	case a.id != "":
		return g.members[memberKey{a.cluster, a.id}]
	case a.port != 0:
		return g.places[memberPlace{a.cluster, a.address, a.port}]
	}
	return g.nameless[memberPlace{a.cluster, a.address, 0}]
}

// move notes where a member is. Another one that was there cannot be there any more,
// and is lost.
func (g *roster) move(now time.Time, m *registered, address string, port int) {
	to := memberPlace{m.cluster, address, port}
	if other := g.places[to]; other != nil && other != m && other.up {
		g.drop(now, other)
	}
	if m.address != address || m.port != port {
		g.leavePlace(m)
		m.address, m.port = address, port
		g.changed(m)
	}
	g.places[to] = m
	if m.nameless {
		g.nameless[memberPlace{m.cluster, address, 0}] = m
	}
}

// leavePlace takes a member out of the tables of places.
func (g *roster) leavePlace(m *registered) {
	if at := (memberPlace{m.cluster, m.address, m.port}); g.places[at] == m {
		delete(g.places, at)
	}
	if at := (memberPlace{m.cluster, m.address, 0}); g.nameless[at] == m {
		delete(g.nameless, at)
	}
}

// free says whether no other one at an address has a port, those that were lost
// included: they come back with it.
func (g *roster) free(self *registered, address string, port int) bool {
	for _, m := range g.members {
		if m != self && m.address == address && m.port == port {
			return false
		}
	}
	return true
}

// nextFree gives out a port. They count up, so that one which was given back is not
// given to another soon; at the end it begins again.
func (g *roster) nextFree(self *registered, a asking) (int, error) {
	used := map[int]bool{a.taken: true}
	for _, m := range g.members {
		if m != self && m.address == a.address {
			used[m.port] = true
		}
	}
	for range maxPort - g.firstPort + 1 {
		port := g.nextPort
		if port < g.firstPort || port > maxPort {
			port = g.firstPort
		}
		g.nextPort = port + 1
		if !used[port] {
			return port, nil
		}
	}
	return 0, &fullError{fmt.Sprintf("all ports from %d on are given out at %s", g.firstPort, a.address)}
}

// remove has all members of an ID leave, and returns them. Their ID and port are
// remembered, as of those that were lost. It is no error if there is none.
func (g *roster) remove(now time.Time, id string) (left []*registered) {
	for key, m := range g.members {
		if key.id != id || m.left {
			continue
		}
		if m.up {
			g.up--
		}
		m.up, m.left, m.since = false, true, now
		g.changed(m)
		left = append(left, m)
	}
	return left
}

// expire drops those whose last heartbeat is too long ago.
func (g *roster) expire(now time.Time) {
	if now.Before(g.scanned) {
		return
	}
	g.scanned = now.Add(g.expireAfter)
	for _, m := range g.members {
		if !m.up {
			continue
		}
		if until := m.seen.Add(g.expireAfter); !until.After(now) {
			g.drop(now, m)
		} else if until.Before(g.scanned) {
			g.scanned = until
		}
	}
}

// drop notes that a member was lost.
func (g *roster) drop(now time.Time, m *registered) {
	m.up, m.since = false, now
	g.up--
	g.changed(m)
	g.onDropped(m)
}

// forget keeps those that are remembered from becoming too many. Many go at once, so
// that it is not for each newcomer that all are looked at.
func (g *roster) forget() {
	if len(g.members) <= maxKnown {
		return
	}
	var gone []*registered
	for _, m := range g.members {
		if !m.up {
			gone = append(gone, m)
		}
	}
	slices.SortFunc(gone, func(a, b *registered) int { return a.since.Compare(b.since) })
	for _, m := range gone[:min(len(gone), maxKnown/atOnce)] {
		g.leavePlace(m)
		delete(g.members, m.memberKey)
	}
	g.changes++
}

func (g *roster) changed(m *registered) {
	g.changes++
	m.change = g.changes
}

// list returns the members of each cluster, with or without those that were lost.
func (g *roster) list(lost bool) Clusters {
	all := Clusters{}
	for key, m := range g.members {
		if m.left || !m.up && !lost {
			continue
		}
		if all[key.cluster] == nil {
			all[key.cluster] = map[string]Member{}
		}
		out := Member{Address: m.address, Port: Port(m.port)}
		if !m.up {
			since := m.since.UTC()
			out.Lost = &since
		}
		all[key.cluster][key.id] = out
	}
	return all
}

// sorted returns all by cluster and ID.
func (g *roster) sorted() []*registered {
	list := make([]*registered, 0, len(g.members))
	for _, m := range g.members {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *registered) int {
		return cmp.Or(cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.id, b.id))
	})
	return list
}
