package apps_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// keyServer serves a key set that tests change.
type keyServer struct {
	url string

	mu     sync.Mutex
	status int
	body   string
	asked  int
	before func(*http.Request) // called before each answer; may be nil
}

func serveKeys(t *testing.T, keys ...map[string]any) *keyServer {
	k := &keyServer{}
	k.set(t, keys...)
	k.url = serve(t, func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		k.asked++
		before := k.before
		k.mu.Unlock()
		if before != nil {
			before(r)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.status >= 300 && k.status < 400 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(k.status)
		_, _ = w.Write([]byte(k.body))
	})
	return k
}

// set makes these the keys from now on.
func (k *keyServer) set(t *testing.T, keys ...map[string]any) {
	t.Helper()
	if keys == nil {
		keys = []map[string]any{}
	}
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	k.say(http.StatusOK, string(text))
}

func (k *keyServer) say(status int, body string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status, k.body = status, body
}

func (k *keyServer) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked
}

// startKeys makes a registry of one app with the keys of k, and waits until
// they have been fetched, or have failed to be.
func startKeys(t *testing.T, k *keyServer, o apps.Options) (*apps.Registry, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	o.Apps, o.Metrics = []apps.App{signed(apps.JWT{JWKSURL: k.url})}, reg
	if o.KeysPause == 0 {
		o.KeysPause = time.Nanosecond
	}
	r := start(t, o)
	eventually(t, "the first fetch", func() bool { return metric(t, reg, "key_fetches_total") > 0 })
	return r, reg
}

func TestKeySetVerifiesAllAlgorithms(t *testing.T) {
	c := newClock()
	rs, es, ed := newRS256(t).named("r"), newES256(t).named("e"), newEdDSA(t).named("d")
	k := serveKeys(t, rs.jwk("use", "sig", "alg", "RS256"), es.jwk(), ed.jwk("alg", "EdDSA"))
	r, _ := startKeys(t, k, apps.Options{Now: c.Now})
	for _, s := range []*signer{rs, es, ed} {
		if got := signIn(t, r, auth(ann, s.token(t, fresh(c)))); got != "OK" {
			t.Errorf("%s: got %s", s.alg, got)
		}
		if got := signIn(t, r, auth(ann, s.named("").token(t, fresh(c)))); got != "OK" {
			t.Errorf("%s without kid: got %s", s.alg, got)
		}
		if got := signIn(t, r, auth("ANZ-2", s.token(t, fresh(c)))); got != "BAD_TOKEN" {
			t.Errorf("%s of another user: got %s", s.alg, got)
		}
	}
	for other, s := range strangers(t) {
		for _, kid := range []string{"r", "e", "d", ""} {
			if got := signIn(t, r, auth(ann, s.named(kid).token(t, fresh(c)))); got != "BAD_TOKEN" {
				t.Errorf("signed by another with %s as %q: got %s", other, kid, got)
			}
		}
	}
	if got := k.count(); got != 1 {
		t.Errorf("the keys were fetched %d times", got)
	}
}

func TestKeysThatAreNotForTokensAreNotUsed(t *testing.T) {
	c := newClock()
	es := newES256(t).named("k")
	rs := newRS256(t).named("k")
	for name, x := range map[string]struct {
		s   *signer
		key map[string]any
	}{
		"for encryption":      {es, es.jwk("use", "enc")},
		"of another alg":      {rs, rs.jwk("alg", "RS512")},
		"of no such alg":      {rs, rs.jwk("alg", "x")},
		"for signing only":    {es, func() map[string]any { k := es.jwk(); k["key_ops"] = []string{"sign"}; return k }()},
		"symmetric":           {newHS256(secret).named("k"), map[string]any{"kty": "oct", "kid": "k", "k": b64([]byte(secret))}},
		"symmetric with alg":  {newHS256(secret).named("k"), map[string]any{"kty": "oct", "kid": "k", "alg": "HS256", "k": b64([]byte(secret))}},
		"not on the curve":    {es, es.jwk("x", b64(make([]byte, 32)))},
		"of an unknown kind":  {es, es.jwk("kty", "new")},
		"without its numbers": {es, map[string]any{"kty": "EC", "kid": "k"}},
	} {
		good := newEdDSA(t).named("good")
		k := serveKeys(t, x.key, good.jwk())
		r, _ := startKeys(t, k, apps.Options{Now: c.Now})
		if got := signIn(t, r, auth(ann, x.s.token(t, fresh(c)))); got != "BAD_TOKEN" {
			t.Errorf("%s: got %s", name, got)
		}
		if got := signIn(t, r, auth(ann, good.token(t, fresh(c)))); got != "OK" {
			t.Errorf("%s spoils the good key beside it: %s", name, got)
		}
	}
}

func TestKeyWithCertificatesAndOddMembersIsUsed(t *testing.T) {
	c := newClock()
	s := newRS256(t).named("k")
	key := s.jwk("x5t", "odd", "x5u", "http://127.0.0.1:1/never-asked", "more", "x")
	key["x5c"], key["key_ops"] = []string{"AAAA"}, []string{"verify"}
	r, _ := startKeys(t, serveKeys(t, key), apps.Options{Now: c.Now})
	if got := signIn(t, r, auth(ann, s.token(t, fresh(c)))); got != "OK" {
		t.Errorf("got %s", got)
	}
}

