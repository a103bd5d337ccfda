package mailbox

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What crosses links: two neighbours have messages for this shard's users, and for
// its link, which they send again until they know that these are stored; what the
// shard has for other domains waits in the mailboxes of two links, one of them in
// another shard; and when the network changes, what waits goes another way.

const (
	linkUser  = wire.UserID("domain2-1") // a link in this shard
	linkThere = wire.UserID("domain3-1") // and one in the other
	far       = wire.UserID("ANZ-7")     // lives behind the first
	farther   = wire.UserID("ANZ-8")     // and behind the second
	testLog   = "log of this shard"
)

func isLink(user wire.UserID) bool { return user == linkUser || user == linkThere }

// linkTo returns the link behind which a user lives; empty for those who live here.
func linkTo(user wire.UserID) wire.UserID {
	switch user {
	case far:
		return linkUser
	case farther:
		return linkThere
	}
	return ""
}

// abroad wraps what is for users of other domains.
func abroad(n Notice) (link wire.UserID, frame []byte, ok bool) {
	if link = linkTo(n.To); link == "" {
		return "", nil, false
	}
	return link, wrapped(n.From, []wire.UserID{n.To}, n.Frame), true
}

func wrapped(from wire.UserID, to []wire.UserID, frame []byte) []byte {
	if !strings.HasPrefix(string(frame), "{") {
		frame = append(wire.AppendString([]byte(`{"type":`), string(frame)), '}')
	}
	return wire.AppendForward(nil, &wire.Forward{
		Origin: "domain-01", From: from, To: to, Hops: 1, Graph: 1, SentAt: time.Unix(1_700_000_000, 0), Frame: frame,
	})
}

// neighbour is the other end of a road: what it has for this shard, by place.
type neighbour struct {
	name  string
	sent  []*parcel // in order of their places
	low   uint64    // as it says
	place uint64    // of the next
	told  uint64    // the highest low that it said
}

// parcel is one message of a neighbour's.
type parcel struct {
	place   uint64
	message Message
	sends   []*sending
	batch   uint64 // in which it stands that it was taken; 0: in none
}

// known says whether the neighbour heard that it is stored.
func (p *parcel) known() bool {
	return slices.ContainsFunc(p.sends, func(s *sending) bool { return s.done && !s.failed })
}

var roads = []string{"domain-05/log", "domain-06/log"}

func (w *world) neighbour(name string) *neighbour {
	for _, n := range w.neighbours {
		if n.name == name {
			return n
		}
	}
	n := &neighbour{name: name, place: 1}
	w.neighbours = append(w.neighbours, n)
	return n
}

// sendOver has a neighbour send its message number i, a new one if there are not as
// many.
func (w *world) sendOver(name string, i int, l letter) {
	w.write("w.sendOver(%q, %d, %#v)", name, i, l)
	n := w.neighbour(name)
	if i >= len(n.sent) {
		i = len(n.sent)
		m := w.message(l)
		m.ID, _ = wire.NewID(w.now, &w.random)
		if len(l.to) == 1 && isLink(l.to[0]) {
			m.Frame = wrapped(l.from, []wire.UserID{far}, m.Frame)
		}
		m.Expires, m.Via, m.Place = w.now.Add(50*time.Second), n.name, n.place
		if l.twin { // the part of the last one that goes on
			last := &n.sent[i-1].message
			m.ID, m.Place = last.ID, last.Place
		} else {
			n.place += 1 + uint64(i%3)
		}
		n.sent = append(n.sent, &parcel{place: m.Place, message: *m})
	}
	p := n.sent[i]
	m, s := p.message, &sending{}
	m.Low = max(n.low, 1)
	n.told = max(n.told, m.Low)
	p.sends = append(p.sends, s)
	w.sent[&m] = s
	w.do("send over a road", func(now time.Time) {
		w.model.expectOver(p, &m, s)
		w.core.accept(now, &m)
	})
}

// learn has a neighbour note which of its messages are stored here.
func (w *world) learn(name string) {
	w.write("w.learn(%q)", name)
	n := w.neighbour(name)
	n.low = n.place
	for _, p := range n.sent {
		if !p.known() {
			n.low = p.place
			break
		}
	}
}

