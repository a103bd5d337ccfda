package nodetest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/postgres"
)

// chatOn has chat beside the demo's app.
const chatOn = demoApps + "chat: {enabled: true}\n"

// onBothDatabases runs a test on one node with each kind of database, side by side.
func onBothDatabases(t *testing.T, test func(t *testing.T, s *Server)) {
	t.Helper()
	Alone(t, ReasonOwn)
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, startWith(t, chatOn))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, startWith(t, chatOn+"db: {url: '"+postgres.Database(t)+"'}\n"))
	})
}

// tokens are what somebody got who signed in.
type tokens struct{ user, access, refresh, session string }

const aPassword = "correct horse"

// credentials are the body of a sign-up, and of a sign-in.
func credentials(name, password string) string {
	return fmt.Sprintf(`{"username":%q,"password":%q}`, name, password)
}

// want makes a call and fails unless it is answered with a status.
func (s *Server) want(status int, method, path, token, body string) Answer {
	s.t.Helper()
	a := s.Call(method, path, token, body)
	if a.Status != status {
		s.t.Fatalf("%s %s: got %d %s, want %d", method, path, a.Status, a.Body, status)
	}
	return a
}

// SignUpAccount makes an account and signs it in.
func (s *Server) signUp(name string) tokens {
	s.t.Helper()
	s.want(201, "POST", "/v1/accounts", "", credentials(name, aPassword))
	return s.signInAs(name, aPassword)
}

func (s *Server) signInAs(name, password string) tokens {
	s.t.Helper()
	return tokensOf(s.want(201, "POST", "/v1/sessions", "", credentials(name, password)))
}

func tokensOf(a Answer) tokens {
	return tokens{a.Field("userId"), a.Field("accessToken"), a.Field("refreshToken"), a.Field("session")}
}

// signInFrame is the AUTH_CLIENT of an account.
func signInFrame(who tokens, token string) string {
	return fmt.Sprintf(`{"type":"AUTH_CLIENT","data":{"appId":"chat","userId":%q,"token":%q}}`, who.user, token)
}

// socketOf signs an account in on a socket.
func socketOf(t *testing.T, s *Server, who tokens) *Peer {
	t.Helper()
	p := Dial(t, s)
	p.Send(signInFrame(who, who.access))
	if f := p.Expect("AUTH_CLIENT_REPLY"); f.Field("isAuthenticated") != "true" {
		t.Fatalf("got %s", f.Raw)
	}
	return p
}

