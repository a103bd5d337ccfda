package apps_test

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
)

// trusted is an app's settings and whoever signs for it.
type trusted struct {
	settings apps.JWT
	signer   *signer
}

// allFour returns one of each algorithm.
func allFour(t *testing.T) map[string]trusted {
	all := map[string]trusted{"HS256": {apps.JWT{Secret: secret}, newHS256(secret)}}
	for _, s := range []*signer{newRS256(t), newES256(t), newEdDSA(t)} {
		all[s.alg] = trusted{apps.JWT{PublicKey: s.pem()}, s}
	}
	return all
}

// strangers returns others who sign with the same algorithms.
func strangers(t *testing.T) map[string]*signer {
	return map[string]*signer{
		"HS256": newHS256("another secret of 32 bytes or more"),
		"RS256": newRS256(t), "ES256": newES256(t), "EdDSA": newEdDSA(t),
	}
}

// fresh is a token's claims for ann, good for an hour.
func fresh(c *clock, more ...any) claims {
	all := claims{"sub": string(ann), "exp": c.Now().Add(time.Hour).Unix()}
	for i := 0; i < len(more); i += 2 {
		all[more[i].(string)] = more[i+1]
	}
	return all
}

func TestGoodTokensOfAllAlgorithmsSignInUntilTheyExpire(t *testing.T) {
	c := newClock()
	for alg, k := range allFour(t) {
		r := start(t, apps.Options{Apps: []apps.App{signed(k.settings)}, Now: c.Now})
		for name, s := range map[string]*signer{"without kid": k.signer, "with kid": k.signer.named("any")} {
			g, err := r.Authenticate(t.Context(), auth(ann, s.token(t, fresh(c))))
			want := apps.Grant{User: ann, TellMaster: "ANZ-123223", Expires: c.Now().Add(time.Hour).Local()}
			if err != nil || g != want {
				t.Errorf("%s %s: got %+v, %v; want %+v", alg, name, g, err, want)
			}
		}
	}
}

func TestTokensOfOthersAreRefused(t *testing.T) {
	c := newClock()
	others := strangers(t)
	all := allFour(t)
	for alg, k := range all {
		r := start(t, apps.Options{Apps: []apps.App{signed(k.settings)}, Now: c.Now})
		bad := func(name, token string) {
			t.Helper()
			if got := signIn(t, r, auth(ann, token)); got != "BAD_TOKEN" {
				t.Errorf("%s, %s: got %s", alg, name, got)
			}
		}
		for other, s := range others {
			bad("signed by another with "+other, s.token(t, fresh(c)))
			if all[other].signer != k.signer {
				bad("signed by another app with "+other, all[other].signer.token(t, fresh(c)))
			}
		}
		// The key is ours, but the header says something else.
		for _, claimed := range []string{"none", "None", "HS256", "HS384", "RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA", "", "x"} {
			if claimed != alg {
				bad("claiming to be "+claimed, k.signer.sign(t, claims{"alg": claimed}, fresh(c)))
			}
		}
		// The public key, which everybody has, taken for a secret.
		if k.signer.priv != nil {
			for _, text := range []string{k.settings.PublicKey, strings.TrimSpace(k.settings.PublicKey)} {
				bad("the public key as a secret", newHS256(text).token(t, fresh(c)))
			}
		}
	}
}

