package relay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// Bounds of a lane.
const (
	laneQueue    = 512     // files that wait for their turn; the folder holds the others
	laneLeast    = 4       // likewise, when there are very many lanes
	allQueues    = 1 << 15 // in all lanes together, unless that were fewer than laneLeast
	maxLater     = 1024    // files that were refused by themselves
	patientTries = 3       // of a file that is refused for a moment, before that is logged
	mostDenied   = 3       // times in a row that a collector may not go on with a file where it said; then it is sent whole
	probesEach   = 600     // tries in the longest pause between two, with all that are down
)

// States of a target in a report.
const (
	stateUp   = "up"
	stateDown = "down"
	stateHeld = "held"
	stateLost = "lost"
	stateNone = "none"
)

// lane is the road to a collector of a cluster. The uploader's mu guards it.
type lane struct {
	cluster, id string
	slot        int    // in the ledger
	base        string // URL; empty for one that cannot be called
	address     string // host:port
	lost        bool   // the network server dropped it
	gone        bool   // it is no target any more
	ctx         context.Context
	cut         context.CancelFunc // ends what is on its way to it

	queue  []*item
	busy   map[fileID]*item // in the queue, or on their way
	later  map[fileID]*refused
	flying int
	most   int  // files in the queue
	missed bool // a pass met files for which there was no room
	wants  bool // this pass may have files that the last one passed over

	state  string
	reason string
	fails  int         // in a row
	timer  *time.Timer // runs while nothing is sent; nil otherwise
	tally  *tally
	waits  Waiting
}

// item is a file on a lane.
type item struct {
	id     fileID
	entry  spool.Entry
	again  bool // an earlier try broke off
	whole  bool // it is sent from its start, without asking what is held of it
	flying bool
	probe  bool // it shows whether the collector is back
	pass   int  // that met it last
}

// refused is a file that a collector did not take, or that could not be read.
type refused struct {
	reason string
	told   string // that was logged, without its numbers
	fails  int
	denied int // times in a row that the collector did not go on where it said
	again  bool
	until  time.Duration // since the start
}

// name is how a lane is told apart by people.
func (l *lane) name() string { return l.cluster + "/" + l.id }

// ready says whether a file can be sent now, when a lane may send so many at once.
func (l *lane) ready(most int) bool {
	if l.fails > 0 {
		most = 1 // to see whether it is back
	}
	return !l.gone && l.base != "" && l.timer == nil && len(l.queue) > 0 && l.flying < most
}

// low says whether a lane that passed files over should have more.
func (l *lane) low() bool { return len(l.queue) < l.most/2 }

// bound sets how many files may wait for their turn.
func (l *lane) bound(most int) {
	l.most = most
	for last := len(l.queue) - 1; last >= most; last-- {
		delete(l.busy, l.queue[last].id)
		l.queue[last] = nil
		l.queue, l.missed = l.queue[:last], true
	}
}

// hungry says whether a pass should rather go on for this lane than wait for
// another.
func (l *lane) hungry(hinted bool) bool {
	return l.fails == 0 && l.timer == nil && l.low() && (l.wants || hinted)
}

// offer hands a file to a lane that lacks it. It says false when the lane has no
// room.
func (l *lane) offer(id fileID, e spool.Entry, pass int, since time.Duration) bool {
	if it, known := l.busy[id]; known {
		it.pass = pass
		return true
	}
	r := l.later[id]
	if r != nil && r.until > since {
		return true
	}
	if len(l.queue) >= l.most {
		return false
	}
	it := &item{id: id, entry: e, pass: pass, again: r != nil && r.again, whole: r != nil && r.denied >= mostDenied}
	l.busy[id] = it
	l.queue = append(l.queue, it)
	return true
}

// take takes the next file off the queue.
func (l *lane) take() *item {
	it := l.queue[0]
	l.queue[0] = nil
	if l.queue = l.queue[1:]; len(l.queue) == 0 {
		l.queue = nil
	}
	l.flying++
	it.flying = true
	return it
}

// drop takes a file off the queue, if it waits there.
func (l *lane) drop(id fileID) {
	if it := l.busy[id]; it == nil || it.flying {
		return
	}
	l.queue = slices.DeleteFunc(l.queue, func(it *item) bool { return it.id == id })
	delete(l.busy, id)
}

// empty takes all files off the queue.
func (l *lane) empty() {
	for _, it := range l.queue {
		delete(l.busy, it.id)
	}
	l.queue, l.missed = nil, true
}

// putOff has a file wait by itself, and says whether that is news: the first time, and
// when the reason is another one. What is over soon, as most often when it is being
// stored, is news when it was not over for several times.
func (l *lane) putOff(it *item, out outcome, t uploadTuning, since time.Duration) (news bool) {
	r := l.later[it.id]
	if r == nil {
		for other := range l.later {
			if len(l.later) < maxLater {
				break
			}
			delete(l.later, other) // it is tried sooner
		}
		r = &refused{}
		l.later[it.id] = r
	}
	r.fails++
	if r.denied++; !out.denied {
		r.denied = 0
	}
	r.reason, r.again = out.reason, r.again || out.began
	r.until = since + t.pause(r.fails, 0)
	if out.began && r.fails < patientTries {
		return false
	}
	what := withoutNumbers(out.reason)
	news, r.told = r.told != what, what
	return news
}

// pause returns how long to wait after so many failures in a row, while so many
// collectors are down: what it costs to see whether they are back is bounded.
func (t uploadTuning) pause(fails, down int) time.Duration {
	d := max(t.backoffMost, t.backoffMost/probesEach*time.Duration(down))
	if fails < 16 {
		d = min(d, t.backoffLeast<<(fails-1))
	}
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

// said is the last that a collector said of a file that it lacks.
func (l *lane) said(id fileID) string {
	if r := l.later[id]; r != nil {
		return r.reason
	}
	if l.reason != "" {
		return l.reason
	}
	return "it was not its turn yet"
}

// tried says whether the collector had its chance to get a file.
func (l *lane) tried(id fileID) bool { return l.state != stateUp || l.later[id] != nil || l.lost }

// target is the lane in a report.
func (l *lane) target() Target {
	c := l.tally.count()
	t := Target{
		Cluster: l.cluster, ID: l.id, Address: l.address, State: l.state, Reason: cutText(l.reason),
		Waiting: l.waits, Files: c.files, Bytes: c.bytes, ByteRate: c.byteRate,
	}
	if l.lost && l.state != stateUp {
		t.State = stateLost
		t.Reason = "the network server lost it"
		if l.reason != "" {
			t.Reason = cutText(t.Reason + "; " + l.reason)
		}
	}
	return t
}

// addressOf returns where a member is, for people.
func addressOf(m Member) string {
	return net.JoinHostPort(plainHost(m.Address), strconv.Itoa(int(m.Port)))
}

// placeOf returns where a member is. Without an error it can be called there.
func placeOf(c *credentials, m Member) (base, address string, err error) {
	address = addressOf(m)
	if err := checkHost(plainHost(m.Address)); err != nil {
		return "", address, fmt.Errorf("address: %w", err)
	}
	base, err = c.base(address)
	return base, address, err
}
