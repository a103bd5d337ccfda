package mailbox

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// clean copies what still matters out of the oldest batch once the log is more
// dead weight than mail, so that its head can be purged. It takes one batch at
// a time, so live traffic flows in between; every byte that is copied makes
// room for at least as much.
func (c *core) clean() {
	j := &c.journal
	most := 2*c.needed() + c.tune.slack
	if c.down || j.bytes <= most {
		return
	}
	j.advance()
	seq := j.first
	if j.bytes <= most || seq > j.last {
		return
	}
	if c.copying == seq {
		return // copied, and about to be stored
	}
	batch := c.cache.batches[seq]
	if batch == nil {
		c.want(seq, nil)
		return
	}
	c.copying = seq
	c.copyForward(seq, batch)
}

// needed estimates the bytes of the log that matter. Half of what a record can
// be is enough, because clean leaves twice of it alone; but it must never be
// less, or the log would be copied for ever.
func (c *core) needed() int64 {
	return c.counts.waitingBytes + c.tune.overhead*int64(c.counts.waiting+len(c.sessions)+len(c.stale)) + c.claims.bytes + c.marksBytes
}

// recordOverhead is half of what a record has besides frame and reference, at
// most: two user IDs of 84 bytes, an ID, numbers, and a batch of its own.
const recordOverhead = 160

// copyForward writes the live records of a batch once more, at the end of the
// log, each for those who still wait for it: messages keep their place in the
// order. Records that only one user waits for stand together by user.
func (c *core) copyForward(seq uint64, batch []byte) {
	var mail []messageRecord
	err := eachRecord(batch, func(kind recordKind, _ int, body []byte) error {
		switch kind {
		case recMessage:
			m, err := parseMessage(body, [][]byte{})
			if err != nil {
				return err
			}
			m.to = slices.DeleteFunc(m.to, func(to []byte) bool { return c.waitingIn(seq, to, m.ord) == nil })
			mail = append(mail, c.byFlags(seq, m)...)
		case recOpened:
			r, err := parseOpened(body)
			if err != nil {
				return err
			}
			if s := c.sessions[r.id]; s != nil && s.seq == seq {
				c.copySession(s)
			}
			if old, there := c.stale[r.id]; there && old.seq == seq {
				c.copyStale(r.id, old)
			}
		case recClaim:
			r, err := parseClaim(body)
			if err != nil {
				return err
			}
			if cl := c.claims.byKey[r.key]; cl != nil && cl.seq == seq {
				c.writeClaim(cl)
			}
		case recSource:
			r, err := parseSource(body)
			if err != nil {
				return err
			}
			if s := c.sources[r.name]; s != nil && s.seq == seq {
				c.copySource(s)
			}
		case recProducer:
			r, err := parseProducer(body)
			if err != nil {
				return err
			}
			if p := c.producers.byName[r.producerName]; p != nil && p.seq == seq {
				c.copyProducer(p)
			}
		case recRoad:
			r, err := parseRoad(body)
			if err != nil {
				return err
			}
			c.copyTaken(seq, r)
		}
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("mailbox: batch %d: %v", seq, err))
	}
	slices.SortStableFunc(mail, func(a, b messageRecord) int { return bytes.Compare(a.to[0], b.to[0]) })
	for i := range mail {
		c.copyMessage(seq, &mail[i])
	}
}

// byFlags returns a message once for each set of flags that it has with those who
// wait for it: what is late for one is not for another.
func (c *core) byFlags(seq uint64, m messageRecord) (list []messageRecord) {
	for _, flags := range []messageFlags{m.flags, m.flags &^ flagLate} {
		part := m
		part.flags, part.to = flags, nil
		m.to = slices.DeleteFunc(m.to, func(to []byte) bool {
			mine := c.waitingIn(seq, to, m.ord).flags == flags
			if mine {
				part.to = append(part.to, to)
			}
			return mine
		})
		if len(part.to) > 0 {
			list = append(list, part)
		}
	}
	return list
}

// waitingIn returns the user's entry at ord, if it waits and stands in batch seq.
func (c *core) waitingIn(seq uint64, user []byte, ord uint64) *entry {
	u := c.users[wire.UserID(user)]
	if u == nil {
		return nil
	}
	if e := u.entries.find(ord); e != nil && e.waits() && e.seq == seq {
		return e
	}
	return nil
}

func (c *core) copySession(s *session) { s.seq = c.copyOpened(s.record(), s.seq) }

// copyStale copies the record of a session that may still be registered anew.
func (c *core) copyStale(id wire.ID, old staleSession) {
	old.seq = c.copyOpened(old.sessionRecord, old.seq)
	c.stale[id] = old
}

func (c *core) copyOpened(r sessionRecord, from uint64) (seq uint64) {
	p := c.journal.room(256)
	p.buf = appendOpened(p.buf, r)
	p.retire(from)
	c.journal.alive(p.seq, 1)
	return p.seq
}

func (c *core) copySource(s *source) {
	p := c.journal.room(int(s.cost()))
	p.retire(s.seq)
	c.appendSource(p, s)
}

func (c *core) copyProducer(pr *producer) {
	p := c.journal.room(int(pr.cost()))
	p.retire(pr.seq)
	c.appendProducer(p, pr)
}

func (c *core) copyMessage(seq uint64, m *messageRecord) {
	p := c.journal.room(len(m.frame) + 64 + 24*len(m.to))
	var off int
	p.buf, off = appendMessage(p.buf, m)
	for _, to := range m.to {
		e := c.waitingIn(seq, to, m.ord)
		p.retire(seq)
		e.seq, e.off = p.seq, uint32(off)
	}
	c.journal.alive(p.seq, int32(len(m.to)))
	c.counts.copied++
}

// leaveTrim writes an empty batch if it would let the head of the log go.
func (c *core) leaveTrim() bool {
	j := &c.journal
	j.advance()
	if j.trimmedBytes == j.purgedBytes {
		return false
	}
	j.room(0)
	return true
}

// finalPurge returns what the log may forget when the keeper stops.
func (c *core) finalPurge() uint64 {
	if c.down || !c.journal.idle() {
		return 0
	}
	return c.journal.purgeable(1)
}
