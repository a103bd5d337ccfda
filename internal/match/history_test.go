package match

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
	"pgregory.net/rapid"
)

// history drives a core and the model through the same events.
type history struct {
	t      *rapid.T
	core   *core
	model  *model
	base   time.Time
	now    time.Duration
	log    []stored // what is in it, the oldest first
	ever   []byte   // all that ever was
	shadow *core    // knows all that ever was
	sent   []byte   // on its way to the log
	seq    uint64
	term   uint64
	views  map[string]*view
	random *rand.ChaCha8
	ids    int
	limits Limits
	began  map[wire.ID]time.Duration // sessions, by their tickets
}

// smallTuning has trees divide, and the log be trimmed, as soon as they can.
var smallTuning = tuning{leaf: 2, batch: 300, slack: 0, trimStep: 200}

type stored struct {
	seq uint64
	buf []byte
}

// view is what a node knows of its sessions, as it was told.
type view struct {
	epoch   uint64
	tickets map[wire.ID]*seen
}

type seen struct {
	entry
	since   time.Duration
	began   time.Duration // the session
	seq     int
	match   wire.ID // zero: it waits
	members map[wire.ID]bool
}

func newHistory(t *rapid.T) *history {
	h := &history{
		t: t, base: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), term: 1,
		views: make(map[string]*view), began: make(map[wire.ID]time.Duration), random: rand.NewChaCha8([32]byte{}),
		limits: Limits{Tickets: 1000, Matches: 1000, Timeout: time.Minute, Patience: time.Second, GestureWindow: 2 * time.Second},
	}
	for _, n := range []string{"n1", "n2", "n3"} {
		h.views[n] = &view{tickets: make(map[wire.ID]*seen)}
	}
	h.model = &model{limits: h.limits, telling: make(map[string]bool)}
	h.shadow = h.empty()
	h.takeOver()
	return h
}

func (h *history) nodes() []string { return []string{"n1", "n2", "n3"} }

func (h *history) time() time.Time { return h.base.Add(h.now) }

func (h *history) empty() *core { return newCore(0, h.term, h.limits, h.random, h.time(), smallTuning) }

// keep has the log take a batch.
func (h *history) keep(buf []byte) {
	h.seq += 3
	h.log, h.ever = append(h.log, stored{h.seq, bytes.Clone(buf)}), append(h.ever, buf...)
	if err := h.shadow.replay(h.seq, buf); err != nil {
		h.t.Fatalf("replay %d: %v", h.seq, err)
	}
}

// lives returns the live matches of a core, with their members.
func lives(c *core) (all []string) {
	for id, m := range c.matches {
		one := id.String()
		for _, t := range m.members {
			one += fmt.Sprint(" ", t.id, t.device, t.node.id, string(t.props.AppendJSON(nil)))
		}
		all = append(all, one)
	}
	return all
}

// takeOver makes a new core of the log, and has all nodes tell what they have.
func (h *history) takeOver() {
	h.term++
	h.core = h.empty()
	for _, b := range h.log {
		if err := h.core.replay(b.seq, b.buf); err != nil {
			h.t.Fatalf("replay %d: %v", b.seq, err)
		}
	}
	h.same("matches in the log", lives(h.core), lives(h.shadow))
	h.model.held = true
	h.model.matches = h.matchesInLog()
	h.model.waiting = nil
	h.core.begin(h.time(), h.nodes())
	for _, n := range h.nodes() {
		h.model.tells(n)
	}
	h.reconnect(h.nodes())
	for _, n := range h.nodes() {
		h.sync(n)
	}
	h.model.release()
}

// matchesInLog returns the live matches as the core has replayed them.
func (h *history) matchesInLog() (all [][]*waiter) {
	for _, m := range h.core.matches {
		var group []*waiter
		for _, t := range m.members {
			h.model.count++
			w := &waiter{entry: entry{id: t.id, pool: m.pool.name, device: t.device}, began: h.began[t.id], node: t.node.id, seq: h.model.count}
			group = append(group, w)
		}
		all = append(all, group)
	}
	return all
}

