package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// maxFetches is how many fetches one session may have waiting.
	maxFetches = 8
	// receiverCost is what one more receiver of a message counts: with a mailbox
	// of its own it takes more than its name.
	receiverCost = 256
	// maxPending bounds the bytes of messages accepted but not yet stored;
	// past it new ones are refused as OVERLOADED.
	maxPending = 64 << 20
	// muchPending is from how many of them on senders should slow down: what would
	// wait for long is better not sent yet than refused.
	muchPending = 8 << 20
	// readers is how many batches are read from the log at once.
	readers = 4
	// readAttempts is how often a read that fails is tried.
	readAttempts = 5
	// retryAfter is how long a keeper without its log waits between attempts.
	retryAfter = time.Second
	// flushTime bounds how long stopping waits for the log.
	flushTime = 10 * time.Second
	// crowdGap is, for each message in the last batch, how long after it began the
	// next one does; at most gapLimit. A batch costs as much as many messages: from
	// 20 000 a second on batches grow until they are full or gapLimit apart, which
	// is less than such a load waits anyway, and below that a batch waits for
	// nothing but the sync before it. A message that comes alone never waits.
	crowdGap = 50 * time.Microsecond
	gapLimit = 5 * time.Millisecond
	// proofGap is the same for a batch of nothing but proofs. Nobody waits for
	// them, and after a crash a repeat is all that a lost one costs.
	proofGap = 5 * time.Millisecond
	// gather is how often the keeper lets others run, before it sends a batch, for
	// what they have for it. On an idle machine that takes no time; on a busy one,
	// where they would have to wait for it anyway, it makes batches larger and
	// fewer.
	gather = 8
	// maxSpare is the longest inbox whose memory is kept.
	maxSpare = 1 << 14
)

// Options configure a Keeper. Log, Limits, Now, Random and Logger are needed.
type Options struct {
	Log    Log
	Limits Limits
	// Subscriptions are in effect from the start on, when the sessions of a
	// predecessor that was killed are closed. See SetSubscriptions.
	Subscriptions map[string][]Subscription
	Now           func() time.Time
	Random        io.Reader // of IDs; used by one goroutine
	Logger        *slog.Logger
	Metrics       prometheus.Registerer // nil for none

	// Free returns the free bytes of the log's disk; nil when nobody knows.
	// Below MinFree messages are refused until there is room again.
	Free    func() (uint64, error)
	MinFree uint64
	// Recover brings the log back after it failed; nil when it comes by itself.
	// When it returns ErrRetired, the keeper ends.
	Recover func(context.Context) error

	// Shard is this keeper's, and ShardOf says to which one a user belongs; nil:
	// everybody to this one. What the keeper has to tell a user of another shard
	// goes into the mailbox Relay of that shard.
	Shard   int
	ShardOf func(wire.UserID) int
	// Node is this node's ID, as in Session.Node; empty where there is only one.
	Node string
	// Gather names the nodes whose sessions, left open by the predecessor, may be
	// registered anew: nothing is delivered until each has called Registered, or
	// CloseNode was called for it. The sessions of all others are closed at once.
	Gather []string
	// Valid says whether this node still owns the shard; nil: always. While it is
	// false nothing is delivered, accepted or written. It is called often.
	Valid func() bool
	// LogName names the log and its incarnation for other domains, see Delivery: the
	// same over restarts and takeovers, another one when the log is made anew.
	LogName string
	// Link says whether a user is the link to another domain: its mailbox is limited
	// by Limits.LinkBytes and LinkAge alone. Nil: nobody is.
	Link func(wire.UserID) bool
	// Abroad wraps a notice for a user who lives in another domain: frame waits in the
	// mailbox of link then, in the batch of what it tells of. Not ok: he lives here, or
	// nobody knows where. Nil: everybody does.
	Abroad func(n Notice) (link wire.UserID, frame []byte, ok bool)

	// Returned gets what was accepted and never sent to the log when the keeper
	// ends with Retire or ErrRetired, in order: it is for the next keeper. Nil: it
	// is refused to its sender.
	Returned func(*Message)
}

// Notice is what a keeper has to tell a user.
type Notice struct {
	To       wire.UserID
	From     wire.UserID // whom it is about
	ID       wire.ID
	Presence bool // makes room in a full mailbox
	Expires  time.Time
	Frame    []byte
}

// ErrRetired is what Options.Recover returns when this node does not own the
// shard any more.
var ErrRetired = errors.New("another node keeps this shard")

