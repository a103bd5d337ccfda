package mailbox

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// relayMessages and relayBytes bound what waits for the users of one other
	// shard. It goes as soon as that has a keeper; what several minutes without one
	// bring should fit.
	relayMessages = 1_000_000
	relayBytes    = 256 << 20
	// sourceAge is for how long a source is remembered of which nothing came: longer
	// than anything that it has may wait.
	sourceAge = 60 * 24 * time.Hour
	// relayPrefix begins the names of reserved users, see Relay. No user's ID has a
	// slash.
	relayPrefix = "-shard/"
)

// Relay returns the reserved user in whose mailbox waits what is for users of
// another shard. A session of it is opened with Push, one at a time: it gets in
// order what ParseForwarded reads, hands it to Forward of that shard's keeper and
// proves it, cumulatively, once it is stored there.
func Relay(shard int) wire.UserID { return wire.UserID(fmt.Sprint(relayPrefix, shard)) }

func isRelay(user wire.UserID) bool { return strings.HasPrefix(string(user), relayPrefix) }

// Forwarded is a message on its way from the log of one shard into that of
// another, or out of an archive.
type Forwarded struct {
	Seq       uint64 // rises from one message of a source to the next
	ID        wire.ID
	To        wire.UserID
	More      []wire.UserID // further receivers, of what comes out of an archive
	From      wire.UserID   // the sender; of a notice, whom it is about
	Flags     uint8         // as in the log
	Expires   time.Time     // zero: never; in whole seconds
	Reference []byte
	Frame     []byte
}

// forwardedVersion begins the frame in a mailbox Relay.
const forwardedVersion = 1

// appendForwarded wraps a notice for a user of another shard.
func appendForwarded(b []byte, r *messageRecord, to wire.UserID) []byte {
	b = append(b, forwardedVersion)
	b = append(b, r.id[:]...)
	b = append(b, byte(r.flags))
	b = binary.AppendUvarint(b, uint64(r.expires))
	b = appendBytes(b, to)
	b = appendBytes(b, r.from)
	b = appendBytes(b, r.reference)
	return appendBytes(b, r.frame)
}

// ParseForwarded reads what is delivered out of a mailbox Relay. The result
// shares the delivery's bytes.
func ParseForwarded(d Delivery) (Forwarded, error) {
	r := reader{b: d.Frame}
	if v := r.byte(); v != forwardedVersion {
		return Forwarded{}, fmt.Errorf("what is forwarded has format %d: it was written by a newer version", v)
	}
	f := Forwarded{Seq: d.Ord, ID: r.id(), Flags: r.byte()}
	if at := r.uvarint(); at != 0 {
		f.Expires = time.Unix(int64(at), 0).UTC()
	}
	f.To, f.From = wire.UserID(r.bytes()), wire.UserID(r.bytes())
	f.Reference, f.Frame = r.bytes(), r.bytes()
	return f, r.err
}

// forwarding is one call of Forward.
type forwarding struct {
	source string
	list   []Forwarded
	done   func(upTo uint64, err error)
}

// answered is a call of Forward whose answer waits for a batch.
type answered struct {
	done func(upTo uint64, err error)
	upTo uint64
	err  error
}

// source is from where messages are forwarded.
type source struct {
	name string
	last uint64 // the highest number that was taken
	at   uint32 // when, in Unix seconds
	seq  uint64 // the batch with its record
}

// cost is what cleaning reckons for a source: as much as its record may have.
func (s *source) cost() int64 { return int64(len(s.name)) + 64 }

// forward takes messages of another shard.
func (c *core) forward(now time.Time, f *forwarding) {
	if c.down {
		c.answer(answered{f.done, 0, storeDown("the message store does not answer; try again")})
		return
	}
	s := c.sources[f.source]
	if s == nil {
		s = &source{name: strings.Clone(f.source)}
	}
	list := f.list
	for len(list) > 0 && list[0].Seq <= s.last {
		list = list[1:]
	}
	a := answered{done: f.done, upTo: s.last}
	for len(list) > 0 && a.err == nil {
		var n int
		n, a.err = c.forwardSome(now, s, list)
		list, a.upTo = list[n:], s.last
	}
	c.answer(a)
}

// answer answers a call of Forward once what was written till now is stored.
func (c *core) answer(a answered) {
	if p := c.journal.newest(); p != nil && !c.down {
		p.forwards = append(p.forwards, a)
		p.urgent = true
		return
	}
	c.effects = append(c.effects, effect{kind: effForwarded, forwarded: &a})
}

