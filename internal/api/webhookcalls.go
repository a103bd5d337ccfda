package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/webhooks"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Webhooks tells apps' own servers what happens: *webhooks.Room.
type Webhooks interface {
	List(ctx context.Context, app string) ([]webhooks.Status, error)
	Status(ctx context.Context, of webhooks.Name) (webhooks.Status, error)
	History(ctx context.Context, of webhooks.Name, state webhooks.State, at webhooks.Cursor, limit int) (webhooks.Page, error)
	Replay(ctx context.Context, of webhooks.Name, what webhooks.Replay) (webhooks.Replayed, error)
	Test(ctx context.Context, of webhooks.Name) (webhooks.Tested, error)
}

func (r Rooms) webhookCalls() []Call {
	return []Call{
		{Method: "GET", Path: "/v1/webhooks", Scope: keys.WebhooksRead, Handler: Handle(r.listWebhooks)},
		{Method: "GET", Path: "/v1/webhooks/{name}", Scope: keys.WebhooksRead, Handler: Handle(r.getWebhook)},
		{Method: "GET", Path: "/v1/webhooks/{name}/events", Scope: keys.WebhooksRead, Handler: Handle(r.webhookHistory)},
		{Method: "POST", Path: "/v1/webhooks/{name}/replays", Scope: keys.WebhooksManage, Once: true, Status: http.StatusAccepted, Handler: Handle(r.replayWebhook)},
		{Method: "POST", Path: "/v1/webhooks/{name}/tests", Scope: keys.WebhooksManage, Once: true, Handler: Handle(r.testWebhook)},
	}
}

// webhookAnswer is how it goes with a webhook, on all nodes together: see
// webhooks.Status.
type webhookAnswer struct {
	Name         string          `json:"name"`
	App          string          `json:"app"`
	URL          string          `json:"url"`
	Events       []string        `json:"events"`
	AllowPrivate bool            `json:"allowPrivate"`
	State        string          `json:"state"`
	Waiting      int             `json:"waiting"`
	WaitingBytes int64           `json:"waitingBytes"`
	Oldest       Time            `json:"oldest,omitzero"`
	StuckUsers   int             `json:"stuckUsers"`
	Delivered    uint64          `json:"delivered"`
	Failed       uint64          `json:"failed"`
	Dropped      uint64          `json:"dropped"`
	LastSuccess  Time            `json:"lastSuccess,omitzero"`
	LastFailure  *webhookFailure `json:"lastFailure,omitzero"`
}

type webhookFailure struct {
	At     Time   `json:"at"`
	Reason string `json:"reason"`
}

func showWebhook(s *webhooks.Status) webhookAnswer {
	a := webhookAnswer{
		Name: s.Of.Name, App: s.Of.App, URL: s.URL, Events: s.Events, AllowPrivate: s.AllowPrivate, State: s.State,
		Waiting: s.Waiting.Events, WaitingBytes: s.Waiting.Bytes, Oldest: Time(s.Waiting.Oldest), StuckUsers: s.StuckUsers,
		Delivered: s.Delivered, Failed: s.Failed, Dropped: s.Waiting.Dropped, LastSuccess: Time(s.LastSuccess),
	}
	if !s.LastFailure.IsZero() {
		a.LastFailure = &webhookFailure{Time(s.LastFailure), s.LastReason}
	}
	return a
}

type listWebhooksRequest struct {
	App App `query:"app" api:"optional"`
	Page
}

type webhooksAnswer struct {
	Webhooks []webhookAnswer `json:"webhooks"`
	Next     Cursor          `json:"next,omitzero"`
}

// listWebhooks lists webhooks by app and name, which is where a page ends.
func (r Rooms) listWebhooks(ctx context.Context, _ Identity, q listWebhooksRequest) (webhooksAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Messages().Wait)
	defer cancel()
	list, err := r.Webhooks.List(ctx, string(q.App))
	if err != nil {
		return webhooksAnswer{}, err
	}
	answer := webhooksAnswer{Webhooks: []webhookAnswer{}}
	last := ""
	for i := range list {
		// So positions have the order of the list: what parts app and name comes
		// before all that either has in it.
		position := list[i].Of.App + "\x00" + list[i].Of.Name
		if position <= q.Cursor.Position {
			continue
		}
		if len(answer.Webhooks) == q.Limit {
			answer.Next = q.Next(last)
			break
		}
		answer.Webhooks = append(answer.Webhooks, showWebhook(&list[i]))
		last = position
	}
	return answer, nil
}

