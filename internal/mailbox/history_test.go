package mailbox

import (
	"flag"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// TestHistories lets random things happen to a core and compares it with the
// model after each of them. The letters in failure messages name what is
// promised:
//
//	(a) nothing is delivered or told «stored» before its batch is synced
//	(b) no session gets one message twice
//	(c) order, marks, what was given back, sharing out
//	(d) nothing that is stored is lost
//	(e) what is proved, and its proof stored, never comes again
//	(f) one confirmation for each proved message that wanted it, in one batch with the proof
//	(g) one connected and one disconnected notice for each session, always under the same ID
//	(h) the window
//	(i) fetches
//	(j) limits of mailboxes
//	(k) a replay gives the same state
//	(l) counts agree with what they count
//	(n) expiry, and what is late
//	(p) nothing is delivered to a user of whom a session is to be registered anew
//	(q) a message of an outbox is accepted once
//	(r) what another shard forwards is taken once, and told once it is stored
//	(s) what comes over a road is taken once, whatever comes again, and nothing else is passed over
//	(t) what a link was told never comes again does not
//	(u) what goes another way is gone where it was, and waits where it is to go
//	(o) what is accepted of a keyed request is remembered, and not accepted again
//
// Links break, so that what was sent last is lost; nodes die; another keeper takes
// the log over while this one lives, and nodes come back to it or do not.
//
// Every history ends with all sessions dead, a crash, and one session per user
// that empties its mailbox.
//
// All of it happens in one goroutine, where the race detector has nothing to find
// and takes most of the time: with it there are few histories, and make test also
// runs all of them without.
func TestHistories(t *testing.T) {
	checks, steps := "3000", "60"
	if testing.Short() || raceEnabled {
		checks = "300"
	}
	setFlag(t, "rapid.checks", checks, "100")
	setFlag(t, "rapid.steps", steps, "30")
	seen := make(tally)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawTuning(t), drawLimits(t))
		h := &history{
			world: w,
			mixed: rapid.IntRange(0, 9).Draw(t, "mixed") == 0,
			calm:  rapid.IntRange(0, 2).Draw(t, "calm") > 0,
			thin:  rapid.IntRange(0, 2).Draw(t, "thin") == 0,

			linked: rapid.IntRange(0, 2).Draw(t, "linked") == 0,
			crowd:  rapid.SampledFrom([][]int{{0, 1, 0, 1, 0, 1, 2, 3}, {0, 0, 0, 0, 0, 1}, {1, 1, 1, 1, 1, 0, 2}}).Draw(t, "crowd"),
		}
		h.nodes = rapid.IntRange(0, 2).Draw(t, "nodes")
		if rapid.Bool().Draw(t, "subscribed") {
			w.subscribe()
		}
		t.Repeat(map[string]func(*rapid.T){"": func(*rapid.T) {}, "step": h.step})
		seen.add(w)
		w.end(rapid.Bool().Draw(t, "stored"))
	})
	t.Log(seen)
}

// tally counts in how many histories something happened, so that one can see
// what the histories reach.
type tally map[string]int

func (y tally) add(w *world) {
	c := &w.core.counts
	happened := map[string]bool{
		"dropped for laggards": c.droppedLag > 0, "evicted": c.evicted > 0, "expired": c.expired > 0,
		"notice found no room": c.droppedFull > 0, "copied forward": c.copied > 0, "log lost": w.model.lostAt > 0,
		"cleared": c.cleared > 0, "late": c.undelivered > 0, "repeated": c.repeated > 0, "event found no room": c.droppedEvent > 0,
		"came over a road again": c.returned > 0, "had no room for a road's": c.turnedAway > 0, "went another way": c.moved > 0,
		"registered anew": w.moved["reopen"] > 0, "something lost on the way": w.moved["lost"] > 0, "taken over": w.moved["takeover"] > 0, "node died": w.moved["die"] > 0,
		"trimmed": w.core.journal.first > 2, "purged": w.log.first > 1, "lost": c.lost > 0,
	}
	for _, x := range w.ever {
		kind := " to one of all"
		if x.Master {
			kind = " to a master"
		}
		for i, r := range x.got {
			happened[r.how.String()+kind] = true
			if i > 0 && r.ord < x.got[i-1].ord {
				happened["out of order"+kind] = true
			}
		}
		happened["proof settled"] = happened["proof settled"] || x.done > 0
	}
	for what, yes := range happened {
		if yes {
			y[what]++
		}
	}
	y["histories"]++
	y["events"] += w.step
}

