package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/webhooks"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// hooks stands for the room of webhooks: ANZ has a, b and c, SHOP has a.
type hooks struct {
	page    webhooks.Page
	done    webhooks.Replayed
	tested  webhooks.Tested
	err     error
	asked   string // of the last call
	started int
}

func (h *hooks) names() []webhooks.Name {
	return []webhooks.Name{{App: "ANZ", Name: "a"}, {App: "ANZ", Name: "b"}, {App: "ANZ", Name: "c"}, {App: "SHOP", Name: "a"}}
}

func (h *hooks) status(of webhooks.Name) webhooks.Status {
	at := time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)
	return webhooks.Status{
		Of: of, URL: "https://example.com/?(hidden)", Events: []string{"connected"}, State: "failing",
		Waiting: webhooks.Backlog{Events: 3, Bytes: 300, Oldest: at, Dropped: 4}, StuckUsers: 2, Delivered: 5, Failed: 6,
		LastSuccess: at, LastFailure: at.Add(time.Second), LastReason: "no",
	}
}

func (h *hooks) List(_ context.Context, app string) (list []webhooks.Status, err error) {
	for _, of := range h.names() {
		if app == "" || of.App == app {
			list = append(list, h.status(of))
		}
	}
	return list, h.err
}

func (h *hooks) find(of webhooks.Name) error {
	for _, known := range h.names() {
		if known == of {
			return h.err
		}
	}
	return webhooks.ErrUnknown
}

func (h *hooks) Status(_ context.Context, of webhooks.Name) (webhooks.Status, error) {
	return h.status(of), h.find(of)
}

func (h *hooks) History(_ context.Context, of webhooks.Name, state webhooks.State, at webhooks.Cursor, limit int) (webhooks.Page, error) {
	h.asked = fmt.Sprintf("%s %d %v %d", of, state, at, limit)
	return h.page, h.find(of)
}

func (h *hooks) Replay(_ context.Context, of webhooks.Name, what webhooks.Replay) (webhooks.Replayed, error) {
	h.started++
	h.asked = fmt.Sprintf("%s %s %s %d %v", of, what.From.UTC().Format(time.TimeOnly), what.To.UTC().Format(time.TimeOnly), what.State, what.At)
	return h.done, h.find(of)
}

func (h *hooks) Test(_ context.Context, of webhooks.Name) (webhooks.Tested, error) {
	return h.tested, h.find(of)
}

// hookDesk is a world with the room of webhooks.
type hookDesk struct {
	*world
	hooks *hooks
	log   strings.Builder
	key   func(*http.Request) // of app ANZ, with the scopes of webhooks
	admin func(*http.Request)
}

