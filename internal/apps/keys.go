package apps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

const (
	maxKeySet  = 256 << 10        // bytes of a JWK set
	maxKeys    = 64               // keys in it
	keysRetry  = 30 * time.Second // after a failed fetch keys that are old are used without waiting for another
	keysRounds = 2                // fetches that one unknown kid may wait for
)

// keySet is a JWK set at a URL. Apps with the same URL share one.
//
// It is fetched when it is made, when it is used and has grown old, and when a
// token names an unknown kid; never twice at once, and never sooner than
// env.pause after the last time. What was fetched last stays in use until
// something else was fetched.
type keySet struct {
	app   string // the first app that had it, for the log
	url   string
	env   env
	alarm *alarm

	keys atomic.Pointer[keys] // nil until the first fetch went well

	mu     sync.Mutex
	flight *flight   // the fetch that is under way or waits for the pause; nil: none
	ended  time.Time // when the last fetch ended
	failed time.Time // when the last fetch failed; zero: it did not
}

// flight is one fetch that others may wait for.
type flight struct {
	done  chan struct{} // closed when it is over
	begun bool          // it has left: what is published now may not be in it. Guarded by keySet.mu
}

// keys is what was fetched. It is never changed.
type keys struct {
	fetched time.Time
	all     []namedKey
}

type namedKey struct {
	key
	kid string
}

// errNoKeys is what find returns while no fetch went well.
var errNoKeys = errors.New("no keys were fetched yet")

func newKeySet(app, url string, e env) *keySet {
	return &keySet{
		app: app, url: url, env: e,
		alarm: newAlarm(e, "keys for tokens cannot be fetched", "keys for tokens are fetched again"),
	}
}

// prefetch begins the first fetch, so that the first user need not wait for it.
func (s *keySet) prefetch() {
	if s.keys.Load() == nil {
		s.start()
	}
}

// find returns the keys for a token, after fetching them where that is called
// for, as long as ctx allows.
func (s *keySet) find(ctx context.Context, kid, alg string) ([]jwt.VerificationKey, error) {
	s.freshen(ctx)
	for round := 0; ; round++ {
		set := s.keys.Load()
		if set != nil {
			if found, known := set.match(kid, alg); known || round == keysRounds {
				return found, nil
			}
		} else if round == keysRounds {
			return nil, errNoKeys
		}
		begun, err := s.refresh(ctx)
		if err != nil {
			if set == nil {
				return nil, errors.Join(errNoKeys, err)
			}
			return nil, nil // the kid stays unknown
		}
		if !begun {
			round = keysRounds - 1 // that fetch left after we came: another would tell no more
		}
	}
}

// freshen fetches keys that have grown old: beside us after half of their time,
// and before they are used again once it is over.
func (s *keySet) freshen(ctx context.Context) {
	set := s.keys.Load()
	if set == nil {
		return
	}
	now := s.env.now()
	age := now.Sub(set.fetched)
	if age < s.env.maxAge/2 || s.failedLately(now) {
		return
	}
	if age < s.env.maxAge {
		s.start()
		return
	}
	_, _ = s.refresh(ctx) // when it fails, the old keys serve on
}

func (s *keySet) failedLately(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.failed.IsZero() && now.Sub(s.failed) < keysRetry
}

// refresh waits for a fetch. begun says that it had left before we came.
func (s *keySet) refresh(ctx context.Context) (begun bool, err error) {
	f, begun := s.start()
	if f == nil {
		return false, errors.New("closed")
	}
	select {
	case <-f.done:
		return begun, nil
	case <-ctx.Done():
		return begun, ctx.Err()
	}
}

// start returns the fetch that is under way, or one that it starts; nil when
// the registry is closed.
func (s *keySet) start() (f *flight, begun bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight, s.flight.begun
	}
	f = &flight{done: make(chan struct{})}
	var wait time.Duration
	if !s.ended.IsZero() {
		wait = min(s.env.pause-s.env.now().Sub(s.ended), s.env.pause)
	}
	if !s.env.tasks.run(func(ctx context.Context) { s.fly(ctx, f, wait) }) {
		return nil, false
	}
	s.flight = f
	return f, false
}

