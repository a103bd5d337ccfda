package nodetest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// markedSecret finds what the tests below give as secrets. Each says where it was given.
var markedSecret = regexp.MustCompile(`(?i).{0,160}hush-?[a-z0-9-]*.{0,60}`)

// secretsSeen fails for marked secrets, and others, in what is shown.
func secretsSeen(t *testing.T, where, text string, others ...string) {
	t.Helper()
	for _, line := range markedSecret.FindAllString(text, 8) {
		t.Errorf("%s shows %s", where, line)
	}
	for i, other := range others {
		if strings.Contains(text, other) {
			t.Errorf("%s shows secret %d, %.12s…", where, i, other)
		}
	}
}

const markedSettings = `
admin: 127.0.0.1:0
chat: {enabled: true, webhooks: [{name: mailer, url: "%[1]s/?token=hush-mailer", secret: hush-mailer-0123456789abcdef0123456789, events: [passwordReset], allowPrivate: true}]}
apps:
- {appName: JWT, appId: jwt-id, jwt: {secret: hush-jwt-0123456789abcdef-0123456789abcdef}}
- {appName: HOOK, appId: hook-id, authUrl: "%[1]s/?api_key=hush-hook", webhooks: [{name: h, url: "%[1]s/?key=hush-hookurl", secret: {secret: HOOK_SECRET}, events: [connected], allowPrivate: true}]}
- {appName: KEYS, appId: keys-id, jwt: {jwksUrl: "%[1]s/keys?token=hush-jwks"}}
- {appName: OPEN, appId: open-id, authEnabled: false}
gateway: {routes: [{path: /orders/, service: orders}, {path: /free/, service: orders, auth: none}]}
nats: {listen: "127.0.0.1:0", password: hush-reader-0123456789abcdef}
log: {level: debug}
audit: {file: %[2]q}
`

// tellSecrets shows the server secrets wherever a client may, right ones and wrong ones,
// and returns what it answers, and the secrets that it gave itself.
func tellSecrets(t *testing.T, s *Server) (answers string, given []string) {
	t.Helper()
	var all strings.Builder
	ask := func(method, path, key, body string, header ...string) Answer {
		a := s.Call(method, path, key, body, header...)
		fmt.Fprintf(&all, "%s %s: %d %v %s\n", method, strings.ReplaceAll(path, "hush", "…"), a.Status, a.Header, a.Body)
		return a
	}
	forged := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJKV1QtMSJ9.hush-signature"
	for _, path := range []string{"/v1/whoami", "/v1/accounts/me", "/v1/services", "/orders/x", "/free/x", "/v1/nowhere", "/healthz", "/v1/events?appId=jwt-id&userId=JWT-1"} {
		for _, token := range []string{"sb_hush-key_hush-key", forged, "hush-plain"} {
			ask("GET", path, token, "", "Cookie", "session=hush-cookie", "X-Api-Key", "hush-header", "X-User-Id", "hush-smuggled")
		}
		ask("GET", path, "", "", "Authorization", "Basic hush-basic")
		more := "?"
		if strings.Contains(path, "?") {
			more = "&"
		}
		ask("GET", path+more+"token=hush-query&access_token=hush-query&key=hush-query", "", "")
	}
	for _, path := range []string{"/v1/sessions", "/v1/accounts", "/v1/passwords", "/v1/sessions/refresh", "/v1/frames"} {
		for _, body := range []string{
			`{"username":"nobody","password":"hush-wrong"}`, `{"username":"","password":"hush-wrong"}`, `{"token":"hush-reset","password":"hush-new"}`, `{"token":"hush-reset","password":"hush-newpassword"}`,
			`{"refreshToken":"hush-refresh"}`, `{"password":"hush-half`, `{"password":{"hush-name":"hush-value"}}`,
		} {
			ask("POST", path, "", body)
		}
	}
	ann := s.signUp("ann")
	given = append(given, ann.access, ann.refresh)
	s.want(204, "POST", "/v1/accounts/me/password", ann.access, fmt.Sprintf(`{"old":%q,"new":"hush-changed"}`, aPassword))
	ask("POST", "/v1/accounts/me/password", ann.access, `{"old":"hush-wrong","new":"hush-changed"}`)
	id, key := s.NewKey(`{"admin":true}`)
	given = append(given, strings.TrimPrefix(key, "sb_"+id+"_"))
	ask("PUT", "/v1/services/orders/one", key, `{"url":"http://hush-user:hush-pass@127.0.0.1:1","ttl":60}`)
	ask("PUT", "/v1/services/orders/two", key, `{"url":"http://127.0.0.1:1","ttl":60}`)
	for _, path := range []string{"/v1/webhooks", "/v1/webhooks?app=HOOK", "/v1/settings", "/v1/services", "/v1/stats", "/v1/keys", "/free/x?token=hush-through"} {
		ask("GET", path, key, "")
	}
	ask("POST", "/v1/messages", key, `{"from":"OPEN-1","to":"OPEN-2","content":"hush-message"}`)
	for _, f := range []string{
		tokenFrame("JWT-1", forged), tokenFrame("JWT-1", "hush-token"), tokenFrame("HOOK-1", "hush-hooktoken"), tokenFrame("KEYS-1", forged), tokenFrame("chat-1", "hush-chattoken"),
		`{"type":"AUTH_CLIENT","data":{"appId":"hush-appid","userId":"OPEN-3","token":"hush-token"}}`,
		`{"type":"AUTH_CLIENT","data":{"token":"hush-cut`, `hush-nothing`, `{"type":"AUTH_CLIENT","data":{"appId":"jwt-id","userId":"JWT-1","token":{"hush":1}}}`,
	} {
		p := DialShown(t, s, "?token=hush-dial", "Bearer hush-bearer")
		p.Send(f)
		got, err := p.TryNext() // an answer, or how it was closed
		fmt.Fprintln(&all, got.Raw, err)
		p.Abort()
	}
	open := DialShown(t, s, "", "")
	open.Send(`{"type":"AUTH_CLIENT","data":{"appId":"open-id","userId":"OPEN-3","token":""}}`)
	open.Send(`{"type":"MESSAGE","data":{"to":"OPEN-4","content":"hush-content"}}`)
	open.Send(`{"type":"MESSAGE","data":{"to":"hush","content":"hush-content"`)
	_ = open.Next()
	return all.String(), given
}

