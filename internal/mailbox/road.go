package mailbox

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// maxTaken is how many places of one road are remembered: more than a link has on
	// its way with the smallest frames (190 bytes) in the largest window that may be set
	// (64 MiB). Beyond it the lowest are forgotten, and counted.
	maxTaken = 1 << 19
	// maxRoads is how many roads are remembered, beyond which those go of which nothing
	// came for longest: a network has at most some thousand domains.
	maxRoads = 1 << 12
	// roadAge is for how long a road is remembered of which nothing came, or twice
	// Limits.LinkAge if that is longer: longer than anything may wait at its other end.
	roadAge = sourceAge
	// maxRecent is how many messages for users are remembered that came over any road.
	maxRecent = 100_000
)

// road is a way on which messages come that have an ID and a place already: out of
// the mailbox of a link, in the log of another domain. They come again until that
// domain knows that they are stored here; what came is remembered, in the log, from
// the first place on that may come again. So it is as much as is on its way. The
// parts of a message for users and for each further link are told apart, for they
// come here one by one.
type road struct {
	name  string
	low   uint64 // nothing before it comes any more
	at    uint32 // when something came last, in Unix seconds
	taken []taken

	forgotten uint64 // the highest place that made room for others
}

// taken is one message that came over a road.
type taken struct {
	place uint64
	print uint64 // of its ID and receivers here; 0 for any
	seq   uint64 // the batch with its record
}

// roadRecord is what the log says of one message that came over a road.
type roadRecord struct {
	name       string
	at         uint32
	low, place uint64
	print      uint64
}

// roadOf names the road of a message.
func (c *core) roadOf(m *Message) string {
	if len(m.To) == 1 {
		return c.roadTo(m.Via, m.To[0])
	}
	return m.Via
}

// roadTo names the road of a message that has one receiver.
func (c *core) roadTo(via string, to wire.UserID) string {
	if c.isLink != nil && c.isLink(to) {
		return via + " " + string(to)
	}
	return via
}

// inTurn says whether what the same connection brought before a message is taken. A
// connection brings everything in order, but not all of it comes through: one message
// is refused or given up, for the moment, by a keeper or on the way to one, while those
// behind it are under way already, and may find room, or the next keeper. Were they
// taken, what was refused would come again behind them.
func (c *core) inTurn(m *Message) bool {
	b := &m.Before
	if b.Place == 0 || b.Place < m.Low {
		return true // there is none, or its other end knows that it is stored
	}
	r := c.roads[c.roadTo(b.Via, b.To)]
	return r != nil && r.had(b.Place)
}

// had says whether a place was taken, as far as that is remembered: what was forgotten
// for want of room counts as taken, or a road of very many would never go on.
func (r *road) had(place uint64) bool {
	_, there := r.find(place)
	return there || place < r.low || place <= r.forgotten
}

// printOf tells a message that comes again from another one in its place: of a log
// that was put back to an earlier state, or with receivers of whom some lived
// elsewhere when it came first. To take it twice is the smaller harm.
func printOf[T ~string | ~[]byte](id wire.ID, receivers []T) uint64 {
	h := fnv.New64a()
	h.Write(id[:])
	for _, to := range receivers {
		h.Write([]byte(to))
		h.Write([]byte{0})
	}
	return max(h.Sum64(), 1)
}

func (t *taken) is(print uint64) bool { return t.print == print || t.print == 0 }

func (r *road) find(place uint64) (int, bool) {
	if n := len(r.taken); n == 0 || r.taken[n-1].place < place {
		return n, false
	}
	return slices.BinarySearchFunc(r.taken, place, func(t taken, place uint64) int {
		switch {
		case t.place < place:
			return -1
		case t.place > place:
			return 1
		}
		return 0
	})
}

// cost is what cleaning reckons for each place: as much as its record may have.
func (r *road) cost() int64 { return int64(len(r.name)) + 48 }

