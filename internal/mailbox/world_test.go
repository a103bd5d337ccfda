package mailbox

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// failer is what a world needs of a test: *testing.T or *rapid.T.
type failer interface {
	Fatalf(format string, args ...any)
}

// world is everything around a core: its log, its clients, its clock, all under
// the test's hand. After every event it compares what the core decided and did
// with a slow and obvious model.
type world struct {
	failer
	tune   tuning
	limits Limits
	born   Limits // limits at first
	now    time.Time
	random counting

	subs map[string][]Subscription // by app

	core     *core
	log      simLog
	inFlight []byte // the batch that is being stored
	limbo    []byte // a batch whose append went unanswered and that may yet arrive
	reads    []uint64
	purges   []uint64
	consumed map[uint64]int // how far the model has read each batch of the journal

	step    int
	clients []*client // open ones, in the order in which they were opened
	ever    []*client // the closed ones too
	model   *model
	sent    map[*Message]*sending
	serial  int
	script  []string // what happened, as a test would write it
	quiet   bool     // what happens is part of what was written

	moved    map[string]int                     // how often something of that happened
	gather   map[string]bool                    // nodes that may still come with sessions
	produced map[producerName]map[uint64]uint64 // what was accepted of outboxes, and in which batch
	taken    map[string]map[uint64]uint64       // what was forwarded of sources

	neighbours []*neighbour // which have something for this shard
	lowTold    uint64       // the highest place below which a link was told that nothing comes again
}

// counting is a source of IDs that never repeats.
type counting struct{ n uint64 }

func (r *counting) Read(p []byte) (int, error) {
	clear(p)
	r.n++
	binary.BigEndian.PutUint64(p[len(p)-8:], r.n)
	return len(p), nil
}

// simLog keeps all that was ever stored: a purge may not survive a crash.
type simLog struct {
	batches [][]byte // from sequence 1 on
	first   uint64   // what is before is purged
	durable uint64   // what is before is purged for ever
}

func (l *simLog) last() uint64 { return uint64(len(l.batches)) }

func (l *simLog) read(seq uint64) []byte {
	if seq < l.first || seq > l.last() {
		return nil
	}
	return l.batches[seq-1]
}

// sending follows one message that was handed to accept.
type sending struct {
	full   []wire.UserID // who had no room
	taken  []wire.UserID
	seq    uint64 // the batch that holds it
	failed bool
	done   bool

	mismatch bool // its request has another's key
}

func newWorld(f failer, tune tuning, limits Limits) *world {
	w := &world{
		failer: f, tune: tune, limits: limits, born: limits,
		now: time.Unix(1_700_000_000, 0), consumed: make(map[uint64]int),
		log: simLog{first: 1, durable: 1}, sent: make(map[*Message]*sending), gather: make(map[string]bool), moved: make(map[string]int),
		produced: make(map[producerName]map[uint64]uint64), taken: make(map[string]map[uint64]uint64),
	}
	w.model = newModel(w)
	w.start()
	return w
}

// Fatalf ends the test with all that happened, in a form that can be made a test
// of its own.
func (w *world) Fatalf(format string, args ...any) {
	w.failer.Fatalf("%s\n\tw := newWorld(t, %#v, %#v)\n%s", fmt.Sprintf(format, args...), w.tune, w.born, strings.Join(w.script, ""))
}

// write notes an event, unless it is part of another.
func (w *world) write(format string, args ...any) {
	if !w.quiet {
		w.script = append(w.script, "\t"+fmt.Sprintf(format, args...)+"\n")
	}
}

// part makes what happens until the call of the result a part of one event.
func (w *world) part() (end func()) {
	was := w.quiet
	w.quiet = true
	return func() { w.quiet = was }
}

// start makes a core of what the log holds, as Open does.
func (w *world) start() {
	next := w.replayed()
	w.core = next
	w.model.dropped, w.model.droppedEvents = 0, 0
	next.subscriptions = w.subs
	w.consumed = make(map[uint64]int)
	w.do("start", func(now time.Time) {
		w.model.expectTakeover()
		w.model.expectStale(nil)
		w.core.closeStale(now)
	})
}

// replayed returns a core that has read the log to its end.
func (w *world) replayed() *core {
	id, _ := wire.NewID(w.now, &w.random)
	c := newCore(id, w.limits, &w.random, w.tune)
	c.gather, c.shardOf = make(map[string]bool), shardOf
	c.logName, c.isLink, c.abroad = testLog, isLink, abroad
	last := w.log.last()
	ord := uint64(1)
	if w.log.first <= last {
		trim, next, err := openBatch(w.log.read(last))
		if err != nil {
			w.Fatalf("the last batch, %d: %v", last, err)
		}
		if w.log.first > trim {
			w.Fatalf("(d) the log begins at %d, but its last batch needs it from %d on", w.log.first, trim)
		}
		ord = next
		for seq := trim; seq <= last; seq++ {
			if err := c.replay(seq, w.log.read(seq)); err != nil {
				w.Fatalf("replay: %v", err)
			}
		}
	}
	c.takeOver(last, ord)
	return c
}

