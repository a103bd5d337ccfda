package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/nearby"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// places keep one position, and answer as the test says.
type places struct {
	fail  error
	at    *nearby.Position
	asked string
}

func (p *places) Put(_, user string, at nearby.Position, done func(error)) {
	if p.asked = "put " + user; p.fail == nil {
		p.at = &at
	}
	done(p.fail)
}

func (p *places) Hide(_, user string, done func(error)) {
	p.asked, p.at = "hide "+user, nil
	done(p.fail)
}

func (p *places) Get(_, _ string, done func(nearby.Position, bool, error)) {
	if p.at == nil {
		done(nearby.Position{}, false, p.fail)
		return
	}
	done(*p.at, true, p.fail)
}

func (p *places) Near(app string, v nearby.View, limit int, done func(nearby.Answer, error)) {
	p.asked = "near " + app
	if p.fail != nil {
		done(nearby.Answer{}, p.fail)
		return
	}
	at := time.UnixMilli(1_795_687_200_000)
	done(nearby.Answer{Users: []nearby.User{{User: app + "-9", Position: nearby.Position{Lat: v.Lat, Lon: v.Lon, At: at}, Distance: float64(limit)}}, Total: 3}, nil)
}

// nearDesk is a world in which positions are kept; users of ANZ with the token "good"
// sign in.
func nearDesk(t *testing.T, p Nearby) *world {
	t.Helper()
	x := newWorld(t)
	v1, err := NewV1(V1Options{
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Now: func() time.Time { return x.now }, Limits: func() V1Limits { return x.limits },
		Rooms: Rooms{
			Keys: x.ring, Apps: someApps{"ANZ", "SHOP"}, Nearby: p,
			Messages: func() MessageLimits { return MessageLimits{Wait: time.Minute} },
			Names: func(context.Context, []wire.UserID) map[wire.UserID]string {
				return map[wire.UserID]string{"ANZ-9": "Ann"}
			},
			SignIn: func(_ context.Context, a wire.Auth) (wire.UserID, error) {
				if a.AppID != "anz" || a.Token != "good" {
					return "", FromWire(&wire.Error{Code: wire.CodeBadToken, Reason: "because"})
				}
				return a.User, nil
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.MaxBody, o.V1 = func() int64 { return 10_000 }, v1
	x.h = NewPublic(o)
	return x
}

const asANZ7 = "?appId=anz&userId=ANZ-7"

func TestAUserOfAnAppSaysWhereHeIsWithTheAppsToken(t *testing.T) {
	p := new(places)
	x := nearDesk(t, p)
	good := with("good")
	got := wantStatus(t, x.h, 200, "PUT", "/v1/positions/me"+asANZ7, good, body(`{"lat":1.5,"lon":-2,"heading":360,"at":"2026-11-26T10:00:00Z"}`))
	if want := `{"lat":1.5,"lon":-2,"at":"2026-11-26T10:00:00.000Z","heading":0}`; strings.TrimSpace(got) != want || p.asked != "put ANZ-7" {
		t.Errorf("got %s of %s, want %s", got, p.asked, want)
	}
	if again := wantStatus(t, x.h, 200, "GET", "/v1/positions/me"+asANZ7, good); again != got {
		t.Errorf("got %s, want %s", again, got)
	}
	wantStatus(t, x.h, 204, "DELETE", "/v1/positions/me"+asANZ7, good)
	x.refused(404, CodeNotFound, "GET", "/v1/positions/me"+asANZ7, good)
	x.refused(401, wire.CodeBadToken, "GET", "/v1/positions/me"+asANZ7, with("bad"))
	x.refused(401, wire.CodeBadToken, "GET", "/v1/positions/me"+asANZ7)
	for path, field := range map[string]string{"?userId=ANZ-7": "appId", "?appId=anz": "userId", "?appId=anz&userId=7": "userId"} {
		if problem := x.refused(400, CodeInvalidRequest, "GET", "/v1/positions/me"+path, good); problem["field"] != field {
			t.Errorf("%s: %v", path, problem)
		}
	}
	wantStatus(t, x.h, 200, "PUT", "/v1/positions/me"+asANZ7, good, body(`{"lat":0,"lon":0}`)) // which is a place
}

func TestWhoDoesNotSayWhoAsksIsToldHow(t *testing.T) {
	x := nearDesk(t, new(places))
	const circle = "lat=1&lon=2&radius=3"
	nothing := func(*http.Request) {}
	for _, c := range []struct {
		method, path string
		how          func(*http.Request)
		says         string
	}{
		{"GET", "/v1/positions/me", nothing, "told who asks: send appId and userId"},
		{"DELETE", "/v1/positions/me", with("an account's"), "alone does not say who asks: send appId and userId"},
		{"GET", "/v1/nearby?" + circle, nothing, "scope nearby:read"},
		{"GET", "/v1/nearby?" + circle, with("an account's"), "appId and userId in the URL"},
		// An API key is nobody, so it is nowhere.
		{"GET", "/v1/positions/me", with(x.key("")), "keys are not for this call"},
		{"GET", "/v1/positions/me" + asANZ7, with(x.key("")), "keys are not for this call"},
	} {
		problem := x.refused(401, CodeAuthRequired, c.method, c.path, c.how)
		if detail := problem["detail"].(string); !strings.Contains(detail, c.says) || strings.Contains(detail, "account") {
			t.Errorf("%s %s: %s", c.method, c.path, detail)
		}
	}
	if problem := x.refused(400, CodeInvalidRequest, "GET", "/v1/nearby"+asANZ7+"&"+circle, with(x.key("ANZ", keys.NearbyRead))); problem["field"] != "appId" {
		t.Errorf("who signs in in two ways is told %v", problem)
	}
	if problem := x.refused(403, CodeForbidden, "GET", "/v1/nearby"+asANZ7+"&app=SHOP&"+circle, with("good")); !strings.HasPrefix(problem["detail"].(string), "the user is of app ANZ") {
		t.Errorf("a user who asks about another app is told %v", problem)
	}
}

func TestNumbersAboutPlacesAreThoseOfJSON(t *testing.T) {
	x := nearDesk(t, new(places))
	good := with("good")
	for query, field := range map[string]string{
		"bbox=0x1p-2,-90,1_0,90": "bbox", "bbox=1,2,3,Inf": "bbox", "bbox=1,2,3,+4": "bbox", "bbox=1,2,3,%204": "bbox", "bbox=1,2,3,": "bbox",
		"lat=0x1&lon=1&radius=1": "lat", "lat=1&lon=1_0&radius=1": "lon", "lat=1&lon=1&radius=NaN": "radius", "lat=.5&lon=1&radius=1": "lat", "lat=1e999&lon=1&radius=1": "lat",
	} {
		if problem := x.refused(400, CodeInvalidRequest, "GET", "/v1/nearby"+asANZ7+"&"+query, good); problem["field"] != field {
			t.Errorf("%s: %v", query, problem)
		}
	}
	wantStatus(t, x.h, 200, "GET", "/v1/nearby"+asANZ7+"&lat=-1.5e1&lon=0&radius=1E2", good)
	for sent, says := range map[string]string{
		`{"lat":"47.3769","lon":1}`:            "lat must be a number",
		`{"lat":1,"lon":1,"accuracy":true}`:    "accuracy must be a number",
		`{"lat":1,"lon":1,"at":1795687200000}`: `at must be a time as in RFC 3339, such as "2026-11-26T08:30:00Z"`,
		`{"lat":1,"lon":1,"at":"yesterday"}`:   `at must be a time as in RFC 3339, such as "2026-11-26T08:30:00Z"`,
		`{"lon":1}`:                            "lat is missing or empty",
	} {
		if problem := x.refused(400, CodeInvalidRequest, "PUT", "/v1/positions/me"+asANZ7, good, body(sent)); problem["detail"] != says {
			t.Errorf("%s: %v", sent, problem["detail"])
		}
	}
}

// forgetful takes positions in and does not know them afterwards, as when a keeper dies.
type forgetful struct{ places }

func (*forgetful) Put(_, _ string, _ nearby.Position, done func(error)) { done(nil) }

func TestAPositionThatIsLostAsItIsTakenInWasNotNowhere(t *testing.T) {
	x := nearDesk(t, new(forgetful))
	x.refused(503, wire.CodeStoreDown, "PUT", "/v1/positions/me"+asANZ7, with("good"), body(`{"lat":1,"lon":2}`))
}

func TestWhoIsAroundIsAskedByUsersAndByKeysWithTheScope(t *testing.T) {
	p := new(places)
	x := nearDesk(t, p)
	const circle = "lat=1&lon=2&radius=3"
	want := `{"users":[{"userId":"ANZ-9","name":"Ann","lat":1,"lon":2,"at":"2026-11-26T10:00:00.000Z","distance":100}],"total":3}`
	for who, got := range map[string]string{
		"a user":            wantStatus(t, x.h, 200, "GET", "/v1/nearby"+asANZ7+"&"+circle, with("good")),
		"a key of the app":  wantStatus(t, x.h, 200, "GET", "/v1/nearby?"+circle, with(x.key("ANZ", keys.NearbyRead))),
		"an admin key":      wantStatus(t, x.h, 200, "GET", "/v1/nearby?app=ANZ&"+circle, with(x.key(""))),
		"and with a limit,": strings.ReplaceAll(wantStatus(t, x.h, 200, "GET", "/v1/nearby?limit=5&app=ANZ&"+circle, with(x.key(""))), `"distance":5`, `"distance":100`),
	} {
		if strings.TrimSpace(got) != want {
			t.Errorf("%s sees %s, not %s", who, got, want)
		}
	}
	x.refused(403, CodeScopeMissing, "GET", "/v1/nearby?"+circle, with(x.key("ANZ", keys.UsersRead)))
	x.refused(403, CodeForbidden, "GET", "/v1/nearby?app=SHOP&"+circle, with(x.key("ANZ", keys.NearbyRead)))
	x.refused(403, CodeForbidden, "GET", "/v1/nearby"+asANZ7+"&app=SHOP&"+circle, with("good"))
	if problem := x.refused(400, CodeInvalidRequest, "GET", "/v1/nearby?"+circle, with(x.key(""))); problem["field"] != "app" {
		t.Errorf("an admin key without an app: %v", problem)
	}
}

func TestWhatTheRoomRefusesIsAnsweredAsCallsAre(t *testing.T) {
	p := new(places)
	x := nearDesk(t, p)
	put := func(status int, code string) map[string]any {
		t.Helper()
		return x.refused(status, code, "PUT", "/v1/positions/me"+asANZ7, with("good"), body(`{"lat":1,"lon":2}`))
	}
	p.fail = &nearby.Refusal{Code: wire.CodeBadField, Field: "at", Reason: "is in the future"}
	if problem := put(400, CodeInvalidRequest); problem["field"] != "at" || problem["detail"] != "at is in the future" {
		t.Errorf("got %v", problem)
	}
	p.fail = &nearby.Refusal{Code: wire.CodeTooMany, Reason: "10 a second"}
	put(429, CodeRateLimited)
	// How the limit of the API stands has nothing to do with it.
	r, _ := ask(t, x.h, "PUT", "/v1/positions/me"+asANZ7, with("good"), body(`{"lat":1,"lon":2}`))
	if r.Header.Get("Retry-After") != "1" || r.Header.Get("RateLimit-Remaining") != "" || r.Header.Get("RateLimit-Limit") != "" || r.Header.Get("RateLimit-Reset") != "" {
		t.Errorf("who says too often where he is gets %v", r.Header)
	}
	p.fail = &nearby.Refusal{Code: wire.CodeBusy, Reason: "full"}
	put(503, wire.CodeBusy)
	p.fail = errors.New("a node is gone")
	put(503, wire.CodeStoreDown)
	x.refused(503, wire.CodeStoreDown, "GET", "/v1/nearby?app=ANZ&bbox=1,2,3,4", with(x.key("")))
	x = nearDesk(t, nil)
	for _, c := range [][2]string{{"GET", "/v1/positions/me" + asANZ7}, {"DELETE", "/v1/positions/me" + asANZ7}, {"GET", "/v1/nearby" + asANZ7 + "&bbox=1,2,3,4"}} {
		x.refused(http.StatusNotFound, wire.CodeNearbyOff, c[0], c[1], with("good"))
	}
}
