package members

import (
	"time"
)

const (
	// Kept is how long a node that died is shown as unreachable, and its row is
	// left where it is.
	Kept = 5 * time.Minute
	// maxPeers bounds how many other nodes are known: what else is in the table is
	// passed over, and counted.
	maxPeers = 1000
)

// core is what a node knows of the others: a function of what it has heard, and
// when. Its methods are events, take the time as an argument, and return what is
// to be done about them.
type core struct {
	self, name string // of this node
	speaks     Range
	lease      time.Duration
	stall      time.Duration // between two ticks; more is time in which this process did not run

	in    bool // this node is a member: nobody refuses it
	peers map[string]*peer
	last  time.Time // of the last tick
	own   time.Time // when the last write of the own row was begun that was stored
}

// peer is another node.
type peer struct {
	Member
	speaks Range
	beat   uint64
	seen   time.Time // when its row changed last, or from when on it is judged
	heard  time.Time // when its row changed last
	beats  bool      // it has changed since it is known: there is a process behind it
	met    bool      // Joined was said, and Died was not since
	told   bool      // that it is refused
	uneven bool      // that its lease is another was said
	dead   time.Time // when it was found dead; zero: it was not
	gone   bool      // another has its name now: nothing that comes from it counts any more
	wiped  bool      // its row is removed
	asked  bool      // it is being found out whether its process has ended
	again  time.Time // when that may be asked again
	ended  time.Time // when that was found first since it beat last; zero: it was not
	sure   bool      // and found again
}

// doing is something to be done about a peer.
type doing struct {
	what doingKind
	peer Member
}

type doingKind int

const (
	joined   doingKind = iota // say that it joined
	died                      // say that it is dead
	remove                    // remove its row
	foreign                   // log that it is refused: it speaks no version of ours
	replaced                  // end: it began under our name
	passed                    // count that it is one too many
	restated                  // nothing but tell watchers: its status is another
	uneven                    // log that its lease is another
)

func newCore(self, name string, speaks Range, lease, stall time.Duration) *core {
	return &core{self: self, name: name, speaks: speaks, lease: lease, stall: stall, peers: make(map[string]*peer)}
}

// found takes in a row that was there when this node began. One with its name is
// of an earlier run. Of two others with one name nobody knows which came later:
// the later one removes the other's row.
func (c *core) found(m Member, speaks Range, beat uint64, now time.Time) []doing {
	switch {
	case m.ID == c.self || len(c.peers) >= maxPeers:
		return c.row(m, speaks, beat, now)
	case m.Name == c.name:
		c.peers[m.ID] = &peer{Member: m, speaks: speaks, beat: beat, seen: now, heard: now, dead: now, gone: true}
		return []doing{{remove, m}}
	}
	p := &peer{}
	c.peers[m.ID] = p
	return c.update(p, m, speaks, beat, now)
}

// row takes in a row that is new or changed.
func (c *core) row(m Member, speaks Range, beat uint64, now time.Time) (list []doing) {
	p := c.peers[m.ID]
	switch {
	case m.ID == c.self:
		return nil
	case p == nil && len(c.peers) >= maxPeers:
		return []doing{{passed, m}}
	case p == nil:
		list = c.replace(m, now)
		p = &peer{}
		c.peers[m.ID] = p
	case p.gone || p.beat == beat && p.Status == m.Status && !p.wiped:
		return nil // it does not count, or says what it has said before
	default:
		p.beats = true
		if p.met && p.Status != m.Status {
			list = append(list, doing{restated, m})
		}
	}
	list = append(list, c.update(p, m, speaks, beat, now)...)
	// One that does not say has an earlier version. A row that was there when this
	// node began says nothing until it beats: there may be nobody behind it.
	if m.Lease != 0 && m.Lease != c.lease && !p.uneven {
		p.uneven = true
		list = append(list, doing{uneven, m})
	}
	return list
}

// update takes in what a peer's row says.
func (c *core) update(p *peer, m Member, speaks Range, beat uint64, now time.Time) []doing {
	p.Member, p.speaks, p.beat, p.seen, p.heard, p.dead, p.wiped = m, speaks, beat, now, now, time.Time{}, false
	p.ended, p.sure = time.Time{}, false
	switch {
	case !c.speaks.meets(speaks) && !p.told:
		p.told = true
		return []doing{{foreign, m}}
	case c.speaks.meets(speaks) && !p.met:
		p.met = true
		return []doing{{joined, m}}
	}
	return nil
}

// replace has a new node take its name from whoever had it.
func (c *core) replace(m Member, now time.Time) (list []doing) {
	for _, p := range c.peers {
		if p.Name == m.Name && !p.gone {
			list = append(list, c.die(p, now)...)
			p.gone = true
		}
	}
	// Of two that begin at once the one with the later ID stays.
	if m.Name == c.name && (c.in || m.Status != Joining || m.ID > c.self) {
		list = append(list, doing{replaced, m})
	}
	return list
}

