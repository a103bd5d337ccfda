package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// write puts a settings file into a folder of its own and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load loads settings that must be good.
func load(t *testing.T, from Sources) Settings {
	t.Helper()
	s, err := Load(from)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return s
}

// problems loads settings that must not be good, and returns what is said
// about them with the file's folder taken away.
func problems(t *testing.T, from Sources) []string {
	t.Helper()
	_, err := Load(from)
	var ps Problems
	if !errors.As(err, &ps) {
		t.Fatalf("Load: got %v, want Problems", err)
	}
	text := ps.Error()
	if from.File != "" {
		text = strings.ReplaceAll(text, from.File, "s.yaml")
	}
	return strings.Split(text, "\n")
}

// expect compares what is said with what should be, line by line.
func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

const oneApp = "apps: [{appName: SHOP, appId: shop-1, authUrl: 'https://shop.example/auth'}]\n"

func TestWithoutAnythingTheDemoIsServedOnLoopback(t *testing.T) {
	s := load(t, Sources{})
	if !s.Demo || s.Listen != "127.0.0.1:8088" || s.Admin != "127.0.0.1:9088" || s.Data != "./data" {
		t.Errorf("got %+v", s)
	}
	if len(s.Apps) != 1 || s.Apps[0].Name != "ANZ" || s.Apps[0].ID != "app-id-343" || s.Apps[0].Master != "ANZ-123223" || s.Apps[0].AuthEnabled {
		t.Errorf("demo app: got %+v", s.Apps)
	}
	if s.Log != (Log{Level: "info", Format: "text"}) {
		t.Errorf("log: got %+v", s.Log)
	}
}

func TestDefaultsOfLimitsAreTheDocumentedOnes(t *testing.T) {
	want := Limits{
		Frame: 64 * KiB, SignInFrame: 16 * KiB, SignInDeadline: 15 * time.Second, HandshakeTimeout: 5 * time.Second,
		PingInterval: 25 * time.Second, ProofTimeout: 10 * time.Second, AckTimeout: 30 * time.Second,
		EventHeartbeat: 15 * time.Second, ResumeTimeout: 30 * time.Second, FramesWaiting: 16, FrameTimeout: 10 * time.Second,
		SessionsPerUser: 16, GroupReceivers: 10_000, QueueBytes: MiB, QueueFrames: 1000,
		MailboxAge: 30 * 24 * time.Hour, MailboxMessages: 10_000, MailboxBytes: 64 * MiB, WaitingMessages: 10_000_000,
		LinkBytes: 8 * GiB, LinkAge: 30 * 24 * time.Hour, LinkWindow: MiB,
		IdempotencyAge: 24 * time.Hour, IdempotencyRequests: 1_000_000, Producers: 1_000_000, MinDiskFree: 512 * MiB,
		HTTPBody: MiB, PresenceWatch: 100, Connections: 100_000, DrainTimeout: 15 * time.Second,
		HookTimeout: 5 * time.Second, HookConcurrency: 64, StatsStreams: 16, CompressAbove: KiB,
		APIKeys: 10_000, APIKeysPerApp: 1000, APIRate: 1000, APIPage: 1000, APIBatch: 1000, APITimeout: 30 * time.Second,
		ReplayTime: 10 * time.Minute, ReplayAnswers: 100_000, ReplayBytes: 64 * MiB,

		ConnectionsPerAddress: 1000, FailedSignIns: 60, FrameRate: 1000, ByteRate: 4 * MiB, UserFrameRate: 4000, UserByteRate: 16 * MiB,
		AppFrameRate: 1_000_000, AppByteRate: GiB, Exempt: []string{"127.0.0.0/8", "::1/128"},

		UndeliveredAfter: 10 * time.Minute,
		WebhookTimeout:   10 * time.Second, WebhookRetry: 72 * time.Hour, WebhookConcurrency: 32,
		WebhookQueue: 1_000_000, WebhookQueueBytes: GiB, WebhookHistory: 72 * time.Hour, WebhookHistoryBytes: GiB,

		SignUps: 100, AccountSessions: 100, BlockedUsers: 1000, RoomContent: 16 * KiB, RoomMembers: 100_000, RoomsPerUser: 1000, RoomsOwned: 100,
	}
	if got := Defaults().Limits; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := Defaults().Check(); err != nil {
		t.Errorf("the defaults are not good: %v", err)
	}
}

func TestFlagsWinOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := write(t, oneApp+`
listen: 127.0.0.1:1001
admin: 127.0.0.1:1002
limits:
  frame: 1KiB
  queueFrames: 101
  mailboxAge: 1h
`)
	s := load(t, Sources{
		File: file,
		Environ: []string{
			"SWITCHBOARD_LISTEN=127.0.0.1:2001", "SWITCHBOARD_LIMITS_FRAME=2KiB", "SWITCHBOARD_LIMITS_SIGN_IN_DEADLINE=2s",
			"SWITCHBOARD_LIMITS_QUEUE_FRAMES=", "HOME=/root", "SWITCHBOARDISH=1",
		},
		Flags: []Flag{
			{Name: "--listen", Key: "listen", Value: "127.0.0.1:3001"},
			{Name: "--set", Key: "limits.queueBytes", Value: "3MiB"},
			{Name: "--set", Key: "limits.queueBytes", Value: "4MiB"},
		},
	})
	want := Defaults()
	want.Demo, want.Chat.Enabled = false, false
	want.Matching.Simple.Enabled, want.Matching.Simple.Access = false, AccessKey
	want.Apps = []App{{Name: "SHOP", ID: "shop-1", AuthEnabled: true, AuthURL: "https://shop.example/auth"}}
	want.Listen, want.Admin = "127.0.0.1:3001", "127.0.0.1:1002"
	want.Limits.Frame, want.Limits.SignInDeadline = 2*KiB, 2*time.Second
	want.Limits.QueueFrames, want.Limits.MailboxAge, want.Limits.QueueBytes = 101, time.Hour, 4*MiB
	if changes := Diff(s, want); len(changes.Live)+len(changes.Restart) > 0 {
		t.Errorf("not as wanted: %+v\ngot %+v", changes, s)
	}
}

func TestTheEnvironmentMayNameTheFile(t *testing.T) {
	file := write(t, "data: /srv/one\n")
	if s := load(t, Sources{Environ: []string{"SWITCHBOARD_CONFIG=" + file}}); s.Data != "/srv/one" {
		t.Errorf("data: got %q", s.Data)
	}
	other := write(t, "data: /srv/two\n")
	if s := load(t, Sources{File: other, Environ: []string{"SWITCHBOARD_CONFIG=" + file}}); s.Data != "/srv/two" {
		t.Errorf("with a flag, data: got %q", s.Data)
	}
}

func TestAMissingFileIsAnErrorOfItsOwn(t *testing.T) {
	_, err := Load(Sources{File: filepath.Join(t.TempDir(), "none.yaml")})
	var ps Problems
	if !errors.Is(err, os.ErrNotExist) || errors.As(err, &ps) {
		t.Errorf("got %v, want one that is os.ErrNotExist", err)
	}
}

func TestWhatIsEmptyOrNullIsAbsent(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "null\n", "listen:\nlimits:\nlog:\n  level: ~\norigins:\napps:\n"} {
		s := load(t, Sources{File: write(t, text)})
		if changes := Diff(Defaults(), s); len(changes.Live)+len(changes.Restart) > 0 {
			t.Errorf("%q: changes %+v", text, changes)
		}
	}
}

func TestListsComeFromEverySource(t *testing.T) {
	want := []string{"https://a.example", "http://b.example:8080"}
	for name, from := range map[string]Sources{
		"file":        {File: write(t, "origins: [\"https://A.example:443/\", 'http://b.example:8080']\n")},
		"environment": {Environ: []string{"SWITCHBOARD_ORIGINS=https://a.example, http://b.example:8080"}},
		"flag":        {Flags: []Flag{{Name: "--origins", Key: "origins", Value: "https://a.example,http://b.example:8080"}}},
	} {
		if s := load(t, from); !slices.Equal(s.Origins, want) {
			t.Errorf("%s: got %q", name, s.Origins)
		}
	}
}

