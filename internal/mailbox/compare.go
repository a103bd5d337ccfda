package mailbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Comparison is what was copied out of an archive, to be found again in the logs
// that it was copied to: of each message of each user its ID and a checksum of all
// that it has, some 60 bytes of memory.
type Comparison struct {
	users map[wire.UserID]*compared

	messages int
	problems int
	first    string // of them
	waiting  int
	gone     int
}

// compared is one user.
type compared struct {
	items []item
	at    map[wire.ID]int
}

// item is one message of a user.
type item struct {
	id      wire.ID
	sum     uint64
	seq     uint64 // as it was forwarded
	expires uint32 // of a notice: it may be left out from then on
	ord     uint64 // its place where it was found; 0 before
}

// Compared is what came of a comparison. Nothing is lost when Problems is 0.
type Compared struct {
	Messages int    // each counted for each of its receivers
	Users    int    // who have some
	Sum      uint64 // over the users' checksums
	Waiting  int    // of the messages, how many wait where they were copied to
	Gone     int    // and how many did, and are delivered or expired since
	Problems int    // messages that are missing, altered, twice, or out of order
	First    string // the first of them
}

// NewComparison makes one of nothing.
func NewComparison() *Comparison { return &Comparison{users: make(map[wire.UserID]*compared)} }

// Add says that a message was copied, in the order of the archive.
func (c *Comparison) Add(m *Forwarded) {
	it := item{id: m.ID, seq: m.Seq, sum: sumOf(m.ID, []byte(m.From), messageFlags(m.Flags), unixOf(m.Expires), m.Reference, m.Frame)}
	if messageFlags(m.Flags)&flagNotice != 0 {
		it.expires = unixOf(m.Expires)
	}
	c.add(m.To, it)
	for _, to := range m.More {
		c.add(to, it)
	}
}

func (c *Comparison) add(to wire.UserID, it item) {
	u := c.users[to]
	if u == nil {
		u = &compared{at: make(map[wire.ID]int)}
		c.users[to] = u
	}
	if _, there := u.at[it.id]; there {
		c.problem("%s has message %s twice in the archive", to, it.id)
	}
	u.at[it.id] = len(u.items)
	u.items = append(u.items, it)
	c.messages++
}

func unixOf(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(t.Unix())
}

// sumOf is the checksum of a message. That subscribers were told that it is late may
// be noted in it later.
func sumOf(id wire.ID, from []byte, flags messageFlags, expires uint32, reference, frame []byte) uint64 {
	h := fnv.New64a()
	var head [5]byte
	head[0] = byte(flags &^ flagLate)
	binary.LittleEndian.PutUint32(head[1:], expires)
	var size [8]byte
	for _, part := range [][]byte{id[:], head[:], from, reference, frame} {
		binary.LittleEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	return h.Sum64()
}

func (c *Comparison) problem(format string, args ...any) {
	if c.problems++; c.problems == 1 {
		c.first = fmt.Sprintf(format, args...)
	}
}

// Look reads the log of a shard as its next keeper would, and looks there for all
// that was copied to it: each message has to be there with every byte, once, and in
// its user's order, and to wait, unless the log says that it is gone. must says
// whether a message has to be in what is left of the log, which begins at first; one
// that need not may have been delivered, and purged. mine says whose shard it is.
func (c *Comparison) Look(ctx context.Context, log Log, now time.Time, mine func(wire.UserID) bool, must func(first, seq uint64) bool) error {
	state := newCore(wire.ID{}, Limits{}, nil, defaultTuning())
	state.witness = c.saw
	first, _, _, err := readLog(ctx, log, state, true)
	if err != nil {
		return err
	}
	state.behind.merge()
	for _, name := range slices.Sorted(maps.Keys(c.users)) {
		if mine(name) {
			c.judge(name, state.users[name], now, func(seq uint64) bool { return must(first, seq) })
		}
	}
	return nil
}

// saw notes a message that a log has, at first or copied forward.
func (c *Comparison) saw(m *messageRecord) {
	var sum uint64
	for _, to := range m.to {
		u := c.users[wire.UserID(to)]
		if u == nil {
			continue
		}
		i, there := u.at[m.id]
		if !there {
			continue
		}
		if sum == 0 {
			sum = sumOf(m.id, m.from, m.flags, m.expires, m.reference, m.frame)
		}
		it := &u.items[i]
		switch {
		case sum != it.sum:
			c.problem("message %s of %s has another checksum", m.id, to)
		case it.ord != 0 && it.ord != m.ord:
			c.problem("message %s of %s is there twice", m.id, to)
		}
		it.ord = m.ord
	}
}

// judge looks at one user's messages when a log has been read.
func (c *Comparison) judge(name wire.UserID, u *user, now time.Time, must func(seq uint64) bool) {
	last, found, missing := uint64(0), 0, wire.ID{}
	list := c.users[name].items
	for i := range list {
		it := &list[i]
		switch {
		case it.ord == 0 && (it.expires != 0 && int64(it.expires) <= now.Unix() || !must(it.seq)):
			c.gone++
			found++
			continue
		case it.ord == 0:
			if missing.IsZero() {
				missing = it.id
			}
			continue
		case it.ord <= last:
			c.problem("message %s of %s is out of order", it.id, name)
		}
		last = max(last, it.ord)
		found++
		if u != nil && u.entries.find(it.ord) != nil {
			c.waiting++
		} else {
			c.gone++
		}
	}
	if found < len(list) {
		c.problem("%s had %d messages, and has %d: %s is missing", name, len(list), found, missing)
		c.problems += len(list) - found - 1
	}
}

// Result returns what came of it.
func (c *Comparison) Result() Compared {
	h := fnv.New64a()
	var sum [8]byte
	for _, name := range slices.Sorted(maps.Keys(c.users)) {
		h.Write([]byte(name))
		for _, it := range c.users[name].items {
			binary.LittleEndian.PutUint64(sum[:], it.sum)
			h.Write(sum[:])
		}
	}
	return Compared{
		Messages: c.messages, Users: len(c.users), Sum: h.Sum64(),
		Waiting: c.waiting, Gone: c.gone, Problems: c.problems, First: c.first,
	}
}
