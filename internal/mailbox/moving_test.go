package mailbox

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What happens to a keeper among several nodes: links break, nodes die, another
// keeper takes the log over, other shards forward what they have to tell, and
// senders send again what they have in their outbox.

// elsewhere is a user of another shard.
const elsewhere = wire.UserID("ANZ-9")

func shardOf(user wire.UserID) int {
	if user == elsewhere || user == linkThere {
		return 1
	}
	return 0
}

var (
	nodes   = []string{"n1", "n2"}
	sources = []string{"shard 1", "archive"}
)

// seen returns the open clients that the keeper knows.
func (w *world) seen() []*client {
	return slices.DeleteFunc(slices.Clone(w.clients), func(x *client) bool { return x.unseen })
}

// placeOf returns the place of a client among its user's sessions.
func (c *core) placeOf(x *client) int {
	return slices.Index(c.users[x.User].sessions, c.sessions[x.ID])
}

// absent returns the clients that are to be registered anew.
func (w *world) absent() []*client {
	return slices.DeleteFunc(slices.Clone(w.clients), func(x *client) bool { return !x.away })
}

// heldUp says whether nothing may be delivered to a user now.
func (m *model) heldUp(user wire.UserID) bool {
	return len(m.gather) > 0 || slices.ContainsFunc(m.of(user), func(x *client) bool { return x.away })
}

// wasMoved says whether sessions were registered anew, or ended with their node.
func (w *world) wasMoved() bool { return len(w.moved) > 0 }

// beforeLetGo notes what will be given to somebody when it is known that nobody
// has it.
func (m *model) beforeLetGo() {
	if m.core.held {
		m.waitsAgain(m.core)
	}
}

// detach breaks the link to a node.
func (w *world) detach(node string) {
	w.write("w.detach(%q)", node)
	for _, x := range w.clients {
		x.away = x.away || x.Node == node
	}
	w.do("detach "+node, func(time.Time) { w.core.detach(node) })
}

// reopen registers a client anew, to which the first things of what was on the
// way have come, and the rest not.
func (w *world) reopen(x *client, arrived int) {
	w.write("w.reopen(%s, %d)", x.name, arrived)
	w.moved["reopen"]++
	if x.arrive(min(arrived, len(x.way))); len(x.way) > 0 {
		w.moved["lost"]++
	}
	x.lose()
	x.away, x.unseen = false, false
	x.fetchTo = 0 // a fetch looks from the beginning again: something may wait again
	w.do("reopen "+x.String(), func(now time.Time) {
		w.model.beforeLetGo()
		if _, running := w.model.running[x.ID]; !running {
			w.model.expectOpened(x)
		}
		w.core.reopen(now, x.ledger.Held())
	})
	if got := w.core.sessions[x.ID].mark; got != x.mark {
		w.Fatalf("the mark of %s is %d, it was told %d", x, got, x.mark)
	}
}

// registered says that a node has registered what it has: what did not come is
// closed.
func (w *world) registered(node string) {
	w.write("w.registered(%q)", node)
	w.nodeEnds("registered "+node, node, func(x *client) bool { return x.away }, func(now time.Time) { w.core.registered(now, node) })
}

// die kills a node.
func (w *world) die(node string) {
	w.write("w.die(%q)", node)
	w.moved["die"]++
	w.nodeEnds("the end of "+node, node, func(*client) bool { return true }, func(now time.Time) { w.core.closeNode(now, node) })
}

func (w *world) nodeEnds(what, node string, which func(*client) bool, event func(now time.Time)) {
	var gone []*client
	for _, x := range w.clients {
		if x.Node == node && which(x) {
			gone = append(gone, x)
		}
	}
	slices.SortFunc(gone, func(a, b *client) int { return compareIDs(a.ID, b.ID) })
	w.do(what, func(now time.Time) {
		for _, x := range gone {
			x.open = false
			w.clients = slices.DeleteFunc(w.clients, func(y *client) bool { return x == y })
			if !x.unseen {
				w.model.expectClosed(x)
			}
		}
		for _, x := range gone {
			if x.unseen {
				w.model.backToMissed(x.User)
			}
		}
		delete(w.gather, node)
		if !w.core.down {
			w.model.expectUnclaimed(gone)
		}
		w.model.beforeLetGo()
		event(now)
	})
}

// expectUnseen expects a session to end that was not registered anew.
func (m *model) expectUnseen(x *client) {
	m.backToMissed(x.User)
	if r, running := m.running[x.ID]; running && !m.core.down {
		m.expectEnd(r)
	}
}

