package apps_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ann   = wire.UserID("ANZ-1")
	appID = "app-id-343"
)

// open is an app that asks nobody.
func open() apps.App {
	return apps.App{Name: "ANZ", ID: appID, Master: "ANZ-123223"}
}

// hooked is an app that asks a hook.
func hooked(url string) apps.App {
	a := open()
	a.AuthEnabled, a.AuthURL = true, url
	return a
}

// signed is an app that verifies tokens.
func signed(j apps.JWT) apps.App {
	a := open()
	a.AuthEnabled, a.JWT = true, &j
	return a
}

func auth(user wire.UserID, token string) wire.Auth {
	return wire.Auth{AppID: appID, User: user, UserText: string(user), Token: token}
}

// start makes a registry that is closed with the test.
func start(t *testing.T, o apps.Options) *apps.Registry {
	t.Helper()
	r, err := apps.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// serve starts a server on loopback that is closed with the test.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// code returns the code of a refusal, OK for a grant. It fails the test when
// the refusal is not one of the package's table.
func code(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "OK"
	}
	var r *apps.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("not a refusal: %v", err)
	}
	if !slices.ContainsFunc(apps.Refusals(), func(k apps.Refusal) bool { return k.Code == r.Code && k.Reason == r.Reason }) {
		t.Errorf("not in the table of refusals: %s %q", r.Code, r.Reason)
	}
	return r.Code
}

func wantCode(t *testing.T, err error, want string) {
	t.Helper()
	if got := code(t, err); got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

// signIn asks and returns the code.
func signIn(t *testing.T, r *apps.Registry, a wire.Auth) string {
	t.Helper()
	_, err := r.Authenticate(t.Context(), a)
	return code(t, err)
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// metric returns the sum of a metric over the series with these labels, given
// as name, value, name, value.
func metric(t *testing.T, g prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != "switchboard_apps_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := make(map[string]string)
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			fits := true
			for i := 0; i < len(labels); i += 2 {
				fits = fits && have[labels[i]] == labels[i+1]
			}
			if fits {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// asked is what a hook is sent.
type asked struct{ AppID, UserID, Token string }

// say answers as a hook does.
func say(w http.ResponseWriter, q asked, yes bool) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"appId": q.AppID, "userId": q.UserID, "isAuthenticated": yes})
}

// reply is a hook that says yes to whom it hears.
func reply(w http.ResponseWriter, r *http.Request) {
	var q asked
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	say(w, q, true)
}

// logged collects what is logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// result is what an attempt that runs beside the test came to.
type result struct {
	grant apps.Grant
	err   error
}

// attempt signs in beside the test.
func attempt(ctx context.Context, r *apps.Registry, a wire.Auth) <-chan result {
	done := make(chan result, 1)
	go func() {
		g, err := r.Authenticate(ctx, a)
		done <- result{g, err}
	}()
	return done
}
