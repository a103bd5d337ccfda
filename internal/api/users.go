package api

import (
	"context"
	"strings"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func (r Rooms) userCalls() []Call {
	return []Call{
		{Method: "GET", Path: "/v1/users", Scope: keys.UsersRead, Handler: Handle(r.listUsers)},
		{Method: "GET", Path: "/v1/users/{userId}", Scope: keys.UsersRead, Handler: Handle(r.getUser)},
		{Method: "GET", Path: "/v1/users/{userId}/sessions", Scope: keys.UsersRead, Handler: Handle(r.listUserSessions)},
		{Method: "DELETE", Path: "/v1/users/{userId}/sessions", Scope: keys.SessionsClose, Once: true, Handler: Handle(r.closeSessions)},
		{Method: "DELETE", Path: "/v1/users/{userId}/sessions/{id}", Scope: keys.SessionsClose, Once: true, Handler: Handle(r.closeSession)},
		{Method: "GET", Path: "/v1/sessions", Scope: keys.UsersRead, Handler: Handle(r.listSessions)},
	}
}

type appPageRequest struct {
	App App `query:"app"`
	Page
}

type userRequest struct {
	User wire.UserID `path:"userId"`
}

// presentUser is one who is connected.
type presentUser struct {
	User     wire.UserID `json:"userId"`
	Sessions int         `json:"sessions"`
	Since    Time        `json:"since"`
}

type usersAnswer struct {
	Users []presentUser `json:"users"`
	Next  Cursor        `json:"next,omitzero"`
}

// listUsers lists who is connected, by user ID.
func (r Rooms) listUsers(_ context.Context, _ Identity, q appPageRequest) (usersAnswer, error) {
	list, more := r.Hub.Users(string(q.App), wire.UserID(q.Cursor.Position), q.Limit)
	answer := usersAnswer{Users: make([]presentUser, len(list))}
	for i, u := range list {
		answer.Users[i] = presentUser{u.User, u.Sessions, Time(u.Since)}
	}
	if more {
		answer.Next = q.Next(string(list[len(list)-1].User))
	}
	return answer, nil
}

// userAnswer is what is known of a user, connected or not.
type userAnswer struct {
	User     wire.UserID   `json:"userId"`
	Online   bool          `json:"online"`
	Sessions int           `json:"sessions"`
	Since    Time          `json:"since,omitzero"`
	Mailbox  mailboxAnswer `json:"mailbox"`
}

func (r Rooms) getUser(ctx context.Context, _ Identity, q userRequest) (userAnswer, error) {
	box, err := r.mailbox(ctx, q.User)
	if err != nil {
		return userAnswer{}, err
	}
	u := r.Hub.Online(q.User)
	return userAnswer{User: q.User, Online: u.Sessions > 0, Sessions: u.Sessions, Since: Time(u.Since), Mailbox: box}, nil
}

// sessionAnswer is one session.
type sessionAnswer struct {
	ID        wire.ID     `json:"id"`
	User      wire.UserID `json:"userId"`
	Since     Time        `json:"since"`
	Address   string      `json:"address"`
	Transport string      `json:"transport"`
}

type sessionsAnswer struct {
	Sessions []sessionAnswer `json:"sessions"`
	Next     Cursor          `json:"next,omitzero"`
}

func showSessions(list []delivery.Session) []sessionAnswer {
	shown := make([]sessionAnswer, len(list))
	for i, s := range list {
		shown[i] = sessionAnswer{s.ID, s.User, Time(s.Since), s.Address, s.Transport}
	}
	return shown
}

// userSessionsAnswer has no pages: a user has few sessions.
type userSessionsAnswer struct {
	Sessions []sessionAnswer `json:"sessions"`
}

func (r Rooms) listUserSessions(_ context.Context, _ Identity, q userRequest) (userSessionsAnswer, error) {
	return userSessionsAnswer{showSessions(r.Hub.Sessions(q.User))}, nil
}

// listSessions lists an app's sessions, by user ID and session ID.
func (r Rooms) listSessions(_ context.Context, _ Identity, q appPageRequest) (sessionsAnswer, error) {
	place, err := sessionPlace(q.Cursor.Position)
	if err != nil {
		return sessionsAnswer{}, err
	}
	list, more := r.Hub.SessionsOf(string(q.App), place, q.Limit)
	answer := sessionsAnswer{Sessions: showSessions(list)}
	if more {
		last := list[len(list)-1]
		answer.Next = q.Next(string(last.User) + " " + last.ID.String())
	}
	return answer, nil
}

// sessionPlace reads what listSessions made of the last session of a page.
func sessionPlace(position string) (delivery.Place, error) {
	if position == "" {
		return delivery.Place{}, nil
	}
	user, text, _ := strings.Cut(position, " ")
	id, err := wire.ParseID(text)
	if err != nil {
		return delivery.Place{}, Invalid("cursor", "is of another list")
	}
	return delivery.Place{User: wire.UserID(user), ID: id}, nil
}

type closedAnswer struct {
	Closed int `json:"closed"`
}

// closeSessions closes all sessions of a user. Those that begin meanwhile stay.
func (r Rooms) closeSessions(_ context.Context, who Identity, q userRequest) (closedAnswer, error) {
	r.note(who, "sessionsClosed", q.User.App(), string(q.User), "")
	return closedAnswer{r.Hub.Kick(q.User, wire.CloseNormal, closedOver)}, nil
}

// closedOver is what a client is told whose session is closed.
const closedOver = "closed through the server's API"

type sessionRequest struct {
	User wire.UserID `path:"userId"`
	ID   string      `path:"id"`
}

func (r Rooms) closeSession(_ context.Context, who Identity, q sessionRequest) (closedAnswer, error) {
	id, err := wire.ParseID(q.ID)
	if err != nil || !r.Hub.Close(q.User, id, wire.CloseNormal, closedOver) {
		return closedAnswer{}, NotFound("%s has no session %q", q.User, clip(q.ID))
	}
	r.note(who, "sessionsClosed", q.User.App(), string(q.User), q.ID)
	return closedAnswer{1}, nil
}
