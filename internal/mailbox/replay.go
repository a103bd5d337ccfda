package mailbox

import (
	"fmt"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// replay takes the next batch of the log, from the trim of the last one on.
func (c *core) replay(seq uint64, batch []byte) error {
	if _, _, err := openBatch(batch); err != nil {
		return fmt.Errorf("batch %d: %w", seq, err)
	}
	j := &c.journal
	if len(j.segs) == 0 {
		j.first = seq
		c.behind = behind{lists: make(map[*user]*entries), to: make([][]byte, 0, 8)}
	}
	if next := j.first + uint64(len(j.segs)); seq != next {
		return fmt.Errorf("batch %d follows batch %d", seq, next-1)
	}
	j.segs = append(j.segs, segment{bytes: int32(len(batch))})
	j.bytes += int64(len(batch))
	c.behind.print, c.behind.moved = 0, ""
	err := eachRecord(batch, func(kind recordKind, off int, body []byte) error {
		switch kind {
		case recTakeover:
			return nil
		case recMessage:
			return c.replayMessage(seq, off, body)
		case recGone:
			if len(body) > 0 && goneReason(body[0]) == goneMoved {
				return parseGone(body, func(user []byte, ord uint64) {
					c.behind.moved = wire.UserID(user)
					c.replayGone(user, ord)
				})
			}
			return parseGone(body, c.replayGone)
		case recReported:
			return parseReported(body, c.replayReported)
		case recClaim:
			return c.replayClaim(seq, body)
		case recSource:
			return c.replaySource(seq, body)
		case recProducer:
			return c.replayProducer(seq, body)
		case recRoad:
			return c.replayRoad(seq, body)
		case recOpened:
			return c.replayOpened(seq, body)
		case recClosed:
			id, err := parseClosed(body)
			if old, there := c.stale[id]; there {
				j.alive(old.seq, -1)
				delete(c.stale, id)
			}
			return err
		default:
			return fmt.Errorf("record of kind %d is unknown: it was written by a newer version", kind)
		}
	})
	if err != nil {
		return fmt.Errorf("batch %d: %w", seq, err)
	}
	return nil
}

func (c *core) replayMessage(seq uint64, off int, body []byte) error {
	m, err := parseMessage(body, c.behind.to[:0])
	if err != nil {
		return err
	}
	c.behind.to = m.to
	if c.witness != nil {
		c.witness(&m)
	}
	c.replayRecent(&m)
	e := entry{
		ord: m.ord, seq: seq, off: uint32(off), size: uint32(len(m.frame)),
		expires: m.expires, lane: laneOf(m.from), flags: m.flags,
	}
	for _, to := range m.to {
		u := c.users[wire.UserID(to)]
		if u == nil {
			u = c.user(wire.UserID(to))
		}
		list, old := c.behind.find(u, m.ord)
		if old != nil { // copied forward
			c.journal.alive(old.seq, -1)
			c.journal.alive(seq, 1)
			old.seq, old.off = e.seq, e.off
			continue
		}
		list.add(e)
		c.count(u, &e)
		if e.flags&flagLate != 0 {
			c.due.add(&u.late, c.lateAt(m.id.Time()))
		}
	}
	return nil
}

func (c *core) replayGone(user []byte, ord uint64) {
	u := c.users[wire.UserID(user)]
	if u == nil {
		return
	}
	list, e := c.behind.find(u, ord)
	if e == nil {
		return
	}
	c.uncount(u, e)
	c.journal.alive(e.seq, -1)
	list.kill(e)
	if u.waiting == 0 {
		delete(c.behind.lists, u)
		c.release(u)
	}
}

// behind holds, during a replay, what was copied forward: it stands in the log
// behind what follows it. To put each message in its place at once would shift
// the rest of a long mailbox every time.
type behind struct {
	lists map[*user]*entries
	to    [][]byte // receivers of the record at hand

	print uint64      // of the road's record before it; 0 when that was used
	moved wire.UserID // out of whose mailbox the last message went that left in this batch; empty for none
}

// find returns the user's entry at ord, nil when there is none, and the list
// where it is or should be.
func (b *behind) find(u *user, ord uint64) (*entries, *entry) {
	if e := u.entries.find(ord); e != nil {
		return &u.entries, e
	}
	list := b.lists[u]
	if list != nil {
		if e := list.find(ord); e != nil {
			return list, e
		}
	}
	if n := len(u.entries.list); n == 0 || u.entries.list[n-1].ord < ord {
		return &u.entries, nil
	}
	if list == nil {
		list = new(entries)
		b.lists[u] = list
	}
	return list, nil
}

// merge puts everything in its place.
func (b *behind) merge() {
	for u, list := range b.lists {
		u.entries.merge(list)
	}
	*b = behind{}
}

func (c *core) replayOpened(seq uint64, body []byte) error {
	r, err := parseOpened(body)
	if err != nil {
		return err
	}
	if old, there := c.stale[r.id]; there { // copied forward
		c.journal.alive(old.seq, -1)
	}
	c.stale[r.id] = staleSession{r, seq}
	c.journal.alive(seq, 1)
	return nil
}

// takeOver ends a replay: the log ends at last, its next message has place ord.
// The record that it writes refuses every batch of a predecessor that may still
// be on its way.
func (c *core) takeOver(last, ord uint64) {
	c.behind.merge()
	c.claims.sort()
	c.producers.sort()
	c.boundProducers(0)
	c.journal.start(last, ord)
	p := c.journal.room(64)
	p.buf = appendTakeover(p.buf, c.keeper)
	p.urgent = true
}