type webhookRequest struct {
	Name string `path:"name"`
	App  App    `query:"app"`
}

func (q webhookRequest) hook() webhooks.Name { return webhooks.Name{App: string(q.App), Name: q.Name} }

// webhookError makes an answer of what the room returned about a webhook.
func webhookError(of webhooks.Name, err error) error {
	switch {
	case errors.Is(err, webhooks.ErrUnknown):
		return NotFound("app %s has no webhook %q in the settings of this node", clip(of.App), clip(of.Name))
	case errors.Is(err, webhooks.ErrCursor):
		return Invalid("cursor", "is of another list")
	case errors.Is(err, webhooks.ErrBusy):
		busy := Refuse(http.StatusServiceUnavailable, wire.CodeBusy, "this is under way already for webhook %s", clip(of.Name))
		busy.RetryAfter = soon
		return busy
	case errors.Is(err, webhooks.ErrQueueFull):
		return Refuse(http.StatusConflict, wire.CodeMailboxFull, "as many events wait for webhook %s as may", clip(of.Name))
	}
	return err
}

func (r Rooms) getWebhook(ctx context.Context, _ Identity, q webhookRequest) (webhookAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Messages().Wait)
	defer cancel()
	s, err := r.Webhooks.Status(ctx, q.hook())
	if err != nil {
		return webhookAnswer{}, webhookError(q.hook(), err)
	}
	return showWebhook(&s), nil
}

// eventState is the state of events in a request: delivered, failed, or any when
// it is absent.
type eventState webhooks.State

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *eventState) UnmarshalText(b []byte) error {
	for _, known := range webhooks.States() {
		if string(b) == known.String() {
			*s = eventState(known)
			return nil
		}
	}
	return errors.New("must be delivered or failed")
}

// MarshalText says that in JSON it is a text.
func (s eventState) MarshalText() ([]byte, error) { return webhooks.State(s).MarshalText() }

type webhookHistoryRequest struct {
	Name  string     `path:"name"`
	App   App        `query:"app"`
	State eventState `query:"state"`
	Page
}

func (q webhookHistoryRequest) hook() webhooks.Name { return webhookRequest{q.Name, q.App}.hook() }

type endedAnswer struct {
	ID       wire.ID        `json:"id"`
	State    webhooks.State `json:"state"`
	EndedAt  Time           `json:"endedAt"`
	Attempts int            `json:"attempts"`
	Status   int            `json:"status,omitzero"`
	Reason   string         `json:"reason,omitzero"`
	Event    jsontext.Value `json:"event"`
}

type webhookHistoryAnswer struct {
	Events []endedAnswer `json:"events"`
	Next   Cursor        `json:"next,omitzero"`
}

func (r Rooms) webhookHistory(ctx context.Context, _ Identity, q webhookHistoryRequest) (webhookHistoryAnswer, error) {
	at, err := webhookPosition(q.Cursor.Position)
	if err != nil {
		return webhookHistoryAnswer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Messages().Wait)
	defer cancel()
	page, err := r.Webhooks.History(ctx, q.hook(), webhooks.State(q.State), at, q.Limit)
	if err != nil {
		return webhookHistoryAnswer{}, webhookError(q.hook(), err)
	}
	answer := webhookHistoryAnswer{Events: make([]endedAnswer, len(page.Events))}
	for i, e := range page.Events {
		answer.Events[i] = endedAnswer{
			ID: e.ID, State: e.State, EndedAt: Time(e.At), Attempts: e.Attempts, Status: e.Status, Reason: e.Reason, Event: eventBody(e.Body),
		}
	}
	if page.Next != nil {
		answer.Next = q.Next(positionOf(*page.Next))
	}
	return answer, nil
}

// eventBody is what was posted, as JSON, but for the token with which somebody sets a
// password: whoever may read a history is not to have the accounts, too. What could not
// be read as JSON is shown as a text.
func eventBody(body []byte) jsontext.Value {
	if v := jsontext.Value(body); v.IsValid() {
		return withoutToken(v)
	}
	text, err := jsontext.AppendQuote(nil, string(body))
	if err != nil {
		return jsontext.Value("null")
	}
	return text
}

// withoutToken leaves the token out of an event that has one.
func withoutToken(event jsontext.Value) jsontext.Value {
	var all, data map[string]jsontext.Value
	if json.Unmarshal(event, &all) != nil || json.Unmarshal(all["data"], &data) != nil || data["token"] == nil {
		return event
	}
	delete(data, "token")
	// Both are JSON that was read a moment ago.
	all["data"], _ = json.Marshal(data, json.Deterministic(true))
	out, _ := json.Marshal(all, json.Deterministic(true))
	return out
}