func newHookDesk(t *testing.T) *hookDesk {
	t.Helper()
	d := &hookDesk{world: newWorld(t), hooks: &hooks{}}
	v1, err := NewV1(V1Options{
		Log: slog.New(slog.NewTextHandler(&d.log, nil)), Metrics: prometheus.NewRegistry(),
		Now: func() time.Time { return d.now }, Limits: func() V1Limits { return d.limits },
		Rooms: Rooms{
			Keys: d.ring, Apps: someApps{"ANZ", "SHOP"}, Webhooks: d.hooks,
			Messages: func() MessageLimits { return MessageLimits{Wait: time.Minute} },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.MaxBody, o.V1 = func() int64 { return 10_000 }, v1
	d.h = NewPublic(o)
	d.key = with(d.world.key("ANZ", keys.WebhooksRead, keys.WebhooksManage))
	d.admin = with(d.world.key(""))
	return d
}

// get makes a call that goes well and reads its answer.
func (d *hookDesk) get(status int, method, path string, answer any, change ...func(*http.Request)) {
	d.t.Helper()
	res, text := ask(d.t, d.h, method, path, change...)
	if res.StatusCode != status {
		d.t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	if err := json.Unmarshal([]byte(text), answer); err != nil {
		d.t.Fatal(err)
	}
	path, _, _ = strings.Cut(strings.Replace(path, "/v1/webhooks/a", "/v1/webhooks/{name}", 1), "?")
	(&desk{world: d.world}).described(method, path, status, text)
}

func TestWebhooksAreListedByAppAndNameInPages(t *testing.T) {
	d := newHookDesk(t)
	var got []string
	for path := "/v1/webhooks?limit=2"; path != ""; {
		var page struct {
			Webhooks []struct{ App, Name string }
			Next     string
		}
		d.get(200, "GET", path, &page, d.admin)
		for _, w := range page.Webhooks {
			got = append(got, w.App+" "+w.Name)
		}
		path = ""
		if page.Next != "" {
			got = append(got, "|")
			path = "/v1/webhooks?limit=2&cursor=" + page.Next
		}
	}
	if text := strings.Join(got, ", "); text != "ANZ a, ANZ b, |, ANZ c, SHOP a" {
		t.Errorf("got %s", text)
	}
	var own struct{ Webhooks []map[string]any }
	d.get(200, "GET", "/v1/webhooks", &own, d.key)
	if len(own.Webhooks) != 3 {
		t.Errorf("an app's key sees %v", own.Webhooks)
	}
	d.refused(403, CodeForbidden, "GET", "/v1/webhooks?app=SHOP", d.key)
	d.refused(403, CodeScopeMissing, "GET", "/v1/webhooks", with(d.world.key("ANZ", keys.UsersRead)))
}

func TestAWebhookIsShownAsItIs(t *testing.T) {
	d := newHookDesk(t)
	_, text := ask(t, d.h, "GET", "/v1/webhooks/a", d.key)
	want := `{"name":"a","app":"ANZ","url":"https://example.com/?(hidden)","events":["connected"],"allowPrivate":false,"state":"failing",` +
		`"waiting":3,"waitingBytes":300,"oldest":"2026-11-26T08:00:00.000Z","stuckUsers":2,"delivered":5,"failed":6,"dropped":4,` +
		`"lastSuccess":"2026-11-26T08:00:00.000Z","lastFailure":{"at":"2026-11-26T08:00:01.000Z","reason":"no"}}`
	if strings.TrimSpace(text) != want {
		t.Errorf("got %s\nwant %s", text, want)
	}
	d.refused(404, CodeNotFound, "GET", "/v1/webhooks/none", d.key)
	d.refused(400, CodeInvalidRequest, "GET", "/v1/webhooks/a", d.admin)
	d.refused(404, CodeNotFound, "GET", "/v1/webhooks/b?app=SHOP", d.admin)
}

func TestTheHistoryOfAWebhookIsPagedByWhereItStands(t *testing.T) {
	d := newHookDesk(t)
	d.hooks.page = webhooks.Page{
		Events: []webhooks.Ended{
			{ID: wire.ID{15: 1}, State: webhooks.Failed, At: time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC), Attempts: 3, Status: 500, Reason: "no", Body: []byte(`{"type": "connected"}`)},
			{ID: wire.ID{15: 2}, State: webhooks.Delivered, Body: []byte("no JSON")},
		},
		Next: &webhooks.Cursor{Record: 17, Event: -1},
	}
	var page struct {
		Events []map[string]any
		Next   string
	}
	d.get(200, "GET", "/v1/webhooks/a/events?state=failed&limit=2", &page, d.key)
	if d.hooks.asked != "ANZ/a 2 {0 0} 2" {
		t.Errorf("asked for %s", d.hooks.asked)
	}
	first := page.Events[0]
	if first["state"] != "failed" || first["attempts"] != 3.0 || first["status"] != 500.0 || first["reason"] != "no" || fmt.Sprint(first["event"]) != "map[type:connected]" || page.Events[1]["event"] != "no JSON" {
		t.Errorf("got %v", page.Events)
	}
	d.get(200, "GET", "/v1/webhooks/a/events?state=failed&limit=5&cursor="+page.Next, &page, d.key)
	if d.hooks.asked != "ANZ/a 2 {17 -1} 5" {
		t.Errorf("asked for %s", d.hooks.asked)
	}
	for _, path := range []string{"b/events?state=failed", "a/events?state=delivered", "a/events?"} {
		d.refused(400, CodeInvalidRequest, "GET", "/v1/webhooks/"+path+"&cursor="+page.Next, d.key)
	}
	d.refused(400, CodeInvalidRequest, "GET", "/v1/webhooks/a/events?state=lost", d.key)
	d.hooks.err = webhooks.ErrCursor
	d.refused(400, CodeInvalidRequest, "GET", "/v1/webhooks/a/events?state=failed&cursor="+page.Next, d.key)
}

func TestAReplaySaysHowManyAndWhereItGoesOn(t *testing.T) {
	d := newHookDesk(t)
	d.hooks.done = webhooks.Replayed{Events: 7, Next: &webhooks.ReplayCursor{Cursor: webhooks.Cursor{Record: 9, Event: 2}, Last: 30}}
	var answer struct {
		Replayed     int
		Next, Reason string
	}
	const what = `"from":"2026-11-26T08:00:00Z","to":"2026-11-26T09:00:00Z","state":"failed"`
	d.get(202, "POST", "/v1/webhooks/a/replays", &answer, d.key, body("{"+what+"}"))
	if d.hooks.asked != "ANZ/a 08:00:00 09:00:00 2 {{0 0} 0}" || answer.Replayed != 7 || answer.Next == "" || answer.Reason != "" {
		t.Errorf("asked for %s, got %+v", d.hooks.asked, answer)
	}
	d.get(202, "POST", "/v1/webhooks/a/replays", &answer, d.key, body("{"+what+`,"cursor":"`+answer.Next+`"}`))
	if d.hooks.asked != "ANZ/a 08:00:00 09:00:00 2 {{9 2} 30}" {
		t.Errorf("asked for %s", d.hooks.asked)
	}
	d.refused(400, CodeInvalidRequest, "POST", "/v1/webhooks/a/replays", d.key, body(`{"cursor":"`+answer.Next+`"}`))
	d.refused(400, CodeInvalidRequest, "POST", "/v1/webhooks/b/replays", d.key, body("{"+what+`,"cursor":"`+answer.Next+`"}`))
	d.refused(400, CodeInvalidRequest, "POST", "/v1/webhooks/a/replays", d.key, body(`{"from":"2026-11-26T08:00:00Z","to":"2026-11-26T07:00:00Z"}`))
	d.refused(400, CodeInvalidRequest, "POST", "/v1/webhooks/a/replays", d.key, body(`{"state":"lost"}`))
	d.refused(400, CodeInvalidRequest, "POST", "/v1/webhooks/a/replays", d.key, body(`{"since":"2026-11-26T08:00:00Z"}`))

	of := replayRequest{Name: "a", App: "ANZ"}
	for _, position := range []string{"9.2", "30", "30.", "30.0.2", "030.9.2", "x.9.2", "30.9.2.1", "30.9.-2"} {
		text, err := cursorTo(of.list(), position).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		d.refused(400, CodeInvalidRequest, "POST", "/v1/webhooks/a/replays", d.key, body(`{"cursor":"`+string(text)+`"}`))
	}

	// What was queued before the queue was full is not hidden behind an error.
	d.hooks.err = fmt.Errorf("replay: %w", webhooks.ErrQueueFull)
	answer.Reason = ""
	d.get(202, "POST", "/v1/webhooks/a/replays", &answer, d.key, body(`{}`))
	if answer.Replayed != 7 || answer.Reason != "as many events wait for webhook a as may" {
		t.Errorf("got %+v", answer)
	}
	if d.log.Len() > 0 {
		t.Errorf("logged %s", &d.log)
	}
	// Nor is one of our own, which the log tells.
	d.hooks.err = errors.New("disk")
	d.get(202, "POST", "/v1/webhooks/a/replays", &answer, d.key, body(`{}`))
	if answer.Replayed != 7 || answer.Reason != "the server failed to answer; its log says why" || !strings.Contains(d.log.String(), "err=disk") {
		t.Errorf("got %+v, logged %q", answer, &d.log)
	}
	d.hooks.err = fmt.Errorf("replay: %w", webhooks.ErrQueueFull)
	d.hooks.done = webhooks.Replayed{}
	d.refused(409, wire.CodeMailboxFull, "POST", "/v1/webhooks/a/replays", d.key, body(`{}`))
	d.hooks.err = webhooks.ErrBusy
	d.refused(503, wire.CodeBusy, "POST", "/v1/webhooks/a/replays", d.key, body(`{}`))
	d.hooks.err = errors.New("disk")
	d.refused(500, CodeInternal, "POST", "/v1/webhooks/a/replays", d.key, body(`{}`))
	d.refused(403, CodeScopeMissing, "POST", "/v1/webhooks/a/replays", with(d.world.key("ANZ", keys.WebhooksRead)), body(`{}`))
}

func TestARepeatedReplayIsCarriedOutOnce(t *testing.T) {
	d := newHookDesk(t)
	d.hooks.done = webhooks.Replayed{Events: 7}
	for range 3 {
		var answer struct{ Replayed int }
		d.get(202, "POST", "/v1/webhooks/a/replays", &answer, d.key, body(`{}`), header("Idempotency-Key", "k"))
		if answer.Replayed != 7 || d.hooks.started != 1 {
			t.Errorf("%+v, it was carried out %d times", answer, d.hooks.started)
		}
	}
}

func TestATestSaysWhatCameBack(t *testing.T) {
	d := newHookDesk(t)
	d.hooks.tested = webhooks.Tested{Status: 302, Reason: "redirects are not followed", Took: 1500 * time.Microsecond}
	_, text := ask(t, d.h, "POST", "/v1/webhooks/a/tests", d.key)
	if want := `{"id":"00000000-0000-0000-0000-000000000000","delivered":false,"status":302,"reason":"redirects are not followed","tookMs":1}`; strings.TrimSpace(text) != want {
		t.Errorf("got %s", text)
	}
	d.refused(404, CodeNotFound, "POST", "/v1/webhooks/none/tests", d.key)
}
