package accounts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Lifetimes say how long tokens are good.
type Lifetimes struct {
	Access  time.Duration
	Refresh time.Duration // without being used
	Reset   time.Duration
}

// Limits bound what people do. They may change at any time.
type Limits struct {
	SignUps  int // from one address in an hour
	Sessions int // of one account
	Blocks   int // by one account
}

// Options configure a Room. Store, App, AppID, Limits and Lifetimes are needed.
type Options struct {
	Store  Store
	App    string // the name that user IDs begin with
	AppID  string // whom access tokens are for
	Issuer string // by whom they are; empty: "switchboard"
	SignUp bool   // anybody may make an account
	Lifetimes
	Limits func() Limits

	// Place returns the first number from n on that lives in this domain; false for
	// none. Nil: all do.
	Place func(n int64) (int64, bool)
	// Chat is what else is kept of users; nil: nothing.
	Chat Chat
	// Empty takes out what waits for a user whom there is not yet, or not any more: what
	// others have sent to a number before it was somebody's is nobody's. Nil: nothing
	// waits.
	Empty func(ctx context.Context, user wire.UserID) error
	// SignedOut is told when a user who did not want to be signed in any more is so nowhere:
	// who has ended a session, or all, or set the password anew. It takes bounded time. Nil:
	// nobody is.
	SignedOut func(ctx context.Context, user wire.UserID)
	// Deliver hands a token that sets a password anew to the app's own server, which
	// gives it to the user. Nil: nobody can ask for one.
	Deliver func(ctx context.Context, r Reset) error
	// Nodes are the others of this cluster; nil: this node is alone.
	Nodes Nodes
	// Apart says whether another node that lives may be telling something that does not
	// arrive here. Nil: never.
	Apart func() bool

	Cost    Cost                  // of hashes; zero: what is advised
	Now     func() time.Time      // nil: time.Now
	Random  io.Reader             // nil: crypto/rand.Reader
	Log     *slog.Logger          // nil: nothing is logged
	Metrics prometheus.Registerer // nil: nothing is registered
}

// Chat is what is kept of users elsewhere.
type Chat interface {
	// Export writes all of it, as JSON.
	Export(ctx context.Context, user wire.UserID, w io.Writer) error
	// Forget is told that an account is gone: nobody can bring it into a room any more. It
	// may be called again.
	Forget(ctx context.Context, user wire.UserID) error
}

// Room is all accounts. Its methods may be called from any goroutine. Their errors
// are Refusals, or what the Store says.
type Room struct {
	opts    Options
	hashes  *hasher
	byName  *pace // sign-ins
	byPlace *pace
	signUps *quota
	resets  *quota      // asked for, by address
	wanted  chan string // names for which resets are to be made
	askedOf *pace       // resets, by name
	metrics *metrics
	live    live

	mu     sync.Mutex
	ring   *keyring  // nil: it was not read yet
	looked time.Time // when it was read
	spares []int64   // numbers that were given away and nobody got, in order
}

// New returns a room. It does not ask the store anything.
func New(o Options) (*Room, error) {
	if o.Store == nil || o.App == "" || o.AppID == "" || o.Limits == nil || o.Access <= 0 || o.Refresh <= 0 || o.Reset <= 0 {
		return nil, errors.New("accounts: Options.Store, App, AppID, Limits and Lifetimes are needed")
	}
	if o.Issuer == "" {
		o.Issuer = "switchboard"
	}
	if o.Place == nil {
		o.Place = func(n int64) (int64, bool) { return n, true }
	}
	if o.Cost == (Cost{}) {
		o.Cost = defaultCost
	}
	if o.Apart == nil {
		o.Apart = func() bool { return false }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	hashes, err := newHasher(o.Cost, o.Random, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, fmt.Errorf("set up the accounts: %w", err)
	}
	r := &Room{
		opts: o, hashes: hashes, byName: newPace(freeForName), byPlace: newPace(freeForAddress), askedOf: newPace(freeForName),
		signUps: newQuota(func() int { return o.Limits().SignUps }), resets: newQuota(func() int { return o.Limits().SignUps }),
		wanted: make(chan string, resetsWaiting),
	}
	r.live.init()
	r.metrics, err = newMetrics(o.Metrics, r)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of accounts: %w", err)
	}
	return r, nil
}

