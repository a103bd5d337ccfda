package mailbox

import (
	"encoding/binary"
	"hash/fnv"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// laneCount is into how many lanes the senders to a master user are hashed.
const laneCount = 64

// lanes share a master user's messages out among its sessions: a sender's
// messages go through one lane, a lane to one session, so that each sender's
// order holds. A lane moves to another session only while nothing of it is on
// its way, or when its session ends.
type lanes [laneCount]lane

type lane struct {
	owner *session
	next  *session // who gets it once nothing is on its way; nil: stays
	busy  int      // messages on their way
}

func laneOf[T ~string | ~[]byte](from T) uint8 {
	h := fnv.New32a()
	h.Write([]byte(from))
	return uint8(h.Sum32() % laneCount)
}

// shareOut gives each lane to the session that its hash prefers, as far as it
// may move now.
func (c *core) shareOut(u *user) {
	if u.lanes == nil {
		return
	}
	for i := range u.lanes {
		l := &u.lanes[i]
		best := preferred(u.sessions, uint8(i))
		l.next = nil
		switch {
		case l.owner == best:
		case l.owner == nil:
			l.owner = best
		case l.busy == 0:
			l.move(best)
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
	for i := range u.lanes {
		if l := &u.lanes[i]; l.owner == s {
			l.busy = 0
			l.move(preferred(u.sessions, uint8(i)))
		}
	}
	c.shareOut(u)
}

// freeLane says that one message of a lane is proved.
func (c *core) freeLane(u *user, i uint8) {
	l := &u.lanes[i]
	l.busy--
	if l.busy == 0 && l.next != nil {
		l.move(l.next)
	}
}

// move hands a lane over: its new owner goes on where the old one stood.
func (l *lane) move(to *session) {
	to.cursor = min(to.cursor, l.owner.cursor)
	l.owner, l.next = to, nil
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
