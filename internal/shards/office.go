package shards

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// Patience is how long a message waits for its shard to have a keeper: longer
	// than the election of a leader takes.
	Patience = 15 * time.Second
	// maxWaiting is how many bytes of messages wait so, of one shard.
	maxWaiting = 16 << 20
	// muchWaiting is from where on senders should hold back.
	muchWaiting = maxWaiting / 4
	// silence is how long the outcome of a message that a keeper elsewhere has is
	// waited for: keepers answer in bounded time, also when their log does not.
	silence = 40 * time.Second
)

// Links is how an Office reaches other nodes: in order, or not at all. It
// copies what it is given.
type Links interface {
	Send(node string, parts ...[]byte) bool
}

// Options configure an Office. Shards and Logger are needed, and Self and Links
// where there are other nodes.
type Options struct {
	Self    string // this node's ID
	Shards  int
	Links   Links // nil: there are no other nodes
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil for none
	// Changed is called when this node begins or ends to keep shards; it must not
	// call the Office back before it returns. Nil for nobody.
	Changed func()
}

// Office is the one face of all keepers for this node. Its methods may be called
// from any goroutine; those of a keeper do not block.
type Office struct {
	opts   Options
	desks  []*desk
	places places
	convs  atomic.Uint64
	asking chan struct{} // places for questions of other nodes that are being answered

	refused prometheus.Counter
	moves   prometheus.Counter
}

// New makes an Office whose shards have no keeper yet.
func New(opts Options) (*Office, error) {
	if opts.Shards < 1 || opts.Logger == nil {
		return nil, errors.New("shards: Options.Shards and Options.Logger are needed")
	}
	o := &Office{opts: opts, desks: make([]*desk, opts.Shards), asking: make(chan struct{}, maxAsking)}
	for i := range o.desks {
		o.desks[i] = &desk{office: o, shard: i, sessions: make(map[wire.ID]*held)}
	}
	o.refused = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "switchboard_shards_refused_total", Help: "RELIABLE messages refused because no node kept their receiver's shard in time.",
	})
	o.moves = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "switchboard_shards_moves_total", Help: "Times that a shard's sessions of this node were registered anew with a keeper.",
	})
	if opts.Metrics != nil {
		kept := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "switchboard_shards_kept", Help: "Shards that this node keeps.",
		}, func() float64 { return float64(len(o.Kept())) })
		for _, c := range []prometheus.Collector{o.refused, o.moves, kept} {
			if err := opts.Metrics.Register(c); err != nil {
				return nil, err
			}
		}
	}
	return o, nil
}

// ShardOf returns the shard of a user. It must never change: what waits for a
// user is in that shard's log.
func (o *Office) ShardOf(user wire.UserID) int { return ShardOf(user, len(o.desks)) }

// ShardOf returns in which of so many shards a user is.
func ShardOf(user wire.UserID, shards int) int {
	if shards == 1 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(user))
	sum := h.Sum64()
	sum ^= sum >> 32 // the last byte alone moves the low bits otherwise
	return int(sum % uint64(shards))
}

func (o *Office) desk(user wire.UserID) *desk { return o.desks[o.ShardOf(user)] }

// Shards returns how many there are.
func (o *Office) Shards() int { return len(o.desks) }

// Kept returns the shards that this node keeps.
func (o *Office) Kept() (list []int) {
	for _, d := range o.desks {
		if d.local() != nil {
			list = append(list, d.shard)
		}
	}
	return list
}

// Keeper returns the keeper of a shard if it is on this node; nil otherwise.
func (o *Office) Keeper(shard int) *mailbox.Keeper { return o.desks[shard].local() }

// Unserved returns the shards of which this node knows no keeper that serves.
func (o *Office) Unserved() (list []int) {
	for _, d := range o.desks {
		if !d.served() {
			list = append(list, d.shard)
		}
	}
	return list
}

// Failing returns those of the shards of this node whose keeper does not store: its
// log failed and is not back yet.
func (o *Office) Failing() (list []int) {
	for _, d := range o.desks {
		if k := d.local(); k != nil && !k.Ready() {
			list = append(list, d.shard)
		}
	}
	return list
}

// Ready says whether every shard has a keeper that stores messages, as far as
// this node knows.
func (o *Office) Ready() bool { return len(o.Unserved()) == 0 }

// Behind says that more messages arrive than are stored: those who can hold
// theirs back should.
func (o *Office) Behind() bool {
	for _, d := range o.desks {
		if d.behind() {
			return true
		}
	}
	return false
}

// Open registers a session with the keeper of its user.
func (o *Office) Open(s mailbox.Session) {
	s.Node = o.opts.Self
	d := o.desk(s.User)
	o.place(s.ID, d)
	d.do(op{kind: kindOpen, id: s.ID, session: &s})
}

// Close ends a session.
func (o *Office) Close(id wire.ID) {
	d := o.at(id)
	o.leave(id)
	if d != nil {
		d.do(op{kind: kindClose, id: id})
	}
}

