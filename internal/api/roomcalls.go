package api

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed-3d8c1042/switchboard/internal/chat"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Chat is the rooms of the chat app's users: *chat.Chat. Its errors are *wire.Error.
type Chat interface {
	Do(ctx context.Context, user wire.UserID, ask *wire.RoomAsk) (chat.Answer, error)
	Get(ctx context.Context, user wire.UserID, room wire.ID, domain string) (*wire.RoomInfo, error)
	Bans(ctx context.Context, user wire.UserID, room wire.ID, domain, place string, limit int) (*wire.RoomBans, error)
	Versions(ctx context.Context, user wire.UserID, room wire.ID, domain string, message wire.ID) (*wire.RoomVersions, error)
}

// roomCalls do what the frames about rooms do; their answers are what those frames have
// in data.
func (r Rooms) roomCalls() []Call {
	const room = "/v1/rooms/{room}"
	return []Call{
		{Method: "POST", Path: "/v1/rooms", Auth: ByAccount, Once: true, Status: http.StatusCreated, Handler: Handle(r.createRoom)},
		{Method: "GET", Path: "/v1/rooms", Auth: ByAccount, Handler: Handle(r.listRooms)},
		{Method: "GET", Path: room, Auth: ByAccount, Handler: Handle(r.getRoom)},
		{Method: "PATCH", Path: room, Auth: ByAccount, Handler: Handle(r.updateRoom)},
		{Method: "DELETE", Path: room, Auth: ByAccount, Handler: Handle(r.closeRoom)},
		{Method: "POST", Path: room + "/join", Auth: ByAccount, Handler: Handle(r.joinRoom)},
		{Method: "POST", Path: room + "/leave", Auth: ByAccount, Handler: Handle(r.leaveRoom)},
		{Method: "GET", Path: room + "/members", Auth: ByAccount, Handler: Handle(r.listMembers)},
		{Method: "POST", Path: room + "/members", Auth: ByAccount, Status: http.StatusCreated, Handler: Handle(r.inviteMember)},
		{Method: "PATCH", Path: room + "/members/{user}", Auth: ByAccount, Handler: Handle(r.giveRole)},
		{Method: "DELETE", Path: room + "/members/{user}", Auth: ByAccount, Handler: Handle(r.removeMember)},
		{Method: "GET", Path: room + "/bans", Auth: ByAccount, Handler: Handle(r.listBans)},
		{Method: "PUT", Path: room + "/bans/{user}", Auth: ByAccount, Handler: Handle(r.ban)},
		{Method: "DELETE", Path: room + "/bans/{user}", Auth: ByAccount, Handler: Handle(r.unban)},
		{Method: "GET", Path: room + "/messages", Auth: ByAccount, Handler: Handle(r.roomMessages)},
		{Method: "POST", Path: room + "/messages", Auth: ByAccount, Status: http.StatusCreated, Handler: Handle(r.sendToRoom)},
		{Method: "PATCH", Path: room + "/messages/{message}", Auth: ByAccount, Handler: Handle(r.editMessage)},
		{Method: "DELETE", Path: room + "/messages/{message}", Auth: ByAccount, Handler: Handle(r.deleteMessage)},
		{Method: "GET", Path: room + "/messages/{message}/versions", Auth: ByAccount, Handler: Handle(r.messageVersions)},
		{Method: "PUT", Path: room + "/read", Auth: ByAccount, Handler: Handle(r.markRead)},
	}
}