// sync has a node tell all that it has.
func (h *history) sync(name string) {
	v := h.views[name]
	v.epoch++
	req := appendRequestHeader(nil, v.epoch, true)
	var list []*seen
	for _, s := range v.tickets {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *seen) int { return a.seq - b.seq })
	h.model.tells(name)
	for _, s := range list {
		if s.match != (wire.ID{}) {
			h.model.say(s.id)
			req = append(append(append(req, cmdHold), s.id[:]...), byte(len(s.members)))
		}
	}
	for _, s := range list {
		if s.match != (wire.ID{}) {
			continue
		}
		s.waited, s.age = h.now-s.since, h.now-s.began
		req = appendEntry(req, &s.entry)
		h.model.enter(name, &s.entry)
	}
	req = append(req, cmdSynced)
	h.model.told(name)
	h.ask(name, req)
}

// reconnect has devices come back on one of these nodes, before that tells what it has.
// The session before may have ended, of which the owner does not hear.
func (h *history) reconnect(nodes []string) {
	for range rapid.IntRange(0, 4).Draw(h.t, "reconnect") {
		from, s := h.someTicket()
		if s == nil || !slices.Contains(nodes, from) {
			continue
		}
		if rapid.Bool().Draw(h.t, "ended") {
			delete(h.views[from].tickets, s.id)
		}
		to := nodes[rapid.IntRange(0, len(nodes)-1).Draw(h.t, "to")]
		next := h.draw(to)
		next.device = s.device
		h.views[to].tickets[next.id] = next
	}
}

// ask has the core take what a node says, and hears what it tells.
func (h *history) ask(node string, request []byte) {
	answer, err := h.core.take(h.time(), node, request)
	if err != nil || answer != answerTaken {
		h.t.Fatalf("take: %d %v", answer, err)
	}
	h.hear(h.core.flush())
}

// say is a command in the conversation under way.
func (h *history) say(node string, command []byte) {
	h.ask(node, append(appendRequestHeader(nil, h.views[node].epoch, false), command...))
}

// store sends the next batch to the log or, if one is on its way, has it arrive; false
// when there is none.
func (h *history) store() bool {
	if h.sent == nil {
		last, buf := h.core.journal.next()
		if buf != nil && last != h.seq {
			h.t.Fatalf("a batch is to follow %d, the log ends at %d", last, h.seq)
		}
		h.sent = bytes.Clone(buf)
		return buf != nil
	}
	h.keep(h.sent)
	h.sent = nil
	h.hear(h.core.landed(h.seq))
	h.purge()
	return true
}

func (h *history) purge() {
	if below := h.core.journal.below; below > 0 {
		h.log = slices.DeleteFunc(h.log, func(s stored) bool { return s.seq < below })
		h.core.journal.below = 0
	}
}

// hear takes in what nodes are told.
func (h *history) hear(list tells) {
	for _, t := range list {
		v := h.views[t.node.id]
		r := reader{b: t.buf}
		r.byte()
		r.uvarint()
		if epoch := r.uvarint(); epoch != v.epoch {
			continue
		}
		for len(r.b) > 0 {
			if r.b[0] == evMatched && !bytes.Contains(h.ever, r.b[1:17]) {
				h.t.Fatalf("a match is told that is not stored")
			}
			v.event(h.t, t.node.id, &r)
		}
		if r.err != nil {
			h.t.Fatalf("told what cannot be read: %v", r.err)
		}
	}
}

func (v *view) event(t *rapid.T, name string, r *reader) {
	switch event := r.byte(); event {
	case evMatched:
		v.matched(t, name, r)
	case evPeerLeft:
		match, ticket, ended := r.id(), r.id(), r.byte() == 1
		for id, s := range v.tickets {
			if s.match != match {
				continue
			}
			delete(s.members, ticket)
			if ended {
				delete(v.tickets, id)
			}
		}
	case evRefused:
		delete(v.tickets, r.id())
		r.byte()
		r.byte()
	case evTimedOut:
		delete(v.tickets, r.id())
	case evCanceled, evLeft:
		delete(v.tickets, r.id())
		r.byte()
	default:
		r.id()
	}
}

