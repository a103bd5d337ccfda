package webhooks

import (
	"bytes"
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// window is how many bytes of a webhook's events may be in memory, unproved.
	// What waits behind a user who is stuck is part of it, so it also bounds how
	// much may be stuck before others are held up: some 15 000 events.
	window = 4 << 20
	// reopenAfter is the pause before a queue that did not open is tried again.
	reopenAfter = time.Second
	// remembered is how many events that ended last are known by what the queue
	// calls them: after a failure of its disk it may hand over again what was
	// proved.
	remembered = 1 << 13
)

// Webhook is one place that events of one app are posted to.
type Webhook struct {
	Of           Name
	URL          string
	Keys         [][]byte // of the signatures, one or two
	Events       []string // what it is told of, for people
	AllowPrivate bool     // it may be at a private address
	HideURL      bool     // nothing of it is to be shown
}

// goesTo says whether attempts at w are the same as at v: to the same place, as
// the same sender.
func (w *Webhook) goesTo(v *Webhook) bool {
	return w.URL == v.URL && w.AllowPrivate == v.AllowPrivate && slices.EqualFunc(w.Keys, v.Keys, bytes.Equal)
}

// hook is one webhook at work: a machine, and around it the queue that hands
// events over, the attempts, and the writer of the history.
type hook struct {
	of      Name
	opts    *Options
	poster  *poster
	metrics *metrics
	log     *slog.Logger
	wake    chan struct{}
	testing chan struct{} // holds one item for each test under way
	replays sync.Mutex    // held by a replay

	mu      sync.Mutex // guards what follows
	to      Webhook
	limits  Limits
	changed bool // to is new to the machine
	inbox   []input
	view    view
	losses  losses
}

// input is what happened: a delivery of the queue, or the end of an attempt.
type input struct {
	n       uint64
	id      wire.ID
	frame   []byte // nil for the end of an attempt
	ev      *event
	outcome outcome
	course  int  // of the attempt: see worker
	lost    bool // the attempt was broken off: what it came to is not known
}

func newHook(w Webhook, l Limits, opts *Options, p *poster, m *metrics) *hook {
	return &hook{
		of: w.Of, opts: opts, poster: p, metrics: m, to: w, limits: l,
		log:  opts.Logger.With("app", w.Of.App, "webhook", w.Of.Name),
		wake: make(chan struct{}, 1), testing: make(chan struct{}, mostTests),
	}
}

// set gives the hook other settings.
func (h *hook) set(w Webhook, l Limits) {
	h.mu.Lock()
	h.changed = h.changed || !reflect.DeepEqual(h.to, w)
	h.to, h.limits = w, l
	h.mu.Unlock()
	h.stir()
}

func (h *hook) put(in input) {
	h.mu.Lock()
	h.inbox = append(h.inbox, in)
	h.mu.Unlock()
	h.stir()
}

func (h *hook) stir() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *hook) settings() (Webhook, Limits) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.to, h.limits
}

// run works until ctx ends. Then it begins no more attempts, gives those on
// their way the grace of the options, and writes down what has ended.
func (h *hook) run(ctx context.Context) {
	session := h.open(ctx)
	if session == nil {
		return
	}
	defer session.Close()
	posting, breakOff := context.WithCancel(context.WithoutCancel(ctx))
	defer breakOff()
	w := newWorker(h, session)
	var running sync.WaitGroup
	running.Go(w.archivist.run)
	w.work(ctx, posting)
	grace := time.AfterFunc(h.opts.Grace, breakOff)
	w.drain()
	w.leave()
	grace.Stop()
	w.archivist.stop(h.opts.Grace)
	running.Wait()
}

// open opens the queue, however long that takes; it returns nil when ctx ends
// before.
func (h *hook) open(ctx context.Context) Session {
	for said := false; ; said = true {
		session, err := h.opts.Queue.Open(h.of, window, func(n uint64, id wire.ID, frame []byte) {
			h.put(input{n: n, id: id, frame: append(make([]byte, 0, len(frame)), frame...)})
		})
		if err == nil {
			return session
		}
		if !said {
			h.log.Error("the queue of a webhook does not open", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reopenAfter):
		}
	}
}

// worker is one run of a hook: what its one goroutine owns.
type worker struct {
	*hook
	machine   *machine
	session   Session
	archivist *archivist
	posts     map[*event]context.CancelFunc // attempts on their way; breaks one off
	aim       Webhook                       // where they go
	course    int                           // rises with each change of that
	seen      memory
	said      bool // that it fails
	saidGiven bool // that events are given up, since the last success
}

func newWorker(h *hook, session Session) *worker {
	to, l := h.settings()
	return &worker{
		hook: h, session: session, machine: newMachine(l.machine(), h.opts.Chance),
		archivist: newArchivist(h, session), posts: make(map[*event]context.CancelFunc), aim: to, seen: newMemory(remembered),
	}
}

// work handles what comes, and posts what is due.
func (w *worker) work(ctx, posting context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
		now := w.opts.Now()
		w.take(now, false)
		w.machine.turn(now)
		for _, e := range w.machine.take() {
			w.do(posting, now, e)
		}
		w.publish()
		if at, ok := w.machine.next(); ok {
			timer.Reset(at.Sub(w.opts.Now()))
		}
	}
}

