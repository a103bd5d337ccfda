package chat

import (
	"context"
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// News of who came into a room, and of who left it, overtake each other: they are told
// after the commit, by several goroutines and nodes. So they are hints. On each of them
// the membership is read, and the user's sessions are put where the reading says, which
// began after the news had come; until then what the room tells is kept for them.

// doubt is a user of whom it is being read whether he is a member of a room.
type doubt struct {
	room *liveRoom
	user wire.UserID
	n    int64 // the user's number

	// Messages above after, up to to, had been told here before the news came.
	after, to int64
	held      []*news // what was told since
	out       bool    // the sessions were told that he is out, or never that he is in
	due       bool    // no reading has begun since the last news
	settled   []chan struct{}
}

// keep keeps what the room tells. More than feedHeld is missed, and that shows as a gap.
func (d *doubt) keep(n *news) {
	if len(d.held) < feedHeld && !(n.kind == newsLeft && n.user == d.user) {
		d.held = append(d.held, n)
	}
}

// release has those go on who wait.
func (d *doubt) release() {
	for _, c := range d.settled {
		close(c)
	}
	d.settled = nil
}

// question is what is to be read for a doubt.
type question struct {
	of        *doubt
	id        wire.ID
	place     Place
	after, to int64
	out       bool
}

// reply is what was read.
type reply struct {
	member *Member // nil: is none
	room   *Room   // where it was asked for
	missed []*news
}

// doubtful begins a doubt, or has one read again.
func (l *lane) doubtful(r *liveRoom, user wire.UserID) *doubt {
	d := r.doubts[user]
	if d == nil {
		told := r.feed.next - 1
		d = &doubt{room: r, user: user, n: user.Number(), after: told, to: told}
		if r.doubts == nil {
			r.doubts = make(map[wire.UserID]*doubt)
		}
		r.doubts[user] = d
		l.unsure[d] = struct{}{}
	}
	d.due = true
	return d
}

// joined is told of somebody who became a member, before the others are.
func (l *lane) joined(n *news) {
	mine := l.c.local.of(n.user)
	for _, a := range mine {
		a.gen.Add(1)
	}
	if len(mine) == 0 {
		if n.settled != nil {
			close(n.settled)
		}
		return
	}
	r, _ := l.open(&Room{ID: n.room, N: n.n, LastSeq: n.seq, Changes: n.change})
	d := l.doubtful(r, n.user)
	d.after = min(d.after, n.seq)
	if n.settled != nil {
		d.settled = append(d.settled, n.settled)
	}
}

// left tells of somebody who is a member no longer, and takes the sessions out at once.
func (l *lane) left(r *liveRoom, n *news) {
	if r != nil {
		l.hand(r, n)
	}
	was := false
	for _, a := range l.c.local.of(n.user) {
		a.gen.Add(1)
		switch {
		case r == nil:
		case r.has(a):
			was = true
			a.s.Write()
			l.takeOut(r, a)
		case r.doubts[n.user] != nil && a.s.ID() != n.origin && a.s.Queue(n.frame, nil):
			a.s.Write()
		}
	}
	if was || r != nil && r.doubts[n.user] != nil {
		l.doubtful(r, n.user).out = true
	}
	if r != nil {
		l.forget(r)
	}
}

// ask has memberships read that are in doubt: many with one reading, and one at a time.
func (l *lane) ask(ctx context.Context) {
	if l.asking || len(l.unsure) == 0 || l.c.mono() < l.askAgain {
		return
	}
	var list []question
	for d := range l.unsure {
		if len(list) == lookAt {
			break
		}
		d.due = false
		list = append(list, question{d, d.room.id, Place{d.room.n, d.n}, d.after, d.to, d.out})
	}
	l.asking = true
	l.fills.Go(func() {
		replies, heads, err := l.c.resolve(ctx, list)
		l.do(func() {
			l.asking = false
			l.settle(list, replies, err)
			l.heads(heads)
		})
	})
}

// resolve reads what doubts are about.
func (c *Chat) resolve(ctx context.Context, list []question) (replies []reply, heads []Head, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	err = c.opts.Store.Read(ctx, func(v View) (err error) {
		replies = make([]reply, len(list))
		at := make(map[Place]int, len(list))
		places, rooms := make([]Place, len(list)), make([]int64, len(list))
		for i, q := range list {
			at[q.place], places[i], rooms[i] = i, q.place, q.place.Room
		}
		members, err := v.MembersAt(places)
		if err != nil {
			return err
		}
		for i := range members {
			m := &members[i]
			if k, ok := at[Place{m.Room, m.User}]; ok {
				if replies[k], err = c.replyTo(v, &list[k], m); err != nil {
					return err
				}
			}
		}
		heads, err = v.Heads(rooms)
		return err
	})
	return replies, heads, err
}

// replyTo reads what the sessions of a member are to be told.
func (c *Chat) replyTo(v View, q *question, m *Member) (a reply, err error) {
	a.member = m
	if q.out {
		if a.room, err = v.Room(q.id); err != nil {
			return a, err
		}
	}
	if q.after < q.to {
		a.missed, err = c.missedIn(v, q.id, q.place.Room, q.after+1, q.to)
	}
	return a, err
}

// settle puts sessions where a reading says, unless news have come since it began.
func (l *lane) settle(list []question, replies []reply, err error) {
	if err != nil {
		l.askAgain = l.c.mono() + fillPause
	}
	for i := range list {
		d := list[i].of
		if err != nil {
			d.due = true
			d.release() // what is kept for a session is not lost to it
		}
		if d.due {
			continue
		}
		r := d.room
		delete(r.doubts, d.user)
		delete(l.unsure, d)
		if replies[i].member != nil {
			l.admit(d, &replies[i])
		}
		d.release()
		l.forget(r)
	}
}

// admit puts the sessions of a member into a room, and tells each that was not in it what
// it has missed.
func (l *lane) admit(d *doubt, a *reply) {
	var joined, room, rest []*news
	for _, n := range d.held {
		switch {
		case n.user == d.user && n.kind == newsJoined:
			joined = []*news{n}
		case n.user == d.user && n.kind == newsOwn:
			room = append(room, n)
		default:
			rest = append(rest, n)
		}
	}
	if a.room != nil {
		came := l.c.cameIn(actor{user: d.user}, a.room, a.member)
		if joined == nil {
			joined = came[:1]
		}
		if room == nil {
			room = came[1:]
		}
	}
	var all []*news
	for _, n := range slices.Concat(joined, room, a.missed, rest) {
		if d.room.ahead.follows(n) {
			all = append(all, n)
		}
	}
	l.lacks(d.room)
	for _, s := range l.c.local.of(d.user) {
		s.gen.Add(1)
		if !l.enter(d.room, s) {
			continue
		}
		for _, n := range all {
			if s.s.ID() == n.origin {
				continue
			}
			if s.s.Queue(n.frame, nil) {
				l.c.metrics.told.Inc()
			} else {
				l.c.metrics.dropped.Inc()
			}
		}
		s.s.Write()
	}
}
