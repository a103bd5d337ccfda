package api

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func (r Rooms) messageCalls() []Call {
	return []Call{
		{Method: "POST", Path: "/v1/messages", Scope: keys.MessagesSend, Once: true, Status: http.StatusCreated, Handler: Handle(r.sendMessage)},
		{Method: "POST", Path: "/v1/messages/batch", Scope: keys.MessagesSend, Once: true, Handler: Handle(r.sendBatch)},
		{Method: "POST", Path: "/v1/broadcasts", Scope: keys.MessagesSend, Once: true, Status: http.StatusAccepted, Handler: Handle(r.broadcast)},
	}
}

// messageBody is what is sent, as wire.ParseSubmission reads it.
type messageBody struct {
	To        jsontext.Value `json:"to"` // a user ID or a list of them
	Content   jsontext.Value `json:"content"`
	From      wire.UserID    `json:"from,omitzero"`
	App       string         `json:"app,omitzero"`
	Feature   string         `json:"feature,omitzero"`
	Reference string         `json:"reference,omitzero"`
	TTL       int64          `json:"ttl,omitzero"`
	Confirm   bool           `json:"confirmationEnabled,omitzero"`
}

type sendRequest struct {
	Once *Once
	Body Raw[messageBody] `body:"json"`
}

// sentAnswer says what became of one message.
type sentAnswer struct {
	outcome
	repeated bool
}

func (sentAnswer) shape() reflect.Type {
	return reflect.TypeFor[struct {
		ID       string    `json:"id,omitzero"`
		Status   string    `json:"status"`
		Sessions *int      `json:"sessions,omitzero"`
		Failed   []failure `json:"failed,omitzero"`
	}]()
}

// Status is 202 for a message that is kept nowhere.
func (a sentAnswer) Status() int {
	if a.fast {
		return http.StatusAccepted
	}
	return http.StatusCreated
}

// Replayed implements what call.go says.
func (a sentAnswer) Replayed() bool { return a.repeated }

func (r Rooms) sendMessage(ctx context.Context, who Identity, q sendRequest) (sentAnswer, error) {
	if err := checkText(q.Body); err != nil {
		return sentAnswer{}, err
	}
	limits := r.Messages()
	parsed, wrong := wire.ParseSubmission(q.Body, limits.Receivers)
	if wrong != nil {
		return sentAnswer{}, fromBody(wrong)
	}
	s := newShipment(1)
	o := &s.list[0]
	o.wrong = r.fill(o, &parsed, who, &limits)
	ctx, cancel := context.WithTimeout(ctx, limits.Wait)
	defer cancel()
	if err := s.send(ctx, r.Hub, q.Once); err != nil {
		return sentAnswer{}, unanswered(err, !o.Fast)
	}
	out := s.outcome(o)
	if out.refusal != nil {
		return sentAnswer{}, out.problem()
	}
	return sentAnswer{out, s.repeated()}, nil
}

// unanswered is what is said of a message of which nothing was heard in time.
func unanswered(err error, mayYetArrive bool) *Refusal {
	if !errors.Is(err, context.DeadlineExceeded) {
		return asRefusal(err)
	}
	return FromWire(&wire.Error{
		Code: wire.CodeTimeout, MayYetArrive: mayYetArrive,
		Reason: "the message store did not answer; the message may yet arrive",
	})
}

// fill makes a message of what a request says, or says what is wrong with it.
func (r Rooms) fill(o *outgoing, p *wire.Submission, who Identity, limits *MessageLimits) *Refusal {
	from, refused := r.sender(p.From, p.App, who)
	if refused != nil {
		return refused
	}
	if n := frameBytes(from, p); n > limits.Frame {
		return tooLong(n, limits.Frame)
	}
	o.Send = delivery.Send{
		From: from, To: p.To, Group: p.List, Content: p.Content, Reference: p.Reference,
		Fast: p.Fast, Confirm: p.Confirm, Quiet: !p.Confirm, TTL: p.TTL,
	}
	if o.bad, o.badAt = p.Bad, p.BadAt; p.List {
		o.asked = slices.Clone(p.To) // the hub takes out of it whom it refuses
	}
	if len(p.To) == 0 {
		return nobody()
	}
	return nil
}

// frameBytes is how long the frame is that receivers get.
func frameBytes(from wire.UserID, p *wire.Submission) int {
	const envelope = len(`{"type":"MESSAGE","data":{"from":"","content":},"reference":}`)
	return envelope + len(from) + len(p.Content) + len(p.Reference)
}

func tooLong(n, limit int) *Refusal {
	refused := Refuse(http.StatusRequestEntityTooLarge, CodeMessageTooLong, "the message would be a frame of %d bytes; one may have %d", n, limit)
	refused.Field = "content"
	return refused
}

// sender returns who a message is from: the user that it names, or the master
// user of the app.
func (r Rooms) sender(from wire.UserID, app string, who Identity) (wire.UserID, *Refusal) {
	field := "app"
	switch {
	case from != "" && app != "" && from.App() != app:
		return "", Invalid("app", "is not the app of the sender")
	case from != "":
		app, field = from.App(), "from"
	case app == "" && who.Admin:
		return "", Invalid("from", `is needed with an admin key; or name the app in the body, as "app", whose master user it then is`)
	case app == "":
		app = who.App
	}
	if refused := who.checkApp(field, app); refused != nil {
		return "", refused
	}
	if from != "" {
		return from, nil
	}
	master, ok := r.Apps.MasterOf(app)
	if !ok {
		return "", Invalid("from", "is needed: app %s has no master user", app)
	}
	return master, nil
}