// What is secret is in no log line, not at DEBUG either, in no audit line, no answer, no
// metric and no page for operators, whoever told it to the server and however.
func TestNoSecretIsShownAnywhere(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOutput)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "hush-answer", http.StatusTeapot) }))
	defer web.Close()
	audit := filepath.Join(t.TempDir(), "audit.log")
	path := Settings(t, fmt.Sprintf(markedSettings, web.URL, audit))
	s := &Server{t: t, path: Binary(t), Addr: "127.0.0.1:0", Admin: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), Args: []string{"--config", path},
		before: []string{"env", "HOOK_SECRET=hush-hook-0123456789abcdef0123456789abcdef"}}
	s.Start()
	t.Cleanup(s.Kill)
	answers, given := tellSecrets(t, s)
	secretsSeen(t, "an answer", answers, given[2:]...)
	for _, page := range []string{"/metrics", "/readyz", "/v1/settings", "/v1/services"} {
		status, body := s.Get(page)
		secretsSeen(t, fmt.Sprintf("%s (%d)", page, status), body, given...)
	}
	secretsSeen(t, "the control socket", s.CallControl("GET", "/v1/settings", "").Body, given...)
	s.Reload(path, strings.ReplaceAll(fmt.Sprintf(markedSettings, web.URL, audit), "hush-jwt", "hush-jwu"))
	Eventually(t, "the change is in effect", func() bool { return strings.Contains(s.Output(), "new settings are in effect") })
	s.Reload(path, "listen: hush\napps: [{appName: HOOK, appId: h, authUrl: 'htp://hush:hush@x y'}]\n")
	Eventually(t, "a bad change is refused", func() bool { return strings.Contains(s.Output(), "level=ERROR") })
	s.Stop()
	if !strings.Contains(s.Output(), "level=DEBUG") {
		t.Error("there is nothing of DEBUG to look into")
	}
	noted, err := os.ReadFile(audit)
	for _, want := range []string{
		`"accountSignInRefused","app":"chat","address":"127.0.0.1:`, `"code":"BAD_TOKEN","what":"GET /orders/"`, `"instanceRegistered","by":"key `, `"what":"orders/two"`,
		`"passwordChanged","app":"chat","user":"chat-`, `"settingsChanged","by":"operator","what":"apps"`, `"stopping","by":"operator"`,
	} {
		if !strings.Contains(string(noted), want) {
			t.Errorf("%s is not noted (%v):\n%s", want, err, noted)
		}
	}
	secretsSeen(t, "the audit log", string(noted), given...)
	secretsSeen(t, "the output", strings.ReplaceAll(s.Output(), `\"hush\" is not host:port`, ""), given...)
}