// forwardSome takes as many messages as one batch holds with the record that says
// so, and returns how many. Notices are dropped and counted where there is no
// room, as this shard's own are; other messages are no news to their senders, and
// stay out only while the disk or memory is full, all together.
func (c *core) forwardSome(now time.Time, s *source, list []Forwarded) (n int, err error) {
	size, receivers := 0, 0
	for n < len(list) && (n == 0 || size+len(list[n].Frame) <= c.tune.batch) {
		receivers += 1 + len(list[n].More)
		if messageFlags(list[n].Flags)&flagNotice == 0 {
			if refusal := c.refusal(receivers); refusal != nil {
				err = refusal
				break
			}
		}
		size += len(list[n].Frame) + len(list[n].Reference) + 128 + 64*len(list[n].More)
		n++
	}
	if n == 0 {
		return 0, err
	}
	c.journal.hold(size + 256)
	defer c.journal.letGo()
	for i := range list[:n] {
		c.takeForwarded(now, &list[i], s.archive())
	}
	s.last = list[n-1].Seq
	c.writeSource(now, s)
	return n, err
}

// takeForwarded takes one message. Of an archive everything is taken: it waited
// within the limits of its own day.
func (c *core) takeForwarded(now time.Time, f *Forwarded, archive bool) {
	if archive && f.To == remembered {
		c.takeRemembered(now, f.Frame)
		return
	}
	r := messageRecord{
		id: f.ID, flags: messageFlags(f.Flags), from: []byte(f.From), reference: f.Reference, frame: f.Frame,
	}
	if !f.Expires.IsZero() {
		r.expires = uint32(f.Expires.Unix())
	}
	if r.flags&flagNotice != 0 {
		if r.expires != 0 && int64(r.expires) <= now.Unix() {
			return
		}
		if !archive && !c.makeRoom(c.user(f.To), len(f.Frame)) {
			c.dropNotice(f.To, r.flags)
			return
		}
	}
	to := append([]wire.UserID{f.To}, f.More...)
	if r.flags&flagNotice == 0 && !archive { // it was sent another way, or will come on one
		m := &Message{ID: f.ID, To: to}
		if to = c.notRecent(m); len(to) == 0 {
			c.counts.returned++
			return
		}
		c.remember(m, to)
	}
	c.append(now, r, to)
}

// writeSource writes how far a source has been taken.
func (c *core) writeSource(now time.Time, s *source) {
	p := c.journal.room(int(s.cost()))
	switch {
	case c.sources[s.name] == nil:
		c.sources[s.name] = s
		c.marksBytes += s.cost()
	case s.seq != 0:
		p.retire(s.seq)
	}
	s.at = uint32(now.Unix())
	c.appendSource(p, s)
}

func (c *core) appendSource(p *pending, s *source) {
	p.buf = appendSource(p.buf, s)
	s.seq = p.seq
	c.journal.alive(p.seq, 1)
}

func (c *core) replaySource(seq uint64, body []byte) error {
	s, err := parseSource(body)
	if err != nil {
		return err
	}
	if old := c.sources[s.name]; old != nil {
		c.forgetSource(old)
	}
	s.seq = seq
	c.sources[s.name] = s
	c.marksBytes += s.cost()
	c.journal.alive(seq, 1)
	return nil
}

// forgetSources forgets those of which nothing came for long.
func (c *core) forgetSources(now time.Time) {
	for _, s := range c.sources {
		if now.Sub(time.Unix(int64(s.at), 0)) > sourceAge {
			c.forgetSource(s)
		}
	}
}

func (c *core) forgetSource(s *source) {
	c.journal.alive(s.seq, -1)
	c.marksBytes -= s.cost()
	delete(c.sources, s.name)
}

func appendSource(b []byte, s *source) []byte {
	size := bytesLen(s.name) + uvarintLen(s.last) + uvarintLen(uint64(s.at))
	b, _ = appendRecord(b, recSource, size, func(b []byte) []byte {
		b = appendBytes(b, s.name)
		b = binary.AppendUvarint(b, s.last)
		return binary.AppendUvarint(b, uint64(s.at))
	})
	return b
}

func parseSource(body []byte) (*source, error) {
	r := reader{b: body}
	s := &source{name: string(r.bytes()), last: r.uvarint(), at: uint32(r.uvarint())}
	return s, r.err
}

// Forward takes messages that stand in the log of another shard, or in an
// archive, into the mailboxes of this one. Each source has one sequence, which
// rises; what is at or below the last that was taken is not taken again, also by
// a keeper that was killed in between. So a source waits for the answer of one
// call before the next: done says how far it is stored, also with an error. It is
// called from the keeper's goroutine and must not block; list and its bytes are
// the keeper's until then.
func (k *Keeper) Forward(source string, list []Forwarded, done func(upTo uint64, err error)) {
	if !slices.IsSortedFunc(list, func(a, b Forwarded) int { return int(int64(a.Seq) - int64(b.Seq)) }) {
		panic("mailbox: what is forwarded is out of order")
	}
	k.post(event{kind: evForward, forward: &forwarding{source, list, done}})
}
