package nearby

import (
	"errors"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/grid"
)

const (
	// pace is how far two frames of changes are apart, of one session.
	pace = 100 * time.Millisecond
	// lookEvery is how far two looks of a session are apart, in the long run: so many as it
	// may have watches come at once. Where it looks in between it never does.
	lookEvery = 100 * time.Millisecond
	// crowded is after how long a session that had no room is tried again.
	crowded = 50 * time.Millisecond
	// slow is how far two frames about cells of a watch are apart, and changes from
	// users to cells and back.
	slow = time.Second
	// patience is how long a watch waits for keepers before its session hears of it.
	patience = 2 * time.Second
)

var errNoAnswer = errors.New("a node that knows of positions does not answer")

// viewer is a session that looks.
type viewer struct {
	app     string
	outlet  Outlet
	watches map[string]*watch
	waiting map[string]look // where watches are to look, as soon as they may
	free    time.Time       // see turn
	closed  bool
	next    time.Time // when changes may be told
	due     time.Time // when there is something to do, if nothing happens
}

// look is where a watch is to look.
type look struct {
	view      View
	reference []byte
	asked     time.Time
}

// has says whether a session has a watch.
func (v *viewer) has(id string) bool {
	_, waits := v.waiting[id]
	return waits || v.watches[id] != nil
}

// count returns how many watches a session has.
func (v *viewer) count() int {
	n := len(v.watches)
	for id := range v.waiting {
		if v.watches[id] == nil {
			n++
		}
	}
	return n
}

// What can happen to a user in view.
const (
	enters = iota
	leaves
	moves
	kinds
)

// watch is something that a session looks at.
type watch struct {
	viewer    *viewer
	id        string
	view      View
	lat, lon  float64 // from where distances are measured
	reference []byte
	asked     time.Time
	squares   []*square
	members   map[int64]*person // who is in view, while the session is told users

	fresh    bool // the session has no answer yet
	troubled bool // and knows that it may take a while
	answered time.Time
	again    time.Time // when an answer for which there was no room is tried again

	told    map[int64]fact // whom the session knows, and where
	changes [kinds]map[int64]*person
	since   [kinds]time.Time // when the first of them was seen to be due

	cells    map[grid.Cell]int // what the session knows, when it is told cells; nil: it is told users
	people   int               // how many of those it is told were people whom the desk knows
	numbered bool              // cells may have other counts
}

// reset forgets what the session was told.
func (w *watch) reset() {
	w.members, w.told, w.cells = nil, nil, nil
	w.changes, w.since = [kinds]map[int64]*person{}, [kinds]time.Time{}
}

// holds says whether somebody is in view.
func (w *watch) holds(p *person) bool {
	if p.refs == 0 || !w.view.contains(p.lat, p.lon) {
		return false
	}
	s := w.squares[0].area.squares[grid.CellAt(w.squares[0].cell.Level(), p.lat, p.lon)]
	return s != nil && s.parts[p.shard].people[p.user] == p
}

// touch says that there is news of a user.
func (w *watch) touch(p *person) {
	w.numbered = true
	if w.fresh || w.cells != nil {
		return // who is there is looked up when it is told
	}
	in := w.holds(p)
	_, was := w.members[p.user]
	switch {
	case in:
		w.members[p.user] = p
	case was:
		delete(w.members, p.user)
	default:
		return
	}
	for kind := range w.changes {
		delete(w.changes[kind], p.user)
	}
	_, told := w.told[p.user]
	kind := enters
	switch {
	case in && told:
		kind = moves
	case !in && told:
		kind = leaves
	case !in:
		return
	}
	if w.changes[kind] == nil {
		w.changes[kind] = make(map[int64]*person)
	}
	w.changes[kind][p.user] = p
}

// known says whether all keepers have said who is in the squares, and whether one of
// them told numbers only.
func (w *watch) known() (all, numbers bool) {
	all = true
	for _, s := range w.squares {
		all = all && s.unknown == 0
		numbers = numbers || s.many > 0
	}
	return all, numbers
}

// stir says that something has happened to what a viewer looks at.
func (d *desk) stir(v *viewer) {
	v.due = time.Time{}
	d.due[v] = struct{}{}
}

