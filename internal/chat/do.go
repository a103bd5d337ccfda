package chat

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	maxName   = 100  // characters of a room's name
	maxBanner = 1000 // and of its banner
)

// Answer is the frame that answers what was asked for.
type Answer struct {
	Type wire.Type
	Data wire.RoomData
}

// actor is who asks, and on which session, if on any.
type actor struct {
	user    wire.UserID
	n       int64
	session wire.ID
}

// Do does what a user asks for, and returns when it is done. The error is a *wire.Error.
func (c *Chat) Do(ctx context.Context, user wire.UserID, ask *wire.RoomAsk) (Answer, error) {
	who, e := c.actor(user)
	if e != nil {
		return Answer{}, e
	}
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	answer, err := c.do(ctx, who, ask)
	if err != nil {
		return Answer{}, c.failed(err)
	}
	return answer, nil
}

// actor returns who asks; only users of the chat app may.
func (c *Chat) actor(user wire.UserID) (actor, *wire.Error) {
	if user.App() != c.opts.App {
		return actor{}, general(wire.CodeForbidden, "rooms are for users of the app "+c.opts.App)
	}
	return actor{user: user, n: user.Number()}, nil
}

func (c *Chat) do(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	if e := c.check(ask); e != nil {
		return Answer{}, e
	}
	switch ask.Type {
	case wire.TypeRoomSend, wire.TypeRoomRead:
		return c.await(ctx, who, ask)
	case wire.TypeRoomEdit, wire.TypeRoomDelete:
		return c.change(ctx, who, ask)
	case wire.TypeRoomHistory:
		return c.history(ctx, who, ask)
	case wire.TypeRoomSearch:
		return c.search(ctx, who, ask)
	case wire.TypeRoomCreate:
		return c.create(ctx, who, ask)
	case wire.TypeRoomList:
		return c.list(ctx, who, ask)
	case wire.TypeRoomUpdate:
		return c.update(ctx, who, ask)
	case wire.TypeRoomClose:
		return c.closeRoom(ctx, who, ask)
	case wire.TypeRoomJoin:
		return c.join(ctx, who, ask)
	case wire.TypeRoomInvite:
		return c.invite(ctx, who, ask)
	case wire.TypeRoomLeave:
		return c.leave(ctx, who, ask)
	case wire.TypeRoomRemove, wire.TypeRoomBan:
		return c.remove(ctx, who, ask)
	case wire.TypeRoomUnban:
		return c.unban(ctx, who, ask)
	case wire.TypeRoomRole:
		return c.role(ctx, who, ask)
	case wire.TypeRoomMembers:
		return c.members(ctx, who, ask)
	}
	return Answer{}, &wire.Error{Kind: wire.KindInvalidMessage, Code: wire.CodeUnknownType, Reason: "rooms do not know " + ask.Type.String()}
}

// check refuses what no room could do.
func (c *Chat) check(ask *wire.RoomAsk) *wire.Error {
	if e := c.checkDomain(ask.Domain); e != nil {
		return e
	}
	writes := ask.Type == wire.TypeRoomSend || ask.Type == wire.TypeRoomEdit
	switch most := c.opts.Limits().filled().Content; {
	case writes && (len(ask.Content) == 0 || string(ask.Content) == "null"):
		return &wire.Error{Kind: wire.KindInvalidMessage, Code: wire.CodeMissingField, Reason: "data.content is missing", Field: "data.content"}
	case len(ask.Content) > most:
		return badField("data.content", " has more than "+strconv.Itoa(most)+" bytes")
	case !utf8.Valid(ask.Content):
		return badField("data.content", " is not UTF-8")
	}
	if writes {
		if e := wire.CheckRoomContent(ask.Content); e != nil {
			return e
		}
	}
	if ask.Name != nil {
		name := strings.TrimSpace(*ask.Name)
		if !visible(name) || utf8.RuneCountInString(name) > maxName || unprintable(name, false) {
			return badField("data.name", fmt.Sprintf(" has 1 to %d characters, some of them to be seen, none a control character", maxName))
		}
		ask.Name = &name
	}
	if b := ask.Banner; b != nil && (utf8.RuneCountInString(*b) > maxBanner || unprintable(*b, true)) {
		return badField("data.banner", fmt.Sprintf(" has up to %d characters, none of them a control character", maxBanner))
	}
	for _, u := range []struct {
		field string
		user  wire.UserID
	}{{"data.user", ask.User}, {"data.with", ask.With}} {
		if u.user != "" && u.user.App() != c.opts.App {
			return badField(u.field, " is no user of the app "+c.opts.App)
		}
	}
	if ask.Type == wire.TypeRoomRole && !wire.KnownRole(ask.Role) {
		return badField("data.role", " is one of "+strings.Join(wire.Roles(), ", "))
	}
	return nil
}

