package webhooks

import (
	"container/heap"
	"time"
)

const (
	// crowd is how many different users in a row have to fail, with no success
	// between them, for the webhook to count as failing for everybody.
	crowd = 5
	// failures in a row from which on the webhook's state is said to be failing,
	// for however many users.
	enough = 5
	// convinced is how many attempts have to fail, each at another user's event
	// where there are any, before events of a webhook that fails for everybody are
	// given up without an attempt of their own: some five minutes.
	convinced = 10
)

// limits of one webhook's machine. They may change at run time.
type limits struct {
	concurrency int           // posts at once
	retry       time.Duration // how long after it happened an event is tried
}

// outcome is what one attempt came to.
type outcome struct {
	ok         bool
	status     int           // of the answer; 0 for none
	reason     string        // why it failed, for people
	retryAfter time.Duration // asked for by the receiver; 0 for nothing
}

// effect is what the machine wants done.
type effect struct {
	kind effectKind
	ev   *event
}

type effectKind uint8

const (
	effPost  effectKind = iota // post it, then call answered or withdrawn
	effSent                    // it arrived: keep that in the history, then prove it
	effGiven                   // it is given up: likewise
)

// machine decides which event is posted when. It is pure: its state changes by
// its methods alone, which take the time, and it leaves effects behind. Its
// promises:
//
//   - Of one user, one event at a time is on its way or waits to be tried again;
//     the next one's turn comes when it has arrived or is given up.
//   - At most limits.concurrency events are on their way; one while the webhook
//     fails for everybody.
//   - Every event ends in exactly one effSent or effGiven, the latter not before
//     its time has run out.
type machine struct {
	limits limits
	chance func() float64 // 0 to 1

	lines   map[string]*line // of users of whom something waits or is on its way
	retries lineHeap         // lines that may be tried, by when
	ends    lineHeap         // the same, by when the first one's time runs out
	flying  int
	arrived uint64 // events ever

	failed  map[string]bool // users that failed since the last success, crowd at most
	row     int             // failures since the last success
	open    bool            // the webhook fails for everybody: the circuit is open
	probeAt time.Time       // when it may be tried again, if so
	probe   *event          // the one attempt meanwhile, while it is on its way
	probes  int             // those that failed, and the failure that opened it
	reason  string          // why the last attempt failed
	stuck   int             // users whose next event has failed

	effects []effect
}

// line is one user's events, the next one first.
type line struct {
	user    string
	events  []*event
	order   uint64    // rises: of lines due at one time the one that came first goes first
	retryAt time.Time // when the first may be tried
	end     time.Time // when its time runs out
	flying  bool      // the first is on its way
	places  [2]int    // in retries and ends; -1 for not there
}

func newMachine(l limits, chance func() float64) *machine {
	m := &machine{limits: l, chance: chance, lines: make(map[string]*line), failed: make(map[string]bool)}
	m.retries = lineHeap{which: 0, before: func(a, b *line) bool { return earlier(a.retryAt, b.retryAt, a, b) }}
	m.ends = lineHeap{which: 1, before: func(a, b *line) bool { return earlier(a.end, b.end, a, b) }}
	return m
}

func earlier(x, y time.Time, a, b *line) bool {
	if !x.Equal(y) {
		return x.Before(y)
	}
	return a.order < b.order
}

// arrive takes an event that the queue handed over.
func (m *machine) arrive(now time.Time, ev *event) {
	l := m.lines[ev.user]
	if l == nil {
		l = &line{user: ev.user, places: [2]int{-1, -1}}
		m.lines[ev.user] = l
	}
	l.events = append(l.events, ev)
	if len(l.events) == 1 {
		m.stand(l, now)
	}
	m.turn(now)
}