// again returns those of a neighbour's messages that may come, by number.
func (n *neighbour) again() (list []int) {
	for i, p := range n.sent {
		if p.place >= n.low {
			list = append(list, i)
		}
	}
	return list
}

// expectOver expects a message that came over a road to be taken, once.
func (m *model) expectOver(p *parcel, in *Message, s *sending) {
	switch {
	case m.core.down:
	case p.batch != 0:
		s.seq = p.batch
	default:
		m.expect = append(m.expect,
			&expectation{kind: recRoad, sending: s, parcel: p},
			&expectation{kind: recMessage, sending: s, letter: in})
	}
}

// expectFull expects the sender of a message that came over a road to hear who has no
// room for it.
func (m *model) expectFull(in *Message, full []wire.UserID, x *expectation) {
	if in.Notice || len(full) == 0 {
		return
	}
	reason := fmt.Sprintf("the mailbox of %s is full", names(full))
	if isLink(full[0]) {
		full = []wire.UserID{far}
		reason = "as much waits on the way to " + string(far) + " as may"
	}
	e := &wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeMailboxFull, Reason: reason, To: full, Group: in.Group}
	m.expectNotice(in.From, full[0], in.ID.Derive("full "+string(full[0])), 0, wire.AppendFailure(nil, e, in.Reference))
	for _, to := range full {
		m.expectMessageEvents(eventExpired, &mail{user: to, record: messageRecord{id: in.ID, from: []byte(in.From), reference: in.Reference}})
	}
}

// forgetOver forgets what stands after the last batch.
func (m *model) forgetOver(last uint64) {
	for _, n := range m.neighbours {
		for _, p := range n.sent {
			if p.batch > last {
				p.batch = 0
			}
		}
	}
}

// overIn returns what remembers again what a batch says of roads.
func (m *model) overIn(seq uint64) (again []func()) {
	for _, n := range m.neighbours {
		for _, p := range n.sent {
			if p.batch == seq {
				again = append(again, func() { p.batch = seq })
			}
		}
	}
	return again
}

// checkRoads: a core remembers what it took and what may come again, and nothing
// else. upTo is the last batch that it knows.
func (w *world) checkRoads(c *core, upTo uint64) {
	for _, n := range w.neighbours {
		places := make(map[string]map[uint64]bool)
		for name, r := range c.roads {
			if name != n.name && !strings.HasPrefix(name, n.name+" ") {
				continue
			}
			places[name] = make(map[uint64]bool)
			for i, t := range r.taken {
				if places[name][t.place] = true; i > 0 && r.taken[i-1].place >= t.place || t.place < r.low {
					w.Fatalf("(s) the places of %s are out of order, or below %d: %+v", name, r.low, r.taken)
				}
			}
			if len(r.taken) == 0 {
				w.Fatalf("(s) road %s is remembered for nothing", name)
			}
		}
		for _, p := range n.sent {
			name := c.roadOf(&p.message)
			there := places[name][p.place]
			stands := p.batch != 0 && p.batch <= upTo
			if there && !stands || stands && !there && p.place >= n.told {
				w.Fatalf("%s: (s) place %d of %s is taken for known: %t; it stands in batch %d of %d", w.model.what, p.place, name, there, p.batch, upTo)
			}
			delete(places[name], p.place)
		}
		for name, rest := range places {
			if len(rest) > 0 {
				w.Fatalf("(s) of %s these places are remembered that nothing had: %v", name, rest)
			}
		}
	}
}

// checkLow: what a link's session was told never comes again is gone for good, and
// what it is told does not lag for ever.
func (m *model) checkLow(c *client, x *mail, d Delivery) {
	if !c.Link {
		if d.Log != "" || d.Low != 0 {
			m.Fatalf("%s: (t) %s is no link, but was told of the log", m.what, c)
		}
		return
	}
	if d.Log != testLog || d.Low > d.Ord || d.Low == 0 {
		m.Fatalf("%s: (t) %s gets message %d of log %q, with low %d", m.what, c, d.Ord, d.Log, d.Low)
	}
	if d.Ord < m.lowTold {
		m.Fatalf("%s: (t) %s gets message %d, after it was said that nothing comes before %d", m.what, c, d.Ord, m.lowTold)
	}
	m.lowTold = max(m.lowTold, d.Low)
}

