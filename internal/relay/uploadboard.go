package relay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// follow keeps the lanes what the collectors are, until ctx ends.
func (u *uploader) follow(ctx context.Context) {
	u.mu.Lock()
	asks := u.plan.network != ""
	u.mu.Unlock()
	if asks {
		u.settle() // by what was known at the end of the last run
	}
	a := &asker{clock: u.clock}
	for ctx.Err() == nil {
		u.mu.Lock()
		p := u.plan
		u.mu.Unlock()
		if a.plan != p {
			a = &asker{clock: u.clock, plan: p}
		}
		var tick <-chan time.Time
		l := listing{clusters: p.settings.Static, settings: true}
		var err error
		if p.network != "" {
			l, err = a.ask(ctx)
			tick = time.After(p.settings.Network.Heartbeat)
		} else {
			tick = time.After(DefaultHeartbeat) // for those that are lost for too long
		}
		if ctx.Err() != nil {
			return
		}
		u.relearn(p, l, err)
		select {
		case <-ctx.Done():
		case <-tick:
		case <-u.relist:
		}
	}
}

// relearn takes over what is known of the collectors now.
func (u *uploader) relearn(p *plan, l listing, err error) {
	u.once("network", err, "the network server does not say which collectors there are; those that are known are sent to")
	u.mu.Lock()
	u.unlisted = err
	u.listed = u.listed || err == nil
	u.mu.Unlock()
	changed := false
	if err == nil {
		changed = u.members.learn(l, p.clusters, u.clock.now().Round(0))
	}
	if u.members.expire(u.clock.age, p.settings.KeepFor) {
		changed = true
	}
	if changed {
		u.once("members", u.members.save(), "which collectors there are cannot be written down: after a restart those that are lost are forgotten")
	}
	u.settle()
}

// settle makes the lanes what the members are. follow calls it.
func (u *uploader) settle() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.members.known) > 0 {
		u.listed = true
	}
	var lanes []*lane
	byName := map[string]map[string]*lane{}
	changed := false
	for cluster, list := range u.members.known {
		if !u.plan.clusters[cluster] {
			continue
		}
		byName[cluster] = map[string]*lane{}
		for id, m := range list {
			l := u.byName[cluster][id]
			base, address, err := placeOf(u.plan.creds, m.Member)
			if l == nil {
				l = u.newLane(cluster, id)
				changed = true
			}
			if err != nil {
				l.state, l.reason = stateDown, err.Error()
			}
			if l.base != base && l.base != "" {
				u.refresh(l) // what was wrong with the old place says nothing of the new one
			}
			l.base, l.address, l.lost = base, address, m.Lost != nil
			byName[cluster][id] = l
			lanes = append(lanes, l)
		}
	}
	for _, l := range u.lanes {
		if byName[l.cluster][l.id] != l {
			l.gone, changed = true, true
			u.rest(l)
			l.cut()
		}
	}
	slices.SortFunc(lanes, func(a, b *lane) int { return strings.Compare(a.name(), b.name()) })
	u.lanes, u.byName = lanes, byName
	if changed {
		wake(u.room)
		wake(u.again)
	}
	u.dispatch()
}

// newLane makes a lane. mu is held.
func (u *uploader) newLane(cluster, id string) *lane {
	// It outlives whoever calls, and is cut by land or when it is a target no more.
	ctx, cut := context.WithCancel(context.Background())
	return &lane{
		cluster: cluster, id: id, slot: u.ledger.slot(identifyLane(cluster, id)), ctx: ctx, cut: cut,
		busy: map[fileID]*item{}, later: map[fileID]*refused{}, missed: true, state: stateUp, tally: newTally(u.o.Now),
	}
}

// refresh has a lane try at once. mu is held.
func (u *uploader) refresh(l *lane) {
	u.rest(l)
	l.fails, l.state, l.reason = 0, stateUp, ""
}

