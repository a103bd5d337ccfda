package mailbox

import (
	"fmt"
	"math"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// accept takes a message for those of its receivers whose mailbox has room.
func (c *core) accept(now time.Time, m *Message) {
	switch {
	case m.Via != "":
		c.acceptOver(now, m)
		return
	case m.Producer != "":
		c.acceptProduced(now, m)
		return
	}
	c.acceptAs(now, m, wire.ID{})
}

// acceptAs is accept for a message whose ID is given; the zero ID for a new one.
// It says whether the message was accepted for anybody, and of those for whom it
// was not, whose mailbox was full.
func (c *core) acceptAs(now time.Time, m *Message, id wire.ID) (full []wire.UserID, ok bool) {
	if c.holding && id.IsZero() {
		c.unsent = append(c.unsent, m)
		return nil, false
	}
	if refusal := c.refusalOf(m); refusal != nil {
		refusal.To = m.To
		if m.Notice {
			c.counts.refused += uint64(len(m.To))
		}
		c.refuse(m, refusal)
		return nil, false
	}
	keyed := !id.IsZero()
	to, full := c.admit(m.To, len(m.Frame))
	if len(full) > 0 {
		c.refuseFull(m, full)
	}
	if len(to) == 0 {
		return full, false
	}
	if id.IsZero() {
		if id = m.ID; id.IsZero() {
			id = c.newID(now)
		}
	}
	p := c.append(now, c.record(now, m, id, []byte(m.From)), to)
	p.messages = append(p.messages, accepted{m, id, to, keyed})
	return full, true
}

// record returns what the log says of a message, but for its receivers. from are the
// bytes of its sender, which so need no memory of their own.
func (c *core) record(now time.Time, m *Message, id wire.ID, from []byte) messageRecord {
	return messageRecord{
		id: id, expires: c.expiryOf(now, m), flags: c.flags(m),
		from: from, reference: m.Reference, frame: m.Frame,
	}
}

// flags says what kind of message it is, and who wants to hear of it.
func (c *core) flags(m *Message) messageFlags {
	flags := c.interest(m)
	if m.Group {
		flags |= flagGroup
	}
	if m.Notice {
		flags |= flagNotice
	}
	if m.Confirm && len(m.Reference) > 0 && !m.Group {
		flags |= flagConfirm
	}
	if m.Quiet {
		flags |= flagQuiet
	}
	if m.Notice && m.Presence {
		flags |= flagPresence
	}
	if c.toLink(m) { // that another domain has it is no delivery; its receivers' keepers tell of that
		flags &^= flagConfirm | flagReport | flagLate
	}
	return flags
}

func (c *core) newID(now time.Time) wire.ID {
	id, err := wire.NewID(now, c.random)
	if err != nil {
		panic(fmt.Sprintf("mailbox: no randomness: %v", err))
	}
	return id
}

// accepted is a message whose sender waits for its batch, and its receivers
// that had room.
type accepted struct {
	message *Message
	id      wire.ID
	to      []wire.UserID
	keyed   bool // part of something that only this keeper knows: no other can take it
}

// admit says whose mailboxes take a frame of size bytes, and whose are full.
func (c *core) admit(list []wire.UserID, size int) (to, full []wire.UserID) {
	for i, id := range list {
		switch ok := c.makeRoom(c.user(id), size); {
		case !ok && full == nil:
			to = append(to, list[:i]...)
			full = append(full, id)
		case !ok:
			full = append(full, id)
		case full != nil:
			to = append(to, id)
		}
	}
	if full == nil {
		return list, nil
	}
	return to, full
}

// refuseFull tells the sender whose mailboxes were full.
func (c *core) refuseFull(m *Message, full []wire.UserID) {
	if m.Notice {
		c.counts.droppedFull += uint64(len(full))
	}
	failure := &wire.Error{
		Kind: wire.KindDeliverFailed, Code: wire.CodeMailboxFull,
		Reason: c.fullReason(m, full), To: full, Group: m.Group,
	}
	if len(full) == len(m.To) {
		c.refuse(m, failure)
		return
	}
	c.effects = append(c.effects, effect{kind: effFailed, message: m, failure: failure})
}

// fullReason says whose mailboxes were full, or to whom a way was.
func (c *core) fullReason(m *Message, full []wire.UserID) string {
	if c.toLink(m) {
		return fmt.Sprintf("as much waits on the way to %s as may", names(c.receiversIn(full[0], m.Frame)))
	}
	return fmt.Sprintf("the mailbox of %s is full", names(full))
}

const (
	// headroomShare is which part of Limits.Waiting is kept free for what comes over
	// links, beyond it. Two domains that are both at the limit with messages for each
	// other would else wait for each other for good: neither takes anything, so neither
	// can let anything go. With so much more for what comes, and for nothing else, it
	// goes on: users add up to the limit only, so what stands beyond it in either came
	// from the other and made room there; and both cannot be full with that.
	headroomShare = 8
	// minHeadroom is the least that it is: where the limit is small it still lets more
	// through than a message at a time.
	minHeadroom = 64
)

// refusal says why nothing can be accepted now for so many receivers; nil when it
// can. The keeper's own notices are not asked: what they tell of makes room for
// them, or they are as few as sessions.
func (c *core) refusal(receivers int) *wire.Error {
	return c.refusalWithin(receivers, c.limits.Waiting)
}

// refusalOf is refusal for a message. What came over a link has the headroom, and so
// has the notice to its sender that it is refused here, which has an ID already: until
// that is stored the next domain keeps the message. A message to many is taken as a
// whole where there is room for one: it must not wait for more than a pair of domains
// can make.
func (c *core) refusalOf(m *Message) *wire.Error {
	if m.Via == "" && (!m.Notice || m.ID.IsZero()) {
		return c.refusal(len(m.To))
	}
	return c.refusalWithin(1, c.limits.Waiting+max(c.limits.Waiting/headroomShare, minHeadroom))
}

// refusalWithin is refusal where so many may wait in all, if that is limited.
func (c *core) refusalWithin(receivers, most int) *wire.Error {
	switch {
	case c.down:
		return &wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeStoreDown, Reason: "the message store does not answer; try again"}
	case c.full:
		return &wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeStoreFull, Reason: "the server's disk is nearly full; try again later"}
	case c.limits.Waiting > 0 && c.counts.waiting+receivers > most:
		return &wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeStoreFull, Reason: "as many messages wait on this server as it may keep; try again later"}
	}
	return nil
}

