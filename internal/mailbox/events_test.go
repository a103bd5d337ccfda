package mailbox

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What can happen in a world. Tests call these, by hand or at random.

// letter is a message to send.
type letter struct {
	from    wire.UserID
	to      []wire.UserID
	size    int // of the frame, at least
	group   bool
	confirm bool
	notice  bool
	ttl     time.Duration
	seq     uint64 // of the sender's outbox; 0 for none
	far     bool   // it is a FORWARD
	twin    bool   // it came with the one before, over a road
}

// send hands a message to the core. Its frame begins with a serial number.
func (w *world) send(l letter) *Message {
	w.write("w.send(%#v)", l)
	m := w.message(l)
	w.sent[m] = &sending{}
	w.do("send", func(now time.Time) {
		w.model.expectAccept(m, w.sent[m])
		w.core.accept(now, m)
	})
	return m
}

func (w *world) message(l letter) *Message {
	w.serial++
	frame := fmt.Appendf(nil, "m%d from %s ", w.serial, l.from)
	for len(frame) < l.size {
		frame = append(frame, '.')
	}
	if l.far {
		frame = wrapped(l.from, []wire.UserID{far}, frame)
	}
	m := &Message{
		From: l.from, To: l.to, Group: l.group, Frame: frame,
		Confirm: l.confirm, Receipt: true, Notice: l.notice, TTL: l.ttl,
	}
	if l.seq > 0 {
		m.Producer, m.Seq = "phone", l.seq
	}
	if l.confirm {
		m.Reference = fmt.Appendf(nil, `"r%d"`, w.serial)
	}
	return m
}

// sendKeyed hands a request of messages to the core, under one of a few keys.
func (w *world) sendKeyed(name byte, print uint32, letters []letter) {
	w.write("w.sendKeyed(%d, %d, %#v)", name, print, letters)
	end := w.part()
	once := &Once{Key: [16]byte{name}, Print: print, Count: len(letters)}
	known := w.model.claims[once.Key]
	if known != nil && known.expired(w.now) {
		known = nil
	}
	list := make([]*Message, len(letters))
	for i, l := range letters {
		list[i] = w.message(l)
		list[i].Index = i
	}
	w.do("send keyed", func(now time.Time) {
		for _, m := range list {
			s := &sending{}
			w.sent[m] = s
			switch {
			case known != nil && !w.core.down && (known.print != print || known.count != len(letters)):
				s.mismatch = true
			case known != nil && !w.core.down && known.has(m.Index) && !w.core.down:
				s.seq = known.seq
				if missing := known.missing(m.Index); missing != nil {
					rest := *m
					rest.To = missing
					w.model.expectAccept(&rest, s)
				}
			default:
				w.model.expectAccept(m, s)
			}
		}
		w.core.acceptAll(now, list, once)
	})
	end()
}

// proveEach says that a consumer has proved one delivery.
func (w *world) proveEach(x *client, n uint64) {
	w.write("w.proveEach(%s, %d)", x.name, n)
	x.acts()
	x.each[x.got[n-1].id] = true
	if x.ledger.ProveEach(n); x.away {
		return
	}
	w.do("prove one of "+x.String(), func(now time.Time) { w.core.proveEach(now, x.ID, n) })
}

// subscribe has all events of the app reported.
func (w *world) subscribe() {
	w.write("w.subscribe()")
	w.subs = map[string][]Subscription{"ANZ": {{To: subscriber, Connected: true, Disconnected: true, Delivered: true, Undelivered: true, Expired: true}}}
	w.core.subscriptions = w.subs
}

var subscriber = Subscriber("ANZ", "x")

// options of a session.
type options struct {
	push, ack, master, each, link bool

	node string
}

const masterUser = wire.UserID("ANZ-1")

func (w *world) open(user wire.UserID, o options) *client {
	id, _ := wire.NewID(w.now, &w.random)
	x := &client{
		Session: Session{ID: id, User: user, Master: o.master, Ack: o.ack, Push: o.push, Each: o.each, Link: o.link, Node: o.node},
		name:    fmt.Sprintf("c%d", len(w.ever)+1), w: w, open: true, byID: make(map[wire.ID]int), each: make(map[wire.ID]bool), lost: make(map[wire.ID]bool),
	}
	w.write("%s := w.open(%q, %#v)", x.name, user, o)
	if user != masterUser && !isSubscriber(user) && !isLink(user) {
		x.TellMaster = masterUser
	}
	x.Outlet = x
	x.ledger = NewLedger(x.Session)
	others := w.of(user)
	w.clients = append(w.clients, x)
	w.ever = append(w.ever, x)
	w.do("open "+x.String(), func(now time.Time) {
		x.opened = w.step
		w.model.expectOpened(x)
		w.core.open(now, x.Session)
		x.mark = w.core.sessions[id].mark
		w.model.checkMark(x, others)
	})
	return x
}

