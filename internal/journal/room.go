package journal

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

// Owners is how a node asks who keeps a shard's journal, here or elsewhere.
type Owners interface {
	Shards() int
	ShardOf(key string) int
	// Ask returns the answer of the shard's owner. ErrUnknown says that it may have done
	// what it was asked, ErrNobody and ErrBusy that it has not.
	Ask(ctx context.Context, shard int, request []byte) ([]byte, error)
}

// Options configure a Room. All but Kinds and Sketch are needed.
type Options struct {
	Self   string // this process, among all that ever were; of letters and digits
	Owners Owners
	// Still says whether this node is the owner of a shard still, by what all believe. It
	// is asked when another one's batch is found.
	Still   func(ctx context.Context, shard int) (bool, error)
	Log     Log
	States  Checkpoints
	Kinds   []Kind // further projections
	Limits  func() Limits
	Now     func() time.Time
	Random  io.Reader
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	// Sketch makes what takes the sizes that are summed. Nil: sums have no sketch.
	Sketch func() Sketch
}

// Sketch takes in sizes. Its encoding can be added to that of others.
type Sketch interface {
	Add(size int64)
	Encode() []byte
}

// Limits bound a Room.
type Limits struct {
	Keep    time.Duration // how long events are kept
	Queue   int           // events of this node that wait to be stored
	Devices int           // states of devices of one shard
}

// Room is the journal as one node has it. Its methods may be called from any goroutine.
type Room struct {
	opts    Options
	metrics *metrics
	senders []*sender
	waiting atomic.Int64 // events that wait, in all queues
	sums    sums
	ended   atomic.Bool // nothing is sent any more

	mu     sync.Mutex
	owners map[int]*owner
}

// New makes a Room. Run has it write.
func New(o Options) (*Room, error) {
	if o.Self == "" || o.Owners == nil || o.Still == nil || o.Log == nil || o.States == nil || o.Limits == nil || o.Now == nil || o.Random == nil || o.Logger == nil || o.Metrics == nil {
		return nil, errors.New("journal: Options.Self, Owners, Still, Log, States, Limits, Now, Random, Logger and Metrics are needed")
	}
	r := &Room{opts: o, owners: make(map[int]*owner), senders: make([]*sender, o.Owners.Shards())}
	r.sums.sketch = o.Sketch
	for i := range r.senders {
		r.senders[i] = &sender{room: r, shard: i, wake: make(chan struct{}, 1)}
	}
	var err error
	r.metrics, err = newMetrics(o.Metrics, r)
	return r, err
}

func (r *Room) now() int64 { return r.opts.Now().UnixMilli() }