// checkLowAtRest: once all is stored low is exact.
func (m *model) checkLowAtRest() {
	u := m.core.users[linkUser]
	if u == nil {
		return
	}
	want := m.core.journal.nextOrd
	if list := m.box(linkUser).waiting(); len(list) > 0 {
		want = list[0].ord
	}
	if got := m.core.low(u); got != want {
		m.Fatalf("(t) nothing before %d waits for the link, low is %d", want, got)
	}
}

// move sends a message another way, if that may be.
func (w *world) move(user wire.UserID, ord uint64, to ...wire.UserID) {
	w.write("w.move(%q, %d, %q...)", user, ord, to)
	x := w.model.box(user).at(ord)
	m := Moved{Carried: Carried{
		Ord: ord, ID: x.record.id, From: wire.UserID(x.record.from), Reference: x.record.reference,
		Expires: time.Unix(int64(x.record.expires), 0), Frame: x.record.frame,
		Group: x.record.flags&flagGroup != 0, Notice: x.record.flags&flagNotice != 0, Presence: x.record.flags&flagPresence != 0,
		Quiet: x.record.flags&flagQuiet != 0, Confirm: x.record.flags&flagConfirm != 0,
	}}
	part := Part{To: to, Group: m.Group, Confirm: m.Confirm, Frame: x.record.frame}
	if isLink(to[0]) {
		part.Frame = wrapped(m.From, []wire.UserID{far}, x.record.frame)
	}
	m.Parts = []Part{part}
	w.do("move", func(now time.Time) {
		want := w.model.expectMoved(x, &m)
		if got := w.core.move(now, user, &m); got != want {
			w.Fatalf("(u) message %d of %s goes another way: %t, should be %t", ord, user, got, want)
		}
		if u := w.core.users[user]; u != nil {
			w.core.release(u)
		}
	})
}

// movable says whether a message may go another way: it must not be on its way to a
// session, also to one of which this keeper does not know yet.
func (m *model) movable(x *mail) bool {
	return !m.core.held && !m.heldUp(x.user) && x.gone == 0 && m.isStored(x) && m.held(x) == nil && !m.expired(x)
}

// expectMoved expects a message to go, and what takes its place to be written, if
// there is room for it.
func (m *model) expectMoved(x *mail, moved *Moved) bool {
	if m.toMove = nil; !m.movable(x) {
		return false
	}
	in := &Message{
		ID: moved.ID, From: moved.From, To: moved.Parts[0].To, Expires: moved.Expires, Reference: moved.Reference, Frame: moved.Parts[0].Frame,
		Group: moved.Parts[0].Group, Notice: moved.Notice, Presence: moved.Presence, Quiet: moved.Quiet, Confirm: moved.Parts[0].Confirm,
	}
	for _, to := range in.To {
		box := to
		if shardOf(to) != 0 {
			box = Relay(1)
		}
		evict, ok := m.room(box, len(in.Frame)+movedSize, false)
		if !ok || len(evict) > 0 {
			return m.noMove(evict, ok)
		}
	}
	m.toMove = x
	r := m.recordOf(in)
	r.id = in.ID
	var here [][]byte
	for _, to := range in.To {
		box, wrapped := relayed(to, r)
		if box == to {
			here = append(here, []byte(to))
			continue
		}
		wrapped.flags &^= flagConfirm | flagReport | flagLate | flagPresence
		wrapped.to = [][]byte{[]byte(box)}
		m.expect = append(m.expect, &expectation{kind: recMessage, message: wrapped, checked: true})
	}
	if len(here) > 0 {
		r.to = here
		m.expect = append(m.expect, &expectation{kind: recMessage, message: r, checked: true})
	}
	return true
}

// noMove is for a mailbox that is full; where notices would make room the test does
// not go.
func (m *model) noMove(evict []uint64, ok bool) bool {
	if ok {
		m.Fatalf("the test moves a message where %d notices make room", len(evict))
	}
	return false
}

// roomWithout says whether a message may move without others having to make room.
func (m *model) roomWithout(x *mail, to wire.UserID) bool {
	if shardOf(to) != 0 {
		to = Relay(1)
	}
	for _, size := range []int{x.size(), len(wrapped(wire.UserID(x.record.from), []wire.UserID{far}, x.record.frame))} {
		if evict, _ := m.room(to, size+movedSize, false); len(evict) > 0 {
			return false
		}
	}
	return true
}

