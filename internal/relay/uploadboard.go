package relay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// dispatch sends what can be sent. The connections are shared by the lanes that
// take files, so that one that hangs holds no more than its share; to see whether
// others are back there is half of them at most. mu is held.
func (u *uploader) dispatch() {
	if u.stopping || len(u.lanes) == 0 {
		return
	}
	up := len(u.lanes) - u.down
	most := u.plan.settings.MaxConn
	probes := most
	if up > 0 {
		probes = max(1, most/2)
	}
	share := max(1, (most-min(u.down, probes))/max(up, 1))
	for idle := 0; idle < len(u.lanes) && u.flying < most; {
		u.turn = (u.turn + 1) % len(u.lanes)
		l := u.lanes[u.turn]
		if !l.ready(share) || l.fails > 0 && u.probing >= probes {
			idle++
			continue
		}
		idle = 0
		u.launch(l)
	}
}

// launch sends the next file of a lane. mu is held.
func (u *uploader) launch(l *lane) {
	it := l.take()
	u.flying++
	if l.low() {
		wake(u.room)
		u.wantMore(l)
	}
	c, base, ctx, wary := u.plan.courier, l.base, l.ctx, l.fails > 0
	if it.probe = wary; wary {
		u.probing++
	}
	u.flights.Add(1)
	go func() {
		defer u.flights.Done()
		u.landed(l, it, base, u.fly(ctx, c, base, it, wary))
	}()
}

// wantMore asks for another pass if the last one passed files over. mu is held.
func (u *uploader) wantMore(l *lane) {
	if l.missed && l.low() && l.fails == 0 && u.counting == nil {
		wake(u.again)
	}
}

// fly sends a file.
func (u *uploader) fly(ctx context.Context, c *courier, base string, it *item, wary bool) outcome {
	f, err := u.box.Open(it.entry)
	switch {
	case errors.Is(err, spool.ErrChanged), errors.Is(err, fs.ErrNotExist), errors.Is(err, spool.ErrGone):
		return failed(fateGone, "it changed or was taken away")
	case err != nil:
		return failed(fateUnreadable, "cannot be opened: %s", err)
	}
	defer func() { _ = f.Close() }() // it was read only
	return c.send(ctx, base, it, f, wary)
}

