package mailbox

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// model is a slow and obvious mailbox. It reads every record that the core
// writes as a decision, says whether it was right, and keeps the consequences.
// What was not stored it can forget again, by reading its records anew.
type model struct {
	*world
	what string // the event that happens

	state                 // with what is not stored yet
	durable    state      // without
	batches    [][]record // by sequence, from 1 on; those not stored yet included
	limbo      []record   // of a batch that may arrive late
	limboMarks func()     // remembers what it says of outboxes and sources

	expect  []*expectation
	anchor  uint64       // the batch of the last record that a notice may tell of
	handed  map[key]bool // handed over in this event
	dropped uint64       // notices that found a full mailbox

	toClear       []*mail // what is taken out of a mailbox in this event, in order
	toMove        *mail   // what goes another way in this event
	droppedEvents uint64  // events that did

	claimed   map[key]bool // was fetched once
	left      map[key]bool // was gone once, maybe in a batch that was lost
	unshared  map[key]bool // was handed out while every session got everything
	unread    map[key]bool // could not be read once
	wasShared map[key]bool // was to go to one session when another keeper took over
	lostAt    int          // the step of the last lose
}

// state is what a log's records make of all mailboxes and sessions.
type state struct {
	nextOrd uint64
	boxes   map[wire.UserID]*box
	running map[wire.ID]sessionRecord
	ended   map[wire.ID]bool
	ids     map[key]bool // of every message in the log
	claims  map[[16]byte]*claim
}

func newState() state {
	return state{
		nextOrd: 1, boxes: make(map[wire.UserID]*box),
		running: make(map[wire.ID]sessionRecord), ended: make(map[wire.ID]bool), ids: make(map[key]bool),
		claims: make(map[[16]byte]*claim),
	}
}

// key is one message for one user.
type key struct {
	user wire.UserID
	id   wire.ID
}

// record is one record of a batch, as parsed.
type record struct {
	step    int
	kind    recordKind
	message messageRecord
	session sessionRecord
	reason  goneReason
	user    wire.UserID
	ords    []uint64
	claim   *claim
	road    *roadRecord
}

// box is a mailbox with all that was ever in it.
type box struct {
	mails []*mail
	owed  map[wire.ID]int  // given back to some session, at that step
	again map[wire.ID]bool // of those, what waits again because the log lost that it was gone
}

// mail is one message in one user's mailbox.
type mail struct {
	ord, seq uint64 // seq is the batch in which it was first written
	record   messageRecord
	user     wire.UserID
	gone     goneReason
	goneSeq  uint64
	goneStep int
}

func (m *mail) size() int { return len(m.record.frame) }
func (m *mail) key() key  { return key{m.user, m.record.id} }

func newModel(w *world) *model {
	return &model{
		world: w, state: newState(), durable: newState(),
		claimed: make(map[key]bool), left: make(map[key]bool), unshared: make(map[key]bool), unread: make(map[key]bool), wasShared: make(map[key]bool),
	}
}

func (s *state) box(user wire.UserID) *box {
	b := s.boxes[user]
	if b == nil {
		b = &box{owed: make(map[wire.ID]int), again: make(map[wire.ID]bool)}
		s.boxes[user] = b
	}
	return b
}

func (b *box) at(ord uint64) *mail {
	i, ok := slices.BinarySearchFunc(b.mails, ord, func(m *mail, ord uint64) int {
		return int(int64(m.ord) - int64(ord))
	})
	if !ok {
		return nil
	}
	return b.mails[i]
}

func (b *box) byID(id wire.ID) *mail {
	for _, m := range b.mails {
		if m.record.id == id && m.gone != goneMoved {
			return m
		}
	}
	return nil
}

// waiting returns what waits, in order.
func (b *box) waiting() []*mail {
	var list []*mail
	for _, m := range b.mails {
		if m.gone == 0 {
			list = append(list, m)
		}
	}
	return list
}

// parsed reads a record, its bytes copied.
func parsed(f failer, step int, kind recordKind, body []byte) record {
	r := record{step: step, kind: kind}
	var err error
	switch body = bytes.Clone(body); kind {
	case recMessage:
		r.message, err = parseMessage(body, [][]byte{})
	case recGone:
		r.reason = goneReason(body[0])
		err = parseGone(body, func(user []byte, ord uint64) {
			r.user = wire.UserID(user)
			r.ords = append(r.ords, ord)
		})
	case recOpened:
		r.session, err = parseOpened(body)
	case recClosed:
		r.session.id, err = parseClosed(body)
	case recReported:
		err = parseReported(body, func(user []byte, ord uint64) {
			r.user = wire.UserID(user)
			r.ords = append(r.ords, ord)
		})
	case recClaim:
		r.claim, err = parseClaim(body)
	case recTakeover, recSource, recProducer:
	case recRoad:
		r.road, err = parseRoad(body)
	default:
		err = fmt.Errorf("kind %d", kind)
	}
	if err != nil {
		f.Fatalf("the core wrote a record that cannot be read: %v", err)
	}
	return r
}

// take checks a record that the core wrote and draws the consequences.
func (m *model) take(seq uint64, r record) {
	m.batches[seq-1] = append(m.batches[seq-1], r)
	m.skipFull(&r)
	m.verify(r)
	if r.kind != recMessage && r.reason != goneEvicted {
		m.anchor = seq
	}
	m.apply(m, seq, r)
	m.follow(r)
}

// reach makes room for the records of a batch.
func (m *model) reach(seq uint64) {
	for uint64(len(m.batches)) < seq {
		m.batches = append(m.batches, nil)
	}
}

