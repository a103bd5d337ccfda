package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed-3d8c1042/switchboard/internal/events"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Streams are the streams of events, of all nodes: *events.Exchange.
type Streams interface {
	Connect(ctx context.Context, r events.Request) (events.Session, error)
	Find(secret string) (events.Session, error)
}

// EventLimits bound the calls about events. They may change at any time.
type EventLimits struct {
	Frame      int           // bytes of a client's frame
	Receivers  int           // of a group message
	Unanswered time.Duration // a client whose machine takes nothing for so long is gone
	Heartbeat  time.Duration // it is sent something at least so often
}

// Events are the calls of clients that have events in place of a WebSocket.
type Events struct {
	streams Streams
	limits  func() EventLimits

	mu      sync.Mutex
	answers int           // under way, those without their handler included
	none    chan struct{} // closed when there are none, if somebody waits; nil: nobody does
}

// NewEvents makes the calls.
func NewEvents(streams Streams, limits func() EventLimits) *Events {
	return &Events{streams: streams, limits: limits}
}

// Wait returns when no answer of events is left, which is soon after the last
// session has ended.
func (e *Events) Wait() {
	e.mu.Lock()
	if e.answers == 0 {
		e.mu.Unlock()
		return
	}
	if e.none == nil {
		e.none = make(chan struct{})
	}
	none := e.none
	e.mu.Unlock()
	<-none
}

// count counts an answer that begins, or with -1 one that has ended.
func (e *Events) count(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.answers += n; e.answers == 0 && e.none != nil {
		close(e.none)
		e.none = nil
	}
}

func (e *Events) calls() []Call {
	return []Call{
		{Method: "GET", Path: "/v1/events", Auth: ByToken, Stream: true, Handler: Serve(e.stream)},
		{Method: "DELETE", Path: "/v1/events", Auth: ByToken, Status: http.StatusNoContent, Handler: Serve(e.end)},
		{Method: "POST", Path: "/v1/events/acks", Auth: ByToken, Status: http.StatusNoContent, Handler: Serve(e.acknowledge)},
		{Method: "POST", Path: "/v1/frames", Auth: ByToken, Status: http.StatusAccepted, Handler: Serve(e.send)},
	}
}

// streamRequest is what an AUTH_CLIENT says, as a URL. A browser that comes back
// sends the header Last-Event-ID; a page that opens another stream can only say
// it here.
type streamRequest struct {
	AppID       string `query:"appId"`
	UserID      string `query:"userId"`
	Token       string `query:"token"`
	Push        bool   `query:"push"`
	Receipts    bool   `query:"receipts"`
	Presence    string `query:"presence"`
	Producer    string `query:"producer"`
	LastEventID string `query:"lastEventId"`
}

// stream signs a client in, or finds the session that it had, and writes events
// until one of them goes. What is refused is, before the answer begins.
func (e *Events) stream(w http.ResponseWriter, r *http.Request, _ Identity, q streamRequest) error {
	request, refused := q.request(r)
	if refused != nil {
		return refused
	}
	e.count(1)
	alone := false
	defer func() {
		if !alone {
			e.count(-1)
		}
	}()
	st, err := e.streams.Connect(r.Context(), request)
	if err != nil {
		return e.refuse(w, err, "lastEventId")
	}
	answer, own, err := beginEvents(w, e.limits().Unanswered)
	if err != nil {
		return fmt.Errorf("begin an answer of events: %w", err)
	}
	if !st.Attach(answer) {
		answer.End()
	}
	if alone = own; alone {
		go func() { // Wait waits for it
			defer e.count(-1)
			answer.wait(nil)
			st.Detach(answer)
		}()
		return nil
	}
	answer.wait(r.Context().Done())
	st.Detach(answer)
	return nil
}

// request puts together what stands in the URL and in headers.
func (q *streamRequest) request(r *http.Request) (events.Request, *Refusal) {
	for _, needed := range []struct{ name, value string }{{"appId", q.AppID}, {"userId", q.UserID}} {
		if needed.value == "" {
			return events.Request{}, Invalid(needed.name, "is needed")
		}
	}
	if len(r.Header.Values("Authorization")) > 0 {
		presented, refused := token(r, "<token>")
		if refused != nil {
			return events.Request{}, refused
		}
		if q.Token != "" {
			return events.Request{}, Invalid("token", "is given in the URL and as Authorization: give it once")
		}
		q.Token = presented
	}
	last := q.LastEventID
	if sent := r.Header.Get("Last-Event-ID"); sent != "" {
		last = sent // it is the newer one
	}
	request := events.Request{
		Credentials: events.Credentials{AppID: q.AppID, UserID: q.UserID, Token: q.Token},
		Push:        q.Push, Receipts: q.Receipts, Producer: q.Producer, LastEventID: last, Address: r.RemoteAddr,
	}
	if q.Producer != "" && !wire.ValidProducer(q.Producer) {
		return events.Request{}, Invalid("producer", "has 1 to %d of A-Z a-z 0-9 . _ -", wire.MaxProducer)
	}
	if q.Presence != "" {
		request.Presence = strings.Split(q.Presence, ",")
	}
	for _, user := range request.Presence {
		if err := wire.CheckUserID([]byte(user)); err != nil {
			return events.Request{}, Invalid("presence", "must be user IDs with commas between them; %q is none: %s", clip(user), err)
		}
	}
	return request, nil
}

