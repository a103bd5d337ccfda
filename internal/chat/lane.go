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
	c     *Chat
	rooms map[wire.ID]*liveRoom
	byN   map[int64]*liveRoom
	gaps  map[*liveRoom]struct{} // those that lack something
	wrote []*liveRoom            // those whose sessions have something queued

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
	sessions []*attached
	at       map[*attached]int // where in sessions
	wrote    bool
}

func newLane(c *Chat) *lane {
	return &lane{
		c: c, rooms: make(map[wire.ID]*liveRoom), byN: make(map[int64]*liveRoom),
		gaps: make(map[*liveRoom]struct{}), wake: make(chan struct{}, 1),
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
		if len(l.gaps) > 0 {
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
			l.leave(r, a)
		}
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
		l.hand(r, n)
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
	l.c.metrics.told.Add(float64(told))
	l.c.metrics.dropped.Add(float64(dropped))
	if !r.wrote {
		r.wrote = true
		l.wrote = append(l.wrote, r)
	}
}

// own hands a frame to the sessions of one user.
func (l *lane) own(n *news) {
	for _, a := range l.c.local.of(n.user) {
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

// joined puts the sessions of a new member into the room.
func (l *lane) joined(n *news) {
	fresh := false
	for _, a := range l.c.local.of(n.user) {
		a.gen.Add(1)
		fresh = l.enter(a, &Room{ID: n.room, N: n.n, LastSeq: n.seq, Changes: n.change}) || fresh
	}
	if !fresh {
		return
	}
	// News that were faster found nobody here who is in the room.
	l.fills.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), opTime)
		defer cancel()
		if l.c.look(ctx, []int64{n.n}) != nil {
			l.c.peekSoon()
		}
	})
}

// left tells of somebody who is a member no longer, and takes the sessions out.
func (l *lane) left(r *liveRoom, n *news) {
	if r != nil {
		l.hand(r, n)
	}
	for _, a := range l.c.local.of(n.user) {
		a.gen.Add(1)
		if r == nil {
			continue
		}
		a.s.Write()
		l.leave(r, a)
	}
}

// enter puts a session into a room, if it has not ended. fresh: there was none before.
func (l *lane) enter(a *attached, room *Room) (fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return false
	}
	if _, known := a.rooms[room.ID]; known {
		return false
	}
	a.rooms[room.ID] = 0
	r := l.rooms[room.ID]
	if r == nil {
		r = &liveRoom{id: room.ID, n: room.N, at: make(map[*attached]int)}
		r.feed.begin(room.LastSeq)
		r.edits.begin(room.Changes)
		l.rooms[room.ID], l.byN[room.N] = r, r
		l.c.metrics.liveRooms.Inc()
		fresh = true
	}
	r.at[a] = len(r.sessions)
	r.sessions = append(r.sessions, a)
	return fresh
}

// leave takes a session out of a room, which is forgotten with the last one.
func (l *lane) leave(r *liveRoom, a *attached) {
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
	delete(a.rooms, r.id)
	a.mu.Unlock()
	if last == 0 {
		delete(l.rooms, r.id)
		delete(l.byN, r.n)
		delete(l.gaps, r)
		l.c.metrics.liveRooms.Dec()
	}
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
			l.leave(r, a)
		}
	}
}

// place puts a session into those rooms of the lane that are in the list, and out of the
// others. False: news have come since the list was read.
func (l *lane) place(a *attached, gen uint64, list []Membership) (fresh []int64, ok bool) {
	if a.gen.Load() != gen {
		return nil, false
	}
	wanted := make(map[wire.ID]struct{}, len(list))
	for i := range list {
		room := &list[i].Room
		wanted[room.ID] = struct{}{}
		if l.enter(a, room) {
			fresh = append(fresh, room.N)
		}
	}
	a.mu.Lock()
	var over []wire.ID
	for id := range a.rooms {
		if _, ok := wanted[id]; !ok && l.c.laneOf(id) == l {
			over = append(over, id)
		}
	}
	a.mu.Unlock()
	for _, id := range over {
		if r := l.rooms[id]; r != nil {
			l.leave(r, a)
		}
	}
	return fresh, true
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
func (c *Chat) missed(ctx context.Context, id wire.ID, room, from, to int64) ([]*news, error) {
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	var list []Message
	err := c.opts.Store.Read(ctx, func(v View) (err error) {
		list, _, err = v.History(room, to+1, false, wire.MaxRoomPage, fillBytes)
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []*news
	for _, m := range slices.Backward(list) {
		if m.Seq < from {
			continue
		}
		n := &news{kind: newsMessage, room: id, n: room, seq: m.Seq}
		if m.Content == nil {
			n.frame = frameOf(wire.TypeRoomMessageChanged, &wire.RoomChange{
				Room: id, ID: m.ID, Seq: uint64(m.Seq), By: c.user(m.DeletedBy), At: moment(m.DeletedAt),
			})
		} else {
			n.frame = c.messageFrame(id, &m)
		}
		out = append(out, n)
	}
	return out, nil
}

// messageFrame returns the news of a message.
func (c *Chat) messageFrame(room wire.ID, m *Message) []byte {
	return frameOf(wire.TypeRoomMessage, &wire.RoomMessage{
		Room: room, ID: m.ID, Seq: uint64(m.Seq), From: c.user(m.Author), Content: m.Content, At: moment(m.At),
	})
}
