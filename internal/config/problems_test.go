package config

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	bigint "math/big"
	"strings"
	"testing"
)

func TestEveryProblemIsReportedAtOnceWithItsPlace(t *testing.T) {
	file := write(t, `listne: 127.0.0.1:1
admin: nowhere
limits:
  frame: 64KB
  signInDeadline: 15
  queueFrames: many
  mailBoxAge: 1h
log:
  level: warning
apps:
  - appName: "SHOP-1"
    appId: shop
    authEnabled: maybe
  - name: BANK
`)
	got := problems(t, Sources{
		File:    file,
		Environ: []string{"SWITCHBOARD_LIMITS_SIGNIN_DEADLINE=3s", "SWITCHBOARD_LIMITS_CONNECTIONS=0", "SWITCHBOARD_APPS=x"},
		Flags: []Flag{
			{Name: "--listen", Key: "listen", Value: "8088"},
			{Name: "--set", Key: "limits.frme", Value: "1KiB"},
			{Name: "--set", Key: "apps[0].appName", Value: "X"},
		},
	})
	expect(t, got,
		`s.yaml:1: listne: unknown key: did you mean listen?`,
		`s.yaml:2: admin: "nowhere" is not host:port, as in 127.0.0.1:8088`,
		`s.yaml:4: limits.frame: "64KB" is not a size: did you mean 64KiB?`,
		`s.yaml:5: limits.signInDeadline: "15" is not a duration: it lacks its unit, as in 15s`,
		`s.yaml:6: limits.queueFrames: "many" is not a whole number`,
		`s.yaml:7: limits.mailBoxAge: unknown key: did you mean mailboxAge?`,
		`s.yaml:9: log.level: "warning" is none of debug, info, warn, error: did you mean warn?`,
		`s.yaml:11: apps[0].appName: "SHOP-1" is not an app name: 1 to 64 letters, digits and _`,
		`s.yaml:13: apps[0].authEnabled: "maybe" is neither true nor false`,
		`s.yaml:14: apps[1].name: unknown key: did you mean appName?`,
		`s.yaml:14: apps[1].appName: is required`,
		`s.yaml:14: apps[1].appId: is required, with at most 256 bytes`,
		`s.yaml:14: apps[1].authEnabled: needs authUrl or jwt; write authEnabled: false to let anyone sign in`,
		`SWITCHBOARD_LIMITS_SIGNIN_DEADLINE: unknown setting: did you mean SWITCHBOARD_LIMITS_SIGN_IN_DEADLINE?`,
		`SWITCHBOARD_LIMITS_CONNECTIONS: limits.connections: 0 is too little: the least is 1`,
		`SWITCHBOARD_APPS: apps can only be set in the file`,
		`--listen: listen: "8088" is only a port: write 127.0.0.1:8088, or :8088 for all interfaces`,
		`--set: limits.frme: unknown key: did you mean limits.frame?`,
		`--set: apps[0].appName: apps can only be set in the file`,
	)
}

func TestProblemsOfAFlagHideNoOthers(t *testing.T) {
	const reach = "other machines can reach :21189, and without apps the demo app lets anyone in: " +
		"name your apps in a settings file (switchboard config init writes one to start from), or write chat.enabled: true there for accounts and rooms alone, or take a loopback address"
	expect(t, problems(t, Sources{Flags: []Flag{
		{Name: "--admin", Key: "admin", Value: ":21189"},
		{Name: "--log-level", Key: "log.level", Value: "loud"},
		{Name: "--set", Key: "foo", Value: "1"},
	}}),
		`--log-level: log.level: "loud" is none of debug, info, warn, error`,
		`--set: foo: unknown key`,
		"--admin: admin: "+reach,
	)
	expect(t, problems(t, Sources{
		File:    write(t, "limits: {frame: 1MiB, pingInterval: 1}"),
		Environ: []string{"SWITCHBOARD_LOG_LEVEL=loud"},
		Flags: []Flag{
			{Name: "--set", Key: "limits.mailboxBytes", Value: "64KiB"},
			{Name: "--set", Key: "limits.queueBytes", Value: "256KiB"},
			{Name: "--set", Wrong: `"limits.frame" is not KEY=VALUE`},
		},
	}),
		`s.yaml:1: limits.pingInterval: "1" is not a duration: it lacks its unit, as in 1s`,
		`SWITCHBOARD_LOG_LEVEL: log.level: "loud" is none of debug, info, warn, error`,
		`--set: "limits.frame" is not KEY=VALUE`,
		`--set: limits.queueBytes: limits.queueBytes is 256KiB, but must have room for limits.frame (1MiB) and 128KiB more`,
		`--set: limits.mailboxBytes: limits.mailboxBytes is 64KiB, less than one frame (limits.frame, 1MiB)`,
	)
}

