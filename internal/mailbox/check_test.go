package mailbox

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// check recomputes from scratch what the core keeps count of, and compares the
// core's mailboxes with the model's.
func (w *world) check() {
	c := w.core
	var total counts
	live := make(map[uint64]int32)
	for id, u := range c.users {
		if u.id != id {
			w.Fatalf("(l) user %s is filed under %s", u.id, id)
		}
		w.checkUser(u)
		w.checkEntries(u, live, &total)
		w.checkLanes(u)
	}
	if total.waiting != c.counts.waiting || total.waitingBytes != c.counts.waitingBytes {
		w.Fatalf("(l) %d messages, %d bytes wait; counted are %d, %d", total.waiting, total.waitingBytes, c.counts.waiting, c.counts.waitingBytes)
	}
	for id, s := range c.sessions {
		if s.ID != id || c.users[s.User] != s.user || !slices.Contains(s.user.sessions, s) {
			w.Fatalf("(l) session %s is filed wrongly", id)
		}
		live[s.seq]++
		w.checkSession(s)
	}
	for _, old := range c.stale {
		live[old.seq]++
	}
	for _, cl := range c.claims.byKey {
		live[cl.seq]++
	}
	for _, s := range c.sources {
		live[s.seq]++
	}
	for _, p := range c.producers.byName {
		live[p.seq]++
	}
	for _, r := range c.roads {
		for _, t := range r.taken {
			live[t.seq]++
		}
	}
	w.checkDue()
	if c.down {
		return
	}
	w.checkJournal(live)
	for seq := range c.cache.waiting {
		if !slices.Contains(w.reads, seq) {
			w.Fatalf("(l) somebody waits for batch %d, but nobody reads it", seq)
		}
	}
	w.compareMail(c, &w.model.state)
	w.compareSessions()
	if got := c.counts.droppedFull; got != w.model.dropped {
		w.Fatalf("(j) %d notices found a full mailbox, the model says %d", got, w.model.dropped)
	}
	if got := c.counts.droppedEvent; got != w.model.droppedEvents {
		w.Fatalf("(j) %d events found a full mailbox, the model says %d", got, w.model.droppedEvents)
	}
	w.compareClaims(c, &w.model.state)
	w.checkRoads(c, 1<<62)
}

func (w *world) checkUser(u *user) {
	if len(u.entries.list) == u.entries.dead && len(u.sessions) == 0 {
		w.Fatalf("(l) nothing is left of user %s, but it is kept", u.id)
	}
	waiting, size, notices, settled, dead := 0, int64(0), 0, 0, 0
	for i := range u.entries.list {
		e := &u.entries.list[i]
		if i > 0 && u.entries.list[i-1].ord >= e.ord {
			w.Fatalf("(l) the mailbox of %s is out of order", u.id)
		}
		switch {
		case e.dead():
			dead++
		case e.settled():
			settled++
		default:
			waiting++
			size += int64(e.size)
			if e.flags&flagPresence != 0 {
				notices++
			}
			if at := u.expiry.at; e.expires != 0 && (at == 0 || at > e.expires && int64(at) > w.now.Unix()+1) {
				w.Fatalf("(l) message %d of %s expires at %d, the user's next at %d", e.ord, u.id, e.expires, at)
			}
			if e.flags&flagLate != 0 && u.late.at == 0 {
				w.Fatalf("(n) nobody will look whether message %d of %s is late", e.ord, u.id)
			}
		}
	}
	got := []any{u.waiting, u.bytes, u.presence, u.settled, u.entries.dead}
	want := []any{waiting, size, notices, settled, dead}
	if !slices.Equal(got, want) {
		w.Fatalf("(l) waiting, bytes, presence, settled, dead of %s are %v, counted %v", u.id, got, want)
	}
	if settled > w.tune.lag {
		w.Fatalf("(l) %d proved messages of %s are kept, at most %d should be", settled, u.id, w.tune.lag)
	}
}

// checkEntries compares each entry's holders with the sessions' flights, and
// adds up what matters in each batch.
func (w *world) checkEntries(u *user, live map[uint64]int32, total *counts) {
	holders := make(map[uint64]int)
	for _, s := range u.sessions {
		for _, f := range s.flight[s.proved:] {
			if !f.done {
				holders[f.ord]++
			}
		}
	}
	for i := range u.entries.list {
		e := &u.entries.list[i]
		if e.dead() {
			continue
		}
		if int(e.holders) != holders[e.ord] {
			w.Fatalf("(l) message %d of %s has %d holders, counted %d", e.ord, u.id, e.holders, holders[e.ord])
		}
		if e.claimed() && e.waits() && e.holders != 1 {
			w.Fatalf("(l) message %d of %s is claimed by %d sessions", e.ord, u.id, e.holders)
		}
		if e.settled() {
			needed := func(s *session) bool { return s.awaits(e.ord) || w.core.mayLose(s, e.ord) }
			if !slices.ContainsFunc(u.sessions, needed) {
				w.Fatalf("(l) message %d of %s is proved and kept for nobody", e.ord, u.id)
			}
			continue
		}
		live[e.seq]++
		total.waiting++
		total.waitingBytes += int64(e.size)
	}
}

