package mailbox

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// expectation is a record that the model expects next.
type expectation struct {
	kind     recordKind
	message  messageRecord
	session  wire.ID
	sending  *sending   // when somebody sent it
	source   string     // when it was forwarded, of whom
	place    uint64     // and its number there
	producer *Message   // the sender's message
	letter   *Message   // what becomes of it is not foreseen yet
	parcel   *parcel    // what came over a road
	evicts   []eviction // what makes room first
	checked  bool       // evicts is known
}

// eviction is presence notices that must make room first.
type eviction struct {
	user wire.UserID
	ords []uint64
}

func (m *model) expectTakeover() {
	m.expect = append(m.expect, &expectation{kind: recTakeover})
}

// expectAccept expects a message to be accepted, or refused.
func (m *model) expectAccept(in *Message, s *sending) {
	if m.repeats(in, s) {
		return
	}
	if !m.core.down && !m.core.full {
		m.expect = append(m.expect, &expectation{kind: recMessage, sending: s, letter: in})
	}
}

// foresee says what a mailbox does with a message, once it is its turn; nil when
// nobody takes it.
func (m *model) foresee(in *Message, s *sending) *expectation {
	x := &expectation{kind: recMessage, sending: s, checked: true, producer: in}
	for _, to := range in.To {
		evict, ok := m.room(to, len(in.Frame), false)
		if !ok {
			s.full = append(s.full, to)
			continue
		}
		s.taken = append(s.taken, to)
		x.message.to = append(x.message.to, []byte(to))
		if len(evict) > 0 {
			x.evicts = append(x.evicts, eviction{to, evict})
		}
	}
	if in.Notice {
		m.dropped += uint64(len(s.full))
	}
	if in.Via != "" {
		m.expectFull(in, s.full, x)
	}
	if len(s.taken) == 0 {
		return nil
	}
	to := x.message.to
	x.message = m.recordOf(in)
	x.message.to = to
	return x
}

// recordOf is what the log is to say of a message, but for its receivers.
func (m *model) recordOf(in *Message) (r messageRecord) {
	r.id, r.from, r.reference, r.frame = in.ID, []byte(in.From), in.Reference, in.Frame
	link := isLink(in.To[0])
	if r.expires = m.expiry(in.TTL); link {
		r.expires = m.expiryIn(m.core.limits.LinkAge, in.TTL)
	}
	if at := in.Expires; !at.IsZero() {
		if at.Nanosecond() > 0 {
			at = at.Add(time.Second)
		}
		r.expires = min(r.expires, uint32(at.Unix()))
	}
	if !in.Notice && !link {
		for _, s := range m.subs[in.From.App()] {
			if s.Delivered {
				r.flags |= flagReport
			}
			if s.Undelivered {
				r.flags |= flagLate
			}
		}
	}
	if in.Group {
		r.flags |= flagGroup
	}
	if in.Notice {
		r.flags |= flagNotice
	}
	if in.Notice && in.Presence {
		r.flags |= flagPresence
	}
	if in.Confirm && !in.Group && !link {
		r.flags |= flagConfirm
	}
	if in.Quiet {
		r.flags |= flagQuiet
	}
	return r
}

// expiry rounds up to the second.
func (m *model) expiry(ttl time.Duration) uint32 { return m.expiryIn(m.core.limits.Age, ttl) }

func (m *model) expiryIn(age, ttl time.Duration) uint32 {
	if ttl <= 0 || ttl > age {
		ttl = age
	}
	end := m.now.Add(ttl)
	if end.Nanosecond() > 0 {
		end = end.Add(time.Second)
	}
	return uint32(end.Unix())
}

func (m *model) expectNotice(to, about wire.UserID, id wire.ID, flags messageFlags, frame []byte) {
	r := messageRecord{id: id, expires: m.expiry(0), flags: flags | flagNotice, from: []byte(about), frame: frame}
	if flags&flagEvent == 0 && linkTo(to) != "" {
		to, r.frame = linkTo(to), wrapped(about, []wire.UserID{to}, frame)
	}
	to, r = relayed(to, r)
	r.to = [][]byte{[]byte(to)}
	m.expect = append(m.expect, &expectation{kind: recMessage, message: r})
}

// expectEvents expects what subscribers hear.
func (m *model) expectEvents(e eventName, app string, of wire.ID, about wire.UserID, data string) {
	for _, s := range m.subs[app] {
		if !s.wants(e) {
			continue
		}
		frame := fmt.Appendf(nil, `{"type":"%s","timestamp":"%s","data":{"app":"%s",%s}}`, e, m.now.UTC().Format("2006-01-02T15:04:05.000Z"), app, data)
		m.expectNotice(s.To, about, of.Derive(fmt.Sprintf("%s %s %s", e, about, s.To)), flagEvent, frame)
	}
}