func TestAnAccountFromSignUpToItsEnd(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *Server) {
		ada, grace := s.signUp("Ada"), s.signUp("grace")
		if ada.user != "chat-1" || grace.user != "chat-2" {
			t.Errorf("got %s and %s", ada.user, grace.user)
		}
		if a := s.Call("POST", "/v1/accounts", "", credentials("ADA", aPassword)); a.Code() != "NAME_TAKEN" {
			t.Errorf("got %d %s", a.Status, a.Body)
		}

		// They talk, on sockets and as events.
		p, q := socketOf(t, s, ada), socketOf(t, s, grace)
		p.Message(grace.user, "hello", `"reference":"r1"`)
		if f := q.Expect("MESSAGE"); f.Field("from") != ada.user || f.Field("content") != "hello" {
			t.Errorf("got %s", f.Raw)
		}
		p.Expect("MESSAGE_CONFIRMATION")

		s.want(200, "PATCH", "/v1/accounts/me", ada.access, `{"displayName":"Ada Lovelace"}`)
		if a := s.want(200, "GET", "/v1/accounts/chat-1", grace.access, ""); a.Field("displayName") != "Ada Lovelace" || a.Field("username") != "Ada" {
			t.Errorf("got %s", a.Body)
		}
		a := s.want(200, "GET", "/v1/profiles?ids=chat-2,chat-99,ANZ-1,chat-1,chat-2", grace.access, "")
		if both := a.Body; strings.Index(both, `"username":"grace"`) > strings.Index(both, `"displayName":"Ada Lovelace"`) || strings.Count(both, `"userId"`) != 2 {
			t.Errorf("both profiles: %s", both)
		}
		s.want(204, "PUT", "/v1/accounts/me/blocks/chat-1", grace.access, "")
		if a := s.want(200, "GET", "/v1/accounts/me/export", grace.access, ""); !strings.Contains(a.Body, `"blocks":["chat-1"]`) {
			t.Errorf("got %s", a.Body)
		}

		// A second sign-in ends with a new password; the first goes on.
		second := s.signInAs("ada", aPassword)
		r := socketOf(t, s, second)
		s.want(204, "POST", "/v1/accounts/me/password", ada.access, `{"old":"correct horse","new":"battery staple"}`)
		if code := r.CloseCode(); code != 4002 {
			t.Errorf("the other session's socket was closed with %d", code)
		}
		p.Barrier()
		if a := s.Call("POST", "/v1/sessions/refresh", "", `{"refreshToken":"`+second.refresh+`"}`); a.Status != 401 || a.Code() != "TOKEN_EXPIRED" {
			t.Errorf("got %d %s", a.Status, a.Body)
		}

		// It lives through the end of the process.
		s.Kill()
		s.Start()
		refreshed := tokensOf(s.want(200, "POST", "/v1/sessions/refresh", "", `{"refreshToken":"`+ada.refresh+`"}`))
		p = socketOf(t, s, refreshed)
		if a := s.Call("POST", "/v1/sessions/refresh", "", `{"refreshToken":"`+ada.refresh+`"}`); a.Code() != "TOKEN_REUSED" {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
		if code := p.CloseCode(); code != 4002 {
			t.Errorf("the family's socket was closed with %d", code)
		}

		// And it ends.
		last := s.signInAs("ada", "battery staple")
		p = socketOf(t, s, last)
		if a := s.Call("DELETE", "/v1/accounts/me", last.access, `{"password":"wrong horse"}`); a.Status != 401 || a.Code() != "BAD_CREDENTIALS" {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
		s.want(204, "DELETE", "/v1/accounts/me", last.access, `{"password":"battery staple"}`)
		if code := p.CloseCode(); code != 4002 {
			t.Errorf("the account's socket was closed with %d", code)
		}
		if a := s.Call("GET", "/v1/accounts/me", last.access, ""); a.Status != 401 {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
		if again := s.signUp("ada"); again.user != "chat-3" {
			t.Errorf("got %s", again.user)
		}
	})
}

func TestATokenThatIsShownWithTheHandshakeSignsInByItself(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOutput)
	s := startWith(t, chatOn)
	ada := s.signUp("ada")
	for what, p := range map[string]*Peer{
		"in the URL":  DialShown(t, s, "?auth="+ada.access, ""),
		"as a bearer": DialShown(t, s, "", "Bearer "+ada.access),
	} {
		if f := p.Expect("AUTH_CLIENT_REPLY"); f.Field("isAuthenticated") != "true" || f.Field("userId") != ada.user || f.Field("appId") != "chat" {
			t.Errorf("%s: got %s", what, f.Raw)
		}
		p.Message(ada.user, "me", "")
		p.Expect("MESSAGE")
		p.Close()
	}
	for what, c := range map[string]struct{ token, code string }{
		"a word":          {"letmein", "BAD_TOKEN"},
		"a refresh token": {ada.refresh, "BAD_TOKEN"},
		"a changed one":   {ada.access[:len(ada.access)-4] + "AAAA", "BAD_TOKEN"},
	} {
		p := DialShown(t, s, "?auth="+c.token, "")
		if f := p.Expect("AUTH_CLIENT_REPLY"); f.Field("isAuthenticated") != "false" || f.Field("code") != c.code {
			t.Errorf("%s: got %s", what, f.Raw)
		}
		if code := p.CloseCode(); code != 4002 {
			t.Errorf("%s: closed with %d", what, code)
		}
	}
	s.want(204, "DELETE", "/v1/sessions", ada.access, "")
	p := DialShown(t, s, "?auth="+ada.access, "")
	if f := p.Expect("AUTH_CLIENT_REPLY"); f.Field("code") != "TOKEN_EXPIRED" {
		t.Errorf("revoked: got %s", f.Raw)
	}
	// A demo's user shows nothing, and signs in as ever.
	SignIn(t, s, "ANZ-7", "")
	for what, secret := range map[string]string{"an access token": ada.access, "a refresh token": ada.refresh, "a password": aPassword} {
		if strings.Contains(s.Output(), secret) {
			t.Errorf("%s stands in the log", what)
		}
	}
}

