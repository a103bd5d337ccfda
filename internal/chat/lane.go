package chat

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// laneNews is how many news may wait for one lane. What is past it is dropped, and
	// counted; the lane then reads what its rooms lack.
	laneNews = 16 << 10
	// fillBytes is how much of a long gap is read: news of long ago are none.
	fillBytes = 256 << 10
)

// lane hands over the news of some of the rooms, in order. What is below mu is for all;
// the rest is its goroutine's own.
type lane struct {
	c        *Chat
	rooms    map[wire.ID]*liveRoom
	byN      map[int64]*liveRoom
	gaps     map[*liveRoom]struct{} // those that lack something
	unsure   map[*doubt]struct{}
	asking   bool          // a reading of some of them is under way
	askAgain time.Duration // there is none before
	wrote    []*liveRoom   // those whose sessions have something queued

	wake  chan struct{} // holds one token when there may be something to do
	fills sync.WaitGroup

	mu     sync.Mutex
	events []event
	news   int  // of them news
	lost   bool // some were dropped
}

// event is news, or something to be done.
type event struct {
	news *news
	do   func()
}

// liveRoom is a room of which there are sessions of members here.
type liveRoom struct {
	id       wire.ID
	n        int64
	feed     feed
	edits    edits
	ahead    ahead
	sessions []*attached
	at       map[*attached]int // where in sessions
	doubts   map[wire.UserID]*doubt
	wrote    bool
}

func (r *liveRoom) has(a *attached) bool {
	_, in := r.at[a]
	return in
}

func newLane(c *Chat) *lane {
	return &lane{
		c: c, rooms: make(map[wire.ID]*liveRoom), byN: make(map[int64]*liveRoom),
		gaps: make(map[*liveRoom]struct{}), unsure: make(map[*doubt]struct{}), wake: make(chan struct{}, 1),
	}
}

// tell gives the lane news.
func (l *lane) tell(n *news) {
	l.mu.Lock()
	if l.news >= laneNews && n.kind < newsJoined { // of who is in a room nothing is dropped
		l.lost = true
		l.mu.Unlock()
		l.c.metrics.overrun.Inc()
		return
	}
	l.news++
	l.events = append(l.events, event{news: n})
	l.mu.Unlock()
	l.rouse()
}

// do has the lane's goroutine do something. As many wait as there are sessions that come
// or go.
func (l *lane) do(f func()) {
	l.mu.Lock()
	l.events = append(l.events, event{do: f})
	l.mu.Unlock()
	l.rouse()
}

func (l *lane) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lane) run(ctx context.Context) {
	defer l.fills.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var events []event
	for {
		if len(l.gaps) > 0 || len(l.unsure) > 0 {
			timer.Reset(gapPatience / 2)
		}
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
		l.mu.Lock()
		events, l.events = l.events, events[:0]
		lost := l.lost
		l.news, l.lost = 0, false
		l.mu.Unlock()
		for _, e := range events {
			if e.news != nil {
				l.take(e.news)
			} else {
				e.do()
			}
		}
		clear(events)
		if lost {
			l.c.peekSoon()
		}
		l.ask(ctx)
		l.fill(ctx)
		l.write()
	}
}

// take deals with news.
func (l *lane) take(n *news) {
	switch n.kind {
	case newsJoined:
		l.joined(n)
	case newsOwn:
		l.own(n)
		return
	}
	r := l.rooms[n.room]
	switch {
	case n.kind == newsLeft:
		l.left(r, n)
		return
	case r == nil:
		return
	case n.kind == newsMessage:
		l.handAll(r, r.feed.take(n, l.c.mono()))
		return
	case n.kind == newsChange:
		now := l.c.mono()
		l.change(r, r.edits.take(n, now), now)
		return
	}
	l.hand(r, n)
	if n.kind == newsClosed {
		for _, a := range slices.Clone(r.sessions) {
			a.gen.Add(1)
			a.s.Write() // nobody does who is in the room
			l.takeOut(r, a)
		}
		l.forget(r)
	}
}

// change hands over changes that are in order, each when its message was told.
func (l *lane) change(r *liveRoom, list []*news, now time.Duration) {
	var ready []*news
	for _, n := range list {
		ready = append(ready, r.feed.take(n, now)...)
	}
	l.handAll(r, ready)
}

func (l *lane) handAll(r *liveRoom, list []*news) {
	for _, n := range list {
		if r.ahead.follows(n) {
			l.hand(r, n)
		}
	}
	l.lacks(r)
}

// lacks notes whether something of a room is missing.
func (l *lane) lacks(r *liveRoom) {
	if len(r.ahead) > 0 {
		r.edits.saw(r.ahead.settle(r.edits.told), l.c.mono())
	}
	if r.feed.open() || r.edits.open() {
		l.gaps[r] = struct{}{}
	} else {
		delete(l.gaps, r)
	}
}

