package chat

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// opTime bounds what is done for one request.
const opTime = 10 * time.Second

// People is who the users are. Its methods may be called from any goroutine.
type People interface {
	// Known says whether there is such a user.
	Known(ctx context.Context, user wire.UserID) (bool, error)
	// Blocked says whether one user has blocked another.
	Blocked(ctx context.Context, by, whom wire.UserID) (bool, error)
}

// Nodes reaches the other nodes.
type Nodes interface {
	// Send sends a node one message, of the parts joined, which it copies. It never
	// blocks. Messages to a node arrive in order; when one is lost, PeerUp is called
	// before anything else arrives.
	Send(node string, parts ...[]byte) bool
}

// Limits bound rooms and messages. Those that are zero or less get their default.
type Limits struct {
	Content int // bytes of one message's content
	Members int // of one room
	Rooms   int // of which one user is a member
	Owned   int // rooms that one user made and is the owner of, when that makes another
}

// DefaultLimits returns the limits that hold when nothing else is said.
func DefaultLimits() Limits {
	return Limits{Content: 16 << 10, Members: 100_000, Rooms: 1000, Owned: 100}
}

func (l Limits) filled() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ value, fallback *int }{
		{&l.Content, &d.Content}, {&l.Members, &d.Members}, {&l.Rooms, &d.Rooms}, {&l.Owned, &d.Owned},
	} {
		if *f.value <= 0 {
			*f.value = *f.fallback
		}
	}
	return l
}

// Options configure a Chat. Store, People and App are needed.
type Options struct {
	Store  Store
	People People
	App    string // the name of the chat app, whose users these are
	Domain string // this domain; empty where there is only one
	// HomeURL returns where clients of a domain connect; empty when that is not known.
	// Nil: it never is.
	HomeURL func(domain string) string
	Limits  func() Limits // nil: DefaultLimits
	Nodes   Nodes         // nil: this node is alone
	// Apart says whether another node that lives may be telling something that does not
	// arrive here. Nil: never.
	Apart func() bool

	Now     func() time.Time      // nil: time.Now
	Random  io.Reader             // of IDs; nil: crypto/rand.Reader
	Logger  *slog.Logger          // nil: nothing is logged
	Metrics prometheus.Registerer // nil: nothing is registered
}

// Chat serves rooms on one node. Its methods may be called from any goroutine, while
// Run runs.
type Chat struct {
	opts    Options
	start   time.Time
	metrics *metrics

	committers []*committer
	lanes      []*lane
	local      local
	stir, peek chan struct{} // there is something to compare: everything, or how far rooms have come
	facts      facts

	randomMu sync.Mutex // guards opts.Random

	peersMu sync.RWMutex
	peers   map[string]struct{}
}

// lanes are so many that several processors have something to do, and no more.
const laneCount = 4

// New returns a Chat.
func New(o Options) (*Chat, error) {
	if o.Store == nil || o.People == nil || o.App == "" {
		return nil, errors.New("chat: Store, People and App are needed")
	}
	o = o.withDefaults()
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of rooms: %w", err)
	}
	c := &Chat{opts: o, start: o.Now(), metrics: m, stir: make(chan struct{}, 1), peek: make(chan struct{}, 1), peers: make(map[string]struct{})}
	c.local.people = make(map[wire.UserID][]*attached)
	c.local.sessions = make(map[wire.ID]*attached)
	for range max(o.Store.Committers(), 1) {
		c.committers = append(c.committers, newCommitter(c))
	}
	for range laneCount {
		c.lanes = append(c.lanes, newLane(c))
	}
	return c, nil
}

func (o Options) withDefaults() Options {
	if o.Limits == nil {
		o.Limits = DefaultLimits
	}
	if o.HomeURL == nil {
		o.HomeURL = func(string) string { return "" }
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
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Run stores, tells and compares until ctx ends. What waits then is refused.
func (c *Chat) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, x := range c.committers {
		wg.Go(func() { x.run(ctx) })
	}
	for _, l := range c.lanes {
		wg.Go(func() { l.run(ctx) })
	}
	wg.Go(func() { c.compare(ctx) })
	wg.Go(func() { c.sweep(ctx) })
	wg.Wait()
	return nil
}

// mono returns the time since the start.
func (c *Chat) mono() time.Duration { return c.opts.Now().Sub(c.start) }

// newID returns an ID for a room or a message.
func (c *Chat) newID(now time.Time) (wire.ID, error) {
	c.randomMu.Lock()
	defer c.randomMu.Unlock()
	return wire.NewID(now, c.opts.Random)
}

// user returns the user ID with a number.
func (c *Chat) user(n int64) wire.UserID {
	b := make([]byte, 0, len(c.opts.App)+20)
	return wire.UserID(strconv.AppendInt(append(append(b, c.opts.App...), '-'), n, 10))
}

func milli(t time.Time) int64 { return t.UnixMilli() }

func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// failed returns what a client is told of an error, and logs what is a fault of ours.
func (c *Chat) failed(err error) *wire.Error {
	var told *wire.Error
	if errors.As(err, &told) && !errors.Is(err, ErrUnknown) {
		return told
	}
	e := general(wire.CodeStoreDown, "the server cannot reach its database at present; try again later")
	switch {
	case errors.Is(err, ErrFull):
		e = general(wire.CodeStoreFull, "the server's disk is nearly full")
	case errors.Is(err, ErrDown), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
	default:
		c.opts.Logger.Error("what was asked of a room failed", "err", err)
	}
	e.MayYetArrive = errors.Is(err, ErrUnknown)
	return e
}

// sweepEvery is how often a node looks for what is left of rooms that are gone.
const sweepEvery = 30 * time.Second

// sweep clears away what was in rooms that are gone, a part at a time: so no
// transaction is long, however long a history was.
func (c *Chat) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for more := true; more && ctx.Err() == nil; {
			call, cancel := context.WithTimeout(ctx, opTime)
			var err error
			more, err = c.opts.Store.Sweep(call)
			cancel()
			if err != nil { // it is tried again; the store says itself when it is down
				more = false
			}
		}
	}
}