func TestNewKeyIsFetchedWhenATokenNamesIt(t *testing.T) {
	c := newClock()
	first, second := newES256(t).named("1"), newES256(t).named("2")
	k := serveKeys(t, first.jwk())
	r, _ := startKeys(t, k, apps.Options{Now: c.Now})
	old := first.token(t, fresh(c))
	if got := signIn(t, r, auth(ann, old)); got != "OK" {
		t.Fatalf("got %s", got)
	}
	k.set(t, second.jwk())
	if got := signIn(t, r, auth(ann, second.token(t, fresh(c)))); got != "OK" {
		t.Errorf("the new key: %s", got)
	}
	if got := signIn(t, r, auth(ann, old)); got != "BAD_TOKEN" {
		t.Errorf("the key that is no longer listed: %s", got)
	}
}

func TestKeyPublishedWhileAFetchIsUnderWayIsFound(t *testing.T) {
	c := newClock()
	first, second := newES256(t).named("1"), newES256(t).named("2")
	k := serveKeys(t, first.jwk())
	r, _ := startKeys(t, k, apps.Options{Now: c.Now})

	// A fetch that was answered before the new key was published, and is slow.
	asked, goOn := make(chan struct{}), make(chan struct{})
	k.mu.Lock()
	k.before = func(*http.Request) {
		k.mu.Lock()
		k.before = nil
		k.mu.Unlock()
		close(asked)
		<-goOn
	}
	k.mu.Unlock()
	garbage := attempt(t.Context(), r, auth(ann, second.named("nobody's").token(t, fresh(c))))
	<-asked
	legit := attempt(t.Context(), r, auth(ann, second.token(t, fresh(c))))
	published := make(chan struct{})
	k.mu.Lock()
	k.before = func(*http.Request) { // the next fetch
		k.mu.Lock()
		k.before = nil
		k.mu.Unlock()
		k.set(t, second.jwk())
		close(published)
	}
	k.mu.Unlock()
	close(goOn)
	wantCode(t, (<-legit).err, "OK")
	wantCode(t, (<-garbage).err, "BAD_TOKEN")
	if !t.Failed() {
		<-published
	}
}

func TestUnknownKeyIDsDoNotOverrunTheKeyServer(t *testing.T) {
	c := newClock()
	s := newEdDSA(t)
	k := serveKeys(t, s.named("known").jwk())
	r, _ := startKeys(t, k, apps.Options{Now: c.Now, KeysPause: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			_, err := r.Authenticate(ctx, auth(ann, s.named(fmt.Sprint(i)).token(t, fresh(c))))
			wantCode(t, err, "BAD_TOKEN")
		})
	}
	if got := signIn(t, r, auth(ann, s.named("known").token(t, fresh(c)))); got != "OK" {
		t.Errorf("a known key beside them: %s", got)
	}
	all.Wait()
	if got := k.count(); got != 1 {
		t.Errorf("%d fetches", got)
	}
}

func TestUnknownKeyIDsShareOneFetch(t *testing.T) {
	c := newClock()
	s := newEdDSA(t)
	k := serveKeys(t, s.named("known").jwk())
	const pause = 100 * time.Millisecond
	r, _ := startKeys(t, k, apps.Options{Now: c.Now, KeysPause: pause})
	began := time.Now()
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			wantCode(t, refusal(r, t.Context(), auth(ann, s.named(fmt.Sprint(i)).token(t, fresh(c)))), "BAD_TOKEN")
		})
	}
	all.Wait()
	if got, most := k.count(), 2+int(time.Since(began)/pause); got < 2 || got > most {
		t.Errorf("%d fetches, at most %d fit into the time", got, most)
	}
}