func (w *world) checkLanes(u *user) {
	if u.lanes == nil {
		return
	}
	busy, alien := make(map[int16]int), make(map[int16]int)
	for _, s := range u.sessions {
		for _, f := range s.flight {
			switch {
			case f.lane < 0:
			case u.lanes.lane[f.lane].owner == s:
				busy[f.lane]++
			default:
				alien[f.lane]++
			}
		}
	}
	for i := range u.lanes.lane {
		l := &u.lanes.lane[i]
		if l.busy != busy[int16(i)] || l.alien != alien[int16(i)] || !slices.Contains(u.sessions, l.owner) || l.next != nil && !slices.Contains(u.sessions, l.next) {
			w.Fatalf("(l) lane %d of %s is wrong: busy %d, counted %d", i, u.id, l.busy, busy[int16(i)])
		}
		if best := preferred(u.sessions, uint8(i)); l.owner != best && l.next != best {
			w.Fatalf("(l) lane %d of %s is to go to another session", i, u.id)
		}
	}
}

func (w *world) checkSession(s *session) {
	open := 0
	for _, f := range s.flight[s.passed:] {
		if !f.done {
			open += int(f.size)
		}
	}
	if open != s.open || s.passed < s.proved {
		w.Fatalf("(l) session %s has %d bytes on the way, counted %d; proved %d, passed %d", s.ID, s.open, open, s.proved, s.passed)
	}
	if !slices.IsSorted(s.returned) {
		w.Fatalf("(l) what was given back to %s is out of order: %v", s.ID, s.returned)
	}
}

func (w *world) checkDue() {
	for i, d := range w.core.due {
		if d.place != i || w.core.users[d.user.id] != d.user || d.at == 0 || i > 0 && w.core.due[(i-1)/2].at > d.at {
			w.Fatalf("(l) the due heap is wrong at %d, user %s", i, d.user.id)
		}
	}
	for _, u := range w.core.users {
		for _, d := range []*due{&u.expiry, &u.late} {
			if d.user != u || (d.at != 0) != (d.place >= 0) {
				w.Fatalf("(l) something of user %s is due at %d and stands at %d in the due heap", u.id, d.at, d.place)
			}
		}
	}
}

func (w *world) checkJournal(live map[uint64]int32) {
	j := &w.core.journal
	for _, p := range j.queue {
		for _, seq := range p.retired {
			live[seq]++
		}
	}
	var size int64
	for i, seg := range j.segs {
		seq := j.first + uint64(i)
		if seg.live != live[seq] {
			w.Fatalf("(l) batch %d has %d live records, counted %d", seq, seg.live, live[seq])
		}
		delete(live, seq)
		size += int64(seg.bytes)
	}
	delete(live, 0)
	if len(live) > 0 {
		w.Fatalf("(l) live records in batches outside of the log: %v", live)
	}
	if size != j.bytes {
		w.Fatalf("(l) the log has %d bytes, counted %d", j.bytes, size)
	}
	if want := j.last + uint64(len(j.queue)) + 1 - j.first; uint64(len(j.segs)) != want {
		w.Fatalf("(l) %d segments, should be %d", len(j.segs), want)
	}
	cached := 0
	for _, b := range w.core.cache.batches {
		cached += len(b)
	}
	if cached != w.core.cache.bytes {
		w.Fatalf("(l) the cache has %d bytes, counted %d", w.core.cache.bytes, cached)
	}
}

// compareMail compares a core's waiting messages with the model's.
func (w *world) compareMail(c *core, want *state) {
	for id := range c.users {
		want.box(id)
	}
	for id, b := range want.boxes {
		var list []entry
		if u := c.users[id]; u != nil {
			list = u.entries.list
		}
		i := 0
		for _, x := range b.mails {
			if x.gone != 0 {
				continue
			}
			for i < len(list) && !list[i].waits() {
				i++
			}
			if i == len(list) || list[i].ord != x.ord || int(list[i].size) != x.size() || list[i].expires != x.record.expires || list[i].flags != x.record.flags {
				w.Fatalf("%s: (d) message %d of %s does not wait, or not as it should; there are %+v", w.model.what, x.ord, id, list)
			}
			i++
		}
		for ; i < len(list); i++ {
			if list[i].waits() {
				w.Fatalf("%s: (d) message %d of %s waits, but is gone", w.model.what, list[i].ord, id)
			}
		}
	}
}

