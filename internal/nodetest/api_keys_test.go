package nodetest

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// wantCode fails unless the answer is this problem.
func wantCode(t *testing.T, what string, a Answer, status int, code string) {
	t.Helper()
	if a.Status != status || a.Code() != code {
		t.Errorf("%s: got %d %s, want %d %s", what, a.Status, a.Body, status, code)
	}
}

// wantOn fails unless some file of the folder holds the text, or none does.
func wantOnDisk(t *testing.T, dir, text string, want bool) {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), text) {
			found = true
			if !want {
				t.Errorf("%s holds %.12s…", path, text)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want && !found {
		t.Errorf("no file holds %s", text)
	}
}

func TestSecretsAreNeitherOnDiskNorInTheLog(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	s := Start(t, "--log-level", "debug")
	demo := s.Key
	made := s.Call("POST", "/v1/keys", demo, `{"app":"ANZ","name":"on paper","scopes":["keys:manage"]}`, "Idempotency-Key", "k")
	key := made.Field("key")
	if made.Status != 201 || made.Header.Get("Location") != "/v1/keys/"+made.Field("id") || s.Call("GET", "/v1/keys", key, "").Status != 200 {
		t.Fatalf("%d %s", made.Status, made.Body)
	}
	s.Call("GET", "/v1/keys", key+"x", "")
	for _, path := range []string{"/v1/keys", "/v1/keys/" + made.Field("id")} {
		if a := s.CallControl("GET", path, ""); strings.Contains(a.Body, key[20:]) || !strings.Contains(a.Body, "on paper") {
			t.Errorf("%s: %s", path, a.Body)
		}
	}
	_, metrics := s.Get("/metrics")
	s.Stop()
	for what, secret := range map[string]string{"made": key[20:], "demo": demo[20:]} {
		wantOnDisk(t, s.Data, secret, false)
		wantOnDisk(t, s.Data, secret[:26], false)
		if n := strings.Count(s.Output(), secret); n != 0 && !(what == "demo" && n == 1) || strings.Contains(metrics, secret) {
			t.Errorf("the secret that was %s stands %d times in the log", what, n)
		}
	}
	wantOnDisk(t, s.Data, "on paper", true) // the rows are where we looked
	wantOnDisk(t, s.Data, demo[3:19], false)
}

func TestAKeySurvivesAStopAndAKill(t *testing.T) {
	t.Parallel()
	s := Start(t)
	id, key := s.NewKey(`{"app":"ANZ","scopes":["keys:manage"]}`)
	gone, goneKey := s.NewKey(`{"admin":true}`)
	wantStatusOf(t, s.CallControl("DELETE", "/v1/keys/"+gone, ""), 200)
	for _, end := range []func(){func() { s.Stop() }, s.Kill, s.Kill} {
		end()
		s.Start()
		wantStatusOf(t, s.Call("GET", "/v1/keys/"+id, key, ""), 200)
		wantCode(t, "a key that was revoked before", s.Call("GET", "/v1/keys", goneKey, ""), 401, "KEY_INVALID")
	}
}

func wantStatusOf(t *testing.T, a Answer, status int) {
	t.Helper()
	if a.Status != status {
		t.Errorf("got %d %s, want %d", a.Status, a.Body, status)
	}
}

func TestTheDemoPrintsAKeyThatEndsWithItAndNobodyElseDoes(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonDemo)
	s := Start(t)
	first := s.Key
	if strings.Count(s.Output(), "\nkey       sb_") != 1 {
		t.Errorf("it prints\n%s", s.Output())
	}
	a := s.Call("GET", "/v1/keys", first, "")
	if a.Status != 200 || !strings.Contains(a.Body, `"untilRestart":true`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	s.Kill()
	s.Start()
	wantCode(t, "the key of the start before", s.Call("GET", "/v1/keys", first, ""), 401, "KEY_INVALID")
	wantStatusOf(t, s.Call("GET", "/v1/keys", s.Key, ""), 200)
	if first == s.Key {
		t.Error("it is the same")
	}
	s.Stop()
	second := s.Key
	path := Settings(t, plainApp)
	own := StartIn(t, s.Data, "--config", path)
	if strings.Contains(own.Output(), "sb_") {
		t.Errorf("it prints\n%s", own.Output())
	}
	wantCode(t, "the demo's key", own.Call("GET", "/v1/keys", second, ""), 401, "KEY_INVALID")
}

func TestTheDemosKeyEndsWithTheDemo(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonDemo)
	path := Settings(t, "limits: {apiRate: 999}\n") // no apps, so it is the demo
	s := Start(t, "--config", path)
	wantStatusOf(t, s.Call("GET", "/v1/keys", s.Key, ""), 200)
	reload(t, s, path, plainApp, inEffect)
	wantCode(t, "the demo's key", s.Call("GET", "/v1/keys", s.Key, ""), 401, "KEY_INVALID")
}