func TestUnsignedAndTamperedTokensAreRefused(t *testing.T) {
	c := newClock()
	for alg, k := range allFour(t) {
		r := start(t, apps.Options{Apps: []apps.App{signed(k.settings)}, Now: c.Now})
		good := k.signer.token(t, fresh(c))
		part := strings.Split(good, ".")
		none := b64(asJSON(t, claims{"alg": "none"}))
		other := b64(asJSON(t, fresh(c, "sub", "ANZ-2")))
		sig, _ := base64.RawURLEncoding.DecodeString(part[2])
		sig[0] ^= 1
		for name, token := range map[string]string{
			"empty":               "",
			"garbage":             "token-12345",
			"dots":                "..",
			"more dots":           good + "." + part[2],
			"none":                none + "." + part[1] + ".",
			"none with signature": none + "." + part[1] + "." + part[2],
			"no signature":        part[0] + "." + part[1] + ".",
			"no signature at all": part[0] + "." + part[1],
			"other claims":        part[0] + "." + other + "." + part[2],
			"one bit":             part[0] + "." + part[1] + "." + b64(sig),
			"half a signature":    part[0] + "." + part[1] + "." + b64(sig[:len(sig)/2]),
			"loose bits":          good[:len(good)-1] + string(good[len(good)-1]+1),
			"padded":              good + "==",
			"blank in front":      " " + good,
			"line at the end":     good + "\n",
			"not base64":          part[0] + ".!." + part[2],
			"huge":                good + strings.Repeat("A", apps.MaxToken),
			"huge and signed":     k.signer.token(t, fresh(c, "x", strings.Repeat("A", apps.MaxToken))),
			"header not JSON":     k.signer.sign(t, "{", fresh(c)),
			"header null":         k.signer.sign(t, "null", fresh(c)),
			"header a list":       k.signer.sign(t, "[]", fresh(c)),
			"alg a number":        k.signer.sign(t, claims{"alg": 1}, fresh(c)),
			"alg absent":          k.signer.sign(t, claims{"typ": "JWT"}, fresh(c)),
			"kid a number":        k.signer.sign(t, claims{"alg": alg, "kid": 1}, fresh(c)),
			"kid empty":           k.signer.sign(t, claims{"alg": alg, "kid": ""}, fresh(c)),
			"kid long":            k.signer.named(strings.Repeat("k", 257)).token(t, fresh(c)),
			"unknown extension":   k.signer.sign(t, claims{"alg": alg, "crit": []string{"x"}, "x": 1}, fresh(c)),
			"claims not JSON":     k.signer.sign(t, claims{"alg": alg}, "{"),
			"claims null":         k.signer.sign(t, claims{"alg": alg}, "null"),
			"claims a list":       k.signer.sign(t, claims{"alg": alg}, "[]"),
			"claims nested":       k.signer.sign(t, claims{"alg": alg}, strings.Repeat("[", 11_000)),
		} {
			if got := signIn(t, r, auth(ann, token)); got != "BAD_TOKEN" {
				t.Errorf("%s, %s: got %s", alg, name, got)
			}
		}
	}
}