// hand queues a frame on the sessions in a room.
func (l *lane) hand(r *liveRoom, n *news) {
	told, dropped := 0, 0
	for _, a := range r.sessions {
		if a.s.ID() == n.origin {
			continue
		}
		if a.s.Queue(n.frame, nil) {
			told++
		} else {
			dropped++
		}
	}
	for _, d := range r.doubts {
		d.keep(n)
	}
	l.c.metrics.told.Add(float64(told))
	l.c.metrics.dropped.Add(float64(dropped))
	if !r.wrote {
		r.wrote = true
		l.wrote = append(l.wrote, r)
	}
}

// own hands a frame to the sessions of one user.
func (l *lane) own(n *news) {
	r := l.rooms[n.room]
	var d *doubt
	if r != nil {
		d = r.doubts[n.user]
	}
	if d != nil {
		d.keep(n)
	}
	for _, a := range l.c.local.of(n.user) {
		if d != nil && !r.has(a) {
			continue // it is told when it is in the room
		}
		if a.s.ID() != n.origin && a.s.Queue(n.frame, nil) {
			l.c.metrics.told.Inc()
			a.s.Write()
		}
	}
}

// write has what was queued written, all of what one turn has brought at once.
func (l *lane) write() {
	for i, r := range l.wrote {
		for _, a := range r.sessions {
			a.s.Write()
		}
		r.wrote = false
		l.wrote[i] = nil
	}
	l.wrote = l.wrote[:0]
}

// open returns the room of a number, which begins where it has come to, if it is not
// there. fresh: it was not. forget follows once its sessions are in it.
func (l *lane) open(room *Room) (r *liveRoom, fresh bool) {
	if r = l.rooms[room.ID]; r != nil {
		return r, false
	}
	r = &liveRoom{id: room.ID, n: room.N, at: make(map[*attached]int)}
	r.feed.begin(room.LastSeq)
	r.edits.begin(room.Changes)
	l.rooms[room.ID], l.byN[room.N] = r, r
	l.c.metrics.liveRooms.Inc()
	return r, true
}

// forget ends a room that nobody is in.
func (l *lane) forget(r *liveRoom) {
	if len(r.sessions) > 0 || len(r.doubts) > 0 || l.rooms[r.id] != r {
		return
	}
	delete(l.rooms, r.id)
	delete(l.byN, r.n)
	delete(l.gaps, r)
	l.c.metrics.liveRooms.Dec()
}

// enter puts a session into a room. False: it has ended, or is in it.
func (l *lane) enter(r *liveRoom, a *attached) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone || r.has(a) {
		return false
	}
	a.rooms[r.id] = 0
	a.roster.add(r.n, 1)
	r.at[a] = len(r.sessions)
	r.sessions = append(r.sessions, a)
	return true
}

// takeOut takes a session out of a room; forget follows.
func (l *lane) takeOut(r *liveRoom, a *attached) {
	i, ok := r.at[a]
	if !ok {
		return
	}
	last := len(r.sessions) - 1
	r.sessions[i] = r.sessions[last]
	r.at[r.sessions[i]] = i
	r.sessions[last] = nil
	r.sessions = r.sessions[:last]
	delete(r.at, a)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.rooms, r.id)
	a.roster.add(r.n, -1)
}

// leaveAll takes a session that has ended out of the lane's rooms.
func (l *lane) leaveAll(a *attached) {
	a.mu.Lock()
	list := make([]wire.ID, 0, len(a.rooms))
	for id := range a.rooms {
		list = append(list, id)
	}
	a.mu.Unlock()
	for _, id := range list {
		if r := l.rooms[id]; r != nil {
			l.takeOut(r, a)
			l.forget(r)
		}
	}
}

// place puts a session into those rooms of the lane that are in the list, and out of the
// others; of what is in doubt the doubt decides. A session that had its rooms before is
// told of both: another node should have, and did not. False: news have come since the
// list was read.
func (l *lane) place(a *attached, gen uint64, list []Membership) (fresh []int64, ok bool) {
	if a.gen.Load() != gen {
		return nil, false
	}
	a.mu.Lock()
	had := a.loaded
	a.mu.Unlock()
	wanted := make(map[wire.ID]struct{}, len(list))
	for i := range list {
		room := &list[i].Room
		wanted[room.ID] = struct{}{}
		r, isNew := l.open(room)
		switch {
		case r.has(a) || r.doubts[a.user] != nil:
		case had:
			d := l.doubtful(r, a.user)
			d.out, d.after = true, min(d.after, room.LastSeq)
		case l.enter(r, a) && isNew:
			fresh = append(fresh, room.N)
		}
		l.forget(r)
	}
	for _, id := range l.over(a, wanted) {
		if r := l.rooms[id]; r != nil && r.doubts[a.user] == nil {
			l.takeOut(r, a)
			l.forget(r)
			a.s.Queue(frameOf(wire.TypeRoomMemberLeft, &wire.RoomMembership{Room: id, User: a.user, By: a.user}), nil)
			a.s.Write()
		}
	}
	return fresh, true
}