// setFlag sets a flag of rapid's for one test, unless the command line did.
func setFlag(t *testing.T, name, value, standard string) {
	f := flag.Lookup(name)
	if f.Value.String() != standard {
		return
	}
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, standard) })
}

func drawTuning(t *rapid.T) tuning {
	pick := func(label string, values ...int) int { return rapid.SampledFrom(values).Draw(t, label) }
	return tuning{
		window:   pick("window", 600, 100, 300, 3000),
		lag:      pick("lag", 1000, 1000, 2, 0),
		batch:    pick("batch", 4000, 300, 1000),
		slack:    int64(pick("slack", 1<<20, 0, 0, 1000)),
		overhead: 40,
		trimStep: int64(pick("trimStep", 1, 1000)),
		cache:    pick("cache", 1<<20, 1, 1500),
		expire:   pick("expire", 1000, 2),
	}
}

func drawLimits(t *rapid.T) Limits {
	return Limits{
		Age:      time.Duration(rapid.SampledFrom([]int{1000, 100}).Draw(t, "age")) * time.Second,
		Messages: rapid.SampledFrom([]int{50, 50, 20, 5}).Draw(t, "messages"),
		Bytes:    rapid.SampledFrom([]int64{1 << 20, 1 << 20, 2000, 500}).Draw(t, "bytes"),

		Events:     rapid.SampledFrom([]int{1000, 1000, 10}).Draw(t, "events"),
		EventBytes: 1 << 20,
		LinkBytes:  rapid.SampledFrom([]int64{1 << 20, 1 << 20, 3000}).Draw(t, "linkBytes"), LinkAge: 150 * time.Second,
		Undelivered: 30 * time.Second, Keyed: 90 * time.Second, KeyedRequests: 1000,
	}
}

// history draws what happens.
type history struct {
	*world
	mixed  bool // the master user also has sessions that are not a master's
	calm   bool // the log and the process never fail
	thin   bool // few messages, many sessions
	linked bool // much crosses links
	crowd  []int
	nodes  int // how many there are; 0: nobody tells
}

var people = []wire.UserID{masterUser, "ANZ-2", "ANZ-3", "ANZ-4"}

// deed is one thing that may happen now, with its weight.
type deed struct {
	weight int
	able   bool
	do     func(*rapid.T)
}

// step draws one event.
func (h *history) step(t *rapid.T) {
	plain := func(f func()) func(*rapid.T) { return func(*rapid.T) { f() } }
	someone, trouble := len(h.clients) > 0, !h.calm
	writing := !h.core.down && (h.inFlight != nil || !h.core.journal.idle())
	sends, opens := 24, 6
	if h.thin {
		sends, opens = 8, 10
	}
	links := 1
	if h.linked {
		links = 5
	}
	deeds := []deed{
		{sends, true, h.drawSend},
		{sends / 4, true, h.drawKeyed},
		{opens, len(h.clients) < 8, h.drawOpen},
		{opens / 2, h.subs != nil && len(h.of(subscriber)) == 0, h.drawConsumer},
		{12, h.uneach() != nil, h.drawProveEach},
		{opens / 2, len(h.of(Relay(1))) == 0, h.drawRelay},
		{sends / 8, true, h.drawForward},
		{sends / 6, true, h.drawOutbox},
		{sends / 8 * links, true, h.drawOver},
		{links, true, h.drawLearn},
		{sends / 8 * links, true, h.drawSendFar},
		{opens / 2 * links, len(h.of(linkUser)) == 0, h.drawLink},
		{links, !h.core.down, h.drawMove},
		{3, h.nodes > 0 && someone, h.drawDetach},
		{24, len(h.absent()) > 0, h.drawReopen},
		{10, h.registrable() != nil, h.drawRegistered},
		{1, h.nodes > 0 && someone, h.drawDie},
		{2, h.nodes > 0 && trouble, h.drawTakeover},
		{12, !someone, h.drawOpen},
		{opens * 2 / 3, someone, h.drawClose},
		{16, h.unproved() != nil, h.drawProve},
		{6, h.unpassed() != nil, h.drawPass},
		{8, someone, h.drawFetch},
		{4, writing && h.inFlight == nil, plain(h.begin)},
		{6, h.inFlight != nil, plain(h.stored)},
		{16, writing, plain(h.store)},
		{8, len(h.reads) > 0, h.drawRead},
		{8, len(h.reads) > 0, h.drawReads},
		{1, trouble && len(h.reads) > 0, h.drawFail},
		{3, len(h.core.cache.batches) > 0, plain(h.forget)},
		{4, true, h.drawTick},
		{2, trouble && writing, h.drawLose},
		{16, h.core.down, plain(h.recover)},
		{1, trouble, h.drawCrash},
		{4, len(h.purges) > 0, plain(h.purge)},
		{1, true, h.drawClear},
		{4, !h.core.down, h.drawPeek},
		{1, true, plain(h.settle)},
	}
	sum := 0
	for _, d := range deeds {
		if d.able {
			sum += d.weight
		}
	}
	n := rapid.IntRange(0, sum-1).Draw(t, "deed")
	for _, d := range deeds {
		if !d.able {
			continue
		}
		if n -= d.weight; n < 0 {
			d.do(t)
			return
		}
	}
}