// do lets one event happen, and checks everything about it.
func (w *world) do(what string, event func(now time.Time)) {
	w.step++
	w.model.what = what
	before, dropped := w.model.fetchable(), w.core.counts.droppedLag
	event(w.now)
	if w.core.counts.droppedLag > dropped && w.tune.lag == 1000 && !strings.Contains(what, "read") && what != "recover" {
		w.Fatalf("%s: (c) a proved message was dropped that another session was still to get", what)
	}
	w.model.noteHanded(w.core.effects)
	w.takeRecords()
	w.model.endRecords()
	w.takeEffects(before)
	w.takeWishes()
	for _, x := range w.clients {
		if s := w.core.sessions[x.ID]; s == nil || s.fresh {
			x.freshTo = w.step
		}
	}
	w.check()
}

// takeRecords gives the model the records that the core wrote, in order.
func (w *world) takeRecords() {
	for _, p := range w.core.journal.queue {
		w.model.reach(p.seq)
		off := max(w.consumed[p.seq], batchHeader)
		for off < len(p.buf) {
			kind := recordKind(p.buf[off])
			n, used := binary.Uvarint(p.buf[off+1:])
			start := off + 1 + used
			off = start + int(n)
			w.model.take(p.seq, parsed(w, w.step, kind, p.buf[start:off]))
		}
		w.consumed[p.seq] = off
	}
}

func (w *world) takeWishes() {
	w.reads = append(w.reads, w.core.reads...)
	w.core.reads = nil
	if below := w.core.purge; below > 0 {
		if below > w.log.last() {
			w.Fatalf("(d) a purge before %d would empty a log that ends at %d", below, w.log.last())
		}
		w.purges = append(w.purges, below)
		w.core.purge = 0
	}
}

func (w *world) takeEffects(before map[*client]int) {
	for i := range w.core.effects {
		e := &w.core.effects[i]
		switch e.kind {
		case effDeliver:
			x := e.outlet.(*client)
			x.sent(e)
			w.model.delivered(x, e.delivery)
		case effFetchDone:
			x := e.outlet.(*client)
			x.sent(e)
			w.model.fetched(x, e.left, before)
		case effSettled:
			x := e.outlet.(*client)
			x.sent(e)
			w.model.settled(x, e.n)
		case effOpened:
			x := e.outlet.(*client)
			x.sent(e)
			x.mark = e.n
		case effForwarded:
			e.forwarded.done(e.forwarded.upTo, e.forwarded.err)
		case effStored, effDone:
			w.finished(e)
		case effFailed:
			w.refused(e)
		}
	}
	clear(w.core.effects)
	w.core.effects = w.core.effects[:0]
}

// finished checks the last that a sender hears.
func (w *world) finished(e *effect) {
	s := w.sent[e.message]
	if s == nil || s.done {
		w.Fatalf("a message was reported twice, or never sent")
	}
	s.done = true
	if e.kind == effStored && (s.seq == 0 || s.seq > w.log.last()) {
		w.Fatalf("(a) told «stored» about batch %d, the log ends at %d", s.seq, w.log.last())
	}
	if e.kind == effDone && !s.failed {
		w.Fatalf("a message ended without a receipt or an error")
	}
}

// refused checks an error that a sender hears.
func (w *world) refused(e *effect) {
	s := w.sent[e.message]
	if s == nil || s.done {
		w.Fatalf("an error for a message that was reported before, or never sent: %v", e.failure)
	}
	switch e.failure.Code {
	case wire.CodeMailboxFull:
		if !slices.Equal(e.failure.To, s.full) {
			w.Fatalf("(j) MAILBOX_FULL names %v, the model refuses %v", e.failure.To, s.full)
		}
		s.failed = len(s.taken) == 0
	case wire.CodeStoreDown, wire.CodeTimeout, wire.CodeStoreFull:
		want := s.taken
		if want == nil || e.message.Via != "" {
			want = e.message.To
		}
		if !slices.Equal(e.failure.To, want) {
			w.Fatalf("%s names %v, it concerns %v", e.failure.Code, e.failure.To, want)
		}
		s.failed = true
	case CodeKeyReused:
		if !s.mismatch {
			w.Fatalf("(o) %v, but the request is the same", e.failure)
		}
		s.failed = true
	default:
		w.Fatalf("refused with %v", e.failure)
	}
	if e.failure.Group != e.message.Group {
		w.Fatalf("Group is %t in the error, %t in the message", e.failure.Group, e.message.Group)
	}
}

