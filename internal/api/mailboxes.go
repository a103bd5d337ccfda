package api

import (
	"context"
	"errors"
	"reflect"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func (r Rooms) mailboxCalls() []Call {
	return []Call{
		{Method: "GET", Path: "/v1/users/{userId}/mailbox", Scope: keys.UsersRead, Handler: Handle(r.getMailbox)},
		{Method: "GET", Path: "/v1/users/{userId}/mailbox/messages", Scope: keys.MailboxesRead, Handler: Handle(r.peek)},
		{Method: "DELETE", Path: "/v1/users/{userId}/mailbox/messages", Scope: keys.MailboxesClear, Once: true, Handler: Handle(r.clear)},
	}
}

// mailboxAnswer is how much waits for a user, what is on its way to a session
// included.
type mailboxAnswer struct {
	Messages int   `json:"messages"`
	Bytes    int64 `json:"bytes"`
	Oldest   Time  `json:"oldest,omitzero"`
}

func (r Rooms) getMailbox(ctx context.Context, _ Identity, q userRequest) (mailboxAnswer, error) {
	return r.mailbox(ctx, q.User)
}

func (r Rooms) mailbox(ctx context.Context, user wire.UserID) (mailboxAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Messages().Wait)
	defer cancel()
	m, err := r.Mailboxes.Mailbox(ctx, user)
	return mailboxAnswer{m.Messages, m.Bytes, Time(m.Oldest)}, err
}

type peekRequest struct {
	User wire.UserID `path:"userId"`
	Page
}

// peekAnswer is a page of what waits. The frames leave as sessions would get
// them, byte for byte.
type peekAnswer struct {
	messages []mailbox.Waiting
	next     Cursor
}

func (peekAnswer) shape() reflect.Type {
	return reflect.TypeFor[struct {
		Messages []struct {
			ID        string         `json:"id"`
			StoredAt  Time           `json:"storedAt"`
			ExpiresAt Time           `json:"expiresAt,omitzero"`
			Frame     jsontext.Value `json:"frame"`
		} `json:"messages"`
		Next Cursor `json:"next,omitzero"`
	}]()
}

// appendJSON implements appender.
func (a peekAnswer) appendJSON(b []byte) []byte {
	b = append(b, `{"messages":[`...)
	for i := range a.messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendWaiting(b, &a.messages[i])
	}
	b = append(b, ']')
	if !a.next.IsZero() {
		b = appendMember(append(b, ','), "next", a.next.text)
	}
	return append(b, '}')
}

// appendWaiting appends one message. IDs and times always have a text.
func appendWaiting(b []byte, w *mailbox.Waiting) []byte {
	b = append(b, `{"id":"`...)
	b, _ = w.ID.AppendText(b)
	b = append(b, `","storedAt":"`...)
	b, _ = Time(w.Accepted).AppendText(b)
	if !w.Expires.IsZero() {
		b = append(b, `","expiresAt":"`...)
		b, _ = Time(w.Expires).AppendText(b)
	}
	b = append(b, `","frame":`...)
	return append(append(b, w.Frame...), '}')
}

// peek shows what waits for a user, oldest first, and leaves it there.
func (r Rooms) peek(ctx context.Context, _ Identity, q peekRequest) (peekAnswer, error) {
	after := uint64(0)
	if p := q.Cursor.Position; p != "" {
		var err error
		if after, err = strconv.ParseUint(p, 10, 64); err != nil {
			return peekAnswer{}, Invalid("cursor", "is of another list")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, r.Messages().Wait)
	defer cancel()
	list, more, err := r.Mailboxes.Peek(ctx, q.User, after, q.Limit)
	if err != nil {
		return peekAnswer{}, err
	}
	answer := peekAnswer{messages: list}
	if more {
		answer.next = q.Next(strconv.FormatUint(list[len(list)-1].Place, 10))
	}
	return answer, nil
}

type clearedAnswer struct {
	Removed int `json:"removed"`
}

// clear takes out of a mailbox what is on its way to no session.
func (r Rooms) clear(ctx context.Context, who Identity, q userRequest) (clearedAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Messages().Wait)
	defer cancel()
	n, err := r.Mailboxes.Clear(ctx, q.User)
	if errors.Is(err, context.DeadlineExceeded) {
		return clearedAnswer{}, FromWire(&wire.Error{
			Code: wire.CodeTimeout, Reason: "the message store did not answer; the mailbox may yet be emptied", MayYetArrive: true,
		})
	}
	r.noteDone(err, who, "mailboxCleared", q.User.App(), string(q.User), "")
	return clearedAnswer{n}, err
}
