package mailbox

import (
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// The mailbox of a link holds what is for, or goes through, another domain: FORWARD
// frames. Its session hands them over; see wire.Forward.

// link is what only a mailbox of a link has: how far all is proved, and that in the
// log. What a crash may bring back must never have been said to be below.
type link struct {
	from   uint64 // nothing before it waits
	stored uint64 // nor would it after a crash now
	next   uint64 // nor after one when batch seq is stored; 0: none is waited for
	seq    uint64
	newest uint64 // the batch with the last record that took something out
}

// toLink says whether a message is for the mailbox of a link.
func (c *core) toLink(m *Message) bool {
	return c.isLink != nil && len(m.To) == 1 && c.isLink(m.To[0])
}

// first returns the place of the first message that waits, or the one that the next
// will have.
func (c *core) first(u *user) uint64 {
	l := u.link
	list := u.entries.list
	for i := u.entries.at(l.from); i < len(list); i++ {
		if list[i].waits() {
			l.from = list[i].ord
			return l.from
		}
	}
	l.from = c.journal.nextOrd
	return l.from
}

// low returns the place below which nothing comes again.
func (c *core) low(u *user) uint64 {
	l := u.link
	if l.newest <= c.journal.last {
		return c.first(u)
	}
	c.settleLow(l)
	return l.stored
}

func (c *core) settleLow(l *link) {
	if l.seq != 0 && l.seq <= c.journal.last {
		l.stored, l.seq = l.next, 0
	}
}

// takenOut says that a record of batch seq took messages out of the mailbox of a link.
func (c *core) takenOut(u *user, seq uint64, ords []uint64) {
	l := u.link
	if c.settleLow(l); l.newest <= c.journal.last {
		l.stored, l.seq = min(c.first(u), slices.Min(ords)), 0
	}
	if l.newest = seq; l.seq == 0 {
		l.seq = seq
	}
	if l.seq == seq {
		l.next = c.first(u)
	}
}

// receiversIn returns who is to get what waits in the mailbox of user: of a link, or
// of another shard, those who live behind it.
func (c *core) receiversIn(user wire.UserID, frame []byte) []wire.UserID {
	if isRelay(user) {
		f, err := ParseForwarded(Delivery{Frame: frame})
		if err != nil {
			return []wire.UserID{user}
		}
		user, frame = f.To, f.Frame
	}
	if c.isLink != nil && c.isLink(user) {
		if f, err := wire.ParseForward(frame); err == nil {
			return f.To
		}
	}
	return []wire.UserID{user}
}
