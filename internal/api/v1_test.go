package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// rows is a store of keys that forgets them: the ring has them in memory.
type rows struct {
	mu  sync.Mutex
	f   func(string, []byte)
	err error // what changes fail with
}

func (s *rows) Create(_ context.Context, id string, row []byte) error { return s.set(id, row) }
func (s *rows) Delete(_ context.Context, id string) error             { return s.set(id, nil) }

func (s *rows) set(id string, row []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.f(id, row)
	return nil
}

func (s *rows) Watch(f func(string, []byte)) (stop func()) {
	s.f = f
	return func() {}
}

// someApps are configured, each with a master user.
type someApps []string

func (a someApps) Known(app string) bool {
	for _, name := range a {
		if name == app {
			return true
		}
	}
	return false
}

func (a someApps) Names() []string { return a }

func (a someApps) MasterOf(app string) (wire.UserID, bool) {
	return wire.UserID(app + "-1"), a.Known(app)
}

// world is what tests of the calls stand on.
type world struct {
	t      testing.TB
	now    time.Time
	limits V1Limits
	store  *rows
	ring   *keys.Ring
	v1     *V1
	h      http.Handler
}

// newWorld serves /v1 with some calls besides those of the table.
func newWorld(t testing.TB, calls ...Call) *world {
	t.Helper()
	x := &world{t: t, now: time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC), store: &rows{}}
	x.limits = V1Limits{Rate: 1000, Page: 1000, Once: OnceLimits{Keys: 100, Bytes: 1 << 20, Time: 10 * time.Minute}}
	now := func() time.Time { return x.now }
	var err error
	if x.ring, err = keys.New(keys.Options{Store: x.store, Now: now, Random: rand.Reader, Max: func() int { return 2000 }, MaxOfApp: func() int { return 2000 }}); err != nil {
		t.Fatal(err)
	}
	o := options()
	o.MaxBody = func() int64 { return 10_000 }
	x.v1, err = NewV1(V1Options{
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Now: now, Limits: func() V1Limits { return x.limits },
		Rooms: Rooms{Keys: x.ring, Apps: someApps{"ANZ", "SHOP"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	x.v1.calls = append(x.v1.calls, calls...)
	o.V1 = x.v1
	x.h = NewPublic(o)
	return x
}

// key makes a key of an app with scopes; without an app an admin key.
func (x *world) key(app string, scopes ...keys.Scope) string {
	x.t.Helper()
	_, presented, err := x.ring.Make(x.t.Context(), keys.Wish{App: app, Admin: app == "", Scopes: scopes}, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	return presented
}

// with presents a key.
func with(key string) func(*http.Request) { return header("Authorization", "Bearer "+key) }

// body sends JSON.
func body(text string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		r.Header.Set("Content-Type", "application/json")
	}
}

// refused checks that the answer is a problem and returns it.
func (x *world) refused(status int, code, method, path string, change ...func(*http.Request)) map[string]any {
	x.t.Helper()
	wantProblem(x.t, x.h, status, code, method, path, change...)
	_, text := ask(x.t, x.h, method, path, change...)
	var p map[string]any
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		x.t.Fatal(err)
	}
	return p
}

// thing is the request of the calls that tests add: a field of each sort.
type thing struct {
	User wire.UserID `path:"userId"`
	App  App         `query:"app"`
	Kind string      `query:"kind"`
	N    int         `query:"n"`
	At   Time        `query:"at"`
	Yes  bool        `query:"yes"`
	Once *Once
	Body struct {
		To    wire.UserID    `json:"to"`
		Count int64          `json:"count,omitzero"`
		Data  jsontext.Value `json:"data,omitzero"`
		Parts []part         `json:"parts,omitzero"`
		On    bool           `json:"on,omitzero"`
		Due   Time           `json:"due,omitzero"`
	} `body:"json"`
}

type part struct {
	Name string      `json:"name"`
	User wire.UserID `json:"user,omitzero"`
}

type thingAnswer struct {
	Who  string         `json:"who"`
	Said string         `json:"said"`
	Data jsontext.Value `json:"data,omitzero"`
}

func thingCall(f func(context.Context, Identity, thing) (thingAnswer, error)) Call {
	return Call{Method: "POST", Path: "/v1/users/{userId}/things", Scope: keys.MessagesSend, Once: true, Status: 201, Handler: Handle(f)}
}

func TestACallGetsWhatItsRequestSays(t *testing.T) {
	x := newWorld(t, thingCall(func(_ context.Context, who Identity, q thing) (thingAnswer, error) {
		return thingAnswer{Who: who.App, Data: q.Body.Data, Said: fmt.Sprint(q.User, q.App, q.Kind, q.N, q.Yes, time.Time(q.At).Unix(),
			q.Body.To, q.Body.Count, q.Body.Parts, q.Body.On, q.Once)}, nil
	}))
	key := x.key("ANZ", keys.MessagesSend)
	answer, text := ask(t, x.h, "POST", "/v1/users/ANZ-7/things?kind=a%20b&n=-3&yes=true&at=1970-01-01T01:00:00%2B01:00", with(key),
		body(`{"to":"SHOP-2","count":9007199254740993,"data":{"b":1.0e5,"a":"\u00e9"},"parts":[{"name":"x","user":"ANZ-1"}],"on":true}`))
	want := `{"who":"ANZ","said":"ANZ-7ANZa b-3 true 0SHOP-29007199254740993 [{x ANZ-1}] true <nil>","data":{"b":1.0e5,"a":"\u00e9"}}` + "\n"
	if answer.StatusCode != 201 || text != want || answer.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s\nwant %s", answer.StatusCode, text, want)
	}
}

func TestARequestThatIsWrongIsRefusedByTheFieldsName(t *testing.T) {
	x := newWorld(t, thingCall(func(context.Context, Identity, thing) (thingAnswer, error) { return thingAnswer{}, nil }))
	key := with(x.key("ANZ", keys.MessagesSend))
	const path, good = "/v1/users/ANZ-7/things", `{"to":"ANZ-1"}`
	for _, c := range []struct{ path, body, field, says string }{
		{path + "?knd=1", good, "knd", "is no parameter"},
		{path + "?n=1&n=2", good, "n", "more than once"},
		{path + "?n=1.5", good, "n", "whole number"},
		{path + "?n=%2B1", good, "n", "whole number"},
		{path + "?n=99999999999999999999", good, "n", "whole number"},
		{path + "?yes=1", good, "yes", "true or false"},
		{path + "?at=today", good, "at", "must be a time"},
		{path + "?at=0001-01-01T00:00:00Z", good, "at", "from 1970 to 9999"},
		{path + "?a=%zz", good, "", "not well-formed"},
		{path + "?a;b", good, "", "not well-formed"},
		{"/v1/users/ANZ7/things", good, "userId", "is no user ID: "},
		{"/v1/users/ANZ-07/things", good, "userId", "is no user ID: "},
		{path, `{"to":"ANZ-1","cuont":1}`, "cuont", "is no field"},
		{path, `{"To":"ANZ-1"}`, "To", "is no field"},
		{path, `{"to":"ANZ-1","to":"ANZ-2"}`, "to", "is given twice"},
		{path, `{"to":"ANZ-1","parts":[{"name":"a"},{"nmae":"b"}]}`, "parts[1].nmae", "is no field"},
		{path, `{"to":"ANZ-1","parts":[{"name":"a"},{"name":""}]}`, "parts[1].name", "is missing"},
		{path, `{"to":"ANZ-1","parts":[{"name":"a","user":"x"}]}`, "parts[0].user", "is no user ID"},
		{path, `{"to":"ANZ-1","parts":{}}`, "parts", "must be an array"},
		{path, `{"to":"ANZ-1","parts":[1]}`, "parts[0]", "must be an object"},
		{path, `{"to":1}`, "to", "must be a string"},
		{path, `{"to":"nobody"}`, "to", "is no user ID"},
		{path, `{"to":null}`, "to", "is missing"},
		{path, `{}`, "to", "is missing"},
		{path, `{"to":"ANZ-1","count":"1"}`, "count", "must be a whole number"},
		{path, `{"to":"ANZ-1","count":1.5}`, "count", "must be a whole number"},
		{path, `{"to":"ANZ-1","count":1e400}`, "count", "must be a whole number"},
		{path, `{"to":"ANZ-1","on":"true"}`, "on", "must be true or false"},
		{path, `{"to":"ANZ-1","due":"soon"}`, "due", "must be a time"},
		{path, `{"to":"ANZ-1","due":"0001-01-01T00:00:00Z"}`, "due", "from 1970 to 9999"},
		{path, `{"to":"ANZ-1","due":"1970-01-01T00:30:00+01:00"}`, "due", "from 1970 to 9999"},
		{path, `{"to":"ANZ-1","due":"9999-12-31T23:59:59-23:00"}`, "due", "from 1970 to 9999"},
		{path, `{"to":"ANZ-1","due":5}`, "due", "must be a time as in RFC 3339"},
		{path, `[]`, "", "must be a JSON object"},
		{path, `null`, "", "must be a JSON object"},
		{path, `"x"`, "", "must be a JSON object"},
		{path, ``, "", "has no body"},
		{path, ` `, "", "must be a JSON object"},
		{path, `{"to":"ANZ-1"`, "", "not JSON: unexpected EOF"},
		{path, `{"to":"ANZ-1"} {}`, "", "not JSON: "},
		{path, `{"to":"ANZ-1",}`, "", "not JSON: "},
		{path, `{to:"ANZ-1"}`, "", "not JSON: "},
		{path, "{\"to\":\"ANZ-\xff\"}", "", "not JSON: invalid UTF-8"},
		{path, `{"to":"ANZ-1","data":` + strings.Repeat("[", 4900) + strings.Repeat("]", 4900) + "x}", "", "not JSON: "},
	} {
		p := x.refused(400, CodeInvalidRequest, "POST", c.path, key, body(c.body))
		field, _ := p["field"].(string)
		detail := p["detail"].(string)
		if field != c.field || !strings.Contains(detail, c.says) || !strings.HasPrefix(detail, c.field) || strings.Contains(detail, "Go ") {
			t.Errorf("%s %.60s: field %q, %s", c.path, c.body, field, detail)
		}
	}
}

func TestABodyMustSayThatItIsJSONAndIsOnlyReadWhereThereIsOne(t *testing.T) {
	x := newWorld(t, thingCall(func(context.Context, Identity, thing) (thingAnswer, error) { return thingAnswer{}, nil }))
	key := with(x.key("ANZ", keys.MessagesSend, keys.KeysManage))
	const path, good = "/v1/users/ANZ-7/things", `{"to":"ANZ-1"}`
	kind := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Content-Type", value) }
	}
	for _, ok := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"} {
		wantStatus(t, x.h, 201, "POST", path, key, body(good), kind(ok))
	}
	for _, bad := range []string{"", "text/plain", "application/json; charset=latin1", "application/x-www-form-urlencoded", "application/jsonp", "/"} {
		x.refused(415, CodeMediaType, "POST", path, key, body(good), kind(bad))
	}
	x.refused(415, CodeMediaType, "POST", path, key, body(good), header("Content-Encoding", "gzip"))
	x.refused(415, CodeMediaType, "POST", path, key, body(good), header("Content-Encoding", "identity"), header("Content-Encoding", "gzip"))
	x.refused(415, CodeMediaType, "POST", path, key, body(good), header("Content-Encoding", ""), header("Content-Encoding", "gzip"))
	x.refused(415, CodeMediaType, "POST", path, key, body(good), header("Content-Type", "text/plain"))
	x.refused(415, CodeMediaType, "POST", path, key, body(good), header("Content-Type", "application/json"))
	x.refused(415, CodeMediaType, "POST", path, key, body(good), header("Content-Type", ""))
	x.refused(413, CodeBodyTooLarge, "POST", path, key, body(strings.Repeat(" ", 10_001)))
	x.refused(413, CodeBodyTooLarge, "POST", path, key, body(strings.Repeat(" ", 10_001)), func(r *http.Request) { r.ContentLength = -1 })
	x.refused(400, CodeInvalidRequest, "POST", path, key, body(good), func(r *http.Request) { r.ContentLength = 50 })
	x.refused(400, CodeInvalidRequest, "GET", "/v1/keys", key, body("{}"))
	wantStatus(t, x.h, 201, "POST", path, key, body(good), func(r *http.Request) { r.ContentLength = -1 })
	wantStatus(t, x.h, 200, "GET", "/v1/keys", key, func(r *http.Request) { r.ContentLength = -1 })
}