// flush tells sessions what is due, but of answers only a portion: many at once would
// keep changes from all others for long. It returns when it is to be called again; zero:
// not before something happens.
func (d *desk) flush(now time.Time) (next time.Time) {
	left := d.limits.portion
	for v := range d.due {
		if !v.due.After(now) {
			v.due = v.flush(now, &d.limits, &left)
		}
		switch {
		case v.due.IsZero():
			delete(d.due, v)
		case next.IsZero() || v.due.Before(next):
			next = v.due
		}
	}
	return next
}

// flush tells a session what is due, but answers only while there are users left that
// may be in them.
func (v *viewer) flush(now time.Time, l *Limits, left *int) (next time.Time) {
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, w := range v.watches {
		if at := w.answer(now, l, left); !at.IsZero() {
			sooner(at)
		}
	}
	w, kind, at := v.first(now)
	switch {
	case w == nil && at.IsZero():
		return next
	case w == nil:
		sooner(at)
		return next
	case v.next.After(now):
		sooner(v.next)
		return next
	}
	v.next = now.Add(pace)
	if !w.tell(now, kind) {
		v.next = now.Add(crowded)
	}
	sooner(v.next) // there may be more
	return next
}

// answer tells a session what is in view, if it has not been told yet, or differences
// do not say it. It returns when it is to be called again; zero: not by itself.
func (w *watch) answer(now time.Time, l *Limits, left *int) (next time.Time) {
	all, numbers := w.known()
	switch {
	case w.fresh && !all && w.troubled:
		return next
	case w.fresh && !all:
		if wait := w.asked.Add(patience); wait.After(now) {
			return wait
		}
		w.troubled = w.viewer.outlet.Trouble(w.id, w.reference, errNoAnswer)
		if !w.troubled {
			next = now.Add(crowded)
		}
		return next
	case !w.fresh && w.many(numbers, l) == (w.cells != nil):
		return next
	case !w.fresh && w.answered.Add(slow).After(now):
		return w.answered.Add(slow)
	case w.again.After(now):
		return w.again
	case *left <= 0:
		return now
	}
	if !w.whole(now, numbers, l, left) {
		w.again = now.Add(crowded)
		return w.again
	}
	return next
}

// many says whether cells are to be told in place of users, by what is known without
// looking.
func (w *watch) many(numbers bool, l *Limits) bool {
	if w.cells != nil {
		return numbers || w.people > l.Users*9/10 // it is not to and fro
	}
	return numbers || len(w.members) > l.Users
}

// whole tells all that is in view. False: the session has no room.
func (w *watch) whole(now time.Time, numbers bool, l *Limits, left *int) bool {
	members := make(map[int64]*person)
	*left -= 1 + w.each(func(p *person) {
		if !numbers && len(members) <= l.Users { // of more than that each is counted only
			members[p.user] = p
		}
	})
	var a Answer
	var cells map[grid.Cell]int
	if numbers || len(members) > l.Users {
		members = nil
		cells, w.people = w.counts()
		a.Cells = list(cells)
		for _, n := range cells {
			a.Total += n
		}
	} else {
		a.Users, a.Total = w.users(members), len(members)
	}
	if !w.viewer.outlet.Answer(w.id, a, w.reference) {
		return false
	}
	w.reset()
	w.members, w.told = members, make(map[int64]fact, len(members))
	for user, p := range members {
		w.told[user] = p.fact
	}
	w.cells, w.fresh, w.reference, w.answered, w.numbered = cells, false, nil, now, false
	return true
}

// each calls f with each user in view. It returns how many had to be looked at.
func (w *watch) each(f func(p *person)) (looked int) {
	for _, s := range w.squares {
		for i := range s.parts {
			looked += len(s.parts[i].people)
			for _, p := range s.parts[i].people {
				if w.view.contains(p.lat, p.lon) && grid.CellAt(s.cell.Level(), p.lat, p.lon) == s.cell {
					f(p)
				}
			}
		}
	}
	return looked
}

// first returns what waits longest to be told, or when something will.
func (v *viewer) first(now time.Time) (first *watch, kind int, next time.Time) {
	var since time.Time
	for _, w := range v.watches {
		k, at := w.ripe(now)
		switch {
		case at.IsZero():
		case at.After(now):
			if next.IsZero() || at.Before(next) {
				next = at
			}
		case first == nil || at.Before(since):
			first, kind, since = w, k, at
		}
	}
	return first, kind, next
}