func (m *model) expectSessionEvents(e eventName, id wire.ID, user wire.UserID) {
	if !isSubscriber(user) && !isLink(user) {
		m.expectEvents(e, user.App(), id, user, fmt.Sprintf(`"userId":"%s","sessionId":"%s"`, user, id))
	}
}

func (m *model) expectMessageEvents(e eventName, x *mail) {
	data := fmt.Sprintf(`"messageId":"%s","from":"%s","to":"%s"`, x.record.id, x.record.from, x.user)
	if len(x.record.reference) > 0 {
		data += fmt.Sprintf(`,"reference":%s`, x.record.reference)
	}
	m.expectEvents(e, wire.UserID(x.record.from).App(), x.record.id, x.user, data)
}

func (m *model) expectOpened(x *client) {
	if m.core.down {
		return
	}
	m.expect = append(m.expect, &expectation{kind: recOpened, session: x.ID})
	if x.TellMaster != "" {
		m.expectNotice(x.TellMaster, x.User, x.ID.Derive("connected"), flagPresence, wire.AppendUserConnected(nil, x.User))
	}
	m.expectSessionEvents(eventConnected, x.ID, x.User)
}

func (m *model) expectClosed(x *client) {
	m.giveBack(x)
	if !m.core.down {
		m.expectEnd(x.record())
	}
}

func (m *model) expectEnd(r sessionRecord) {
	m.expect = append(m.expect, &expectation{kind: recClosed, session: r.id})
	if r.tellMaster != "" {
		m.expectNotice(r.tellMaster, r.user, r.id.Derive("disconnected"), flagPresence, wire.AppendUserDisconnected(nil, r.user))
	}
	m.expectSessionEvents(eventDisconnected, r.id, r.user)
}

// expectStale foresees what a new core writes about sessions: those that go on
// and whose record was lost are opened, those that are gone are closed.
func (m *model) expectStale(clients []*client) {
	there := make(map[wire.ID]bool)
	clients = slices.Clone(clients)
	slices.SortStableFunc(clients, func(a, b *client) int { return strings.Compare(string(a.User), string(b.User)) })
	for _, x := range clients {
		there[x.ID] = true
		if _, ok := m.running[x.ID]; !ok {
			m.expectOpened(x)
		}
	}
	var stale []sessionRecord
	for id, r := range m.running {
		if !there[id] && !m.gather[r.node] {
			stale = append(stale, r)
		}
	}
	slices.SortFunc(stale, func(a, b sessionRecord) int { return bytes.Compare(a.id[:], b.id[:]) })
	for _, r := range stale {
		m.expectEnd(r)
	}
}

// skipFull drops expected notices for which there is no room. r is the record
// that came, nil for none. A notice that was handed over in this very event may
// or may not have been on its way already when the core looked for room.
func (m *model) skipFull(r *record) {
	for len(m.expect) > 0 {
		x := m.expect[0]
		if x.letter != nil {
			m.expect = m.expect[1:]
			if x = m.foresee(x.letter, x.sending); x != nil {
				m.expect = append([]*expectation{x}, m.expect...)
			}
			continue
		}
		if x.kind != recMessage || x.checked {
			return
		}
		to, size := wire.UserID(x.message.to[0]), len(x.message.frame)
		for _, late := range []bool{false, true} {
			evict, ok := m.room(to, size, late)
			if !ok {
				continue
			}
			x.checked = true
			if x.evicts = nil; len(evict) > 0 {
				x.evicts = []eviction{{to, evict}}
			}
			if r != nil && x.begins(r) {
				return
			}
		}
		if _, ok := m.room(to, size, true); x.checked && ok {
			return // one of them is missing; verify says so
		}
		switch {
		case x.source != "":
			m.taken[x.source][x.place] = m.core.journal.newest().seq
			fallthrough
		default:
			m.dropped++
		case isSubscriber(to):
			m.droppedEvents++
		}
		m.expect = m.expect[1:]
	}
}

// begins says whether r is the first record of what is expected.
func (x *expectation) begins(r *record) bool {
	if len(x.evicts) > 0 {
		return r.kind == recGone && r.reason == goneEvicted && slices.Equal(r.ords, x.evicts[0].ords)
	}
	return r.kind == recMessage && r.message.id == x.message.id
}

