package apps_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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

func TestHookIsAskedAsTheProtocolSays(t *testing.T) {
	const token = "tök<en>&\"quoted\" \u2028"
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		var q map[string]any
		if err := json.Unmarshal(text, &q); err != nil {
			t.Errorf("not JSON: %s", text)
		}
		if r.Method != "POST" || r.URL.RequestURI() != "/auth?x=1" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s %s, %v", r.Method, r.URL, r.Header)
		}
		if len(q) != 3 || q["appId"] != appID || q["userId"] != string(ann) || q["token"] != token {
			t.Errorf("got %v", q)
		}
		say(w, asked{AppID: appID, UserID: string(ann)}, true)
	})
	r := start(t, apps.Options{Apps: []apps.App{hooked(url + "/auth?x=1")}})
	g, err := r.Authenticate(t.Context(), auth(ann, token))
	if err != nil || g != (apps.Grant{User: ann, TellMaster: "ANZ-123223"}) {
		t.Errorf("got %+v, %v", g, err)
	}
}

func TestOnlyAClearYesOfTheHookCounts(t *testing.T) {
	const yes = `{"appId":"app-id-343","userId":"ANZ-1","isAuthenticated":true}`
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"yes":                      {200, yes, "OK"},
		"yes with 201":             {201, yes, "OK"},
		"yes and more":             {200, `{"more":{"isAuthenticated":false},"appId":"app-id-343","userId":"ANZ-1","isAuthenticated":true,"x":[1]} ` + "\n", "OK"},
		"yes of almost 64 KiB":     {200, yes + strings.Repeat(" ", 64<<10-len(yes)), "OK"},
		"no":                       {200, `{"appId":"app-id-343","userId":"ANZ-1","isAuthenticated":false}`, "REFUSED"},
		"only no":                  {200, `{"isAuthenticated":false}`, "REFUSED"},
		"401":                      {401, "", "REFUSED"},
		"403 with a yes":           {403, yes, "REFUSED"},
		"500 with a yes":           {500, yes, "HOOK_FAILED"},
		"404":                      {404, yes, "HOOK_FAILED"},
		"304":                      {304, "", "HOOK_FAILED"},
		"204":                      {204, "", "HOOK_FAILED"},
		"another user":             {200, `{"appId":"app-id-343","userId":"ANZ-2","isAuthenticated":true}`, "HOOK_FAILED"},
		"another app":              {200, `{"appId":"app-id-344","userId":"ANZ-1","isAuthenticated":true}`, "HOOK_FAILED"},
		"no user":                  {200, `{"appId":"app-id-343","isAuthenticated":true}`, "HOOK_FAILED"},
		"null for the user":        {200, `{"appId":"app-id-343","userId":null,"isAuthenticated":true}`, "HOOK_FAILED"},
		"a number for the app":     {200, `{"appId":343,"userId":"ANZ-1","isAuthenticated":true}`, "HOOK_FAILED"},
		"yes as text":              {200, `{"appId":"app-id-343","userId":"ANZ-1","isAuthenticated":"true"}`, "HOOK_FAILED"},
		"yes as 1":                 {200, `{"appId":"app-id-343","userId":"ANZ-1","isAuthenticated":1}`, "HOOK_FAILED"},
		"yes as null":              {200, `{"appId":"app-id-343","userId":"ANZ-1","isAuthenticated":null}`, "HOOK_FAILED"},
		"neither":                  {200, `{"appId":"app-id-343","userId":"ANZ-1"}`, "HOOK_FAILED"},
		"another spelling":         {200, `{"appId":"app-id-343","userId":"ANZ-1","IsAuthenticated":true}`, "HOOK_FAILED"},
		"no and yes":               {200, `{"appId":"app-id-343","userId":"ANZ-1","isAuthenticated":false,"isAuthenticated":true}`, "HOOK_FAILED"},
		"two objects":              {200, yes + yes, "HOOK_FAILED"},
		"an array":                 {200, "[" + yes + "]", "HOOK_FAILED"},
		"nothing":                  {200, "", "HOOK_FAILED"},
		"null":                     {200, "null", "HOOK_FAILED"},
		"true":                     {200, "true", "HOOK_FAILED"},
		"not JSON":                 {200, "<html>welcome</html>", "HOOK_FAILED"},
		"cut off":                  {200, yes[:len(yes)-1], "HOOK_FAILED"},
		"cut off within a value":   {200, `{"appId":"app`, "HOOK_FAILED"},
		"a comma too many":         {200, yes[:len(yes)-1] + ",}", "HOOK_FAILED"},
		"yes of more than 64 KiB":  {200, yes + strings.Repeat(" ", 64<<10), "HOOK_FAILED"},
		"nested deeper than sense": {200, strings.Repeat(`{"a":`, 12_000), "HOOK_FAILED"},
	} {
		calls := 0
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			calls++
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		r := start(t, apps.Options{Apps: []apps.App{hooked(url)}})
		_, err := r.Authenticate(t.Context(), auth(ann, "t"))
		if got := code(t, err); got != c.want || calls != 1 {
			t.Errorf("%s: got %s after %d calls (%v), want %s", name, got, calls, err, c.want)
		}
	}
}