// ripe returns what of a watch waits longest to be told, and since when, or from when
// on; zero: nothing does.
func (w *watch) ripe(now time.Time) (kind int, at time.Time) {
	switch {
	case w.fresh:
		return kinds, time.Time{}
	case w.cells != nil && w.numbered:
		return kinds, w.answered.Add(slow)
	}
	for k := range w.changes {
		if len(w.changes[k]) == 0 {
			w.since[k] = time.Time{}
			continue
		}
		if w.since[k].IsZero() {
			w.since[k] = now
		}
		if at.IsZero() || w.since[k].Before(at) {
			kind, at = k, w.since[k]
		}
	}
	return kind, at
}

// tell tells changes of a kind. False: the session has no room.
func (w *watch) tell(now time.Time, kind int) bool {
	if kind == kinds {
		return w.tellCells(now)
	}
	var ok bool
	if kind == leaves {
		ok = w.tellLeft()
	} else {
		ok = w.tellSeen(kind)
	}
	if ok {
		w.changes[kind], w.since[kind] = nil, time.Time{}
	}
	return ok
}

func (w *watch) tellLeft() bool {
	names := make([]string, 0, len(w.changes[leaves]))
	for _, p := range w.changes[leaves] {
		names = append(names, p.name)
	}
	slices.Sort(names)
	if !w.viewer.outlet.Leave(w.id, names) {
		return false
	}
	for user := range w.changes[leaves] {
		delete(w.told, user)
	}
	return true
}

// tellSeen tells of users who have come or moved. Who has moved on out of view since,
// of which the watch is to hear yet, is told then.
func (w *watch) tellSeen(kind int) bool {
	changed := w.changes[kind]
	for user, p := range changed {
		if f, told := w.told[user]; told && equal(&f, &p.fact) {
			delete(changed, user) // a keeper has only said it anew
		}
	}
	if len(changed) == 0 {
		return true
	}
	tell := w.viewer.outlet.Move
	if kind == enters {
		tell = w.viewer.outlet.Enter
	}
	if !tell(w.id, w.users(changed)) {
		return false
	}
	for user, p := range changed {
		w.told[user] = p.fact
	}
	return true
}

func (w *watch) tellCells(now time.Time) bool {
	counts, people := w.counts()
	changed := make(map[grid.Cell]int)
	for cell, n := range counts {
		if w.cells[cell] != n {
			changed[cell] = n
		}
	}
	for cell := range w.cells {
		if counts[cell] == 0 {
			changed[cell] = 0
		}
	}
	if len(changed) > 0 && !w.viewer.outlet.Cells(w.id, list(changed)) {
		return false
	}
	w.cells, w.people, w.numbered, w.answered = counts, people, false, now
	return true
}

// users returns some as a session is told them, the nearest first.
func (w *watch) users(of map[int64]*person) []User {
	list := make([]User, 0, len(of))
	for _, p := range of {
		list = append(list, User{User: p.name, Position: p.position(), Distance: grid.Distance(w.lat, w.lon, p.lat, p.lon)})
	}
	slices.SortFunc(list, func(a, b User) int { return nearest(&a, &b) })
	return list
}

// counts returns how many are in which part of the view, and how many of these are people
// of whom the desk knows where each is.
func (w *watch) counts() (counts map[grid.Cell]int, people int) {
	counts = make(map[grid.Cell]int)
	w.each(func(p *person) {
		people++
		counts[partOf(w.squares[0].cell, p.lat, p.lon)]++
	})
	box := w.view.box()
	for _, s := range w.squares {
		for i := range s.parts {
			for cell, n := range s.parts[i].numbers {
				if n > 0 && cell.Box().Meets(box) {
					counts[cell] += n
				}
			}
		}
	}
	return counts, people
}

// list returns cells as a session is told them, in an order that is always the same.
func list(counts map[grid.Cell]int) []Cell {
	cells := make([]grid.Cell, 0, len(counts))
	for cell := range counts {
		cells = append(cells, cell)
	}
	slices.Sort(cells)
	all := make([]Cell, len(cells))
	for i, cell := range cells {
		lat, lon := cell.Box().Middle()
		all[i] = Cell{lat, lon, counts[cell]}
	}
	return all
}