// drain waits for the attempts on their way.
func (w *worker) drain() {
	for len(w.posts) > 0 {
		<-w.wake
		now := w.opts.Now()
		w.take(now, true)
		for _, e := range w.machine.take() {
			if e.kind != effPost { // what is not begun stays in the queue
				w.ended(now, e)
			}
		}
	}
	w.publish()
}

// take hands the inbox to the machine. While draining, deliveries stay in the
// queue.
func (w *worker) take(now time.Time, draining bool) {
	w.mu.Lock()
	inbox := w.inbox
	w.inbox = nil
	to, limits, changed := w.to, w.limits, w.changed
	w.changed = false
	w.mu.Unlock()
	if !draining && limits.machine() != w.machine.limits {
		w.machine.setLimits(now, limits.machine())
	}
	if !draining && changed {
		w.turnTo(to)
		w.machine.changed(now)
	}
	for _, in := range inbox {
		switch {
		case in.frame == nil:
			w.ceased(now, in)
		case !draining:
			w.arrived(now, in)
		}
	}
}

// arrived takes a delivery of the queue.
func (w *worker) arrived(now time.Time, in input) {
	if w.seen.has(in.id) {
		w.session.Prove(in.n)
		return
	}
	ev, err := readFrame(in.n, in.id, in.frame)
	if err != nil {
		w.log.Error("an event in a webhook's queue cannot be read and is given up", "err", err)
		ev.last = "the event could not be read"
		w.ended(now, effect{effGiven, ev})
		return
	}
	w.machine.arrive(now, ev)
}

// turnTo has attempts go to where the settings say now. Those on their way to
// where they said before are broken off: they may hang there for long.
func (w *worker) turnTo(to Webhook) {
	if !w.aim.goesTo(&to) {
		w.course++
		for _, breakOff := range w.posts {
			breakOff()
		}
	}
	w.aim = to
}

// ceased takes the end of an attempt. One that was broken off, or that failed
// where the webhook is not any more, was none.
func (w *worker) ceased(now time.Time, in input) {
	w.posts[in.ev]()
	delete(w.posts, in.ev)
	if in.lost || !in.outcome.ok && in.course != w.course {
		w.machine.withdrawn(now, in.ev)
		return
	}
	w.answered(now, in)
}

func (w *worker) answered(now time.Time, in input) {
	w.machine.answered(now, in.ev, in.outcome)
	w.mu.Lock()
	if in.outcome.ok {
		w.view.LastSuccess = now
	} else {
		w.view.LastFailure, w.view.LastReason = now, in.outcome.reason
	}
	w.mu.Unlock()
	if in.outcome.ok {
		w.saidGiven = false
	}
}

// do carries out an effect of the machine.
func (w *worker) do(posting context.Context, now time.Time, e effect) {
	if e.kind != effPost {
		w.ended(now, e)
		return
	}
	_, limits := w.settings()
	aim, course := w.aim, w.course
	posting, w.posts[e.ev] = context.WithCancel(posting)
	w.mu.Lock()
	w.view.Attempts++
	w.mu.Unlock()
	go func() { // drain waits for it
		o, result := w.poster.post(posting, attempt{aim, e.ev, limits.Timeout})
		lost := posting.Err() != nil && !o.ok
		if !lost {
			w.metrics.attempt(w.of, result)
		}
		w.put(input{ev: e.ev, outcome: o, course: course, lost: lost})
	}()
}

// ended has an event written into the history; then it is proved.
func (w *worker) ended(now time.Time, e effect) {
	w.seen.add(e.ev.queued)
	done := Ended{ID: e.ev.id, State: Delivered, At: now.UTC().Truncate(time.Millisecond), Attempts: e.ev.attempts, Status: e.ev.status, Body: e.ev.body}
	w.mu.Lock()
	if e.kind == effSent {
		w.view.Delivered++
	} else {
		w.view.Failed++
		done.State, done.Reason = Failed, e.ev.last
	}
	w.mu.Unlock()
	w.metrics.end(w.of, done.State)
	if e.kind == effGiven && !w.saidGiven {
		w.saidGiven = true
		w.log.Warn("events for a webhook are given up: their time has run out", "err", e.ev.last)
	}
	w.archivist.add(finished{e.ev.n, done})
}

// publish shows others how it goes, and the operator when that changes.
func (w *worker) publish() {
	failing := w.machine.failing()
	w.mu.Lock()
	w.view.Failing, w.view.Stuck = failing, w.machine.stuck
	reason := w.view.LastReason
	w.mu.Unlock()
	switch {
	case failing && !w.said:
		w.log.Warn("a webhook fails", "err", reason)
	case !failing && w.said:
		w.log.Info("a webhook works again")
	}
	w.said = failing
}

// leave notes that nothing is posted from here any more: whether the webhook still
// fails is known to who posts from now on.
func (w *worker) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.view.Failing, w.view.Stuck = false, 0
}

// memory knows the last of the IDs that were added.
type memory struct {
	known map[wire.ID]struct{}
	ring  []wire.ID
	next  int
}

func newMemory(size int) memory {
	return memory{known: make(map[wire.ID]struct{}), ring: make([]wire.ID, 0, size)}
}

func (m *memory) has(id wire.ID) bool {
	_, ok := m.known[id]
	return ok
}

func (m *memory) add(id wire.ID) {
	if len(m.ring) < cap(m.ring) {
		m.ring = append(m.ring, id)
	} else {
		delete(m.known, m.ring[m.next])
		m.ring[m.next] = id
		m.next = (m.next + 1) % len(m.ring)
	}
	m.known[id] = struct{}{}
}