// acceptOver takes a message that came over a road, once. Those who have no room are
// told of to the sender in the batch that says that it was taken: it has one outcome
// for each receiver, whatever comes again.
func (c *core) acceptOver(now time.Time, m *Message) {
	if c.holding {
		c.unsent = append(c.unsent, m)
		return
	}
	r, print := c.roads[c.roadOf(m)], printOf(m.ID, m.To)
	if r != nil && !c.down {
		c.leave(r, m.Low)
		if i, there := r.find(m.Place); there && r.taken[i].is(print) {
			c.counts.returned++
			c.tellRepeated(m, m.ID)
			return
		}
	}
	refusal := c.refusalOf(m)
	if refusal == nil && !c.inTurn(m) {
		refusal = storeDown("what the link brought before it is not stored yet; it comes again")
	}
	if refusal != nil {
		refusal.To = m.To
		c.refuse(m, refusal)
		return
	}
	to := c.notRecent(m)
	var outbox *producer
	if m.Producer != "" {
		// What is far behind is no repeat here: its sender has sent others since, which
		// were faster on another road.
		outbox = c.producers.byName[producerName{m.From, m.Producer}]
		if outbox != nil && outbox.remembers(m.Seq) && outbox.has(m.Seq) {
			to = nil
		}
	}
	if len(to) == 0 {
		c.counts.returned++
	}
	p := c.journal.hold(len(m.Frame) + 256 + (noticeSize+24)*len(to))
	defer c.journal.letGo()
	c.take(now, p, m, print)
	to, full := c.admit(to, len(m.Frame))
	if len(to) > 0 {
		c.append(now, c.record(now, m, m.ID, []byte(m.From)), to)
		c.remember(m, to)
		if m.Producer != "" {
			c.noteProduced(now, m, outbox)
		}
	}
	c.tellFull(now, m, full)
	p.messages = append(p.messages, accepted{m, m.ID, m.To, false})
	p.urgent = true
}

// tellFull tells the sender of a message that came over a road whose mailboxes are
// full, and its subscribers that it will not come to them.
func (c *core) tellFull(now time.Time, m *Message, full []wire.UserID) {
	if len(full) == 0 {
		return
	}
	if m.Notice {
		c.counts.droppedFull += uint64(len(full))
		return
	}
	c.counts.turnedAway += uint64(len(full))
	r := c.record(now, m, m.ID, []byte(m.From))
	who := full
	if c.toLink(m) {
		who = c.receiversIn(full[0], m.Frame)
	}
	c.tellUndeliverable(now, &r, who, wire.CodeMailboxFull, "full "+string(who[0]), c.fullReason(m, full))
}

// tellUndeliverable tells the sender of a message, and its subscribers, who does not
// get it.
func (c *core) tellUndeliverable(now time.Time, m *messageRecord, to []wire.UserID, code, as, reason string) {
	if m.flags&flagQuiet == 0 {
		e := &wire.Error{Kind: wire.KindDeliverFailed, Code: code, Reason: reason, To: to, Group: m.flags&flagGroup != 0}
		c.notify(now, notice{
			to: wire.UserID(m.from), about: to[0], id: m.id.Derive(as), frame: wire.AppendFailure(nil, e, m.reference),
		})
	}
	for _, id := range to {
		c.reportMessage(now, eventExpired, m, id)
	}
}

// take notes that a message came over its road, in the batch in which it stands.
func (c *core) take(now time.Time, p *pending, m *Message, print uint64) {
	name := c.roadOf(m)
	r := c.roads[name]
	if r != nil && m.Place < r.low {
		return // late: its other end has said that it knows of it, and sends it no more
	}
	if r == nil {
		r = &road{name: strings.Clone(name), low: m.Low}
		c.enterRoad(r)
	}
	r.at = uint32(now.Unix())
	t := taken{place: m.Place, print: print, seq: p.seq}
	p.buf = appendRoad(p.buf, r, &t)
	c.journal.alive(p.seq, 1)
	if i, there := r.find(m.Place); there {
		p.retire(r.taken[i].seq)
		r.taken[i] = t
		return
	}
	c.enterTaken(r, t)
}

