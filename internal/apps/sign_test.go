package apps_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
)

// signer makes tokens. It is written without the library that reads them.
type signer struct {
	t    *testing.T
	alg  string
	kid  string
	priv crypto.Signer // nil for HS256
	key  []byte        // HS256
}

type claims map[string]any

func newHS256(secret string) *signer { return &signer{alg: "HS256", key: []byte(secret)} }

func newRS256(t *testing.T) *signer {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t: t, alg: "RS256", priv: k}
}

func newES256(t *testing.T) *signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t: t, alg: "ES256", priv: k}
}

func newEdDSA(t *testing.T) *signer {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t: t, alg: "EdDSA", priv: k}
}

// named returns the same signer with a key ID.
func (s *signer) named(kid string) *signer {
	c := *s
	c.kid = kid
	return &c
}

// token signs claims.
func (s *signer) token(t *testing.T, c claims) string {
	t.Helper()
	header := map[string]any{"alg": s.alg, "typ": "JWT"}
	if s.kid != "" {
		header["kid"] = s.kid
	}
	return s.sign(t, header, c)
}

// sign signs any header and any claims.
func (s *signer) sign(t *testing.T, header, c any) string {
	t.Helper()
	text := b64(asJSON(t, header)) + "." + b64(asJSON(t, c))
	return text + "." + b64(s.signature(t, []byte(text)))
}

func (s *signer) signature(t *testing.T, text []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(text)
	switch k := s.priv.(type) {
	case nil:
		m := hmac.New(sha256.New, s.key)
		m.Write(text)
		return m.Sum(nil)
	case *ecdsa.PrivateKey:
		r, v, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...)
	case ed25519.PrivateKey:
		return ed25519.Sign(k, text)
	case *rsa.PrivateKey:
		sig, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	t.Fatal("no such key")
	return nil
}

// pem returns the public key as it stands in settings.
func (s *signer) pem() string { return pkix(s.t, s.priv.Public()) }

func (s *signer) pkcs1() string {
	return block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(s.priv.Public().(*rsa.PublicKey)))
}

func (s *signer) private() string {
	der, err := x509.MarshalPKCS8PrivateKey(s.priv)
	if err != nil {
		s.t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

// jwk returns the public key as it stands in a key set, with other members
// given as name, value, name, value.
func (s *signer) jwk(others ...string) map[string]any {
	k := map[string]any{"kid": s.kid}
	switch p := s.priv.Public().(type) {
	case *rsa.PublicKey:
		k["kty"], k["n"], k["e"] = "RSA", b64(p.N.Bytes()), b64(big.NewInt(int64(p.E)).Bytes())
	case ed25519.PublicKey:
		k["kty"], k["crv"], k["x"] = "OKP", "Ed25519", b64(p)
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		if err != nil {
			s.t.Fatal(err)
		}
		k["kty"], k["crv"], k["x"], k["y"] = "EC", "P-256", b64(point[1:33]), b64(point[33:])
	}
	for i := 0; i < len(others); i += 2 {
		k[others[i]] = others[i+1]
	}
	return k
}

func pkix(t *testing.T, public any) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return block("PUBLIC KEY", der)
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	if s, ok := v.(string); ok {
		return []byte(s) // as it stands
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