// drawUser prefers one or two of them, so that more happens to these.
func (h *history) drawUser(t *rapid.T, label string) wire.UserID {
	return people[rapid.SampledFrom(h.crowd).Draw(t, label)]
}

func (h *history) drawSend(t *rapid.T) {
	l := letter{from: append(people, elsewhere, far, farther)[rapid.IntRange(0, 6).Draw(t, "from")], size: rapid.SampledFrom([]int{0, 0, 150, 700}).Draw(t, "size")}
	l.to = []wire.UserID{h.drawUser(t, "to")}
	switch rapid.IntRange(0, 9).Draw(t, "form") {
	case 0, 1:
		l.group = true
		l.to = people[rapid.IntRange(0, 3).Draw(t, "first"):]
	case 2:
		l.ttl = 10 * time.Second
	case 3:
		l.notice = true
	case 4, 5, 6:
		l.confirm = true
	}
	h.send(l)
}

// drawKeyed draws a request that is likely to come again.
func (h *history) drawKeyed(t *rapid.T) {
	name := rapid.ByteRange(1, 3).Draw(t, "key")
	print := uint32(rapid.SampledFrom([]int{1, 1, 1, 1, 2}).Draw(t, "print"))
	letters := make([]letter, 1+int(name))
	for i := range letters {
		letters[i] = letter{from: people[i], to: people[i : i+1], size: 100 * int(name), group: i == 2}
		if i == 2 {
			letters[i].to = people
		}
	}
	h.sendKeyed(name, print, letters)
}

// drawConsumer opens a session of the subscriber's.
func (h *history) drawConsumer(t *rapid.T) {
	h.open(subscriber, options{push: true, each: rapid.IntRange(0, 3).Draw(t, "each") > 0, node: h.drawNode(t)})
}

// drawNode draws who holds a session.
func (h *history) drawNode(t *rapid.T) string {
	if h.nodes == 0 {
		return ""
	}
	return nodes[rapid.IntRange(0, h.nodes-1).Draw(t, "node")]
}

func (h *history) drawRelay(t *rapid.T) {
	h.open(Relay(1), options{push: true, node: h.drawNode(t)})
}

// drawForward goes on behind what was taken, or comes again.
func (h *history) drawForward(t *rapid.T) {
	source := rapid.IntRange(0, 1).Draw(t, "source")
	name := sources[source]
	next := h.lastTaken(name, 1<<62) + 1
	first := next - uint64(rapid.IntRange(0, int(min(next-1, 2))).Draw(t, "again"))
	h.forward(name, source == 1, first, rapid.Uint64Range(1, 3).Draw(t, "count"), h.drawUser(t, "to"))
}

