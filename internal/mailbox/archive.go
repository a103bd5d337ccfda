package mailbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// archivePrefix begins the names of sources that are archives.
const archivePrefix = "import/"

// ArchiveSource returns the name under which what waits in an archive is forwarded.
// Of two archives with one name what the first brought is not taken from the second.
func ArchiveSource(name string) string { return archivePrefix + name }

func (s *source) archive() bool { return strings.HasPrefix(s.name, archivePrefix) }

// remembered is the receiver of what is no message, but what a keeper remembers of
// messages: a record of a producer, of a keyed request or of a road. No user's ID has a slash.
const remembered wire.UserID = "-import/remembered"

// Archive is what waits in a log that nobody serves any more. Reading it changes
// nothing in the log.
type Archive struct {
	log   Log
	core  *core
	last  uint64 // the batch with which the log ends
	ord   uint64 // what is in the log has a place before it
	marks [][]byte
	ended time.Time
	open  int
	cache cache
}

// ReadArchive reads a log to its end. The sessions that it has open are closed in
// memory, as a restart does, so that what is told of that is among what waits:
// with the subscriptions that are given, as of the last moment that the log knows
// of. Such a notice waits for age, whatever its mailbox has.
func ReadArchive(ctx context.Context, log Log, age time.Duration, subscriptions map[string][]Subscription) (*Archive, error) {
	limits := Limits{Age: age, Messages: math.MaxInt, Bytes: math.MaxInt64, Events: math.MaxInt, EventBytes: math.MaxInt64, KeyedRequests: math.MaxInt}
	c := newCore(wire.ID{}, limits, nil, defaultTuning())
	c.subscriptions = subscriptions
	a := &Archive{log: log, core: c, cache: newCache(c.tune.cache)}
	c.witness = func(m *messageRecord) { a.at(m.id) }
	var err error
	if _, a.last, a.ord, err = readLog(ctx, log, c, false); err != nil {
		return nil, err
	}
	c.witness = nil
	c.takeOver(a.last, a.ord)
	for _, cl := range c.claims.order {
		a.marks = append(a.marks, appendClaim(nil, cl))
	}
	for e := c.producers.order.Front(); e != nil; e = e.Next() {
		a.marks = append(a.marks, appendProducer(nil, e.Value.(*producer)))
	}
	for _, name := range slices.Sorted(maps.Keys(c.roads)) {
		r := c.roads[name]
		for i := range r.taken {
			a.marks = append(a.marks, appendRoad(nil, r, &r.taken[i]))
		}
	}
	for id := range c.stale {
		a.at(id)
	}
	// Whoever reads the archive again must come to the same: no clock is asked.
	a.open = len(c.stale)
	c.closeStale(a.ended)
	return a, nil
}

// at notes that something happened when an ID was made.
func (a *Archive) at(id wire.ID) {
	if t := id.Time(); t.After(a.ended) {
		a.ended = t
	}
}

// Waiting returns how many messages wait, each counted for each of its receivers.
func (a *Archive) Waiting() int { return a.core.counts.waiting }

// Users returns how many users have a mailbox with something in it.
func (a *Archive) Users() (n int) {
	for _, u := range a.core.users {
		if u.waiting > 0 {
			n++
		}
	}
	return n
}

// Open returns how many sessions were open.
func (a *Archive) Open() int { return a.open }

// waitingAt is one message that waits for one user.
type waitingAt struct {
	ord, seq uint64
	off      uint32
	flags    messageFlags
	user     *user
}

// Each calls f with everything that is to be forwarded to each shard, in the order
// of the log: what waits, then, for every shard, what is to be remembered of
// producers and keyed requests, then what is told of sessions that were open; stored
// says whether it stands in the log. Numbers rise, and each time that the archive is
// read they are the same. What f gets is its own.
func (a *Archive) Each(ctx context.Context, shards int, shardOf func(wire.UserID) int, f func(shard int, m Forwarded, stored bool) error) error {
	list := a.list()
	i := 0
	for ; i < len(list) && list[i].ord < a.ord; i = nextPlace(list, i) {
		if err := a.forward(ctx, list[i:nextPlace(list, i)], shards, shardOf, 0, f); err != nil {
			return err
		}
	}
	seq := a.ord << 1
	for _, mark := range a.marks {
		for shard := range shards {
			if err := f(shard, Forwarded{Seq: seq, To: remembered, Flags: byte(flagNotice), Frame: mark}, false); err != nil {
				return err
			}
		}
		seq++
	}
	for ; i < len(list); i = nextPlace(list, i) {
		if err := a.forward(ctx, list[i:nextPlace(list, i)], shards, shardOf, uint64(len(a.marks)), f); err != nil {
			return err
		}
	}
	return nil
}

// list returns what waits, in order.
func (a *Archive) list() []waitingAt {
	list := make([]waitingAt, 0, a.core.counts.waiting)
	for _, u := range a.core.users {
		for i := range u.entries.list {
			if e := &u.entries.list[i]; e.waits() {
				list = append(list, waitingAt{e.ord, e.seq, e.off, e.flags, u})
			}
		}
	}
	slices.SortFunc(list, func(a, b waitingAt) int {
		switch {
		case a.ord != b.ord:
			return int(int64(a.ord) - int64(b.ord))
		case a.flags != b.flags:
			return int(a.flags) - int(b.flags)
		}
		return strings.Compare(string(a.user.id), string(b.user.id))
	})
	return list
}