// apply draws the consequences of a record.
func (s *state) apply(f failer, seq uint64, r record) {
	switch r.kind {
	case recMessage:
		for _, to := range r.message.to {
			b := s.box(wire.UserID(to))
			if b.at(r.message.ord) != nil {
				continue // copied forward
			}
			x := &mail{ord: r.message.ord, seq: seq, record: r.message, user: wire.UserID(to)}
			if s.ids[x.key()] {
				f.Fatalf("%s: ID %s is in the log a second time", x.user, x.record.id)
			}
			s.ids[x.key()] = true
			b.mails = append(b.mails, x)
			s.nextOrd = max(s.nextOrd, x.ord+1)
		}
	case recGone:
		for _, ord := range r.ords {
			x := s.box(r.user).at(ord)
			if x.gone, x.goneSeq, x.goneStep = r.reason, seq, r.step; r.reason == goneMoved {
				delete(s.ids, x.key()) // it may come back
			}
		}
	case recReported:
		for _, ord := range r.ords {
			s.box(r.user).at(ord).record.flags &^= flagLate
		}
	case recClaim:
		cl := *r.claim
		cl.seq = seq
		s.claims[cl.key] = &cl
	case recOpened:
		s.running[r.session.id] = r.session
	case recClosed:
		delete(s.running, r.session.id)
		s.ended[r.session.id] = true
	}
}

func (s *state) applyAll(f failer, batches [][]record, from int) {
	for i := from; i < len(batches); i++ {
		for _, r := range batches[i] {
			s.apply(f, uint64(i+1), r)
		}
	}
}

// stored says that the log ends at seq now, well.
func (m *model) stored(seq uint64) { m.durable.applyAll(m, m.batches[:seq], int(seq-1)) }

// surviving forgets what stands after the last batch.
func (m *model) surviving(last uint64) {
	m.forgetMarks(last)
	m.batches = m.batches[:min(last, uint64(len(m.batches)))]
	old := m.boxes
	m.state, m.durable = newState(), newState()
	m.state.applyAll(m, m.batches, 0)
	m.durable.applyAll(m, m.batches, 0)
	for user, b := range old {
		m.box(user).owed, m.box(user).again = b.owed, b.again
	}
}

// keep remembers a batch that may arrive late, and arrived says that it did.
func (m *model) keep(seq uint64) {
	m.limbo = m.batches[seq-1]
	m.limboMarks = m.marksOf(seq)
}

func (m *model) arrived(seq uint64) {
	m.batches = append(m.batches[:seq-1], m.limbo)
	m.forgetMarks(seq - 1)
	m.limboMarks()
	m.surviving(seq)
}

// allGone says that no client is left.
func (m *model) allGone() {
	for _, b := range m.boxes {
		clear(b.owed)
	}
}

// noteUnread notes what cannot be read now. Those who are to get it may get it
// later, out of order.
func (m *model) noteUnread(seq uint64) {
	for _, u := range m.core.users {
		for i := range u.entries.list {
			if e := &u.entries.list[i]; !e.dead() && e.seq == seq {
				m.unread[m.box(u.id).at(e.ord).key()] = true
			}
		}
	}
}

// unreadNow says whether a mail stands in a batch that could not be read lately.
func (m *model) unreadNow(x *mail) bool {
	u := m.core.users[x.user]
	if u == nil || len(m.core.cache.unread) == 0 {
		return false
	}
	e := u.entries.find(x.ord)
	if e == nil {
		return false
	}
	_, bad := m.core.cache.unread[e.seq]
	return bad
}

// behindUnread says whether a mail waits for another shard behind one that could
// not be read: order is strict there.
func (m *model) behindUnread(x *mail) bool {
	return isRelay(x.user) && slices.ContainsFunc(m.box(x.user).mails, func(y *mail) bool { return y.ord < x.ord && m.unreadNow(y) })
}

// held returns the open client that has the mail, if it still waits.
func (m *model) held(x *mail) *client {
	if x.gone != 0 {
		return nil
	}
	for _, c := range m.of(x.user) {
		if c.has(x) && !c.unseen {
			return c
		}
	}
	return nil
}

func (m *model) expired(x *mail) bool {
	return x.record.expires != 0 && int64(x.record.expires) <= m.now.Unix()
}

// isStored says whether the batch that first held the mail is in the log.
func (m *model) isStored(x *mail) bool { return x.seq <= m.log.last() }

// room says whether a mailbox takes a message, and who makes room for it. late
// counts what is handed over in this event as on its way.
func (m *model) room(user wire.UserID, size int, late bool) (evict []uint64, ok bool) {
	waiting := m.box(user).waiting()
	count, sum := len(waiting), 0
	for _, x := range waiting {
		sum += x.size()
	}
	messages, bytes := m.core.limits.Messages, m.core.limits.Bytes
	if isLink(user) {
		messages, bytes = 1<<30, m.core.limits.LinkBytes
	} else if user == Relay(1) {
		messages, bytes = relayMessages, relayBytes
	} else if isSubscriber(user) {
		messages, bytes = m.core.limits.Events, m.core.limits.EventBytes
	}
	fits := func() bool {
		return count < messages && (count == 0 || int64(sum+size) <= bytes)
	}
	for _, x := range waiting {
		if fits() {
			break
		}
		if x.record.flags&flagPresence != 0 && m.held(x) == nil && !(late && m.handed[x.key()]) {
			evict = append(evict, x.ord)
			count--
			sum -= x.size()
		}
	}
	if !fits() {
		return nil, false
	}
	return evict, true
}
