package apps_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
)

const secret = "a secret of at least 32 bytes, for tests"

func TestCheckAcceptsWhatIsRight(t *testing.T) {
	for name, list := range map[string][]apps.App{
		"none":                          nil,
		"nobody asked":                  {open()},
		"no master":                     {{Name: "a", ID: "1"}},
		"hook":                          {hooked("https://auth.example.org/auth?x=1")},
		"hook that is not asked":        {{Name: "a", ID: "1", AuthURL: "http://localhost:4200/auth"}},
		"secret":                        {signed(apps.JWT{Secret: secret})},
		"key":                           {signed(apps.JWT{PublicKey: newES256(t).pem()})},
		"key of the older form":         {signed(apps.JWT{PublicKey: newRS256(t).pkcs1()})},
		"key set":                       {signed(apps.JWT{JWKSURL: "https://auth.example.org/keys", Issuer: "i", Audience: "a"})},
		"jwt goes before the hook":      {func() apps.App { a := hooked("http://h/"); a.JWT = &apps.JWT{Secret: secret}; return a }()},
		"reaches another and itself":    {{Name: "a", ID: "1", AllowApps: []string{"b", "a"}}, {Name: "b", ID: "2"}},
		"longest name":                  {{Name: strings.Repeat("n", 64), ID: "1"}},
		"names that differ by case":     {{Name: "a", ID: "1"}, {Name: "A", ID: "2"}},
		"an ID may have any characters": {{Name: "a", ID: "Ä \"<>"}},
	} {
		if err := apps.Check(list); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// badApps are lists with one thing wrong, and which app and field that is.
func badApps(t *testing.T) map[string]struct {
	list    []apps.App
	app     string
	field   string
	problem string
} {
	other := apps.App{Name: "other", ID: "other-id"}
	with := func(change func(*apps.App)) []apps.App {
		a := open()
		change(&a)
		return []apps.App{other, a}
	}
	withJWT := func(j apps.JWT) []apps.App { return []apps.App{other, signed(j)} }
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := newES256(t).pem()
	return map[string]struct {
		list    []apps.App
		app     string
		field   string
		problem string
	}{
		"no name":            {with(func(a *apps.App) { a.Name = ""; a.Master = "" }), "", "appName", "letters"},
		"name with dash":     {with(func(a *apps.App) { a.Name = "A-Z"; a.Master = "" }), "A-Z", "appName", "letters"},
		"name too long":      {with(func(a *apps.App) { a.Name = strings.Repeat("n", 65); a.Master = "" }), strings.Repeat("n", 65), "appName", "letters"},
		"name twice":         {with(func(a *apps.App) { a.Name = "other"; a.Master = "" }), "other", "appName", "two apps"},
		"no ID":              {with(func(a *apps.App) { a.ID = "" }), "ANZ", "appId", "missing"},
		"ID too long":        {with(func(a *apps.App) { a.ID = strings.Repeat("x", 257) }), "ANZ", "appId", "longer"},
		"ID not text":        {with(func(a *apps.App) { a.ID = "a\x00" }), "ANZ", "appId", "not text"},
		"ID twice":           {with(func(a *apps.App) { a.ID = "other-id" }), "ANZ", "appId", `app "other"`},
		"master not a user":  {with(func(a *apps.App) { a.Master = "ANZ" }), "ANZ", "masterUserId", "exactly one '-'"},
		"master of another":  {with(func(a *apps.App) { a.Master = "other-1" }), "ANZ", "masterUserId", "another app"},
		"nobody to ask":      {with(func(a *apps.App) { a.AuthEnabled = true }), "ANZ", "authEnabled", "neither"},
		"jwt not asked":      {with(func(a *apps.App) { a.JWT = &apps.JWT{Secret: secret} }), "ANZ", "authEnabled", "is false"},
		"URL without scheme": {with(func(a *apps.App) { a.AuthURL = "localhost:4200/auth" }), "ANZ", "authUrl", "http://"},
		"URL of a file":      {with(func(a *apps.App) { a.AuthURL = "file:///etc/passwd" }), "ANZ", "authUrl", "http://"},
		"URL without host":   {with(func(a *apps.App) { a.AuthURL = "http:///auth" }), "ANZ", "authUrl", "no host"},
		"URL with fragment":  {with(func(a *apps.App) { a.AuthURL = "http://h/#x" }), "ANZ", "authUrl", "fragment"},
		"not a URL":          {with(func(a *apps.App) { a.AuthURL = "http://user:hush@h/%zz" }), "ANZ", "authUrl", "not a URL"},
		"reaches nobody":     {with(func(a *apps.App) { a.AllowApps = []string{"other", "nope"} }), "ANZ", "allowApps", `"nope"`},
		"no key":             {withJWT(apps.JWT{Issuer: "i"}), "ANZ", "jwt", "exactly one"},
		"secret and key":     {withJWT(apps.JWT{Secret: secret, PublicKey: good}), "ANZ", "jwt", "exactly one"},
		"secret and set":     {withJWT(apps.JWT{Secret: secret, JWKSURL: "https://h/"}), "ANZ", "jwt", "exactly one"},
		"key and set":        {withJWT(apps.JWT{PublicKey: good, JWKSURL: "https://h/"}), "ANZ", "jwt", "exactly one"},
		"short secret":       {withJWT(apps.JWT{Secret: secret[:31]}), "ANZ", "jwt.secret", "32 bytes"},
		"key not PEM":        {withJWT(apps.JWT{PublicKey: "hush"}), "ANZ", "jwt.publicKey", "not PEM"},
		"key private":        {withJWT(apps.JWT{PublicKey: newES256(t).private()}), "ANZ", "jwt.publicKey", "private key"},
		"key and more":       {withJWT(apps.JWT{PublicKey: good + good}), "ANZ", "jwt.publicKey", "after the first"},
		"PEM of something":   {withJWT(apps.JWT{PublicKey: strings.ReplaceAll(good, "PUBLIC KEY", "DH PARAMETERS")}), "ANZ", "jwt.publicKey", "another type"},
		"PEM of garbage":     {withJWT(apps.JWT{PublicKey: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}), "ANZ", "jwt.publicKey", "can be read"},
		"RSA key too small":  {withJWT(apps.JWT{PublicKey: pkix(t, &small.PublicKey)}), "ANZ", "jwt.publicKey", "2048"},
		"another curve":      {withJWT(apps.JWT{PublicKey: pkix(t, &p384.PublicKey)}), "ANZ", "jwt.publicKey", "P-256"},
		"set's URL":          {withJWT(apps.JWT{JWKSURL: "ftp://h/"}), "ANZ", "jwt.jwksUrl", "http://"},
	}
}

func TestEveryMistakeNamesTheAppAndTheField(t *testing.T) {
	for name, c := range badApps(t) {
		err := apps.Check(c.list)
		var found apps.FieldErrors
		if !errors.As(err, &found) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		if len(found) != 1 {
			t.Errorf("%s: got %d mistakes: %v", name, len(found), err)
		}
		f := found[0]
		if f.App != c.app || f.Field != c.field || f.Index != 1 || !strings.Contains(f.Problem, c.problem) {
			t.Errorf("%s: got app %q, index %d, field %q: %s", name, f.App, f.Index, f.Field, f.Problem)
		}
		if text := err.Error(); !strings.Contains(text, c.field+": ") || strings.Contains(text, "hush") || strings.Contains(text, secret[:31]) {
			t.Errorf("%s: the text is %q", name, text)
		}
	}
}

func TestAllMistakesAreFoundAtOnce(t *testing.T) {
	err := apps.Check([]apps.App{{Name: "a b", ID: ""}, {Name: "c", ID: "1", Master: "a-1", AllowApps: []string{"x"}, AuthEnabled: true}})
	var found apps.FieldErrors
	if !errors.As(err, &found) || len(found) != 5 {
		t.Fatalf("got %v", err)
	}
	if want := `app "a b": appName: `; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %q, want it to begin with %q", err, want)
	}
	if err := apps.Check([]apps.App{{ID: "1"}}); !strings.HasPrefix(err.Error(), "app number 1: appName: ") {
		t.Errorf("an app without a name is called: %v", err)
	}
}

func TestNewRefusesBadAppsAndLimits(t *testing.T) {
	if _, err := apps.New(apps.Options{Apps: []apps.App{{}}}); !errors.As(err, new(apps.FieldErrors)) {
		t.Errorf("got %v", err)
	}
	if _, err := apps.New(apps.Options{HookConcurrency: -1}); err == nil {
		t.Error("a limit below zero passed")
	}
}

func TestKeysArePrintedWithoutTheSecret(t *testing.T) {
	j := apps.JWT{Secret: secret, Issuer: "me"}
	var log logged
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "jwt", j)
	for _, text := range []string{fmt.Sprint(j), fmt.Sprint(&j), fmt.Sprintf("%+v %#v", j, j), log.String()} {
		if strings.Contains(text, secret) || !strings.Contains(text, "me") {
			t.Errorf("printed: %s", text)
		}
	}
}