// Keeper runs one shard: see the package comment. Its methods may be called
// from any goroutine and do not block; they take effect in the order in which
// they are called.
type Keeper struct {
	opts Options
	tune tuning
	core *core // owned by Run

	mu       sync.Mutex
	inbox    []event
	fetches  map[wire.ID]int // how many of each session wait
	snapshot snapshot
	closed   bool
	retired  bool // closed, for another keeper
	taken    bool // what was told of sessions after that has been taken, see Held

	retire     chan struct{}
	retireOnce sync.Once
	retiring   atomic.Bool // what is not taken any more is for the next keeper

	wake    chan struct{}
	pending atomic.Int64 // bytes of messages accepted but not yet stored
	ready   atomic.Bool
	metrics metrics
	looks   chan struct{} // places for those who read bodies of their own
}

// event is one call, on its way to the core.
type event struct {
	kind    eventKind
	id      wire.ID
	n       uint64
	session *Session
	message *Message
	change  *change
	ask     func(*core, time.Time) // gets nil when nobody serves any more
	request *request
	core    *core
	batch   []byte
	err     error
	node    string
	held    *Held
	forward *forwarding
}

// change is a change of limits, or of subscriptions.
type change struct {
	limits        Limits
	minFree       uint64
	subscriptions map[string][]Subscription
}

// request is several messages that came together.
type request struct {
	messages []*Message
	once     *Once
}

type eventKind uint8

const (
	evAccept eventKind = iota
	evAcceptAll
	evOpen
	evClose
	evProof
	evPass
	evProveEach
	evFetch
	evLoaded    // a read ended
	evRecovered // a new core has read the log to its end
	evLimits
	evAsk
	evSubscriptions
	evDetach
	evReopen
	evRegistered
	evCloseNode
	evForward
	evGiveUp // the log does not come back at once
)

// Open reads the log to its end. Run then takes it over and serves.
func Open(ctx context.Context, opts Options) (*Keeper, error) {
	k := &Keeper{opts: opts, tune: defaultTuning(), fetches: make(map[wire.ID]int), wake: make(chan struct{}, 1), looks: make(chan struct{}, maxLooks), retire: make(chan struct{})}
	core, err := k.rebuild(ctx, opts.Limits)
	if err != nil {
		return nil, err
	}
	core.subscriptions = opts.Subscriptions
	core.gather = make(map[string]bool)
	for _, node := range opts.Gather {
		core.gather[node] = true
	}
	core.closeStale(opts.Now())
	k.core = core
	k.watchDisk()
	k.publish()
	if err := k.metrics.init(k, opts.Metrics); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return k, nil
}

// rebuild makes a core from the log.
func (k *Keeper) rebuild(ctx context.Context, limits Limits) (*core, error) {
	id, err := wire.NewID(k.opts.Now(), k.opts.Random)
	if err != nil {
		return nil, fmt.Errorf("make the keeper's ID: %w", err)
	}
	c := newCore(id, limits, k.opts.Random, k.tune)
	c.node, c.shard, c.shardOf = k.opts.Node, k.opts.Shard, k.opts.ShardOf
	c.logName, c.isLink, c.abroad = k.opts.LogName, k.opts.Link, k.opts.Abroad
	_, last, ord, err := readLog(ctx, k.opts.Log, c, false)
	if err != nil {
		return nil, err
	}
	c.takeOver(last, ord)
	return c, nil
}

// readLog has c replay a log, from the first batch that matters on or, with whole,
// from the first that is there. It returns where the log begins and ends, and the
// place of its next message.
func readLog(ctx context.Context, log Log, c *core, whole bool) (first, last, ord uint64, err error) {
	first, last, _, err = log.Bounds(ctx)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("look at the log: %w", err)
	}
	if first > last {
		return first, last, 1, nil
	}
	batch, err := log.Read(ctx, last)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("read the last batch, %d: %w", last, err)
	}
	trim, ord, err := openBatch(batch)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("batch %d: %w", last, err)
	}
	if first > trim {
		return 0, 0, 0, fmt.Errorf("the log begins at batch %d, but batch %d still mattered: batches are missing from its head", first, trim)
	}
	from := trim
	if whole {
		from = first
	}
	if err := log.Replay(ctx, from, last, c.replay); err != nil {
		return 0, 0, 0, fmt.Errorf("replay the log: %w", err)
	}
	return first, last, ord, nil
}

// Accept takes a message for its receivers' mailboxes.
func (k *Keeper) Accept(m *Message) {
	if k.reserve(messageCost(m)) {
		k.post(event{kind: evAccept, message: m})
		return
	}
	overloaded(m)
}

// AcceptAll takes the messages of one request, in their order. With once, which
// may be nil, each is accepted once, however often the request comes.
func (k *Keeper) AcceptAll(list []*Message, once *Once) {
	cost := int64(0)
	for _, m := range list {
		cost += messageCost(m)
	}
	if k.reserve(cost) {
		k.post(event{kind: evAcceptAll, request: &request{list, once}})
		return
	}
	for _, m := range list {
		overloaded(m)
	}
}

