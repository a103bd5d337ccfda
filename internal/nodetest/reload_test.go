package nodetest

import (
	"fmt"
	"strings"
	"testing"
)

// reload has the server read new settings and waits until it says what became
// of them.
func reload(t *testing.T, s *Server, path, text, says string) {
	t.Helper()
	before := make(map[*Server]int)
	for _, n := range s.Nodes() {
		before[n] = strings.Count(n.Output(), says)
	}
	s.Reload(path, text)
	for _, n := range s.Nodes() {
		Eventually(t, fmt.Sprintf("the server says %q", says), func() bool {
			return strings.Count(n.Output(), says) > before[n]
		})
	}
}

const inEffect = "new settings are in effect"

const twoApps = `
apps:
  - {appName: ANZ, appId: app-id-343, authEnabled: false, allowApps: [SHOP]}
  - {appName: SHOP, appId: shop-id, masterUserId: SHOP-1, authEnabled: false}
`

func TestAppsChangeAtRunTime(t *testing.T) {
	t.Parallel()
	path := Settings(t, plainApp)
	s := Start(t, "--config", path)
	ann, bob := SignIn(t, s, "ANZ-1", ""), SignIn(t, s, "ANZ-2", "")
	if err := Dial(t, s).TrySignIn("shop-id", "SHOP-1", ""); err == nil {
		t.Fatal("a user of an app that does not exist was let in")
	}
	send(ann, "SHOP-2", "hello", "r1")
	wantFailure(t, ann, "UNKNOWN_APP", "SHOP-2", "r1")

	reload(t, s, path, twoApps, inEffect)
	master, shop := Dial(t, s), Dial(t, s)
	for user, p := range map[string]*Peer{"SHOP-1": master, "SHOP-2": shop} {
		if err := p.TrySignIn("shop-id", user, ""); err != nil {
			t.Fatal(err)
		}
	}
	ann.Message("SHOP-2", "hello", "")
	if f := shop.Expect("MESSAGE"); f.Field("from") != "ANZ-1" {
		t.Errorf("got %s", f.Raw)
	}
	shop.Message("ANZ-1", "hello", `"reference":"r2"`)
	if f := shop.Expect("GENERAL_ERROR"); f.Field("code") != "FORBIDDEN" {
		t.Errorf("got %s", f.Raw)
	}

	// An app that is taken away lets nobody in any more; who is in stays.
	reload(t, s, path, plainApp, inEffect)
	p := Dial(t, s)
	if err := p.TrySignIn("shop-id", "SHOP-3", ""); err == nil || !strings.Contains(err.Error(), "UNKNOWN_APP") {
		t.Errorf("a user of an app that was taken away: %v", err)
	}
	send(ann, "SHOP-2", "hello", "r3")
	wantFailure(t, ann, "UNKNOWN_APP", "SHOP-2", "r3")
	shop.Barrier()
	ann.Message("ANZ-2", "still here", `"reference":"r4"`)
	bob.Expect("MESSAGE")
	wantConfirmation(t, ann, "r4")
	if n := s.Metric("switchboard_mailbox_sessions"); n != 4 {
		t.Errorf("%v sessions, want all 4 that there were", n)
	}
}

func TestLimitsChangeAtRunTime(t *testing.T) {
	t.Parallel()
	path := Settings(t, plainApp)
	s := Start(t, "--config", path)
	ann, bob := SignIn(t, s, "ANZ-1", `{"receipts":true}`), SignIn(t, s, "ANZ-2", "")
	post(t, ann, "ANZ-3", "m", 0, 5, 10)

	reload(t, s, path, plainApp+"limits: {mailboxMessages: 3, sessionsPerUser: 1, groupReceivers: 2, frame: 2KiB}\n", inEffect)
	send(ann, "ANZ-3", "no room", "r1")
	wantFailure(t, ann, "MAILBOX_FULL", "ANZ-3", "r1")
	Eventually(t, "a second session is refused", func() bool {
		err := Dial(t, s).TrySignIn("app-id-343", "ANZ-1", "")
		return err != nil && strings.Contains(err.Error(), "TOO_MANY_SESSIONS")
	})
	Eventually(t, "a group of three is refused", func() bool {
		bob.Send(`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-7","ANZ-8","ANZ-9"],"content":1},"reference":"g"}`)
		answers := round(bob)
		return len(answers) == 1 && answers[0].Type == "INVALID_MESSAGE"
	})
	Eventually(t, "a new connection has the new frame limit", func() bool {
		p := Dial(t, s)
		defer p.Abort()
		_ = p.TrySend(strings.Repeat(" ", 3000)) // refused either way
		_, err := p.TryNext()
		return err != nil && p.CloseCode() == 1009
	})

	reload(t, s, path, plainApp+"limits: {mailboxMessages: 100}\n", inEffect)
	post(t, ann, "ANZ-3", "m", 5, 10, 10)
	missed, _ := SignIn(t, s, "ANZ-3", "").Fetch(100)
	wantSeries(t, "what a smaller limit found there", missed, "m", 0, 10)
	bob.Message("ANZ-2", "still here", "")
	bob.Expect("MESSAGE")
}

func TestBadSettingsLeaveTheOldOnesInForce(t *testing.T) {
	t.Parallel()
	good := plainApp + "limits: {mailboxMessages: 3}\n"
	path := Settings(t, good)
	s := Start(t, "--config", path)
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	post(t, ann, "ANZ-2", "m", 0, 3, 10)
	const refused = "settings stay as they are"
	for _, c := range []struct{ text, says string }{
		{good + "limitz: {}\n", "limitz"},
		{plainApp + "limits: {mailboxMessages: 0}\n", "mailboxMessages"},
		{plainApp + "limits: {mailboxMessages: many}\n", "mailboxMessages"},
		{"apps: [{appName: ANZ}]\n", "appId"},
		{"apps: [\n", refused},
		{"\x00\xff", refused},
	} {
		reload(t, s, path, c.text, refused)
		lines := strings.Split(strings.TrimSpace(s.Output()), "\n")
		if last := strings.Join(lines[max(0, len(lines)-3):], "\n"); !strings.Contains(last, c.says) {
			t.Errorf("%q: the log does not say what is wrong: %s", c.text, last)
		}
		send(ann, "ANZ-2", "no room", "r")
		wantFailure(t, ann, "MAILBOX_FULL", "ANZ-2", "r")
	}
	reload(t, s, path, plainApp+"limits: {mailboxMessages: 4}\n", inEffect)
	post(t, ann, "ANZ-2", "m", 3, 4, 10)
	send(ann, "ANZ-2", "no room", "r")
	wantFailure(t, ann, "MAILBOX_FULL", "ANZ-2", "r")

	reload(t, s, path, plainApp+"log: {format: json}\nlimits: {mailboxMessages: 5}\n", "these settings take effect at the next start")
	Eventually(t, "what can change at once does", func() bool {
		send(ann, "ANZ-2", "fifth", "r5")
		return ann.Next().Type == "MESSAGE_STORED"
	})
}