func TestWhatAStrangerWroteIsShortenedBetweenCharacters(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{strings.Repeat("a", 80), strings.Repeat("a", 80)},
		{strings.Repeat("a", 81), strings.Repeat("a", 80) + "…"},
		{strings.Repeat("a", 79) + "ä!", strings.Repeat("a", 79) + "…"},
		{"a" + strings.Repeat("😀", 20), "a" + strings.Repeat("😀", 19) + "…"},
		{strings.Repeat("😀", 21), strings.Repeat("😀", 20) + "…"},
	} {
		if got := clip(c.text); got != c.want {
			t.Errorf("%s becomes %q", c.text, got)
		}
	}
	if got := clip(strings.Repeat("\x80", 100)); len(got) > 90 || len(got) < 70 {
		t.Errorf("what is no text becomes %q", got)
	}
}

func TestACallIsOfTheKeysAppOnly(t *testing.T) {
	x := newWorld(t, thingCall(func(_ context.Context, _ Identity, q thing) (thingAnswer, error) {
		return thingAnswer{Said: string(q.App)}, nil
	}))
	anz, admin := with(x.key("ANZ", keys.MessagesSend, keys.KeysManage)), with(x.key(""))
	good := body(`{"to":"ANZ-1"}`)
	wantStatus(t, x.h, 201, "POST", "/v1/users/ANZ-7/things", anz, good)
	wantStatus(t, x.h, 201, "POST", "/v1/users/ANZ-7/things?app=ANZ", anz, good)
	x.refused(403, CodeForbidden, "POST", "/v1/users/SHOP-7/things", anz, good)
	x.refused(403, CodeForbidden, "POST", "/v1/users/ANZ-7/things?app=SHOP", anz, good)
	x.refused(403, CodeForbidden, "GET", "/v1/keys?app=SHOP", anz)
	x.refused(403, CodeForbidden, "POST", "/v1/keys", anz, body(`{"app":"SHOP","scopes":["keys:manage"]}`))
	wantStatus(t, x.h, 201, "POST", "/v1/users/SHOP-7/things?app=SHOP", admin, good)
	if p := x.refused(400, CodeInvalidRequest, "POST", "/v1/users/SHOP-7/things", admin, good); p["field"] != "app" {
		t.Errorf("%v", p)
	}
	wantStatus(t, x.h, 200, "GET", "/v1/keys", admin) // of all apps
}