// expectUnclaimed expects the end of what is open in the log and cannot be
// registered anew, besides those whose end is expected already.
func (m *model) expectUnclaimed(but []*client) {
	there := make(map[wire.ID]bool)
	for _, x := range append(m.seen(), but...) {
		there[x.ID] = !x.unseen
	}
	var stale []sessionRecord
	for id, r := range m.running {
		if !there[id] && !m.gather[r.node] {
			stale = append(stale, r)
		}
	}
	slices.SortFunc(stale, func(a, b sessionRecord) int { return compareIDs(a.id, b.id) })
	for _, r := range stale {
		m.expectEnd(r)
	}
}

// takeover has another keeper take the log over while this one lives: that is
// fenced when it writes next, and what it still sends reaches nobody. The nodes
// named come back with their sessions, or die later; all others are dead.
func (w *world) takeover(stored bool, nodes ...string) {
	w.write("w.takeover(%t, %#v...)", stored, nodes)
	defer w.part()()
	w.moved["takeover"]++
	old := w.core
	if late := w.limbo; late != nil && stored {
		w.log.batches = append(w.log.batches, late)
		w.model.arrived(w.log.last())
	} else {
		if w.inFlight != nil && stored {
			w.log.batches = append(w.log.batches, w.inFlight)
		}
		w.model.surviving(w.log.last())
	}
	w.inFlight, w.limbo, w.reads, w.purges = nil, nil, nil, nil
	w.model.lostAt = w.step + 1
	if !old.down {
		w.do("fenced", func(time.Time) { old.lose(ErrFenced, false) })
	}
	clear(w.gather)
	for _, node := range nodes {
		w.gather[node] = true
	}
	for user, u := range old.users {
		if u.lanes != nil { // what was shared out need not go to everybody if nobody is a master's any more
			for _, x := range w.model.box(user).waiting() {
				w.model.wasShared[x.key()] = true
			}
		}
	}
	next := w.replayed()
	next.subscriptions = w.subs
	for node := range w.gather {
		next.gather[node] = true
	}
	w.core, w.consumed = next, make(map[uint64]int)
	w.model.dropped, w.model.droppedEvents = 0, 0
	for _, x := range slices.Clone(w.clients) {
		if x.away, x.unseen = true, true; !w.gather[x.Node] {
			x.open = false
			w.clients = slices.DeleteFunc(w.clients, func(y *client) bool { return x == y })
		}
	}
	w.model.allGone() // nobody knows any more what was to be given back; see beforeLetGo
	w.do("takeover", func(now time.Time) {
		w.model.expectTakeover()
		w.model.expectUnclaimed(nil)
		next.closeStale(now)
	})
}

// backToMissed forgets what was given back to a user's session that the new keeper
// never knew, and is before the marks of all others: it is what was missed again.
func (m *model) backToMissed(user wire.UserID) {
	b := m.box(user)
	for id := range b.owed {
		x := b.byID(id)
		if x == nil || !slices.ContainsFunc(m.of(user), func(c *client) bool { return c.due(x) }) {
			delete(b.owed, id)
		}
	}
}

// comeBack has all come back that can.
func (w *world) comeBack() {
	for _, x := range w.absent() {
		w.reopen(x, len(x.way))
	}
	for _, node := range nodes {
		if w.gather[node] {
			w.registered(node)
		}
	}
}

// relayed wraps what is for a user of another shard.
func relayed(to wire.UserID, r messageRecord) (wire.UserID, messageRecord) {
	if shardOf(to) == 0 {
		return to, r
	}
	r.frame = appendForwarded(nil, &r, to)
	return Relay(1), r
}

