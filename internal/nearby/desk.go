package nearby

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/grid"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// covers is how many cells a watch wants at most.
	covers = 16
	// maxCommands is how many commands a request has at most.
	maxCommands = 4096
	// firstPause and lastPause are how long a desk waits before it asks a keeper again
	// that did not answer.
	firstPause, lastPause = 50 * time.Millisecond, time.Second
)

// desk is what this node's sessions look at. It knows who is in the cells that they
// want, from the keepers of all shards. It is pure: whoever has it holds a lock.
type desk struct {
	limits  Limits
	talks   []*talk
	areas   map[string]*area
	due     map[*viewer]struct{} // those for whom there is, or will be, something to do
	turning map[*viewer]struct{} // those with watches that wait to look elsewhere
}

// talk is the conversation with the keeper of a shard.
type talk struct {
	epoch   uint64
	stale   bool               // it has to begin anew
	begins  bool               // the next request begins it
	away    bool               // a request is under way
	queue   []place            // of which it is to hear whether they are wanted, each once
	queued  map[place]struct{} // the same
	sent    []place            // of which the request under way says that
	retry   time.Time          // not before
	patient time.Duration
}

// place is a cell of an app.
type place struct {
	app  string
	cell grid.Cell
}

// area is what there is to see of one app.
type area struct {
	app     string
	squares map[grid.Cell]*square
	people  map[int64]*person
}

// person is a user who is seen.
type person struct {
	fact
	user  int64
	name  string
	shard int
	refs  int // parts of squares in which he is
}

// square is a cell that is watched.
type square struct {
	area    *area
	cell    grid.Cell
	watches []*watch
	parts   []part // by shard
	unknown int    // parts that are not known
	many    int    // and those of which numbers are
}

// part is what the keeper of a shard says of a square.
type part struct {
	known   bool // it has, in this conversation
	people  map[int64]*person
	numbers map[grid.Cell]int // in place of people, where there are many; nil otherwise
}

func newDesk(limits Limits, shards int) *desk {
	d := &desk{limits: limits.orDefaults(), areas: make(map[string]*area), due: make(map[*viewer]struct{}), turning: make(map[*viewer]struct{})}
	for range shards {
		d.talks = append(d.talks, &talk{stale: true, queued: make(map[place]struct{})})
	}
	return d
}

// open makes a viewer, who looks at what there is of an app.
func (d *desk) open(app string, o Outlet) *viewer {
	return &viewer{app: app, outlet: o, watches: make(map[string]*watch), waiting: make(map[string]look)}
}

// close ends what a viewer watches.
func (d *desk) close(v *viewer) {
	for _, w := range v.watches {
		d.release(w)
	}
	v.watches, v.waiting, v.closed = nil, nil, true
	delete(d.due, v)
	delete(d.turning, v)
}

// watch has a viewer look at something, in place of what the watch of that ID looked at:
// now, or when it has not moved on so often any more. The error is a *Refusal.
func (d *desk) watch(now time.Time, v *viewer, id string, view View, reference []byte) error {
	if id == "" || len(id) > MaxID {
		return refuseField("id", fmt.Sprintf("has to be a string of 1 to %d bytes", MaxID))
	}
	if r := view.check(&d.limits); r != nil {
		return r
	}
	if v.closed || !v.has(id) && v.count() >= d.limits.Watches {
		return &Refusal{Code: wire.CodeTooMany, Reason: fmt.Sprintf("a session may watch %d places at a time", d.limits.Watches)}
	}
	v.waiting[id] = look{view, bytes.Clone(reference), now}
	if d.turn(now, v); len(v.waiting) > 0 {
		d.turning[v] = struct{}{}
	}
	return nil
}

