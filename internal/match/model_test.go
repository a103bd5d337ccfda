package match

import (
	"math"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// model is matching as one would write it down: lists, and everybody is compared with
// everybody. It knows nothing of logs and nodes.
type model struct {
	limits  Limits
	now     time.Duration
	waiting []*waiter
	matches [][]*waiter
	held    bool
	count   int

	telling map[string]bool // nodes that have not told all that they have
	later   []*waiter       // who waits for that, see enter
}

// waiter is a device in the model.
type waiter struct {
	entry
	at      time.Duration
	began   time.Duration
	seq     int
	step    int
	elapsed bool
	node    string
	unsaid  bool // its node has not told of it since it began to tell
}

func (w *waiter) before(v *waiter) int {
	if w.at != v.at {
		return int(w.at - v.at)
	}
	return w.seq - v.seq
}

// metres is the distance of two points on the Earth, by another formula than the
// product's.
func metres(a, b Point) float64 {
	rad := math.Pi / 180
	sinLat, sinLon := math.Sin((b.Lat-a.Lat)*rad/2), math.Sin((b.Lon-a.Lon)*rad/2)
	h := sinLat*sinLat + math.Cos(a.Lat*rad)*math.Cos(b.Lat*rad)*sinLon*sinLon
	return 2 * earth * math.Asin(math.Min(1, math.Sqrt(h)))
}

func (w *waiter) distance(v *waiter) float64 {
	if !w.located || !v.located {
		return math.Inf(1)
	}
	a, b := w.request.at, v.request.at
	if w.plane {
		return math.Hypot(a.Lat-b.Lat, a.Lon-b.Lon)
	}
	return metres(a, b)
}

// part is how far a window has widened.
func (w *waiter) part() float64 {
	if n := w.widen.steps(); w.step < n {
		return float64(w.step) / float64(n)
	}
	return 1
}

func (w *waiter) asks(v *waiter) bool {
	if w.radius > 0 {
		r := w.radius
		if w.widen.Radius > 0 {
			r += (w.widen.Radius - r) * w.part()
		}
		if d := w.distance(v); w.plane && d >= r || !w.plane && d > r {
			return false
		}
	}
	for _, d := range w.query.list {
		p := v.props.find(d.name)
		for _, to := range w.widen.Ranges {
			if to.Name == d.name {
				d.min, d.max = d.min+(to.Min-d.min)*w.part(), d.max+(to.Max-d.max)*w.part()
			}
		}
		if !d.accepts(p) {
			return false
		}
	}
	return true
}

func (m *model) fit(a, b *waiter) bool {
	return a != b && a.device != b.device && a.pool == b.pool && a.key == b.key && a.plane == b.plane &&
		a.gesture == b.gesture.meets() &&
		max(a.min, b.min) <= min(a.max, b.max) &&
		(a.gesture == NoGesture || (a.at-b.at).Abs() <= m.limits.GestureWindow) &&
		a.asks(b) && b.asks(a)
}

// wanted returns those who fit, in the order in which a wants them.
func (m *model) wanted(a *waiter) []*waiter {
	var all []*waiter
	for _, b := range m.waiting {
		if m.fit(a, b) {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(x, y *waiter) int {
		switch {
		case a.gesture != NoGesture:
			if d := (a.at - x.at).Abs() - (a.at - y.at).Abs(); d != 0 {
				return int(d)
			}
		case a.nearest:
			if dx, dy := a.distance(x), a.distance(y); math.Abs(dx-dy) > 1e-6 && dx < dy {
				return -1
			} else if math.Abs(dx-dy) > 1e-6 {
				return 1
			}
		}
		return x.before(y)
	})
	return all
}

// seek makes the match that a ticket can have.
func (m *model) seek(a *waiter) {
	if m.held {
		return
	}
	from := m.wanted(a)
	for size := a.max; size >= a.min; size-- {
		if group := m.choose([]*waiter{a}, from, size); group != nil {
			m.matches = append(m.matches, group)
			m.waiting = slices.DeleteFunc(m.waiting, func(w *waiter) bool { return slices.Contains(group, w) })
			return
		}
	}
}

func (m *model) choose(chosen, from []*waiter, size int) []*waiter {
	if len(chosen) == size {
		for _, w := range chosen {
			if size < w.min || size > w.max {
				return nil
			}
		}
		if slices.ContainsFunc(chosen, func(w *waiter) bool { return w.max == size || w.elapsed }) {
			return slices.Clone(chosen)
		}
		return nil
	}
	for i, w := range from {
		if slices.ContainsFunc(chosen, func(c *waiter) bool { return !m.fit(c, w) }) {
			continue
		}
		if found := m.choose(append(slices.Clone(chosen), w), from[i+1:], size); found != nil {
			return found
		}
	}
	return nil
}

// has returns who is in a pool under a device's name.
func (m *model) has(pool Pool, device string) (w *waiter, matched bool) {
	is := func(w *waiter) bool { return w.pool == pool && w.device == device }
	if i := slices.IndexFunc(m.waiting, is); i >= 0 {
		return m.waiting[i], false
	}
	for _, group := range m.matches {
		if i := slices.IndexFunc(group, is); i >= 0 {
			return group[i], true
		}
	}
	return nil, false
}

func (m *model) enter(node string, e *entry) {
	m.admit(&waiter{entry: *e, at: m.now - e.waited, began: m.now - e.age, node: node})
}

// tells has a node begin to tell what it has.
func (m *model) tells(node string) {
	m.telling[node] = true
	for _, w := range m.all() {
		w.unsaid = w.unsaid || w.node == node
	}
}

// told has it end: what it did not tell of is over, and who waited for that enters.
func (m *model) told(node string) {
	delete(m.telling, node)
	for _, w := range m.all() {
		if w.node == node && w.unsaid {
			m.drop(w.id)
		}
	}
	later := m.later
	m.later = nil
	for _, w := range later {
		m.admit(w)
	}
}

// say has a node tell that it has a ticket.
func (m *model) say(id wire.ID) (known bool) {
	for _, w := range m.all() {
		if w.id == id {
			w.unsaid, known = false, true
		}
	}
	return known
}

func (m *model) all() []*waiter {
	return slices.Concat(append([][]*waiter{m.waiting}, m.matches...)...)
}

func (m *model) admit(w *waiter) {
	if m.say(w.id) {
		return
	}
	m.count++
	w.seq = m.count
	e := &w.entry
	old, _ := m.has(e.pool, e.device)
	if old != nil && old.unsaid && old.node == w.node {
		m.drop(old.id)
		old = nil
	}
	if old != nil && old.unsaid && m.telling[old.node] {
		m.later = append(m.later, w)
		return
	}
	if old != nil {
		if !e.replace || old.began > w.began || old.began == w.began && old.id.String() > e.id.String() {
			return
		}
		m.drop(old.id)
	}
	w.step = min(w.widen.steps(), int((m.now-w.at)/w.widen.step()))
	w.elapsed = w.min == w.max || w.loses(m.limits) <= m.now
	if w.until(m.limits) <= m.now {
		return
	}
	m.waiting = append(m.waiting, w)
	m.seek(w)
}

func (w *waiter) until(l Limits) time.Duration { return w.at + w.lasts(l) }

// lasts is how long it waits.
func (w *waiter) lasts(l Limits) time.Duration {
	limit := l.Timeout
	if w.timeout > 0 {
		limit = min(limit, w.timeout)
	}
	if w.gesture != NoGesture {
		limit = min(limit, l.GestureWindow)
	}
	return limit
}

// loses is when its patience is over: before its time is, however patient it says to be.
func (w *waiter) loses(l Limits) time.Duration { return w.at + min(w.patience, w.lasts(l)/2) }

// drop ends whatever a ticket has.
func (m *model) drop(id wire.ID) {
	is := func(w *waiter) bool { return w.id == id }
	m.waiting = slices.DeleteFunc(m.waiting, is)
	for i, group := range m.matches {
		if slices.ContainsFunc(group, is) {
			m.matches[i] = slices.DeleteFunc(slices.Clone(group), is)
			if len(m.matches[i]) < 2 {
				m.matches = slices.Delete(m.matches, i, i+1)
			}
			return
		}
	}
}

func (m *model) cancel(id wire.ID) {
	m.waiting = slices.DeleteFunc(m.waiting, func(w *waiter) bool { return w.id == id })
}

// lost ends all of a node.
func (m *model) lost(node string) {
	for {
		var gone *waiter
		for _, w := range m.all() {
			if w.node == node {
				gone = w
			}
		}
		if gone == nil {
			return
		}
		m.drop(gone.id)
	}
}

func (m *model) next(w *waiter) time.Duration {
	next := w.until(m.limits)
	if w.step < w.widen.steps() {
		next = min(next, w.at+time.Duration(w.step+1)*w.widen.step())
	}
	if !w.elapsed {
		next = min(next, w.loses(m.limits))
	}
	return next
}

// pass is time that passes.
func (m *model) pass(now time.Duration) {
	m.now = now
	for {
		var first *waiter
		for _, w := range m.waiting {
			if n := m.next(w); n <= now && (first == nil || n < m.next(first) || n == m.next(first) && w.before(first) < 0) {
				first = w
			}
		}
		if first == nil {
			return
		}
		if first.until(m.limits) <= now {
			m.cancel(first.id)
			continue
		}
		first.elapsed = first.elapsed || first.loses(m.limits) <= now
		first.step = min(first.widen.steps(), int((now-first.at)/first.widen.step()))
		m.seek(first)
	}
}

// release lets all who wait be matched, the oldest first.
func (m *model) release() {
	m.held = false
	all := slices.Clone(m.waiting)
	slices.SortFunc(all, (*waiter).before)
	for _, w := range all {
		if slices.Contains(m.waiting, w) {
			m.seek(w)
		}
	}
}