// Prove says that every delivery up to n is proved.
func (o *Office) Prove(id wire.ID, n uint64) { o.tell(op{kind: kindProve, id: id, n: n}) }

// ProveEach says that delivery n is proved, on a session that was opened with
// Each.
func (o *Office) ProveEach(id wire.ID, n uint64) { o.tell(op{kind: kindProveEach, id: id, n: n}) }

// Pass says that every delivery up to n has arrived, where that proves nothing.
func (o *Office) Pass(id wire.ID, n uint64) { o.tell(op{kind: kindPass, id: id, n: n}) }

// Fetch asks for count of the messages that the session missed. It returns false
// when too many fetches of the session wait already.
func (o *Office) Fetch(id wire.ID, count int) bool {
	d := o.at(id)
	return d == nil || d.do(op{kind: kindFetch, id: id, n: uint64(count)})
}

func (o *Office) tell(p op) {
	if d := o.at(p.id); d != nil {
		d.do(p)
	}
}

// Accept takes a message for its receivers' mailboxes.
func (o *Office) Accept(m *mailbox.Message) {
	parts := o.split(m)
	if parts == nil {
		o.desk(m.To[0]).acceptOne(m)
		return
	}
	for shard, part := range parts {
		if part != nil {
			o.desks[shard].acceptOne(part)
		}
	}
}

// AcceptAll takes the messages of one request, in their order. See
// mailbox.Keeper.AcceptAll.
func (o *Office) AcceptAll(list []*mailbox.Message, once *mailbox.Once) {
	if len(o.desks) == 1 {
		o.desks[0].accept(newRequest(once, true, list...))
		return
	}
	byShard := make([][]*mailbox.Message, len(o.desks))
	for _, m := range list {
		parts := o.split(m)
		if parts == nil {
			shard := o.ShardOf(m.To[0])
			byShard[shard] = append(byShard[shard], m)
			continue
		}
		for shard, part := range parts {
			if part != nil {
				byShard[shard] = append(byShard[shard], part)
			}
		}
	}
	for shard, part := range byShard {
		if len(part) > 0 {
			o.desks[shard].accept(newRequest(once, true, part...))
		}
	}
}

// SetLimits changes the limits of the keepers of this node.
func (o *Office) SetLimits(l mailbox.Limits, minFree uint64) {
	for _, d := range o.desks {
		if k := d.local(); k != nil {
			k.SetLimits(l, minFree)
		}
	}
}

// SetSubscriptions changes them for the keepers of this node.
func (o *Office) SetSubscriptions(byApp map[string][]mailbox.Subscription) {
	for _, d := range o.desks {
		if k := d.local(); k != nil {
			k.SetSubscriptions(byApp)
		}
	}
}

// Tend gives up what has waited for too long. It is called about once a second.
func (o *Office) Tend(now time.Time) {
	for _, d := range o.desks {
		d.tend(now)
	}
}

// Mailbox returns what is in a user's mailbox. See mailbox.Keeper.
func (o *Office) Mailbox(ctx context.Context, user wire.UserID) (mailbox.Mailbox, error) {
	return ask(ctx, o, user, question{What: askMailbox, User: user}, func(k *mailbox.Keeper) (mailbox.Mailbox, error) {
		return k.Mailbox(ctx, user)
	})
}

// Peek returns messages in a user's mailbox. See mailbox.Keeper.
func (o *Office) Peek(ctx context.Context, user wire.UserID, after uint64, limit int) ([]mailbox.Waiting, bool, error) {
	p, err := ask(ctx, o, user, question{What: askPeek, User: user, After: after, Limit: limit}, func(k *mailbox.Keeper) (page, error) {
		list, more, err := k.Peek(ctx, user, after, limit)
		return page{list, more}, err
	})
	return p.List, p.More, err
}

// Clear empties a user's mailbox. See mailbox.Keeper.
func (o *Office) Clear(ctx context.Context, user wire.UserID) (int, error) {
	return ask(ctx, o, user, question{What: askClear, User: user}, func(k *mailbox.Keeper) (int, error) {
		return k.Clear(ctx, user)
	})
}

// places knows at which desk each session is. With one shard nobody asks.
type places struct {
	shards [32]struct {
		mu sync.RWMutex
		at map[wire.ID]*desk
	}
}

func (o *Office) at(id wire.ID) *desk {
	if len(o.desks) == 1 {
		return o.desks[0]
	}
	p := &o.places.shards[id[len(id)-1]%uint8(len(o.places.shards))]
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.at[id]
}

func (o *Office) place(id wire.ID, d *desk) {
	if len(o.desks) == 1 {
		return
	}
	p := &o.places.shards[id[len(id)-1]%uint8(len(o.places.shards))]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = make(map[wire.ID]*desk)
	}
	p.at[id] = d
}

func (o *Office) leave(id wire.ID) {
	if len(o.desks) == 1 {
		return
	}
	p := &o.places.shards[id[len(id)-1]%uint8(len(o.places.shards))]
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.at, id)
}