// turn has watches look where they are to look, as often as they may. It returns when it
// is to be called again; zero: not by itself.
func (d *desk) turn(now time.Time, v *viewer) (next time.Time) {
	for id, l := range v.waiting {
		if at := v.free.Add(-time.Duration(d.limits.Watches) * lookEvery); at.After(now) {
			return at
		}
		v.free = later(v.free, now).Add(lookEvery)
		w := &watch{viewer: v, id: id, view: l.view, reference: l.reference, asked: l.asked, fresh: true}
		w.lat, w.lon = w.view.middle()
		w.reset()
		d.acquire(w)
		if old := v.watches[id]; old != nil {
			d.release(old)
		}
		v.watches[id] = w
		delete(v.waiting, id)
		d.stir(v)
	}
	delete(d.turning, v)
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// unwatch ends a watch. The error is a *Refusal.
func (d *desk) unwatch(v *viewer, id string) error {
	if !v.has(id) {
		return &Refusal{Code: wire.CodeNotFound, Reason: "there is no watch with this id"}
	}
	delete(v.waiting, id)
	if w := v.watches[id]; w != nil {
		d.release(w)
		delete(v.watches, id)
	}
	return nil
}

// acquire has a watch see the squares that it needs.
func (d *desk) acquire(w *watch) {
	a := d.areas[w.viewer.app]
	if a == nil {
		a = &area{app: w.viewer.app, squares: make(map[grid.Cell]*square), people: make(map[int64]*person)}
		d.areas[a.app] = a
	}
	for _, cell := range grid.Cover(w.view.box(), covers) {
		s := a.squares[cell]
		if s == nil {
			s = &square{area: a, cell: cell, parts: make([]part, len(d.talks)), unknown: len(d.talks)}
			a.squares[cell] = s
			d.say(s)
		}
		s.watches = append(s.watches, w)
		w.squares = append(w.squares, s)
	}
}

func (d *desk) release(w *watch) {
	for _, s := range w.squares {
		s.watches = slices.DeleteFunc(s.watches, func(other *watch) bool { return other == w })
		if len(s.watches) > 0 {
			continue
		}
		for i := range s.parts {
			for user := range s.parts[i].people {
				s.drop(i, user)
			}
		}
		delete(s.area.squares, s.cell)
		d.say(s)
		if len(s.area.squares) == 0 {
			delete(d.areas, s.area.app)
		}
	}
	w.squares = nil
}

// say says to all keepers whether a square is wanted, as it is then. To those with whom
// the conversation is to begin anew all is said then.
func (d *desk) say(s *square) {
	for _, t := range d.talks {
		if !t.stale {
			t.say(place{s.area.app, s.cell})
		}
	}
}

func (t *talk) say(p place) {
	if _, is := t.queued[p]; !is {
		t.queue, t.queued[p] = append(t.queue, p), struct{}{}
	}
}

// wants says whether a cell is wanted.
func (d *desk) wants(p place) bool {
	a := d.areas[p.app]
	return a != nil && a.squares[p.cell] != nil
}

// ask is a request to the keeper of a shard, of which the outcome goes to done.
type ask struct {
	Shard   int
	Request []byte
}

// requests returns what is to be asked now, one request of a shard at a time, and when
// to look again at the latest; zero: not by itself.
func (d *desk) requests(now time.Time) (list []ask, next time.Time) {
	sooner := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for v := range d.turning {
		sooner(d.turn(now, v))
	}
	for shard, t := range d.talks {
		switch {
		case t.away || !t.stale && len(t.queue) == 0 || t.stale && t.epoch == 0 && len(d.areas) == 0:
			continue
		case t.retry.After(now):
			sooner(t.retry)
			continue
		}
		list = append(list, ask{shard, d.request(t)})
	}
	return list, next
}

// request returns what is said next in a conversation.
func (d *desk) request(t *talk) []byte {
	if t.stale {
		t.stale, t.begins = false, true
		t.epoch++
		t.queue = t.queue[:0]
		clear(t.queued)
		for _, a := range d.areas {
			for cell := range a.squares {
				t.say(place{a.app, cell})
			}
		}
	}
	b := binary.AppendUvarint([]byte{askWant}, t.epoch)
	b = append(b, 0)
	if t.begins {
		b[len(b)-1] = 1
	}
	t.begins, t.away = false, true
	t.sent = append(t.sent[:0], t.queue[:min(len(t.queue), maxCommands)]...)
	t.queue = append(t.queue[:0], t.queue[len(t.sent):]...)
	for _, p := range t.sent {
		delete(t.queued, p)
		kind := cmdDrop
		if d.wants(p) {
			kind = cmdWant
		}
		b = binary.AppendUvarint(appendText(append(b, kind), p.app), uint64(p.cell))
	}
	return b
}

// done brings the outcome of a request.
func (d *desk) done(now time.Time, shard int, reply []byte, err error) {
	t := d.talks[shard]
	t.away = false
	switch {
	case err != nil || len(reply) != 1:
	case reply[0] == answerTaken:
		t.patient = 0
		return
	case reply[0] == answerLater && t.stale:
		return
	case reply[0] == answerLater:
		for _, p := range t.sent {
			t.say(p)
		}
		t.retry = now.Add(firstPause)
		return
	}
	d.moved(shard)
	if err != nil {
		t.patient = min(max(2*t.patient, firstPause), lastPause)
		t.retry = now.Add(t.patient)
	}
}

// moved says that the keeper of a shard knows nothing (any more) of what was said. What
// it said stays, until it says how things are.
func (d *desk) moved(shard int) {
	t := d.talks[shard]
	t.stale, t.retry = true, time.Time{}
	for _, a := range d.areas {
		for _, s := range a.squares {
			p := s.parts[shard]
			p.known = false
			s.set(shard, p)
		}
	}
}

// heard takes in what a keeper tells.
func (d *desk) heard(message []byte) error {
	r := reader{b: message}
	what, shard, epoch := r.byte(), r.uvarint(), r.uvarint()
	if r.err != nil {
		return r.err
	}
	if what != sayCells || shard >= uint64(len(d.talks)) {
		return errShort
	}
	if t := d.talks[shard]; epoch != t.epoch || t.stale {
		return nil // it is of a conversation that is over
	}
	h := hearing{desk: d, shard: int(shard)}
	for len(r.b) > 0 && r.err == nil {
		h.hear(&r)
	}
	h.end()
	return r.err
}

// hearing is who is taking in a message.
type hearing struct {
	desk   *desk
	shard  int
	square *square           // nil: it is not watched (any more)
	before map[int64]*person // of whom it is to be said whether they are still there
}

// hear takes in a piece.
func (h *hearing) hear(r *reader) {
	what := r.byte()
	switch what {
	case pieceCell:
		h.end()
		app, cell := r.bytes(), grid.Cell(r.uvarint())
		if a := h.desk.areas[string(app)]; a != nil && r.err == nil {
			h.square = a.squares[cell]
		}
	case pieceFresh, pieceNumbers:
		h.begin(what == pieceNumbers)
	case pieceAt:
		user := int64(r.uvarint())
		f := r.fact()
		if checkPlace(f.lat, f.lon) != nil {
			r.fail()
		}
		if r.err == nil && h.knows() {
			h.square.at(h.shard, user, &f, h.before)
		}
	case pieceGone:
		if user := int64(r.uvarint()); r.err == nil && h.knows() {
			h.square.drop(h.shard, user)
		}
	case pieceCount:
		cell, n := grid.Cell(r.uvarint()), r.uvarint()
		if r.err == nil && h.knows() && h.square.parts[h.shard].numbers != nil && cell.Valid() && n < 1<<32 {
			h.square.parts[h.shard].numbers[cell] = int(n)
		}
	default:
		r.fail()
	}
}

// knows says whether the square is watched, and the keeper has said who is there: if
// not, this is of the cell as it was wanted before.
func (h *hearing) knows() bool { return h.square != nil && h.square.parts[h.shard].known }

// begin says that all that there is in the square follows.
func (h *hearing) begin(numbers bool) {
	if h.square == nil {
		return
	}
	h.lose()
	p := &h.square.parts[h.shard]
	h.before = p.people
	fresh := part{known: true, people: make(map[int64]*person)}
	if numbers {
		fresh = part{known: true, numbers: make(map[grid.Cell]int)}
	}
	h.square.set(h.shard, fresh)
}

// set changes what a square knows of a shard, and counts.
func (s *square) set(shard int, to part) {
	count := func(p *part, n int) {
		if !p.known {
			s.unknown += n
		}
		if p.numbers != nil {
			s.many += n
		}
	}
	count(&s.parts[shard], -1)
	s.parts[shard] = to
	count(&to, 1)
}

// lose says that those who were there before are not, of whom it was not said that they
// are.
func (h *hearing) lose() {
	for _, p := range h.before {
		h.square.lose(p)
	}
	h.before = nil
}

// end says that nothing more of a square follows.
func (h *hearing) end() {
	if h.square == nil {
		return
	}
	h.lose()
	for _, w := range h.square.watches {
		w.numbered = true
		h.desk.stir(w.viewer)
	}
	h.square = nil
}

// at says that a user is in a square. Of those of before he is one no more.
func (s *square) at(shard int, user int64, f *fact, before map[int64]*person) {
	p := s.area.people[user]
	if p == nil {
		p = &person{user: user, name: string(appendName(nil, s.area.app, user))}
		s.area.people[user] = p
	}
	part := &s.parts[shard]
	if part.people == nil {
		part.people = make(map[int64]*person)
	}
	if before[user] != nil {
		delete(before, user)
		part.people[user] = p
	} else if part.people[user] == nil {
		part.people[user] = p
		p.refs++
	}
	p.fact, p.shard = *f, shard
	s.touch(p)
}

// drop says that a user is not in a square any more.
func (s *square) drop(shard int, user int64) {
	if p := s.parts[shard].people[user]; p != nil {
		delete(s.parts[shard].people, user)
		s.lose(p)
	}
}

func (s *square) lose(p *person) {
	if p.refs--; p.refs == 0 {
		delete(s.area.people, p.user)
	}
	s.touch(p)
}

func (s *square) touch(p *person) {
	for _, w := range s.watches {
		w.touch(p)
	}
}

// equal compares facts, of which what is absent is NaN.
func equal(a, b *fact) bool {
	same := func(x, y float64) bool { return x == y || x != x && y != y }
	return a.lat == b.lat && a.lon == b.lon && a.at == b.at && same(a.accuracy, b.accuracy) && same(a.heading, b.heading) && same(a.speed, b.speed)
}