func TestAnAccountListensForEvents(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, chatOn)
	ada := s.signUp("ada")
	res, err := http.Get("http://" + s.Addr + "/v1/events?appId=chat&userId=" + ada.user + "&token=" + ada.access)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	events := NewEventReader(res.Body)
	if e, err := events.Next(); err != nil || !strings.Contains(e.Data, `"isAuthenticated":true`) {
		t.Fatalf("got %d %+v, %v", res.StatusCode, e, err)
	}
	s.want(204, "DELETE", "/v1/sessions?all=true", ada.access, "")
	if e, err := events.Next(); err != nil || e.Event != "close" || !strings.Contains(e.Data, "4002") {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestASessionEndsWithItsTokenUnlessItIsGivenAnother(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, demoApps+"chat: {enabled: true, accessToken: 4s}\n")
	ada := s.signUp("ada")
	stays, goes := socketOf(t, s, ada), socketOf(t, s, ada)
	// A token that is good for longer takes the first one's place, of another session.
	began := time.Now()
	var later tokens
	Eventually(t, "a token that is good for a second more", func() bool {
		if time.Since(began) < time.Second {
			return false
		}
		later = s.signInAs("ada", aPassword)
		return true
	})
	stays.Send(signInFrame(ada, later.access))
	if f := stays.Expect("AUTH_CLIENT_REPLY"); f.Field("isAuthenticated") != "true" {
		t.Fatalf("got %s", f.Raw)
	}
	s.want(204, "DELETE", "/v1/sessions", tokensOf(s.want(200, "POST", "/v1/sessions/refresh", "", `{"refreshToken":"`+ada.refresh+`"}`)).access, "")
	if code := goes.CloseCode(); code != 4002 {
		t.Errorf("what rests on the first session was closed with %d", code)
	}
	stays.Barrier()
	if code := stays.CloseCode(); code != 4005 {
		t.Errorf("at the end of its token it was closed with %d", code)
	}
}

func TestWhoHasForgottenHisPasswordSetsItAnewThroughTheAppsServer(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOutput)
	b := startHookServer(t)
	s := startWith(t, demoApps+"chat: {enabled: true, webhooks: [{name: mailer, url: \""+b.url()+"\", secret: "+hookKey+", events: [passwordReset], allowPrivate: true}]}\n")
	ada := s.signUp("ada")
	for _, name := range []string{"nobody", "ADA"} {
		if a := s.want(202, "POST", "/v1/resets", "", `{"username":"`+name+`"}`); a.Body != "" {
			t.Errorf("%s: got %s", name, a.Body)
		}
	}
	heard := b.await(1)
	e := heard[0]
	if e.Type != "passwordReset" || e.Data.App != "chat" || e.Data.UserID != ada.user || e.Data.Username != "ada" {
		t.Fatalf("got %+v", heard)
	}

	// Whoever may read what was posted cannot set the password.
	_, reads := s.NewKey(`{"app":"chat","scopes":["webhooks:read"]}`)
	Eventually(t, "the history of the webhook", func() bool {
		a := s.want(200, "GET", "/v1/webhooks/mailer/events?app=chat", reads, "")
		if strings.Contains(a.Body, e.Data.Token) || strings.Contains(a.Body, `"token"`) {
			t.Fatalf("the token stands in it: %s", a.Body)
		}
		return strings.Contains(a.Body, `"username":"ada"`)
	})
	body := `{"token":"` + e.Data.Token + `","password":"battery staple"}`
	s.want(204, "POST", "/v1/passwords", "", body)
	if a := s.Call("POST", "/v1/passwords", "", body); a.Status != 401 || a.Code() != "BAD_TOKEN" {
		t.Errorf("again: got %d %s", a.Status, a.Body)
	}
	s.signInAs("ada", "battery staple")
	if strings.Contains(s.Output(), e.Data.Token) {
		t.Error("the token stands in the log")
	}

	// Or the operator makes a token, whose key has to be for that.
	_, key := s.NewKey(`{"app":"chat","scopes":["accounts:manage"]}`)
	made := s.want(201, "POST", "/v1/accounts/chat-1/resets", key, "")
	s.want(204, "POST", "/v1/passwords", "", `{"token":"`+made.Field("token")+`","password":"horse and cart"}`)
	s.signInAs("ada", "horse and cart")
	_, shop := s.NewKey(`{"app":"ANZ","scopes":["accounts:manage"]}`)
	if a := s.Call("POST", "/v1/accounts/chat-1/resets", shop, ""); a.Status != 403 {
		t.Errorf("another app's key: got %d %s", a.Status, a.Body)
	}
}