func (c *core) die(p *peer, now time.Time) []doing {
	if p.dead.IsZero() {
		p.dead = now
	}
	if !p.met {
		return nil
	}
	p.met = false
	return []doing{{died, p.Member}}
}

// wiped takes in that a row is removed: the node left, or has been dead for long.
func (c *core) wiped(id string, now time.Time) []doing {
	p := c.peers[id]
	if p == nil {
		return nil
	}
	list := c.die(p, now)
	if p.wiped = true; !p.gone {
		delete(c.peers, id)
	}
	return list
}

// tick judges by the time. valid says whether this node's own lease holds.
func (c *core) tick(now time.Time, valid bool) (list []doing) {
	var pause time.Duration
	if gap := now.Sub(c.last); !c.last.IsZero() && (!valid || gap > c.stall) {
		pause = gap
	}
	c.last = now
	for id, p := range c.peers {
		p.seen = p.seen.Add(pause)
		if pause > 0 {
			p.ended, p.sure = time.Time{}, false // it may have begun to beat meanwhile
		}
		switch {
		case p.dead.IsZero():
			if valid && (now.Sub(p.seen) >= c.lease || p.sure && c.own.After(p.ended)) {
				list = append(list, c.die(p, now)...)
			}
		case now.Sub(p.dead) < Kept:
		case p.wiped:
			delete(c.peers, id)
		default:
			p.dead = now // until it is said that the row is gone
			list = append(list, doing{remove, p.Member})
		}
	}
	return list
}

// missing returns the nodes that have missed a beat and of which it is to be found out
// whether they have ended: ended is to be called for each.
func (c *core) missing(now time.Time) (list []Member) {
	for _, p := range c.peers {
		if p.met && p.dead.IsZero() && !p.asked && c.late(p, now) && !now.Before(p.again) {
			p.asked, p.again = true, now.Add(c.stall/4)
			list = append(list, p.Member)
		}
	}
	return list
}

// late says whether a node has missed a beat.
func (c *core) late(p *peer, now time.Time) bool { return now.Sub(p.seen) >= c.stall*5/4 }

// ended takes in whether the process of a node has ended. It is dead when that was found
// twice, and this node has stored its row in between: so it is where the majority is,
// and would have heard of a beat. first says that it was found for the first time.
func (c *core) ended(id string, has bool, now time.Time) (first bool) {
	p := c.peers[id]
	if p == nil {
		return false
	}
	p.asked = false
	switch {
	case !has || !c.late(p, now):
		p.ended, p.sure = time.Time{}, false
	case p.ended.IsZero():
		p.ended = now
		return true
	default:
		p.sure = true
	}
	return false
}

// back takes in that this node's lease holds again. The table may have stood still
// for all: they get the time to write their rows.
func (c *core) back(now time.Time) {
	for _, p := range c.peers {
		if least := now.Add(-c.lease * 2 / 5); p.seen.Before(least) {
			p.seen = least
		}
	}
}

// refusal returns the member that this node may not be one beside, and whether
// that is known: whether one that speaks no version of ours is alive shows when
// it beats, or has not for a lease.
func (c *core) refusal(now time.Time) (by *peer, known bool) {
	known = true
	for _, p := range c.peers {
		if p.gone || !p.dead.IsZero() || c.speaks.meets(p.speaks) || p.Status == Joining && p.ID > c.self {
			continue
		}
		if p.beats {
			return p, true
		}
		known = known && now.Sub(p.seen) >= c.lease
	}
	return nil, known
}

// alive says whether a node has been heard of within a lease.
func (c *core) alive(id string) bool {
	p := c.peers[id]
	return p != nil && !p.gone && p.dead.IsZero() && c.speaks.meets(p.speaks)
}

// list returns the other members, as this node judges them.
func (c *core) list() []Member {
	list := make([]Member, 0, len(c.peers)+1)
	for _, p := range c.peers {
		if p.gone || !c.speaks.meets(p.speaks) {
			continue
		}
		m := p.Member
		if !p.dead.IsZero() {
			m.Status, m.Since, m.Sessions, m.Load = Unreachable, p.dead, 0, 0
		}
		list = append(list, m)
	}
	return list
}

// silent is list for a node that is lost. It judges nobody, but what it heard last is
// no news any more: who was not heard of for a lease is unreachable from here.
func (c *core) silent(now time.Time) []Member {
	list := c.list()
	for i := range list {
		m, over := &list[i], c.peers[list[i].ID].heard.Add(c.lease)
		if m.Status != Unreachable && !now.Before(over) {
			m.Status, m.Since, m.Sessions, m.Load = Unreachable, over, 0, 0
		}
	}
	return list
}
