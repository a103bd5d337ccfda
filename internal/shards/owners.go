package shards

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Duty is something that whoever keeps a shard does for it, beside its mailboxes. One
// node at a time does it, as far as the table of shards goes; two may believe it for a
// moment, so what must not be done twice rests on the expected sequence of a log.
//
// Begin and End are called for a shard in turn, and may take their time. The other
// methods are called from any goroutine and must be quick; they may call Owners, and none
// is called with a lock held. What they are given is valid during the call only.
type Duty interface {
	// Begin makes ready to serve a shard: it returns when Serve may be called. It is
	// called again after an error, unless ctx has ended, which it does with the tenure.
	Begin(ctx context.Context, shard int, term uint64) error
	// End is called when Serve is called no more. What was asked before is answered when
	// it returns: what was not done, and never will be, with ErrNext. What is not answered
	// has an unknown outcome.
	End(shard int)
	// Serve does what a node asks, this one or another. It answers once, then or later.
	Serve(shard int, from string, request []byte, answer func(reply []byte, err error))
	// Told brings what Owners.Tell was given on a node, this one or another.
	Told(from string, message []byte)
	// Moved says that what is asked from here on is served by an owner that may know
	// nothing of what this node asked before, or told others through it: another one,
	// or one that was out of reach. What is asked by first, before Moved returns, goes to it
	// before all that waits for an owner.
	Moved(shard int, first func(request []byte, answer func(reply []byte, err error)))
	// Lost says that a node is gone for good, with all its sessions.
	Lost(node string)
}

var (
	// ErrUnknown says that what was asked may have been done, or may be yet.
	ErrUnknown = errors.New("the node that was asked does not answer; it may have been done")
	// ErrNobody says that no node did what was asked, since none kept the shard in time.
	ErrNobody = errors.New("no node does that at the moment; try again")
	// ErrCrowded says that it was not asked, since too much waits for an owner.
	ErrCrowded = errors.New("no node does that at the moment, and as much waits for one as may; try again")
	// ErrNext is what a Duty answers that ends, or that finds that another does it now:
	// the next owner is asked, when this one has ended.
	ErrNext = errors.New("the next node that does that is to be asked")
	// ErrTooLarge says that a request is larger than MaxErrand.
	ErrTooLarge = errors.New("the request is too large to be handed to another node")
)

// MaxErrand is the largest request, reply or message between nodes, in bytes.
const MaxErrand = 4 << 20

// OwnersOptions configure Owners. Name, Shards, Duty and Logger are needed, and Self
// and Links where there are other nodes.
type OwnersOptions struct {
	Name    string // of the duty, in logs and metrics
	Self    string // this node's ID
	Shards  int
	Links   Links // nil: there are no other nodes
	Duty    Duty
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil for none
}

// Owners is the one face of all who do a duty, here and on other nodes. Its methods may
// be called from any goroutine and do not block.
//
// What one goroutine asks of one shard is served in order, as long as one owner serves.
// Each request has one outcome: a reply, an error of the Duty, or one of those above.
type Owners struct {
	opts  OwnersOptions
	posts []*post
	last  atomic.Uint64 // the number of the last request

	refused prometheus.Counter
	unknown prometheus.Counter
}

// NewOwners makes Owners of shards for which nobody does anything yet: Leases.Do or
// Alone has this node begin.
func NewOwners(opts OwnersOptions) (*Owners, error) {
	if opts.Name == "" || opts.Shards < 1 || opts.Duty == nil || opts.Logger == nil {
		return nil, errors.New("shards: OwnersOptions.Name, Shards, Duty and Logger are needed")
	}
	o := &Owners{opts: opts, posts: make([]*post, opts.Shards)}
	o.opts.Logger = opts.Logger.With("duty", opts.Name)
	for i := range o.posts {
		o.posts[i] = &post{owners: o, shard: i}
	}
	labels := prometheus.Labels{"duty": opts.Name}
	o.refused = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "switchboard_duty_refused_total", Help: "Requests refused because no node did the duty for their shard in time.", ConstLabels: labels,
	})
	o.unknown = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "switchboard_duty_unknown_total", Help: "Requests of which nobody knows whether they were done, since the node that was asked is gone or did not answer.", ConstLabels: labels,
	})
	if opts.Metrics != nil {
		for _, c := range []prometheus.Collector{o.refused, o.unknown} {
			if err := opts.Metrics.Register(c); err != nil {
				return nil, err
			}
		}
	}
	return o, nil
}