func TestARevokedKeyIsRefusedFromTheNextRequestOn(t *testing.T) {
	t.Parallel()
	s := Start(t)
	for range 20 {
		id, key := s.NewKey(`{"app":"ANZ","scopes":["keys:manage"]}`)
		var users sync.WaitGroup
		revoked := make(chan struct{})
		for range 4 {
			users.Go(func() {
				for n := 0; ; n++ {
					over := false
					select {
					case <-revoked:
						over = true
					default:
					}
					a := s.Call("GET", "/v1/keys", key, "")
					if over && a.Status == 200 && len(s.Nodes()) > 1 && n < 100_000 {
						continue // the other nodes hear of it a moment later
					}
					if over {
						wantCode(t, "after it was revoked", a, 401, "KEY_INVALID")
						return
					}
				}
			})
		}
		wantStatusOf(t, s.CallControl("DELETE", "/v1/keys/"+id, ""), 200)
		close(revoked)
		users.Wait()
	}
	// A key may revoke itself, and is answered.
	id, key := s.NewKey(`{"app":"ANZ","scopes":["keys:manage"]}`)
	wantStatusOf(t, s.Call("DELETE", "/v1/keys/"+id, key, ""), 200)
	wantCode(t, "itself", s.Call("DELETE", "/v1/keys/"+id, key, ""), 401, "KEY_INVALID")
}

func TestAKeyOfAnAppThatIsTakenAwayIsRefusedUntilItIsBack(t *testing.T) {
	t.Parallel()
	path := Settings(t, anyApps)
	s := Start(t, "--config", path)
	_, key := s.NewKey(`{"app":"SHOP","scopes":["keys:manage"]}`)
	wantStatusOf(t, s.Call("GET", "/v1/keys", key, ""), 200)
	reload(t, s, path, plainApp, inEffect)
	wantCode(t, "an app that is gone", s.Call("GET", "/v1/keys", key, ""), 403, "FORBIDDEN")
	wantCode(t, "a key for it", s.CallControl("POST", "/v1/keys", `{"app":"SHOP","scopes":["users:read"]}`), 404, "UNKNOWN_APP")
	reload(t, s, path, anyApps, inEffect)
	wantStatusOf(t, s.Call("GET", "/v1/keys", key, ""), 200)
}

func TestARequestWithAnIdempotencyKeyIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonAnswer) // of calls that store no message
	s := Start(t)
	const wish = `{"app":"ANZ","scopes":["keys:manage"]}`
	answers := make(chan Answer, 20)
	var all sync.WaitGroup
	for range cap(answers) {
		all.Go(func() { answers <- s.Call("POST", "/v1/keys", s.Key, wish, "Idempotency-Key", "one") })
	}
	all.Wait()
	close(answers)
	made, replayed := map[string]bool{}, 0
	for a := range answers {
		made[a.Field("key")] = true
		if a.Header.Get("Idempotency-Replayed") == "true" {
			replayed++
		}
	}
	if len(made) != 1 || replayed != cap(answers)-1 {
		t.Errorf("%d keys were made, %d answers were from memory", len(made), replayed)
	}
	wantCode(t, "another request", s.Call("POST", "/v1/keys", s.Key, `{"app":"ANZ","scopes":["users:read"]}`, "Idempotency-Key", "one"), 422, "IDEMPOTENCY_MISMATCH")
	// The same name of another app is another one.
	var key string
	for key = range made {
		wantStatusOf(t, s.Call("POST", "/v1/keys", key, wish, "Idempotency-Key", "one"), 201)
	}
	// What was deleted once is so to whoever asks again.
	id := key[3:19]
	for i := range 2 {
		a := s.Call("DELETE", "/v1/keys/"+id, s.Key, "", "Idempotency-Key", "two")
		if a.Status != 200 || (a.Header.Get("Idempotency-Replayed") == "true") != (i == 1) {
			t.Errorf("%d %s %v", a.Status, a.Body, a.Header)
		}
	}
	wantCode(t, "another call", s.Call("DELETE", "/v1/users/ANZ-7/sessions", s.Key, "", "Idempotency-Key", "two"), 422, "IDEMPOTENCY_MISMATCH")
	if n := s.Metric("switchboard_api_replayed_total"); n != float64(cap(answers)) {
		t.Errorf("%v are counted", n)
	}
}

