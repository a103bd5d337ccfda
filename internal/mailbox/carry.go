package mailbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Carried is one message that waits in a mailbox, as somebody sees it who may send it
// another way.
type Carried struct {
	Ord       uint64 // its place
	ID        wire.ID
	From      wire.UserID
	Group     bool
	Notice    bool
	Presence  bool
	Quiet     bool
	Confirm   bool
	Reference []byte    // nil for none
	Expires   time.Time // zero: never
	Frame     []byte
}

// Moved is a message that is to go another way.
type Moved struct {
	Carried
	// Parts are what becomes of it. None: it is elsewhere already.
	Parts []Part
}

// Part is a message that takes the place of another one, with its ID, sender,
// reference and end, for other mailboxes: none is that of the message itself, and
// none is in two parts.
type Part struct {
	To      []wire.UserID // users, or one link
	Group   bool
	Confirm bool
	Frame   []byte
}

// Mailboxes returns the users behind after in whose mailboxes something waits, in
// order, at most limit. Each call passes all of them: ask for many at once.
func (k *Keeper) Mailboxes(ctx context.Context, after wire.UserID, limit int) ([]wire.UserID, error) {
	list, err := ask(ctx, k, func(c *core, _ time.Time) []wire.UserID { return c.mailboxes(after) })
	if err != nil {
		return nil, err
	}
	slices.Sort(list)
	return list[:min(limit, len(list))], nil
}

// mailboxes returns who has something waiting, in no order.
func (c *core) mailboxes(after wire.UserID) (list []wire.UserID) {
	for id, u := range c.users {
		if u.waiting > 0 && id > after && !isSubscriber(id) {
			list = append(list, id)
		}
	}
	return list
}

// Carry returns what is stored for a user behind the place after and on its way to no
// session, in order: at most limit messages, fewer when they are long. more says
// whether there may be others behind the last of them, or, when there is none, behind
// after.
func (k *Keeper) Carry(ctx context.Context, user wire.UserID, after uint64, limit int) (list []Carried, more bool, err error) {
	for {
		p, err := ask(ctx, k, func(c *core, now time.Time) page {
			if u := c.users[user]; u == nil || c.heldUp(u) { // who is to be registered anew may have all of it
				return page{}
			}
			return c.lookFor(now, user, after, limit, peekBytes, (*entry).free).within(peekBatches)
		})
		if err != nil || len(p.spots) == 0 {
			return nil, false, err
		}
		after = p.spots[len(p.spots)-1].ord
		spots, err := k.readWhole(ctx, user, p)
		if err != nil {
			return nil, false, fmt.Errorf("read the mailbox of %s: %w", user, err)
		}
		for i := range spots {
			list = append(list, spots[i].carried())
		}
		if len(list) > 0 || !p.more {
			return list, p.more, nil
		}
	}
}

func (e *entry) free() bool { return e.holders == 0 }

func (s *spot) carried() Carried {
	c := Carried{
		Ord: s.ord, ID: s.id, From: wire.UserID(s.from), Frame: s.frame, Reference: s.reference,
		Group: s.flags&flagGroup != 0, Notice: s.flags&flagNotice != 0, Presence: s.flags&flagPresence != 0,
		Quiet: s.flags&flagQuiet != 0, Confirm: s.flags&flagConfirm != 0,
	}
	if s.expires != 0 {
		c.Expires = time.Unix(int64(s.expires), 0).UTC()
	}
	return c
}

// Move sends messages that Carry returned another way, each as a whole and at once:
// what takes its place is in the batch that says that it is gone, so it is neither
// lost nor there twice, whatever is killed. One for which there is no room where it
// is to go stays, as does one that is on its way to a session by now; moved says how
// many did not. Nobody is told. It returns when that is on disk; when ctx ends first,
// or with an error that MayYetArrive, it may happen all the same.
func (k *Keeper) Move(ctx context.Context, user wire.UserID, list []Moved) (moved int, err error) {
	return k.errand(ctx, "the messages may yet go another way", func(c *core, now time.Time, receipt *Message) (int, bool) {
		n := 0
		for i := range list {
			if c.move(now, user, &list[i]) {
				n++
			}
		}
		if u := c.users[user]; u != nil {
			c.release(u)
		}
		return n, c.answerAfter(receipt)
	})
}

// Carried says that messages are elsewhere now: they are removed, and nobody is told.
// Those that are on their way to a session by now stay. It returns when that is on
// disk.
func (k *Keeper) Carried(ctx context.Context, user wire.UserID, ords []uint64) error {
	list := make([]Moved, len(ords))
	for i, ord := range ords {
		list[i].Ord = ord
	}
	_, err := k.Move(ctx, user, list)
	return err
}

// move sends one message another way.
func (c *core) move(now time.Time, user wire.UserID, m *Moved) bool {
	u := c.users[user]
	if u == nil {
		return false
	}
	e := u.entries.find(m.Ord)
	if c.heldUp(u) || e == nil || !e.waits() || e.holders > 0 || !c.journal.holds(m.Ord) || c.expired(now, e) {
		return false
	}
	size := 64
	for i := range m.Parts {
		size += len(m.Parts[i].Frame) + 256 + 24*len(m.Parts[i].To)
	}
	c.journal.hold(size)
	defer c.journal.letGo()
	for i := range m.Parts {
		if !c.hasRoom(&m.Parts[i]) {
			return false
		}
	}
	c.gone(u, goneMoved, m.Ord)
	c.counts.moved++
	c.recent.forget(m.ID, user)
	for i := range m.Parts {
		c.appendPart(now, m, &m.Parts[i])
	}
	return true
}

// mailboxOf returns the mailbox here in which something for a user waits.
func (c *core) mailboxOf(to wire.UserID) wire.UserID {
	if c.shardOf != nil {
		if shard := c.shardOf(to); shard != c.shard {
			return c.relay(shard)
		}
	}
	return to
}

// hasRoom makes room for a part, if that is possible.
func (c *core) hasRoom(p *Part) bool {
	for _, to := range p.To {
		if !c.makeRoom(c.user(c.mailboxOf(to)), len(p.Frame)+movedSize) {
			return false
		}
	}
	return true
}

// movedSize is what a part takes more than its frame on its way to another shard, at
// most: two names, an ID and a reference.
const movedSize = 512

// appendPart writes a part into the mailboxes of its receivers, but for those to whom
// it came over a road meanwhile.
func (c *core) appendPart(now time.Time, m *Moved, p *Part) {
	in := &Message{
		ID: m.ID, From: m.From, To: p.To, Expires: m.Expires, Reference: m.Reference, Frame: p.Frame,
		Group: p.Group, Notice: m.Notice, Presence: m.Presence, Quiet: m.Quiet, Confirm: p.Confirm,
	}
	r := c.record(now, in, m.ID, []byte(in.From))
	var here []wire.UserID
	for _, to := range c.notRecent(in) {
		box := c.mailboxOf(to)
		if box == to {
			here = append(here, to)
			continue
		}
		wrapped := r
		wrapped.frame = appendForwarded(nil, &r, to)
		wrapped.flags &^= flagConfirm | flagReport | flagLate | flagPresence // the receiver's keeper tells of it
		c.append(now, wrapped, []wire.UserID{box})
	}
	if len(here) > 0 {
		c.append(now, r, here)
		c.remember(in, here)
	}
}