// answered takes what the attempt at an event came to.
func (m *machine) answered(now time.Time, ev *event, o outcome) {
	l := m.land(ev)
	ev.attempts++
	ev.last, ev.status = o.reason, o.status
	if o.ok {
		m.succeeded(now)
		m.finish(l, effSent, now)
	} else {
		m.countFailure(now, ev, o)
		if !now.Before(m.endOf(ev)) {
			m.finish(l, effGiven, now)
		} else {
			m.again(now, l, o)
		}
	}
	m.turn(now)
}

// withdrawn takes back an event whose attempt was broken off: as if it had not
// been posted, it is due at once.
func (m *machine) withdrawn(now time.Time, ev *event) {
	l := m.land(ev)
	ev.notBefore = time.Time{}
	m.stand(l, now)
	m.turn(now)
}

// land notes that an event is not on its way any more, and returns its line.
func (m *machine) land(ev *event) *line {
	l := m.lines[ev.user]
	if l == nil || !l.flying || l.events[0] != ev {
		panic("webhooks: an answer to what is not on its way") // our own loop is wrong
	}
	l.flying = false
	m.flying--
	return l
}

// again puts a line back whose first event failed.
func (m *machine) again(now time.Time, l *line, o outcome) {
	ev := l.events[0]
	if !ev.stuck {
		ev.stuck = true
		m.stuck++
	}
	ev.notBefore = time.Time{}
	at := now.Add(delay(ev.attempts, longestDelay, m.chance()))
	if o.retryAfter > 0 {
		ev.notBefore = now.Add(min(o.retryAfter, longestAsked))
		if at.Before(ev.notBefore) {
			at = ev.notBefore
		}
	}
	m.stand(l, at)
}

// finish ends the first event of a line; the next one's turn may be now.
func (m *machine) finish(l *line, kind effectKind, now time.Time) {
	ev := l.events[0]
	if ev.stuck {
		m.stuck--
	}
	if ev.attempts == 0 {
		ev.last = m.reason // the webhook's, for this one was never tried
	}
	m.effects = append(m.effects, effect{kind, ev})
	l.events[0] = nil
	l.events = l.events[1:]
	if len(l.events) == 0 {
		delete(m.lines, l.user)
		return
	}
	m.stand(l, now)
}

// stand has a line wait until at, or until the time of its first event runs
// out, when it is tried for the last time.
func (m *machine) stand(l *line, at time.Time) {
	m.arrived++
	l.order = m.arrived
	l.end = m.endOf(l.events[0])
	l.retryAt = at
	if l.events[0].attempts > 0 && l.end.Before(at) {
		l.retryAt = l.end
	}
	heap.Push(&m.retries, l)
	heap.Push(&m.ends, l)
}

// leave takes a line out of both heaps.
func (m *machine) leave(l *line) {
	heap.Remove(&m.retries, l.places[0])
	heap.Remove(&m.ends, l.places[1])
}

func (m *machine) endOf(ev *event) time.Time { return ev.since.Add(m.limits.retry) }

// turn posts what is due.
func (m *machine) turn(now time.Time) {
	if m.open {
		if m.hopeless() {
			m.giveUp(now)
		}
		if len(m.retries.lines) > 0 && m.flying == 0 && !now.Before(m.probeAt) {
			m.probe = m.retries.lines[0].events[0] // due or not: if it goes well, all are
			m.post(m.retries.lines[0])
		}
		return
	}
	for m.flying < m.limits.concurrency && len(m.retries.lines) > 0 && !now.Before(m.retries.lines[0].retryAt) {
		m.post(m.retries.lines[0])
	}
}

func (m *machine) post(l *line) {
	m.leave(l)
	l.flying = true
	m.flying++
	m.effects = append(m.effects, effect{effPost, l.events[0]})
}

// hopeless says that the webhook has failed for everybody for a while.
func (m *machine) hopeless() bool { return m.open && m.probes >= convinced }

// giveUp ends all events whose time has run out, without an attempt for each.
func (m *machine) giveUp(now time.Time) {
	for len(m.ends.lines) > 0 && !now.Before(m.ends.lines[0].end) {
		l := m.ends.lines[0]
		m.leave(l)
		m.finish(l, effGiven, now)
	}
}