// refuse tells the sender that nothing of m was accepted.
func (c *core) refuse(m *Message, e *wire.Error) {
	e.Group = m.Group
	c.effects = append(c.effects, effect{kind: effFailed, message: m, failure: e}, effect{kind: effDone, message: m})
}

// append writes a message into the next batch and into its receivers'
// mailboxes, which have room.
func (c *core) append(now time.Time, r messageRecord, to []wire.UserID) *pending {
	r.to = make([][]byte, len(to))
	for i, id := range to {
		r.to[i] = []byte(id)
	}
	p := c.journal.room(len(r.frame) + 64 + 24*len(to))
	r.ord = c.journal.ord()
	p.count++
	p.urgent = p.urgent || r.flags&flagEvent == 0
	var off int
	p.buf, off = appendMessage(p.buf, &r)
	e := entry{
		ord: r.ord, seq: p.seq, off: uint32(off), size: uint32(len(r.frame)),
		expires: r.expires, lane: laneOf(r.from), flags: r.flags,
	}
	for _, id := range to {
		u := c.user(id)
		u.entries.add(e)
		c.count(u, &e)
		if e.flags&flagLate != 0 {
			c.due.add(&u.late, c.lateAt(now))
		}
		p.touch(u)
	}
	return p
}

// count counts a waiting entry, which is in its place.
func (c *core) count(u *user, e *entry) {
	u.waiting++
	u.bytes += int64(e.size)
	if e.flags&flagPresence != 0 {
		u.presence++
	}
	c.counts.waiting++
	c.counts.waitingBytes += int64(e.size)
	c.journal.alive(e.seq, 1)
	c.due.add(&u.expiry, e.expires)
}

// settleEntry takes an entry out of the mailbox: what is written into p says so
// to a replay. The entry itself stays, for the caller to kill or keep.
func (c *core) settleEntry(u *user, e *entry, p *pending) {
	c.uncount(u, e)
	p.retire(e.seq)
}

// uncount reverses what count counted, but for the batch.
func (c *core) uncount(u *user, e *entry) {
	u.waiting--
	u.bytes -= int64(e.size)
	if e.flags&flagPresence != 0 {
		u.presence--
	}
	c.counts.waiting--
	c.counts.waitingBytes -= int64(e.size)
}

// gone takes entries out of a mailbox for good.
func (c *core) gone(u *user, reason goneReason, ords ...uint64) {
	p := c.journal.room(32 + 10*len(ords))
	p.buf = appendGone(p.buf, reason, u.id, ords)
	for _, ord := range ords {
		e := u.entries.find(ord)
		c.settleEntry(u, e, p)
		u.entries.kill(e)
	}
	if u.link != nil {
		c.takenOut(u, p.seq, ords)
	}
}