func TestKeysThatFailToBeFetchedStayInUse(t *testing.T) {
	s := newES256(t).named("1")
	next := newES256(t).named("2")
	good, err := json.Marshal(map[string]any{"keys": []any{next.jwk()}})
	if err != nil {
		t.Fatal(err)
	}
	many := strings.Repeat(`{"kty":"x"},`, 64) + `{"kty":"x"}`
	for name, x := range map[string]struct {
		status int
		body   string
	}{
		"500":           {500, string(good)},
		"404":           {404, ""},
		"204":           {204, ""},
		"redirect":      {302, string(good)},
		"not JSON":      {200, "<html>"},
		"empty":         {200, ""},
		"null":          {200, "null"},
		"no keys":       {200, "{}"},
		"keys null":     {200, `{"keys":null}`},
		"keys a string": {200, `{"keys":"x"}`},
		"cut off":       {200, string(good[:len(good)-1])},
		"two":           {200, string(good) + string(good)},
		"huge":          {200, string(good) + strings.Repeat(" ", 256<<10)},
		"too many keys": {200, `{"keys":[` + many + `]}`},
	} {
		c := newClock()
		var log logged
		k := serveKeys(t, s.jwk())
		r, reg := startKeys(t, k, apps.Options{Now: c.Now, Log: slog.New(slog.NewTextHandler(&log, nil))})
		k.say(x.status, x.body)
		c.add(apps.DefaultKeysMaxAge)
		for range 3 {
			if got := signIn(t, r, auth(ann, s.token(t, fresh(c)))); got != "OK" {
				t.Errorf("%s: got %s", name, got)
			}
		}
		if got := metric(t, reg, "key_fetches_total", "result", "failed"); got != 1 {
			t.Errorf("%s: %v failures, want one, and then a rest", name, got)
		}
		if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "app=ANZ") || strings.Contains(text, k.url) {
			t.Errorf("%s: logged %s", name, text)
		}
		k.set(t, next.jwk())
		c.add(30 * time.Second)
		if got := signIn(t, r, auth(ann, s.token(t, fresh(c)))); got != "BAD_TOKEN" {
			t.Errorf("%s: the old key, when the new ones can be had: %s", name, got)
		}
		if got := signIn(t, r, auth(ann, next.token(t, fresh(c)))); got != "OK" {
			t.Errorf("%s: the new key: %s", name, got)
		}
	}
}

func TestKeysGrowOldAndAreFetchedAnew(t *testing.T) {
	c := newClock()
	s := newEdDSA(t).named("1")
	k := serveKeys(t, s.jwk())
	r, reg := startKeys(t, k, apps.Options{Now: c.Now})
	token := s.token(t, fresh(c))
	k.set(t) // everything is revoked

	c.add(apps.DefaultKeysMaxAge/2 - 1)
	if got := signIn(t, r, auth(ann, token)); got != "OK" || k.count() != 1 {
		t.Errorf("keys that are young: %s, %d fetches", got, k.count())
	}
	c.add(1)
	if got := signIn(t, r, auth(ann, token)); got != "OK" && got != "BAD_TOKEN" {
		t.Errorf("keys of half their age: %s", got)
	}
	eventually(t, "they are fetched beside us", func() bool { return metric(t, reg, "key_fetches_total") >= 2 })
	if got := signIn(t, r, auth(ann, token)); got != "BAD_TOKEN" {
		t.Errorf("a revoked key: %s", got)
	}

	k.set(t, s.jwk())
	c.add(apps.DefaultKeysMaxAge)
	if got := signIn(t, r, auth(ann, token)); got != "OK" {
		t.Errorf("after a long silence the first attempt waits for new keys: %s", got)
	}
}

func TestWithoutAnyKeysNobodySignsIn(t *testing.T) {
	c := newClock()
	s := newEdDSA(t).named("1")
	k := serveKeys(t)
	k.say(500, "")
	r, _ := startKeys(t, k, apps.Options{Now: c.Now})
	if got := signIn(t, r, auth(ann, s.token(t, fresh(c)))); got != "HOOK_FAILED" {
		t.Errorf("got %s", got)
	}
	k.set(t, s.jwk())
	if got := signIn(t, r, auth(ann, s.token(t, fresh(c)))); got != "OK" {
		t.Errorf("once they are there: %s", got)
	}
}

func TestKeyServerThatHangsEndsWithTheAttemptAndWithTheRegistry(t *testing.T) {
	c := newClock()
	s := newEdDSA(t).named("1")
	k := serveKeys(t, s.jwk())
	asked := make(chan struct{}, 10)
	k.before = func(r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}
	r, err := apps.New(apps.Options{Apps: []apps.App{signed(apps.JWT{JWKSURL: k.url})}, Now: c.Now, HookTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	wantCode(t, refusal(r, ctx, auth(ann, s.token(t, fresh(c)))), "HOOK_FAILED")
	done := attempt(t.Context(), r, auth(ann, s.token(t, fresh(c))))
	r.Close() // or the test ends with goroutines left
	wantCode(t, (<-done).err, "HOOK_FAILED")
	wantCode(t, refusal(r, t.Context(), auth(ann, s.token(t, fresh(c)))), "HOOK_FAILED")
	r.Close() // a second time changes nothing
}

func TestReplaceKeepsFetchedKeys(t *testing.T) {
	c := newClock()
	s := newEdDSA(t).named("1")
	k := serveKeys(t, s.jwk())
	r, _ := startKeys(t, k, apps.Options{Now: c.Now})
	twin := apps.App{Name: "twin", ID: "twin-id", AuthEnabled: true, JWT: &apps.JWT{JWKSURL: k.url, Issuer: "i"}}
	if err := r.Replace([]apps.App{signed(apps.JWT{JWKSURL: k.url}), twin}); err != nil {
		t.Fatal(err)
	}
	k.say(500, "")
	if got := signIn(t, r, auth(ann, s.token(t, fresh(c)))); got != "OK" || k.count() != 1 {
		t.Errorf("got %s after %d fetches", got, k.count())
	}
}

// refusal is signIn for goroutines beside the test's.
func refusal(r *apps.Registry, ctx context.Context, a wire.Auth) error {
	_, err := r.Authenticate(ctx, a)
	return err
}