func TestAnAppMayHaveEverything(t *testing.T) {
	s := load(t, Sources{File: write(t, `
listen: 0.0.0.0:8088
apps:
  - &shop
    appName: SHOP
    appId: shop-1
    masterUserId: SHOP-0
    authEnabled: true
    authUrl: https://shop.example/auth
    allowApps: [BANK]
  - appName: BANK
    appId: bank-1
    jwt: {secret: 0123456789abcdef0123456789abcdef, issuer: me, audience: you}
`)})
	if s.Demo || len(s.Apps) != 2 {
		t.Fatalf("got %+v", s)
	}
	shop, bank := s.Apps[0], s.Apps[1]
	if !shop.AuthEnabled || shop.Master != "SHOP-0" || !slices.Equal(shop.AllowApps, []string{"BANK"}) {
		t.Errorf("got %+v", shop)
	}
	want := JWT{Secret: "0123456789abcdef0123456789abcdef", Issuer: "me", Audience: "you"}
	if !bank.AuthEnabled || bank.JWT == nil || *bank.JWT != want {
		t.Errorf("got %+v", bank)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "512": 512, "64KiB": 64 * KiB, "1MiB": MiB, "8GiB": 8 * GiB, "65536": 64 * KiB} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
	for b, want := range map[Bytes]string{0: "0", 1: "1", 1000: "1000", 1536: "1536", 64 * KiB: "64KiB", 1024 * GiB: "1024GiB", 3 * MiB: "3MiB"} {
		if got := b.String(); got != want {
			t.Errorf("%d: got %s, want %s", b, got, want)
		}
	}
	for text, want := range map[string]string{
		"":                     `"" is not a size: write 65536, 64KiB, 1MiB or 8GiB`,
		"KiB":                  `"KiB" is not a size: write 65536, 64KiB, 1MiB or 8GiB`,
		"-1":                   `"-1" is not a size: write 65536, 64KiB, 1MiB or 8GiB`,
		"1.5MiB":               `"1.5MiB" is not a size: write 65536, 64KiB, 1MiB or 8GiB`,
		"64k":                  `"64k" is not a size: did you mean 64KiB?`,
		"64MB":                 `"64MB" is not a size: did you mean 64MiB?`,
		"2g":                   `"2g" is not a size: did you mean 2GiB?`,
		"1 GiB":                `"1 GiB" is not a size: did you mean 1GiB?`,
		"2TiB":                 `"2TiB" is not a size: the units are KiB, MiB and GiB`,
		"9223372036854775808":  `"9223372036854775808" is too large for a size`,
		"9223372036854775807K": `"9223372036854775807K" is not a size: did you mean 9223372036854775807KiB?`,
		"8589934592GiB":        `"8589934592GiB" is too large for a size`,
	} {
		if _, err := ParseBytes(text); err == nil || err.Error() != want {
			t.Errorf("%s: got %v\nwant %s", text, err, want)
		}
	}
}

func TestDurationsAreWrittenShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 720 * time.Hour: "720h", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", 20 * time.Second: "20s",
		time.Hour + 10*time.Second: "1h0m10s", 100 * time.Millisecond: "100ms", 100 * time.Minute: "1h40m",
	} {
		if got := durationText(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestChatIsOnInTheDemoAndElsewhereWhereItIsWritten(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "chat: {appName: talk}\n": true, "chat: {enabled: false}\n": false,
		oneApp: false, oneApp + "chat: {enabled: true}\n": true,
	} {
		if s := load(t, Sources{File: write(t, text)}); s.Chat.Enabled != want {
			t.Errorf("%q: got %v", text, s.Chat.Enabled)
		}
	}
}

func TestAServerOfChatAloneNeedsNoApps(t *testing.T) {
	const reachable = "listen: 0.0.0.0:8088\n"
	for _, text := range []string{"chat: {enabled: true}\n", "chat: {enabled: true}\napps: []\n"} {
		s := load(t, Sources{File: write(t, reachable+text)})
		if len(s.Apps) > 0 || s.Demo || !s.Chat.Enabled {
			t.Errorf("%q: got %+v", text, s)
		}
		if again := load(t, Sources{File: write(t, string(s.YAML()))}); len(again.Apps) > 0 || again.Demo {
			t.Errorf("%q: what is printed is read as %+v", text, again)
		}
	}
	off := Flag{Name: "--set", Key: "chat.enabled", Value: "false"}
	if s := load(t, Sources{File: write(t, "chat: {enabled: true}\n"), Flags: []Flag{off}}); !s.Demo || len(s.Apps) != 1 {
		t.Errorf("switched off again: got %+v", s)
	}
	if s := load(t, Sources{Environ: []string{"SWITCHBOARD_CHAT_ENABLED=true"}}); !s.Demo || len(s.Apps) != 1 {
		t.Errorf("without a file: got %+v", s)
	}
	if got := problems(t, Sources{File: write(t, reachable+"chat: {enabled: maybe}\n")}); len(got) != 1 {
		t.Errorf("got %q", got)
	}
}

func TestSeveralNodesHaveChatOnlyWithADatabaseThatTheyShare(t *testing.T) {
	s := Defaults()
	if err := s.ChatOff(); err != nil {
		t.Errorf("alone: got %v", err)
	}
	s.NATS.URL = "nats://127.0.0.1:4222"
	if err := s.ChatOff(); err == nil || !strings.Contains(err.Error(), "db.url") {
		t.Errorf("several: got %v", err)
	}
	s.DB.URL = "postgres://db.example/switchboard"
	if err := s.ChatOff(); err != nil {
		t.Errorf("with a database: got %v", err)
	}
}

func TestThePasswordOfTheDatabaseIsNotShown(t *testing.T) {
	s := load(t, Sources{File: write(t, "db: {url: 'postgres://me:sesame@db.example/x?sslmode=require&sslpassword=sesame2'}\n")})
	text := string(s.YAML())
	if strings.Contains(text, "sesame") || !strings.Contains(text, "me:xxxxx@db.example/x?sslmode=require&sslpassword=xxxxx") {
		t.Errorf("got %s", text)
	}
	if got := problems(t, Sources{Flags: []Flag{{Name: "--db", Key: "db.url", Value: "mysql://me:sesame@db/x"}}}); len(got) != 1 || strings.Contains(got[0], "sesame") {
		t.Errorf("got %q", got)
	}
}

func TestAnAppWithTheNameOfChatIsRefused(t *testing.T) {
	got := problems(t, Sources{File: write(t, oneApp+"chat: {enabled: true, appName: SHOP}\n")})
	if len(got) != 1 || !strings.Contains(got[0], `apps[0].appName: "SHOP" is the app of chat`) {
		t.Errorf("got %q", got)
	}
}

func TestChatMayHaveWebhooksOfItsOwn(t *testing.T) {
	hook := "{name: mailer, url: 'https://example.com/x', secret: 0123456789abcdef0123456789abcdef, events: [passwordReset, connected]}"
	s := load(t, Sources{File: write(t, "chat: {webhooks: ["+hook+"]}\n")})
	if len(s.Chat.Webhooks) != 1 || s.Chat.Webhooks[0].Name != "mailer" || !slices.Equal(s.Chat.Webhooks[0].Events, []string{"passwordReset", "connected"}) {
		t.Errorf("got %+v", s.Chat.Webhooks)
	}
	if text := string(s.YAML()); !strings.Contains(text, "    - name: mailer\n") || strings.Contains(text, "0123456789abcdef") {
		t.Errorf("got %s", text)
	}
	if got := Diff(s, Defaults()); !slices.Equal(got.Restart, []string{"chat.webhooks"}) {
		t.Errorf("got %+v", got)
	}
	bad := strings.NewReplacer("mailer", "a b", "connected", "conected").Replace(hook)
	got := problems(t, Sources{File: write(t, "chat: {webhooks: ["+bad+"]}\n")})
	if len(got) != 2 || !strings.Contains(got[0], "chat.webhooks[0].name") || !strings.Contains(got[1], "did you mean connected?") {
		t.Errorf("got %q", got)
	}
	got = problems(t, Sources{File: write(t, strings.Replace(oneApp, "/auth'}", "/auth', webhooks: ["+hook+"]}", 1))})
	if len(got) != 1 || !strings.Contains(got[0], `"passwordReset" is none of connected`) {
		t.Errorf("an app's: got %q", got)
	}
}

func TestTheSimpleDoorIsOpenInTheDemoOnly(t *testing.T) {
	const own = "apps: [{appName: A, appId: a, authEnabled: false}]\n"
	for text, want := range map[string]SimpleDoor{
		"":                                     {Enabled: true, Access: AccessOpen},
		own:                                    {Access: AccessKey},
		"matching: {simple: {enabled: false}}": {Access: AccessOpen},
		"matching: {simple: {access: jwt}}":    {Enabled: true, Access: AccessJWT},
		own + "matching: {simple: {enabled: true}}":                 {Enabled: true, Access: AccessKey},
		own + "matching: {simple: {enabled: true, access: open}}":   {Enabled: true, Access: AccessOpen},
		own + "matching: {simple: {maxDistance: 0.5, queue: 2000}}": {Access: AccessKey, MaxDistance: 0.5, Queue: 2000},
	} {
		if want.Queue == 0 {
			want.MaxDistance, want.Queue = 1.42, 1000
		}
		if got := load(t, Sources{File: write(t, text)}).Matching.Simple; got != want {
			t.Errorf("%q: got %+v, not %+v", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"matching: {simple: {maxDistance: near}}": `s.yaml:1: matching.simple.maxDistance: "near" is not a number`,
		"matching: {simple: {maxDistance: -1}}":   "s.yaml:1: matching.simple.maxDistance: -1 is out of bounds: it must be above 0, and at most 1e+09",
		"matching: {simple: {access: all}}":       `s.yaml:1: matching.simple.access: "all" is none of open, key, jwt`,
	} {
		expect(t, problems(t, Sources{File: write(t, text)}), want)
	}
}

func TestTilesComeOverTLSOrFromTheServerItself(t *testing.T) {
	for text, origin := range map[string]string{
		"https://Tiles.example/{z}/{x}/{y}.png":         "https://tiles.example",
		"https://tiles.example:443/{z}/{x}/{y}?key=1":   "https://tiles.example",
		"https://tiles.example:8443/a/{z}/{y}/{x}@1.5x": "https://tiles.example:8443",
		"/tiles/{z}/{x}/{y}.png":                        "",
	} {
		got := load(t, Sources{File: write(t, "nearby: {attribution: \"© the mappers\", tiles: \""+text+"\"}\n")}).Nearby
		if got.Tiles != text || got.TileOrigin() != origin || got.Attribution != "© the mappers" {
			t.Errorf("%s: got %+v, origin %q, not %q", text, got, got.TileOrigin(), origin)
		}
	}
	const noTLS = "is fetched without TLS, which browsers refuse in a page that came with it: write https://, or a path on the server itself"
	const noServer = "has {s}, for which nothing is put in: name one host, as in https://a.tile.example/{z}/{x}/{y}.png"
	const where = "is not where tiles are: write https://host/{z}/{x}/{y}.png, or /path/{z}/{x}/{y}.png on the server itself"
	for text, want := range map[string]string{
		"http://tiles.example/{z}/{x}/{y}":             noTLS,
		"http://{s}.tiles.example/{z}/{x}/{y}":         noServer,
		"https://{s}.tiles.example/{z}/{x}/{y}":        noServer,
		"//tiles.example/{z}/{x}/{y}":                  where,
		"tiles/{z}/{x}/{y}":                            where,
		"https:///{z}/{x}/{y}":                         where,
		"https://a:b@tiles.example/{z}/{x}/{y}":        where,
		"https://*.tiles.example/{z}/{x}/{y}":          where,
		"https://{x}.tiles.example/{z}/{y}":            where,
		"https://tiles.example;script-src/{z}/{x}/{y}": where,
		"https://tiles.example:0/{z}/{x}/{y}":          where,
		"data:image/png,{z}{x}{y}":                     where,
		"https://tiles.example/{z}/{x}":                "does not name each of {z}, {x} and {y} once",
		"https://tiles.example/{z}/{x}/{y}/{x}":        "does not name each of {z}, {x} and {y} once",
	} {
		expect(t, problems(t, Sources{File: write(t, "nearby: {tiles: '"+text+"'}\n")}), fmt.Sprintf("s.yaml:1: nearby.tiles: %s %s", said(text), want))
	}
	expect(t, problems(t, Sources{File: write(t, "nearby: {attribution: \"a\\nb\"}\n")}), "s.yaml:1: nearby.attribution: must be one line of at most 200 characters")
}

func TestDistancesHaveUnits(t *testing.T) {
	for text, want := range map[string]Metres{"0": 0, "0m": 0, "100m": 100, "2km": 2000, "1500m": 1500} {
		if got := load(t, Sources{File: write(t, "nearby: {precision: "+text+"}\n")}).Nearby.Precision; got != want {
			t.Errorf("%s: got %v, not %v", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"100":    `"100" is not a distance: it lacks its unit, as in 100m`,
		"2k":     `"2k" is not a distance: write 100m or 5km`,
		"-5m":    `"-5m" is not a distance: write 100m or 5km`,
		"1.5km":  `"1.5km" is not a distance: write 100m or 5km`,
		"101km":  "101km is too much: the most is 100km",
		"wide":   `"wide" is not a distance: write 100m or 5km`,
		"5miles": `"5miles" is not a distance: write 100m or 5km`,
	} {
		expect(t, problems(t, Sources{File: write(t, "nearby: {precision: "+text+"}\n")}), "s.yaml:1: nearby.precision: "+want)
	}
	for m, want := range map[Metres]string{0: "0m", 999: "999m", 3000: "3km"} {
		if got := m.String(); got != want {
			t.Errorf("got %s, not %s", got, want)
		}
	}
}