func (v *view) matched(t *rapid.T, name string, r *reader) {
	id := r.id()
	r.byte()
	members := make(map[wire.ID]bool)
	var own []wire.ID
	for range r.byte() {
		ticket := r.id()
		r.text()
		if r.text() == name {
			own = append(own, ticket)
		}
		r.properties()
		members[ticket] = true
	}
	for _, ticket := range own {
		s := v.tickets[ticket]
		if s == nil {
			continue // its session has ended
		}
		if s.match != (wire.ID{}) && s.match != id {
			t.Fatalf("%v is told of a second match", ticket)
		}
		s.match, s.members = id, members
	}
}

// draw makes a request of the few places, keys and levels that there are, so that many
// fit.
func (h *history) draw(node string) *seen {
	h.ids++
	s := &seen{since: h.now, seq: h.ids}
	e := &s.entry
	id, _ := wire.NewID(h.time(), h.random)
	e.id, e.pool = id, Pool{"app", "pool"}
	e.device = fmt.Sprint("d", rapid.IntRange(0, 15).Draw(h.t, "device"))
	e.min, e.max, e.patience = 2, 2, time.Second
	pick := func(name string, of int) int { return rapid.IntRange(0, of-1).Draw(h.t, name) }
	if pick("located", 3) > 0 {
		e.located = true
		// No two distances are equal, but those of a place to itself.
		e.request.at = Point{[]float64{0, 0.01, 0.0213, 0.0347}[pick("lat", 4)], 179.98 + []float64{0, 0.0103, 0.0221, 0.0359}[pick("lon", 4)]}
		if e.request.at.Lon > 180 {
			e.request.at.Lon -= 360
		}
		e.radius = []float64{0, 1300, 1900, 2700}[pick("radius", 4)]
		e.nearest = pick("nearest", 2) == 1
	}
	if pick("plane", 4) == 0 {
		e.plane = true
		e.request.at.Lon = float64(pick("x", 4))
		e.request.at.Lat = float64(pick("y", 4))
		e.radius = map[bool]float64{true: 1.42}[e.located]
	}
	e.key = []string{"", "", "k"}[pick("key", 3)]
	e.replace = pick("replace", 3) == 0
	h.drawQuery(e, pick)
	if g := pick("gesture", 12); g < 5 {
		e.gesture = []Gesture{Bump, SwipeLeft, SwipeRight, SwipeUp, SwipeDown}[g]
	}
	if pick("group", 3) == 0 && e.gesture <= Bump {
		e.min = 2 + pick("min", 3)
		e.max = min(e.min+pick("more", 7), MaxGroup)
		e.patience = time.Duration(1+pick("patience", 3)) * time.Second
	}
	if pick("hurries", 4) == 0 {
		e.timeout = time.Duration(1+pick("timeout", 4)) * time.Second
	}
	h.drawWiden(e, pick)
	s.began = max(0, h.now-time.Duration(pick("age", 3))*time.Second)
	s.waited, s.age = 0, h.now-s.began
	h.began[s.id] = s.began
	return s
}

func (h *history) drawQuery(e *entry, pick func(string, int) int) {
	if pick("level", 2) == 0 {
		e.props.list = append(e.props.list, property{name: "level", num: float64(pick("is", 8))})
	}
	if pick("mode", 3) == 0 {
		e.props.list = append(e.props.list, property{name: "mode", kind: isString, str: []string{"a", "b"}[pick("mode is", 2)]})
	}
	if pick("langs", 2) == 0 {
		e.props.list = append(e.props.list, property{name: "langs", kind: isSet, set: [][]string{{}, {"de"}, {"it"}, {"de", "it"}}[pick("langs are", 4)]})
	}
	switch pick("asks", 6) {
	case 2:
		e.query.list = append(e.query.list, demand{name: "langs", kind: hasAny, strs: [][]string{{"de"}, {"it", "en"}}[pick("any", 2)]})
	case 3:
		e.query.list = append(e.query.list, demand{name: "langs", kind: hasAll, strs: [][]string{{"de"}, {"it", "de"}}[pick("all", 2)]})
	case 0:
		from := float64(pick("from", 8))
		e.query.list = append(e.query.list, demand{name: "level", min: from, max: from + float64(pick("wide", 4))})
	case 1:
		e.query.list = append(e.query.list, demand{name: "mode", kind: inStrings, strs: []string{"a"}})
	}
}

