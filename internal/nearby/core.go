package nearby

import (
	"fmt"
	"math"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// core is the keeper of a shard's positions: a state machine, whose methods are events
// and take the time as an argument. Only those that say so may run at once.
type core struct {
	shard   int
	limits  Limits
	crowds  map[string]*crowd
	known   int    // users in all crowds
	latest  uint64 // the greatest term in the log
	expires int64  // when tick has something to do, in milliseconds; MaxInt64: never
	journal journal
	nodes   map[string]*listener
	stirred []*want // of which news has to think
	scratch []byte
	counts  counts
}

// counts are for those who count.
type counts struct {
	taken, older, refused, hides, expired uint64
}

func newCore(shard int, limits Limits) *core {
	return &core{shard: shard, limits: limits.orDefaults(), expires: math.MaxInt64, crowds: make(map[string]*crowd), nodes: make(map[string]*listener)}
}

func (c *core) crowd(app string) *crowd {
	w := c.crowds[app]
	if w == nil {
		w = newCrowd(app, c.limits.TTL)
		c.crowds[app] = w
	}
	return w
}

// leave forgets a crowd of which there is nothing left.
func (c *core) leave(w *crowd) {
	if w.slots.len() == 0 && len(w.wants) == 0 && len(w.unsaved) == 0 && len(w.hidden) == 0 {
		delete(c.crowds, w.app)
	}
}

// put takes in where a user is. The error is a *Refusal. It is nil also when something
// newer is known.
func (c *core) put(now time.Time, app, user string, p Position) error {
	number, ok := numberOf(app, user)
	if !ok {
		c.counts.refused++
		return &Refusal{Code: wire.CodeBadUserID, Reason: "is no user of app " + app}
	}
	at := p.At
	if at.IsZero() {
		at = now
	}
	w, ms := c.crowd(app), now.UnixMilli()
	slot := w.slots.of(w, number)
	r := c.admit(w, slot, ms)
	if r == nil {
		r = p.check(&c.limits, at, now)
	}
	if r != nil {
		c.counts.refused++
		c.leave(w)
		return r
	}
	f := p.fact(at)
	if slot == 0 {
		slot = c.welcome(w, number, ms)
	} else if e := w.at(slot); w.state(slot).hides && f.at <= e.at {
		c.counts.refused++
		return refuseField("at", "is before the moment at which the position was hidden")
	} else if f.at < e.at {
		c.counts.older++
		return nil
	}
	f.blur(c.limits.Precision)
	c.counts.taken++
	c.place(w, slot, f, ms)
	w.save(slot)
	c.journal.pending(now)
	return nil
}

// admit says whether a user may say something now.
func (c *core) admit(w *crowd, slot uint32, now int64) *Refusal {
	switch {
	case slot != 0 && !w.state(slot).paced(now, c.limits.Rate):
		return &Refusal{Code: wire.CodeTooMany, Reason: fmt.Sprintf("a user may say %d times a second where he is", c.limits.Rate)}
	case slot == 0 && c.known >= c.limits.Positions:
		return &Refusal{Code: wire.CodeBusy, Reason: "the server knows as many positions as it may; try again later"}
	}
	return nil
}

// welcome returns a slot for a user of whom nothing is known, and who says something.
func (c *core) welcome(w *crowd, number, now int64) (slot uint32) {
	slot = w.add(number)
	c.known++
	w.state(slot).paced(now, c.limits.Rate)
	return slot
}

// place has a user be somewhere, from now on.
func (c *core) place(w *crowd, slot uint32, f fact, now int64) {
	e := w.at(slot)
	was, visible := e.fact, w.tree.Has(slot)
	e.fact, w.state(slot).hides = f, false
	c.heard(w, slot, e, now)
	w.tree.Put(slot, f.lat, f.lon)
	if len(w.wants) > 0 {
		c.moved(w, e.user, &was, visible, &f)
	}
}

// vanish has a user be nowhere.
func (c *core) vanish(w *crowd, slot uint32) {
	if !w.tree.Has(slot) {
		return
	}
	e := w.at(slot)
	w.tree.Remove(slot)
	if len(w.wants) > 0 {
		c.moved(w, e.user, &e.fact, true, nil)
	}
}

// hide forgets where a user is, also when nothing is known: no position from before
// counts, whenever it comes. That is over once it is stored, which the caller waits for
// if it says so: see mark. The error is a *Refusal.
func (c *core) hide(now time.Time, app, user string) (wait bool, err error) {
	number, ok := numberOf(app, user)
	if !ok {
		return false, &Refusal{Code: wire.CodeBadUserID, Reason: "is no user of app " + app}
	}
	w, ms := c.crowd(app), now.UnixMilli()
	slot := w.slots.of(w, number)
	if r := c.admit(w, slot, ms); r != nil {
		c.counts.refused++
		c.leave(w)
		return false, r
	}
	if slot == 0 {
		slot = c.welcome(w, number, ms)
	}
	e, s := w.at(slot), w.state(slot)
	if s.hides && ms <= e.at {
		return s.unsaid || c.journal.away != nil, nil
	}
	waits := s.hides && s.unsaid // it is among those that are stored first already
	if !s.hides {
		c.counts.hides++
	}
	c.vanish(w, slot)
	e.fact, s.hides = fact{at: max(ms, e.at)}, true
	c.heard(w, slot, e, ms)
	if !waits {
		w.save(slot)
	}
	c.journal.urgent()
	return true, nil
}

// get returns where a user is, as others see it. It changes nothing: several may run
// at once.
func (c *core) get(app, user string) (Position, bool) {
	number, ok := numberOf(app, user)
	w := c.crowds[app]
	if !ok || w == nil {
		return Position{}, false
	}
	slot := w.slots.of(w, number)
	if slot == 0 || w.state(slot).hides {
		return Position{}, false
	}
	return w.at(slot).position(), true
}

// near adds who is in view to an answer, up to limit of them. It changes nothing:
// several may run at once.
func (c *core) near(app string, v View, limit int, out *Answer) {
	if w := c.crowds[app]; w != nil {
		w.near(&v, limit, out)
	}
}

// heard notes that there is news of a user.
func (c *core) heard(w *crowd, slot uint32, e *entry, now int64) {
	w.heard(slot, e, now)
	c.expires = min(c.expires, now+c.limits.TTL.Milliseconds())
}

// tick forgets users of whom there was no news for too long.
func (c *core) tick(now time.Time) {
	ms := now.UnixMilli()
	if ms < c.expires {
		return
	}
	c.expires = math.MaxInt64
	for _, w := range c.crowds {
		for slot := w.dues.take(w, ms); slot != 0; slot = w.dues.take(w, ms) {
			c.vanish(w, slot)
			w.remove(slot)
			c.known--
			c.counts.expired++
		}
		if at, ok := w.dues.next(w); ok {
			c.expires = min(c.expires, at)
		}
		c.leave(w)
	}
}

// due returns when batch or tick has something to do.
func (c *core) due() (at time.Time, ok bool) {
	at, ok = c.journal.due()
	if expires := time.UnixMilli(c.expires); c.expires < math.MaxInt64 && (!ok || expires.Before(at)) {
		return expires, true
	}
	return at, ok
}
