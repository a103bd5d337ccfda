package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const (
	plainSecret   = "0123456789abcdef0123456789abcdef"
	encodedSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

func hookFile(hooks string) string {
	return "apps:\n- appName: SHOP\n  appId: shop\n  authEnabled: false\n  webhooks:\n" + hooks
}

func TestWebhooksAreRead(t *testing.T) {
	s := load(t, Sources{File: write(t, hookFile(`
  - name: back-end_1
    url: https://shop.example/hook?key=1
    secret: `+encodedSecret+`
    secondSecret: `+plainSecret+`
    events: [connected, expired]
  - {name: local, url: "http://127.0.0.1:9000", secret: `+plainSecret+`, events: [delivered], allowPrivate: true}
`))})
	want := []Webhook{
		{Name: "back-end_1", URL: "https://shop.example/hook?key=1", Secret: encodedSecret, SecondSecret: plainSecret, Events: []string{"connected", "expired"}},
		{Name: "local", URL: "http://127.0.0.1:9000", Secret: plainSecret, Events: []string{"delivered"}, AllowPrivate: true},
	}
	if !reflect.DeepEqual(s.Apps[0].Webhooks, want) {
		t.Errorf("got %#v", s.Apps[0].Webhooks)
	}
}

func TestWhatIsWrongWithWebhooksIsSaidByKeyAndLine(t *testing.T) {
	got := problems(t, Sources{File: write(t, hookFile(`  - name: a
    url: ftp://shop.example
    secret: short
    events: [conected]
  - name: a
    url: https://user:pass@shop.example/
    secret: whsec_abc
    secondSecret: whsec_MTIzNDU2
    events: [delivered, delivered]
    allowPrivat: true
  - name: a.b
  - {name: c, url: "http://10.0.0.1/", secret: `+plainSecret+`, events: [delivered], allowPrivate: 1}
  - {name: d, url: "http://[::ffff:127.0.0.1]/", secret: `+plainSecret+`, events: delivered}
  - {name: e, url: "http://LocalHost/", secret: `+plainSecret+`, events: []}
  - none
`))})
	expect(t, got,
		`s.yaml:7: apps[0].webhooks[0].url: "ftp://shop.example" is not a URL that begins with http:// or https://`,
		`s.yaml:8: apps[0].webhooks[0].secret: is too short: write whsec_ and base64, or at least 32 bytes of text`,
		`s.yaml:9: apps[0].webhooks[0].events: "conected" is none of connected, disconnected, delivered, undelivered, expired: did you mean connected?`,
		`s.yaml:10: apps[0].webhooks[1].name: "a" is named twice in this app`,
		`s.yaml:11: apps[0].webhooks[1].url: must not carry a user name or password`,
		`s.yaml:12: apps[0].webhooks[1].secret: begins with whsec_, so base64 must follow (with + and /, and = at the end where it is due)`,
		`s.yaml:13: apps[0].webhooks[1].secondSecret: has 6 bytes in base64: whsec_ is followed by 24 to 64`,
		`s.yaml:14: apps[0].webhooks[1].events: "delivered" is named twice`,
		`s.yaml:15: apps[0].webhooks[1].allowPrivat: unknown key: did you mean allowPrivate?`,
		`s.yaml:16: apps[0].webhooks[2].name: "a.b" is not a webhook's name: 1 to 64 letters, digits, _ and -`,
		`s.yaml:16: apps[0].webhooks[2].url: is required`,
		`s.yaml:16: apps[0].webhooks[2].secret: is required`,
		`s.yaml:16: apps[0].webhooks[2].events: must name at least one of connected, disconnected, delivered, undelivered, expired`,
		`s.yaml:17: apps[0].webhooks[3].allowPrivate: "1" is neither true nor false`,
		`s.yaml:18: apps[0].webhooks[4].events: must be a list`,
		`s.yaml:18: apps[0].webhooks[4].url: ::ffff:127.0.0.1 is no address of the public network, but of this machine, a private network or a special use: if it is meant, write allowPrivate: true`,
		`s.yaml:19: apps[0].webhooks[5].url: LocalHost is no address of the public network, but of this machine, a private network or a special use: if it is meant, write allowPrivate: true`,
		`s.yaml:19: apps[0].webhooks[5].events: must name at least one of connected, disconnected, delivered, undelivered, expired`,
		`s.yaml:20: apps[0].webhooks[6]: must be keys with values (a mapping), not a single value; the keys are name, url, secret, secondSecret, events, allowPrivate`,
	)
	for _, line := range got {
		if strings.Contains(line, "pass@") {
			t.Errorf("a password is shown: %s", line)
		}
	}
}

// What the dialler refuses is refused here already.
func TestAWebhookAtASpecialAddressSaysThatItIsMeant(t *testing.T) {
	hook := func(host, more string) string {
		return hookFile(fmt.Sprintf("  - {name: a, url: 'http://%s:8080/hook', secret: %s, events: [delivered]%s}\n", host, plainSecret, more))
	}
	for _, host := range []string{
		"100.64.0.1", "192.0.0.8", "198.18.0.1", "203.0.113.7", "240.0.0.1", "[64:ff9b::10.0.0.1]", "[2002:7f00:1::1]", "[2001:db8::1]", "[fec0::1]", "[fe80::1%25eth0]",
		"localhost.", "a.LocalHost",
	} {
		got := problems(t, Sources{File: write(t, hook(host, ""))})
		if len(got) != 1 || !strings.Contains(got[0], "apps[0].webhooks[0].url: ") || !strings.Contains(got[0], "write allowPrivate: true") {
			t.Errorf("%s: %q", host, got)
		}
		load(t, Sources{File: write(t, hook(host, ", allowPrivate: true"))})
	}
	for _, host := range []string{"1.1.1.1", "[2606:4700::1]", "[64:ff9b::1.1.1.1]", "mylocalhost", "localhost.example"} {
		load(t, Sources{File: write(t, hook(host, ""))})
	}
}

// An event that expires in its mailbox would never be seen again, not even in the
// history.
func TestEventsAreKeptForLongerThanTheyAreTried(t *testing.T) {
	hooks := hookFile(`  - {name: a, url: "https://shop.example", secret: ` + plainSecret + `, events: [delivered]}` + "\n")
	for limits, want := range map[string]string{
		"{mailboxAge: 72h}":                    `s.yaml:7: limits.mailboxAge: limits.mailboxAge is 72h, but where there are webhooks it must be an hour longer than limits.webhookRetry (72h): else events expire while they are tried`,
		"{webhookRetry: 720h}":                 `s.yaml:7: limits.webhookRetry: limits.mailboxAge is 720h, but where there are webhooks it must be an hour longer than limits.webhookRetry (720h): else events expire while they are tried`,
		"{mailboxAge: 119m, webhookRetry: 1h}": `s.yaml:7: limits.mailboxAge: limits.mailboxAge is 1h59m, but where there are webhooks it must be an hour longer than limits.webhookRetry (1h): else events expire while they are tried`,
	} {
		expect(t, problems(t, Sources{File: write(t, hooks+"limits: "+limits+"\n")}), want)
		load(t, Sources{File: write(t, "limits: "+limits+"\n")}) // without webhooks it is nobody's business
	}
	load(t, Sources{File: write(t, hooks+"limits: {mailboxAge: 2h, webhookRetry: 1h}\n")})
	expect(t, problems(t, Sources{File: write(t, hooks+"limits: {mailboxAge: 1, webhookRetry: 1h}\n")}), `s.yaml:7: limits.mailboxAge: "1" is not a duration: it lacks its unit, as in 1s`)
}

func TestTheSameNameMayStandInTwoApps(t *testing.T) {
	hook := `webhooks: [{name: a, url: "https://shop.example", secret: ` + plainSecret + `, events: [delivered]}]`
	load(t, Sources{File: write(t, "apps:\n- {appName: A, appId: a, authEnabled: false, "+hook+"}\n- {appName: B, appId: b, authEnabled: false, "+hook+"}\n")})
}

func TestWebhooksPrintWithoutTheirSecretsAndAsTheyWere(t *testing.T) {
	s := Defaults()
	s.Apps[0].Webhooks = []Webhook{{
		Name: "a", URL: "https://shop.example", Secret: encodedSecret, SecondSecret: plainSecret, Events: []string{"delivered"}, AllowPrivate: true,
	}}
	text := string(s.YAML())
	for _, shown := range []string{text, fmt.Sprintf("%v %+v %#v", s.Apps, s.Apps, s.Apps)} {
		if strings.Contains(shown, encodedSecret) || strings.Contains(shown, plainSecret) {
			t.Errorf("a secret is shown: %s", shown)
		}
	}
	want := "    webhooks:\n      - name: a\n        url: https://shop.example\n        secret: (hidden)\n" +
		"        secondSecret: (hidden)\n        events:\n          - delivered\n        allowPrivate: true\n"
	if !strings.Contains(text, want) {
		t.Errorf("got\n%s", text)
	}
}

func TestAWebhooksSecretIsBase64OrText(t *testing.T) {
	for secret, want := range map[Secret]string{
		encodedSecret: "31f290f6bf06298aab4f08d43c3f082cf648a362da2da4b0",
		plainSecret:   fmt.Sprintf("%x", plainSecret),
	} {
		key, err := WebhookKey(secret)
		if got := fmt.Sprintf("%x", key); err != nil || got != want {
			t.Errorf("%q is %s, %v", string(secret), got, err)
		}
	}
}

func TestAChangedWebhookIsAChangeAtRunTime(t *testing.T) {
	before, after := Defaults(), Defaults()
	after.Apps[0].Webhooks = []Webhook{{Name: "a"}}
	if got := Diff(before, after); !reflect.DeepEqual(got, Changes{Live: []string{"apps"}}) {
		t.Errorf("got %+v", got)
	}
}