func (h *history) drawWiden(e *entry, pick func(string, int) int) {
	if pick("widens", 3) > 0 {
		return
	}
	e.widen.Over = time.Duration(1+pick("over", 3)) * time.Second
	if e.radius > 0 {
		e.widen.Radius = e.radius * 2
	}
	if len(e.query.list) > 0 && e.query.list[0].kind == inRange {
		d := e.query.list[0]
		e.widen.Ranges = []Range{{d.name, d.min - 2, d.max + 2}}
	}
}

// someTicket picks one that a node knows of.
func (h *history) someTicket() (node string, s *seen) {
	var all []*seen
	of := make(map[*seen]string)
	for n, v := range h.views {
		for _, s := range v.tickets {
			all = append(all, s)
			of[s] = n
		}
	}
	if len(all) == 0 {
		return "", nil
	}
	slices.SortFunc(all, func(a, b *seen) int { return cmp.Compare(a.seq, b.seq) })
	s = all[rapid.IntRange(0, len(all)-1).Draw(h.t, "ticket")]
	return of[s], s
}

func (h *history) actions() map[string]func(*rapid.T) {
	id := func(cmd byte, id wire.ID) []byte { return append([]byte{cmd}, id[:]...) }
	node := func() string { return h.nodes()[rapid.IntRange(0, 2).Draw(h.t, "node")] }
	enter := func(*rapid.T) {
		n := node()
		s := h.draw(n)
		h.views[n].tickets[s.id] = s
		h.model.enter(n, &s.entry)
		h.say(n, appendEntry(nil, &s.entry))
	}
	return map[string]func(*rapid.T){
		"enter": enter, "enter too": enter, "enter again": enter,
		"cancel": func(*rapid.T) {
			if n, s := h.someTicket(); s != nil {
				h.model.cancel(s.id)
				h.say(n, id(cmdCancel, s.id))
			}
		},
		"leave": func(*rapid.T) {
			if n, s := h.someTicket(); s != nil && s.match != (wire.ID{}) {
				h.model.drop(s.id)
				h.say(n, id(cmdQuit, s.id))
			}
		},
		"go": func(*rapid.T) {
			if n, s := h.someTicket(); s != nil {
				delete(h.views[n].tickets, s.id)
				h.model.drop(s.id)
				h.say(n, id(cmdGone, s.id))
			}
		},
		"wait": func(*rapid.T) {
			h.now += time.Duration(rapid.IntRange(1, 1500).Draw(h.t, "ms")) * time.Millisecond
			h.model.pass(h.now)
			h.core.tick(h.time())
			h.hear(h.core.flush())
		},
		"store":     func(*rapid.T) { h.store() },
		"store too": func(*rapid.T) { h.store() },
		"store it":  func(*rapid.T) { h.store() },
		"lose a node": func(*rapid.T) {
			n := node()
			h.views[n] = &view{epoch: h.views[n].epoch, tickets: make(map[wire.ID]*seen)}
			h.model.lost(n)
			h.core.lost(h.time(), n)
			h.hear(h.core.flush())
			h.sync(n)
		},
		"link breaks": func(*rapid.T) { h.syncWhole(node()) },
		"take over":   func(*rapid.T) { h.replaceOwner() },
		"":            func(*rapid.T) { h.check() },
	}
}

// syncWhole has a node begin its conversation anew, when it may have missed nothing but
// what waits to be stored.
func (h *history) syncWhole(n string) {
	for _, s := range h.views[n].tickets { // of those that ended unheard the node does not know
		if h.core.tickets[s.id] == nil {
			return
		}
	}
	h.reconnect([]string{n})
	h.sync(n)
}

// replaceOwner has another owner take the log over: what the old one has not stored is
// lost, but for a batch that may be under way.
func (h *history) replaceOwner() {
	if h.sent != nil && rapid.Bool().Draw(h.t, "stored") {
		h.keep(h.sent)
	}
	h.sent = nil
	h.takeOver()
}