// forward takes notices of another shard, or an import, of a source.
func (w *world) forward(source string, imported bool, first, count uint64, to wire.UserID) {
	w.write("w.forward(%q, %t, %d, %d, %q)", source, imported, first, count, to)
	var list []Forwarded
	for seq := first; seq < first+count; seq++ {
		f := Forwarded{Seq: seq, To: to, From: elsewhere, Expires: w.now.Add(time.Hour), Frame: fmt.Appendf(nil, "f%d of %s", seq, source)}
		f.ID, _ = wire.NewID(w.now, &w.random)
		if !imported {
			f.Flags = uint8(flagNotice)
		}
		list = append(list, f)
	}
	w.do("forward", func(now time.Time) {
		down := w.core.down
		if !down {
			w.model.expectForwarded(source, list)
		}
		w.core.forward(now, &forwarding{source, list, func(upTo uint64, err error) {
			if down != (err != nil) && down {
				w.Fatalf("(r) %s hears that it is stored up to %d by a keeper that is down", source, upTo)
			}
			if err == nil && upTo < first+count-1 {
				w.Fatalf("(r) %s hears that it is stored up to %d, of %d", source, upTo, first+count-1)
			}
			for seq, batch := range w.taken[source] {
				if err == nil && seq <= upTo && batch > w.log.last() {
					w.Fatalf("(r) %s hears that it is stored up to %d, number %d is not", source, upTo, seq)
				}
			}
		}})
	})
}

// lastTaken is the highest number of a source that stands in a batch up to seq.
func (w *world) lastTaken(source string, seq uint64) (last uint64) {
	for n, batch := range w.taken[source] {
		if batch <= seq {
			last = max(last, n)
		}
	}
	return last
}

// expectForwarded expects of what is forwarded what was not taken before. What is
// dropped counts as taken, in the batch of what follows it.
func (m *model) expectForwarded(source string, list []Forwarded) {
	if m.taken[source] == nil {
		m.taken[source] = make(map[uint64]uint64)
	}
	last := m.lastTaken(source, 1<<62)
	for _, f := range list {
		if f.Seq <= last {
			continue
		}
		r := messageRecord{id: f.ID, expires: uint32(f.Expires.Unix()), flags: messageFlags(f.Flags), from: []byte(f.From), to: [][]byte{[]byte(f.To)}, frame: f.Frame}
		m.expect = append(m.expect, &expectation{kind: recMessage, message: r, source: source, place: f.Seq, checked: r.flags&flagNotice == 0})
	}
}

// repeats says whether a message of an outbox was accepted before.
func (m *model) repeats(in *Message, s *sending) bool {
	if in.Producer == "" || m.core.down {
		return false
	}
	batch, there := m.produced[producerName{in.From, in.Producer}][in.Seq]
	s.seq = batch
	return there
}

// noteProduced notes that a message of an outbox was accepted.
func (m *model) noteProduced(x *expectation, seq uint64) {
	if x.producer.Producer == "" {
		return
	}
	name := producerName{x.producer.From, x.producer.Producer}
	if m.produced[name] == nil {
		m.produced[name] = make(map[uint64]uint64)
	}
	m.produced[name][x.producer.Seq] = seq
}

// forgetMarks forgets what stands after the last batch.
func (m *model) forgetMarks(last uint64) {
	m.forgetOver(last)
	for _, seqs := range m.produced {
		for n, batch := range seqs {
			if batch > last {
				delete(seqs, n)
			}
		}
	}
	for _, seqs := range m.taken {
		for n, batch := range seqs {
			if batch > last {
				delete(seqs, n)
			}
		}
	}
}

// marksOf returns what remembers again what a batch says.
func (m *model) marksOf(seq uint64) func() {
	again := m.overIn(seq)
	for _, seqs := range m.produced {
		for n, batch := range seqs {
			if batch == seq {
				again = append(again, func() { seqs[n] = batch })
			}
		}
	}
	for _, seqs := range m.taken {
		for n, batch := range seqs {
			if batch == seq {
				again = append(again, func() { seqs[n] = batch })
			}
		}
	}
	return func() {
		for _, f := range again {
			f()
		}
	}
}

// compareMarks compares what a new core remembers of outboxes and sources with
// what is stored.
func (w *world) compareMarks(c *core) {
	last := w.log.last()
	w.checkRoads(c, last)
	for name, seqs := range w.produced {
		for n := uint64(1); n < 40; n++ {
			batch, there := seqs[n]
			p := c.producers.byName[name]
			if has := p != nil && p.has(n); has != (there && batch <= last) {
				w.Fatalf("(q) number %d of the outbox of %s is taken for accepted: %t, it stands in batch %d of %d", n, name.from, has, batch, last)
			}
		}
	}
	for source := range w.taken {
		var got uint64
		if s := c.sources[source]; s != nil {
			got = s.last
		}
		// What was dropped is noted in the last batch of its call, which may be later
		// than its own.
		if want := w.lastTaken(source, last); got < want || got > w.lastTaken(source, 1<<62) {
			w.Fatalf("(r) %s is taken up to %d, it should be %d", source, got, want)
		}
	}
}