func TestLimitsOfTheInterfaceAreSettings(t *testing.T) {
	t.Parallel()
	path := Settings(t, plainApp+"limits: {apiRate: 5, apiKeys: 3, apiKeysPerApp: 1, apiPage: 2, httpBody: 2KiB, replayAnswers: 1}\n")
	s := Start(t, "--config", path)
	_, key := s.NewKey(`{"admin":true}`)
	_, app := s.NewKey(`{"app":"ANZ","scopes":["keys:manage"]}`)
	if a := s.Call("POST", "/v1/keys", app, `{"scopes":["keys:manage"]}`); a.Status != 409 || a.Code() != "TOO_MANY_KEYS" || !strings.Contains(a.Body, "limits.apiKeysPerApp") {
		t.Errorf("a second key of an app: %d %s", a.Status, a.Body)
	}
	s.NewKey(`{"admin":true}`)
	wantCode(t, "a fourth key", s.CallControl("POST", "/v1/keys", `{"admin":true}`), 409, "TOO_MANY_KEYS")
	if a := s.CallControl("GET", "/v1/keys", ""); strings.Count(a.Body, `"id"`) != 2 || a.Field("next") == "" {
		t.Errorf("%s", a.Body)
	}
	wantCode(t, "a long page", s.CallControl("GET", "/v1/keys?limit=3", ""), 400, "INVALID_REQUEST")
	wantCode(t, "a large body", s.CallControl("POST", "/v1/keys", `{"admin":true`+strings.Repeat(" ", 2<<10)+`}`), 413, "BODY_TOO_LARGE")
	limited := 0
	for range 50 { // in less than nine seconds
		a := s.Call("GET", "/v1/keys", key, "")
		if a.Header.Get("RateLimit-Limit") != "5" {
			t.Fatalf("%v", a.Header)
		}
		if a.Status == 429 {
			limited++
			wantCode(t, "too many", a, 429, "RATE_LIMITED")
			if a.Header.Get("Retry-After") != "1" {
				t.Errorf("%v", a.Header)
			}
		}
	}
	if limited == 0 {
		t.Error("nothing was refused")
	}
	if n := s.Metric(`switchboard_api_refused_total{code="RATE_LIMITED"}`); n != float64(limited) {
		t.Errorf("%v are counted, %d were refused", n, limited)
	}
	for _, name := range []string{"a", "b", "a"} { // of which one is remembered
		s.CallControl("DELETE", "/v1/keys/nobody", "", "Idempotency-Key", name) // refused: not remembered
	}
	reload(t, s, path, plainApp+"limits: {apiRate: 100000, apiKeys: 100, replayAnswers: 1}\n", inEffect)
	for _, name := range []string{"a", "b", "a"} {
		a := s.CallControl("POST", "/v1/keys", `{"admin":true}`, "Idempotency-Key", name)
		if a.Status != 201 || a.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%d %v", a.Status, a.Header)
		}
	}
	if n := s.Metric("switchboard_api_forgotten_total"); n != 2 {
		t.Errorf("%v were forgotten", n)
	}
	for range 50 {
		wantStatusOf(t, s.Call("GET", "/v1/keys", key, ""), 200)
	}
}