func TestWhatMayOnlyFollowFromAProblemIsNotReported(t *testing.T) {
	for text, want := range map[string]string{
		"limits: {frame: 1MiB, queueByte: 2MiB}": "s.yaml:1: limits.queueByte: unknown key: did you mean queueBytes?",
		"limits: {frame: 1MiB}\nqueueBytes: 2M":  "s.yaml:2: queueBytes: unknown key: did you mean limits.queueBytes?",
		"listen: 0.0.0.0:80\nappps: []":          "s.yaml:2: appps: unknown key: did you mean apps?",
		"listen: 0.0.0.0:80\napps: 5":            "s.yaml:2: apps: must be a list of apps",
	} {
		expect(t, problems(t, Sources{File: write(t, text)}), want)
	}
	expect(t, problems(t, Sources{Environ: []string{"SWITCHBOARD_LISTEN=:80", "SWITCHBOARD_APPS=x"}}),
		"SWITCHBOARD_APPS: apps can only be set in the file")
}

func TestTheShapeOfTheFileIsChecked(t *testing.T) {
	for text, want := range map[string]string{
		"listen: [1, 2]":                   "s.yaml:1: listen: must be a single value",
		"limits: 5":                        "s.yaml:1: limits: must be keys with values (a mapping), not a single value; the keys are frame, signInFrame,",
		"- listen":                         "s.yaml:1: must be keys with values (a mapping), not a list; the keys are listen, admin, data, roles, origins, tls, adminTLS, proxies, audit, apps, domain, meta, metaSecret, metaCA, links, insecureLinks, settings, cluster, nats, db, chat, matching, nearby, journal, traffic, relay, registry, gateway, limits, log",
		"just text":                        "s.yaml:1: must be keys with values (a mapping), not a single value; the keys are ",
		"data: a\ndata: b":                 "s.yaml:2: data: is set twice",
		"data: a\nlisten: {":               "s.yaml:2: not YAML: ",
		"data: a\n---\ndata: b":            "s.yaml:2: a second document begins here; settings are one document",
		"data: a\norigins: [x\nlog: b":     "s.yaml:2: not YAML: did not find expected ',' or ']', here or in a later line",
		"\tdata: a":                        "s.yaml:1: not YAML: ",
		"apps: 5":                          "s.yaml:1: apps: must be a list of apps",
		"apps: []":                         "s.yaml:1: apps: must name at least one app, unless chat.enabled is true",
		"apps:\n- 5":                       "s.yaml:2: apps[0]: must be keys with values (a mapping), not a single value; the keys are appName, appId,",
		"origins: https://a.example":       "s.yaml:1: origins: must be a list",
		"origins: [[a]]":                   "s.yaml:1: origins: every item must be a single value",
		"origins: [~]":                     "s.yaml:1: origins: every item must be a single value",
		"origins: ['https://a,https://b']": `s.yaml:1: origins: "https://a,https://b" is not an origin: write each as an item of its own`,
		"frame: 1KiB":                      "s.yaml:1: frame: unknown key: did you mean limits.frame?",
		"? [a]\n: b":                       "s.yaml:1: unknown key",
		"<<: {listen: x}":                  "s.yaml:1: <<: unknown key",
	} {
		got := problems(t, Sources{File: write(t, text)})
		if !strings.HasPrefix(got[0], want) {
			t.Errorf("%q:\ngot  %s\nwant %s", text, got[0], want)
		}
	}
}

func TestBadValuesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"listen: 127.0.0.1":                            `listen: "127.0.0.1" is not host:port, as in 127.0.0.1:8088`,
		"listen: 127.0.0.1:70000":                      `listen: "127.0.0.1:70000" has no valid port: it must be a number from 0 to 65535`,
		"listen: 127.0.0.1:http":                       `listen: "127.0.0.1:http" has no valid port: it must be a number from 0 to 65535`,
		"listen: 'http://127.0.0.1:80'":                `listen: "http://127.0.0.1:80" is not host:port, as in 127.0.0.1:8088`,
		"listen: 'a b:80'":                             `listen: "a b:80" is not host:port: "a b" is no host`,
		"data: ''":                                     `data: must name a folder`,
		"origins: [a.example]":                         `origins: "a.example" is not an origin: write https://host or https://host:port, without a path (a / at the end may stay)`,
		"origins: ['https://a.example/x']":             `origins: "https://a.example/x" is not an origin: write https://host or https://host:port, without a path (a / at the end may stay)`,
		"origins: ['']":                                `origins: "" is not an origin: write https://host or https://host:port, without a path (a / at the end may stay)`,
		"origins: ['https://*.a.example']":             `origins: "https://*.a.example" is not an origin: write https://host or https://host:port, without a path (a / at the end may stay)`,
		"origins: ['https://a.example:0']":             `origins: "https://a.example:0" is not an origin: write https://host or https://host:port, without a path (a / at the end may stay)`,
		"origins: ['*']":                               `origins: "*" is not an origin: write https://host or https://host:port, without a path (a / at the end may stay)`,
		"limits: {frame: 2MiB}":                        `limits.frame: 2MiB is too much: the most is 1MiB`,
		"limits: {frame: 1}":                           `limits.frame: 1 is too little: the least is 1KiB`,
		"limits: {pingInterval: -1s}":                  `limits.pingInterval: -1s is too little: the least is 100ms`,
		"limits: {pingInterval: 0}":                    `limits.pingInterval: 0s is too little: the least is 100ms`,
		"limits: {sessionsPerUser: 1.5}":               `limits.sessionsPerUser: "1.5" is not a whole number`,
		"limits: {mailboxAge: 30d}":                    `limits.mailboxAge: "30d" is not a duration: days are written in hours, as 720h`,
		"log: {format: yaml}":                          `log.format: "yaml" is none of text, json`,
		"listen: 127.0.0.1:9088":                       `listen: listen (127.0.0.1:9088) and admin (127.0.0.1:9088) want the same port`,
		"limits: {frame: 1MiB}":                        `limits.frame: limits.queueBytes is 1MiB, but must have room for limits.frame (1MiB) and 128KiB more`,
		"limits: {queueBytes: 256KiB, frame: 512KiB}":  `limits.queueBytes: limits.queueBytes is 256KiB, but must have room for limits.frame (512KiB) and 128KiB more`,
		"limits: {mailboxBytes: 64KiB, frame: 128KiB}": `limits.mailboxBytes: limits.mailboxBytes is 64KiB, less than one frame (limits.frame, 128KiB)`,
	} {
		expect(t, problems(t, Sources{File: write(t, text)}), "s.yaml:1: "+want)
	}
}

func TestEveryBadOriginIsReportedAtItsLine(t *testing.T) {
	const text = " is not an origin: write https://host or https://host:port, without a path (a / at the end may stay)"
	file := write(t, "origins:\n  - https://a.example/x\n  - https://b.example\n  - [c]\n  - d.example\n")
	expect(t, problems(t, Sources{File: file, Flags: []Flag{{Name: "--origins", Key: "origins", Value: "e,https://f.example,g"}}}),
		`s.yaml:2: origins: "https://a.example/x"`+text,
		`s.yaml:4: origins: every item must be a single value`,
		`s.yaml:5: origins: "d.example"`+text,
		`--origins: origins: "e"`+text,
		`--origins: origins: "g"`+text,
	)
}

func TestASharedPortIsReportedAmongOtherProblems(t *testing.T) {
	const shared = `admin: listen (127.0.0.1:80) and admin (127.0.0.1:80) want the same port`
	const both = "listen: 127.0.0.1:80\nadmin: 127.0.0.1:80\n"
	expect(t, problems(t, Sources{File: write(t, both+"limits: {frame: 1}")}),
		"s.yaml:2: "+shared, "s.yaml:3: limits.frame: 1 is too little: the least is 1KiB")
	expect(t, problems(t, Sources{File: write(t, both+"foo: 1")}), "s.yaml:2: "+shared, "s.yaml:3: foo: unknown key")
	// Where a default stands in for what was meant, nothing is said.
	expect(t, problems(t, Sources{File: write(t, "admin: 127.0.0.1:8088\nlisten: x")}),
		`s.yaml:2: listen: "x" is not host:port, as in 127.0.0.1:8088`)
	expect(t, problems(t, Sources{File: write(t, "admin: 127.0.0.1:8088\nlisen: 127.0.0.1:80")}),
		`s.yaml:2: lisen: unknown key: did you mean listen?`)
}

func TestWhatIsRefusedIsReportedOnce(t *testing.T) {
	for text, want := range map[string]string{
		"{appName: A, appId: i, authEnabled: yes please}": `apps[0].authEnabled: "yes please" is neither true nor false`,
		"{appName: A, appId: [i], authEnabled: false}":    `apps[0].appId: must be a single value`,
	} {
		expect(t, problems(t, Sources{File: write(t, "apps: ["+text+"]")}), "s.yaml:1: "+want)
	}
}

