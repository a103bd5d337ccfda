package chat

import (
	"context"
	"strconv"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// join makes somebody a member of a public room. Who is one already hears so again.
func (c *Chat) join(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	return c.add(ctx, who, who.n, ask.Room, opJoin)
}

// invite makes somebody else a member.
func (c *Chat) invite(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	// Whoever may not invite does not learn who there is.
	var at in
	err := c.opts.Store.Read(ctx, func(v View) (err error) {
		at, err = c.visit(v, who, ask.Room, opInvite)
		return err
	})
	if err != nil {
		return Answer{}, err
	}
	if err := c.reachable(ctx, who, ask.User, "that user does not want to hear from the one who invites"); err != nil {
		return Answer{}, err
	}
	return c.add(ctx, who, ask.User.Number(), at.ID, opInvite)
}

// add puts a user into a room.
func (c *Chat) add(ctx context.Context, who actor, user int64, room wire.ID, op operation) (Answer, error) {
	var r in
	var m *Member
	var fresh bool
	err := c.opts.Store.Write(ctx, func(tx Tx) (err error) {
		if r, err = c.enter(tx, who, room, op); err != nil {
			return err
		}
		if m, err = tx.Member(r.N, user); err != nil {
			return err
		}
		if fresh = m == nil; !fresh {
			return nil
		}
		how := byThemselves
		if op == opInvite {
			how = byOthers
		}
		m, err = c.admit(tx, r.Room, user, how)
		return err
	})
	if err != nil {
		return Answer{}, err
	}
	if fresh {
		c.welcome(ctx, c.cameIn(who, r.Room, m))
	}
	return Answer{wire.TypeRoomMemberJoined, &wire.RoomMembership{Room: r.ID, User: c.user(user), Role: m.Role, By: who.user}}, nil
}

// welcomeTime bounds how long an answer waits for sessions to be in a room. What the room
// tells meanwhile is kept for them.
const welcomeTime = time.Second

// welcome tells of new members, and returns when their sessions on this node are in the
// room.
func (c *Chat) welcome(ctx context.Context, list []*news) {
	var settled []chan struct{}
	for _, n := range list {
		if n.kind == newsJoined {
			n.settled = make(chan struct{})
			settled = append(settled, n.settled)
		}
	}
	c.publish(list...)
	ctx, cancel := context.WithTimeout(ctx, welcomeTime)
	defer cancel()
	for _, s := range settled {
		select {
		case <-s:
		case <-ctx.Done():
			return
		}
	}
}

// admit writes a new member down. What was said before counts as read.
func (c *Chat) admit(tx Tx, r *Room, user int64, how how) (*Member, error) {
	out, err := tx.Banned(r.N, user)
	switch most := c.opts.Limits().filled().Members; {
	case err != nil:
		return nil, err
	case out:
		return nil, general(wire.CodeConflict, "that user is banned from this room")
	case r.Members >= int64(most):
		return nil, general(wire.CodeTooMany, "a room may have "+strconv.Itoa(most)+" members")
	}
	if err := c.mayHave(tx, user, how); err != nil {
		return nil, err
	}
	m := &Member{Room: r.N, User: user, Role: wire.RoleMember, Since: milli(c.opts.Now()), ReadSeq: r.LastSeq}
	r.Members++
	if err := tx.PutRoom(r); err != nil {
		return nil, err
	}
	return m, tx.PutMembers([]Member{*m})
}

// departure is what comes of somebody's being a member no longer.
type departure struct {
	room *Room
	heir *Member // who is the owner now; nil: nobody else than before
	gone bool    // the room went with its last member
}

// depart takes a member out of a room that is locked.
func (c *Chat) depart(tx Tx, r *Room, m *Member) (departure, error) {
	d := departure{room: r}
	if err := tx.DropMember(r.N, m.User); err != nil {
		return d, err
	}
	if r.Members--; r.Members <= 0 {
		d.gone = true
		return d, tx.DropRoom(r.N)
	}
	if m.Role == wire.RoleOwner {
		heir, err := tx.Successor(r.N, m.User)
		if err != nil {
			return d, err
		}
		if heir != nil {
			heir.Role = wire.RoleOwner
			d.heir = heir
			if err := tx.PutMembers([]Member{*heir}); err != nil {
				return d, err
			}
		}
	}
	return d, tx.PutRoom(r)
}

// tellLeft tells what came of it, and returns the first of the news.
func (c *Chat) tellLeft(who actor, user int64, reason string, d departure) *wire.RoomMembership {
	r := d.room
	left := &wire.RoomMembership{Room: r.ID, User: c.user(user), By: who.user, Reason: reason}
	list := []*news{{kind: newsLeft, room: r.ID, n: r.N, origin: who.session, user: left.User, frame: frameOf(wire.TypeRoomMemberLeft, left)}}
	if d.heir != nil {
		list = append(list, c.hasRole(actor{user: who.user}, r, d.heir))
	}
	c.publish(list...)
	if d.gone {
		c.closed(who, r)
	}
	return left
}

// hasRole is the news that a member has another role.
func (c *Chat) hasRole(by actor, r *Room, m *Member) *news {
	return &news{kind: newsPlain, room: r.ID, n: r.N, origin: by.session, user: c.user(m.User), frame: frameOf(wire.TypeRoomMemberChanged, &wire.RoomMembership{
		Room: r.ID, User: c.user(m.User), Role: m.Role, By: by.user,
	})}
}

// leave ends somebody's own membership.
func (c *Chat) leave(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	var d departure
	err := c.opts.Store.Relieve(ctx, func(tx Tx) error {
		r, err := c.enter(tx, who, ask.Room, opLeave)
		if err != nil {
			return err
		}
		d, err = c.depart(tx, r.Room, r.me)
		return err
	})
	if err != nil {
		return Answer{}, err
	}
	return Answer{wire.TypeRoomMemberLeft, c.tellLeft(who, who.n, wire.ReasonLeft, d)}, nil
}

// remove ends somebody else's membership, and with a ban for good.
func (c *Chat) remove(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	user, ban := ask.User.Number(), ask.Type == wire.TypeRoomBan
	op, reason, write := opRemove, wire.ReasonRemoved, c.opts.Store.Relieve
	if ban {
		op, reason, write = opBan, wire.ReasonBanned, c.opts.Store.Write
	}
	if user == who.n {
		return Answer{}, badField("data.user", " is the user who asks; to leave is another operation")
	}
	var d departure
	var was *Member
	err := write(ctx, func(tx Tx) error {
		r, err := c.enter(tx, who, ask.Room, op)
		if err != nil {
			return err
		}
		d = departure{room: r.Room}
		if was, err = tx.Member(r.N, user); err != nil {
			return err
		}
		if e := mayEnd(was, r, ban); e != nil {
			return e
		}
		if ban {
			if err := tx.AddBan(Ban{Room: r.N, User: user, By: who.n, At: milli(c.opts.Now())}); err != nil {
				return err
			}
		}
		if was != nil {
			d, err = c.depart(tx, r.Room, was)
		}
		return err
	})
	if err != nil {
		return Answer{}, err
	}
	if was == nil {
		return Answer{wire.TypeRoomMemberLeft, &wire.RoomMembership{Room: d.room.ID, User: ask.User, By: who.user, Reason: reason}}, nil
	}
	return Answer{wire.TypeRoomMemberLeft, c.tellLeft(who, user, reason, d)}, nil
}

// mayEnd refuses to end a membership that is not there, or above that of who asks.
func mayEnd(m *Member, by in, ban bool) *wire.Error {
	switch s := standingOf(m); {
	case s == stranger && !ban:
		return general(wire.CodeNotFound, "that user is no member of this room")
	case s == owner:
		return general(wire.CodeForbidden, "the owner of a room cannot be removed from it or banned")
	case s == moderator:
		return refuse(opRemoveModerator, standingOf(by.me), kindOf(by.Room))
	}
	return nil
}

// unban lets somebody become a member again.
func (c *Chat) unban(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	out := &wire.RoomMembership{Room: ask.Room, User: ask.User, By: who.user, Reason: wire.ReasonUnbanned}
	err := c.opts.Store.Write(ctx, func(tx Tx) error {
		r, err := c.enter(tx, who, ask.Room, opBan)
		if err != nil {
			return err
		}
		had, err := tx.DropBan(r.N, ask.User.Number())
		if err == nil && !had {
			return general(wire.CodeNotFound, "that user is not banned from this room")
		}
		return err
	})
	if err != nil {
		return Answer{}, err
	}
	return Answer{wire.TypeRoomMemberChanged, out}, nil
}

// role gives a member another role. Who makes somebody else the owner becomes a
// moderator: there is one owner.
func (c *Chat) role(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	var r in
	var changed []Member
	err := c.opts.Store.Write(ctx, func(tx Tx) (err error) {
		if r, err = c.enter(tx, who, ask.Room, opRole); err != nil {
			return err
		}
		m, err := tx.Member(r.N, ask.User.Number())
		switch {
		case err != nil:
			return err
		case m == nil:
			return general(wire.CodeNotFound, "that user is no member of this room")
		case m.User == who.n:
			return general(wire.CodeConflict, "an owner becomes something else by making another member the owner")
		}
		m.Role = ask.Role
		if changed = []Member{*m}; m.Role == wire.RoleOwner {
			r.me.Role = wire.RoleModerator
			changed = append(changed, *r.me)
		}
		return tx.PutMembers(changed)
	})
	if err != nil {
		return Answer{}, err
	}
	var list []*news
	for i := range changed {
		by := who
		if i > 0 {
			by.session = wire.ID{} // the answer says nothing of that one
		}
		list = append(list, c.hasRole(by, r.Room, &changed[i]))
	}
	c.publish(list...)
	return Answer{wire.TypeRoomMemberChanged, &wire.RoomMembership{Room: r.ID, User: ask.User, Role: ask.Role, By: who.user}}, nil
}

// Forget takes a user whose account is gone out of all rooms. What the user said stays.
func (c *Chat) Forget(ctx context.Context, user wire.UserID) error {
	who, e := c.actor(user)
	if e != nil {
		return e
	}
	for {
		var page []Membership
		err := c.opts.Store.Read(ctx, func(v View) (err error) {
			page, err = v.RoomsOf(who.n, -1, wire.MaxRoomPage)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			if err := c.forgetIn(ctx, who, page[i].Room.ID); err != nil {
				return err
			}
		}
	}
}

// forgetIn takes a user whose account is gone out of one room.
func (c *Chat) forgetIn(ctx context.Context, who actor, room wire.ID) error {
	var d departure
	err := c.opts.Store.Relieve(ctx, func(tx Tx) error {
		d = departure{}
		list, err := tx.Lock([]wire.ID{room})
		if err != nil || len(list) == 0 {
			return err
		}
		m, err := tx.Member(list[0].N, who.n)
		if err != nil || m == nil {
			return err
		}
		d, err = c.depart(tx, list[0], m)
		return err
	})
	if err == nil && d.room != nil {
		c.tellLeft(who, who.n, wire.ReasonDeleted, d)
	}
	return err
}