// roomRef names a room in a path, maybe with its domain.
type roomRef struct {
	id     wire.ID
	domain string
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *roomRef) UnmarshalText(b []byte) (err error) {
	if r.id, r.domain, err = wire.ParseRoomRef(string(b)); err != nil {
		err = errors.New("must be the ID of a room")
	}
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (r roomRef) MarshalText() ([]byte, error) { return r.id.MarshalText() }

// InRoom is the part of a request that names a room.
type InRoom struct {
	Room roomRef `path:"room"`
}

// ask begins what is asked for in the room.
func (q InRoom) ask(t wire.Type) *wire.RoomAsk {
	return &wire.RoomAsk{Type: t, Room: q.Room.id, Domain: q.Room.domain, Limit: wire.DefaultRoomPage}
}

// Paged is the part of a request that says which page of a list it is about.
type Paged struct {
	After string `query:"after"` // the "next" of the page before
	Limit *int   `query:"limit"`
}

// limit returns how many entries are asked for.
func (p Paged) limit() (int, *Refusal) { return roomPage(p.Limit) }

func roomPage(limit *int) (int, *Refusal) {
	switch {
	case limit == nil:
		return wire.DefaultRoomPage, nil
	case *limit < 1 || *limit > wire.MaxRoomPage:
		return 0, Invalid("limit", "must be a number from 1 to %d", wire.MaxRoomPage)
	}
	return *limit, nil
}

// told is an answer that is what a frame has in data. T is what it looks like.
type told[T any] struct{ data wire.RoomData }

func (a told[T]) appendJSON(dst []byte) []byte { return a.data.AppendData(dst) }
func (told[T]) shape() reflect.Type            { return reflect.TypeFor[T]() }

// tell has the rooms do what is asked for.
func tell[T any](ctx context.Context, r Rooms, who Identity, ask *wire.RoomAsk) (told[T], error) {
	answer, err := r.Chat.Do(ctx, who.Account.User, ask)
	return told[T]{answer.Data}, asCalled(err)
}

// asCalled returns an error of the rooms, which says where in a frame something is wrong,
// as one of a call, which has that in its body or its query.
func asCalled(err error) error {
	var e *wire.Error
	if !errors.As(err, &e) || !strings.HasPrefix(e.Field, "data.") {
		return err
	}
	own := *e
	own.Field = strings.TrimPrefix(e.Field, "data.")
	own.Reason = strings.ReplaceAll(e.Reason, "data.", "")
	return &own
}

// What the answers look like.
type (
	roomShape struct {
		ID        wire.ID     `json:"id"`
		Name      string      `json:"name"`
		Banner    string      `json:"banner"`
		Public    bool        `json:"public"`
		OneToOne  bool        `json:"oneToOne"`
		Creator   wire.UserID `json:"creator"`
		CreatedAt Time        `json:"createdAt"`
		Members   int64       `json:"members"`
		LastSeq   int64       `json:"lastSeq"`
		LastAt    Time        `json:"lastAt,omitzero"`
		Role      string      `json:"role,omitzero"`
		ReadSeq   int64       `json:"readSeq,omitzero"`
		Unread    int64       `json:"unread,omitzero"`
		With      wire.UserID `json:"with,omitzero"`
		Deleted   bool        `json:"deleted,omitzero"`
	}
	roomsShape struct {
		Rooms []roomShape `json:"rooms"`
		Next  string      `json:"next,omitzero"`
	}
	membershipShape struct {
		Room   wire.ID     `json:"room"`
		User   wire.UserID `json:"user"`
		Role   string      `json:"role,omitzero"`
		By     wire.UserID `json:"by"`
		Reason string      `json:"reason,omitzero"`
	}
	memberShape struct {
		User    wire.UserID `json:"user"`
		Role    string      `json:"role"`
		Since   Time        `json:"since"`
		ReadSeq int64       `json:"readSeq"`
	}
	membersShape struct {
		Room    wire.ID       `json:"room"`
		Members []memberShape `json:"members"`
		Next    string        `json:"next,omitzero"`
	}
	banShape struct {
		User wire.UserID `json:"user"`
		By   wire.UserID `json:"by"`
		At   Time        `json:"at"`
	}
	bansShape struct {
		Room wire.ID    `json:"room"`
		Bans []banShape `json:"bans"`
		Next string     `json:"next,omitzero"`
	}
	roomMessageShape struct {
		ID        wire.ID        `json:"id"`
		Seq       int64          `json:"seq"`
		From      wire.UserID    `json:"from"`
		Content   jsontext.Value `json:"content,omitzero"`
		At        Time           `json:"at"`
		EditedAt  Time           `json:"editedAt,omitzero"`
		EditedBy  wire.UserID    `json:"editedBy,omitzero"`
		Deleted   bool           `json:"deleted,omitzero"`
		DeletedAt Time           `json:"deletedAt,omitzero"`
		DeletedBy wire.UserID    `json:"deletedBy,omitzero"`
	}
	roomMessagesShape struct {
		Room     wire.ID            `json:"room"`
		Words    string             `json:"words,omitzero"`
		Messages []roomMessageShape `json:"messages"`
		More     bool               `json:"more"`
		Before   int64              `json:"before,omitzero"`
	}
	roomSentShape struct {
		Room     wire.ID `json:"room"`
		ID       wire.ID `json:"id"`
		Seq      int64   `json:"seq"`
		At       Time    `json:"at"`
		ClientID string  `json:"clientId,omitzero"`
	}
	roomChangeShape struct {
		Room    wire.ID        `json:"room"`
		ID      wire.ID        `json:"id"`
		Seq     int64          `json:"seq"`
		By      wire.UserID    `json:"by"`
		At      Time           `json:"at"`
		Content jsontext.Value `json:"content,omitzero"`
		Deleted bool           `json:"deleted,omitzero"`
	}
	versionShape struct {
		Content jsontext.Value `json:"content,omitzero"`
		By      wire.UserID    `json:"by"`
		At      Time           `json:"at"`
		Deleted bool           `json:"deleted,omitzero"`
	}
	versionsShape struct {
		Room     wire.ID        `json:"room"`
		ID       wire.ID        `json:"id"`
		Seq      int64          `json:"seq"`
		Versions []versionShape `json:"versions"`
	}
	markShape struct {
		Room wire.ID     `json:"room"`
		User wire.UserID `json:"user"`
		Seq  int64       `json:"seq"`
		At   Time        `json:"at"`
	}
)

type createRoomRequest struct {
	Body createRoomBody `body:"json"`
}

type createRoomBody struct {
	Name   *string     `json:"name,omitzero"`
	Public *bool       `json:"public,omitzero"`
	Banner *string     `json:"banner,omitzero"`
	With   wire.UserID `json:"with,omitzero"`
}

func (r Rooms) createRoom(ctx context.Context, who Identity, q createRoomRequest) (told[roomShape], error) {
	b := q.Body
	return tell[roomShape](ctx, r, who, &wire.RoomAsk{Type: wire.TypeRoomCreate, Name: b.Name, Public: b.Public, Banner: b.Banner, With: b.With})
}

type listRoomsRequest struct {
	Paged
	Public bool `query:"public"` // rather than those that the user is in
}

func (r Rooms) listRooms(ctx context.Context, who Identity, q listRoomsRequest) (told[roomsShape], error) {
	limit, refused := q.limit()
	if refused != nil {
		return told[roomsShape]{}, refused
	}
	return tell[roomsShape](ctx, r, who, &wire.RoomAsk{Type: wire.TypeRoomList, Public: &q.Public, Place: q.After, Limit: limit})
}

type roomRequest struct{ InRoom }

func (r Rooms) getRoom(ctx context.Context, who Identity, q roomRequest) (told[roomShape], error) {
	info, err := r.Chat.Get(ctx, who.Account.User, q.Room.id, q.Room.domain)
	return told[roomShape]{info}, err
}

type updateRoomRequest struct {
	InRoom
	Body updateRoomBody `body:"json"`
}

type updateRoomBody struct {
	Name   *string `json:"name,omitzero"`
	Public *bool   `json:"public,omitzero"`
	Banner *string `json:"banner,omitzero"`
}

func (r Rooms) updateRoom(ctx context.Context, who Identity, q updateRoomRequest) (told[roomShape], error) {
	ask := q.ask(wire.TypeRoomUpdate)
	ask.Name, ask.Public, ask.Banner = q.Body.Name, q.Body.Public, q.Body.Banner
	return tell[roomShape](ctx, r, who, ask)
}

func (r Rooms) closeRoom(ctx context.Context, who Identity, q roomRequest) (told[roomShape], error) {
	return tell[roomShape](ctx, r, who, q.ask(wire.TypeRoomClose))
}

func (r Rooms) joinRoom(ctx context.Context, who Identity, q roomRequest) (told[membershipShape], error) {
	return tell[membershipShape](ctx, r, who, q.ask(wire.TypeRoomJoin))
}

func (r Rooms) leaveRoom(ctx context.Context, who Identity, q roomRequest) (told[membershipShape], error) {
	return tell[membershipShape](ctx, r, who, q.ask(wire.TypeRoomLeave))
}

type roomPageRequest struct {
	InRoom
	Paged
}

func (r Rooms) listMembers(ctx context.Context, who Identity, q roomPageRequest) (told[membersShape], error) {
	limit, refused := q.limit()
	if refused != nil {
		return told[membersShape]{}, refused
	}
	ask := q.ask(wire.TypeRoomMembers)
	ask.Place, ask.Limit = q.After, limit
	return tell[membersShape](ctx, r, who, ask)
}

type inviteRequest struct {
	InRoom
	Body inviteBody `body:"json"`
}

type inviteBody struct {
	User wire.UserID `json:"user"`
}

func (r Rooms) inviteMember(ctx context.Context, who Identity, q inviteRequest) (told[membershipShape], error) {
	ask := q.ask(wire.TypeRoomInvite)
	ask.User = q.Body.User
	return tell[membershipShape](ctx, r, who, ask)
}

// OfMember names somebody in a room.
type OfMember struct {
	InRoom
	User wire.UserID `path:"user"`
}

func (q OfMember) about(t wire.Type) *wire.RoomAsk {
	ask := q.ask(t)
	ask.User = q.User
	return ask
}

type giveRoleRequest struct {
	OfMember
	Body giveRoleBody `body:"json"`
}

type giveRoleBody struct {
	Role string `json:"role"`
}

func (r Rooms) giveRole(ctx context.Context, who Identity, q giveRoleRequest) (told[membershipShape], error) {
	ask := q.about(wire.TypeRoomRole)
	ask.Role = q.Body.Role
	return tell[membershipShape](ctx, r, who, ask)
}

func (r Rooms) removeMember(ctx context.Context, who Identity, q OfMember) (told[membershipShape], error) {
	return tell[membershipShape](ctx, r, who, q.about(wire.TypeRoomRemove))
}

func (r Rooms) listBans(ctx context.Context, who Identity, q roomPageRequest) (told[bansShape], error) {
	limit, refused := q.limit()
	if refused != nil {
		return told[bansShape]{}, refused
	}
	list, err := r.Chat.Bans(ctx, who.Account.User, q.Room.id, q.Room.domain, q.After, limit)
	return told[bansShape]{list}, asCalled(err)
}

func (r Rooms) ban(ctx context.Context, who Identity, q OfMember) (told[membershipShape], error) {
	return tell[membershipShape](ctx, r, who, q.about(wire.TypeRoomBan))
}

func (r Rooms) unban(ctx context.Context, who Identity, q OfMember) (told[membershipShape], error) {
	return tell[membershipShape](ctx, r, who, q.about(wire.TypeRoomUnban))
}

type roomMessagesRequest struct {
	InRoom
	Before *int64  `query:"before"`
	After  *int64  `query:"after"`
	Limit  *int    `query:"limit"`
	Words  *string `query:"words"`
}

func (r Rooms) roomMessages(ctx context.Context, who Identity, q roomMessagesRequest) (told[roomMessagesShape], error) {
	limit, refused := roomPage(q.Limit)
	if refused != nil {
		return told[roomMessagesShape]{}, refused
	}
	ask := q.ask(wire.TypeRoomHistory)
	ask.Limit = limit
	if q.Words != nil {
		ask.Type, ask.Words = wire.TypeRoomSearch, *q.Words
	}
	switch before, after := q.Before, q.After; {
	case after != nil && (before != nil || q.Words != nil):
		return told[roomMessagesShape]{}, Invalid("after", "and before, or words, are not for one and the same page")
	case before != nil && (*before < 1 || *before > wire.MaxSeq):
		return told[roomMessagesShape]{}, Invalid("before", "must be a whole number from 1")
	case after != nil && (*after < 0 || *after > wire.MaxSeq):
		return told[roomMessagesShape]{}, Invalid("after", "must be a whole number from 0")
	case before != nil:
		ask.Before = uint64(*before)
	case after != nil:
		ask.After, ask.FromStart = uint64(*after), true
	}
	return tell[roomMessagesShape](ctx, r, who, ask)
}

type sendToRoomRequest struct {
	InRoom
	Body sendToRoomBody `body:"json"`
}

type sendToRoomBody struct {
	Content  jsontext.Value `json:"content"`
	ClientID string         `json:"clientId,omitzero"`
}

func (r Rooms) sendToRoom(ctx context.Context, who Identity, q sendToRoomRequest) (told[roomSentShape], error) {
	if id := q.Body.ClientID; id != "" && !wire.GoodClientID(id) {
		return told[roomSentShape]{}, Invalid("clientId", "must have 1 to %d bytes, none of them a control character", wire.MaxClientID)
	}
	ask := q.ask(wire.TypeRoomSend)
	ask.Content, ask.ClientID = q.Body.Content, q.Body.ClientID
	return tell[roomSentShape](ctx, r, who, ask)
}

// OfMessage names a message in a room.
type OfMessage struct {
	InRoom
	Message wire.ID `path:"message"`
}

type editMessageRequest struct {
	OfMessage
	Body editMessageBody `body:"json"`
}

type editMessageBody struct {
	Content jsontext.Value `json:"content"`
}

func (r Rooms) editMessage(ctx context.Context, who Identity, q editMessageRequest) (told[roomChangeShape], error) {
	ask := q.ask(wire.TypeRoomEdit)
	ask.ID, ask.Content = q.Message, q.Body.Content
	return tell[roomChangeShape](ctx, r, who, ask)
}

func (r Rooms) deleteMessage(ctx context.Context, who Identity, q OfMessage) (told[roomChangeShape], error) {
	ask := q.ask(wire.TypeRoomDelete)
	ask.ID = q.Message
	return tell[roomChangeShape](ctx, r, who, ask)
}

func (r Rooms) messageVersions(ctx context.Context, who Identity, q OfMessage) (told[versionsShape], error) {
	list, err := r.Chat.Versions(ctx, who.Account.User, q.Room.id, q.Room.domain, q.Message)
	return told[versionsShape]{list}, err
}

type markReadRequest struct {
	InRoom
	Body markReadBody `body:"json"`
}

type markReadBody struct {
	ID  wire.ID `json:"id,omitzero"`
	Seq *int64  `json:"seq,omitzero"`
}

func (r Rooms) markRead(ctx context.Context, who Identity, q markReadRequest) (told[markShape], error) {
	ask := q.ask(wire.TypeRoomRead)
	switch b := q.Body; {
	case b.Seq != nil && *b.Seq < 0:
		return told[markShape]{}, Invalid("seq", "must be a whole number from 0")
	case b.Seq != nil:
		ask.Seq = uint64(*b.Seq)
	case b.ID.IsZero():
		return told[markShape]{}, Invalid("id", "is needed, or seq")
	}
	ask.ID = q.Body.ID
	return tell[markShape](ctx, r, who, ask)
}