// checkDomain refuses a room that is another domain's.
func (c *Chat) checkDomain(domain string) *wire.Error {
	if domain == "" || domain == c.opts.Domain {
		return nil
	}
	e := general(wire.CodeWrongDomain, "the room is another domain's; its users sign in there")
	e.Home = c.opts.HomeURL(domain)
	return e
}

// await has a message or a read mark stored, and waits for it.
func (c *Chat) await(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	done := make(chan struct{})
	j, err := c.jobOf(ctx, who, ask)
	if err != nil {
		return Answer{}, err
	}
	j.done = func(*job) { close(done) }
	if e := c.submit(j); e != nil {
		return Answer{}, e
	}
	// The committer bounds its transactions, and what waits for it is bounded.
	select {
	case <-done:
		return j.answer()
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("%w: %w: %w", ErrDown, ErrUnknown, ctx.Err())
	}
}

// jobOf makes a job of what is asked for. Whether a message was stored before, and is only
// sent again, comes to light when it is to be stored: until then it is not refused.
func (c *Chat) jobOf(ctx context.Context, who actor, ask *wire.RoomAsk) (*job, error) {
	j := &job{who: who, room: ask.Room, seq: int64(ask.Seq), message: ask.ID}
	var err error
	if j.blocked, err = c.blocked(ctx, who, ask.Room); err != nil || ask.Type != wire.TypeRoomSend {
		return j, err
	}
	if j.blocked && ask.ClientID == "" {
		return nil, isBlocked()
	}
	j.content, j.client, j.words = ask.Content, ask.ClientID, wordsOf(ask.Content)
	return j, nil
}

// answer is what becomes of a job that is done.
func (j *job) answer() (Answer, error) {
	switch {
	case j.err != nil:
		return Answer{}, j.err
	case j.content != nil:
		return Answer{wire.TypeRoomSent, &j.sent}, nil
	}
	return Answer{wire.TypeRoomReadBy, &j.mark}, nil
}

// in is a room, and how somebody is in it.
type in struct {
	*Room
	me *Member // nil: is no member
}

// enter locks a room for what somebody wants to do there.
func (c *Chat) enter(tx Tx, who actor, room wire.ID, op operation) (in, error) {
	list, err := tx.Lock([]wire.ID{room})
	if err != nil {
		return in{}, err
	}
	if len(list) == 0 {
		return in{}, noRoom()
	}
	return c.admitted(tx, who, list[0], op)
}

// visit is enter for reading.
func (c *Chat) visit(v View, who actor, room wire.ID, op operation) (in, error) {
	r, err := v.Room(room)
	if err != nil {
		return in{}, err
	}
	if r == nil {
		return in{}, noRoom()
	}
	return c.admitted(v, who, r, op)
}

func (c *Chat) admitted(v View, who actor, r *Room, op operation) (in, error) {
	me, err := v.Member(r.N, who.n)
	if err != nil {
		return in{}, err
	}
	s := standingOf(me)
	if s == stranger && r.Public {
		out, err := v.Banned(r.N, who.n)
		if err != nil {
			return in{}, err
		}
		if out {
			s = banned
		}
	}
	if e := refuse(op, s, kindOf(r)); e != nil {
		return in{}, e
	}
	return in{r, me}, nil
}