// token reads the header Authorization; what names what should stand there.
func token(r *http.Request, what string) (string, *Refusal) {
	presented, given, ok := bearer(r)
	switch {
	case !given:
		return "", Refuse(http.StatusUnauthorized, CodeAuthRequired, "this call needs the header Authorization: Bearer %s", what)
	case !ok:
		return "", Refuse(http.StatusUnauthorized, CodeAuthRequired, "the header must be Authorization: Bearer %s, once", what)
	}
	return presented, nil
}

// parameterOf says of which parameter a sign-in's refusal is.
var parameterOf = map[string]string{
	wire.CodeBadUserID: "userId", wire.CodeUnknownApp: "appId", wire.CodeWrongAppID: "appId", wire.CodeTooMany: "presence",
}

// session finds the session whose secret a request carries.
func (e *Events) session(w http.ResponseWriter, r *http.Request) (events.Session, error) {
	secret, refused := token(r, `<"session" of the first event>`)
	if refused != nil {
		askBearer(w)
		return nil, refused
	}
	st, err := e.streams.Find(secret)
	if errors.Is(err, events.ErrUnknown) && keys.Looks(secret) {
		askBearer(w)
		return nil, Refuse(http.StatusUnauthorized, CodeSessionUnknown,
			"this is an API key; the call takes the secret of a user's session: \"session\" of the first event of GET /v1/events")
	}
	if err != nil {
		return nil, e.refuse(w, err, "")
	}
	return st, nil
}

// refuse returns the refusal for an error of the streams. field is what names an
// event in the request.
func (e *Events) refuse(w http.ResponseWriter, err error, field string) error {
	var told *wire.Error
	var over *events.OverError
	switch {
	case errors.As(err, &told):
		refused := FromWire(told)
		refused.Field = parameterOf[told.Code]
		switch refused.Status {
		case http.StatusUnauthorized:
			askBearer(w)
		case http.StatusTooManyRequests:
			// By then a session is known whose client went without a word, and makes
			// room. Where all clients stay, waiting does not help.
			limits := e.limits()
			refused.RetryAfter = limits.Heartbeat + limits.Unanswered
		}
		return refused
	case errors.As(err, &over):
		refused := Refuse(http.StatusGone, CodeSessionOver, "this session is over, and is not to be opened again by itself")
		refused.More = map[string]any{"closeCode": over.Code}
		return refused
	case errors.Is(err, events.ErrUnknown):
		askBearer(w)
		return Refuse(http.StatusUnauthorized, CodeSessionUnknown, "%s", err)
	case errors.Is(err, events.ErrBadID):
		return Invalid(field, "must be the ID of an event that this session was sent: what its line id: says, such as mgsaGRQk_cbHqmcO.2")
	case errors.Is(err, events.ErrMany):
		refused := Refuse(http.StatusTooManyRequests, CodeRateLimited, "%s", err)
		refused.RetryAfter = soon
		return refused
	case errors.Is(err, events.ErrBusy):
		refused := Refuse(http.StatusServiceUnavailable, wire.CodeOverloaded, "%s", err)
		refused.RetryAfter = soon
		return refused
	}
	return err
}

type signOutRequest struct{}

// end signs a client out.
func (e *Events) end(w http.ResponseWriter, r *http.Request, _ Identity, _ signOutRequest) error {
	st, err := e.session(w, r)
	if err != nil {
		return err
	}
	if err := st.End(r.Context(), wire.CloseNormal); err != nil {
		return e.refuse(w, err, "")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type acknowledgeRequest struct {
	Body acknowledgeBody `body:"json"`
}

type acknowledgeBody struct {
	ID string `json:"id"`
}

// acknowledge takes the last event that a client has handled.
func (e *Events) acknowledge(w http.ResponseWriter, r *http.Request, _ Identity, q acknowledgeRequest) error {
	st, err := e.session(w, r)
	if err != nil {
		return err
	}
	if err := st.Ack(r.Context(), q.Body.ID); err != nil {
		if _, no := wire.ParseID(q.Body.ID); no == nil && errors.Is(err, events.ErrBadID) {
			return Invalid("id", "is a message's: an acknowledgement takes that of its event, what the line id: says, such as mgsaGRQk_cbHqmcO.2")
		}
		return e.refuse(w, err, "id")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type frameRequest struct {
	Frame jsontext.Value `body:"raw"`
}

// send takes one frame. What the frame itself shows to be wrong is the answer;
// what only the session knows comes as events.
func (e *Events) send(w http.ResponseWriter, r *http.Request, _ Identity, q frameRequest) error {
	st, err := e.session(w, r)
	if err != nil {
		return err
	}
	if refused := e.check(q.Frame); refused != nil {
		if err := st.Known(r.Context()); err != nil {
			return e.refuse(w, err, "")
		}
		return refused
	}
	if err := st.Send(r.Context(), q.Frame); err != nil {
		return e.refuse(w, err, "")
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// check says what is wrong with a frame, as it shows by itself; nil for nothing.
func (e *Events) check(text []byte) *Refusal {
	limits := e.limits()
	if len(text) > limits.Frame {
		return Refuse(http.StatusRequestEntityTooLarge, CodeBodyTooLarge, "a frame may have %d bytes", limits.Frame)
	}
	if !utf8.Valid(text) {
		return FromWire(&wire.Error{Kind: wire.KindInvalidMessage, Code: wire.CodeNotJSON, Reason: "the frame is not UTF-8"})
	}
	frame, bad := wire.ParseFrame(text)
	if bad == nil {
		bad = frame.Check(limits.Receivers)
	}
	if bad != nil {
		return FromWire(bad)
	}
	return nil
}