// check compares the core with the model.
func (h *history) check() {
	if h.core.held != h.model.held {
		h.t.Fatalf("held: %v, model %v", h.core.held, h.model.held)
	}
	var waiting, wanted []string
	for _, t := range h.core.tickets {
		if t.match == nil {
			waiting = append(waiting, t.id.String())
			if t.wait.leaf == nil {
				h.t.Fatalf("%v waits nowhere", t.id)
			}
		}
	}
	for _, w := range h.model.waiting {
		wanted = append(wanted, w.id.String())
	}
	h.same("who waits", waiting, wanted)
	var matches, expected []string
	for _, m := range h.core.matches {
		var ids []string
		for _, t := range m.members {
			ids = append(ids, t.id.String())
		}
		slices.Sort(ids)
		matches = append(matches, fmt.Sprint(ids))
	}
	for _, group := range h.model.matches {
		var ids []string
		for _, w := range group {
			ids = append(ids, w.id.String())
		}
		slices.Sort(ids)
		expected = append(expected, fmt.Sprint(ids))
	}
	h.same("matches", matches, expected)
	h.checkDevices()
}

// checkDevices checks that nobody is in a pool twice, and that all are counted.
func (h *history) checkDevices() {
	devices := make(map[string]wire.ID)
	for _, t := range h.core.tickets {
		if other, ok := devices[t.device]; ok {
			h.t.Fatalf("%s is in the pool as %v and %v", t.device, other, t.id)
		}
		devices[t.device] = t.id
	}
	in := 0
	for _, p := range h.core.pools {
		for _, comp := range p.compartments {
			in += comp.tree.count()
			if comp.tree.root != nil {
				comp.tree.root.verify(h.t, comp.tree.dims)
			}
		}
	}
	if in != h.core.waiting || in != len(h.core.dues) {
		h.t.Fatalf("%d in trees, %d waiting, %d due", in, h.core.waiting, len(h.core.dues))
	}
}

// verify checks that bounds hold for all below.
func (b *branch) verify(t *rapid.T, dims int) {
	for _, k := range b.all(nil) {
		if b.near(k.wait.spot) > 0 && k.wait.located || b.oldest > k.at || b.newest < k.at || b.reach < k.wait.reach {
			t.Fatalf("%v is out of bounds", k.id)
		}
		for i := range dims {
			s := b.dims[i]
			if d := k.wait.dims[i]; d.val == d.val && (d.val < s.min || d.top > s.max) || d.lo < s.lo || d.hi > s.hi || d.has&^s.has != 0 {
				t.Fatalf("%v is out of bounds in %d", k.id, i)
			}
		}
	}
	if b.less != nil {
		if b.less.parent != b || b.more.parent != b || b.count != b.less.count+b.more.count {
			t.Fatalf("a branch is not what is below it")
		}
		b.less.verify(t, dims)
		b.more.verify(t, dims)
	}
}

func (h *history) same(what string, got, want []string) {
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		h.t.Fatalf("%s:\n%v\nmodel:\n%v", what, got, want)
	}
}

// finish has everything stored, and compares what a replay makes of the log.
func (h *history) finish() {
	for h.store() {
	}
	h.core.journal.purge()
	h.purge()
	again := h.empty()
	for _, b := range h.log {
		if err := again.replay(b.seq, b.buf); err != nil {
			h.t.Fatalf("replay: %v", err)
		}
	}
	h.same("matches after a replay", lives(again), lives(h.core))
	h.same("matches that were stored", lives(again), lives(h.shadow))
	if again.journal.live != h.core.journal.live || again.journal.bytes != h.core.journal.bytes {
		h.t.Fatalf("a replay counts %d of %d bytes, the core %d of %d", again.journal.live, again.journal.bytes, h.core.journal.live, h.core.journal.bytes)
	}
	for name, v := range h.views { // all is told
		for _, s := range v.tickets {
			t := h.core.tickets[s.id]
			switch {
			case t == nil:
				h.t.Fatalf("%s believes in %v, which is gone", name, s.id)
			case (t.match != nil) != (s.match != wire.ID{}):
				h.t.Fatalf("%s has not heard of the match of %v", name, s.id)
			case t.match != nil && (t.match.id != s.match || len(t.match.members) != len(s.members)):
				h.t.Fatalf("%s believes %v with %d members, it is %v with %d", name, s.match, len(s.members), t.match.id, len(t.match.members))
			}
		}
	}
}

func TestCoreDoesWhatTheModelDoesWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		t.Repeat(h.actions())
		h.finish()
	})
}
