package mailbox

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// clean copies what still matters out of the oldest batch once the log is more
// dead weight than mail, so that its head can be purged. It takes one batch at
// a time, so live traffic flows in between; every byte that is copied makes
// room for at least as much.
func (c *core) clean(now time.Time) {
	j := &c.journal
	if c.down || j.bytes <= 2*c.counts.waitingBytes+slack {
		return
	}
	j.advance()
	seq := j.first
	if seq > j.last {
		return
	}
	if c.copying == seq {
		return // copied, and about to be stored
	}
	batch, ok := c.cache.batches[seq]
	if !ok {
		c.want(seq, nil)
		return
	}
	c.copying = seq
	c.copyForward(now, seq, batch)
}

// straggler is a message of an old batch that one user still waits for.
type straggler struct {
	user   *user
	record messageRecord
}

// copyForward writes the live records of a batch once more, at the end of the
// log: messages keep their place in the order, those of one user stand together.
func (c *core) copyForward(now time.Time, seq uint64, batch []byte) {
	var mail []straggler
	err := eachRecord(batch, func(kind recordKind, _ int, body []byte) error {
		switch kind {
		case recMessage:
			m, err := parseMessage(body, true)
			if err != nil {
				return err
			}
			for _, to := range m.to {
				u := c.users[wire.UserID(to)]
				if u == nil {
					continue
				}
				if e := u.entries.find(m.ord); e != nil && e.waits() && e.seq == seq {
					mail = append(mail, straggler{u, m})
				}
			}
		case recOpened:
			r, err := parseOpened(body)
			if err != nil {
				return err
			}
			if s := c.sessions[r.id]; s != nil && s.seq == seq {
				c.copySession(s)
			}
		}
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("mailbox: batch %d: %v", seq, err))
	}
	slices.SortStableFunc(mail, func(a, b straggler) int { return strings.Compare(string(a.user.id), string(b.user.id)) })
	for _, m := range mail {
		c.copyMessage(m)
	}
}

func (c *core) copySession(s *session) {
	p := c.journal.room(256)
	p.buf = appendOpened(p.buf, sessionRecord{s.ID, s.User, s.TellMaster})
	p.retire(s.seq)
	s.seq = p.seq
	c.journal.alive(p.seq, 1)
}

func (c *core) copyMessage(m straggler) {
	m.record.to = [][]byte{[]byte(m.user.id)}
	p := c.journal.room(len(m.record.frame) + 128)
	var off int
	p.buf, off = appendMessage(p.buf, &m.record)
	e := m.user.entries.find(m.record.ord)
	p.retire(e.seq)
	e.seq, e.off = p.seq, uint32(off)
	c.journal.alive(p.seq, 1)
	p.touch(m.user)
	c.counts.copied++
}
