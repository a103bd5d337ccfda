package accounts_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
)

// signer is a key with which tokens can be made that the room would not make.
type signer struct {
	id  string
	key ed25519.PrivateKey
}

func (w *world) signer() signer {
	w.t.Helper()
	list, err := w.store.Keys(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, k := range list {
		if k.Purpose == accounts.PurposeAccess {
			return signer{k.ID, ed25519.NewKeyFromSeed(k.Secret)}
		}
	}
	w.t.Fatal("there is no key")
	return signer{}
}

// claimsOf reads a token.
func claimsOf(t *testing.T, token string) jwt.MapClaims {
	t.Helper()
	c := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOnlyOurOwnTokensOfTheTimeAreTaken(t *testing.T) {
	w := onFile(t)
	w.signUp("ada")
	w.signUp("grace")
	tokens := w.signIn("ada")
	ours := w.signer()
	_, strange, _ := ed25519.GenerateKey(rand.Reader)
	made := func(method jwt.SigningMethod, key any, header, claims map[string]any) string {
		t.Helper()
		c := claimsOf(t, tokens.Access)
		maps.Copy(c, claims)
		maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
		x := jwt.NewWithClaims(method, c)
		x.Header["kid"] = ours.id
		maps.Copy(x.Header, header)
		text, err := x.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	with := func(claims map[string]any) string { return made(jwt.SigningMethodEdDSA, ours.key, nil, claims) }
	at := func(d time.Duration) int64 { return w.now.Add(d).Unix() }
	if _, err := w.room.Verify(t.Context(), with(nil)); err != nil {
		t.Fatalf("one that says the same: %v", err)
	}
	parts := strings.Split(tokens.Access, ".")
	public := []byte(ours.key.Public().(ed25519.PublicKey))
	for what, c := range map[string]struct{ token, code string }{
		"nothing":                   {"", accounts.CodeBadToken},
		"a word":                    {"letmein", accounts.CodeBadToken},
		"a refresh token":           {tokens.Refresh, accounts.CodeBadToken},
		"alg none":                  {made(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, nil), accounts.CodeBadToken},
		"no signature":              {parts[0] + "." + parts[1] + ".", accounts.CodeBadToken},
		"HS256 with the public key": {made(jwt.SigningMethodHS256, public, nil, nil), accounts.CodeBadToken},
		"another key":               {made(jwt.SigningMethodEdDSA, strange, nil, nil), accounts.CodeBadToken},
		"an unknown key":            {made(jwt.SigningMethodEdDSA, strange, map[string]any{"kid": "other"}, nil), accounts.CodeBadToken},
		"no key":                    {made(jwt.SigningMethodEdDSA, ours.key, map[string]any{"kid": nil}, nil), accounts.CodeBadToken},
		"extensions":                {made(jwt.SigningMethodEdDSA, ours.key, map[string]any{"crit": []string{"x"}}, nil), accounts.CodeBadToken},
		"another signature":         {parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)), accounts.CodeBadToken},
		"another audience":          {with(map[string]any{"aud": []string{"shop"}}), accounts.CodeBadToken},
		"two audiences":             {with(map[string]any{"aud": []string{"chat-id", "shop"}}), accounts.CodeBadToken},
		"no audience":               {with(map[string]any{"aud": nil}), accounts.CodeBadToken},
		"another issuer":            {with(map[string]any{"iss": "domain-02"}), accounts.CodeBadToken},
		"another app's user":        {with(map[string]any{"sub": "ANZ-1"}), accounts.CodeBadToken},
		"nobody's":                  {with(map[string]any{"sub": ""}), accounts.CodeBadToken},
		"no session":                {with(map[string]any{"sid": nil}), accounts.CodeBadToken},
		"no end":                    {with(map[string]any{"exp": nil}), accounts.CodeBadToken},
		"no beginning":              {with(map[string]any{"nbf": nil}), accounts.CodeBadToken},
		"expired":                   {with(map[string]any{"exp": at(0)}), accounts.CodeTokenExpired},
		"not yet valid":             {with(map[string]any{"nbf": at(31 * time.Second)}), accounts.CodeTokenExpired},
		"an old version":            {with(map[string]any{"ver": 0}), accounts.CodeTokenExpired},
		"a version to come":         {with(map[string]any{"ver": 2}), accounts.CodeTokenExpired},
		"somebody else's session":   {with(map[string]any{"sub": "chat-2"}), accounts.CodeTokenExpired},
		"a session that never was":  {with(map[string]any{"sid": "01a2155c-d1f2-76e4-bf9a-4187b5d07f95"}), accounts.CodeTokenExpired},
		"too long":                  {with(map[string]any{"x": strings.Repeat("x", 5000)}), accounts.CodeBadToken},
		"line breaks":               {parts[0] + "." + parts[1] + "\n." + parts[2], accounts.CodeBadToken},
	} {
		_, err := w.room.Verify(t.Context(), c.token)
		wantCode(t, what, err, c.code)
	}
	if _, err := w.room.Verify(t.Context(), with(map[string]any{"nbf": at(30 * time.Second)})); err != nil {
		t.Errorf("clocks that differ by half a minute: %v", err)
	}
	if !w.good(tokens) {
		t.Error("the token itself")
	}
	w.pass(15 * time.Minute)
	if w.good(tokens) {
		t.Error("the token is good after its end")
	}
}

func TestTokensOutliveTheProcessAndHoldOnAllNodes(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.signUp("ada")
		tokens := w.signIn("ada")
		other := w.another(accounts.Options{
			Store: w.store, App: "chat", AppID: "chat-id", Lifetimes: w.options.Lifetimes, Limits: w.options.Limits, Now: w.time, Cost: w.options.Cost,
		})
		if h, err := other.Verify(t.Context(), tokens.Access); err != nil || h.User != "chat-1" || h.Session != tokens.Session {
			t.Errorf("got %+v, %v", h, err)
		}
		next, err := other.Refresh(t.Context(), tokens.Refresh)
		if err != nil || !w.good(next) {
			t.Errorf("got %+v, %v", next, err)
		}
	})
}