func TestEveryLimitHasABoundBelowAndAbove(t *testing.T) {
	for _, k := range Keys() {
		if k.Unit() == "" || k.field == nil { // those of routes are tried in gateway_test.go
			continue
		}
		if k.Min < 1 && k.Name != "nearby.precision" || k.Max <= k.Min { // which 0 turns off
			t.Errorf("%s: bounds %d to %d", k.Name, k.Min, k.Max)
		}
		var s Settings
		for _, n := range []int64{k.Min, k.Max} {
			if err := k.set(&s, k.bound(n)); err != nil {
				t.Errorf("%s: its bound %s is refused: %v", k.Name, k.bound(n), err)
			}
		}
		for _, n := range []int64{k.Min - 1, k.Max + 1, 0, -1} {
			if err := k.set(&s, k.bound(n)); err == nil && n != k.Min {
				t.Errorf("%s: %s is taken", k.Name, k.bound(n))
			}
		}
	}
}

func TestWithoutAppsOnlyLoopbackMayListen(t *testing.T) {
	for _, address := range []string{"0.0.0.0:80", ":80", "[::]:80", "192.0.2.1:80", "example.com:80"} {
		for _, key := range []string{"listen", "admin"} {
			flags := []Flag{{Name: "--" + key, Key: key, Value: address}}
			got := problems(t, Sources{Flags: flags})
			want := "--" + key + ": " + key + ": other machines can reach " + address
			if len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("got  %s\nwant %s…", got, want)
			}
			load(t, Sources{File: write(t, oneApp), Flags: flags})
		}
	}
	for _, address := range []string{"127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "localhost:80", "127.0.0.1:0"} {
		load(t, Sources{Flags: []Flag{{Name: "--listen", Key: "listen", Value: address}}})
	}
}

func TestListenersMustNotShareAPort(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.1:080", true},
		{":80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "0.0.0.0:80", true},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"127.0.0.1:80", "127.0.0.1:81", false},
	} {
		if got := sameAddress(c.a, c.b); got != c.same {
			t.Errorf("%s and %s: got %v", c.a, c.b, got)
		}
	}
}

func TestBadAppsAreRefused(t *testing.T) {
	const good = "appName: A, appId: i, authEnabled: false"
	for text, want := range map[string]string{
		"{" + good + "}, {" + good + "}":                                                            `apps[1].appName: "A" is named twice`,
		"{" + good + ", masterUserId: B-1}":                                                         `apps[0].masterUserId: "B-1" is not a user ID of this app: write A- and a number from 0 on, without leading zeros`,
		"{" + good + ", masterUserId: A-01}":                                                        `apps[0].masterUserId: "A-01" is not a user ID of this app: write A- and a number from 0 on, without leading zeros`,
		"{" + good + ", masterUserId: A--1}":                                                        `apps[0].masterUserId: "A--1" is not a user ID of this app: write A- and a number from 0 on, without leading zeros`,
		"{" + good + ", masterUserId: A-9223372036854775808}":                                       `apps[0].masterUserId: "A-9223372036854775808" is not a user ID of this app: write A- and a number from 0 on, without leading zeros`,
		"{appName: A, appId: i, authUrl: ftp://a.example}":                                          `apps[0].authUrl: "ftp://a.example" is not a URL that begins with http:// or https://`,
		"{appName: A, appId: i, authUrl: 'https://u:p@a.example'}":                                  `apps[0].authUrl: must not carry a user name or password`,
		"{appName: A, appId: i, authUrl: 'https://a.example/#x'}":                                   `apps[0].authUrl: must not have a fragment (#…)`,
		"{" + good + ", allowApps: [B]}":                                                            `apps[0].allowApps: "B" is not another app of these settings`,
		"{" + good + ", allowApps: [A]}":                                                            `apps[0].allowApps: "A" is not another app of these settings`,
		"{" + good + ", authUrl: 'https://a.example'}":                                              `apps[0].authEnabled: is false, yet there is authUrl: take one of them away`,
		"{" + good + ", jwt: {jwksUrl: 'https://a.example'}}":                                       `apps[0].authEnabled: is false, yet there is jwt: take one of them away`,
		"{appName: A, appId: i, jwt: {issuer: x}}":                                                  `apps[0].jwt: needs exactly one of secret, publicKey and jwksUrl`,
		"{appName: A, appId: i, jwt: {secret: short}}":                                              `apps[0].jwt.secret: is too short: HS256 needs at least 32 bytes`,
		"{appName: A, appId: i, jwt: {publicKey: x}}":                                               `apps[0].jwt.publicKey: is not one PEM block "PUBLIC KEY"`,
		"{appName: A, appId: i, jwt: {jwksUrl: x}}":                                                 `apps[0].jwt.jwksUrl: "x" is not a URL that begins with http:// or https://`,
		"{appName: A, appId: i, authEnabled: true}":                                                 `apps[0].authEnabled: needs authUrl or jwt; write authEnabled: false to let anyone sign in`,
		"{appName: A, appId: i, authUrl: 'https://a.example', jwt: {jwksUrl: 'https://a.example'}}": `apps[0].jwt: an app has either authUrl or jwt, not both`,
		"{appName: " + strings.Repeat("x", 65) + ", appId: i, authEnabled: false}":                  `apps[0].appName: "` + strings.Repeat("x", 65) + `" is not an app name: 1 to 64 letters, digits and _`,
	} {
		expect(t, problems(t, Sources{File: write(t, "apps: ["+text+"]")}), "s.yaml:1: "+want)
	}
}