// fly fetches the keys after a pause.
func (s *keySet) fly(ctx context.Context, f *flight, wait time.Duration) {
	defer close(f.done)
	err := pause(ctx, wait)
	if err == nil {
		s.mu.Lock()
		f.begun = true
		s.mu.Unlock()
		err = s.fetch(ctx)
	}
	s.land(err)
	if ctx.Err() != nil {
		return // closing: not the key server's fault
	}
	s.env.metrics.fetched(err)
	if err != nil {
		s.alarm.on(s.app, err)
	} else {
		s.alarm.off(s.app)
	}
}

// land makes room for the next fetch.
func (s *keySet) land(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight, s.ended, s.failed = nil, s.env.now(), time.Time{}
	if err != nil {
		s.failed = s.ended
	}
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *keySet) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.env.limits.callTimeout())
	defer cancel()
	began := s.env.now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return withoutURL("make the request", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "switchboard")
	resp, err := s.env.client.Do(req)
	if err != nil {
		return withoutURL("fetch the keys", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch the keys: status %d", resp.StatusCode)
	}
	text, err := readLimited(resp.Body, maxKeySet)
	if err != nil {
		return fmt.Errorf("read the keys: %w", err)
	}
	all, unused, err := parseKeySet(text)
	if err != nil {
		return fmt.Errorf("read the keys: %w", err)
	}
	s.keys.Store(&keys{fetched: began, all: all})
	if len(all) == 0 {
		s.env.log.Warn("a key set has no key that tokens can be verified with", "app", s.app, "unused", unused)
	}
	return nil
}

// parseKeySet reads a JWK set. It passes over keys that are not for verifying
// RS256, ES256 or EdDSA, as other services may share the set; a symmetric key in
// what everybody may read is no secret and never used.
func parseKeySet(text []byte) (all []namedKey, unused int, err error) {
	var set struct {
		Keys *[]jwkset.JWKMarshal `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, 0, fmt.Errorf("not a JWK set: %w", err)
	}
	if set.Keys == nil {
		return nil, 0, errors.New(`not a JWK set: there is no "keys"`)
	}
	if len(*set.Keys) > maxKeys {
		return nil, 0, fmt.Errorf("more than %d keys", maxKeys)
	}
	for _, m := range *set.Keys {
		if k, ok := usableKey(m); ok {
			all = append(all, namedKey{key: k, kid: m.KID})
		} else {
			unused++
		}
	}
	return all, unused, nil
}

func usableKey(m jwkset.JWKMarshal) (key, bool) {
	if m.USE != "" && m.USE != jwkset.UseSig {
		return key{}, false
	}
	if len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return key{}, false
	}
	// Only the numbers of the key count; certificates beside it are not looked at.
	bare := jwkset.JWKMarshal{KTY: m.KTY, CRV: m.CRV, X: m.X, Y: m.Y, N: m.N, E: m.E}
	parsed, err := jwkset.NewJWKFromMarshal(bare, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return key{}, false
	}
	k, err := publicKey(parsed.Key())
	if err != nil || (m.ALG != "" && m.ALG.String() != k.alg) {
		return key{}, false
	}
	return k, true
}

// match returns the keys of that algorithm by that kid; known says whether any
// key has that kid. A token without kid is tried with all keys of its algorithm,
// and calls for no fetch.
func (k *keys) match(kid, alg string) (found []jwt.VerificationKey, known bool) {
	known = kid == ""
	for _, one := range k.all {
		if kid != "" && one.kid != kid {
			continue
		}
		known = true
		if one.alg == alg {
			found = append(found, one.public)
		}
	}
	return found, known
}
