package nodetest

import (
	"fmt"
	"strings"
	"testing"
)

// Sign-in with an app's own server, through the real binary.

// wantReply fails unless the next frame answers a sign-in: with code "" it was
// granted, else refused and the connection is closed.
func wantReply(t *testing.T, p *Peer, code string) {
	t.Helper()
	f := p.Expect("AUTH_CLIENT_REPLY")
	if f.Field("code") != code || (f.Field("isAuthenticated") == "true") != (code == "") {
		t.Fatalf("got %s, want code %q", f.Raw, code)
	}
	if code == "" {
		p.user = f.Field("userId")
	} else if got := p.CloseCode(); got != 4002 {
		t.Fatalf("close code %d, want 4002", got)
	}
}

func TestTheHookDecidesWhoSignsIn(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	s := startWith(t, h.app("HOOK"))
	for i, c := range []struct {
		name   string
		status int
		body   string // APP and USER stand for what was asked about; "" is a yes
		code   string
	}{
		{"yes", 200, "", ""},
		{"yes with another status", 201, "", ""},
		{"yes with more beside it", 200, `{"extra":[1],"isAuthenticated":true,"userId":"USER","appId":"APP"}`, ""},
		{"no", 200, `{"appId":"APP","userId":"USER","isAuthenticated":false}`, "REFUSED"},
		{"no and nothing else", 200, `{"isAuthenticated":false}`, "REFUSED"},
		{"unauthorized", 401, "", "REFUSED"},
		{"forbidden", 403, "", "REFUSED"},
		{"another user", 200, `{"appId":"APP","userId":"HOOK-1","isAuthenticated":true}`, "HOOK_FAILED"},
		{"another app", 200, `{"appId":"other","userId":"USER","isAuthenticated":true}`, "HOOK_FAILED"},
		{"no user", 200, `{"appId":"APP","isAuthenticated":true}`, "HOOK_FAILED"},
		{"no app", 200, `{"userId":"USER","isAuthenticated":true}`, "HOOK_FAILED"},
		{"no verdict", 200, `{"appId":"APP","userId":"USER"}`, "HOOK_FAILED"},
		{"a verdict that is text", 200, `{"appId":"APP","userId":"USER","isAuthenticated":"true"}`, "HOOK_FAILED"},
		{"a verdict that is 1", 200, `{"appId":"APP","userId":"USER","isAuthenticated":1}`, "HOOK_FAILED"},
		{"two verdicts", 200, `{"appId":"APP","userId":"USER","isAuthenticated":false,"isAuthenticated":true}`, "HOOK_FAILED"},
		{"names in other case", 200, `{"appid":"APP","userid":"USER","isauthenticated":true}`, "HOOK_FAILED"},
		{"two objects", 200, `{"appId":"APP","userId":"USER","isAuthenticated":true}{}`, "HOOK_FAILED"},
		{"an array", 200, `[{"appId":"APP","userId":"USER","isAuthenticated":true}]`, "HOOK_FAILED"},
		{"no JSON", 200, "welcome", "HOOK_FAILED"},
		{"an endless answer", 200, `{"x":"` + strings.Repeat("x", 100_000) + `"}`, "HOOK_FAILED"},
		{"an error", 500, "", "HOOK_FAILED"},
		{"somewhere else", 302, "", "HOOK_FAILED"},
		{"no content", 204, "", "HOOK_FAILED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			user := fmt.Sprint("HOOK-", 100+i)
			p := Dial(t, s)
			p.Send(tokenFrame(user, `a "token" \ of <any> bytes`))
			call := h.next()
			want := fmt.Sprintf(`{"appId":"hook-id","userId":%q,"token":"a \"token\" \\ of <any> bytes"}`, user)
			if q := call.question; q.AppID != "hook-id" || q.UserID != user || q.Token != `a "token" \ of <any> bytes` {
				t.Errorf("the hook was asked %s, want the like of %s", call.body, want)
			}
			body := strings.NewReplacer("APP", "hook-id", "USER", user).Replace(c.body)
			if c.body == "" && c.status < 204 {
				body = call.verdict(true)
			}
			call.say(c.status, body)
			wantReply(t, p, c.code)
		})
	}
	if n := len(h.calls); n > 0 {
		t.Errorf("the hook was asked %d times too often", n)
	}
}

func TestASlowHookDelaysItsOwnSessionOnly(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	other := strings.Replace(h.app("HOOK"), "}]", "}, {appName: OPEN, appId: open-id, authEnabled: false}]", 1)
	s := startWith(t, other+"limits: {hookTimeout: 30s, signInDeadline: 5m}\n")
	slow := Dial(t, s)
	slow.Send(tokenFrame("HOOK-1", "t"))
	held := h.next()

	quick, open := Dial(t, s), Dial(t, s)
	quick.Send(tokenFrame("HOOK-2", "t"))
	h.next().yes()
	wantReply(t, quick, "")
	if err := open.TrySignIn("open-id", "OPEN-1", ""); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Peer{quick, open} {
		p.Message(p.user, "to myself", `"reference":"r"`)
		p.Expect("MESSAGE")
		wantConfirmation(t, p, "r")
	}
	// Who waits is heard, and is not in yet.
	slow.Message("HOOK-2", "early", "")
	slow.Expect("AUTH_REQUIRED")
	wantNothing(t, "who signed in meanwhile", quick)
	held.yes()
	wantReply(t, slow, "")
	slow.Message("HOOK-2", "hello", "")
	quick.Expect("MESSAGE")
}

func TestAHookThatNeverAnswersIsARefusal(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	s := startWith(t, h.app("HOOK")+"limits: {hookTimeout: 1s}\n")
	p := Dial(t, s)
	p.Send(tokenFrame("HOOK-1", "t"))
	wantReply(t, p, "HOOK_FAILED")
	h.next()
	if n := len(h.calls); n > 0 {
		t.Errorf("the hook was asked %d times too often", n)
	}
}

func TestWhoLeavesLetsGoOfTheHook(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	s := startWith(t, h.app("HOOK")+"limits: {hookTimeout: 1m, signInDeadline: 10m, hookConcurrency: 1}\n")
	first, second := Dial(t, s), Dial(t, s)
	first.Send(tokenFrame("HOOK-1", "t"))
	h.next()
	second.Send(tokenFrame("HOOK-2", "t"))
	first.Abort()
	h.next().yes() // its turn came
	wantReply(t, second, "")
}

func TestABurstDoesNotOverrunTheHook(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonShare)
	const users, limit = 60, 3
	h := newHook(t)
	s := startWith(t, h.app("HOOK")+fmt.Sprintf("limits: {hookTimeout: 1m, signInDeadline: 10m, hookConcurrency: %d}\n", limit))
	peers := make([]*Peer, users)
	for i := range peers {
		peers[i] = Dial(t, s)
		peers[i].Send(tokenFrame(fmt.Sprint("HOOK-", i), "t"))
	}
	for done := 0; done < users; {
		Eventually(t, "the hook is asked", func() bool { return len(h.calls) > 0 })
		n := len(h.calls)
		if n > limit {
			t.Fatalf("%d calls at once, the limit is %d", n, limit)
		}
		for range n {
			h.next().yes()
		}
		done += n
	}
	for _, p := range peers {
		wantReply(t, p, "")
	}
}
