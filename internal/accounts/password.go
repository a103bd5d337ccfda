package accounts

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

// Cost is what a hash of argon2id takes.
type Cost struct {
	Memory  uint32 // KiB
	Passes  uint32
	Threads uint8
}

// defaultCost is the least that OWASP advises.
var defaultCost = Cost{Memory: 19_456, Passes: 2, Threads: 1}

const (
	saltBytes = 16
	hashBytes = 32

	// hashesPerProcessor is how many hashes are computed at once for each processor.
	hashesPerProcessor = 2
	// hashesWaiting is how many wait for their turn, and hashPatience for how long.
	hashesWaiting = 256
	hashPatience  = 5 * time.Second
)

// hasher makes and checks hashes of passwords, so many at once.
type hasher struct {
	cost    Cost
	random  io.Reader
	turns   chan struct{}
	waiting atomic.Int64
	made    atomic.Int64 // hashes computed
	decoy   string       // the hash of no password
}

func newHasher(cost Cost, random io.Reader, processors int) (*hasher, error) {
	h := &hasher{cost: cost, random: random, turns: make(chan struct{}, hashesPerProcessor*processors)}
	b := make([]byte, saltBytes+hashBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	h.decoy = cost.format(b[:saltBytes], b[saltBytes:])
	return h, nil
}

// hash returns the hash of a password in the PHC string format. It fails with
// CodeBusy when too many wait.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(h.random, salt); err != nil {
		return "", fmt.Errorf("read randomness for a password: %w", err)
	}
	key, err := h.compute(ctx, h.cost, password, salt, hashBytes)
	if err != nil {
		return "", err
	}
	return h.cost.format(salt, key), nil
}

// verify says whether a password is the one that a hash was made of, and whether the
// hash should be made anew because it cost another amount. It computes one hash,
// whatever comes out.
func (h *hasher) verify(ctx context.Context, hash, password string) (ok, stale bool, err error) {
	cost, salt, want, err := parseHash(hash)
	if err != nil {
		return false, false, err
	}
	key, err := h.compute(ctx, cost, password, salt, len(want))
	if err != nil {
		return false, false, err
	}
	ok = subtle.ConstantTimeCompare(key, want) == 1
	return ok, ok && cost != h.cost, nil
}

// compute computes a hash when it is its turn.
func (h *hasher) compute(ctx context.Context, cost Cost, password string, salt []byte, n int) ([]byte, error) {
	if err := h.take(ctx); err != nil {
		return nil, err
	}
	defer func() { <-h.turns }()
	h.made.Add(1)
	return argon2.IDKey([]byte(password), salt, cost.Passes, cost.Memory, cost.Threads, uint32(n)), nil
}

// take waits for a turn.
func (h *hasher) take(ctx context.Context) error {
	select {
	case h.turns <- struct{}{}:
		return nil
	default:
	}
	busy := refuse(CodeBusy, "too many passwords are being checked; try again later")
	busy.After = time.Second
	if h.waiting.Add(1) > hashesWaiting {
		h.waiting.Add(-1)
		return busy
	}
	defer h.waiting.Add(-1)
	patience := time.NewTimer(hashPatience)
	defer patience.Stop()
	select {
	case h.turns <- struct{}{}:
		return nil
	case <-patience.C:
		return busy
	case <-ctx.Done():
		return ctx.Err()
	}
}

// format writes a hash in the PHC string format.
func (c Cost) format(salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.Memory, c.Passes, c.Threads, b64.EncodeToString(salt), b64.EncodeToString(key))
}

var errHash = errors.New("the hash of a password is not in the form that this program writes")

// parseHash reads what format has written.
func parseHash(text string) (c Cost, salt, key []byte, err error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return c, nil, nil, errHash
	}
	n := [3]uint64{}
	bounds := [3]uint64{1 << 22, 1 << 10, math.MaxUint8} // so that a row costs no more than a machine has
	for i, one := range strings.Split(parts[3], ",") {
		if i >= len(n) || !strings.HasPrefix(one, [3]string{"m=", "t=", "p="}[i]) {
			return c, nil, nil, errHash
		}
		if n[i], err = strconv.ParseUint(one[2:], 10, 32); err != nil || n[i] == 0 || n[i] > bounds[i] {
			return c, nil, nil, errHash
		}
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	key, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if n[2] == 0 || err1 != nil || err2 != nil || len(salt) < 8 || len(key) < 16 {
		return c, nil, nil, errHash
	}
	return Cost{Memory: uint32(n[0]), Passes: uint32(n[1]), Threads: uint8(n[2])}, salt, key, nil
}