// compareClaims compares what a core remembers of keyed requests with the
// model's, as far as their time is not over.
func (w *world) compareClaims(c *core, want *state) {
	for k, x := range want.claims {
		if x.expired(w.now) {
			continue
		}
		cl := c.claims.byKey[k]
		if cl == nil || cl.base != x.base || cl.print != x.print || cl.count != x.count || cl.expires != x.expires || !slices.Equal(cl.accepted, x.accepted) || fmt.Sprint(cl.full) != fmt.Sprint(x.full) {
			w.Fatalf("%s: (o) of request %v is remembered %+v, should be %+v", w.model.what, k, cl, x)
		}
	}
}

func (w *world) compareSessions() {
	want := make(map[wire.ID]bool)
	for _, x := range w.seen() {
		want[x.ID] = true
	}
	got := make(map[wire.ID]bool)
	for id := range w.core.sessions {
		got[id] = true
	}
	if !maps.Equal(got, want) {
		w.Fatalf("(l) %d sessions are open, should be %d", len(got), len(want))
	}
}

// compareReplay kills the core in mind: what a new one reads from the log is
// what the model says is stored.
func (w *world) compareReplay() {
	next := w.replayed()
	stored := &w.model.durable
	w.compareMail(next, stored)
	w.compareClaims(next, stored)
	w.compareMarks(next)
	for user, u := range next.users {
		for i := range u.entries.list {
			e := &u.entries.list[i]
			m, err := messageAt(w.log.read(e.seq), e.off)
			if x := stored.box(user).at(e.ord); err != nil || m.id != x.record.id || !bytes.Equal(m.frame, x.record.frame) {
				w.Fatalf("(k) after a replay message %d of %s is %v, %q in batch %d", e.ord, user, err, m.frame, e.seq)
			}
		}
	}
	open := make(map[wire.ID]sessionRecord)
	for id, s := range next.stale {
		open[id] = s.sessionRecord
	}
	if !maps.Equal(open, stored.running) {
		w.Fatalf("(k) after a replay these sessions are open: %v, should be %v", open, stored.running)
	}
	if next.journal.nextOrd != stored.nextOrd {
		w.Fatalf("(k) after a replay message %d is next, should be %d", next.journal.nextOrd, stored.nextOrd)
	}
}

// checkRest checks what must have happened once nothing is on its way.
func (m *model) checkRest() {
	for _, user := range slices.Sorted(maps.Keys(m.boxes)) {
		b, list := m.boxes[user], m.of(user)
		for _, x := range b.mails {
			m.checkArrived(list, x)
		}
		for _, x := range b.waiting() {
			if m.wasMoved() && !slices.ContainsFunc(list, func(c *client) bool { return c.due(x) }) {
				continue // who was to be given it may have lost that; it is what was missed, and can be fetched
			}
			if _, owed := b.owed[x.record.id]; owed && len(list) > 0 && !m.expired(x) && !m.unreadNow(x) && !m.behindUnread(x) {
				m.Fatalf("(c) message %d of %s was given back and went to nobody", x.ord, user)
			}
		}
	}
	for _, c := range m.clients {
		if len(c.wanted) > 0 {
			m.Fatalf("(i) %s waits for ever for a fetch of %d", c, c.wanted[0])
		}
		if c.done < uint64(len(c.got)) && !c.Each && len(m.core.cache.unread) == 0 {
			m.Fatalf("%s has %d proofs settled of %d", c, c.done, len(c.got))
		}
	}
	m.checkLowAtRest()
	j := &m.core.journal
	c := &m.core.counts
	if len(m.core.cache.unread) > 0 {
		return
	}
	if most := 2*m.core.needed() + m.tune.slack + int64(m.tune.batch); j.bytes > most+int64(j.target) {
		m.Fatalf("the log has %d bytes for %d messages of %d bytes", j.bytes, c.waiting, c.waitingBytes)
	}
}

// checkArrived checks that those who are to get a message have got it.
func (m *model) checkArrived(list []*client, x *mail) {
	if !m.isStored(x) || m.expired(x) || m.unreadNow(x) || m.behindUnread(x) {
		return
	}
	if len(m.core.cache.unread) > 0 && m.held(x) != nil {
		return // its proof waits for an earlier one, whose message cannot be read
	}
	for _, c := range list {
		if !c.due(x) {
			continue
		}
		if x.gone == 0 {
			m.Fatalf("(c) message %d of %s waits, but %s should have got it; mark %d", x.ord, x.user, c, c.mark)
		}
		if !m.shared(x.user) && !m.excused(c, x) {
			m.Fatalf("(c) %s never got message %d; mark %d", c, x.ord, c.mark)
		}
	}
}
