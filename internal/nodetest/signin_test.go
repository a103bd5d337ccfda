package nodetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// hook is an app's own server: it answers when the test says so.
type hook struct {
	t     *testing.T
	url   string
	calls chan *hookCall
}

// hookCall is one question to a hook.
type hookCall struct {
	t        *testing.T
	body     string
	question struct{ AppID, UserID, Token string }
	answer   chan hookAnswer
}

type hookAnswer struct {
	status int
	body   string
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{t: t, calls: make(chan *hookCall, 1000)}
	over := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		c := &hookCall{t: t, body: string(body), answer: make(chan hookAnswer, 1)}
		if err != nil || r.Method != http.MethodPost || json.Unmarshal(body, &c.question) != nil {
			t.Errorf("the hook was asked with %s %q, %v", r.Method, body, err)
		}
		h.calls <- c
		select {
		case a := <-c.answer:
			w.WriteHeader(a.status)
			_, _ = io.WriteString(w, a.body) // the server may have given up
		case <-r.Context().Done():
		case <-over:
		}
	}))
	t.Cleanup(web.Close)
	t.Cleanup(func() { close(over) })
	h.url = web.URL
	return h
}

// next is the next question.
func (h *hook) next() *hookCall {
	h.t.Helper()
	select {
	case c := <-h.calls:
		return c
	case <-time.After(Patience):
		h.t.Fatal("the hook was not asked")
		return nil
	}
}

// app is the setting of an app that asks this hook.
func (h *hook) app(name string) string {
	return fmt.Sprintf("apps: [{appName: %s, appId: %s, authEnabled: true, authUrl: %q}]\n", name, idOf(name), h.url)
}

// say answers.
func (c *hookCall) say(status int, body string) { c.answer <- hookAnswer{status, body} }

func (c *hookCall) verdict(in bool) string {
	return fmt.Sprintf(`{"appId":%q,"userId":%q,"isAuthenticated":%t}`, c.question.AppID, c.question.UserID, in)
}

func (c *hookCall) yes() { c.say(200, c.verdict(true)) }
func (c *hookCall) no()  { c.say(200, c.verdict(false)) }

// idOf is the appId of an app of these tests.
func idOf(app string) string { return strings.ToLower(app) + "-id" }

// tokenFrame is an AUTH_CLIENT with a token.
func tokenFrame(user, token string) string {
	app, _, _ := strings.Cut(user, "-")
	return fmt.Sprintf(`{"type":"AUTH_CLIENT","data":{"appId":%q,"userId":%q,"token":%q}}`, idOf(app), user, token)
}

// issuer signs tokens with one key.
type issuer struct {
	alg     string
	kid     string
	private any // what the library signs with
	public  any
}

const secretKey = "a secret of at least thirty-two bytes"

// newKey makes an issuer with a new key; HS256 has always the same.
func newKey(alg string) *issuer {
	k := &issuer{alg: alg}
	var err error
	switch alg {
	case "HS256":
		k.private = []byte(secretKey)
	case "RS256":
		k.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, k.private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		panic(err) // no randomness
	}
	if signer, ok := k.private.(crypto.Signer); ok {
		k.public = signer.Public()
	}
	return k
}

// token signs claims.
func (k *issuer) token(claims map[string]any) string {
	return signToken(jwt.GetSigningMethod(k.alg), k.kid, k.private, claims)
}

func signToken(method jwt.SigningMethod, kid string, key any, claims map[string]any) string {
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		panic(err) // the key is of the algorithm
	}
	return text
}

// good is a token for a user that is valid for an hour.
func (k *issuer) good(user string) string {
	return k.token(map[string]any{"sub": user, "exp": time.Now().Add(time.Hour).Unix()})
}

// soon is when a token expires whose end a test waits for.
func soon() time.Time { return time.Now().Add(5 * time.Second) }

// pem is the public key as settings have it.
func (k *issuer) pem() string {
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		panic(err) // it is a public key
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// app is the setting of an app that verifies this issuer's tokens.
func (k *issuer) app(name string) string { return "apps: [" + k.entry(name) + "]\n" }

func (k *issuer) entry(name string) string {
	keys := fmt.Sprintf("secret: %q", secretKey)
	if k.public != nil {
		keys = fmt.Sprintf("publicKey: %q", k.pem())
	}
	return fmt.Sprintf("{appName: %s, appId: %s, authEnabled: true, jwt: {%s}}", name, idOf(name), keys)
}

// keyServer serves a JWK set.
type keyServer struct {
	url string

	mu   sync.Mutex
	keys []*issuer // guarded by mu
}

func newKeyServer(t *testing.T, keys ...*issuer) *keyServer {
	t.Helper()
	s := &keyServer{keys: keys}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		if err := json.NewEncoder(w).Encode(map[string]any{"keys": s.set()}); err != nil {
			t.Errorf("write the key set: %v", err)
		}
	}))
	t.Cleanup(web.Close)
	s.url = web.URL
	return s
}

// serve replaces the keys.
func (s *keyServer) serve(keys ...*issuer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
}

func (s *keyServer) set() []jwkset.JWKMarshal {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]jwkset.JWKMarshal, len(s.keys))
	for i, k := range s.keys {
		one, err := jwkset.NewJWKFromKey(k.public, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: k.kid}})
		if err != nil {
			panic(err) // it is a public key
		}
		list[i] = one.Marshal()
	}
	return list
}