func TestClaimsDecide(t *testing.T) {
	c := newClock()
	now := c.Now().Unix()
	s := newEdDSA(t)
	bare := apps.JWT{PublicKey: s.pem()}
	strict := apps.JWT{PublicKey: s.pem(), Issuer: "https://id.example.org", Audience: "switchboard"}
	for name, x := range map[string]struct {
		settings apps.JWT
		claims   claims
		want     string
	}{
		"expired":                     {bare, fresh(c, "exp", now-1), "TOKEN_EXPIRED"},
		"expires now":                 {bare, fresh(c, "exp", now), "TOKEN_EXPIRED"},
		"expires in a moment":         {bare, fresh(c, "exp", float64(now)+0.5), "OK"},
		"expired long ago":            {bare, fresh(c, "exp", 0), "TOKEN_EXPIRED"},
		"no exp":                      {bare, claims{"sub": string(ann)}, "BAD_TOKEN"},
		"exp null":                    {bare, fresh(c, "exp", nil), "BAD_TOKEN"},
		"exp as text":                 {bare, fresh(c, "exp", "4000000000"), "BAD_TOKEN"},
		"exp negative":                {bare, fresh(c, "exp", -1), "BAD_TOKEN"},
		"exp beyond all years":        {bare, fresh(c, "exp", 1e300), "BAD_TOKEN"},
		"exp in milliseconds":         {bare, fresh(c, "exp", now*1000), "BAD_TOKEN"},
		"exp of another spelling":     {bare, claims{"sub": string(ann), "Exp": now + 10}, "BAD_TOKEN"},
		"expired, and another's":      {bare, fresh(c, "exp", now-1, "sub", "ANZ-2"), "BAD_TOKEN"},
		"not yet valid":               {bare, fresh(c, "nbf", now+6), "TOKEN_EXPIRED"},
		"not yet, but clocks differ":  {bare, fresh(c, "nbf", now+5), "OK"},
		"valid since long":            {bare, fresh(c, "nbf", 0), "OK"},
		"nbf as text":                 {bare, fresh(c, "nbf", "0"), "BAD_TOKEN"},
		"nbf null":                    {bare, fresh(c, "nbf", nil), "BAD_TOKEN"},
		"another user":                {bare, fresh(c, "sub", "ANZ-2"), "BAD_TOKEN"},
		"another app's user":          {bare, fresh(c, "sub", "other-1"), "BAD_TOKEN"},
		"no sub":                      {bare, claims{"exp": now + 10}, "BAD_TOKEN"},
		"sub of another case":         {bare, fresh(c, "sub", "anz-1"), "BAD_TOKEN"},
		"sub with blank":              {bare, fresh(c, "sub", "ANZ-1 "), "BAD_TOKEN"},
		"sub a number":                {bare, fresh(c, "sub", 1), "BAD_TOKEN"},
		"sub, and Sub of another":     {bare, fresh(c, "sub", "ANZ-2", "Sub", string(ann)), "BAD_TOKEN"},
		"issuer and audience unasked": {bare, fresh(c, "iss", "x", "aud", "y"), "OK"},
		"issuer and audience":         {strict, fresh(c, "iss", strict.Issuer, "aud", "switchboard"), "OK"},
		"one of many audiences":       {strict, fresh(c, "iss", strict.Issuer, "aud", []any{"x", 1, "switchboard"}), "OK"},
		"no issuer":                   {strict, fresh(c, "aud", "switchboard"), "BAD_TOKEN"},
		"another issuer":              {strict, fresh(c, "iss", strict.Issuer+"/", "aud", "switchboard"), "BAD_TOKEN"},
		"no audience":                 {strict, fresh(c, "iss", strict.Issuer), "BAD_TOKEN"},
		"another audience":            {strict, fresh(c, "iss", strict.Issuer, "aud", "switchboards"), "BAD_TOKEN"},
		"other audiences":             {strict, fresh(c, "iss", strict.Issuer, "aud", []string{"a", "b"}), "BAD_TOKEN"},
		"audience a number":           {strict, fresh(c, "iss", strict.Issuer, "aud", 1), "BAD_TOKEN"},
	} {
		r := start(t, apps.Options{Apps: []apps.App{signed(x.settings)}, Now: c.Now})
		if got := signIn(t, r, auth(ann, s.token(t, x.claims))); got != x.want {
			t.Errorf("%s: got %s, want %s", name, got, x.want)
		}
	}
}

func TestFarthestExpiryIsATimeThatCanBeWritten(t *testing.T) {
	c := newClock()
	s := newHS256(secret)
	r := start(t, apps.Options{Apps: []apps.App{signed(apps.JWT{Secret: secret})}, Now: c.Now})
	g, err := r.Authenticate(t.Context(), auth(ann, s.token(t, fresh(c, "exp", math.Nextafter(253402300800, 0)))))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(g.Expires.UTC()); err != nil || g.Expires.UTC().Year() != 9999 {
		t.Errorf("expires %v: %v", g.Expires, err)
	}
}

func TestJWTGoesBeforeTheHook(t *testing.T) {
	c := newClock()
	a := signed(apps.JWT{Secret: secret})
	a.AuthURL = "http://127.0.0.1:1/" // nobody is there
	r := start(t, apps.Options{Apps: []apps.App{a}, Now: c.Now})
	if got := signIn(t, r, auth(ann, newHS256(secret).token(t, fresh(c)))); got != "OK" {
		t.Errorf("got %s", got)
	}
}

func TestRefusalsOfTokensDoNotRepeatThem(t *testing.T) {
	c := newClock()
	r := start(t, apps.Options{Apps: []apps.App{signed(apps.JWT{Secret: secret})}, Now: c.Now})
	for _, token := range []string{
		"hush", "hush.hush.hush", newHS256(secret+"x").sign(t, claims{"alg": "hush"}, fresh(c)),
		newHS256(secret).sign(t, claims{"alg": "HS256", "kid": "hush", "crit": "hush"}, fresh(c)),
		newHS256(secret).token(t, fresh(c, "sub", "hush")),
	} {
		_, err := r.Authenticate(t.Context(), auth(ann, token))
		wantCode(t, err, "BAD_TOKEN")
		if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), secret) {
			t.Errorf("the error repeats it: %v", err)
		}
	}
}
