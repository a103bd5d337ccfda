package accounts

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// notBefore is how long before its time a token is good, for clocks that differ.
const notBefore = 30 * time.Second

// maxToken is the longest access token that is looked at, in bytes.
const maxToken = 4 << 10

// Holder is who presents an access token.
type Holder struct {
	User    wire.UserID
	Session wire.ID
	Expires time.Time // of the token

	version int64
}

// Number is that of the user.
func (h Holder) Number() int64 { return h.User.Number() }

// claims are what an access token says.
type claims struct {
	jwt.RegisteredClaims
	Session string `json:"sid"`
	Version int64  `json:"ver"`
}

// keyring is what tokens are signed with.
type keyring struct {
	access  map[string]ed25519.PrivateKey // by their IDs
	newest  string                        // of access
	refresh [][]byte                      // the newest first
}

// newKeyring makes a keyring of what the store has.
func newKeyring(list []Key) (*keyring, error) {
	r := &keyring{access: make(map[string]ed25519.PrivateKey)}
	for _, k := range list {
		switch {
		case k.Purpose == PurposeAccess && len(k.Secret) == ed25519.SeedSize:
			r.access[k.ID] = ed25519.NewKeyFromSeed(k.Secret)
			if r.newest == "" {
				r.newest = k.ID
			}
		case k.Purpose == PurposeRefresh && len(k.Secret) == sha256.Size:
			r.refresh = append(r.refresh, k.Secret)
		default:
			return nil, fmt.Errorf("key %q of the accounts is of no use: it is for %q and has %d bytes", k.ID, k.Purpose, len(k.Secret))
		}
	}
	if r.newest == "" || len(r.refresh) == 0 {
		return nil, errors.New("the accounts lack a key for their tokens")
	}
	return r, nil
}

// freshKeys makes one key for each purpose.
func freshKeys(random io.Reader, now time.Time) ([]Key, error) {
	var list []Key
	for _, purpose := range []string{PurposeAccess, PurposeRefresh} {
		secret := make([]byte, sha256.Size) // as long as the seed of an Ed25519 key
		id, err := wire.NewID(now, random)
		if err == nil {
			_, err = io.ReadFull(random, secret)
		}
		if err != nil {
			return nil, fmt.Errorf("read randomness for the keys of accounts: %w", err)
		}
		list = append(list, Key{ID: id.String(), Purpose: purpose, Secret: secret, Created: now})
	}
	return list, nil
}

// sign writes an access token.
func (r *keyring) sign(c claims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	t.Header["kid"] = r.newest
	return t.SignedString(r.access[r.newest])
}

// errKey says that a token names a key that the ring does not have.
var errKey = errors.New("the token names a key that is not known")

// open reads a token and checks its signature. Its error wraps errKey where another
// key would be needed.
func (r *keyring) open(token string) (claims, error) {
	var c claims
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") { // which encoding/base64 passes over
		return c, errors.New("it is no token")
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	_, err := parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		if _, ok := t.Header["crit"]; ok {
			return nil, errors.New("the header asks for extensions that are not known")
		}
		kid, _ := t.Header["kid"].(string)
		key, ok := r.access[kid]
		if !ok {
			return nil, errKey
		}
		return key.Public(), nil
	})
	return c, err
}

// holder checks what a token with a good signature says. Whose it is comes first.
func (c *claims) holder(issuer, audience, app string, now time.Time) (Holder, *Refusal) {
	user, uerr := wire.ParseUserID(c.Subject)
	session, serr := wire.ParseID(c.Session)
	if c.Issuer != issuer || len(c.Audience) != 1 || c.Audience[0] != audience || uerr != nil || user.App() != app || serr != nil ||
		c.ExpiresAt == nil || c.NotBefore == nil || c.IssuedAt == nil {
		return Holder{}, refuseToken()
	}
	if !now.Before(c.ExpiresAt.Time) {
		return Holder{}, refuse(CodeTokenExpired, "the token has expired")
	}
	if now.Add(notBefore).Before(c.NotBefore.Time) {
		return Holder{}, refuse(CodeTokenExpired, "the token is not valid yet")
	}
	return Holder{User: user, Session: session, Expires: c.ExpiresAt.Time, version: c.Version}, nil
}

// Peek returns the app ID and the user that a token says it is for, without asking
// whether that is so; empty where it is no token at all.
func Peek(token string) (appID, user string) {
	if len(token) > maxToken {
		return "", ""
	}
	var c claims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &c); err != nil || len(c.Audience) != 1 {
		return "", ""
	}
	return c.Audience[0], c.Subject
}

// What begins tokens that are not for reading.
const (
	refreshPrefix = "sbr_"
	resetPrefix   = "sbp_"
)

// refreshToken writes the refresh token of a session's turn.
func (r *keyring) refreshToken(id wire.ID, turn int64) string {
	b := binary.BigEndian.AppendUint64(id[:len(id):len(id)], uint64(turn))
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(seal(r.refresh[0], b))
}

// readRefresh reads a refresh token that was made with one of our keys.
func (r *keyring) readRefresh(token string) (id wire.ID, turn int64, ok bool) {
	text, ok := strings.CutPrefix(token, refreshPrefix)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(b) != len(id)+8+sha256.Size || strings.ContainsAny(text, "\r\n") {
		return id, 0, false
	}
	said := b[:len(id)+8]
	for _, key := range r.refresh {
		if hmac.Equal(seal(key, said[:len(said):len(said)]), b) {
			copy(id[:], said)
			return id, int64(binary.BigEndian.Uint64(said[len(id):])), true
		}
	}
	return id, 0, false
}

// seal appends to b what only who has the key can make of it.
func seal(key, b []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("refresh"))
	mac.Write(b)
	return mac.Sum(b)
}

// newReset makes a token that sets a password anew, and the hash that is kept.
func newReset(random io.Reader) (token, hash string, err error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", "", fmt.Errorf("read randomness for a token: %w", err)
	}
	token = resetPrefix + base64.RawURLEncoding.EncodeToString(b)
	return token, hashReset(token), nil
}

// hashReset returns the hash under which a token is kept: 32 random bytes need no
// slow one.
func hashReset(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
