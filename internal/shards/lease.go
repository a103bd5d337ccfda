package shards

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

// Table is where it stands who keeps which shard: one row under each shard's
// number. All nodes have it in memory.
type Table interface {
	// Get returns a row and its revision; 0 when there is none.
	Get(key string) (row []byte, revision uint64)
	// Update replaces a row that has still that revision, 0 for one that is not
	// there, and fails with ErrChanged otherwise; then Get returns what is there.
	Update(ctx context.Context, key string, row []byte, revision uint64) (uint64, error)
	// Watch calls f for each row and each change. f must be quick.
	Watch(f func(key string, row []byte)) (stop func())
}

// ErrChanged says that a row is not any more what it was.
var ErrChanged = errors.New("the row was changed by another node")

// LeaseOptions configure Leases. All are needed.
type LeaseOptions struct {
	Office *Office
	Table  Table
	Self   string
	// Peers returns all nodes that are known, this one included.
	Peers func() []Peer
	// Valid says whether this node is one of them, as far as it knows.
	Valid func() bool
	// Open opens the log of a shard and its keeper, who expects the sessions of the
	// nodes in gather to be registered anew, and calls recover when the log fails.
	Open func(ctx context.Context, shard int, gather []string, recover func(context.Context) error) (*mailbox.Keeper, error)
	// Recover brings the engine back after the log of a shard failed.
	Recover func(context.Context) error
	// Gather is how long the nodes in gather have.
	Gather time.Duration
	Logger *slog.Logger
}

// Leases has this node keep its part of the shards: it takes those that nobody
// keeps, opens their keepers, and gives up what it has too many of, or all when it
// leaves.
type Leases struct {
	opts  LeaseOptions
	wake  chan struct{}
	wg    sync.WaitGroup
	does  []*Owners // what this node does for each shard that it keeps
	terms []*tenure // of this node, by shard; used by Run alone, as is the next
	// unknown are the owners of shards that are not known, and since when.
	unknown map[string]time.Time
}

// tenure is one shard that this node keeps, or is about to.
type tenure struct {
	shard int
	term  uint64
	stop  context.CancelFunc // has it end in good order
	done  chan struct{}      // closed when it has ended
}

const (
	// lookEvery is how often the plan is made anew when nothing seems to change.
	lookEvery = time.Second
	// openAgain is after what time a shard is opened again that could not be.
	openAgain = 500 * time.Millisecond
)

// NewLeases makes Leases; Run starts them.
func NewLeases(opts LeaseOptions) *Leases {
	return &Leases{opts: opts, wake: make(chan struct{}, 1), terms: make([]*tenure, len(opts.Office.desks))}
}

// Do has this node do a duty for each shard that it keeps. It is called before Run.
func (l *Leases) Do(o *Owners) { l.does = append(l.does, o) }

// Stir has the plan looked at soon: nodes have come, gone, or begun to leave.
func (l *Leases) Stir() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run takes and gives shards until ctx ends; then it gives up all that this node
// has, in good order, and returns.
func (l *Leases) Run(ctx context.Context) {
	stop := l.opts.Table.Watch(func(string, []byte) { l.Stir() })
	defer stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		l.look(ctx)
		select {
		case <-ctx.Done():
			for _, t := range l.terms {
				if t != nil {
					t.stop()
				}
			}
			l.wg.Wait()
			return
		case <-l.wake:
		case now := <-tick.C:
			l.opts.Office.Tend(now)
			for _, o := range l.does {
				o.Tend(now)
			}
		}
	}
}

// look compares what is with what should be, and begins what is to be done.
func (l *Leases) look(ctx context.Context) {
	seats := make([]seat, len(l.terms))
	for shard := range seats {
		seats[shard], _ = l.seat(shard)
	}
	for shard, t := range l.terms {
		if t == nil {
			continue
		}
		select {
		case <-t.done:
			l.terms[shard] = nil
		default:
			if s := seats[shard]; s.Term > t.term || s.Owner != l.opts.Self && s.Term == t.term {
				t.stop() // it is another's
			}
		}
	}
	if !l.opts.Valid() || ctx.Err() != nil {
		return
	}
	take, give := plan(l.opts.Self, append(l.opts.Peers(), l.newcomers(seats, time.Now())...), seats)
	for _, shard := range give {
		if t := l.terms[shard]; t != nil {
			t.stop()
		} else if err := l.free(ctx, shard, seats[shard].Term); err != nil {
			l.opts.Logger.Warn("a shard cannot be given up yet", "shard", shard, "err", err)
		}
	}
	for _, shard := range take {
		if l.terms[shard] == nil {
			l.take(ctx, shard)
		}
	}
	// A shard that stands under our name though we do not keep it: its tenure
	// ended before the table took that.
	for shard := range seats {
		// Looked up anew: it may have been given up since.
		if s, _ := l.seat(shard); s.Owner == l.opts.Self && l.terms[shard] == nil {
			l.begin(ctx, shard, s.Term)
		}
	}
}