// drawOutbox sends a message of an outbox: the next, or an earlier one again.
func (h *history) drawOutbox(t *rapid.T) {
	from := people[rapid.IntRange(0, 1).Draw(t, "from")]
	seq := rapid.Uint64Range(1, 20).Draw(t, "seq")
	h.send(letter{from: from, to: []wire.UserID{h.drawUser(t, "to")}, seq: seq, size: rapid.SampledFrom([]int{0, 150}).Draw(t, "size")})
}

func (h *history) drawDetach(t *rapid.T) { h.detach(h.drawNode(t)) }
func (h *history) drawDie(t *rapid.T)    { h.die(h.drawNode(t)) }

func (h *history) drawReopen(t *rapid.T) {
	x := some(t, h.absent())
	h.reopen(x, len(x.way)-min(len(x.way), rapid.SampledFrom([]int{0, 0, 1, 2, 5, 100}).Draw(t, "lost")))
}

// registrable returns the nodes that may say that they have registered all.
func (h *history) registrable() (list []string) {
	for _, node := range nodes {
		if h.gather[node] || slices.ContainsFunc(h.absent(), func(x *client) bool { return x.Node == node }) {
			list = append(list, node)
		}
	}
	return list
}

// drawRegistered mostly waits until all have come.
func (h *history) drawRegistered(t *rapid.T) {
	node := rapid.SampledFrom(h.registrable()).Draw(t, "node")
	if rapid.IntRange(0, 3).Draw(t, "all") > 0 {
		for _, x := range h.absent() {
			if x.Node == node {
				h.reopen(x, len(x.way))
			}
		}
	}
	h.registered(node)
}

func (h *history) drawTakeover(t *rapid.T) {
	come := nodes[:h.nodes]
	if rapid.IntRange(0, 2).Draw(t, "dead") == 0 {
		come = come[:h.nodes-1]
	}
	h.takeover(rapid.Bool().Draw(t, "stored"), come...)
}

// uneach returns the consumers that have something to prove by itself.
func (h *history) uneach() (list []*client) {
	for _, x := range h.clients {
		if x.Each && len(x.each) < len(x.got) {
			list = append(list, x)
		}
	}
	return list
}

func (h *history) drawProveEach(t *rapid.T) {
	x := some(t, h.uneach())
	var open []uint64
	for _, r := range x.got {
		if !x.each[r.id] {
			open = append(open, r.n)
		}
	}
	h.proveEach(x, rapid.SampledFrom(open).Draw(t, "which"))
}

func (h *history) drawOpen(t *rapid.T) {
	user := h.drawUser(t, "user")
	if len(h.of(user)) == 4 {
		return
	}
	o := options{
		push:   rapid.IntRange(0, 2).Draw(t, "push") == 0,
		ack:    rapid.IntRange(0, 2).Draw(t, "ack") == 0,
		master: user == masterUser,
		node:   h.drawNode(t),
	}
	if o.master && h.mixed {
		o.master = rapid.Bool().Draw(t, "master")
	}
	h.open(user, o)
}

// some draws one of a list of clients.
func some(t *rapid.T, list []*client) *client {
	return list[rapid.IntRange(0, len(list)-1).Draw(t, "client")]
}

// unproved returns the clients that have something to prove, nil when none has.
func (h *history) unproved() (list []*client) {
	for _, x := range h.clients {
		if !x.Each && x.proved < uint64(len(x.got)) {
			list = append(list, x)
		}
	}
	return list
}

func (h *history) unpassed() (list []*client) {
	for _, x := range h.clients {
		if x.Ack && x.passed < uint64(len(x.got)) {
			list = append(list, x)
		}
	}
	return list
}

// drawClose prefers sessions that have something to give back.
func (h *history) drawClose(t *rapid.T) {
	list := h.clients
	if u := h.unproved(); u != nil && rapid.IntRange(0, 3).Draw(t, "with mail") > 0 {
		list = u
	}
	h.close(some(t, list))
}

func (h *history) drawProve(t *rapid.T) {
	x := some(t, h.unproved())
	h.prove(x, uint64(len(x.got)-rapid.IntRange(0, len(x.got)-int(x.proved)-1).Draw(t, "behind")))
}

func (h *history) drawPass(t *rapid.T) {
	x := some(t, h.unpassed())
	h.pass(x, uint64(len(x.got)-rapid.IntRange(0, len(x.got)-int(x.passed)-1).Draw(t, "behind")))
}

