package mailbox

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// laneCount is into how many lanes the senders to a master user are hashed.
const laneCount = 64

// lanes share a master user's messages out among its sessions: a sender's
// messages go through one lane, a lane to one session, so that each sender's
// order holds. A lane moves to another session only while nothing of it is on
// its way, or when its session ends.
//
// All sessions have one mark, that of the first: what came since goes to the
// session that owns its lane, whoever that is. What was missed goes to those
// who fetch it or have asked for push.
type lanes struct {
	mark uint64
	lane [laneCount]lane
}

type lane struct {
	owner *session
	next  *session // who gets it once nothing is on its way; nil: stays
	busy  int      // messages on their way to the owner
	alien int      // and to others: until they are proved or come back, the owner gets none
}

func laneOf[T ~string | ~[]byte](from T) uint8 {
	h := fnv.New32a()
	h.Write([]byte(from))
	return uint8(h.Sum32() % laneCount)
}

// makeLanes begins to share a user's messages out, from the mark that a new
// session would have.
func (c *core) makeLanes(u *user, mark uint64) {
	u.lanes = &lanes{mark: mark}
	for _, s := range u.sessions {
		c.setMark(s, mark)
	}
	c.dropSettled(u) // what is proved goes to no second session any more
}

// shareOut gives each lane to the session that its hash prefers, as far as it
// may move now.
func (c *core) shareOut(u *user) {
	if u.lanes == nil {
		return
	}
	for i := range u.lanes.lane {
		l := &u.lanes.lane[i]
		best := preferred(u.sessions, uint8(i))
		l.next = nil
		switch {
		case l.owner == best:
		case l.owner == nil:
			l.owner = best
		case l.busy == 0:
			c.moveLane(u, uint8(i), best)
		default:
			l.next = best
		}
	}
}

// leaveLanes takes the lanes from a session that ends.
func (c *core) leaveLanes(u *user, s *session) {
	if u.lanes == nil {
		return
	}
	if len(u.sessions) == 0 {
		u.lanes = nil
		return
	}
	u.alignPush(s)
	for i := range s.flight {
		if f := &s.flight[i]; f.lane >= 0 && u.lanes.lane[f.lane].owner != s {
			c.freeLane(u, s, uint8(f.lane))
		}
	}
	for i := range u.lanes.lane {
		if l := &u.lanes.lane[i]; l.owner == s {
			l.busy = 0
			c.moveLane(u, uint8(i), preferred(u.sessions, uint8(i)))
		}
	}
	c.shareOut(u)
}

// freeLane says that one message of a lane is on its way to s no longer.
func (c *core) freeLane(u *user, s *session, i uint8) {
	l := &u.lanes.lane[i]
	if l.owner != s {
		if l.alien--; l.alien == 0 {
			l.owner.cursor = min(l.owner.cursor, u.lanes.mark) // it went past what it could not have
		}
		return
	}
	l.busy--
	if l.busy == 0 && l.next != nil {
		c.moveLane(u, i, l.next)
	}
}

// moveLane hands a lane over: its new owner goes on where the old one stood,
// and gets what was given back and not sent yet.
func (c *core) moveLane(u *user, i uint8, to *session) {
	l := &u.lanes.lane[i]
	from := l.owner
	l.owner, l.next = to, nil
	if l.alien > 0 {
		l.busy = to.inLane(i)
		l.alien -= l.busy
		to.cursor = min(to.cursor, u.lanes.mark) // the old owner went past what it could not have
	}
	to.cursor = min(to.cursor, from.cursor)
	u.alignPush(from)
	if len(from.returned) == 0 {
		return
	}
	from.returned = slices.DeleteFunc(from.returned, func(ord uint64) bool {
		e := u.entries.find(ord)
		if e == nil || e.lane != i {
			return false
		}
		to.giveBack(ord)
		return true
	})
}

// pusher returns the session that is sent the missed messages of a lane
// unasked: its owner, if that has asked for push, else the first that has; nil
// when none has.
func (u *user) pusher(i uint8) *session {
	if owner := u.lanes.lane[i].owner; owner.Push {
		return owner
	}
	for _, s := range u.sessions {
		if s.Push {
			return s
		}
	}
	return nil
}

// alignPush sends all sessions that push back to where the last of them is,
// left included, which may have ended: what was missed in some lane may be the
// task of another of them now. What they have is held and passed over.
func (u *user) alignPush(left *session) {
	last := uint64(math.MaxUint64)
	if left.Push {
		last = left.cursor
	}
	for _, s := range u.sessions {
		if s.Push {
			last = min(last, s.cursor)
		}
	}
	for _, s := range u.sessions {
		if s.Push {
			s.cursor = last
		}
	}
}

// shared says whether the entry of a user with lanes goes to s by itself.
func (u *user) shared(s *session, e *entry) bool {
	if e.holders > 0 || e.settled() {
		return false
	}
	if e.ord < u.lanes.mark {
		return s.Push && u.pusher(e.lane) == s
	}
	l := &u.lanes.lane[e.lane]
	return l.owner == s && l.alien == 0
}

// inLane counts what is on its way to s in a lane.
func (s *session) inLane(i uint8) (n int) {
	for _, f := range s.flight {
		if f.lane == int16(i) {
			n++
		}
	}
	return n
}

// layLanes shares a user's messages out from the beginning, after a session was
// registered anew: a lane belongs to the session that has something of it.
func (c *core) layLanes(u *user) {
	l := u.lanes
	l.lane = [laneCount]lane{}
	var returned []uint64
	for _, s := range u.sessions {
		c.setMark(s, l.mark)
		if s.cursor = l.mark; s.Push {
			s.cursor = 0
		}
		returned, s.returned = append(returned, s.returned...), nil
		c.claimLanes(u, s)
	}
	for i := range l.lane {
		best := preferred(u.sessions, uint8(i))
		switch ln := &l.lane[i]; ln.owner {
		case nil:
			ln.owner = best
		case best:
		default:
			ln.next = best
		}
	}
	for _, ord := range returned {
		if e := u.entries.find(ord); e != nil && e.waits() && e.holders == 0 {
			c.bequeath(u, e)
		}
	}
}

// claimLanes gives a session the lanes of which it has messages, as far as no
// other has.
func (c *core) claimLanes(u *user, s *session) {
	for i := range s.flight {
		f := &s.flight[i]
		f.lane = -1
		e := u.entries.find(f.ord)
		if e == nil || !e.waits() || i < s.proved || f.done {
			continue
		}
		ln := &u.lanes.lane[e.lane]
		if ln.owner != s && (f.fetched || f.ord < u.lanes.mark) {
			continue // what was missed keeps no lane
		}
		f.lane = int16(e.lane)
		switch ln.owner {
		case nil:
			ln.owner = s
			ln.busy++
		case s:
			ln.busy++
		default:
			ln.alien++
		}
	}
}

// preferred chooses a lane's session: highest hash wins, so that a session that
// comes or goes moves no lane but its own.
func preferred(sessions []*session, i uint8) *session {
	var best *session
	var most uint64
	for _, s := range sessions {
		if h := rank(s.ID, i); best == nil || h > most {
			best, most = s, h
		}
	}
	return best
}

func rank(id wire.ID, i uint8) uint64 {
	h := fnv.New64a()
	h.Write([]byte{i})
	h.Write(id[:])
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], h.Sum64())
	h.Write(b[:]) // once more: FNV's last bytes hardly move its high bits
	return h.Sum64()
}