// newcomers returns the owners of shards that are not known: they have come a
// moment ago, and one table has told so before the other. Who stays unknown is
// long gone.
func (l *Leases) newcomers(seats []seat, now time.Time) (list []Peer) {
	known := make(map[string]bool)
	for _, p := range l.opts.Peers() {
		known[p.ID] = true
	}
	unknown := make(map[string]time.Time)
	for _, s := range seats {
		if s.Owner == "" || known[s.Owner] {
			continue
		}
		since, there := l.unknown[s.Owner]
		if !there {
			since = now
		}
		unknown[s.Owner] = since
		if now.Sub(since) < lookEvery {
			list = append(list, Peer{ID: s.Owner})
		}
	}
	l.unknown = unknown
	return list
}

// seat returns who keeps a shard.
func (l *Leases) seat(shard int) (s seat, revision uint64) {
	row, revision := l.opts.Table.Get(strconv.Itoa(shard))
	if row == nil {
		return seat{}, revision
	}
	if err := json.Unmarshal(row, &s); err != nil {
		l.opts.Logger.Error("the table of shards has a row that cannot be read", "shard", shard, "err", err)
	}
	return s, revision
}

// take makes a shard this node's, unless another is faster, and begins to keep it.
func (l *Leases) take(ctx context.Context, shard int) {
	s, revision := l.seat(shard)
	s = seat{Owner: l.opts.Self, Term: s.Term + 1}
	if err := l.write(ctx, shard, s, revision); err != nil {
		l.opts.Logger.Info("a shard could not be taken", "shard", shard, "err", err)
		return
	}
	l.begin(ctx, shard, s.Term)
}

// free gives a shard up.
func (l *Leases) free(ctx context.Context, shard int, term uint64) error {
	s, revision := l.seat(shard)
	if s.Owner != l.opts.Self || s.Term != term {
		return nil // it is another's by now
	}
	return l.write(ctx, shard, seat{Term: term}, revision)
}

func (l *Leases) write(ctx context.Context, shard int, s seat, revision uint64) error {
	row, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = l.opts.Table.Update(ctx, strconv.Itoa(shard), row, revision)
	return err
}

// begin keeps a shard until it is stopped.
func (l *Leases) begin(ctx context.Context, shard int, term uint64) {
	keeping, stop := context.WithCancel(ctx)
	t := &tenure{shard: shard, term: term, stop: stop, done: make(chan struct{})}
	l.terms[shard] = t
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		defer stop()
		l.keep(keeping, t)
		close(t.done)
		l.Stir()
	}()
}

// keep opens the shard's keeper and has it serve until ctx ends, or it is fenced.
func (l *Leases) keep(ctx context.Context, t *tenure) {
	rest := l.do(ctx, t)
	defer rest()
	gather := l.ids()
	keeper, err := l.open(ctx, t, gather)
	if err != nil {
		return // stopped before it was open: the shard stands under our name until then
	}
	l.opts.Logger.Info("this node keeps a shard", "shard", t.shard, "term", t.term)
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		// It returns nil. It is ended by Retire, not by a context, so that what it
		// has accepted is stored or given back.
		_ = keeper.Run(context.WithoutCancel(ctx))
	}()
	l.opts.Office.Serve(t.shard, t.term, keeper)
	end, err := l.opts.Office.Forward(t.shard, keeper)
	if err != nil {
		l.opts.Logger.Error("notices of a shard are not forwarded", "shard", t.shard, "err", err)
		end = func() {}
	}
	l.opts.Office.Announce(t.shard, l.ids())
	l.passedAway(keeper, gather)
	late := time.NewTimer(l.opts.Gather)
	defer late.Stop()
	for serving := true; serving; {
		select {
		case <-late.C:
			l.lateComers(t, keeper, gather)
		case <-ctx.Done():
			l.opts.Office.Withdraw(t.shard)
			end()
			keeper.Retire()
			<-ran
			serving = false
		case <-ran: // fenced: it was withdrawn by recover
			end()
			serving = false
		}
	}
	l.opts.Office.Leave(t.shard, keeper.Held())
	rest()
	l.opts.Logger.Info("this node keeps a shard no more", "shard", t.shard, "term", t.term)
	quick, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookEvery)
	defer cancel()
	if err := l.free(quick, t.shard, t.term); err != nil {
		l.opts.Logger.Warn("that a shard is given up is not written; others take it when this node is gone", "shard", t.shard, "err", err)
	}
}