func (w *world) close(x *client) {
	if !x.open {
		return
	}
	w.write("w.close(%s)", x.name)
	x.open = false
	w.clients = slices.DeleteFunc(w.clients, func(y *client) bool { return x == y })
	w.do("close "+x.String(), func(now time.Time) {
		if x.unseen {
			w.model.expectUnseen(x)
		} else {
			w.model.expectClosed(x)
		}
		w.core.close(now, x.ID)
	})
}

// prove says that the client has proved its deliveries up to n.
func (w *world) prove(x *client, n uint64) {
	w.write("w.prove(%s, %d)", x.name, n)
	x.acts()
	x.proved = max(x.proved, min(n, uint64(len(x.got))))
	x.passed = max(x.passed, x.proved)
	if x.ledger.Prove(n); x.away {
		return
	}
	w.do("prove "+x.String(), func(now time.Time) { w.core.proof(now, x.ID, n) })
}

func (w *world) proveAll(x *client) { w.prove(x, uint64(len(x.got))) }

func (w *world) pass(x *client, n uint64) {
	w.write("w.pass(%s, %d)", x.name, n)
	x.acts()
	x.passed = max(x.passed, min(n, uint64(len(x.got))))
	if x.ledger.Pass(n); x.away {
		return
	}
	w.do("pass "+x.String(), func(now time.Time) { w.core.pass(now, x.ID, n) })
}

func (w *world) fetch(x *client, count int) {
	w.write("w.fetch(%s, %d)", x.name, count)
	x.acts()
	x.wanted = append(x.wanted, count)
	if len(x.wanted) == 1 {
		x.fetchN, x.fetchTo = 0, 0
	}
	if x.ledger.Fetch(count); x.away {
		return
	}
	w.do("fetch "+x.String(), func(now time.Time) { w.core.fetch(now, x.ID, count) })
}

// begin starts to store the next batch, if there is one and none is in flight.
func (w *world) begin() {
	if w.inFlight != nil || w.core.down {
		return
	}
	w.write("w.begin()")
	last, batch := w.core.journal.next()
	if batch == nil {
		return
	}
	w.inFlight = batch
	if last != w.log.last() {
		w.Fatalf("batch is to follow %d, the log ends at %d", last, w.log.last())
	}
}

// stored ends it well.
func (w *world) stored() {
	if w.inFlight == nil {
		return
	}
	w.write("w.stored()")
	w.log.batches = append(w.log.batches, w.inFlight)
	w.inFlight, w.limbo = nil, nil
	seq := w.log.last()
	w.model.stored(seq)
	w.do(fmt.Sprintf("stored %d", seq), func(now time.Time) {
		w.model.beforeLetGo()
		w.core.stored(now, seq)
	})
	w.compareReplay()
}

// store stores everything that was collected.
func (w *world) store() {
	w.write("w.store()")
	defer w.part()()
	for range 1000 {
		w.begin()
		if w.inFlight == nil {
			return
		}
		w.stored()
	}
	w.Fatalf("the core never stops to write")
}

// outcome is how an append ended that was not answered well.
type outcome uint8

const (
	notStored outcome = iota
	storedUnsaid
	arrivesLate // when it is tried again, if ever
)

// lose has the batch in flight fail: the core gives up its memory.
func (w *world) lose(how outcome) {
	if w.inFlight == nil {
		return
	}
	w.write("w.lose(%d)", how)
	if late := w.limbo; late != nil {
		// What was given up before came first: this one is refused.
		w.log.batches = append(w.log.batches, late)
		w.limbo, w.inFlight = nil, nil
		w.model.arrived(w.log.last())
		w.model.lostAt = w.step + 1
		w.do("lose, fenced", func(time.Time) { w.core.lose(ErrFenced, false) })
		return
	}
	switch how {
	case storedUnsaid:
		w.log.batches = append(w.log.batches, w.inFlight)
	case arrivesLate:
		w.limbo = w.inFlight
		w.model.keep(w.log.last() + 1)
	}
	w.inFlight = nil
	w.model.surviving(w.log.last())
	w.model.lostAt = w.step + 1
	w.do("lose", func(time.Time) { w.core.lose(ErrUnknown, false) })
}