func TestTheControlSocketIsTheOperatorsAlone(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	s := Start(t)
	path := filepath.Join(s.Data, "control.sock")
	mode := func() os.FileMode {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	if m := mode(); m.Perm() != 0o600 || m.Type() != fs.ModeSocket {
		t.Errorf("its mode is %v", m)
	}
	s.Kill() // which leaves it behind
	mode()
	s.Start()
	wantStatusOf(t, s.CallControl("GET", "/v1/keys", ""), 200)
	s.Stop()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("after a stop: %v", err)
	}
}

func TestAPathThatIsTooLongForASocketIsAWarning(t *testing.T) {
	t.Parallel()
	s := StartIn(t, filepath.Join(t.TempDir(), strings.Repeat("d", 120)))
	if !strings.Contains(s.Output(), "there is no control socket") || !strings.Contains(s.Output(), "too long") {
		t.Errorf("it says\n%s", s.Output())
	}
	wantStatusOf(t, s.Call("GET", "/v1/keys", s.Key, ""), 200)
	if code := s.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestAPageOfAnotherOriginMayUseTheInterfaceWhenItIsNamed(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"origins: [\"https://app.example\"]\n")
	_, key := s.NewKey(`{"admin":true}`)
	a := s.Call("OPTIONS", "/v1/keys", "", "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST")
	if a.Status != 204 || a.Header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	a = s.Call("GET", "/v1/keys", key, "", "Origin", "https://app.example")
	if a.Status != 200 || a.Header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	for _, method := range []string{"GET", "OPTIONS"} {
		a = s.Call(method, "/v1/keys", key, "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST")
		wantCode(t, method, a, 403, "ORIGIN_REFUSED")
		if a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%v", a.Header)
		}
	}
}

