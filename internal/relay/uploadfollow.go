package relay

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// eagerFor is how long after the start it is asked more often than each heartbeat which
// collectors there are: those that are started together with the uploader join then.
const eagerFor = time.Minute

// mostWarned is of how many collectors that cannot be used it is remembered that this
// was told.
const mostWarned = 100

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
		p, doubted := u.plan, u.doubted
		u.mu.Unlock()
		if a.plan != p {
			a = &asker{clock: u.clock, plan: p}
		}
		l := listing{clusters: p.settings.Static, settings: true}
		var err error
		if p.network != "" {
			l, err = a.ask(ctx)
		} else {
			err = l.narrow(p.clusters)
		}
		if ctx.Err() != nil {
			return
		}
		u.relearn(p, l, err)
		if doubted {
			u.assure()
		}
		select {
		case <-ctx.Done():
		case <-time.After(u.beat(p)):
		case <-u.relist:
		}
	}
}

// beat says when to ask again.
func (u *uploader) beat(p *plan) time.Duration {
	switch {
	case p.network == "":
		return DefaultHeartbeat // for those that are lost for too long
	case u.clock.since() < eagerFor || len(u.missed) > 0:
		return min(p.settings.Network.Heartbeat, u.o.tuning.eager)
	}
	return p.settings.Network.Heartbeat
}

// holds says whether a file that all have has to stay for now: before the first one
// after a start goes, it is asked once more for whom there is. Collectors that joined
// since the last time get the file then. mu is held.
func (u *uploader) holds() bool {
	if u.sure || u.plan.network == "" {
		return false
	}
	if !u.doubted {
		u.doubted = true
		wake(u.relist)
	}
	return true
}

// assure has files go. That it was asked is enough: without an answer those that are
// known are all that there are.
func (u *uploader) assure() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.sure {
		u.sure = true
		wake(u.again) // for those that were held
	}
}

// relearn takes over what is known of the collectors now.
func (u *uploader) relearn(p *plan, l listing, err error) {
	u.once(troubleNetwork, err)
	u.mu.Lock()
	u.unlisted = err
	u.listed = u.listed || err == nil
	u.mu.Unlock()
	changed := false
	if err == nil {
		var told []event
		changed, told = u.members.learn(l, p.clusters, p.settings.KeepFor, u.clock.now().Round(0))
		u.talk.tell(told, p.settings.KeepFor)
		u.warn(l.unusable)
	}
	over, told := u.members.expire(u.clock.age, p.settings.KeepFor)
	u.talk.tell(told, p.settings.KeepFor)
	if changed || over {
		u.once(troubleMembers, u.members.save())
	}
	u.settle()
	if err == nil {
		u.miss(p)
	}
	u.talk.flush(false)
}

// missing is a cluster that has no collector.
type missing struct {
	from time.Duration // since the start
	told bool
}

// miss warns of clusters that have no collector, of each once: not before they had none
// for a heartbeat, since collectors may just be starting.
func (u *uploader) miss(p *plan) {
	next := map[string]missing{}
	since := u.clock.since()
	for cluster := range p.clusters {
		u.mu.Lock()
		there := len(u.byName[cluster]) > 0
		u.mu.Unlock()
		if there {
			continue
		}
		m, known := u.missed[cluster]
		if !known {
			m.from = since
		}
		if !m.told && known && since-m.from >= p.settings.Network.Heartbeat {
			m.told = true
			u.o.Log.Warn("a cluster has no collector: its files wait until one joins. Is that the name of the cluster?", "cluster", cluster, "setting", p.keyOf(cluster))
		}
		next[cluster] = m
	}
	u.missed = next
}

// warn tells of collectors that cannot be used, of each once.
func (u *uploader) warn(all []unusable) {
	u.unusable.Set(float64(len(all)))
	slices.SortFunc(all, func(a, b unusable) int {
		return cmp.Or(strings.Compare(a.cluster, b.cluster), strings.Compare(a.id, b.id))
	})
	next := map[unusable]bool{}
	for _, one := range all[:min(len(all), mostWarned)] {
		if next[one] = true; !u.warned[one] {
			u.talk.say(noticeUnusable, cutText(one.cluster+"/"+one.id), "err", one.reason)
		}
	}
	u.warned = next
}

// settle makes the lanes what the members are. follow calls it.
func (u *uploader) settle() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.members.known) > 0 {
		u.listed = true
	}
	u.freeSlots()
	var lanes []*lane
	byName := map[string]map[string]*lane{}
	changed := false
	for cluster, list := range u.members.known {
		if !u.plan.clusters[cluster] {
			continue
		}
		byName[cluster] = map[string]*lane{}
		for id, m := range list {
			if m.Over {
				continue
			}
			l := u.byName[cluster][id]
			if l == nil {
				l = u.newLane(cluster, id, m.Lost != nil)
				changed = true
			}
			changed = u.place(l, m) || changed
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
	u.lanes, u.byName, u.down = lanes, byName, 0
	depth := min(max(allQueues/max(len(lanes), 1), laneLeast), laneQueue)
	for _, l := range lanes {
		l.bound(depth)
		if l.fails > 0 {
			u.down++
		}
	}
	if changed {
		wake(u.room)
		wake(u.again)
	}
	u.dispatch()
}

// freeSlots bounds what collectors that are known no more take of the ledger.
func (u *uploader) freeSlots() {
	n := 0
	for _, list := range u.members.known {
		n += len(list)
	}
	if !u.ledger.crowded(n) {
		return
	}
	known := make(map[laneID]bool, n)
	for cluster, list := range u.members.known {
		for id := range list {
			known[identifyLane(cluster, id)] = true
		}
	}
	u.ledger.free(known)
}

// place has a lane lead to where its member is, and says whether it may take files
// that it did not take before. mu is held.
func (u *uploader) place(l *lane, m knownMember) (changed bool) {
	base, address, err := placeOf(u.plan.creds, m.Member)
	moved := l.address != "" && (l.base != base || l.address != address)
	if moved || l.lost && m.Lost == nil {
		// What was wrong with the old place, or before it was lost, says nothing of now.
		u.refresh(l)
		clear(l.later)
		changed = true
	}
	l.base, l.address, l.lost = base, address, m.Lost != nil
	if err != nil {
		l.state, l.reason, l.fails = stateDown, err.Error(), 1
	}
	return changed
}

// newLane makes a lane. Of one that is lost already nobody expects that it takes files.
// mu is held.
func (u *uploader) newLane(cluster, id string, lost bool) *lane {
	// It outlives whoever calls, and is cut by land or when it is a target no more.
	ctx, cut := context.WithCancel(context.Background())
	l := &lane{
		cluster: cluster, id: id, slot: u.ledger.slot(identifyLane(cluster, id)), ctx: ctx, cut: cut,
		busy: map[fileID]*item{}, later: map[fileID]*refused{}, missed: true, state: stateUp, tally: newTally(u.o.Now),
	}
	if l.lost = lost; lost {
		l.state, l.fails = stateDown, 1
	}
	return l
}

// refresh has a lane try at once. mu is held.
func (u *uploader) refresh(l *lane) {
	u.rest(l)
	if l.fails > 0 && !l.gone {
		u.down--
	}
	l.fails, l.state, l.reason = 0, stateUp, ""
}

// rest stops a lane's timer. mu is held.
func (u *uploader) rest(l *lane) {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}
