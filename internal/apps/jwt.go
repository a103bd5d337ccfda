package apps

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Limits on tokens and keys.
const (
	MaxToken  = 16 << 10        // bytes of a JWT
	MinSecret = 32              // bytes of a secret for HS256
	MinRSA    = 2048            // bits of an RSA key
	NotBefore = 5 * time.Second // a token is good this long before its nbf, for clocks that differ
)

// maxKeyID is the longest kid of a token, in bytes.
const maxKeyID = 256

// The algorithms of tokens; each belongs to one kind of key.
const (
	algHS256 = "HS256"
	algRS256 = "RS256"
	algES256 = "ES256"
	algEdDSA = "EdDSA"
)

// JWT says how the tokens of an app are verified: by exactly one of Secret,
// PublicKey and JWKSURL. It prints without its secret.
type JWT struct {
	Secret    string // HS256: these bytes as they stand, at least MinSecret
	PublicKey string // PEM, "PUBLIC KEY" or "RSA PUBLIC KEY": RSA is RS256, P-256 is ES256, Ed25519 is EdDSA
	JWKSURL   string // http or https: a JWK set
	Issuer    string // what "iss" must be; empty: anything
	Audience  string // what "aud" must be or contain; empty: anything
}

// String says which kind of key it is.
func (j JWT) String() string {
	kind := "none"
	switch {
	case j.Secret != "":
		kind = "secret"
	case j.PublicKey != "":
		kind = "publicKey"
	case j.JWKSURL != "":
		kind = "jwksUrl"
	}
	return fmt.Sprintf("jwt{%s issuer:%q audience:%q}", kind, j.Issuer, j.Audience)
}

// GoString does what String does, for %#v.
func (j JWT) GoString() string { return j.String() }

// LogValue does what String does, for log/slog.
func (j JWT) LogValue() slog.Value { return slog.StringValue(j.String()) }

// problem returns the first field that is wrong, and why.
func (j JWT) problem() (field, problem string) {
	given := 0
	for _, v := range []string{j.Secret, j.PublicKey, j.JWKSURL} {
		if v != "" {
			given++
		}
	}
	if given != 1 {
		return "jwt", "has exactly one of secret, publicKey and jwksUrl"
	}
	if j.JWKSURL != "" {
		if err := checkURL(j.JWKSURL); err != nil {
			return "jwt.jwksUrl", err.Error()
		}
		return "", ""
	}
	if _, err := j.key(); err != nil {
		if j.Secret != "" {
			return "jwt.secret", err.Error()
		}
		return "jwt.publicKey", err.Error()
	}
	return "", ""
}

// key returns the key that stands in the settings themselves.
func (j JWT) key() (key, error) {
	if j.Secret == "" {
		return parsePEM(j.PublicKey)
	}
	if len(j.Secret) < MinSecret {
		return key{}, fmt.Errorf("has fewer than %d bytes", MinSecret)
	}
	return key{alg: algHS256, public: []byte(j.Secret)}, nil
}

// key is one key and the only algorithm that it is used for.
type key struct {
	alg    string
	public any // []byte for HS256
}

// find makes a key the source of one: itself, whatever kid a token names.
func (k key) find(_ context.Context, _, alg string) ([]jwt.VerificationKey, error) {
	if alg != k.alg {
		return nil, nil
	}
	return []jwt.VerificationKey{k.public}, nil
}

func parsePEM(text string) (key, error) {
	block, rest := pem.Decode([]byte(strings.TrimSpace(text)))
	if block == nil {
		return key{}, errors.New("is not PEM")
	}
	if len(strings.TrimSpace(string(rest))) > 0 {
		return key{}, errors.New("has something after the first PEM block")
	}
	var public any
	var err error
	switch {
	case block.Type == "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return key{}, errors.New("is a private key: give the public one, and keep this one to yourself")
	default:
		return key{}, errors.New(`is PEM of another type than "PUBLIC KEY"`)
	}
	if err != nil {
		return key{}, errors.New("holds no public key that can be read")
	}
	return publicKey(public)
}

// publicKey gives a public key its algorithm, or says why it is not used.
func publicKey(public any) (key, error) {
	switch p := public.(type) {
	case *rsa.PublicKey:
		if p.N.BitLen() < MinRSA {
			return key{}, fmt.Errorf("is an RSA key of fewer than %d bits", MinRSA)
		}
		return key{alg: algRS256, public: p}, nil
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return key{}, errors.New("is an elliptic curve key, but not of P-256")
		}
		return key{alg: algES256, public: p}, nil
	case ed25519.PublicKey:
		return key{alg: algEdDSA, public: p}, nil
	}
	return key{}, errors.New("is neither an RSA, nor a P-256, nor an Ed25519 key")
}