// endRecords checks that everything expected was written.
func (m *model) endRecords() {
	m.skipFull(nil)
	if len(m.expect) > 0 {
		x := m.expect[0]
		m.Fatalf("%s: (f, g, j, n) a record of kind %d is missing, to %s, frame %s", m.what, x.kind, x.message.to, x.message.frame)
	}
}

// verify says whether the core was right to write a record.
func (m *model) verify(r record) {
	switch r.kind {
	case recTakeover:
		m.next(r.kind)
	case recMessage:
		if m.known(r.message) {
			m.verifyCopy(r.message)
			return
		}
		m.verifyMessage(r.message)
	case recGone:
		m.verifyGone(r)
	case recReported:
		m.verifyReported(r)
	case recClaim:
		m.verifyClaim(r.claim)
	case recRoad:
		m.verifyRoad(r.road)
	case recOpened:
		if _, open := m.running[r.session.id]; open {
			return // copied forward
		}
		if x := m.next(r.kind); x.session != r.session.id || m.ended[r.session.id] {
			m.Fatalf("%s: (g) session %s is opened, %s should be", m.what, r.session.id, x.session)
		}
	case recClosed:
		if x := m.next(r.kind); x.session != r.session.id || m.ended[r.session.id] {
			m.Fatalf("%s: (g) session %s is closed, %s should be", m.what, r.session.id, x.session)
		}
	}
}

// next returns the expectation that a record must fulfil.
func (m *model) next(kind recordKind) *expectation {
	if len(m.expect) == 0 {
		m.Fatalf("%s: a record of kind %d that nothing asked for", m.what, kind)
	}
	x := m.expect[0]
	if x.kind != kind {
		m.Fatalf("%s: a record of kind %d where kind %d should be", m.what, kind, x.kind)
	}
	m.expect = m.expect[1:]
	return x
}

func (m *model) known(r messageRecord) bool { return r.ord < m.nextOrd }

// verifyCopy says whether a message may be copied forward.
func (m *model) verifyCopy(r messageRecord) {
	if len(r.to) == 0 {
		m.Fatalf("%s: message %d is copied for nobody", m.what, r.ord)
	}
	for _, to := range r.to {
		x := m.box(wire.UserID(to)).at(r.ord)
		if x == nil || x.gone != 0 {
			m.Fatalf("%s: message %d is copied for %s, for whom it does not wait", m.what, r.ord, to)
		}
		old := x.record
		if old.id != r.id || old.expires != r.expires || old.flags != r.flags || !bytes.Equal(old.from, r.from) ||
			!bytes.Equal(old.reference, r.reference) || !bytes.Equal(old.frame, r.frame) {
			m.Fatalf("%s: message %d is copied as %+v, it was %+v", m.what, r.ord, r, old)
		}
	}
}

// verifyMessage compares a new message with what was expected.
func (m *model) verifyMessage(r messageRecord) {
	x := m.next(recMessage)
	want := x.message
	if len(x.evicts) > 0 {
		m.Fatalf("%s: (j) a message was accepted for %s where others had to make room", m.what, r.to)
	}
	if want.id.IsZero() {
		want.id = r.id
	}
	if r.ord != m.nextOrd {
		m.Fatalf("%s: message %d where %d is next", m.what, r.ord, m.nextOrd)
	}
	same := want.id == r.id && want.expires == r.expires && want.flags == r.flags && bytes.Equal(want.from, r.from) &&
		slices.EqualFunc(want.to, r.to, bytes.Equal) && bytes.Equal(want.reference, r.reference) && bytes.Equal(want.frame, r.frame)
	if !same {
		m.Fatalf("%s: (f, g, j, n) wrote %+v, should be %+v", m.what, r, want)
	}
	switch seq := uint64(len(m.batches)); {
	case x.sending != nil:
		x.sending.seq = seq
		m.noteProduced(x, seq)
	case x.source != "":
		m.taken[x.source][x.place] = seq
	case seq != m.anchor:
		m.Fatalf("%s: (f, g) a notice is in batch %d, what it tells of in %d", m.what, seq, m.anchor)
	}
}