// positionOf writes a place in a history; webhookPosition reads it.
func positionOf(c webhooks.Cursor) string { return fmt.Sprintf("%d.%d", c.Record, c.Event) }

func webhookPosition(text string) (c webhooks.Cursor, err error) {
	if text == "" {
		return c, nil
	}
	if n, err := fmt.Sscanf(text, "%d.%d", &c.Record, &c.Event); n != 2 || err != nil || positionOf(c) != text || c.Event < -1 {
		return c, Invalid("cursor", "is of another list")
	}
	return c, nil
}

// replayPositionOf writes a place in a replay; replayPosition reads it.
func replayPositionOf(c webhooks.ReplayCursor) string {
	return fmt.Sprintf("%d.%s", c.Last, positionOf(c.Cursor))
}

func replayPosition(text string) (c webhooks.ReplayCursor, err error) {
	if text == "" {
		return c, nil
	}
	last, place, _ := strings.Cut(text, ".")
	if c.Last, err = strconv.ParseUint(last, 10, 64); err == nil {
		c.Cursor, err = webhookPosition(place)
	}
	if err != nil || c.Record == 0 || replayPositionOf(c) != text {
		return c, Invalid("cursor", "is of another list")
	}
	return c, nil
}

type replayRequest struct {
	Name string `path:"name"`
	App  App    `query:"app"`
	Body struct {
		From   Time       `json:"from,omitzero"`
		To     Time       `json:"to,omitzero"`
		State  eventState `json:"state,omitzero"`
		Cursor Cursor     `json:"cursor,omitzero"`
	} `body:"json"`
}

func (q *replayRequest) hook() webhooks.Name { return webhookRequest{q.Name, q.App}.hook() }

// list names what a replay goes through, for its cursors.
func (q *replayRequest) list() string {
	b := &q.Body
	return fmt.Sprint("replay ", q.hook(), " ", time.Time(b.From).UnixMilli(), " ", time.Time(b.To).UnixMilli(), " ", b.State)
}

type replayedAnswer struct {
	Replayed int    `json:"replayed"`
	Next     Cursor `json:"next,omitzero"`
	Reason   string `json:"reason,omitzero"`

	fault error
}

// Fault implements what call.go says.
func (a replayedAnswer) Fault() error { return a.fault }

// replayWebhook queues events of the history again. When only some of them could
// be queued it says how many, why, and where to go on.
func (r Rooms) replayWebhook(ctx context.Context, who Identity, q replayRequest) (replayedAnswer, error) {
	b := &q.Body
	if !b.To.IsZero() && time.Time(b.To).Before(time.Time(b.From)) {
		return replayedAnswer{}, Invalid("to", "is before from")
	}
	if refused := b.Cursor.bind(q.list()); refused != nil {
		return replayedAnswer{}, refused
	}
	at, err := replayPosition(b.Cursor.Position)
	if err != nil {
		return replayedAnswer{}, err
	}
	done, err := r.Webhooks.Replay(ctx, q.hook(), webhooks.Replay{
		From: time.Time(b.From), To: time.Time(b.To), State: webhooks.State(b.State), At: at,
	})
	if err != nil && done.Events == 0 {
		return replayedAnswer{}, webhookError(q.hook(), err)
	}
	r.note(who, "webhookReplayed", q.hook().App, "", q.hook().Name)
	answer := replayedAnswer{Replayed: done.Events}
	if done.Next != nil {
		answer.Next = cursorTo(q.list(), replayPositionOf(*done.Next))
	}
	if err != nil {
		answer.fault = webhookError(q.hook(), err)
		answer.Reason = asRefusal(answer.fault).Detail
	}
	return answer, nil
}

type testedAnswer struct {
	ID        wire.ID `json:"id"`
	Delivered bool    `json:"delivered"`
	Status    int     `json:"status,omitzero"`
	Reason    string  `json:"reason,omitzero"`
	TookMS    int64   `json:"tookMs"`
}

func (r Rooms) testWebhook(ctx context.Context, who Identity, q webhookRequest) (testedAnswer, error) {
	t, err := r.Webhooks.Test(ctx, q.hook())
	if err != nil {
		return testedAnswer{}, webhookError(q.hook(), err)
	}
	r.note(who, "webhookTested", q.hook().App, "", q.hook().Name)
	return testedAnswer{ID: t.ID, Delivered: t.Delivered, Status: t.Status, Reason: t.Reason, TookMS: t.Took.Milliseconds()}, nil
}
