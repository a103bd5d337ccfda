package relay

import (
	"context"
	"errors"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// A pass may take this much of the time: half when somebody can use what it finds, a
// tenth otherwise. While another lane might starve, it waits for a full one for half
// of the time, too, but for a moment always.
const (
	busyPause  = 1
	calmPause  = 10
	fullMoment = 500 * time.Millisecond
	fullLook   = 100 * time.Millisecond
	idleLook   = 10 * time.Millisecond
)

// counts are what a pass met.
type counts struct {
	all     Waiting
	lanes   map[*lane]*Waiting
	left    map[string]int64
	nobody  map[string]*Waiting // by cluster: files of those that have no collector
	began   time.Time
	blocked time.Duration // waiting for room
}

// walk goes through the folder again and again until ctx ends: when something may
// be new, when a lane wants more, and on schedule.
func (u *uploader) walk(ctx context.Context, hints <-chan struct{}) {
	u.o.tuning.digests.toldTo(u.ledger) // before anything is sent: that is found here
	for fails := 0; ; {
		began := time.Now()
		u.pass(ctx, hints)
		if ctx.Err() != nil {
			return
		}
		u.mu.Lock()
		worked := max(time.Since(began)-u.counts.blocked, 0)
		next := u.plan.every.next(u.o.Now()).Sub(u.o.Now())
		if fails++; u.trouble == nil {
			fails = 0
		}
		u.mu.Unlock()
		if fails > 0 { // nobody tells when the folder can be read again
			next = min(next, u.o.tuning.pause(fails, 0))
		}
		// First a pause that cannot be cut short, but by another plan.
		pause := max(u.o.tuning.passGap, busyPause*worked)
		if !pauseFor(ctx, pause) {
			return
		}
		hints = u.await(ctx, hints, next-pause, calmPause*worked-pause)
		if ctx.Err() != nil {
			return
		}
	}
}

// await waits until there is a reason for a pass. What may be new is none while every
// lane has enough to do, or takes nothing, before calm is over: most hints are of what
// was removed.
func (u *uploader) await(ctx context.Context, hints <-chan struct{}, next, calm time.Duration) <-chan struct{} {
	rest := time.NewTimer(calm)
	defer rest.Stop()
	timer := time.NewTimer(max(next, calm))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return hints
	case <-timer.C:
		return hints
	case <-u.again:
		return hints // there are lanes that want more, or other settings
	case _, open := <-hints:
		if !open {
			hints = nil
		}
	}
	look := time.NewTicker(idleLook)
	defer look.Stop()
	for !u.anyIdle() {
		select {
		case <-ctx.Done():
			return hints
		case <-rest.C:
			return hints
		case <-u.again:
			return hints
		case <-look.C:
		}
	}
	return hints
}

// pauseFor waits, and says whether ctx is alive.
func pauseFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return ctx.Err() == nil
}

// anyIdle says whether a lane would take a file at once.
func (u *uploader) anyIdle() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range u.lanes {
		if l.fails == 0 && l.timer == nil && len(l.queue) == 0 {
			return true
		}
	}
	return false
}

// pass goes through the folder once.
func (u *uploader) pass(ctx context.Context, hints <-chan struct{}) {
	passing, end := context.WithCancel(ctx)
	defer end()
	c := &counts{began: time.Now(), lanes: map[*lane]*Waiting{}, left: map[string]int64{}, nobody: map[string]*Waiting{}}
	u.mu.Lock()
	u.passes++
	u.passing, u.counting, u.hinted = end, c, false
	p := u.plan
	for _, l := range u.lanes {
		l.wants, l.missed = l.missed, false
		c.lanes[l] = &Waiting{}
	}
	u.mu.Unlock()
	err := u.box.Scan(passing, func(e spool.Entry) error {
		cluster, left := p.route(e.Name)
		if left != "" {
			c.left[left]++
			return nil
		}
		return u.meet(passing, p, cluster, e, hints)
	})
	u.mu.Lock()
	u.passing, u.counting = nil, nil
	u.counts.blocked = c.blocked
	if err == nil {
		u.counts = *c
		for l, w := range c.lanes {
			l.waits = *w
		}
	} else {
		for _, l := range u.lanes {
			l.missed = true
		}
	}
	if passing.Err() == nil {
		u.trouble = err
	}
	for _, l := range u.lanes {
		u.wantMore(l)
	}
	u.mu.Unlock()
	if passing.Err() != nil {
		return
	}
	u.once(troubleScan, err)
	if err == nil && u.ledger.size() > 0 {
		u.ledger.sweep()
	}
}

// verdict is what is to be done with a file beside handing it to lanes.
type verdict int