// keySource has an app's keys.
type keySource interface {
	// find returns the keys of that algorithm by that kid, which is empty when
	// the token has none; no keys when there are none. An error means that
	// there are no keys at all.
	find(ctx context.Context, kid, alg string) ([]jwt.VerificationKey, error)
}

// verifier is the authority of an app that has keys.
type verifier struct {
	keys   keySource
	parser *jwt.Parser
	now    func() time.Time

	issuer, audience string
}

// newVerifier returns a verifier of tokens that are signed by one of keys with
// one of algs.
func newVerifier(j *JWT, keys keySource, now func() time.Time, algs ...string) *verifier {
	return &verifier{
		keys: keys, now: now, issuer: j.Issuer, audience: j.Audience,
		parser: jwt.NewParser(
			jwt.WithValidMethods(algs),
			jwt.WithStrictDecoding(),
			jwt.WithoutClaimsValidation(), // claims does it, with a code for each case
		),
	}
}

// check verifies the token of a.
func (v *verifier) check(ctx context.Context, a wire.Auth) (time.Time, *Refusal) {
	switch {
	case a.Token == "":
		return badToken(errors.New("there is none"))
	case len(a.Token) > MaxToken:
		return badToken(fmt.Errorf("longer than %d bytes", MaxToken))
	case strings.ContainsAny(a.Token, "\r\n"): // which encoding/base64 passes over
		return badToken(errors.New("it has line breaks"))
	}
	var noKeys error
	claims := jwt.MapClaims{} // by exact names, unlike a struct
	_, err := v.parser.ParseWithClaims(a.Token, claims, func(t *jwt.Token) (any, error) {
		kid, err := keyID(t.Header)
		if err != nil {
			return nil, err
		}
		found, err := v.keys.find(ctx, kid, t.Method.Alg())
		if err != nil {
			noKeys = err
			return nil, err
		}
		return jwt.VerificationKeySet{Keys: found}, nil
	})
	switch {
	case noKeys != nil && ctx.Err() != nil:
		return time.Time{}, ended(ctx, wire.CodeHookFailed, reasonNoKeys)
	case noKeys != nil:
		return time.Time{}, refuse(wire.CodeHookFailed, reasonNoKeys, noKeys)
	case err != nil:
		return badToken(err)
	}
	return v.claims(claims, a.User)
}

// keyID reads from the header of a token which key it was signed with.
func keyID(header map[string]any) (string, error) {
	if _, ok := header["crit"]; ok {
		return "", errors.New("the header asks for extensions that are not known")
	}
	v, ok := header["kid"]
	if !ok {
		return "", nil
	}
	kid, ok := v.(string)
	if !ok || kid == "" || len(kid) > maxKeyID {
		return "", errors.New("the header's kid is not a key's name")
	}
	return kid, nil
}

// claims checks what a token with a good signature says. Whose token it is
// comes first: nobody learns when a token of somebody else expires.
func (v *verifier) claims(c jwt.MapClaims, user wire.UserID) (time.Time, *Refusal) {
	if sub, _ := c["sub"].(string); sub != string(user) {
		return badToken(errors.New("sub is not the user ID"))
	}
	if iss, _ := c["iss"].(string); v.issuer != "" && iss != v.issuer {
		return badToken(errors.New("iss is not the issuer"))
	}
	if v.audience != "" && !contains(c["aud"], v.audience) {
		return badToken(errors.New("aud does not name the audience"))
	}
	expires, ok := moment(c["exp"])
	if !ok {
		return badToken(errors.New("exp is missing or not a time"))
	}
	now := v.now()
	if !now.Before(expires) {
		return time.Time{}, refuse(wire.CodeTokenExpired, reasonExpired, nil)
	}
	if raw, given := c["nbf"]; given {
		from, ok := moment(raw)
		if !ok {
			return badToken(errors.New("nbf is not a time"))
		}
		if now.Add(NotBefore).Before(from) {
			return time.Time{}, refuse(wire.CodeTokenExpired, reasonNotYet, nil)
		}
	}
	return expires, nil
}

func badToken(cause error) (time.Time, *Refusal) {
	return time.Time{}, refuse(wire.CodeBadToken, reasonBadToken, cause)
}

// contains says whether aud, a string or an array, names audience.
func contains(aud any, audience string) bool {
	switch v := aud.(type) {
	case string:
		return v == audience
	case []any:
		for _, one := range v {
			if s, ok := one.(string); ok && s == audience {
				return true
			}
		}
	}
	return false
}

// moment reads seconds since 1970, with or without a fraction. It takes what
// lies between 1970 and the year 9999: beyond it, seconds overflow somewhere.
func moment(v any) (time.Time, bool) {
	const year10000 = 253402300800
	seconds, ok := v.(float64)
	if !ok || seconds < 0 || seconds >= year10000 {
		return time.Time{}, false
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)), true
}