func TestOnlyTheRightKeyOpensACall(t *testing.T) {
	x := newWorld(t)
	good := x.key("ANZ", keys.KeysManage)
	wantStatus(t, x.h, 200, "GET", "/v1/keys", with(good))
	wantStatus(t, x.h, 200, "GET", "/v1/keys", header("Authorization", "bearer  "+good))
	answer, _ := ask(t, x.h, "GET", "/v1/keys")
	if got := answer.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
		t.Errorf("WWW-Authenticate is %q", got)
	}
	x.refused(401, CodeAuthRequired, "GET", "/v1/keys")
	for _, bad := range []string{"", "Bearer", "Bearer ", good, "Basic " + good, "Bearer " + good + "x", "Bearer " + good[:len(good)-1], "Bearer sb__",
		"Bearer " + strings.ToUpper(good), "Bearer " + good[:19] + "_" + strings.Repeat("a", 52), "Bearer " + strings.Repeat("sb_", 5000)} {
		x.refused(401, CodeKeyInvalid, "GET", "/v1/keys", header("Authorization", bad))
	}
	x.refused(401, CodeKeyInvalid, "GET", "/v1/keys", with(good), with(good))
	if p := x.refused(403, CodeScopeMissing, "GET", "/v1/keys", with(x.key("ANZ", keys.UsersRead))); p["scope"] != "keys:manage" {
		t.Errorf("%v", p)
	}
	x.refused(403, CodeForbidden, "GET", "/v1/keys", with(x.key("GONE", keys.KeysManage)))
	_, short, err := x.ring.Make(t.Context(), keys.Wish{App: "ANZ", Scopes: keys.Scopes(), Expires: x.now.Add(time.Hour)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, x.h, 200, "GET", "/v1/keys", with(short))
	x.now = x.now.Add(time.Hour)
	x.refused(401, CodeKeyExpired, "GET", "/v1/keys", with(short))
}

