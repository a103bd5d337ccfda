package nodetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Sign-in with tokens that the server verifies itself, through the real binary.

// tryToken signs in with a token.
func tryToken(t *testing.T, s *Server, user, token, code string) *Peer {
	t.Helper()
	p := Dial(t, s)
	p.Send(tokenFrame(user, token))
	wantReply(t, p, code)
	return p
}

func TestTokensOfEachAlgorithmSignIn(t *testing.T) {
	t.Parallel()
	algorithms := []string{"HS256", "RS256", "ES256", "EdDSA"}
	keys := make([]*issuer, len(algorithms))
	var entries []string
	for i, alg := range algorithms {
		keys[i] = newKey(alg)
		entries = append(entries, keys[i].entry(alg))
	}
	s := startWith(t, "apps: ["+strings.Join(entries, ",\n")+"]\nlog: {level: debug}\n")
	now := time.Now()
	for i, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			k, user := keys[i], alg+"-7"
			p := tryToken(t, s, user, k.good(user), "")
			p.Message(user, "to myself", "")
			p.Expect("MESSAGE")

			bad := func(code, token string) {
				t.Helper()
				tryToken(t, s, user, token, code)
			}
			bad("BAD_TOKEN", "")
			bad("BAD_TOKEN", k.good(alg+"-8"))
			bad("BAD_TOKEN", k.good(user)+"x")
			bad("BAD_TOKEN", k.token(map[string]any{"sub": user}))
			bad("BAD_TOKEN", k.token(map[string]any{"exp": now.Add(time.Hour).Unix()}))
			bad("TOKEN_EXPIRED", k.token(map[string]any{"sub": user, "exp": now.Add(-time.Second).Unix()}))
			bad("TOKEN_EXPIRED", k.token(map[string]any{"sub": user, "exp": now.Add(2 * time.Hour).Unix(), "nbf": now.Add(time.Hour).Unix()}))
			bad("BAD_TOKEN", signToken(jwt.SigningMethodNone, "", jwt.UnsafeAllowNoneSignatureType,
				map[string]any{"sub": user, "exp": now.Add(time.Hour).Unix()}))
			for _, other := range algorithms {
				if other == "HS256" && alg == "HS256" {
					continue // it would be the same key
				}
				bad("BAD_TOKEN", newKey(other).good(user))
			}
			if k.public != nil {
				// The public key, which everybody knows, taken for a secret.
				bad("BAD_TOKEN", signToken(jwt.SigningMethodHS256, "", []byte(k.pem()),
					map[string]any{"sub": user, "exp": now.Add(time.Hour).Unix()}))
			}
		})
	}
	// All tokens of an algorithm begin alike, and that beginning is long.
	out := s.Output()
	for _, k := range keys {
		if header, _, _ := strings.Cut(k.good("x"), "."); strings.Contains(out, header) || strings.Contains(out, secretKey) {
			t.Errorf("the log holds a token or a secret:\n%s", out)
		}
	}
	if !strings.Contains(out, "level=DEBUG") {
		t.Error("the log has no debug lines: it says nothing about what it may hold")
	}
}

func TestIssuerAndAudienceAreChecked(t *testing.T) {
	t.Parallel()
	k := newKey("ES256")
	settings := strings.Replace(k.app("JWT"), "jwt: {", "jwt: {issuer: https://id.example.org, audience: switchboard, ", 1)
	s := startWith(t, settings)
	claims := func(iss, aud any) map[string]any {
		return map[string]any{"sub": "JWT-1", "exp": time.Now().Add(time.Hour).Unix(), "iss": iss, "aud": aud}
	}
	tryToken(t, s, "JWT-1", k.token(claims("https://id.example.org", "switchboard")), "")
	tryToken(t, s, "JWT-1", k.token(claims("https://id.example.org", []string{"other", "switchboard"})), "")
	tryToken(t, s, "JWT-1", k.token(claims("https://evil.example", "switchboard")), "BAD_TOKEN")
	tryToken(t, s, "JWT-1", k.token(claims("https://id.example.org", "other")), "BAD_TOKEN")
	tryToken(t, s, "JWT-1", k.good("JWT-1"), "BAD_TOKEN")
}

// A new key is used as soon as it is published; an old one is refused when it is
// gone from the set.
func TestKeysOfASetAreRotated(t *testing.T) {
	Alone(t, ReasonShare)
	t.Parallel()
	old, next, symmetric := newKey("RS256"), newKey("ES256"), newKey("EdDSA")
	old.kid, next.kid, symmetric.kid = "one", "two", "three"
	keys := newKeyServer(t, old)
	s := startWith(t, fmt.Sprintf("apps: [{appName: JWT, appId: jwt-id, authEnabled: true, jwt: {jwksUrl: %q}}]\nlimits: {signInDeadline: 5m}\n", keys.url))
	first := tryToken(t, s, "JWT-1", old.good("JWT-1"), "")
	tryToken(t, s, "JWT-2", next.good("JWT-2"), "BAD_TOKEN")

	keys.serve(old, next)
	tryToken(t, s, "JWT-2", next.good("JWT-2"), "") // waits for the set to be fetched anew
	tryToken(t, s, "JWT-1", old.good("JWT-1"), "")

	keys.serve(next, symmetric)
	tryToken(t, s, "JWT-3", symmetric.good("JWT-3"), "")
	tryToken(t, s, "JWT-1", old.good("JWT-1"), "BAD_TOKEN")
	tryToken(t, s, "JWT-2", next.good("JWT-2"), "")
	first.Barrier() // who is in stays
}

// A session ends with its token, unless it was renewed on the socket.
func TestATokenEndsItsSessionUnlessItIsRenewed(t *testing.T) {
	t.Parallel()
	k := newKey("EdDSA")
	s := startWith(t, k.app("JWT"))
	end := soon()
	short := func(user string) string { return k.token(map[string]any{"sub": user, "exp": end.Unix()}) }
	ended := tryToken(t, s, "JWT-1", short("JWT-1"), "")
	renewed := tryToken(t, s, "JWT-2", short("JWT-2"), "")
	refused := tryToken(t, s, "JWT-3", short("JWT-3"), "")
	shortened := tryToken(t, s, "JWT-4", k.good("JWT-4"), "")
	stranger := tryToken(t, s, "JWT-5", short("JWT-5"), "")

	renewed.Send(tokenFrame("JWT-2", k.good("JWT-2")))
	wantReply(t, renewed, "")
	shortened.Send(tokenFrame("JWT-4", short("JWT-4")))
	wantReply(t, shortened, "")
	stranger.Send(tokenFrame("JWT-6", k.good("JWT-6")))
	if f := stranger.Expect("GENERAL_ERROR"); f.Field("code") != "ALREADY_SIGNED_IN" {
		t.Errorf("got %s", f.Raw)
	}
	refused.Send(tokenFrame("JWT-3", "rubbish"))
	wantReply(t, refused, "BAD_TOKEN")

	for name, p := range map[string]*Peer{"not renewed": ended, "renewed with a shorter token": shortened, "renewed as somebody else": stranger} {
		if code := p.CloseCode(); code != 4005 {
			t.Errorf("%s: close code %d, want 4005", name, code)
		}
		if now := time.Now(); now.Before(end.Truncate(time.Second)) {
			t.Errorf("%s: closed %v before its token's end", name, end.Sub(now))
		}
	}
	renewed.Message("JWT-2", "still here", `"reference":"r"`)
	renewed.Expect("MESSAGE")
	wantConfirmation(t, renewed, "r")
}
