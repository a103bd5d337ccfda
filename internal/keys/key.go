package keys

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// MaxName is the longest name that a key may have, in bytes.
const MaxName = 100

// Key is what is known of a key. It is not changed once made.
type Key struct {
	ID     string
	Name   string  // for people; may be empty
	App    string  // the app that it is of; empty for an admin key
	Admin  bool    // of all apps, with all scopes
	Scopes []Scope // in the order of Scopes, then those for one service; all of Scopes for an admin key

	Created time.Time
	Expires time.Time // from then on it is refused; zero: never
	// Passing says that it is in this process's memory only, and ends with it.
	Passing bool
}

// May says whether the key has a scope, or, for one service, that for any.
func (k *Key) May(s Scope) bool {
	of, named := s.whole()
	return k.Admin || slices.Contains(k.Scopes, s) || named && slices.Contains(k.Scopes, of)
}

// expired says whether its time is up.
func (k *Key) expired(now time.Time) bool { return !k.Expires.IsZero() && !now.Before(k.Expires) }

// Prefix is what every key begins with.
const Prefix = "sb_"

const (
	idBytes     = 10
	secretBytes = 32
)

// alphabet spells IDs and secrets: letters and digits only, so that a double
// click takes the whole of it, and in one case.
var alphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// digest is the SHA-256 of a secret as it is spelt.
type digest [sha256.Size]byte

// sum returns the digest of a secret.
func sum(secret string) digest {
	var room [64]byte // so that nothing is allocated
	return sha256.Sum256(append(room[:0], secret...))
}

// random spells n bytes of chance.
func random(from io.Reader, n int) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(from, b); err != nil {
		return "", fmt.Errorf("read randomness for a key: %w", err)
	}
	return alphabet.EncodeToString(b), nil
}

// join spells a key.
func join(id, secret string) string { return Prefix + id + "_" + secret }

// Looks says whether a text looks like a key, maybe of another node or cut off: to
// tell who presents one where none belongs.
func Looks(text string) bool { return strings.HasPrefix(text, Prefix) }

// split takes a key apart. Only its form is checked.
func split(key string) (id, secret string, err error) {
	rest, ok := strings.CutPrefix(key, Prefix)
	id, secret, found := strings.Cut(rest, "_")
	if !ok || !found || !spelt(id, idBytes) || !spelt(secret, secretBytes) {
		return "", "", ErrMalformed
	}
	return id, secret, nil
}

// spelt says whether a text may be what random made of n bytes.
func spelt(text string, n int) bool {
	if len(text) != alphabet.EncodedLen(n) {
		return false
	}
	for _, c := range []byte(text) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}