// makeRoom says whether the mailbox takes a frame of size bytes. Presence
// notices that nobody holds make room for it, the oldest first, if that helps.
func (c *core) makeRoom(u *user, size int) bool {
	messages, bytes := u.waiting, u.bytes
	mostMessages, mostBytes := c.limits.Messages, c.limits.Bytes
	switch {
	case u.relay:
		mostMessages, mostBytes = relayMessages, relayBytes
	case u.link != nil:
		mostMessages, mostBytes = math.MaxInt, c.limits.LinkBytes
	case isSubscriber(u.id):
		mostMessages, mostBytes = c.limits.Events, c.limits.EventBytes
	}
	fits := func() bool {
		return messages < mostMessages && (bytes+int64(size) <= mostBytes || messages == 0)
	}
	if fits() {
		return true
	}
	if u.presence == 0 {
		return false
	}
	var ords []uint64
	for i := u.entries.at(u.roomFrom); i < len(u.entries.list); i++ {
		e := &u.entries.list[i]
		if e.flags&flagPresence == 0 || !e.waits() || e.holders > 0 {
			continue
		}
		ords = append(ords, e.ord)
		messages--
		bytes -= int64(e.size)
		if fits() {
			u.roomFrom = e.ord + 1
			c.gone(u, goneEvicted, ords...)
			c.counts.evicted += uint64(len(ords))
			return true
		}
	}
	u.roomFrom = c.journal.nextOrd
	if len(ords) > 0 {
		u.roomFrom = ords[0]
	}
	return false
}

// notice is a message of the keeper's own.
type notice struct {
	to    wire.UserID
	about wire.UserID // whom it is about: chooses the session of a master user
	id    wire.ID
	flags messageFlags
	frame []byte
}

// notify puts a notice into a mailbox, or counts it when there is no room. What is
// for a user of another shard goes into the mailbox of that, in the same batch as
// what it tells of like any other.
func (c *core) notify(now time.Time, n notice) {
	r := messageRecord{
		id: n.id, expires: c.expiry(now, 0), flags: n.flags | flagNotice,
		from: []byte(n.about), frame: n.frame,
	}
	to := n.to
	if c.abroad != nil && n.flags&flagEvent == 0 {
		if link, frame, ok := c.abroad(n.exported(r.expires)); ok {
			to, r.frame = link, frame
		}
	}
	if c.shardOf != nil {
		if shard := c.shardOf(to); shard != c.shard {
			r.frame = appendForwarded(nil, &r, to)
			to = c.relay(shard)
		}
	}
	if !c.makeRoom(c.user(to), len(r.frame)) {
		c.dropNotice(n.to, n.flags)
		return
	}
	c.append(now, r, []wire.UserID{to})
}

// exported returns it for Options.Abroad.
func (n *notice) exported(expires uint32) Notice {
	return Notice{
		To: n.to, From: n.about, ID: n.id, Presence: n.flags&flagPresence != 0,
		Expires: time.Unix(int64(expires), 0).UTC(), Frame: n.frame,
	}
}

// relay returns the mailbox of what is for another shard.
func (c *core) relay(shard int) wire.UserID {
	user, there := c.relays[shard]
	if !there {
		user = Relay(shard)
		c.relays[shard] = user
	}
	return user
}

// dropNotice counts a notice that found a full mailbox.
func (c *core) dropNotice(to wire.UserID, flags messageFlags) {
	if flags&flagEvent != 0 {
		c.counts.droppedEvent++
		c.dropped[to]++
	} else {
		c.counts.droppedFull++
	}
}

// expiry returns when a message that is accepted now expires, in Unix seconds,
// rounded up.
func (c *core) expiry(now time.Time, ttl time.Duration) uint32 {
	return expiryAfter(now, c.limits.Age, ttl)
}

// linkExpiry is expiry in the mailbox of a link.
func (c *core) linkExpiry(now time.Time, ttl time.Duration) uint32 {
	return expiryAfter(now, c.limits.LinkAge, ttl)
}

func expiryAfter(now time.Time, age, ttl time.Duration) uint32 {
	if ttl > 0 && ttl < age {
		age = ttl
	}
	return uint32(now.Add(age + time.Second - 1).Unix())
}

// expiryOf returns when a message that is accepted now expires: when its first keeper
// said, but never later than the limits say.
func (c *core) expiryOf(now time.Time, m *Message) uint32 {
	at := c.expiry(now, m.TTL)
	if c.toLink(m) {
		at = c.linkExpiry(now, m.TTL)
	}
	if !m.Expires.IsZero() {
		// A ttl of a hundred years ends after what 32 bits can say, and a neighbour may
		// name any time; 0 would be never.
		at = uint32(min(int64(at), max(m.Expires.Add(time.Second-1).Unix(), 1)))
	}
	return at
}

// names lists users for a sentence, the first few of many.
func names(ids []wire.UserID) string {
	if len(ids) == 1 {
		return string(ids[0])
	}
	return fmt.Sprintf("%s and %d more", ids[0], len(ids)-1)
}