// slowBody is a body before whose end something happens.
type slowBody struct {
	io.Reader
	meanwhile func()
}

func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.meanwhile != nil {
		b.meanwhile()
		b.meanwhile = nil
	}
	return n, err
}

func TestAKeyThatEndsWhileTheBodyComesOpensNothing(t *testing.T) {
	x := newWorld(t, thingCall(func(context.Context, Identity, thing) (thingAnswer, error) {
		t.Error("it was carried out")
		return thingAnswer{}, nil
	}))
	apps := x.v1.opts.Rooms.Apps
	for _, end := range []struct {
		status int
		code   string
		how    func(*keys.Key)
	}{
		{401, CodeKeyExpired, func(*keys.Key) { x.now = x.now.Add(time.Hour) }},
		{401, CodeKeyInvalid, func(k *keys.Key) { _ = x.ring.Revoke(t.Context(), k.ID) }},
		{403, CodeForbidden, func(*keys.Key) { x.v1.opts.Rooms.Apps = someApps{"SHOP"} }},
	} {
		key, presented, err := x.ring.Make(t.Context(), keys.Wish{App: "ANZ", Scopes: keys.Scopes(), Expires: x.now.Add(time.Hour)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantProblem(t, x.h, end.status, end.code, "POST", things, with(presented), body(`{"to":"ANZ-1"}`), func(r *http.Request) {
			r.Body = io.NopCloser(&slowBody{r.Body, func() { end.how(key) }})
		})
		x.v1.opts.Rooms.Apps = apps
	}
}

func TestTheOperatorNeedsNoKeyAndIsAskedByNoPage(t *testing.T) {
	x := newWorld(t)
	o := options()
	o.V1, o.Demo, o.Origin = x.v1, true, func(*http.Request) bool { return false }
	h := NewControl(o)
	wantStatus(t, h, 200, "GET", "/v1/keys", func(r *http.Request) { r.Host = "switchboard" })
	wantStatus(t, h, 201, "POST", "/v1/keys", body(`{"admin":true}`))
	wantProblem(t, h, 404, "NOT_FOUND", "GET", "/metrics")
}

func TestTheTableIsInOrder(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Calls(Rooms{}) {
		changes := c.Method != "GET"
		if c.Auth == ByKey && (c.Once != changes || !c.Scope.Known()) {
			t.Errorf("%s: takes an Idempotency-Key: %t, scope %q", c.name(), c.Once, c.Scope)
		}
		if c.Auth != ByKey && (c.Once && (c.Auth != ByAccount || !changes) || c.Scope != "") {
			t.Errorf("%s: what a user's token or any key opens has no scope, and only that of an account an Idempotency-Key", c.name())
		}
		if c.Secret != holdsSecret(c.Handler.Answer) || c.Secret && !c.Once {
			t.Errorf("%s: Secret is %t, and its answer a %v", c.name(), c.Secret, c.Handler.Answer)
		}
		if seen[c.name()] || !strings.HasPrefix(c.Path, "/v1/") && !strings.HasPrefix(c.Path, "/device/") || c.Handler.Request == nil {
			t.Errorf("%s: is twice, elsewhere or without a handler", c.name())
		}
		seen[c.name()] = true
	}
}

// holdsSecret says whether an answer has a member that is called like a secret.
func holdsSecret(answer reflect.Type) bool {
	if answer == nil || answer.Kind() != reflect.Struct {
		return false
	}
	for i := range answer.NumField() {
		f := answer.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "key" || name == "secret" || name == "token" || f.Anonymous && holdsSecret(f.Type) {
			return true
		}
	}
	return false
}

func TestWhatThereIsNotAndWhatIsNotTaken(t *testing.T) {
	x := newWorld(t)
	key := with(x.key(""))
	for _, path := range []string{"/v1/", "/v1/nothing", "/v1/keys/", "/v1//keys", "/v1/keys/a/b", "/v1/../v1/keys", "/v1/keys/%2e%2e/keys", "/v1/./keys"} {
		x.refused(404, CodeNotFound, "GET", path, key)
	}
	for method, allow := range map[string]string{"PUT": "GET, HEAD, POST", "OPTIONS": "GET, HEAD, POST", "BREW": "GET, HEAD, POST"} {
		x.refused(405, "METHOD_NOT_ALLOWED", method, "/v1/keys", key)
		if answer, _ := ask(t, x.h, method, "/v1/keys"); answer.Header.Get("Allow") != allow {
			t.Errorf("%s: Allow is %q", method, answer.Header.Get("Allow"))
		}
	}
	answer, _ := ask(t, x.h, "HEAD", "/v1/keys", key)
	if answer.StatusCode != 200 {
		t.Errorf("HEAD: %d", answer.StatusCode)
	}
}

func TestErrorsOfACallBecomeProblems(t *testing.T) {
	var fail error
	x := newWorld(t, thingCall(func(context.Context, Identity, thing) (thingAnswer, error) { return thingAnswer{}, fail }))
	key := with(x.key("ANZ", keys.MessagesSend))
	try := func(status int, code string, err error) map[string]any {
		t.Helper()
		fail = err
		return x.refused(status, code, "POST", "/v1/users/ANZ-7/things", key, body(`{"to":"ANZ-1"}`))
	}
	try(404, CodeNotFound, NotFound("there is no such thing"))
	try(404, CodeNotFound, fmt.Errorf("look: %w", NotFound("there is no such thing")))
	try(500, CodeInternal, errors.New("a secret of ours"))
	try(504, wire.CodeTimeout, context.DeadlineExceeded)
	for _, c := range wire.Codes() {
		p := try(statusOf(c.Code), c.Code, &wire.Error{Code: c.Code, Reason: "because"})
		if p["detail"] != "because" {
			t.Errorf("%v", p)
		}
	}
	if p := try(504, wire.CodeTimeout, &wire.Error{Code: wire.CodeTimeout, Reason: "because", MayYetArrive: true}); p["mayYetArrive"] != true {
		t.Errorf("%v", p)
	}
	answer, _ := ask(t, x.h, "POST", "/v1/users/ANZ-7/things", key, body(`{"to":"ANZ-1"}`))
	if answer.Header.Get("Retry-After") != "" {
		t.Error("a time-out is not to be tried again by itself")
	}
	fail = &wire.Error{Code: wire.CodeOverloaded, Reason: "because"}
	if answer, _ = ask(t, x.h, "POST", "/v1/users/ANZ-7/things", key, body(`{"to":"ANZ-1"}`)); answer.Header.Get("Retry-After") != "1" {
		t.Errorf("%v", answer.Header)
	}
	x.store.err = errors.New("the disk is gone")
	lent := with(x.key503())
	x.refused(503, wire.CodeStoreDown, "POST", "/v1/keys", lent, body(`{"admin":true}`))
	x.store.err = fmt.Errorf("put: %w", mailbox.ErrFull)
	x.refused(507, wire.CodeStoreFull, "POST", "/v1/keys", lent, body(`{"admin":true}`))
}

// key503 makes a key that needs no store.
func (x *world) key503() string {
	_, presented, err := x.ring.Lend("lent")
	if err != nil {
		x.t.Fatal(err)
	}
	return presented
}

func TestEachKeyHasAPaceOfItsOwn(t *testing.T) {
	x := newWorld(t)
	x.limits.Rate = 3
	one, other := with(x.key("")), with(x.key(""))
	for left := 2; left >= 0; left-- {
		answer, _ := ask(t, x.h, "GET", "/v1/keys", one)
		h := answer.Header
		if h.Get("RateLimit-Limit") != "3" || h.Get("RateLimit-Remaining") != fmt.Sprint(left) || h.Get("RateLimit-Reset") != "1" || answer.StatusCode != 200 {
			t.Errorf("%d left: %d %v", left, answer.StatusCode, h)
		}
	}
	answer, _ := ask(t, x.h, "GET", "/v1/keys", one)
	if answer.StatusCode != 429 || answer.Header.Get("Retry-After") != "1" || answer.Header.Get("RateLimit-Remaining") != "0" {
		t.Errorf("%d %v", answer.StatusCode, answer.Header)
	}
	x.refused(429, CodeRateLimited, "GET", "/v1/keys", one)
	wantStatus(t, x.h, 200, "GET", "/v1/keys", other)
	x.now = x.now.Add(time.Second / 3)
	wantStatus(t, x.h, 200, "GET", "/v1/keys", one)
	x.refused(429, CodeRateLimited, "GET", "/v1/keys", one)
	x.limits.Rate = 100 // takes effect at once
	wantStatus(t, x.h, 200, "GET", "/v1/keys", one)
}

func TestPacesOfKeysThatAreQuietAreLetGo(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newPaces(func() int { return 10 }, func() time.Time { return now })
	for i := range 10 * manyPaces {
		now = now.Add(time.Millisecond)
		if refused := p.take(http.Header{}, fmt.Sprint(i)); refused != nil {
			t.Fatal(refused)
		}
		if len(p.byKey) > manyPaces {
			t.Fatalf("%d are kept", len(p.byKey))
		}
	}
}

func TestPagesOfNamedOriginsMayCallAndReadTheAnswer(t *testing.T) {
	x := newWorld(t)
	o := options()
	o.V1, o.Origin = x.v1, func(r *http.Request) bool { return OriginAllowed(r, []string{"https://app.example"}, false) }
	h := NewPublic(o)
	page := header("Origin", "https://app.example")
	answer, _ := ask(t, h, "OPTIONS", "/v1/keys", page, header("Access-Control-Request-Method", "POST"), header("Access-Control-Request-Headers", "authorization"))
	got := answer.Header
	if answer.StatusCode != 204 || got.Get("Access-Control-Allow-Origin") != "https://app.example" || !strings.Contains(got.Get("Access-Control-Allow-Methods"), "DELETE") ||
		!strings.Contains(got.Get("Access-Control-Allow-Headers"), "Authorization") || got.Get("Access-Control-Allow-Credentials") != "" || got.Get("Vary") != "Origin" {
		t.Errorf("%d %v", answer.StatusCode, got)
	}
	answer, _ = ask(t, h, "GET", "/v1/keys", page, with(x.key("")))
	if answer.StatusCode != 200 || answer.Header.Get("Access-Control-Allow-Origin") != "https://app.example" || !strings.Contains(answer.Header.Get("Access-Control-Expose-Headers"), "RateLimit-Limit") {
		t.Errorf("%d %v", answer.StatusCode, answer.Header)
	}
	answer, _ = ask(t, h, "OPTIONS", "/v1/keys", header("Origin", "https://evil.example"), header("Access-Control-Request-Method", "POST"))
	if answer.StatusCode != 403 || answer.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%d %v", answer.StatusCode, answer.Header)
	}
	if answer, _ = ask(t, h, "GET", "/v1/keys"); answer.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%v", answer.Header)
	}
}