// verifyGone says whether messages may leave a mailbox.
func (m *model) verifyGone(r record) {
	if r.reason == goneEvicted {
		if len(m.expect) == 0 || len(m.expect[0].evicts) == 0 {
			m.Fatalf("%s: (j) notices %d of %s make room for nobody", m.what, r.ords, r.user)
		}
		x := m.expect[0]
		if e := x.evicts[0]; e.user != r.user || !slices.Equal(e.ords, r.ords) {
			m.Fatalf("%s: (j) notices %d of %s make room, should be %d of %s", m.what, r.ords, r.user, e.ords, e.user)
		}
		x.evicts = x.evicts[1:]
	}
	for _, ord := range r.ords {
		x := m.box(r.user).at(ord)
		if x == nil || x.gone != 0 {
			m.Fatalf("%s: message %d of %s is gone that does not wait", m.what, ord, r.user)
		}
		m.left[x.key()] = true
		switch {
		case r.reason == goneMoved:
			if m.toMove != x {
				m.Fatalf("%s: (u) message %d of %s goes another way, but should not", m.what, ord, r.user)
			}
		case r.reason == goneCleared:
			m.verifyCleared(r.user, ord)
		case r.reason == goneProved:
			if !slices.ContainsFunc(m.of(r.user), func(c *client) bool { return c.provedByClient(x) }) {
				m.Fatalf("%s: (d) message %d of %s is taken for proved, nobody proved it", m.what, ord, r.user)
			}
		case r.reason == goneLost:
			m.Fatalf("%s: (d) message %d of %s is lost", m.what, ord, r.user)
		case r.reason == goneExpired:
			if !m.expired(x) || m.held(x) != nil || !m.isStored(x) {
				m.Fatalf("%s: (n) message %d of %s expires, but should not", m.what, ord, r.user)
			}
		}
	}
}

// verifyReported says whether subscribers are to hear of messages that are late.
func (m *model) verifyReported(r record) {
	for _, ord := range r.ords {
		x := m.box(r.user).at(ord)
		if x == nil || x.gone != 0 || x.record.flags&flagLate == 0 || !m.isStored(x) || !m.late(x) {
			m.Fatalf("%s: (n) message %d of %s is reported as late, but should not be", m.what, ord, r.user)
		}
	}
}

func (m *model) late(x *mail) bool {
	return m.now.Sub(x.record.id.Time()) >= m.core.limits.Undelivered
}

// verifyClaim says whether what is remembered of a keyed request is what was
// accepted of it: in this batch, or before.
func (m *model) verifyClaim(cl *claim) {
	old := m.claims[cl.key]
	if old != nil && old.base != cl.base {
		old = nil
	}
	seq := uint64(len(m.batches))
	for i := range cl.count {
		there := m.batchOf(cl.id(i))
		for _, to := range cl.missing(i) {
			if !cl.has(i) || m.box(to).byID(cl.id(i)) != nil {
				m.Fatalf("%s: (o) %s is said to miss message %d of request %v", m.what, to, i, cl.key)
			}
		}
		switch {
		case old != nil && old.has(i) && !cl.has(i):
			m.Fatalf("%s: (o) message %d of request %v is forgotten", m.what, i, cl.key)
		case old != nil && old.has(i):
		case cl.has(i) != (there == seq):
			m.Fatalf("%s: (o) message %d of request %v is taken for accepted: %t, and stands in batch %d, its claim in %d", m.what, i, cl.key, cl.has(i), there, seq)
		}
	}
}

// batchOf returns the batch in which a message was first written; 0 for none.
func (m *model) batchOf(id wire.ID) uint64 {
	for _, b := range m.boxes {
		if x := b.byID(id); x != nil {
			return x.seq
		}
	}
	return 0
}

// follow expects what belongs to a record.
func (m *model) follow(r record) {
	if r.kind == recReported {
		for _, ord := range r.ords {
			m.expectMessageEvents(eventUndelivered, m.box(r.user).at(ord))
		}
	}
	if r.kind != recGone {
		return
	}
	for _, ord := range r.ords {
		x := m.box(r.user).at(ord)
		if r.reason == goneProved {
			m.followProof(x)
			continue
		}
		if r.reason == goneExpired && x.record.flags&flagNotice == 0 {
			end := *x
			end.user = m.receiver(x)
			e := &wire.Error{
				Kind: wire.KindDeliverFailed, Code: wire.CodeExpired,
				Reason: string(end.user) + " did not receive the message in its time",
				To:     []wire.UserID{end.user}, Group: x.record.flags&flagGroup != 0,
			}
			m.expectNotice(wire.UserID(x.record.from), end.user, x.record.id.Derive("expired "+string(end.user)), 0,
				wire.AppendFailure(nil, e, x.record.reference))
			m.expectMessageEvents(eventExpired, &end)
		}
	}
}

// followProof expects what others hear of a proof.
func (m *model) followProof(x *mail) {
	if x.record.flags&flagConfirm != 0 {
		m.expectNotice(wire.UserID(x.record.from), x.user, x.record.id.Derive("confirmation"), 0,
			wire.AppendConfirmation(nil, x.record.reference))
	}
	if x.record.flags&flagReport != 0 {
		m.expectMessageEvents(eventDelivered, x)
	}
}