// App returns the name of the app whose users the accounts are.
func (r *Room) App() string { return r.opts.App }

// Run does what is done beside the calls until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	var all errgroup.Group
	all.Go(func() error { return r.tidy(ctx) })
	all.Go(func() error { return r.makeResets(ctx) })
	all.Go(func() error { return r.recheck(ctx) })
	all.Go(func() error { return r.relearn(ctx) })
	return all.Wait()
}

const (
	// tidyEvery is how often what has expired is removed.
	tidyEvery = 10 * time.Minute
	// finishEvery is how often it is looked for accounts whose deletion was cut off: others
	// still see them in rooms.
	finishEvery = 30 * time.Second
)

func (r *Room) tidy(ctx context.Context) error {
	tidy, finish := time.NewTicker(tidyEvery), time.NewTicker(finishEvery)
	defer tidy.Stop()
	defer finish.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-tidy.C:
			err = r.removeExpired(ctx)
		case <-finish.C:
			err = r.finishAll(ctx)
		}
		if err != nil {
			r.opts.Log.Debug("what of the accounts has expired, or was deleted, is not all removed", "err", err)
		}
	}
}

// removeExpired removes what has expired.
func (r *Room) removeExpired(ctx context.Context) error {
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, err = r.opts.Store.Tidy(ctx, r.now()); err != nil {
			return err
		}
	}
	return nil
}

// now is the time as it is kept.
func (r *Room) now() time.Time { return r.opts.Now().UTC().Truncate(time.Millisecond) }

// user returns the ID of the user with a number.
func (r *Room) user(number int64) wire.UserID {
	return wire.UserID(fmt.Sprintf("%s-%d", r.opts.App, number))
}

// ringPause is how long after keys were read they are not read again for the sake of
// a key that is not known: anybody can name one.
const ringPause = time.Second

// keys returns what tokens are signed with. anew asks the store again, if that is not
// a moment ago.
func (r *Room) keys(ctx context.Context, anew bool) (*keyring, error) {
	r.mu.Lock()
	ring, looked := r.ring, r.looked
	now := r.opts.Now()
	if ring != nil && (!anew || now.Sub(looked) < ringPause) {
		r.mu.Unlock()
		return ring, nil
	}
	r.looked = now // one of those that come at once asks
	r.mu.Unlock()
	fresh, err := freshKeys(r.opts.Random, r.now())
	if err != nil {
		return nil, err
	}
	list, err := r.opts.Store.Keys(ctx, fresh)
	if err != nil {
		return nil, fmt.Errorf("read the keys of the accounts: %w", err)
	}
	if ring, err = newKeyring(list); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.ring = ring
	r.mu.Unlock()
	return ring, nil
}

// Verify says who presents an access token, if it is good and its session stands.
func (r *Room) Verify(ctx context.Context, token string) (Holder, error) {
	ring, err := r.keys(ctx, false)
	if err != nil {
		return Holder{}, err
	}
	c, err := ring.open(token)
	if errors.Is(err, errKey) {
		if ring, err = r.keys(ctx, true); err != nil {
			return Holder{}, err
		}
		c, err = ring.open(token)
	}
	if err != nil {
		return Holder{}, refuseToken()
	}
	h, refused := c.holder(r.opts.Issuer, r.opts.AppID, r.opts.App, r.opts.Now())
	if refused != nil {
		return Holder{}, refused
	}
	return h, r.stands(ctx, h)
}

// stands fails where the session of a token has ended.
func (r *Room) stands(ctx context.Context, h Holder) error {
	version, ok, err := r.opts.Store.Stands(ctx, h.Number(), h.Session, r.now())
	switch {
	case err != nil:
		return fmt.Errorf("ask whether a session stands: %w", err)
	case !ok || version != h.version:
		return refuseEnded()
	}
	return nil
}