func TestEndlessAnswerIsCutOff(t *testing.T) {
	ended := make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	r := start(t, apps.Options{Apps: []apps.App{hooked(url)}})
	if got := signIn(t, r, auth(ann, "t")); got != "HOOK_FAILED" {
		t.Errorf("got %s", got)
	}
	<-ended
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		t.Error("the redirect was followed")
		reply(w, r)
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, status) })
		r := start(t, apps.Options{Apps: []apps.App{hooked(url)}})
		if got := signIn(t, r, auth(ann, "t")); got != "HOOK_FAILED" {
			t.Errorf("%d: got %s", status, got)
		}
	}
}

func TestHookThatIsNotThereIsARefusal(t *testing.T) {
	gone := serve(t, reply)
	r := start(t, apps.Options{Apps: []apps.App{hooked("http://user:hush@127.0.0.1:1/auth?key=hush")}})
	_, err := r.Authenticate(t.Context(), auth(ann, "hush"))
	wantCode(t, err, "HOOK_FAILED")
	if strings.Contains(err.Error(), "hush") {
		t.Errorf("the error tells secrets: %v", err)
	}
	if err := r.Replace([]apps.App{hooked(strings.Replace(gone, "http:", "https:", 1))}); err != nil {
		t.Fatal(err)
	}
	if got := signIn(t, r, auth(ann, "t")); got != "HOOK_FAILED" {
		t.Errorf("a hook that speaks no TLS: %s", got)
	}
}

func TestSlowHookIsATimeout(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no answer": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			<-r.Context().Done()
		},
		"half an answer": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			_, _ = io.WriteString(w, `{"appId":`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	} {
		reg := prometheus.NewRegistry()
		r := start(t, apps.Options{Apps: []apps.App{hooked(serve(t, h))}, HookTimeout: 30 * time.Millisecond, Metrics: reg})
		_, err := r.Authenticate(t.Context(), auth(ann, "t"))
		wantCode(t, err, "HOOK_FAILED")
		if got := metric(t, reg, "sign_ins_total", "result", "TIMEOUT"); got != 1 {
			t.Errorf("%s: %v timeouts counted", name, got)
		}
	}
}

func TestAttemptThatIsGivenUpLetsGoOfTheHook(t *testing.T) {
	called, left := make(chan struct{}), make(chan struct{})
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		close(called)
		<-r.Context().Done()
		close(left)
	})
	reg := prometheus.NewRegistry()
	var log logged
	r := start(t, apps.Options{Apps: []apps.App{hooked(url)}, Metrics: reg, Log: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	done := attempt(ctx, r, auth(ann, "t"))
	<-called
	cancel()
	wantCode(t, (<-done).err, "HOOK_FAILED")
	<-left
	if got := metric(t, reg, "sign_ins_total", "result", "CANCELLED"); got != 1 {
		t.Errorf("%v counted as cancelled", got)
	}
	if got := metric(t, reg, "hook_in_flight"); got != 0 {
		t.Errorf("%v calls in flight", got)
	}
	if text := log.String(); text != "" {
		t.Errorf("the hook is blamed: %s", text)
	}
}

// crowd is a hook that counts how many are in it, and whom it has seen.
type crowd struct {
	mu      sync.Mutex
	in, max int
	seen    map[string]int
	full    chan struct{} // closed when limit were in it at once
	limit   int
}

func newCrowd(limit int) *crowd {
	return &crowd{seen: make(map[string]int), full: make(chan struct{}), limit: limit}
}

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q asked
	_ = json.NewDecoder(r.Body).Decode(&q)
	c.mu.Lock()
	c.in++
	c.max = max(c.max, c.in)
	c.seen[q.UserID]++
	if c.in == c.limit && len(c.seen) == c.limit {
		close(c.full)
	}
	c.mu.Unlock()
	<-c.full // nobody leaves before it was full once
	c.mu.Lock()
	c.in--
	c.mu.Unlock()
	say(w, q, true)
}