// Nor is it in what the command line says of settings, good or bad, from wherever they are.
func TestNoSecretOfTheSettingsIsShownByTheCommandLine(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOutput)
	run := func(env []string, words ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), Binary(t), words...)
		cmd.Env = append(environment(), env...)
		out, _ := cmd.CombinedOutput() // the code says it
		return string(out), cmd.ProcessState.ExitCode()
	}
	good := Settings(t, fmt.Sprintf(markedSettings, "http://127.0.0.1:1", "-")+"cluster: {node: n1}\n")
	env := []string{"HOOK_SECRET=hush-hook-0123456789abcdef0123456789abcdef", "SWITCHBOARD_DB_URL=postgres://me:hush-db@db.example/x?sslpassword=hush-ssl"}
	for _, words := range [][]string{{"config", "check", good}, {"config", "print", "--config", good, "--set", "metaSecret=hush-meta-0123456789abcdef0123456789", "--set", "domain=d1", "--set", "meta=http://meta.example:1"}} {
		out, code := run(env, words...)
		secretsSeen(t, strings.Join(words[:2], " "), out)
		if code != 0 {
			t.Errorf("%v: %d\n%s", words, code, out)
		}
	}
	bad := Settings(t, `
apps:
- {appName: A, appId: a, authUrl: "https://hush-user:hush-pass@a.example"}
- {appName: B, appId: b, authUrl: "htp://hush-user:hush-pass@a.example"}
- {appName: C, appId: c, jwt: {secret: hush-short, publicKey: hush-key}}
- {appName: D, appId: d, jwt: {jwksUrl: "https://a b.example/?token=hush-token"}, webhooks: [{name: h, url: "ftp://a.example/?token=hush-token", secret: whsec_hush, events: [connected]}]}
cluster: {name: c, peers: ["127.0.0.1:1"], secret: hush-short}
db: {url: "mysql://me:hush-db@db.example/x"}
meta: "http://hush-user:hush-pass@meta.example"
metaSecret: hush-short
links: {secret: hush-short, secrets: {d2: hush-short}}
nats: {url: "nats://hush-token@nats.example:x", systemUrl: "http://sys:hush-pass@nats.example", password: hush-short, listen: "127.0.0.1:4222"}
settings: {url: "http://hush-user:hush-pass@meta.example"}
relay: {network: "http://hush-user:hush-pass@relay.example"}
tls: {acme: {hosts: [a.example], directory: "http://hush-user:hush-pass@acme.example"}}
nearby: {tiles: "https://hush-user:hush-pass@t.example/{z}/{x}/{y}"}
`)
	for _, words := range [][]string{
		{"config", "check", bad}, {"serve", "--config", bad}, {"serve", "--db", "mysql://me:hush-db@x/y"}, {"serve", "--nats", "http://hush-token@x"}, {"serve", "--set", "db.url=:hush-db"},
		{"serve", "--set", "metaSecret=hush-short"}, {"serve", "--set", "relay.network=http://hush:hush@x"}, {"serve", "--set", "settings.url=http://hush:hush@x"},
		{"meta", "--git", "https://me:hush-pass@127.0.0.1:1/x.git", "--settings", "conf", "--data", t.TempDir()},
		{"register", "orders", "--url", "http://me:hush-pass@127.0.0.1:1", "--server", "http://me:hush-pass@127.0.0.1:1"},
	} {
		out, code := run([]string{"SWITCHBOARD_KEY=hush-key"}, words...)
		secretsSeen(t, strings.Join(words[:2], " "), out)
		if code == 0 {
			t.Errorf("%v went well:\n%s", words, out)
		}
	}
}
