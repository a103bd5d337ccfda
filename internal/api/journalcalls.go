package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/journal"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Journal is what happened to devices: *journal.Room.
type Journal interface {
	Add(ctx context.Context, events []journal.Event) error
	Device(ctx context.Context, app string, any bool, device string) (journal.State, error)
	Page(ctx context.Context, q journal.Query) (journal.Page, error)
	Latest(ctx context.Context) (journal.Place, error)
	Known(ctx context.Context, p journal.Place) error
	Wait(ctx context.Context, p journal.Place) error
	Rebuild(ctx context.Context) (journal.Rebuilt, error)
	// Watch lets one more watch, if it may; leave has to be called in the end. ended is
	// closed when all who watch are to leave.
	Watch() (leave func(), ended <-chan struct{}, ok bool)
}

func (r Rooms) journalCalls() []Call {
	return []Call{
		{Method: "POST", Path: "/device/event", Scope: keys.JournalWrite, Open: true, Once: true, Status: http.StatusCreated, Handler: Handle(r.addDeviceEvent)},
		{Method: "GET", Path: "/device/state/{id}", Scope: keys.JournalRead, Open: true, Handler: Handle(r.getDeviceState)},
		{Method: "POST", Path: "/v1/journal", Scope: keys.JournalWrite, Once: true, Status: http.StatusCreated, Handler: Handle(r.addEvents)},
		{Method: "GET", Path: "/v1/journal", Scope: keys.JournalRead, Handler: Handle(r.listJournal)},
		{Method: "GET", Path: "/v1/journal/stream", Scope: keys.JournalRead, Stream: true, Handler: Serve(r.watchJournal)},
		{Method: "GET", Path: "/v1/journal/devices/{id}", Scope: keys.JournalRead, Handler: Handle(r.getDevice)},
		{Method: "POST", Path: "/v1/journal/rebuild", Scope: keys.JournalWrite, Once: true, Handler: Handle(r.rebuildJournal)},
	}
}

// journalError returns what an error of the journal is answered with. names says how
// the fields of an event are called in the request, where it is otherwise.
func journalError(err error, names map[string]string) error {
	var field *journal.FieldError
	switch {
	case errors.As(err, &field):
		name := field.Field
		if names[name] != "" {
			name = names[name]
		}
		return Invalid(name, "%s", field.Reason)
	case errors.Is(err, journal.ErrNone):
		return NotFound("there is no event of this device")
	case errors.Is(err, journal.ErrUnknown):
		refused := Refuse(http.StatusGatewayTimeout, wire.CodeTimeout, "the store did not answer in time; the events may be stored, or be yet: with the same IDs, or the same Idempotency-Key, they are stored once")
		refused.More = map[string]any{"mayYetArrive": true}
		return refused
	case errors.Is(err, journal.ErrFull):
		return Refuse(http.StatusInsufficientStorage, wire.CodeStoreFull, "the journal takes nothing more: its disk is nearly full, or it knows as many devices as it may")
	case errors.Is(err, journal.ErrBusy):
		return notNow(wire.CodeBusy, "as many events wait to be stored as may")
	case errors.Is(err, journal.ErrNobody):
		return notNow(wire.CodeStoreDown, "nobody keeps this part of the journal at present")
	}
	return err
}

func notNow(code, detail string) error {
	refused := Refuse(http.StatusServiceUnavailable, code, "%s", detail)
	refused.RetryAfter = soon
	return refused
}

// amountOf returns how many an event is about; it may be left out where it is one.
func amountOf(t journal.Type, amount *int64) (int64, error) {
	switch {
	case amount != nil:
		return *amount, nil
	case t.OfBytes() && t != journal.Traffic: // which is refused as a type
		return 0, &journal.FieldError{Field: "amount", Reason: "is needed: how many bytes"}
	}
	return 1, nil
}

type addDeviceEventRequest struct {
	App  App `query:"app" api:"optional"`
	Once *Once
	Body deviceEventBody `body:"json"`
}