// Shards returns how many there are.
func (o *Owners) Shards() int { return len(o.posts) }

// ShardOf returns the shard of a key.
func (o *Owners) ShardOf(key string) int { return ShardOf(wire.UserID(key), len(o.posts)) }

// Request has the owner of a shard serve a request, now or when there is one. answer is
// called once, from any goroutine, perhaps before Request returns; the reply is its own
// to keep. The request must not be changed before.
func (o *Owners) Request(shard int, request []byte, answer func(reply []byte, err error)) {
	if len(request) > MaxErrand {
		answer(nil, ErrTooLarge)
		return
	}
	o.posts[shard].take(&errand{request: request, answer: answer})
}

// Ask is Request for those who wait. When ctx ends first the outcome is not known.
func (o *Owners) Ask(ctx context.Context, shard int, request []byte) ([]byte, error) {
	type result struct {
		reply []byte
		err   error
	}
	results := make(chan result, 1)
	o.Request(shard, request, func(reply []byte, err error) { results <- result{reply, err} })
	select {
	case r := <-results:
		return r.reply, r.err
	case <-ctx.Done():
		return nil, errors.Join(ErrUnknown, ctx.Err())
	}
}

// Tell brings a message to a node: to this one before it returns. False: the node is out
// of reach; when it is again, and has asked for anything, its Moved is called.
func (o *Owners) Tell(node string, message []byte) bool {
	switch {
	case node == o.opts.Self:
		o.opts.Duty.Told(node, message)
		return true
	case o.opts.Links == nil || len(message) > MaxErrand:
		return false
	}
	return o.opts.Links.Send(node, begin(nil, kindTold, 0, 0), message)
}

// Here returns the shards for which this node does the duty.
func (o *Owners) Here() (list []int) {
	for _, p := range o.posts {
		p.mu.Lock()
		if p.tenure != nil {
			list = append(list, p.shard)
		}
		p.mu.Unlock()
	}
	return list
}

// Served says whether a shard has an owner, as far as this node knows.
func (o *Owners) Served(shard int) bool {
	p := o.posts[shard]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tenure != nil || p.far != nil
}

// Still says whether a shard is still this node's, by the table's own store. Who finds
// that another has written to its log asks this before it reads the log anew.
func (o *Owners) Still(ctx context.Context, shard int) (bool, error) {
	p := o.posts[shard]
	p.mu.Lock()
	holds := p.holds
	p.mu.Unlock()
	if holds == nil {
		return false, nil
	}
	err := holds(ctx)
	if errors.Is(err, mailbox.ErrRetired) {
		return false, nil
	}
	return err == nil, err
}

// Tend gives up what has waited for too long. It is called about once a second.
func (o *Owners) Tend(now time.Time) {
	for _, p := range o.posts {
		p.tend(now)
	}
}

// Up says that a link to a node begins anew: what was said before, either way, will not
// be heard any more.
func (o *Owners) Up(node string) {
	o.Down(node)
	for _, p := range o.posts {
		p.mu.Lock()
		if t := p.tenure; t != nil {
			o.say(node, kindServes, p.shard, t.term)
		}
		p.mu.Unlock()
	}
}

// Down says that the link to a node is broken.
func (o *Owners) Down(node string) {
	for _, p := range o.posts {
		p.broken(node)
	}
}

// Died says that a node is gone for good.
func (o *Owners) Died(node string) {
	o.Down(node)
	o.opts.Duty.Lost(node)
}