// do begins the duties for a shard. The returned function ends them, and waits for
// that: so the next node finds what this one did.
func (l *Leases) do(ctx context.Context, t *tenure) (end func()) {
	doing, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, o := range l.does {
		wg.Go(func() {
			o.posts[t.shard].keep(doing, t.term, l.ids, func(ctx context.Context) error { return l.still(ctx, t) })
		})
	}
	return func() {
		stop()
		wg.Wait()
	}
}

// passedAway tells a keeper of nodes that died, or left, before it served: of those
// that do from then on it hears with the others.
func (l *Leases) passedAway(keeper *mailbox.Keeper, gather []string) {
	alive := l.ids()
	for _, node := range gather {
		if !slices.Contains(alive, node) {
			keeper.CloseNode(node)
		}
	}
}

// lateComers gives up waiting for the sessions of nodes that have not registered
// theirs: whatever they have is closed, and comes anew.
func (l *Leases) lateComers(t *tenure, keeper *mailbox.Keeper, gather []string) {
	alive := l.ids()
	for _, node := range gather {
		if node != l.opts.Self && slices.Contains(alive, node) && l.opts.Office.desks[t.shard].absent(node) {
			l.opts.Logger.Warn("a node did not register its sessions with a shard in time; they are closed there", "shard", t.shard, "node", node)
			keeper.CloseNode(node)
		}
	}
}

// absent says that a node has begun no conversation.
func (d *desk) absent(node string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.guestOf(node) == 0
}

func (l *Leases) ids() (list []string) {
	for _, p := range l.opts.Peers() {
		if !p.Dead {
			list = append(list, p.ID)
		}
	}
	return list
}

// open opens the keeper, as often as it takes.
func (l *Leases) open(ctx context.Context, t *tenure, gather []string) (*mailbox.Keeper, error) {
	for {
		keeper, err := l.opts.Open(ctx, t.shard, gather, func(ctx context.Context) error { return l.recover(ctx, t) })
		if err == nil || ctx.Err() != nil {
			return keeper, errors.Join(err, ctx.Err())
		}
		l.opts.Logger.Warn("the log of a shard cannot be opened yet", "shard", t.shard, "err", err)
		select {
		case <-time.After(openAgain):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// recover is what a keeper asks for after its log failed, or refused it because
// another has written to it. Whether the shard is still this node's is asked of
// the table's own store: what is in memory here may be old, and who takes a log
// over that is another's would fence that one in turn.
func (l *Leases) recover(ctx context.Context, t *tenure) error {
	if l.mine(t) {
		if err := l.opts.Recover(ctx); err != nil {
			return fmt.Errorf("recover the engine: %w", err)
		}
	}
	err := l.still(ctx, t)
	if errors.Is(err, mailbox.ErrRetired) {
		l.opts.Office.Withdraw(t.shard)
	}
	return err
}

// mine says whether a tenure goes on, as far as this node knows.
func (l *Leases) mine(t *tenure) bool {
	s, _ := l.seat(t.shard)
	return s.Owner == l.opts.Self && s.Term == t.term
}

// still asks the table's own store whether a tenure goes on, and returns
// mailbox.ErrRetired if not.
func (l *Leases) still(ctx context.Context, t *tenure) error {
	s, revision := l.seat(t.shard)
	if s.Owner != l.opts.Self || s.Term != t.term {
		return mailbox.ErrRetired
	}
	err := l.write(ctx, t.shard, s, revision)
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, ErrChanged):
		return fmt.Errorf("see whether the shard is still this node's: %w", err)
	case l.mine(t): // changed by ourselves, when we did not hear the answer or two asked
		return nil
	}
	return mailbox.ErrRetired
}