// landed takes the outcome over of sending to a base URL. A file that all have goes.
func (u *uploader) landed(l *lane, it *item, base string, out outcome) {
	u.mu.Lock()
	done, worse, probe := false, false, it.probe
	if base != l.base && (out.fate == fateRefused || out.fate == fateHeld || out.fate == fateDown) {
		out = failed(fateCut, "it is elsewhere now") // what went wrong there says nothing of here
	}
	since := u.clock.since()
	switch out.fate {
	case fateDelivered:
		u.arrived(l, it)
		done = u.complete(l, it)
	case fateUnreadable, fateRefused:
		if l.putOff(it, out, u.o.tuning, since) {
			u.talk.say(noticeOf(out.fate), l.name(), "file", it.entry.Name, "address", l.address, "err", out.reason)
		}
		u.alive(l, out)
		worse = true
	case fateHeld, fateDown:
		worse = u.holdBack(l, it, out)
	case fateGone, fateCut:
		// A pass finds what it is now.
		l.missed = l.missed || out.fate == fateCut
	}
	queued := !it.flying // again
	u.mu.Unlock()
	if out.fate != fateDelivered {
		u.errs.WithLabelValues(out.fate.class()).Inc()
	}
	if worse {
		u.tally.fail(Failure{Name: it.entry.Name, Where: l.name(), Reason: out.reason})
	}
	if done {
		u.remove(l.cluster, it.id, it.entry)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	l.flying--
	u.flying--
	if probe {
		u.probing--
	}
	if !queued {
		delete(l.busy, it.id)
	}
	u.wantMore(l)
	u.dispatch()
}

// noticeOf is what is told of a file that waits alone.
func noticeOf(f fate) *notice {
	if f == fateUnreadable {
		return noticeUnread
	}
	return noticeRefused
}

// alive notes that a collector answers. mu is held.
func (u *uploader) alive(l *lane, out outcome) {
	if out.fate == fateUnreadable || l.fails == 0 {
		return
	}
	u.talk.say(noticeTakes, l.name(), "address", l.address)
	u.refresh(l)
}

// arrived counts a file that a collector has. mu is held.
func (u *uploader) arrived(l *lane, it *item) {
	u.alive(l, outcome{})
	delete(l.later, it.id)
	l.tally.done(it.entry.Size)
	u.tally.done(it.entry.Size)
	l.waits.less(it.entry.Size)
	if u.counting != nil && it.pass == u.passes {
		if w := u.counting.lanes[l]; w != nil {
			w.less(it.entry.Size)
		}
	}
}

// less is one file less.
func (w *Waiting) less(size int64) {
	w.Files, w.Bytes = max(w.Files-1, 0), max(w.Bytes-size, 0)
	if w.Files == 0 {
		w.Oldest = 0
	}
}

// complete says whether a file goes, since all that it is owed to have it, with the one
// that has it now; if not, that is noted. mu is held.
func (u *uploader) complete(l *lane, it *item) bool {
	cluster, _ := u.plan.route(it.entry.Name)
	all := cluster == l.cluster && !l.gone
	if all {
		for _, other := range u.byName[cluster] {
			all = all && (other == l || u.ledger.has(it.id, other.slot))
		}
	}
	if !all || u.holds() {
		if !l.gone || u.ledger.owned(identifyLane(l.cluster, l.id), l.slot) {
			u.ledger.add(it.id, l.slot)
		}
		return false
	}
	u.counts.all.less(it.entry.Size)
	if u.counting != nil && it.pass == u.passes {
		u.counting.all.less(it.entry.Size)
	}
	return true
}

// holdBack has a lane wait, and says whether that is news. The file goes to the end
// of the queue, so that one which a collector cannot bear does not keep it from the
// others. mu is held.
func (u *uploader) holdBack(l *lane, it *item, out outcome) (news bool) {
	if l.gone || u.stopping {
		return false
	}
	if cluster, _ := u.plan.route(it.entry.Name); cluster == l.cluster {
		it.again, it.whole, it.flying = it.again || out.began, false, false
		l.queue = append(l.queue, it)
	}
	if l.timer != nil {
		return false // another of its files found out before
	}
	if l.fails++; l.fails == 1 {
		u.down++
	}
	wait := out.wait
	l.state, l.reason = stateHeld, out.reason
	if out.fate == fateDown {
		l.state = stateDown
		wait = u.o.tuning.pause(l.fails, u.down)
	}
	if l.fails == 1 {
		u.talk.say(noticeRefuses, l.name(), "address", l.address, "err", out.reason)
	}
	l.timer = time.AfterFunc(wait, func() { u.retry(l) })
	wake(u.room) // nobody waits for this one
	return l.fails == 1
}

// retry has a lane try again.
func (u *uploader) retry(l *lane) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if l.timer == nil || l.gone {
		return
	}
	l.timer = nil
	if len(l.queue) == 0 && l.missed {
		wake(u.again)
	}
	u.dispatch()
}

// remove takes a file away that all have.
func (u *uploader) remove(cluster string, id fileID, e spool.Entry) {
	err := u.box.Remove(e)
	if err == nil || errors.Is(err, spool.ErrChanged) {
		u.ledger.gone(id)
		u.once(troubleRemove, nil)
		return
	}
	// It is there still, and must not be sent again.
	u.mu.Lock()
	for _, l := range u.byName[cluster] {
		u.ledger.add(id, l.slot)
	}
	u.mu.Unlock()
	u.once(troubleRemove, err)
}

// giveUp moves a file to failed.
func (u *uploader) giveUp(id fileID, e spool.Entry, reason string) {
	err := u.box.Fail(e, reason)
	switch {
	case err == nil:
		u.ledger.gone(id)
		u.once(troubleFailed, nil)
		u.o.Log.Error("a file could not be delivered for too long and was moved to failed", "file", e.Name, "reason", reason)
		u.tally.fail(Failure{Name: e.Name, Reason: reason, Final: true})
	case !errors.Is(err, spool.ErrChanged):
		u.once(troubleFailed, err)
	}
}

// lacking says who lacks a file, and what each of them said. mu is held.
func (u *uploader) lacking(cluster string, id fileID, most time.Duration) string {
	var parts []string
	for _, l := range u.lanes {
		if l.cluster == cluster && !u.ledger.has(id, l.slot) {
			parts = append(parts, fmt.Sprintf("%s (%s): %s", l.name(), l.address, l.said(id)))
		}
	}
	return fmt.Sprintf("not delivered within %s to %s", most, strings.Join(parts, "; "))
}

// land waits for what is on its way, and cuts off what takes too long.
func (u *uploader) land() {
	u.mu.Lock()
	u.stopping = true
	for _, l := range u.lanes {
		u.rest(l)
	}
	u.mu.Unlock()
	late := time.AfterFunc(u.o.tuning.stop, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, l := range u.lanes {
			l.cut()
		}
	})
	u.flights.Wait()
	late.Stop()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range u.lanes {
		l.cut()
	}
}