// enterRoad remembers a road, in the place of that of which nothing came for longest
// if there are many.
func (c *core) enterRoad(r *road) {
	if len(c.roads) >= maxRoads {
		var oldest *road
		for _, o := range c.roads {
			if oldest == nil || o.at < oldest.at || o.at == oldest.at && o.name < oldest.name {
				oldest = o
			}
		}
		c.counts.forgottenPlaces += uint64(len(oldest.taken))
		c.leave(oldest, math.MaxUint64)
	}
	c.roads[r.name] = r
}

// enterTaken remembers a place that is new.
func (c *core) enterTaken(r *road, t taken) {
	i, _ := r.find(t.place)
	r.taken = slices.Insert(r.taken, i, t)
	c.marksBytes += r.cost()
	if len(r.taken) > maxTaken {
		c.counts.forgottenPlaces++
		r.forgotten = max(r.forgotten, r.taken[0].place)
		c.dropTaken(r, 1)
	}
}

// leave forgets the places of a road before low, and the road when none is left.
// That their records matter no more need not survive a crash: a replay that finds
// them remembers them a little longer.
func (c *core) leave(r *road, low uint64) {
	if low <= r.low {
		return
	}
	r.low = low
	n, _ := r.find(low)
	c.dropTaken(r, n)
	if len(r.taken) == 0 {
		delete(c.roads, r.name)
	}
}

// dropTaken forgets the lowest n places of a road.
func (c *core) dropTaken(r *road, n int) {
	for _, t := range r.taken[:n] {
		c.journal.alive(t.seq, -1)
	}
	c.marksBytes -= int64(n) * r.cost()
	if r.taken = r.taken[n:]; cap(r.taken) > 64 && cap(r.taken) > 4*len(r.taken) {
		r.taken = slices.Clone(r.taken)
	}
}

// forgetRoads forgets those of which nothing came for long.
func (c *core) forgetRoads(now time.Time) {
	for _, r := range c.roads {
		if now.Sub(time.Unix(int64(r.at), 0)) > max(roadAge, 2*c.limits.LinkAge) {
			c.leave(r, math.MaxUint64)
		}
	}
}

// copyTaken copies the record of a place forward.
func (c *core) copyTaken(seq uint64, rec *roadRecord) {
	r := c.roads[rec.name]
	if r == nil {
		return
	}
	if i, there := r.find(rec.place); there && r.taken[i].seq == seq {
		p := c.journal.room(int(r.cost()))
		p.retire(seq)
		p.buf = appendRoad(p.buf, r, &r.taken[i])
		c.journal.alive(p.seq, 1)
		r.taken[i].seq = p.seq
	}
}

func (c *core) replayRoad(seq uint64, body []byte) error {
	rec, err := parseRoad(body)
	if err != nil {
		return err
	}
	r := c.roads[rec.name]
	if r == nil {
		r = &road{name: rec.name, low: rec.low}
		c.enterRoad(r)
	}
	r.at = max(r.at, rec.at)
	c.behind.print = rec.print
	t := taken{place: rec.place, print: rec.print, seq: seq}
	if i, there := r.find(rec.place); there { // copied forward, or another one in its place
		c.journal.alive(r.taken[i].seq, -1)
		c.journal.alive(seq, 1)
		r.taken[i] = t
	} else if t.place >= max(r.low, rec.low) {
		c.journal.alive(seq, 1)
		c.enterTaken(r, t)
	}
	if c.leave(r, rec.low); len(r.taken) == 0 {
		delete(c.roads, r.name)
	}
	return nil
}

// takeRoad remembers what another keeper remembered, whose users are those of
// several now: which of a message's receivers are meant is not known any more.
func (c *core) takeRoad(rec *roadRecord) {
	r := c.roads[rec.name]
	if r == nil {
		r = &road{name: rec.name, low: rec.low}
		c.enterRoad(r)
	}
	r.at = max(r.at, rec.at)
	if _, there := r.find(rec.place); there || rec.place < r.low {
		return
	}
	p := c.journal.room(int(r.cost()))
	t := taken{place: rec.place, seq: p.seq}
	p.buf = appendRoad(p.buf, r, &t)
	c.journal.alive(p.seq, 1)
	c.enterTaken(r, t)
}