type deviceEventBody struct {
	Device string `json:"deviceId"`
	Type   string `json:"eventType"`
	Amount *int64 `json:"amount,omitzero"`
}

type deviceEventAnswer struct {
	ID string `json:"id"`
	At Time   `json:"at"`
}

func (r Rooms) addDeviceEvent(ctx context.Context, _ Identity, q addDeviceEventRequest) (deviceEventAnswer, error) {
	names := map[string]string{"device": "deviceId", "type": "eventType"}
	amount, err := amountOf(journal.Type(q.Body.Type), q.Body.Amount)
	if err != nil {
		return deviceEventAnswer{}, journalError(err, names)
	}
	list := []journal.Event{{Type: journal.Type(q.Body.Type), Device: q.Body.Device, Amount: amount, App: string(q.App)}}
	if err := r.add(ctx, list, q.Once); err != nil {
		return deviceEventAnswer{}, journalError(err, names)
	}
	return deviceEventAnswer{ID: list[0].ID, At: Time(time.UnixMilli(list[0].At))}, nil
}

// add checks events and has them stored. Those without an ID get one that a repeat of the
// request has, too: so the journal itself knows it, on any node and after a restart.
func (r Rooms) add(ctx context.Context, list []journal.Event, once *Once) error {
	for i := range list {
		err := list[i].Check()
		var field *journal.FieldError
		if errors.As(err, &field) && len(list) > 1 {
			err = &journal.FieldError{Field: fmt.Sprintf("events[%d].%s", i, field.Field), Reason: field.Reason}
		}
		if err != nil {
			return err
		}
	}
	given := make([]bool, len(list))
	for i := range list {
		if given[i] = list[i].ID != "" || once == nil; !given[i] {
			list[i].ID = once.eventID(i)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, r.Messages().Wait)
	defer cancel()
	err := r.Journal.Add(ctx, list)
	var conflict *journal.ConflictError
	if errors.As(err, &conflict) {
		return conflicting(conflict.Events, given)
	}
	return err
}

// eventID returns the ID of an event of a request.
func (o *Once) eventID(i int) string {
	h := sha256.Sum256(binary.BigEndian.AppendUint32(append([]byte("event"), o.Key[:]...), uint32(i)))
	return "k-" + base64.RawURLEncoding.EncodeToString(h[:18])
}

// conflicting says that others have the IDs of events, the first of which has its ID
// from the request, or from its Idempotency-Key.
func conflicting(events []int, given []bool) error {
	if !given[events[0]] {
		return errMismatch()
	}
	refused := Refuse(http.StatusConflict, wire.CodeConflict, "another event of the device has this ID, with another type, amount or time")
	refused.Field = fmt.Sprintf("events[%d].id", events[0])
	if len(given) > 1 {
		refused.Detail += "; those whose numbers are not in \"conflicts\" are stored"
	}
	refused.More = map[string]any{"conflicts": events}
	return refused
}

type deviceRequest struct {
	App App    `query:"app" api:"optional"`
	ID  string `path:"id"`
}

type deviceStateAnswer struct {
	Device string `json:"deviceId"`
	Open   int64  `json:"connectionsOpen"`
	Sent   int64  `json:"bytesSent"`
}

func (r Rooms) getDeviceState(ctx context.Context, who Identity, q deviceRequest) (deviceStateAnswer, error) {
	s, err := r.state(ctx, q)
	return deviceStateAnswer{Device: q.ID, Open: s.Open(), Sent: s.BytesSent}, err
}

func (r Rooms) state(ctx context.Context, q deviceRequest) (journal.State, error) {
	if err := journal.CheckDevice("id", q.ID); err != nil {
		return journal.State{}, journalError(err, nil)
	}
	ctx, cancel := context.WithTimeout(ctx, r.Messages().Wait)
	defer cancel()
	s, err := r.Journal.Device(ctx, string(q.App), q.App == "", q.ID)
	return s, journalError(err, nil)
}

type deviceAnswer struct {
	Device        string `json:"device"`
	Open          int64  `json:"connectionsOpen"`
	Opened        int64  `json:"opened"`
	Closed        int64  `json:"closed"`
	Matched       int64  `json:"matched"`
	Unmatched     int64  `json:"unmatched"`
	BytesSent     int64  `json:"bytesSent"`
	BytesReceived int64  `json:"bytesReceived"`
	Events        int64  `json:"events"`
	LastAt        Time   `json:"lastAt"`
}

func (r Rooms) getDevice(ctx context.Context, _ Identity, q deviceRequest) (deviceAnswer, error) {
	s, err := r.state(ctx, q)
	return deviceAnswer{
		Device: q.ID, Open: s.Open(), Opened: s.Opened, Closed: s.Closed, Matched: s.Matched, Unmatched: s.Unmatched,
		BytesSent: s.BytesSent, BytesReceived: s.BytesReceived, Events: s.Events, LastAt: Time(time.UnixMilli(s.At)),
	}, err
}

type addEventsRequest struct {
	App  App `query:"app" api:"optional"`
	Once *Once
	Body eventsBody `body:"json"`
}

type eventsBody struct {
	Events []newEvent `json:"events"`
}

type newEvent struct {
	ID     string `json:"id,omitzero"`
	At     Time   `json:"at,omitzero"`
	Type   string `json:"type"`
	Device string `json:"device"`
	Amount *int64 `json:"amount,omitzero"`
}

type addedAnswer struct {
	IDs []string `json:"ids"`
}

func (r Rooms) addEvents(ctx context.Context, _ Identity, q addEventsRequest) (addedAnswer, error) {
	if n, most := len(q.Body.Events), r.Messages().Batch; n < 1 || n > most {
		return addedAnswer{}, Invalid("events", "must be 1 to %d events", most)
	}
	list := make([]journal.Event, len(q.Body.Events))
	ahead := time.Now().Add(journal.MaxAhead * time.Millisecond)
	for i, e := range q.Body.Events {
		amount, err := amountOf(journal.Type(e.Type), e.Amount)
		if err != nil {
			return addedAnswer{}, Invalid(fmt.Sprintf("events[%d].amount", i), "is needed: how many bytes")
		}
		list[i] = journal.Event{ID: e.ID, Type: journal.Type(e.Type), Device: e.Device, Amount: amount, App: string(q.App)}
		if at := time.Time(e.At); !at.IsZero() {
			if at.After(ahead) {
				return addedAnswer{}, Invalid(fmt.Sprintf("events[%d].at", i), "is more than a minute in the future")
			}
			if list[i].At = at.UnixMilli(); list[i].At == 0 { // which would stand for none
				return addedAnswer{}, Invalid(fmt.Sprintf("events[%d].at", i), "must be after the beginning of 1970")
			}
		}
	}
	err := r.add(ctx, list, q.Once)
	var field *journal.FieldError
	if errors.As(err, &field) && len(list) == 1 {
		err = &journal.FieldError{Field: "events[0]." + field.Field, Reason: field.Reason}
	}
	if err != nil {
		return addedAnswer{}, journalError(err, nil)
	}
	a := addedAnswer{IDs: make([]string, len(list))}
	for i := range list {
		a.IDs[i] = list[i].ID
	}
	return a, nil
}

// JournalQuery says which events are asked for.
type JournalQuery struct {
	App    App            `query:"app" api:"optional"`
	Device string         `query:"device"`
	Type   string         `query:"type"`
	After  *journal.Place `query:"after"`
}

func (q *JournalQuery) query() (journal.Query, error) {
	list := journal.Query{App: string(q.App), Device: q.Device, Type: journal.Type(q.Type)}
	if q.After != nil {
		list.After = *q.After
	}
	if q.Device != "" {
		if err := journal.CheckDevice("device", q.Device); err != nil {
			return list, journalError(err, nil)
		}
	}
	if t := list.Type; t != "" && !t.Known() {
		return list, Invalid("type", "must be one of %s, %s", journal.TypeNames(), journal.Traffic)
	}
	return list, nil
}

type listJournalRequest struct {
	JournalQuery
	From  Time `query:"from"`
	To    Time `query:"to"`
	Limit *int `query:"limit"`
}

// journalEvent is an event as it is in the journal.
type journalEvent struct {
	ID         string `json:"id"`
	At         Time   `json:"at"`
	Stored     Time   `json:"stored"`
	Type       string `json:"type"`
	Device     string `json:"device,omitzero"`
	App        string `json:"app,omitzero"`
	Domain     string `json:"domain,omitzero"`
	Capability string `json:"capability,omitzero"`
	Amount     int64  `json:"amount"`
	Count      int64  `json:"count,omitzero"`
	Sum        *int64 `json:"sum,omitzero"`
	Min        *int64 `json:"min,omitzero"`
	Max        *int64 `json:"max,omitzero"`
	Sketch     string `json:"sketch,omitzero"`
}

func showEvent(e *journal.Event) journalEvent {
	a := journalEvent{
		ID: e.ID, At: Time(time.UnixMilli(e.At)), Stored: Time(time.UnixMilli(e.Stored)), Type: string(e.Type), Device: e.Device,
		App: e.App, Domain: e.Domain, Capability: e.Capability, Amount: e.Amount, Count: e.Count, Sketch: base64.StdEncoding.EncodeToString(e.Sketch),
	}
	if e.Count != 0 {
		a.Sum, a.Min, a.Max = &e.Amount, &e.Min, &e.Max
	}
	return a
}

type journalAnswer struct {
	Events []journalEvent `json:"events"`
	UpTo   journal.Place  `json:"upTo"`
	Next   journal.Place  `json:"next,omitzero"`
}

func (r Rooms) listJournal(ctx context.Context, _ Identity, q listJournalRequest) (journalAnswer, error) {
	list, err := q.query()
	if err != nil {
		return journalAnswer{}, err
	}
	most := r.Messages().Page
	list.From, list.To, list.Limit = time.Time(q.From), time.Time(q.To), min(defaultPage, most)
	if q.Limit != nil {
		if list.Limit = *q.Limit; list.Limit < 1 || list.Limit > most {
			return journalAnswer{}, Invalid("limit", "must be a number from 1 to %d", most)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, r.Messages().Wait)
	defer cancel()
	page, err := r.Journal.Page(ctx, list)
	if err == nil && len(page.Events) == 0 && page.End { // or it would be so for ever
		err = r.Journal.Known(ctx, list.After)
	}
	if errors.Is(err, journal.ErrPlace) {
		return journalAnswer{}, Invalid("after", "%s", journal.ErrPlace)
	}
	if err != nil {
		return journalAnswer{}, journalError(err, nil)
	}
	a := journalAnswer{Events: make([]journalEvent, len(page.Events)), UpTo: page.UpTo}
	for i := range page.Events {
		a.Events[i] = showEvent(&page.Events[i].Event)
	}
	if !page.End {
		a.Next = page.UpTo
	}
	return a, nil
}

type rebuildRequest struct{}

type rebuiltAnswer struct {
	Events  int64 `json:"events"`
	Devices int64 `json:"devices"`
	Changed int64 `json:"changed"`
}

func (r Rooms) rebuildJournal(ctx context.Context, who Identity, _ rebuildRequest) (rebuiltAnswer, error) {
	if !who.Admin {
		return rebuiltAnswer{}, Forbidden("the states of all apps are made anew: that takes an admin key")
	}
	done, err := r.Journal.Rebuild(ctx)
	r.noteDone(err, who, "journalRebuilt", "", "", "")
	return rebuiltAnswer{Events: done.Events, Devices: done.Devices, Changed: done.Changed}, journalError(err, nil)
}
