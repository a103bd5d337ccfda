package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/journal"
	"github.com/seed-3d8c1042/switchboard/internal/shards"
	"github.com/seed-3d8c1042/switchboard/internal/traffic"
	"github.com/seed-3d8c1042/switchboard/internal/window"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// trafficPart is what counts messages, and says how many there were.
type trafficPart struct {
	room   *traffic.Room
	meters *traffic.Meters
}

// askTraffic is what a request begins with that is not the journal's own, but about
// what is folded from it.
const askTraffic = 0xff

// buildTraffic makes what folds the journal into windows; who keeps a shard's journal
// is asked for them, too.
func (n *node) buildTraffic(owners *shards.Owners) (*trafficDesk, error) {
	t := n.opts.Settings.Traffic
	room, err := traffic.New(traffic.Options{
		Shards: owners.Shards(), Lateness: t.Lateness, Groups: t.Groups, Devices: t.Devices, Rows: t.Rows, Metrics: n.metrics,
		Ask: func(ctx context.Context, shard int, request []byte) ([]byte, error) {
			return askUntilKnown(ctx, func() ([]byte, error) { return owners.Ask(ctx, shard, append([]byte{askTraffic}, request...)) })
		},
	})
	if err != nil {
		return nil, err
	}
	n.traffic = trafficPart{room, traffic.NewMeters(nil)}
	return &trafficDesk{room: room, here: make(map[int]*trafficShard)}, nil
}

// trafficAgain is how long it is waited before a shard is asked once more.
const trafficAgain = 100 * time.Millisecond

// askUntilKnown asks what may be asked twice until there is an answer, or ctx ends: whoever
// was asked may be gone with the question, and the next keeper knows as much.
func askUntilKnown(ctx context.Context, ask func() ([]byte, error)) ([]byte, error) {
	for {
		reply, err := ask()
		if !errors.Is(err, shards.ErrUnknown) {
			return reply, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(trafficAgain):
		}
	}
}

// counter returns what counts the messages of a session: of a user, or of the link to
// another domain.
func (n *node) counter(user wire.UserID, domain string) *traffic.Counter {
	if domain != "" {
		return n.traffic.meters.Counter("", domain)
	}
	return n.traffic.meters.Counter(user.App(), n.opts.Settings.Domain)
}

// noteTraffic has sums stored.
func (n *node) noteTraffic(list []traffic.Event) {
	for i := range list {
		e, sums := &list[i], list[i].Sums
		one := journal.Event{
			At: e.At, Type: journal.Traffic, App: e.App, Domain: e.Domain, Capability: e.Capability,
			Amount: int64(min(sums.Sum, journal.MaxAmount)),
		}
		if sums.Count > 1 {
			one.Count, one.Min, one.Max = int64(min(sums.Count, journal.MaxAmount)), int64(sums.Min), int64(sums.Max)
			one.Sketch = sums.Sketch()
		}
		n.journal.room.Note(one)
	}
}

// trafficDesk answers what is asked of the shards that this node keeps.
type trafficDesk struct {
	room *traffic.Room

	mu   sync.Mutex
	here map[int]*trafficShard
}

// trafficShard is a shard while this node keeps it.
type trafficShard struct {
	latest *trafficFold   // the last one that the journal has made of it
	open   bool           // it is asked
	asked  sync.WaitGroup // while it is
}

// kind is what the journal folds for windows.
func (d *trafficDesk) kind() journal.Kind {
	return journal.Kind{Name: "traffic", Chunks: traffic.Chunks, New: func(shard int) journal.Projection {
		f := &trafficFold{Shard: d.room.Begin(shard)}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.here[shard] == nil {
			d.here[shard] = new(trafficShard)
		}
		d.here[shard].latest = f
		return f
	}}
}

// begin has a shard asked: the journal has read what is stored.
func (d *trafficDesk) begin(shard int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.here[shard].latest.Ready()
	d.here[shard].open = true
}

// end has it asked no more, and returns when all is answered that was.
func (d *trafficDesk) end(shard int) {
	d.mu.Lock()
	x := d.here[shard]
	delete(d.here, shard)
	d.mu.Unlock()
	if x != nil {
		x.asked.Wait()
	}
}

// serve answers a question beside the caller: it may be about much.
func (d *trafficDesk) serve(j *journal.Room, shard int, request []byte, answer func(reply []byte, err error)) {
	request = append([]byte(nil), request...)
	if !d.ask(shard, func() {
		settled, err := j.Settled(shard)
		if err != nil {
			answer(nil, shards.ErrNext)
			return
		}
		answer(d.room.Serve(shard, request, settled))
	}) {
		answer(nil, shards.ErrNext)
	}
}

// ask begins what asks a shard, unless it is not asked.
func (d *trafficDesk) ask(shard int, do func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.here[shard]
	if x == nil || !x.open {
		return false
	}
	x.asked.Go(do)
	return true
}

// trafficFold folds the journal's events into windows.
type trafficFold struct {
	*traffic.Shard
	events []traffic.Event // the last batch, whose memory is used again
}

var _ journal.Projection = (*trafficFold)(nil)

// Fold implements journal.Projection.
func (f *trafficFold) Fold(_ uint64, events []journal.Event, due func(chunk int) bool) {
	f.events = f.events[:0]
	for i := range events {
		e := &events[i]
		if e.Type == journal.Carried {
			continue // nobody knows when it was
		}
		one := traffic.Event{
			At: e.At, Stored: e.Stored, Amount: uint64(e.Amount), Brought: e.Imported != 0,
			Key: traffic.Key{Type: string(e.Type), App: e.App, Capability: e.Capability, Domain: e.Domain, Device: e.Device},
		}
		if e.Count > 1 {
			one.Sums = sumsOf(e)
		}
		f.events = append(f.events, one)
	}
	f.Shard.Fold(f.events, due)
}

// sumsOf returns what an event stands for that is the sum of several.
func sumsOf(e *journal.Event) *window.Aggregate {
	numbers := window.Aggregate{Count: uint64(e.Count), Sum: uint64(e.Amount), Min: uint64(e.Min), Max: uint64(e.Max), First: e.At, Last: e.At}
	a, err := numbers.WithSketch(e.Sketch)
	if err != nil { // there is none, or one that another version has made
		a = window.Summed(e.At, numbers.Count, numbers.Sum, numbers.Min, numbers.Max)
	}
	return &a
}

// Tick implements journal.Projection. It is called of what is the shard's from now on.
func (f *trafficFold) Tick(int64, func(int) bool) { f.Ready() }

// sizes is the sketch of the sizes that the journal sums.
type sizes struct{ window.Aggregate }

func newSizes() journal.Sketch { return new(sizes) }

// Add implements journal.Sketch.
func (s *sizes) Add(size int64) { s.Aggregate.Add(0, uint64(max(size, 0))) }

// Encode implements journal.Sketch.
func (s *sizes) Encode() []byte { return s.Sketch() }
