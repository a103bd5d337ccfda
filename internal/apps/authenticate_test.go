package apps_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestChecksGoByNameThenAppIDThenHomeThenAuthority(t *testing.T) {
	var calls atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		http.Error(w, "no", http.StatusForbidden)
	})
	r := start(t, apps.Options{
		Apps: []apps.App{hooked(url)},
		Home: func(app string, number int64) (string, bool) {
			if app != "ANZ" {
				t.Errorf("asked for the home of a user of %q", app)
			}
			return "domain-02", number < 1_000_000
		},
	})
	for _, c := range []struct {
		name, app string
		user      wire.UserID
		want      string
		calls     int64
	}{
		{"all is wrong", "x", "NOPE-2000000", "UNKNOWN_APP", 0},
		{"appId and home are wrong", "x", "ANZ-2000000", "WRONG_APP_ID", 0},
		{"home is wrong", appID, "ANZ-2000000", "WRONG_DOMAIN", 0},
		{"the hook says no", appID, "ANZ-1", "REFUSED", 1},
		{"no user at all", appID, "", "UNKNOWN_APP", 0},
		{"no appId", "", "ANZ-1", "WRONG_APP_ID", 0},
	} {
		calls.Store(0)
		_, err := r.Authenticate(t.Context(), wire.Auth{AppID: c.app, User: c.user})
		if got := code(t, err); got != c.want || calls.Load() != c.calls {
			t.Errorf("%s: got %s after %d calls, want %s after %d", c.name, got, calls.Load(), c.want, c.calls)
		}
	}
}

func TestRefusalNamesTheHomeDomain(t *testing.T) {
	r := start(t, apps.Options{
		Apps: []apps.App{open()},
		Home: func(string, int64) (string, bool) { return "domain-02", false },
	})
	_, err := r.Authenticate(t.Context(), auth(ann, ""))
	var refusal *apps.Refusal
	if !errors.As(err, &refusal) || refusal.Home != "domain-02" {
		t.Errorf("got %+v", refusal)
	}
}

func TestGrantSaysWhoIsMasterAndWhoIsTold(t *testing.T) {
	without := apps.App{Name: "solo", ID: "solo-id"}
	r := start(t, apps.Options{Apps: []apps.App{open(), without}})
	for _, c := range []struct {
		auth wire.Auth
		want apps.Grant
	}{
		{auth(ann, ""), apps.Grant{User: ann, TellMaster: "ANZ-123223"}},
		{auth("ANZ-123223", ""), apps.Grant{User: "ANZ-123223", Master: true}},
		{wire.Auth{AppID: "solo-id", User: "solo-1"}, apps.Grant{User: "solo-1"}},
	} {
		got, err := r.Authenticate(t.Context(), c.auth)
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v; want %+v", c.auth.User, got, err, c.want)
		}
	}
}

func TestReachIsWhatAllowAppsNames(t *testing.T) {
	r := start(t, apps.Options{Apps: []apps.App{
		{Name: "a", ID: "1", AllowApps: []string{"b"}},
		{Name: "b", ID: "2", Master: "b-9"},
		{Name: "c", ID: "3"},
	}})
	for pair, want := range map[string]bool{
		"a a": true, "a b": true, "b a": false, "a c": false, "c c": true,
		"a x": false, "x a": false, "x x": false,
	} {
		from, to, _ := strings.Cut(pair, " ")
		if got := r.MayReach(from, to); got != want {
			t.Errorf("%s: got %v", pair, got)
		}
	}
	if !r.Known("a") || r.Known("x") || r.Known("") {
		t.Error("wrong about which apps there are")
	}
	if m, ok := r.MasterOf("b"); m != "b-9" || !ok {
		t.Errorf("the master of b is %q, %v", m, ok)
	}
	for _, app := range []string{"a", "x"} {
		if m, ok := r.MasterOf(app); m != "" || ok {
			t.Errorf("the master of %s is %q, %v", app, m, ok)
		}
	}
}

