package chat

import (
	"context"
	"strconv"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// create makes a room, or opens the one-to-one room of two, which exists once.
func (c *Chat) create(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	if ask.With != "" {
		return c.createPair(ctx, who, ask)
	}
	if ask.Name == nil {
		return Answer{}, &wire.Error{Kind: wire.KindInvalidMessage, Code: wire.CodeMissingField, Reason: "data.name is missing", Field: "data.name"}
	}
	r := &Room{Name: *ask.Name, Public: ask.Public != nil && *ask.Public}
	if ask.Banner != nil {
		r.Banner = *ask.Banner
	}
	var me Member
	err := c.opts.Store.Write(ctx, func(tx Tx) error {
		if err := c.mayHave(tx, who.n, asOwner); err != nil {
			return err
		}
		if err := c.found(tx, r, who.n); err != nil {
			return err
		}
		r.Members = 1
		if _, err := tx.AddRoom(r); err != nil {
			return err
		}
		me = Member{Room: r.N, User: who.n, Role: wire.RoleOwner, Since: r.CreatedAt}
		return tx.PutMembers([]Member{me})
	})
	if err != nil {
		return Answer{}, err
	}
	c.welcome(ctx, c.cameIn(who, r, &me))
	return Answer{wire.TypeRoomChanged, c.mine(r, &me)}, nil
}

// found gives a room that is new its number, its ID and its time.
func (c *Chat) found(tx Tx, r *Room, creator int64) (err error) {
	now := c.opts.Now()
	if r.N, err = tx.NextRoom(); err != nil {
		return err
	}
	r.Creator, r.CreatedAt = creator, milli(now)
	r.ID, err = c.newID(now)
	return err
}

// how is how somebody comes to be in a room.
type how int

const (
	byThemselves how = iota
	asOwner
	byOthers
)

// mayHave refuses somebody who has no account any more, is in as many rooms as may be, or
// owns as many that they made. Others fill half of what one may be in, and rooms that they
// hand over are not counted as one's own: so nobody is kept from rooms of their own.
func (c *Chat) mayHave(tx Tx, user int64, how how) error {
	known, err := tx.LockUser(user)
	switch {
	case err != nil:
		return err
	case !known:
		return general(wire.CodeNotFound, "there is no such user")
	}
	l := c.opts.Limits().filled()
	if how == asOwner {
		n, err := tx.CountOwned(user)
		switch {
		case err != nil:
			return err
		case n >= l.Owned:
			return general(wire.CodeTooMany, "one user may be the owner of "+strconv.Itoa(l.Owned)+" rooms that he has made")
		}
	}
	n, err := tx.CountRoomsOf(user)
	switch {
	case err != nil:
		return err
	case how == byOthers && n >= (l.Rooms+1)/2:
		return general(wire.CodeTooMany, "that user is in so many rooms that others can add no more")
	case n >= l.Rooms:
		return general(wire.CodeTooMany, "one user may be in "+strconv.Itoa(l.Rooms)+" rooms")
	}
	return nil
}

// createPair opens the room of two users.
func (c *Chat) createPair(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	switch {
	case ask.Name != nil || ask.Banner != nil || ask.Public != nil:
		return Answer{}, badField("data.with", " makes a one-to-one room, which has no name, no banner, and is not public")
	case ask.With == who.user:
		return Answer{}, badField("data.with", " is the user who asks")
	}
	if err := c.reachable(ctx, who, ask.With, "the other one does not want to hear from the user"); err != nil {
		return Answer{}, err
	}
	with := ask.With.Number()
	r := &Room{OneToOne: true, Low: min(who.n, with), High: max(who.n, with), Members: 2}
	var made bool
	var list []Member
	err := c.opts.Store.Write(ctx, func(tx Tx) error {
		made = false
		have, err := tx.Pair(r.Low, r.High)
		if err != nil || have != nil {
			return c.reopen(tx, who, have, r, &list, err)
		}
		for _, u := range []int64{r.Low, r.High} {
			how := byThemselves
			if u == with {
				how = byOthers
			}
			if err := c.mayHave(tx, u, how); err != nil {
				return err
			}
		}
		if err := c.found(tx, r, who.n); err != nil {
			return err
		}
		made, err = tx.AddRoom(r)
		if err != nil {
			return err
		}
		if !made { // by the other, in this moment
			have, err := tx.Pair(r.Low, r.High)
			return c.reopen(tx, who, have, r, &list, err)
		}
		list = nil
		for _, u := range []int64{who.n, with} {
			list = append(list, Member{Room: r.N, User: u, Role: wire.RoleMember, Since: r.CreatedAt})
		}
		return tx.PutMembers(list)
	})
	if err != nil {
		return Answer{}, err
	}
	if made {
		c.welcome(ctx, append(c.cameIn(who, r, &list[0]), c.cameIn(who, r, &list[1])...))
	}
	return Answer{wire.TypeRoomChanged, c.mine(r, &list[0])}, nil
}

// reopen reads the room of two that there is already.
func (c *Chat) reopen(v View, who actor, have, r *Room, list *[]Member, err error) error {
	if err != nil {
		return err
	}
	if have == nil {
		return general(wire.CodeBusy, "the room is being made; try again")
	}
	me, err := v.Member(have.N, who.n)
	if err != nil {
		return err
	}
	if me == nil {
		return general(wire.CodeConflict, "the user has left this room for good")
	}
	*r, *list = *have, []Member{*me}
	return nil
}

// reachable refuses what would bring a user together with somebody who is not there, or
// has blocked the user.
func (c *Chat) reachable(ctx context.Context, who actor, other wire.UserID, why string) error {
	known, err := c.opts.People.Known(ctx, other)
	if err != nil {
		return err
	}
	if !known {
		return general(wire.CodeNotFound, "there is no such user")
	}
	blocked, err := c.opts.People.Blocked(ctx, other, who.user)
	if err == nil && blocked {
		return general(wire.CodeForbidden, why)
	}
	return err
}

// cameIn is the news of a new member: to all that there is one, and to the member's own
// sessions what the room is.
func (c *Chat) cameIn(by actor, r *Room, m *Member) []*news {
	user := c.user(m.User)
	origin := by.session
	return []*news{
		{kind: newsJoined, room: r.ID, n: r.N, seq: r.LastSeq, change: r.Changes, origin: origin, user: user, frame: frameOf(wire.TypeRoomMemberJoined, &wire.RoomMembership{
			Room: r.ID, User: user, Role: m.Role, By: by.user,
		})},
		{kind: newsOwn, room: r.ID, n: r.N, origin: origin, user: user, frame: frameOf(wire.TypeRoomChanged, c.mine(r, m))},
	}
}

// list returns a page of the rooms that somebody is in, or of those that are public.
func (c *Chat) list(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	after, e := placeOf(ask.Place)
	if e != nil {
		return Answer{}, e
	}
	page := &wire.RoomList{}
	err := c.opts.Store.Read(ctx, func(v View) error {
		page.Rooms, page.Next = nil, ""
		var last int64
		if ask.Public != nil && *ask.Public {
			list, err := v.PublicRooms(after, ask.Limit)
			if err != nil {
				return err
			}
			for i := range list {
				page.Rooms, last = append(page.Rooms, *c.info(&list[i])), list[i].N
			}
		} else {
			list, err := v.RoomsOf(who.n, after, ask.Limit)
			if err != nil {
				return err
			}
			for i := range list {
				page.Rooms, last = append(page.Rooms, *c.mine(&list[i].Room, &list[i].Member)), list[i].Room.N
			}
		}
		if len(page.Rooms) == ask.Limit {
			page.Next = strconv.FormatInt(last, 10)
		}
		return nil
	})
	return Answer{wire.TypeRooms, page}, err
}

// update changes a room's name, its banner, or whether it is public.
func (c *Chat) update(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	if ask.Name == nil && ask.Banner == nil && ask.Public == nil {
		return Answer{}, &wire.Error{Kind: wire.KindInvalidMessage, Code: wire.CodeMissingField, Reason: "data.name is missing, or data.banner, or data.public", Field: "data.name"}
	}
	var r in
	err := c.opts.Store.Write(ctx, func(tx Tx) (err error) {
		op := opRename
		if ask.Public != nil {
			op = opPublish
		}
		if r, err = c.enter(tx, who, ask.Room, op); err != nil {
			return err
		}
		if ask.Name != nil {
			r.Name = *ask.Name
		}
		if ask.Banner != nil {
			r.Banner = *ask.Banner
		}
		if ask.Public != nil {
			r.Public = *ask.Public
		}
		return tx.PutRoom(r.Room)
	})
	if err != nil {
		return Answer{}, err
	}
	c.publish(&news{kind: newsPlain, room: r.ID, n: r.N, origin: who.session, frame: frameOf(wire.TypeRoomChanged, c.info(r.Room))})
	return Answer{wire.TypeRoomChanged, c.mine(r.Room, r.me)}, nil
}

// closeRoom ends a room, and all that was said in it.
func (c *Chat) closeRoom(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	var r in
	err := c.opts.Store.Relieve(ctx, func(tx Tx) (err error) {
		if r, err = c.enter(tx, who, ask.Room, opClose); err != nil {
			return err
		}
		return tx.DropRoom(r.N)
	})
	if err != nil {
		return Answer{}, err
	}
	return Answer{wire.TypeRoomChanged, c.closed(who, r.Room)}, nil
}

// closed tells that a room is gone, and returns what it was.
func (c *Chat) closed(who actor, r *Room) *wire.RoomInfo {
	info := c.info(r)
	info.Deleted = true
	c.publish(&news{kind: newsClosed, room: r.ID, n: r.N, origin: who.session, frame: frameOf(wire.TypeRoomChanged, info)})
	return info
}

// members returns a page of a room's members.
func (c *Chat) members(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	after, e := placeOf(ask.Place)
	if e != nil {
		return Answer{}, e
	}
	page := &wire.RoomMembers{Room: ask.Room}
	err := c.opts.Store.Read(ctx, func(v View) error {
		r, err := c.visit(v, who, ask.Room, opRead)
		if err != nil {
			return err
		}
		list, err := v.Members(r.N, after, ask.Limit)
		page.Members, page.Next = nil, ""
		for _, m := range list {
			page.Members = append(page.Members, wire.RoomMember{User: c.user(m.User), Role: m.Role, Since: moment(m.Since), ReadSeq: uint64(m.ReadSeq)})
		}
		if len(list) == ask.Limit {
			page.Next = strconv.FormatInt(list[len(list)-1].User, 10)
		}
		return err
	})
	return Answer{wire.TypeRoomMemberList, page}, err
}

// typing tells the others that somebody is writing: none who has blocked that one.
func (c *Chat) typing(ctx context.Context, a *attached, ask *wire.RoomAsk, now time.Duration) *wire.Error {
	if e := c.checkDomain(ask.Domain); e != nil {
		return e
	}
	in, tell := a.types(ask.Room, now)
	if !in {
		return noRoom()
	}
	if !tell {
		return nil
	}
	n := &news{
		kind: newsPlain, room: ask.Room, origin: a.s.ID(), user: a.user,
		frame: frameOf(wire.TypeRoomTyping, &wire.RoomTyping{Room: ask.Room, User: a.user}),
	}
	// Where that cannot be found out it is not told: it is worth nothing a moment later.
	if blocked, err := c.blocked(ctx, actor{user: a.user, n: a.n}, ask.Room); err != nil || blocked {
		n.kind = newsOwn
	}
	c.publish(n)
	return nil
}