// drawFetch prefers sessions that missed something.
func (h *history) drawFetch(t *rapid.T) {
	var missing []*client
	for _, x := range h.clients {
		if slices.ContainsFunc(h.model.box(x.User).mails, func(m *mail) bool { return h.model.canFetch(x, m) }) {
			missing = append(missing, x)
		}
	}
	list := h.clients
	if missing != nil && rapid.IntRange(0, 3).Draw(t, "missed") > 0 {
		list = missing
	}
	if x := some(t, list); len(x.wanted) < 4 {
		h.fetch(x, rapid.SampledFrom([]int{100, 1, 2, 5}).Draw(t, "count"))
	}
}

func (h *history) drawRead(t *rapid.T) {
	h.answer(rapid.IntRange(0, len(h.reads)-1).Draw(t, "read"))
}

func (h *history) drawFail(t *rapid.T) {
	h.fail(rapid.IntRange(0, len(h.reads)-1).Draw(t, "read"))
}

func (h *history) drawReads(*rapid.T) {
	for len(h.reads) > 0 {
		h.answer(0)
	}
}

func (h *history) drawTick(t *rapid.T) {
	h.tick(time.Duration(rapid.SampledFrom([]int{1000, 400, 12_000, 61_000}).Draw(t, "ms")) * time.Millisecond)
}

func (h *history) drawLose(t *rapid.T) {
	h.begin()
	h.lose(outcome(rapid.IntRange(0, 2).Draw(t, "outcome")))
}

func (h *history) drawCrash(t *rapid.T) {
	h.crash(rapid.Bool().Draw(t, "stored"), rapid.Uint64Range(0, h.log.first).Draw(t, "undone"))
}

// end kills everybody and the process, then empties all mailboxes: what was
// stored and neither proved nor expired nor evicted must come, in order.
func (w *world) end(stored bool) {
	w.write("w.end(%t)", stored)
	defer w.part()()
	if w.core.down {
		w.recover()
	}
	w.limits.Messages, w.limits.Bytes = 1<<20, 1<<40 // nobody makes room any more
	w.limits.Events, w.limits.EventBytes = 1<<20, 1<<40
	w.crash(stored, 0)
	w.settle()
	want := make(map[wire.UserID][]wire.ID)
	for user, b := range w.model.boxes {
		for _, x := range b.waiting() {
			if !w.model.expired(x) {
				want[user] = append(want[user], x.record.id)
			}
		}
	}
	for _, user := range append(slices.Clone(people), linkUser, subscriber, Relay(1)) {
		if isSubscriber(user) {
			for _, x := range w.model.box(user).waiting() { // since then there are more
				if !slices.Contains(want[user], x.record.id) && !w.model.expired(x) {
					want[user] = append(want[user], x.record.id)
				}
			}
		}
		x := w.open(user, options{push: true, master: user == masterUser, link: user == linkUser})
		w.settle()
		if len(x.got) < len(want[user]) {
			w.Fatalf("(d) %s got %d messages of %d that waited", x, len(x.got), len(want[user]))
		}
		for i, id := range want[user] {
			if x.got[i].id != id {
				w.Fatalf("(d) %s got %s as message %d, %s waited there", x, x.got[i].id, i, id)
			}
		}
		w.close(x)
	}
	w.settle()
	w.model.checkNotices()
}

// checkNotices: every session that is in the log was opened and closed once.
func (m *model) checkNotices() {
	opened, closed := make(map[wire.ID]int), make(map[wire.ID]int)
	var sessions []wire.ID
	for _, batch := range m.batches {
		for _, r := range batch {
			switch r.kind {
			case recOpened:
				if opened[r.session.id]++; opened[r.session.id] == 1 {
					sessions = append(sessions, r.session.id)
				}
			case recClosed:
				closed[r.session.id]++
			}
		}
	}
	for _, id := range sessions {
		if closed[id] != 1 {
			m.Fatalf("(g) session %s was closed %d times", id, closed[id])
		}
	}
	if !slices.IsSorted([]int{0, len(m.running)}) || len(m.running) > 0 {
		m.Fatalf("(g) %d sessions are open for ever", len(m.running))
	}
}