// info returns a room as clients see it.
func (c *Chat) info(r *Room) *wire.RoomInfo {
	return &wire.RoomInfo{
		ID: r.ID, Name: r.Name, Banner: r.Banner, Public: r.Public, OneToOne: r.OneToOne, Creator: c.user(r.Creator),
		CreatedAt: moment(r.CreatedAt), Members: r.Members, LastSeq: uint64(r.LastSeq), LastAt: moment(r.LastAt),
	}
}

// mine returns a room as one who is in it sees it; m may be nil.
func (c *Chat) mine(r *Room, m *Member) *wire.RoomInfo {
	info := c.info(r)
	if m == nil {
		return info
	}
	ms := Membership{*r, *m}
	info.Mine = &wire.RoomMine{Role: m.Role, ReadSeq: uint64(m.ReadSeq), Unread: uint64(ms.unread())}
	if r.OneToOne {
		info.Mine.With = c.user(r.other(m.User))
	}
	return info
}

// Get returns a room as a user sees it, whose ID may have its domain behind it.
func (c *Chat) Get(ctx context.Context, user wire.UserID, room wire.ID, domain string) (*wire.RoomInfo, error) {
	var info *wire.RoomInfo
	err := c.visiting(ctx, user, room, domain, opSee, func(_ View, r in) error {
		info = c.mine(r.Room, r.me)
		return nil
	})
	return info, err
}

// Bans returns who is banned from a room, a page behind a place.
func (c *Chat) Bans(ctx context.Context, user wire.UserID, room wire.ID, domain, place string, limit int) (*wire.RoomBans, error) {
	out := &wire.RoomBans{Room: room}
	err := c.visiting(ctx, user, room, domain, opBan, func(v View, r in) error {
		after, e := placeOf(place)
		if e != nil {
			return e
		}
		list, err := v.Bans(r.N, after, limit)
		out.Bans, out.Next = nil, ""
		for _, b := range list {
			out.Bans = append(out.Bans, wire.RoomBan{User: c.user(b.User), By: c.user(b.By), At: moment(b.At)})
		}
		if len(list) == limit {
			out.Next = strconv.FormatInt(list[limit-1].User, 10)
		}
		return err
	})
	return out, err
}

// Versions returns what a message has been.
func (c *Chat) Versions(ctx context.Context, user wire.UserID, room wire.ID, domain string, message wire.ID) (*wire.RoomVersions, error) {
	out := &wire.RoomVersions{Room: room, ID: message}
	err := c.visiting(ctx, user, room, domain, opRead, func(v View, r in) error {
		m, err := v.Message(r.N, message)
		if err != nil {
			return err
		}
		if m == nil {
			return noMessage()
		}
		list, err := v.Versions(r.N, m.Seq)
		out.Seq, out.Versions = uint64(m.Seq), nil
		for _, x := range list {
			out.Versions = append(out.Versions, wire.RoomVersion{Content: x.Content, By: c.user(x.By), At: moment(x.At), Deleted: x.Deleted})
		}
		return err
	})
	return out, err
}

// visiting reads something of a room for a user.
func (c *Chat) visiting(ctx context.Context, user wire.UserID, room wire.ID, domain string, op operation, read func(View, in) error) error {
	who, e := c.actor(user)
	if e == nil {
		e = c.checkDomain(domain)
	}
	if e != nil {
		return e
	}
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	err := c.opts.Store.Read(ctx, func(v View) error {
		r, err := c.visit(v, who, room, op)
		if err != nil {
			return err
		}
		return read(v, r)
	})
	if err != nil {
		return c.failed(err)
	}
	return nil
}

// placeOf reads where a page begins.
func placeOf(text string) (int64, *wire.Error) {
	if text == "" {
		return -1, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, badField("data.after", ` is the "next" of an answer`)
	}
	return n, nil
}

func noMessage() *wire.Error {
	return general(wire.CodeNotFound, "there is no such message in this room")
}