func TestReplaceTakesEffectAtOnceAndAsAWhole(t *testing.T) {
	r := start(t, apps.Options{Apps: []apps.App{open()}})
	next := []apps.App{{Name: "new", ID: "new-id", AllowApps: []string{"more"}}, {Name: "more", ID: "more-id"}}
	if err := r.Replace(next); err != nil {
		t.Fatal(err)
	}
	next[0].AllowApps[0] = "new" // what was handed over is ours no longer
	if r.Known("ANZ") || !r.Known("new") || !r.MayReach("new", "more") {
		t.Error("the new apps are not in place")
	}
	if got := signIn(t, r, auth(ann, "")); got != "UNKNOWN_APP" {
		t.Errorf("a user of a removed app: %s", got)
	}
	for name, c := range badApps(t) {
		if err := r.Replace(c.list); !errors.As(err, new(apps.FieldErrors)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if !r.Known("new") || r.Known("other") || !r.MayReach("new", "more") {
		t.Error("a list that was refused has changed something")
	}
	if err := r.Replace(nil); err != nil || r.Known("new") {
		t.Errorf("no apps at all: %v", err)
	}
}

func TestAttemptUnderWayIsStillCheckedAgainstWhatReplacedItsApp(t *testing.T) {
	renamed := open()
	renamed.ID = "another-id"
	kept := open()
	kept.Master = "ANZ-7"
	for name, c := range map[string]struct {
		next []apps.App
		want string
	}{
		"app gone":         {nil, "UNKNOWN_APP"},
		"other appId":      {[]apps.App{renamed}, "WRONG_APP_ID"},
		"other master":     {[]apps.App{kept}, "OK"},
		"nothing happened": {nil, "OK"},
	} {
		t.Run(name, func(t *testing.T) {
			called, goOn := make(chan struct{}), make(chan struct{})
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				close(called)
				<-goOn
				reply(w, r)
			})
			r := start(t, apps.Options{Apps: []apps.App{hooked(url)}})
			done := attempt(t.Context(), r, auth(ann, "t"))
			<-called
			if c.next != nil || c.want != "OK" {
				if err := r.Replace(c.next); err != nil {
					t.Error(err)
				}
			}
			close(goOn)
			got := <-done
			wantCode(t, got.err, c.want)
			if c.next != nil && c.want == "OK" && got.grant.TellMaster != "ANZ-7" {
				t.Errorf("the master that is told is %q", got.grant.TellMaster)
			}
		})
	}
}

func TestReplaceWhileManySignIn(t *testing.T) {
	url := serve(t, reply)
	token := newHS256(secret).token(t, claims{"sub": string(ann), "exp": 4e9})
	lists := [][]apps.App{{hooked(url)}, {open()}, {signed(apps.JWT{Secret: secret})}, nil}
	r := start(t, apps.Options{Apps: lists[0], HookConcurrency: 4})
	var workers sync.WaitGroup
	var granted atomic.Int64
	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	for range 8 {
		workers.Go(func() {
			for !stopped() {
				_, err := r.Authenticate(t.Context(), auth(ann, token))
				switch got := code(t, err); got {
				case "OK":
					granted.Add(1)
				case "UNKNOWN_APP":
				default:
					t.Errorf("got %v", err)
				}
				r.MayReach("ANZ", "ANZ")
			}
		})
	}
	replaced := 0
	eventually(t, "many were granted while the apps were replaced", func() bool {
		replaced++
		if err := r.Replace(lists[replaced%len(lists)]); err != nil {
			t.Error(err)
		}
		return replaced >= 200 && granted.Load() >= 200
	})
	close(stop)
	workers.Wait()
}

func TestSignInsAreCountedByAppAndResult(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := start(t, apps.Options{Apps: []apps.App{open()}, Metrics: reg})
	signIn(t, r, auth(ann, ""))
	signIn(t, r, auth(ann, ""))
	signIn(t, r, wire.Auth{AppID: "x", User: ann})
	signIn(t, r, auth("stranger-1", ""))
	signIn(t, r, auth("another-1", ""))
	for _, c := range []struct {
		app, result string
		want        float64
	}{{"ANZ", "OK", 2}, {"ANZ", "WRONG_APP_ID", 1}, {"", "UNKNOWN_APP", 2}, {"stranger", "UNKNOWN_APP", 0}} {
		if got := metric(t, reg, "sign_ins_total", "app", c.app, "result", c.result); got != c.want {
			t.Errorf("%q %s: got %v, want %v", c.app, c.result, got, c.want)
		}
	}
	if err := r.Replace(nil); err != nil {
		t.Fatal(err)
	}
	if got := metric(t, reg, "sign_ins_total", "app", "ANZ"); got != 0 {
		t.Errorf("the series of a removed app stay: %v", got)
	}
	if _, err := apps.New(apps.Options{Metrics: reg}); err == nil {
		t.Error("registered twice without an error")
	}
}

func TestEveryRefusalHasACodeOfTheProtocol(t *testing.T) {
	known := make(map[string]bool)
	for _, c := range wire.Codes() {
		if c.Kind == wire.KindAuthReply {
			known[c.Code] = true
		}
	}
	for _, r := range apps.Refusals() {
		if !known[r.Code] {
			t.Errorf("wire does not list %s for AUTH_CLIENT_REPLY", r.Code)
		}
	}
}