func TestPublicKeysOfEveryAlgorithmAreTaken(t *testing.T) {
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec := func(c elliptic.Curve) any {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return &k.PublicKey
	}
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	weak := big.PublicKey
	weak.N = new(bigint.Int).Rsh(big.N, 1024)
	for _, c := range []struct {
		name string
		key  any
		want string
	}{
		{"Ed25519", ed, ""},
		{"P-256", ec(elliptic.P256()), ""},
		{"P-384", ec(elliptic.P384()), "is an ECDSA key that ES256 cannot use: it must be on P-256"},
		{"RSA 2048", &big.PublicKey, ""},
		{"RSA 1024", &weak, "is an RSA key of 1024 bits: at least 2048 are needed"},
	} {
		der, err := x509.MarshalPKIXPublicKey(c.key)
		if err != nil {
			t.Fatal(err)
		}
		text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		if got := fmt.Sprint(checkPublicKey(text)); got != c.want && (c.want != "" || got != "<nil>") {
			t.Errorf("%s: got %s, want %q", c.name, got, c.want)
		}
	}
}

func TestVariablesOfOthersAreNotOurs(t *testing.T) {
	load(t, Sources{Environ: []string{
		"SWITCHBOARD_SERVICE_HOST=10.0.0.1", "SWITCHBOARD_SERVICE_PORT=80", "SWITCHBOARD_SERVICE_PORT_HTTP=80",
		"SWITCHBOARD_DOCTOR_TOKEN=secret", "SWITCHBOARD_BENCH_TOKEN=secret", "SWITCHBOARD_GIT_USERNAME=robot", "SWITCHBOARD_GIT_PASSWORD=secret",
		"SWITCHBOARD_GIT_SSH_KEY=key", "SWITCHBOARD_GIT_SSH_PASSPHRASE=secret", "SWITCHBOARD_PORT=tcp://10.0.0.1:80", "SWITCHBOARD_PORT_80_TCP=tcp://10.0.0.1:80", "SWITCHBOARD_PORT_80_TCP_ADDR=10.0.0.1",
	}})
}

func TestOfManyUnknownKeysTheFirstAreCompared(t *testing.T) {
	var text strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&text, "listen%d: 1\n", i)
	}
	problems := problems(t, Sources{File: write(t, text.String())})
	if n := strings.Count(strings.Join(problems, "\n"), "did you mean"); len(problems) < 20_000 || n == 0 || n > mostSuggested {
		t.Errorf("of %d problems %d suggest something", len(problems), n)
	}
}

func TestARepositoryOfFarTooManyValuesIsNotRead(t *testing.T) {
	text := `{"a":[` + strings.Repeat("1,", mostValues) + `1]}`
	if p := CheckRepository(Repository{Settings: []byte(text)}); len(p) != 1 || !strings.Contains(p[0].Text, "more than 150000 values") {
		t.Errorf("got %.300s", p.Error())
	}
}

func TestNearMissesAreSuggestedAndFarOnesNot(t *testing.T) {
	known := []string{"listen", "admin", "limits", "log"}
	for name, want := range map[string]string{
		"Listen": "listen", "lisetn": "listen", "limit": "limits", "logs": "log", "foo": "", "x": "", "": "", "adminAddress": "admin", "data": "",
	} {
		if want != "" {
			want = ": did you mean " + want + "?"
		}
		if got := DidYouMean(name, known); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