// countFailure notes a failure, which may open the circuit.
func (m *machine) countFailure(now time.Time, ev *event, o outcome) {
	m.row++
	m.reason = o.reason
	if len(m.failed) < crowd {
		m.failed[ev.user] = true
	}
	if !m.open && len(m.failed) < crowd {
		return
	}
	if !m.open || ev == m.probe {
		m.open, m.probe = true, nil
		m.probes++
		m.probeAt = now.Add(delay(m.probes, longestProbe, m.chance()))
	}
	if asked := now.Add(min(o.retryAfter, longestAsked)); m.probeAt.Before(asked) {
		m.probeAt = asked
	}
}

// succeeded notes a success. It closes the circuit: whoever waited for the
// webhook need not wait any longer.
func (m *machine) succeeded(now time.Time) {
	m.row = 0
	clear(m.failed)
	if m.open {
		m.resume(now)
	}
}

// resume closes the circuit and makes everything due that the receiver did not
// ask to wait with.
func (m *machine) resume(now time.Time) {
	m.open, m.probe, m.probes, m.probeAt = false, nil, 0, time.Time{}
	for _, l := range m.retries.lines {
		if at := l.events[0].notBefore; at.After(now) {
			l.retryAt = at
		} else if l.retryAt.After(now) {
			l.retryAt = now
		}
	}
	heap.Init(&m.retries)
}

// changed starts afresh with a webhook whose settings have changed: it may be
// another one now.
func (m *machine) changed(now time.Time) {
	m.row = 0
	clear(m.failed)
	for _, l := range m.retries.lines {
		l.events[0].notBefore = time.Time{}
	}
	m.resume(now)
	m.turn(now)
}

// setLimits changes the limits, also for what waits.
func (m *machine) setLimits(now time.Time, l limits) {
	m.limits = l
	for _, line := range m.ends.lines {
		line.end = m.endOf(line.events[0])
		if line.events[0].attempts > 0 && line.end.Before(line.retryAt) {
			line.retryAt = line.end
		}
	}
	heap.Init(&m.retries) // all ends have moved alike, and stay in order
	m.turn(now)
}

// next says when turn has something to do again if nothing happens before.
func (m *machine) next() (at time.Time, ok bool) {
	if len(m.retries.lines) == 0 {
		return time.Time{}, false
	}
	if m.open {
		if m.flying == 0 {
			at, ok = m.probeAt, true
		}
		if end := m.ends.lines[0].end; m.hopeless() && (!ok || end.Before(at)) {
			at, ok = end, true
		}
		return at, ok
	}
	if m.flying >= m.limits.concurrency {
		return time.Time{}, false
	}
	return m.retries.lines[0].retryAt, true
}

// take returns the effects so far and forgets them.
func (m *machine) take() []effect {
	list := m.effects
	m.effects = nil
	return list
}

// failing says whether nothing has got through for a while.
func (m *machine) failing() bool { return m.open || m.row >= enough }

// lineHeap is a heap of lines; which says in which place of a line its index is
// kept.
type lineHeap struct {
	lines  []*line
	which  int
	before func(a, b *line) bool
}

func (h *lineHeap) Len() int           { return len(h.lines) }
func (h *lineHeap) Less(i, j int) bool { return h.before(h.lines[i], h.lines[j]) }

func (h *lineHeap) Swap(i, j int) {
	h.lines[i], h.lines[j] = h.lines[j], h.lines[i]
	h.lines[i].places[h.which], h.lines[j].places[h.which] = i, j
}

// Push implements heap.Interface.
func (h *lineHeap) Push(x any) {
	l := x.(*line)
	l.places[h.which] = len(h.lines)
	h.lines = append(h.lines, l)
}

// Pop implements heap.Interface.
func (h *lineHeap) Pop() any {
	last := len(h.lines) - 1
	l := h.lines[last]
	h.lines[last] = nil
	h.lines = h.lines[:last]
	l.places[h.which] = -1
	return l
}