// client is one connected session, and what it has seen. It is also the outlet
// of its session; in these tests effects are not performed but compared.
type client struct {
	Session
	w      *world
	name   string
	open   bool
	opened int    // step
	mark   uint64 // the core's
	got    []receipt
	byID   map[wire.ID]int  // index in got
	each   map[wire.ID]bool // proved by themselves
	passed uint64
	proved uint64 // by the client
	done   uint64 // settled

	ledger  *Ledger
	way     []onWay          // what the keeper sent and may not have arrived
	away    bool             // to be registered anew
	unseen  bool             // the keeper does not know it yet
	lost    map[wire.ID]bool // what was lost on the way
	freshTo int              // the last step at which its mark was not settled

	liveTo  uint64 // the highest place that came by itself
	wanted  []int  // fetches under way
	fetchN  int    // deliveries of the first of them
	fetchTo uint64 // the last place that it brought
}

// receipt is one delivery that a client got.
type receipt struct {
	n, ord uint64
	id     wire.ID
	mail   *mail
	size   int
	step   int
	how    manner
}

// onWay is one thing that the keeper sent to a client, and how that stood before
// it.
type onWay struct {
	effect  effect
	liveTo  uint64
	mark    uint64
	wanted  []int
	fetchN  int
	fetchTo uint64
	got     int
}

func (x *client) sent(e *effect) {
	x.way = append(x.way, onWay{*e, x.liveTo, x.mark, slices.Clone(x.wanted), x.fetchN, x.fetchTo, len(x.got)})
}

// arrive has the first n things that are on the way arrive.
func (x *client) arrive(n int) {
	for _, o := range x.way[:n] {
		switch e := &o.effect; e.kind {
		case effDeliver:
			if !x.ledger.Deliver(e.delivery) {
				x.w.Fatalf("%s got delivery %d a second time", x, e.delivery.N)
			}
		case effFetchDone:
			x.ledger.FetchDone()
		case effSettled:
			x.ledger.Settled(e.n)
		case effOpened:
			x.ledger.Opened(e.n)
		}
	}
	x.way = x.way[n:]
}

// acts has all arrive: what the client does comes after it.
func (x *client) acts() { x.arrive(len(x.way)) }

// lose forgets what is on the way: it never arrives.
func (x *client) lose() {
	if len(x.way) == 0 {
		return
	}
	o := x.way[0]
	for _, r := range x.got[o.got:] {
		delete(x.byID, r.id)
		x.lost[r.id] = r.how != live
		others := r.how == fetchedMail && slices.ContainsFunc(x.w.of(x.User), func(y *client) bool { return y.due(r.mail) })
		if b := x.w.model.box(x.User); (r.how == returnedMail || others) && !x.unseen {
			b.owed[r.id], b.again[r.id] = x.w.step, true
		}
	}
	x.got, x.liveTo, x.mark = x.got[:o.got], o.liveTo, o.mark
	x.wanted, x.fetchN, x.fetchTo = o.wanted, o.fetchN, o.fetchTo
	x.way = nil
}

type manner uint8

const (
	live manner = iota
	fetchedMail
	returnedMail
)

func (how manner) String() string {
	return [...]string{"by itself", "fetched", "given back"}[how]
}

func (*client) Deliver(Delivery)           {}
func (*client) FetchDone(int)              {}
func (*client) Settled(uint64)             {}
func (*client) Opened(uint64)              {}
func (x *client) record() sessionRecord    { return sessionRecord{x.ID, x.User, x.TellMaster, x.Node} }
func (x *client) String() string           { return string(x.User) + "/" + x.name }
func (x *client) has(m *mail) bool         { _, ok := x.byID[m.record.id]; return ok }
func (x *client) receipt(m *mail) *receipt { return &x.got[x.byID[m.record.id]] }
func (x *client) provedByClient(m *mail) bool {
	return x.has(m) && (x.receipt(m).n <= x.proved || x.each[m.record.id])
}

// onTheWay returns the bytes that were handed over and have not arrived.
func (x *client) onTheWay() int {
	sum := 0
	for i := len(x.got) - 1; i >= 0 && x.got[i].n > x.passed; i-- {
		if !x.each[x.got[i].id] {
			sum += x.got[i].size
		}
	}
	return sum
}

// of returns a user's open clients.
func (w *world) of(user wire.UserID) []*client {
	var list []*client
	for _, x := range w.clients {
		if x.User == user {
			list = append(list, x)
		}
	}
	return list
}