// What was sent to a number before it was anybody's is not for whoever gets it.
func TestANewAccountGetsNothingThatWasSentBeforeThereWasOne(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *Server) {
		ada, p := s.signUp("ada"), Dial(t, s)
		p.Send(strings.Replace(signInFrame(ada, ada.access), `"data":{`, `"data":{"options":{"receipts":true},`, 1))
		p.Expect("AUTH_CLIENT_REPLY")
		p.Message("chat-2", "to nobody", `"reference":"r1"`)
		p.Expect("MESSAGE_STORED")
		grace := s.signUp("grace")
		if grace.user != "chat-2" {
			t.Fatalf("got %s", grace.user)
		}
		p.Message("chat-2", "to grace", `"reference":"r2"`)
		p.Expect("MESSAGE_STORED")
		if missed, _ := socketOf(t, s, grace).Fetch(10); len(missed) != 1 || missed[0].Field("content") != "to grace" {
			t.Errorf("got %v", missed)
		}
	})
}

func TestAServerOfChatAloneServesNoDemo(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, "chat: {enabled: true}\n")
	ada := s.signUp("ada")
	socketOf(t, s, ada)
	if err := Dial(t, s).TrySignIn("app-id-343", "ANZ-1", ""); err == nil {
		t.Error("a user of the demo was let in")
	}
	if strings.Contains(s.Output(), "demo") {
		t.Errorf("it said\n%s", s.Output())
	}
}

// With an API key of the scope, and at the control socket, accounts are made where
// nobody else may make one.
func TestAccountsAreManagedWithAKey(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, demoApps+"chat: {enabled: true, signUp: false}\nlimits: {signUps: 1}\n")
	_, key := s.NewKey(`{"app":"chat","scopes":["accounts:manage"]}`)
	_, poor := s.NewKey(`{"app":"chat","scopes":["users:read"]}`)
	_, foreign := s.NewKey(`{"app":"ANZ","scopes":["accounts:manage"]}`)
	for token, want := range map[string]string{"": "SIGN_UP_CLOSED", poor: "SCOPE_MISSING", foreign: "FORBIDDEN", "sb_x": "KEY_INVALID"} {
		if a := s.Call("POST", "/v1/accounts", token, credentials("ada", aPassword)); a.Code() != want {
			t.Errorf("got %d %s, want %s", a.Status, a.Body, want)
		}
	}
	for _, name := range []string{"ada", "grace"} {
		s.want(201, "POST", "/v1/accounts", key, credentials(name, aPassword))
	}
	if a := s.CallControl("POST", "/v1/accounts", credentials("mary", aPassword)); a.Status != 201 {
		t.Errorf("at the control socket: %d %s", a.Status, a.Body)
	}
	if a := s.want(200, "GET", "/v1/accounts?username=GRACE", key, ""); a.Field("userId") != "chat-2" {
		t.Errorf("got %s", a.Body)
	}
	s.want(200, "GET", "/v1/accounts/chat-2", key, "")
	s.want(403, "GET", "/v1/accounts?username=grace", foreign, "")
	s.want(401, "GET", "/v1/accounts/me", key, "")

	ada := s.signInAs("ada", aPassword)
	p := socketOf(t, s, ada)
	s.want(403, "DELETE", "/v1/accounts/chat-1", foreign, "")
	s.want(200, "DELETE", "/v1/accounts/chat-1", key, "")
	if code := p.CloseCode(); code != 4002 {
		t.Errorf("the socket ended with %d", code)
	}
	s.want(404, "DELETE", "/v1/accounts/chat-1", key, "")

	// One of one's own sessions is ended by its ID.
	here, there := s.signInAs("grace", aPassword), s.signInAs("grace", aPassword)
	q := socketOf(t, s, there)
	s.want(204, "DELETE", "/v1/accounts/me/sessions/"+there.session, here.access, "")
	if code := q.CloseCode(); code != 4002 {
		t.Errorf("the socket of the session that was ended closed with %d", code)
	}
	s.want(401, "GET", "/v1/accounts/me", there.access, "")
	s.want(200, "GET", "/v1/accounts/me", here.access, "")

	// Nobody is told of forgotten passwords here, and that is no secret.
	for _, name := range []string{"grace", "nobody"} {
		if a := s.want(404, "POST", "/v1/resets", "", `{"username":"`+name+`"}`); a.Code() != "NO_RESETS" {
			t.Errorf("got %s", a.Body)
		}
	}
}