// nextPlace returns where in a list the next message begins.
func nextPlace(list []waitingAt, i int) int {
	ord := list[i].ord
	for i < len(list) && list[i].ord == ord {
		i++
	}
	return i
}

// forward calls f for one message: once for each shard and, since that a message is
// late may have been told for one of its receivers and not for another, for each set
// of flags.
func (a *Archive) forward(ctx context.Context, same []waitingAt, shards int, shardOf func(wire.UserID) int, shift uint64, f func(int, Forwarded, bool) error) error {
	byShard := make(map[[2]uint64]*Forwarded, 1)
	var order [][2]uint64
	for _, w := range same {
		seq := w.ord<<1 + shift
		if w.flags&flagLate != 0 {
			seq++
		}
		key := [2]uint64{uint64(shardOf(w.user.id)), seq}
		if m := byShard[key]; m != nil {
			m.More = append(m.More, w.user.id)
			continue
		}
		r, err := a.read(ctx, w)
		if err != nil {
			return err
		}
		m := &Forwarded{
			Seq: seq, ID: r.id, To: w.user.id, From: wire.UserID(r.from), Flags: byte(w.flags),
			Reference: bytes.Clone(r.reference), Frame: bytes.Clone(r.frame),
		}
		if r.expires != 0 {
			m.Expires = time.Unix(int64(r.expires), 0).UTC()
		}
		byShard[key], order = m, append(order, key)
	}
	slices.SortFunc(order, func(a, b [2]uint64) int { return slices.Compare(a[:], b[:]) })
	for _, key := range order {
		if err := f(int(key[0]), *byShard[key], same[0].ord < a.ord); err != nil {
			return err
		}
	}
	return nil
}

// read returns a message with its body.
func (a *Archive) read(ctx context.Context, w waitingAt) (messageRecord, error) {
	batch := a.core.journal.pending(w.seq)
	if batch == nil {
		batch = a.cache.batches[w.seq]
	}
	if batch == nil {
		var err error
		if batch, err = a.log.Read(ctx, w.seq); err == nil {
			_, _, err = openBatch(batch)
		}
		if err != nil {
			return messageRecord{}, fmt.Errorf("batch %d: %w", w.seq, err)
		}
		a.cache.put(time.Time{}, w.seq, batch)
	}
	m, err := messageAt(batch, w.off)
	if err == nil && m.ord != w.ord {
		err = fmt.Errorf("message %d stands where %d should", m.ord, w.ord)
	}
	if err != nil {
		return m, fmt.Errorf("batch %d at %d: %w", w.seq, w.off, err)
	}
	return m, nil
}

// takeRemembered takes in what another keeper remembered. What this one knows of the
// same producer comes together with it; of the same request it stays. A record that
// cannot be read is a later version's, and left out.
func (c *core) takeRemembered(now time.Time, record []byte) {
	if len(record) == 0 {
		return
	}
	n, w := binary.Uvarint(record[1:])
	if w <= 0 || n != uint64(len(record)-1-w) {
		return
	}
	switch body := record[1+w:]; recordKind(record[0]) {
	case recClaim:
		if cl, err := parseClaim(body); err == nil && (cl.count+63)/64 == len(cl.accepted) {
			c.takeClaim(now, cl)
		}
	case recProducer:
		if p, err := parseProducer(body); err == nil {
			c.takeProducer(p)
		}
	case recRoad:
		if r, err := parseRoad(body); err == nil {
			c.takeRoad(r)
		}
	}
}

// takeClaim remembers a keyed request. Who of its receivers had no room matters where
// they are.
func (c *core) takeClaim(now time.Time, cl *claim) {
	if old := c.claims.byKey[cl.key]; cl.expired(now) || old != nil && !old.expired(now) {
		return
	}
	full := cl.full
	cl.full, cl.seq = nil, 0
	for _, f := range full {
		cl.fell(f.index, slices.DeleteFunc(f.to, func(to wire.UserID) bool {
			return c.shardOf != nil && c.shardOf(to) != c.shard
		}))
	}
	c.writeClaim(cl)
}

// takeProducer remembers a sender's outbox.
func (c *core) takeProducer(p *producer) {
	p.seq = 0
	if old := c.producers.byName[p.producerName]; old == nil {
		c.enterProducer(p)
	} else {
		old.merge(p)
		p = old
	}
	c.writeProducer(p)
}

// merge notes all that another one of the same name has.
func (p *producer) merge(other *producer) {
	from := uint64(1)
	if other.top >= producerWindow {
		from = other.top - producerWindow + 1
	}
	for seq := from; seq <= other.top; seq++ {
		if other.has(seq) && !p.has(seq) {
			p.set(seq)
		}
	}
	p.at = max(p.at, other.at)
}