func TestAPageGoesOnWhereTheOneBeforeEnded(t *testing.T) {
	x := newWorld(t)
	for range 25 {
		x.key("ANZ", keys.UsersRead)
	}
	first := x.ring.List("", keys.Key{}, 1)[0]
	admin := with(x.key(""))
	seen := map[string]int{}
	path := "/v1/keys?app=ANZ&limit=10"
	for pages := 1; ; pages++ {
		var got keysAnswerJSON
		if err := json.Unmarshal([]byte(wantStatus(t, x.h, 200, "GET", path, admin)), &got); err != nil {
			t.Fatal(err)
		}
		for _, k := range got.Keys {
			seen[k.ID]++
		}
		if pages == 1 { // what the page ended with goes, and others come
			for _, k := range got.Keys[5:] {
				if err := x.ring.Revoke(t.Context(), k.ID); err != nil {
					t.Fatal(err)
				}
			}
			x.now = x.now.Add(time.Second)
			x.key("ANZ", keys.UsersRead)
		}
		if got.Next == "" {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		path = "/v1/keys?app=ANZ&limit=10&cursor=" + got.Next
	}
	if len(seen) != 26 || seen[first.ID] != 1 {
		t.Errorf("%d keys were seen", len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("key %s was seen %d times", id, n)
		}
	}
}

// keysAnswerJSON is a client's view of a page of keys.
type keysAnswerJSON struct {
	Keys []struct{ ID string }
	Next string
}

func TestACursorThatWeDidNotMakeIsRefused(t *testing.T) {
	x := newWorld(t)
	for range 3 {
		x.key("ANZ", keys.UsersRead)
	}
	admin := with(x.key(""))
	var got keysAnswerJSON
	if err := json.Unmarshal([]byte(wantStatus(t, x.h, 200, "GET", "/v1/keys?limit=1", admin)), &got); err != nil || got.Next == "" {
		t.Fatal(err, got)
	}
	wantStatus(t, x.h, 200, "GET", "/v1/keys?limit=2&cursor="+got.Next, admin)
	for _, bad := range []string{"", "x", "MTIz", got.Next + "A", got.Next[1:], got.Next[:len(got.Next)-2], "%00", strings.Repeat("A", 5000)} {
		if p := x.refused(400, CodeInvalidRequest, "GET", "/v1/keys?cursor="+bad, admin); p["field"] != "cursor" {
			t.Errorf("%v", p)
		}
	}
	x.refused(400, CodeInvalidRequest, "GET", "/v1/keys?app=ANZ&cursor="+got.Next, admin) // of another list
	for _, bad := range []string{"0", "-1", "1001", "ten", "1e3", ""} {
		if p := x.refused(400, CodeInvalidRequest, "GET", "/v1/keys?limit="+bad, admin); p["field"] != "limit" {
			t.Errorf("%v", p)
		}
	}
	x.limits.Page = 2
	x.refused(400, CodeInvalidRequest, "GET", "/v1/keys?limit=3", admin)
	if err := json.Unmarshal([]byte(wantStatus(t, x.h, 200, "GET", "/v1/keys", admin)), &got); err != nil || len(got.Keys) != 2 {
		t.Errorf("%v: a page may be smaller than is usual: %v", err, got)
	}
}

func TestAnAppThatThereIsNotIsNamedInTheSameWayByEveryCall(t *testing.T) {
	d := newDesk(t)
	admin := with(d.world.key(""))
	for _, c := range Calls(Rooms{}) {
		path, content, field := strings.NewReplacer("{userId}", "NONE-7", "{name}", "backend").Replace(c.Path), "", "userId"
		switch p := c.Handler.plan; {
		case c.Auth != ByKey:
			continue
		case p.names["app"]:
			path, field = path+"?app=NONE", "app"
		case p.members["app"]:
			content, field = `{"app":"NONE","to":"ANZ-7","content":1}`, "app"
			if c.Path == "/v1/broadcasts" {
				content = `{"app":"NONE","content":1}`
			} else if c.Path == "/v1/keys" {
				content = `{"app":"NONE","scopes":["users:read"]}`
			}
		case !p.ofUser:
			continue
		}
		change := []func(*http.Request){admin}
		if content != "" {
			change = append(change, body(content))
		}
		p := d.refused(404, wire.CodeUnknownApp, c.Method, path, change...)
		if p["field"] != field || p["detail"] != `no app "NONE" is configured here` {
			t.Errorf("%s: %v", c.name(), p)
		}
		// Whose key it is not does not learn which apps there are.
		change[0] = d.key
		d.refused(403, CodeForbidden, c.Method, path, change...)
	}
}

func TestAnAppInTheWrongPlaceIsToldTheRightOne(t *testing.T) {
	d := newDesk(t)
	admin := with(d.world.key(""))
	for _, c := range []struct{ method, path, body, detail string }{
		{"GET", "/v1/users", "", "app is needed with an admin key: name the app, as ?app=…"},
		{"POST", "/v1/webhooks/backend/replays?app=ANZ", `{"app":"ANZ"}`, "app is no field of this call: it goes into the URL, as ?app=…"},
		{"POST", "/v1/keys?app=ANZ", `{"scopes":["users:read"]}`, "app is no parameter of this call: it goes into the body"},
		{"POST", "/v1/messages?app=ANZ", `{"to":"ANZ-7","content":1}`, "app is no parameter of this call: it goes into the body"},
		{"POST", "/v1/messages", `{"to":"ANZ-7","content":1}`, `from is needed with an admin key; or name the app in the body, as "app", whose master user it then is`},
		{"GET", "/v1/users/ANZ-7?app=ANZ", "", "app is no parameter of this call: the app is that of the user ID"},
	} {
		change := []func(*http.Request){admin}
		if c.body != "" {
			change = append(change, body(c.body))
		}
		if p := d.refused(400, CodeInvalidRequest, c.method, c.path, change...); p["detail"] != c.detail {
			t.Errorf("%s %s: %v", c.method, c.path, p)
		}
	}
}

func TestDetailsReadAlikeWhoeverWroteThem(t *testing.T) {
	for reason, detail := range map[string]string{
		"The token has expired.":                         "the token has expired",
		"A user may not.":                                "a user may not",
		"ANZ-7 has 16 sessions already":                  "ANZ-7 has 16 sessions already",
		`the header must be <"session" of the first> & `: `the header must be <"session" of the first> & `,
	} {
		refused := FromWire(&wire.Error{Code: wire.CodeRefused, Reason: reason})
		if refused.Detail != detail {
			t.Errorf("%q becomes %q", reason, refused.Detail)
		}
		if said := string(refused.json()); strings.Contains(said, `\u00`) {
			t.Errorf("%s", said)
		}
	}
}

func TestAWrongMethodIsToldTheCallBelow(t *testing.T) {
	d := newDesk(t)
	for call, detail := range map[string]string{
		"DELETE /v1/users/ANZ-7/mailbox": "this path takes GET, HEAD; there is DELETE /v1/users/{userId}/mailbox/messages",
		"POST /v1/users/ANZ-7/mailbox":   "this path takes GET, HEAD",
	} {
		method, path, _ := strings.Cut(call, " ")
		if p := d.refused(405, CodeWrongMethod, method, path, d.key); p["detail"] != detail {
			t.Errorf("%s: %v", call, p)
		}
	}
}

func TestWhoGuessesAPathIsToldWhereTheCallsAre(t *testing.T) {
	x := newWorld(t)
	for _, path := range []string{"/v1", "/v1/", "/v1/nothing"} {
		if p := x.refused(404, CodeNotFound, "GET", path); p["detail"] != "there is no such call; /docs/api lists those that there are" {
			t.Errorf("%s: %v", path, p)
		}
	}
	for _, path := range []string{"/docs", "/docs/", "/docs/api/"} {
		answer, _ := ask(t, x.h, "GET", path)
		if answer.StatusCode != 302 || answer.Header.Get("Location") != "/docs/api" {
			t.Errorf("%s: %d %v", path, answer.StatusCode, answer.Header)
		}
	}
}