// rest stops a lane's timer. mu is held.
func (u *uploader) rest(l *lane) {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// dispatch sends what can be sent. The connections are shared by the lanes that
// take files, so that one that hangs holds no more than its share. mu is held.
func (u *uploader) dispatch() {
	if u.stopping || len(u.lanes) == 0 {
		return
	}
	up := 0
	for _, l := range u.lanes {
		if l.fails == 0 {
			up++
		}
	}
	most := u.plan.settings.MaxConn
	share := max(1, (most-(len(u.lanes)-up))/max(up, 1))
	for idle := 0; idle < len(u.lanes) && u.flying < most; {
		u.turn = (u.turn + 1) % len(u.lanes)
		l := u.lanes[u.turn]
		if !l.ready(share) {
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
	if len(l.queue) < laneLow {
		wake(u.room)
		u.wantMore(l)
	}
	c, base, ctx, wary := u.plan.courier, l.base, l.ctx, l.fails > 0
	u.flights.Add(1)
	go func() {
		defer u.flights.Done()
		u.landed(l, it, u.fly(ctx, c, base, it, wary))
	}()
}

// wantMore asks for another pass if the last one passed files over. mu is held.
func (u *uploader) wantMore(l *lane) {
	if l.missed && len(l.queue) < laneLow && l.fails == 0 && u.counting == nil {
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
	return c.send(ctx, base, it.id, it.entry, f, it.again, wary)
}

// landed takes an outcome over. A file that all have goes.
func (u *uploader) landed(l *lane, it *item, out outcome) {
	u.mu.Lock()
	done, worse := false, false
	since := u.clock.since()
	switch out.fate {
	case fateDelivered:
		u.arrived(l, it)
		done = u.complete(l, it)
	case fateUnreadable, fateRefused:
		l.putOff(it, out, u.o.tuning, since)
		u.alive(l, out)
		worse = true
	case fateHeld, fateDown:
		worse = u.holdBack(l, it, out)
	case fateGone, fateCut:
		// A pass finds what it is now.
		l.missed = l.missed || out.fate == fateCut
	}
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
	if it.flying { // and was not queued again
		delete(l.busy, it.id)
	}
	u.wantMore(l)
	u.dispatch()
}

// alive notes that a collector answers. mu is held.
func (u *uploader) alive(l *lane, out outcome) {
	if out.fate == fateUnreadable || l.fails == 0 {
		return
	}
	u.o.Log.Info("a collector takes files again", "collector", l.name(), "address", l.address)
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

// complete says whether all that a file is owed to have it, with the one that has it
// now; if not, that is noted. mu is held.
func (u *uploader) complete(l *lane, it *item) bool {
	cluster, _ := u.plan.route(it.entry.Name)
	all := cluster == l.cluster && !l.gone
	if all {
		for _, other := range u.byName[cluster] {
			all = all && (other == l || u.ledger.has(it.id, other.slot))
		}
	}
	if !all {
		u.ledger.add(it.id, l.slot)
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
		it.again, it.flying = it.again || out.began, false
		l.queue = append(l.queue, it)
	}
	if l.timer != nil {
		return false // another of its files found out before
	}
	l.fails++
	wait := out.wait
	l.state, l.reason = stateHeld, out.reason
	if out.fate == fateDown {
		l.state = stateDown
		wait = u.o.tuning.pause(l.fails)
	}
	if l.fails == 1 {
		u.o.Log.Warn("a collector does not take files", "collector", l.name(), "address", l.address, "err", out.reason)
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
		u.once("remove", nil, "")
		return
	}
	// It is there still, and must not be sent again.
	u.mu.Lock()
	for _, l := range u.byName[cluster] {
		u.ledger.add(id, l.slot)
	}
	u.mu.Unlock()
	u.once("remove", err, "a file that all collectors have cannot be removed, and stays")
}

// giveUp moves a file to failed.
func (u *uploader) giveUp(id fileID, e spool.Entry, reason string) {
	err := u.box.Fail(e, reason)
	switch {
	case err == nil:
		u.ledger.gone(id)
		u.once("failed", nil, "")
		u.o.Log.Error("a file could not be delivered for too long and was moved to failed", "file", e.Name, "reason", reason)
		u.tally.fail(Failure{Name: e.Name, Reason: reason, Final: true})
	case !errors.Is(err, spool.ErrChanged):
		u.once("failed", err, "a file that could not be delivered for too long cannot be moved to failed, and stays")
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