// over returns the rooms of the lane that a session is in beside those wanted.
func (l *lane) over(a *attached, wanted map[wire.ID]struct{}) (list []wire.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.rooms {
		if _, ok := wanted[id]; !ok && l.c.laneOf(id) == l {
			list = append(list, id)
		}
	}
	return list
}

// numbers returns the lane's rooms.
func (l *lane) numbers() []int64 {
	list := make([]int64, 0, len(l.byN))
	for n := range l.byN {
		list = append(list, n)
	}
	return list
}

// heads takes how far rooms have come: what the lane lacks of them is read soon.
func (l *lane) heads(list []Head) {
	now := l.c.mono()
	for _, h := range list {
		r := l.byN[h.N]
		if r != nil && h.LastSeq > r.feed.last {
			r.feed.saw(h.LastSeq, now)
			l.gaps[r] = struct{}{}
		}
		if r != nil && h.Changes > r.edits.last {
			r.edits.saw(h.Changes, now)
			l.gaps[r] = struct{}{}
		}
	}
}

// fill has gaps read that were waited for long enough.
func (l *lane) fill(ctx context.Context) {
	if len(l.gaps) == 0 {
		return
	}
	now := l.c.mono()
	for r := range l.gaps {
		if r.edits.due(now) {
			l.fillChanges(ctx, r)
		}
		if !r.feed.due(now) {
			continue
		}
		n, id, from, to := r.n, r.id, r.feed.next, r.feed.last
		l.fills.Go(func() {
			list, err := l.c.missed(ctx, id, n, from, to)
			l.do(func() {
				l.c.metrics.filled.Add(float64(len(list)))
				if l.rooms[id] == r {
					l.handAll(r, r.feed.filled(list, err != nil, l.c.mono()))
				}
			})
		})
	}
}

// fillChanges has the changes read that a room lacks.
func (l *lane) fillChanges(ctx context.Context, r *liveRoom) {
	n, id, after, to := r.n, r.id, r.edits.told, r.edits.last
	l.fills.Go(func() {
		list, err := l.c.missedChanges(ctx, id, n, after)
		l.do(func() {
			if l.rooms[id] == r {
				now := l.c.mono()
				l.change(r, r.edits.read(list, to, err != nil, now), now)
			}
		})
	})
}

// missedChanges reads the changes of a room behind one; the last of them if they are many.
func (c *Chat) missedChanges(ctx context.Context, id wire.ID, room, after int64) ([]*news, error) {
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	var list []Message
	err := c.opts.Store.Read(ctx, func(v View) (err error) {
		list, err = v.ChangedAfter(room, after, wire.MaxRoomPage)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]*news, len(list))
	for i := range list {
		m := &list[i]
		change := &wire.RoomChange{Room: id, ID: m.ID, Seq: uint64(m.Seq), By: c.user(m.EditedBy), At: moment(m.EditedAt), Content: m.Content}
		if m.Content == nil {
			change.By, change.At = c.user(m.DeletedBy), moment(m.DeletedAt)
		}
		out[i] = &news{kind: newsChange, room: id, n: room, seq: m.Seq, change: m.Changed, frame: frameOf(wire.TypeRoomMessageChanged, change)}
	}
	return out, nil
}

// missed reads the messages of a room from one number to another; the last of them if
// they are many.
func (c *Chat) missed(ctx context.Context, id wire.ID, room, from, to int64) (list []*news, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	err = c.opts.Store.Read(ctx, func(v View) (err error) {
		list, err = c.missedIn(v, id, room, from, to)
		return err
	})
	return list, err
}

func (c *Chat) missedIn(v View, id wire.ID, room, from, to int64) (out []*news, err error) {
	list, _, err := v.History(room, to+1, false, wire.MaxRoomPage, fillBytes)
	for _, m := range slices.Backward(list) {
		if m.Seq < from {
			continue
		}
		n := &news{kind: newsMessage, room: id, n: room, seq: m.Seq, change: m.Changed}
		if m.Content == nil {
			n.frame = frameOf(wire.TypeRoomMessageChanged, &wire.RoomChange{
				Room: id, ID: m.ID, Seq: uint64(m.Seq), By: c.user(m.DeletedBy), At: moment(m.DeletedAt),
			})
		} else {
			n.frame = c.messageFrame(id, &m)
		}
		out = append(out, n)
	}
	return out, err
}

// messageFrame returns the news of a message.
func (c *Chat) messageFrame(room wire.ID, m *Message) []byte {
	return frameOf(wire.TypeRoomMessage, &wire.RoomMessage{
		Room: room, ID: m.ID, Seq: uint64(m.Seq), From: c.user(m.Author), Content: m.Content, At: moment(m.At),
	})
}