func appendRoad(b []byte, r *road, t *taken) []byte {
	size := bytesLen(r.name) + uvarintLen(uint64(r.at)) + uvarintLen(r.low) + uvarintLen(t.place) + 8
	b, _ = appendRecord(b, recRoad, size, func(b []byte) []byte {
		b = appendBytes(b, r.name)
		b = binary.AppendUvarint(b, uint64(r.at))
		b = binary.AppendUvarint(b, r.low)
		b = binary.AppendUvarint(b, t.place)
		return binary.LittleEndian.AppendUint64(b, t.print)
	})
	return b
}

func parseRoad(body []byte) (*roadRecord, error) {
	r := reader{b: body}
	rec := &roadRecord{name: string(r.bytes()), at: uint32(r.uvarint()), low: r.uvarint(), place: r.uvarint()}
	if print := r.take(8); print != nil {
		rec.print = binary.LittleEndian.Uint64(print)
	}
	return rec, r.err
}

// recent remembers which messages came over roads for users of this shard, in memory:
// what was handed over without an answer, and then took another road, comes twice.
type recent struct {
	known map[arrival]struct{}
	order []arrival // a ring; some may have been forgotten
	next  int
}

// arrival is one message for one user, by a hash of his name.
type arrival struct {
	id wire.ID
	to uint64
}

func arrivalOf(id wire.ID, to wire.UserID) arrival {
	h := fnv.New64a()
	h.Write([]byte(to))
	return arrival{id, h.Sum64()}
}

func (r *recent) has(id wire.ID, to wire.UserID) bool {
	if len(r.known) == 0 {
		return false
	}
	_, there := r.known[arrivalOf(id, to)]
	return there
}

func (r *recent) add(id wire.ID, to wire.UserID) {
	if r.known == nil {
		r.known = make(map[arrival]struct{})
	}
	a := arrivalOf(id, to)
	if _, there := r.known[a]; there {
		return
	}
	r.known[a] = struct{}{}
	if len(r.order) < maxRecent {
		r.order = append(r.order, a)
		return
	}
	delete(r.known, r.order[r.next])
	r.order[r.next] = a
	r.next = (r.next + 1) % maxRecent
}

// forget is for what left again: it may come back.
func (r *recent) forget(id wire.ID, to wire.UserID) {
	if len(r.known) > 0 {
		delete(r.known, arrivalOf(id, to))
	}
}

// replayRecent has a message remembered that came over a road, by whose record it is
// preceded, and one forgotten that left, whose parts come after that. So the next keeper
// knows what is under way yet to the one before, when its other end has heard that it is
// stored.
func (c *core) replayRecent(m *messageRecord) {
	b := &c.behind
	if b.moved != "" {
		c.recent.forget(m.id, b.moved)
	}
	if b.print != 0 && b.print == printOf(m.id, m.to) && (len(m.to) > 1 || c.isLink == nil || !c.isLink(wire.UserID(m.to[0]))) {
		for _, to := range m.to {
			c.recent.add(m.id, wire.UserID(to))
		}
	}
	b.print = 0
}

// notRecent returns those of a message's receivers to whom it did not come over
// another road.
func (c *core) notRecent(m *Message) []wire.UserID {
	if c.toLink(m) || !slices.ContainsFunc(m.To, func(to wire.UserID) bool { return c.recent.has(m.ID, to) }) {
		return m.To
	}
	return slices.DeleteFunc(slices.Clone(m.To), func(to wire.UserID) bool { return c.recent.has(m.ID, to) })
}

// remember notes to whom a message came.
func (c *core) remember(m *Message, to []wire.UserID) {
	if c.toLink(m) {
		return
	}
	for _, id := range to {
		c.recent.add(m.ID, id)
	}
}