// hostile are requests that nobody means well with: what is sent, and how it is
// answered. KEY stands for an admin key.
func hostile() []badRequest {
	const head = "Host: HOST\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n"
	post := func(more, body string) string { return "POST /v1/keys HTTP/1.1\r\n" + head + more + "\r\n" + body }
	sized := func(body string) string { return post(fmt.Sprintf("Content-Length: %d\r\n", len(body)), body) }
	return []badRequest{
		{"a body that is longer than it says", post("Content-Length: 2\r\n", "{}{}{}"), 400, ""},
		{"a body without a length", post("", ""), 400, ""},
		{"a chunk that is none", post("Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"), 400, ""},
		{"chunks of two encodings", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), 501, ""},
		{"a length and chunks", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 400, ""},
		{"a huge length", post("Content-Length: 99999999999\r\n", ""), 413, ""},
		{"a body too many", "GET /v1/keys HTTP/1.1\r\n" + head + "Content-Length: 2\r\n\r\n{}", 400, ""},
		{"deep JSON", sized(`{"scopes":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`), 400, ""},
		{"a long name", sized(`{"admin":true,"name":"` + strings.Repeat("n", 100_000) + `"}`), 400, ""},
		{"a name that paints", sized(`{"admin":true,"name":"\u001b[31m"}`), 400, ""},
		{"half a surrogate", sized(`{"admin":true,"name":"\ud800"}`), 400, ""},
		{"NUL in JSON", sized("{\"admin\":true,\"name\":\"\x00\"}"), 400, ""},
		{"a byte order mark", sized("\xef\xbb\xbf{\"admin\":true}"), 400, ""},
		{"UTF-16", sized("{\x00}\x00"), 400, ""},
		{"many scopes", sized(`{"app":"ANZ","scopes":[` + strings.Repeat(`"users:read",`, 10_000) + `"x"]}`), 400, ""},
		{"a time before time", sized(`{"admin":true,"expiresAt":"0000-01-01T00:00:00Z"}`), 400, ""},
		{"a time after time", sized(`{"admin":true,"expiresAt":"99999-01-01T00:00:00Z"}`), 400, ""},
		{"an app that is a path", sized(`{"app":"../../etc","scopes":["users:read"]}`), 404, ""},
		{"a prototype", sized(`{"__proto__":{"admin":true}}`), 400, ""},
		{"an ID that is a path", "GET /v1/keys/..%2f..%2fetc HTTP/1.1\r\n" + head + "\r\n", 404, ""},
		{"an ID of newlines", "GET /v1/keys/a%0d%0aSet-Cookie:x HTTP/1.1\r\n" + head + "\r\n", 404, ""},
		{"an ID of NUL", "DELETE /v1/keys/%00 HTTP/1.1\r\n" + head + "\r\n", 404, ""},
		{"an ID that is no UTF-8", "GET /v1/keys/%ff%fe HTTP/1.1\r\n" + head + "\r\n", 404, ""},
		{"an ID of wildcards", "DELETE /v1/keys/*.%3E HTTP/1.1\r\n" + head + "\r\n", 404, ""},
		{"a query of 10 000 names", "GET /v1/keys?" + strings.Repeat("a&", 5000) + " HTTP/1.1\r\n" + head + "\r\n", 400, ""},
		{"a long cursor", "GET /v1/keys?cursor=" + strings.Repeat("A", 10_000) + " HTTP/1.1\r\n" + head + "\r\n", 400, ""},
		{"two keys", "GET /v1/keys HTTP/1.1\r\n" + head + "Authorization: Bearer KEY\r\n\r\n", 401, ""},
		{"a key in the query", "GET /v1/keys?key=KEY HTTP/1.1\r\nHost: HOST\r\n\r\n", 401, ""},
		{"a key of 15 000 bytes", "GET /v1/keys HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer " + strings.Repeat("x", 15_000) + "\r\n\r\n", 401, ""},
		{"an Idempotency-Key of 10 000 bytes", post("Content-Length: 2\r\nIdempotency-Key: "+strings.Repeat("k", 10_000)+"\r\n", "{}"), 400, ""},
		{"another host", "GET /v1/keys HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer KEY\r\n\r\n", 421, ""},
		{"another page", "GET /v1/keys HTTP/1.1\r\n" + head + "Origin: https://evil.example\r\n\r\n", 403, ""},
		{"an upgrade", "GET /v1/keys HTTP/1.1\r\n" + head + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 200, ""},
		{"HTTP/1.0", "GET /v1/keys HTTP/1.0\r\n" + head + "\r\n", 200, ""},
		{"TRACE", "TRACE /v1/keys HTTP/1.1\r\n" + head + "\r\n", 405, ""},
		{"an absolute URL", "GET http://HOST/v1/keys HTTP/1.1\r\n" + head + "\r\n", 200, ""},
	}
}

func TestHostileRequestsAreRefusedAndHarmNobody(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonEnds)
	s := Start(t)
	before := s.CallControl("GET", "/v1/keys", "").Body
	for _, c := range hostile() {
		p := dialTCP(t, s.Addr)
		_ = p.tryWrite([]byte(strings.NewReplacer("HOST", s.Addr, "KEY", s.Key).Replace(c.send))) // it may be refused before its end
		if tcp, ok := p.conn.(*net.TCPConn); ok && strings.Contains(c.name, "without a length") {
			_ = tcp.CloseWrite()
		}
		if res := p.response(); res.StatusCode != c.status {
			t.Errorf("%s: got %s, want %d", c.name, res.Status, c.status)
		}
		_ = p.conn.Close()
	}
	// A body that never ends, from somebody without a key, is not waited for.
	p := dialTCP(t, s.Addr)
	p.write([]byte("POST /v1/keys HTTP/1.1\r\nHost: " + s.Addr + "\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"))
	if res := p.response(); res.StatusCode != 401 {
		t.Errorf("got %s", res.Status)
	}
	after := s.CallControl("GET", "/v1/keys", "").Body
	if strip(after) != strip(before) {
		t.Errorf("keys were made:\n%s\n%s", before, after)
	}
	if strings.Contains(s.Output(), "panic") {
		t.Error(s.Output())
	}
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// strip leaves out when keys were used.
func strip(list string) string {
	before, rest, _ := strings.Cut(list, `,"lastUsedAt":"`)
	_, after, _ := strings.Cut(rest, `"`)
	return before + after
}