func TestBurstOf500DoesNotOverrunTheHook(t *testing.T) {
	const burst, limit = 500, 8
	c := newCrowd(limit)
	reg := prometheus.NewRegistry()
	r := start(t, apps.Options{
		Apps: []apps.App{hooked(serve(t, c.ServeHTTP))}, HookConcurrency: limit, HookTimeout: 30 * time.Second, Metrics: reg,
	})
	var all sync.WaitGroup
	for i := range burst {
		all.Go(func() {
			user := wire.UserID(fmt.Sprintf("ANZ-%d", i))
			_, err := r.Authenticate(t.Context(), auth(user, "t"))
			wantCode(t, err, "OK")
		})
	}
	all.Wait()
	if c.max != limit {
		t.Errorf("%d calls at once, want %d", c.max, limit)
	}
	for user, n := range c.seen {
		if n != 1 {
			t.Errorf("%s was asked for %d times", user, n)
		}
	}
	if len(c.seen) != burst {
		t.Errorf("%d users were asked for", len(c.seen))
	}
	for name, want := range map[string]float64{"hook_waiting": 0, "hook_in_flight": 0, "hook_seconds": burst} {
		if got := metric(t, reg, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// stuck is a hook whose callers wait until it is let go.
func stuck(t *testing.T) (url string, called chan string, letGo func()) {
	called = make(chan string, 1000)
	open := make(chan struct{})
	url = serve(t, func(w http.ResponseWriter, r *http.Request) {
		var q asked
		_ = json.NewDecoder(r.Body).Decode(&q)
		called <- q.UserID
		select {
		case <-open:
		case <-r.Context().Done():
		}
		say(w, q, true)
	})
	letGo = sync.OnceFunc(func() { close(open) })
	t.Cleanup(letGo) // runs before the server is closed, which waits for its callers
	return url, called, letGo
}

func TestWaitingForATurnEndsWithTheAttemptAndIsLimited(t *testing.T) {
	url, called, letGo := stuck(t)
	reg := prometheus.NewRegistry()
	r := start(t, apps.Options{Apps: []apps.App{hooked(url)}, HookConcurrency: 1, HookWaiting: 2, Metrics: reg})
	waiting := func(n float64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%v wait", n), func() bool { return metric(t, reg, "hook_waiting") == n })
	}
	first := attempt(t.Context(), r, auth("ANZ-1", "t"))
	<-called
	second := attempt(t.Context(), r, auth("ANZ-2", "t"))
	waiting(1)
	ctx, cancel := context.WithCancel(t.Context())
	third := attempt(ctx, r, auth("ANZ-3", "t"))
	waiting(2)

	if got := signIn(t, r, auth("ANZ-4", "t")); got != "BUSY" {
		t.Errorf("one more than may wait: %s", got)
	}
	cancel()
	wantCode(t, (<-third).err, "HOOK_FAILED") // it left by itself
	waiting(1)
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	_, err := r.Authenticate(short, auth("ANZ-5", "t"))
	wantCode(t, err, "BUSY")

	letGo()
	wantCode(t, (<-first).err, "OK")
	wantCode(t, (<-second).err, "OK")
	if user := <-called; user != "ANZ-2" || len(called) != 0 {
		t.Errorf("who did not wait to the end was asked for: %s and %d more", user, len(called))
	}
	for i := range 3 { // those who left have left no turn behind
		after, cancelAfter := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := r.Authenticate(after, auth(wire.UserID(fmt.Sprintf("ANZ-%d", i+6)), "t"))
		cancelAfter()
		wantCode(t, err, "OK")
	}
	if got := metric(t, reg, "sign_ins_total", "result", "BUSY"); got != 2 {
		t.Errorf("%v counted as BUSY", got)
	}
}

func TestTurnsAreGivenInTheOrderOfAsking(t *testing.T) {
	url, called, letGo := stuck(t)
	reg := prometheus.NewRegistry()
	r := start(t, apps.Options{Apps: []apps.App{hooked(url)}, HookConcurrency: 1, Metrics: reg})
	var want []string
	var done []<-chan result
	for i := range 20 {
		user := fmt.Sprintf("ANZ-%d", i)
		want = append(want, user)
		done = append(done, attempt(t.Context(), r, auth(wire.UserID(user), "t")))
		eventually(t, "it waits", func() bool {
			return metric(t, reg, "hook_waiting")+metric(t, reg, "hook_in_flight") == float64(i+1)
		})
	}
	letGo()
	for i, d := range done {
		wantCode(t, (<-d).err, "OK")
		if got := <-called; got != want[i] {
			t.Fatalf("%s came before %s", got, want[i])
		}
	}
}

func TestSlowHookDelaysNobodyElse(t *testing.T) {
	url, called, letGo := stuck(t)
	other := apps.App{Name: "other", ID: "other-id", AuthEnabled: true, AuthURL: serve(t, reply)}
	r := start(t, apps.Options{Apps: []apps.App{hooked(url), other}, HookConcurrency: 1})
	slow := attempt(t.Context(), r, auth("ANZ-1", "t"))
	<-called
	waits := attempt(t.Context(), r, auth("ANZ-2", "t"))
	if got := signIn(t, r, wire.Auth{AppID: "other-id", User: "other-1"}); got != "OK" {
		t.Errorf("a user of another app: %s", got)
	}
	letGo()
	wantCode(t, (<-slow).err, "OK")
	wantCode(t, (<-waits).err, "OK")
}

func TestSlowCallDelaysOnlyItsOwnUser(t *testing.T) {
	goOn, called := make(chan struct{}), make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var q asked
		_ = json.NewDecoder(r.Body).Decode(&q)
		if q.UserID == "ANZ-1" {
			close(called)
			<-goOn
		}
		say(w, q, true)
	})
	r := start(t, apps.Options{Apps: []apps.App{hooked(url)}})
	slow := attempt(t.Context(), r, auth("ANZ-1", "t"))
	<-called
	for i := range 20 {
		if got := signIn(t, r, auth(wire.UserID(fmt.Sprintf("ANZ-%d", i+2)), "t")); got != "OK" {
			t.Errorf("got %s", got)
		}
	}
	close(goOn)
	wantCode(t, (<-slow).err, "OK")
}

func TestLimitsHoldAcrossReplaceAndChangeAtRunTime(t *testing.T) {
	url, called, letGo := stuck(t)
	reg := prometheus.NewRegistry()
	twin := apps.App{Name: "twin", ID: "twin-id", AuthEnabled: true, AuthURL: url}
	r := start(t, apps.Options{Apps: []apps.App{hooked(url)}, HookConcurrency: 1, Metrics: reg})
	all := []<-chan result{attempt(t.Context(), r, auth("ANZ-1", "t"))}
	<-called
	if err := r.Replace([]apps.App{hooked(url), twin}); err != nil {
		t.Fatal(err)
	}
	all = append(all,
		attempt(t.Context(), r, auth("ANZ-2", "t")),
		attempt(t.Context(), r, wire.Auth{AppID: "twin-id", User: "twin-1"}),
		attempt(t.Context(), r, auth("ANZ-3", "t")))
	eventually(t, "three wait", func() bool { return metric(t, reg, "hook_waiting") == 3 })
	r.SetHookLimits(0, 3)
	<-called
	<-called
	eventually(t, "one waits", func() bool { return metric(t, reg, "hook_waiting") == 1 })
	r.SetHookLimits(time.Minute, 0) // changes nothing about turns
	if n := metric(t, reg, "hook_in_flight"); n != 3 {
		t.Errorf("%v in flight", n)
	}
	letGo()
	for _, a := range all {
		wantCode(t, (<-a).err, "OK")
	}
}

func TestOperatorHearsOnceThatAHookFailsAndOnceThatItIsBack(t *testing.T) {
	c := newClock()
	fails := true
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if fails {
			http.Error(w, "hush", http.StatusInternalServerError)
			return
		}
		reply(w, r)
	})
	var log logged
	r := start(t, apps.Options{
		Apps: []apps.App{hooked(url + "?key=hush")}, Now: c.Now, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	lines := func(want int) {
		t.Helper()
		if got := strings.Count(log.String(), "\n"); got != want {
			t.Errorf("%d lines, want %d:\n%s", got, want, log.String())
		}
	}
	for range 3 {
		signIn(t, r, auth(ann, "hush"))
	}
	lines(1)
	c.add(time.Minute)
	signIn(t, r, auth(ann, "hush"))
	lines(2)
	fails = false
	for range 3 {
		signIn(t, r, auth(ann, "hush"))
	}
	lines(3)
	fails = true
	signIn(t, r, auth(ann, "hush")) // too soon after the last warning
	lines(3)
	text := log.String()
	if strings.Contains(text, "hush") || !strings.Contains(text, "level=WARN") || !strings.Contains(text, "level=INFO") || !strings.Contains(text, "app=ANZ") {
		t.Errorf("logged:\n%s", text)
	}
}

func TestOperatorHearsOfTokensSentWithoutEncryption(t *testing.T) {
	for url, want := range map[string]bool{
		"http://localhost:4200/": false, "http://127.0.0.1/": false, "http://[::1]/": false,
		"https://auth.example.org/": false, "http://auth.example.org/": true, "http://10.0.0.1/": true,
	} {
		var log logged
		start(t, apps.Options{Apps: []apps.App{hooked(url)}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if got := strings.Contains(log.String(), "without encryption"); got != want {
			t.Errorf("%s: %s", url, log.String())
		}
	}
}