const (
	verdictNone   verdict = iota
	verdictWait           // for room in a lane
	verdictRemove         // all have it
	verdictFail           // it waited for too long
)

// meet deals with a file that a pass met.
func (u *uploader) meet(ctx context.Context, p *plan, cluster string, e spool.Entry, hints <-chan struct{}) error {
	id := identify(cluster, e)
	if u.ledger.doubts(id) {
		u.recognise(ctx, p, id, e)
	}
	for first := true; ; first = false {
		what, reason := u.judge(p, cluster, id, e, first)
		switch what {
		case verdictRemove:
			u.remove(cluster, id, e)
			return nil
		case verdictFail:
			u.giveUp(id, e, reason)
			return nil
		case verdictNone:
			return nil
		}
		began := time.Now()
		look := time.NewTimer(fullLook)
		select {
		case <-ctx.Done():
			look.Stop()
			return ctx.Err()
		case <-u.room:
		case <-look.C:
		case _, open := <-hints:
			if !open {
				hints = nil
			}
			u.mu.Lock()
			u.hinted = true
			u.mu.Unlock()
			wake(u.again) // what is new may have a name that this pass is past
		}
		look.Stop()
		u.mu.Lock()
		if u.counting != nil {
			u.counting.blocked += time.Since(began)
		}
		u.mu.Unlock()
	}
}

// recognise finds out by its key who has a file of which something changed: most often
// its mode or its names. What cannot be read now is looked at by the next pass,
// and sent meanwhile.
func (u *uploader) recognise(ctx context.Context, p *plan, id fileID, e spool.Entry) {
	f, err := u.box.Open(e)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }() // it was read only
	if key, known := p.courier.keyNow(ctx, id, e, f); known {
		u.ledger.carry(id, key)
	}
}

// judge hands a file to the lanes that lack it.
func (u *uploader) judge(p *plan, cluster string, id fileID, e spool.Entry, first bool) (verdict, string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.counting
	if u.plan != p {
		return verdictNone, "" // this pass ends
	}
	since, age := u.clock.since(), u.clock.age(e.Changed)
	owed := u.byName[cluster]
	if first {
		c.all.more(e.Size, age)
		u.ledger.saw(id)
		if len(owed) == 0 {
			w := c.nobody[cluster]
			if w == nil {
				w = &Waiting{}
				c.nobody[cluster] = w
			}
			w.more(e.Size, age)
		}
	}
	if len(owed) == 0 {
		return verdictNone, ""
	}
	var lack []*lane
	hopeless := age > p.settings.KeepFor
	for _, l := range owed {
		if u.ledger.has(id, l.slot) {
			continue
		}
		lack = append(lack, l)
		it := l.busy[id]
		hopeless = hopeless && l.tried(id) && (it == nil || !it.flying)
		if w := c.lanes[l]; first && w != nil {
			w.more(e.Size, age)
		}
	}
	switch {
	case len(lack) == 0 && u.holds():
		return verdictNone, ""
	case len(lack) == 0:
		c.all.less(e.Size)
		return verdictRemove, ""
	case hopeless:
		c.all.less(e.Size)
		for _, l := range lack {
			l.drop(id) // else its turn would come when it is in failed
		}
		return verdictFail, u.lacking(cluster, id, p.settings.KeepFor)
	}
	wait := false
	for _, l := range lack {
		if !l.offer(id, e, u.passes, since) {
			wait = wait || u.worthWaiting(l)
			l.missed = l.missed || !wait
		}
	}
	u.dispatch()
	if wait {
		return verdictWait, ""
	}
	return verdictNone, ""
}

// more is one file more.
func (w *Waiting) more(size int64, age time.Duration) {
	w.Files++
	w.Bytes += size
	w.Oldest = max(w.Oldest, int64(age/time.Second))
}

// worthWaiting says whether a pass should wait for room in a lane: it gets on, and
// no other one starves for long. mu is held.
func (u *uploader) worthWaiting(full *lane) bool {
	if full.fails > 0 || full.timer != nil || full.flying == 0 {
		return false
	}
	c := u.counting
	if c.blocked <= fullMoment+time.Since(c.began)/2 {
		return true
	}
	for _, l := range u.lanes {
		if l != full && l.hungry(u.hinted) {
			return false
		}
	}
	return true
}

// ready says why the uploader does not do what it is for.
func (u *uploader) ready() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.trouble != nil:
		return u.trouble
	case !u.listed && u.unlisted != nil:
		return u.unlisted
	case !u.listed:
		return errors.New("the network server was not asked yet")
	case u.saving != nil:
		return u.saving
	}
	return nil
}