// recover builds a new core, which adopts the sessions.
func (w *world) recover() {
	if !w.core.down {
		return
	}
	w.write("w.recover()")
	next, old := w.replayed(), w.core
	w.consumed = make(map[uint64]int)
	w.core = next
	w.do("recover", func(now time.Time) {
		w.model.waitsAgain(old)
		w.model.expectTakeover()
		list := w.seen()
		slices.SortStableFunc(list, func(a, b *client) int { return old.placeOf(a) - old.placeOf(b) })
		w.model.expectStale(list)
		next.adopt(now, old)
	})
	for _, x := range w.seen() {
		x.mark = next.sessions[x.ID].mark
	}
}

// crash kills the process: the batch in flight may have been stored, purges
// may be undone, clients are gone.
func (w *world) crash(stored bool, undone uint64) {
	w.write("w.crash(%t, %d)", stored, undone)
	if w.limbo != nil && stored {
		w.log.batches = append(w.log.batches, w.limbo)
		w.model.arrived(w.log.last())
	} else if w.inFlight != nil && stored {
		w.log.batches = append(w.log.batches, w.inFlight)
	}
	w.model.surviving(w.log.last())
	w.inFlight, w.limbo, w.reads, w.purges = nil, nil, nil, nil
	w.log.first = max(w.log.durable, min(undone, w.log.first))
	w.log.durable = w.log.first
	for _, x := range w.clients {
		x.open = false
	}
	w.clients = nil
	clear(w.gather)
	w.model.allGone()
	w.start()
}

// answer brings the i-th read that was asked for.
func (w *world) answer(i int) {
	w.write("w.answer(%d)", i)
	seq := w.reads[i]
	w.reads = slices.Delete(w.reads, i, i+1)
	if _, asked := w.core.cache.waiting[seq]; !asked || w.core.down {
		return // asked for by a core that is gone
	}
	batch := w.log.read(seq)
	w.do(fmt.Sprintf("read %d", seq), func(now time.Time) { w.core.loaded(now, seq, batch) })
}

// fail has the i-th read that was asked for fail.
func (w *world) fail(i int) {
	w.write("w.fail(%d)", i)
	seq := w.reads[i]
	w.reads = slices.Delete(w.reads, i, i+1)
	if _, asked := w.core.cache.waiting[seq]; !asked || w.core.down {
		return
	}
	w.model.noteUnread(seq)
	w.do(fmt.Sprintf("cannot read %d", seq), func(now time.Time) { w.core.unreadable(now, seq) })
}

// purge lets the oldest purge that was asked for happen.
func (w *world) purge() {
	if len(w.purges) > 0 {
		w.write("w.purge()")
		w.log.first = max(w.log.first, w.purges[0])
		w.purges = w.purges[1:]
	}
}

func (w *world) tick(after time.Duration) {
	w.write("w.tick(%d)", after)
	w.now = w.now.Add(after)
	w.do("tick", func(now time.Time) { w.core.tick(now) })
}

// forget empties the core's cache, so that bodies have to be read.
func (w *world) forget() {
	w.write("w.forget()")
	h := &w.core.cache
	clear(h.batches)
	h.order, h.bytes = nil, 0
}

// settle lets the world come to rest: everything is stored, read and proved.
func (w *world) settle() {
	w.write("w.settle()")
	defer w.part()()
	stores := 0
	for range 400 {
		busy := false
		if w.core.down {
			w.recover()
		}
		w.comeBack()
		for len(w.reads) > 0 {
			busy = true
			w.answer(0)
		}
		for w.inFlight != nil || !w.core.journal.idle() {
			busy = true
			w.begin()
			w.stored()
			for len(w.reads) > 0 {
				w.answer(0)
			}
			if stores++; stores > 3000 {
				w.Fatalf("the core never stops to write")
			}
		}
		for _, x := range slices.Clone(w.clients) {
			if !x.Each && x.proved < uint64(len(x.got)) {
				busy = true
				w.proveAll(x)
			}
			for n := len(x.got); x.Each && n > 0; n-- { // in any order
				if !x.each[x.got[n-1].id] {
					busy = true
					w.proveEach(x, uint64(n))
				}
			}
		}
		if !busy {
			w.model.checkRest()
			return
		}
	}
	w.Fatalf("the world does not come to rest")
}