// reserve makes room for messages that are not stored yet.
func (k *Keeper) reserve(cost int64) bool {
	if k.pending.Add(cost) > maxPending {
		k.pending.Add(-cost)
		return false
	}
	return true
}

func overloaded(m *Message) {
	if m.Origin != nil {
		m.Origin.Failed(&wire.Error{
			Kind: wire.KindDeliverFailed, Code: wire.CodeOverloaded,
			Reason: "more messages arrive than the disk takes; try again", To: m.To, Group: m.Group,
		}, m.Reference)
	}
	if m.Done != nil {
		m.Done()
	}
}

// messageCost is about what a message takes in memory on its way to the log, and
// its receivers after it.
func messageCost(m *Message) int64 { return int64(len(m.Frame)) + receiverCost*int64(len(m.To)) + 128 }

// Open registers a session; deliveries to its Outlet may begin before Open
// returns.
func (k *Keeper) Open(s Session) { k.post(event{kind: evOpen, session: &s}) }

// Close ends a session: what it did not prove goes back to its place. Closing
// one that is not open does nothing.
func (k *Keeper) Close(id wire.ID) { k.post(event{kind: evClose, id: id}) }

// Prove says that every delivery up to n is proved.
func (k *Keeper) Prove(id wire.ID, n uint64) { k.post(event{kind: evProof, id: id, n: n}) }

// ProveEach says that delivery n is proved, on a session that was opened with
// Each.
func (k *Keeper) ProveEach(id wire.ID, n uint64) { k.post(event{kind: evProveEach, id: id, n: n}) }

// Pass says that every delivery up to n has arrived, on a session where that
// does not prove it: more may follow.
func (k *Keeper) Pass(id wire.ID, n uint64) { k.post(event{kind: evPass, id: id, n: n}) }

// Fetch asks for count of the messages that the session missed. It returns
// false when too many fetches of the session wait already.
func (k *Keeper) Fetch(id wire.ID, count int) bool {
	k.mu.Lock()
	if k.fetches[id] >= maxFetches {
		k.mu.Unlock()
		return false
	}
	k.fetches[id]++
	k.mu.Unlock()
	k.post(event{kind: evFetch, id: id, n: uint64(count)})
	return true
}

// SetLimits changes the limits for what is accepted from now on.
func (k *Keeper) SetLimits(l Limits, minFree uint64) {
	k.post(event{kind: evLimits, change: &change{limits: l, minFree: minFree}})
}

// SetSubscriptions changes, by app, who hears of its sessions and of what its
// users send. Messages that wait are reported as it was when they were accepted.
func (k *Keeper) SetSubscriptions(byApp map[string][]Subscription) {
	k.post(event{kind: evSubscriptions, change: &change{subscriptions: byApp}})
}

// Ready says whether the keeper owns its log and stores messages.
func (k *Keeper) Ready() bool { return k.ready.Load() }

// Behind says that more messages arrive than are stored: those who can hold
// theirs back should.
func (k *Keeper) Behind() bool { return k.pending.Load() > muchPending }

func (k *Keeper) post(ev event) {
	k.mu.Lock()
	if k.closed {
		if k.retired && !k.taken && ev.ofSession() {
			k.inbox = append(k.inbox, ev)
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
		k.afterStop(&ev)
		return
	}
	k.inbox = append(k.inbox, ev)
	k.mu.Unlock()
	k.stir()
}

// stir has Run look what there is to do.
func (k *Keeper) stir() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// afterStop answers what comes when nobody serves any more.
func (k *Keeper) afterStop(ev *event) {
	giveUp := k.refuseStopped
	if k.retiring.Load() {
		giveUp = k.giveUp
	}
	switch ev.kind {
	case evAccept:
		giveUp(ev.message)
	case evAcceptAll:
		if ev.request.once != nil {
			giveUp = k.refuseStopped // what was accepted of it before is known here only
		}
		for _, m := range ev.request.messages {
			giveUp(m)
		}
	case evForward:
		ev.forward.done(0, errRetired())
	case evAsk:
		ev.ask(nil, time.Time{})
	}
}

func (k *Keeper) refuseStopped(m *Message) {
	if m.Origin != nil {
		m.Origin.Failed(&wire.Error{
			Kind: wire.KindDeliverFailed, Code: wire.CodeStoreDown,
			Reason: "the server is stopping; try again", To: m.To, Group: m.Group,
		}, m.Reference)
	}
	k.done(m)
}