func TestARefreshTokenIsGoodOnceAndItsReuseEndsTheFamily(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.signUp("ada")
		first, bystander := w.signIn("ada"), w.signIn("ada")
		closed := make(chan struct{})
		if _, err := w.room.Hold(t.Context(), w.holder(first), func() { close(closed) }); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		second, err := w.room.Refresh(t.Context(), first.Refresh)
		if err != nil || second.Session != first.Session || second.User != first.User || second.Refresh == first.Refresh {
			t.Fatalf("got %+v, %v", second, err)
		}
		if want := w.now.Add(720 * time.Hour); !second.RefreshExpires.Equal(want) {
			t.Errorf("good until %v, want %v", second.RefreshExpires, want)
		}
		third, err := w.room.Refresh(t.Context(), second.Refresh)
		if err != nil || !w.good(third) || !w.good(first) {
			t.Fatalf("got %+v, %v", third, err)
		}
		_, err = w.room.Refresh(t.Context(), second.Refresh)
		wantCode(t, "used twice", err, accounts.CodeTokenReused)
		<-closed
		if w.good(first) || w.good(third) {
			t.Error("an access token of the family is still good")
		}
		_, err = w.room.Refresh(t.Context(), third.Refresh)
		wantCode(t, "the newest", err, accounts.CodeTokenExpired)
		if _, err := w.room.Refresh(t.Context(), bystander.Refresh); err != nil {
			t.Errorf("another session of the account: %v", err)
		}
	})
}

func TestOfManyWhoUseARefreshTokenAtOnceAtMostOneGetsNewTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.signUp("ada")
		tokens := w.signIn("ada")
		const many = 8
		got := make(chan error, many)
		for range many {
			go func() {
				_, err := w.room.Refresh(context.WithoutCancel(t.Context()), tokens.Refresh)
				got <- err
			}()
		}
		ok := 0
		for range many {
			if <-got == nil {
				ok++
			}
		}
		if ok != 1 || w.good(tokens) {
			t.Errorf("%d got some, and the session stands: %v", ok, w.good(tokens))
		}
	})
}

func TestARefreshTokenThatIsNotOursChangesNothing(t *testing.T) {
	w := onFile(t)
	w.signUp("ada")
	tokens := w.signIn("ada")
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(tokens.Refresh, "sbr_"))
	if err != nil {
		t.Fatal(err)
	}
	forge := func(change func(b []byte)) string {
		b := append([]byte(nil), raw...)
		change(b)
		return "sbr_" + base64.RawURLEncoding.EncodeToString(b)
	}
	for what, token := range map[string]string{
		"nothing":         "",
		"a word":          "letmein",
		"an access token": tokens.Access,
		"no prefix":       strings.TrimPrefix(tokens.Refresh, "sbr_"),
		"cut off":         tokens.Refresh[:40],
		"longer":          tokens.Refresh + "AAAA",
		"a turn before":   forge(func(b []byte) { b[23]-- }),
		"a turn later":    forge(func(b []byte) { b[23]++ }),
		"another session": forge(func(b []byte) { b[3] ^= 1 }),
		"another seal":    forge(func(b []byte) { b[50] ^= 1 }),
		"line break":      tokens.Refresh[:10] + "\n" + tokens.Refresh[10:],
	} {
		_, err := w.room.Refresh(t.Context(), token)
		wantCode(t, what, err, accounts.CodeBadToken)
	}
	if next, err := w.room.Refresh(t.Context(), tokens.Refresh); err != nil || !w.good(next) {
		t.Errorf("the real one: %v", err)
	}
}

func TestARefreshTokenThatNobodyUsesExpires(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.signUp("ada")
		tokens := w.signIn("ada")
		w.pass(720 * time.Hour)
		_, err := w.room.Refresh(t.Context(), tokens.Refresh)
		wantCode(t, "expired", err, accounts.CodeTokenExpired)
		more, err := w.store.Tidy(t.Context(), w.now)
		if more || err != nil {
			t.Errorf("got %v, %v", more, err)
		}
		_, err = w.room.Refresh(t.Context(), tokens.Refresh)
		wantCode(t, "removed", err, accounts.CodeTokenExpired)
	})
}