// Begin makes this node the owner of a shard: it returns when the shard's journal is
// read. An error says that it is not, and may be tried again.
func (r *Room) Begin(ctx context.Context, shard int) error {
	o := &owner{room: r, shard: shard, inbox: make(chan *asked, inboxes), stop: make(chan struct{}), done: make(chan struct{})}
	if err := o.open(ctx); err != nil {
		return fmt.Errorf("read the journal of shard %d: %w", shard, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owners[shard] != nil {
		return fmt.Errorf("journal: shard %d has an owner here", shard)
	}
	r.owners[shard] = o
	go o.run() // End waits for it
	return nil
}

// End ends what Begin began. What was asked and not done is answered with ErrNext.
func (r *Room) End(shard int) {
	r.mu.Lock()
	o := r.owners[shard]
	delete(r.owners, shard)
	r.mu.Unlock()
	if o != nil {
		close(o.stop)
		<-o.done
	}
}

func (r *Room) owner(shard int) *owner {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.owners[shard]
}

// Serve does what a node asks of a shard's owner, and answers once, now or later. The
// request is not needed after the call.
func (r *Room) Serve(shard int, b []byte, answer func(reply []byte, err error)) {
	o := r.owner(shard)
	if o == nil {
		answer(nil, ErrNext)
		return
	}
	if len(b) == 0 {
		answer(answerError(errRequest), nil)
		return
	}
	switch what, rest := b[0], b[1:]; what {
	case askAdd, askImport:
		q, err := decodeRequest(rest, what == askImport)
		if err != nil {
			answer(answerError(err), nil)
			return
		}
		o.ask(&asked{request: q, answer: answer})
	case askDevice:
		p := reader{rest: rest}
		app, any, device := p.text(), p.byte() == 1, p.text()
		if !p.end() {
			answer(answerError(errRequest), nil)
			return
		}
		answer(o.device(app, any, device))
	case askReached:
		answer(o.reached(string(rest)))
	case askRebuild:
		o.ask(&asked{rebuild: true, answer: answer})
	default:
		answer(answerError(errRequest), nil)
	}
}

// ask asks a shard's owner and reads its answer's first part.
func (r *Room) ask(ctx context.Context, shard int, request []byte) ([]byte, error) {
	reply, err := r.opts.Owners.Ask(ctx, shard, request)
	if err != nil {
		return nil, err
	}
	return readAnswer(reply)
}

// errDevices says that there is no room for another device.
var errDevices = fmt.Errorf("%w: it knows as many devices as it may", ErrFull)

// reserve makes room for events that wait; false when there is none.
func (r *Room) reserve(n int) bool {
	if r.waiting.Add(int64(n)) <= int64(r.opts.Limits().Queue) {
		return true
	}
	r.release(n)
	return false
}

func (r *Room) release(n int) { r.waiting.Add(-int64(n)) }

// fill gives an event what it lacks.
func (r *Room) fill(e *Event) {
	if e.ID == "" {
		id, err := wire.NewID(r.opts.Now(), r.opts.Random)
		if err != nil {
			panic(fmt.Sprintf("journal: randomness failed: %v", err)) // which crypto/rand does not
		}
		e.ID = id.String()
	}
	if e.At == 0 {
		e.At, e.Filled = r.now(), true
	}
}

// Add stores events, of which Check has found nothing wrong, and gives each that has
// none an ID and a time. When it returns nil they are stored, and states have them. One
// whose ID was stored before, of the same device, is as good as stored if it is the same
// one, and in a ConflictError if it is another. After ErrUnknown, or when ctx ended,
// nobody knows of some of them; after any other error some may be stored, so it is tried
// again with the same IDs.
func (r *Room) Add(ctx context.Context, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	if !r.reserve(len(events)) {
		return ErrBusy
	}
	w, of := newWaiter(len(events)), make(map[int][]item)
	for i := range events {
		e := &events[i]
		r.fill(e)
		shard := r.opts.Owners.ShardOf(e.Device)
		of[shard] = append(of[shard], item{*e, w, i})
	}
	for shard, items := range of { // together, so that few are stored where others are refused
		r.senders[shard].put(items...)
	}
	select {
	case <-w.done:
		return w.outcome()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknown, context.Cause(ctx))
	}
}

// Note has an event stored that the program itself noticed, without waiting. Single
// events of bytes are summed; see Run.
func (r *Room) Note(e Event) {
	r.fill(&e)
	if (e.Type == BytesSent || e.Type == BytesReceived) && e.Count == 0 && !r.sums.first(&e) {
		return
	}
	r.note(e)
}

// note queues an event, or counts it as lost.
func (r *Room) note(e Event) {
	switch {
	case !e.sound():
		r.metrics.lose("refused", 1)
		return
	case r.ended.Load():
		r.metrics.lose("stop", 1)
		return
	case !r.reserve(1):
		r.metrics.lose("queue", 1)
		return
	}
	key := e.Device
	if key == "" {
		key = r.opts.Self // so that those of one node are of one shard
	}
	r.senders[r.opts.Owners.ShardOf(key)].put(item{event: e})
}

// lookAgain is how long it is waited before a state is asked for once more.
const lookAgain = 100 * time.Millisecond

// Device returns the state of a device: as far as it is of an app, or all of it. Where the
// owner is gone that was asked the next one is, until ctx ends: then it is ErrNobody.
func (r *Room) Device(ctx context.Context, app string, any bool, device string) (State, error) {
	b := putText([]byte{askDevice}, app)
	if any {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = putText(b, device)
	for {
		reply, err := r.ask(ctx, r.opts.Owners.ShardOf(device), b)
		if err == nil {
			return readState(reply)
		}
		if !errors.Is(err, ErrUnknown) {
			return State{}, err
		}
		select {
		case <-ctx.Done():
			return State{}, fmt.Errorf("%w: %w", ErrNobody, context.Cause(ctx))
		case <-time.After(lookAgain):
		}
	}
}

// Rebuild makes all that is folded from events anew, of all shards, one after the
// other.
func (r *Room) Rebuild(ctx context.Context) (all Rebuilt, err error) {
	for shard := range r.opts.Owners.Shards() {
		reply, err := r.ask(ctx, shard, []byte{askRebuild})
		if err != nil {
			return all, fmt.Errorf("of shard %d: %w", shard, err)
		}
		one, err := readRebuilt(reply)
		if err != nil {
			return all, err
		}
		all.Events, all.Devices, all.Changed = all.Events+one.Events, all.Devices+one.Devices, all.Changed+one.Changed
	}
	return all, nil
}

// Run has what is noted and added stored, until ctx ends; then what is left, sums too,
// as far as it can be within five seconds. Owners must be there for as long.
func (r *Room) Run(ctx context.Context) error {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	sending, stop := context.WithCancel(last)
	defer stop()
	var wg sync.WaitGroup
	for _, s := range r.senders {
		wg.Go(func() { s.run(sending, last) })
	}
	tick := time.NewTicker(sumEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			r.flush(r.now())
		}
	}
	end := time.AfterFunc(drainTime, cancel)
	defer end.Stop()
	r.flush(endOfTime)
	stop()
	wg.Wait()
	r.ended.Store(true)
	return nil
}

// flush notes the sums of the seconds that are over.
func (r *Room) flush(now int64) {
	for _, e := range r.sums.due(now) {
		r.fill(&e)
		r.note(e)
	}
}