func (h *history) drawOver(t *rapid.T) {
	name := rapid.SampledFrom(roads).Draw(t, "road")
	n := h.neighbour(name)
	i := len(n.sent)
	if list := n.again(); len(list) > 0 && rapid.Bool().Draw(t, "again") {
		i = rapid.SampledFrom(list).Draw(t, "which")
	}
	l := letter{from: []wire.UserID{far, farther, elsewhere, "ANZ-2"}[rapid.IntRange(0, 3).Draw(t, "from")], to: []wire.UserID{h.drawUser(t, "to")}}
	switch rapid.IntRange(0, 7).Draw(t, "form") {
	case 0, 1:
		l.group, l.to = true, people[rapid.IntRange(0, 3).Draw(t, "first"):]
	case 2:
		l.notice = true
	case 3:
		l.to = []wire.UserID{linkUser}
	case 4, 5:
		l.confirm = true
	}
	l.size = rapid.SampledFrom([]int{0, 150}).Draw(t, "size")
	isNew := i == len(n.sent)
	h.sendOver(name, i, l)
	if isNew && l.group && rapid.Bool().Draw(t, "goes on") {
		h.sendOver(name, i+1, letter{from: l.from, to: []wire.UserID{linkUser}, group: true, twin: true})
	}
}

func (h *history) drawLearn(t *rapid.T) { h.learn(rapid.SampledFrom(roads).Draw(t, "road")) }

// drawSendFar sends a message for another domain.
func (h *history) drawSendFar(t *rapid.T) {
	h.send(letter{from: h.drawUser(t, "from"), to: []wire.UserID{linkUser}, confirm: rapid.Bool().Draw(t, "confirm"), far: true,
		ttl: time.Duration(rapid.IntRange(0, 1).Draw(t, "ttl")) * 10 * time.Second})
}

func (h *history) drawLink(t *rapid.T) {
	h.open(linkUser, options{push: true, ack: true, link: true, node: h.drawNode(t)})
}

// drawMove sends something another way that waits.
func (h *history) drawMove(t *rapid.T) {
	from := append(slices.Clone(people), linkUser, linkUser)[rapid.IntRange(0, 5).Draw(t, "mailbox")]
	to := linkUser
	if from == linkUser {
		to = append(slices.Clone(people), elsewhere, linkThere)[rapid.IntRange(0, 5).Draw(t, "to")]
	}
	list := h.model.box(from).waiting()
	list = slices.DeleteFunc(list, func(x *mail) bool {
		return h.model.box(to).byID(x.record.id) != nil || h.model.box(Relay(1)).byID(x.record.id) != nil || !h.model.roomWithout(x, to)
	})
	if len(list) > 0 {
		h.move(from, rapid.SampledFrom(list).Draw(t, "which").ord, to)
	}
}

// verifyRoad says whether it may be noted that a message came over a road.
func (m *model) verifyRoad(r *roadRecord) {
	for _, n := range m.neighbours {
		for _, p := range n.sent {
			if p.place == r.place && m.core.roadOf(&p.message) == r.name && p.batch != 0 {
				return // copied forward
			}
		}
	}
	x := m.next(recRoad)
	if x.parcel.place != r.place || m.core.roadOf(&x.parcel.message) != r.name {
		m.Fatalf("%s: (s) place %d of %s is noted, should be %d", m.what, r.place, r.name, x.parcel.place)
	}
	x.parcel.batch = uint64(len(m.batches))
	x.sending.seq = x.parcel.batch
}

// receiver returns who was to get a mail in the end.
func (m *model) receiver(x *mail) wire.UserID {
	user, frame := x.user, x.record.frame
	if isRelay(user) {
		f, err := ParseForwarded(Delivery{Frame: frame})
		if err != nil {
			m.Fatalf("what waits for another shard cannot be read: %v", err)
		}
		user, frame = f.To, f.Frame
	}
	if isLink(user) {
		f, err := wire.ParseForward(frame)
		if err != nil {
			m.Fatalf("what waits for a link cannot be read: %v", err)
		}
		user = f.To[0]
	}
	return user
}
