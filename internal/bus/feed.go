package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// feed follows the stream of a table, on one engine.
type feed struct {
	table   *Table
	e       *engine
	consume jetstream.ConsumeContext
	told    *nats.Subscription // in a cluster

	mu    sync.Mutex
	last  uint64          // the last sequence that has come
	seen  map[string]bool // keys of the rows that were there; nil once all came
	whole chan struct{}   // closed then
}

// attach makes the table follow its stream, and returns when it has every row.
// Bus.mu is held.
func (t *Table) attach(ctx context.Context, e *engine) error {
	ctx, cancel := context.WithTimeout(ctx, t.bus.openTimeout())
	defer cancel()
	for {
		err := t.attachOnce(ctx, e)
		// Of a stream that another server has just made the one that answers may not
		// have heard.
		if !errors.Is(err, jetstream.ErrStreamNotFound) || !t.bus.opts.shared() || pause(ctx, e) != nil {
			return err
		}
	}
}

func (t *Table) attachOnce(ctx context.Context, e *engine) error {
	if err := t.bus.ensure(ctx, e, t.bus.layout.table(t.short)); err != nil {
		return err
	}
	f := &feed{table: t, e: e, seen: make(map[string]bool), whole: make(chan struct{})}
	if err := f.start(ctx); err != nil {
		f.stop()
		return fmt.Errorf("follow stream %s: %w", t.name, err)
	}
	t.feed = f
	return nil
}

// start follows the stream and returns when all rows have come.
func (f *feed) start(ctx context.Context) error {
	info, err := f.e.info(ctx, f.table.name)
	if err != nil {
		return err
	}
	if f.e.opts.shared() {
		f.told, err = f.e.reads.Subscribe(f.table.bus.layout.told(f.table.short)+"*", f.hear)
		if err != nil {
			return err
		}
	}
	if err := f.e.patiently(ctx, f.consumeOn); err != nil {
		return err
	}
	if info.State.Msgs == 0 {
		f.end()
	}
	select {
	case <-f.whole:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := f.catchUp(ctx, info.State.LastSeq); err != nil {
		return err
	}
	f.table.forgetMissing(f.keys(), info.State.LastSeq)
	return nil
}

// consumeOn makes the consumer. In a cluster it lives on one of the servers; when
// that one dies another is made, after two missing heartbeats.
func (f *feed) consumeOn(ctx context.Context) error {
	stream, err := f.e.js.Stream(ctx, f.table.name)
	if err != nil {
		return err
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy})
	if err != nil {
		return err
	}
	opts := []jetstream.PullConsumeOpt{jetstream.ConsumeErrHandler(func(jetstream.ConsumeContext, error) { f.e.suspect() })}
	if f.e.opts.shared() {
		opts = append(opts, jetstream.PullHeartbeat(feedHeartbeat))
	}
	f.consume, err = consumer.Consume(f.take, opts...)
	return err
}

const (
	// feedHeartbeat is how often a silent stream of a cluster shows that it lives.
	feedHeartbeat = time.Second
	// feedStep is between two looks whether the rest has come.
	feedStep = 10 * time.Millisecond
)

// catchUp waits until everything up to last has come. The server that feeds may
// lag behind the leader; the leader says whether there is more.
func (f *feed) catchUp(ctx context.Context, last uint64) error {
	if !f.e.opts.shared() {
		return nil
	}
	for {
		f.mu.Lock()
		have := f.last
		f.mu.Unlock()
		if have >= last {
			return nil
		}
		m, err := f.e.read(ctx, f.table.name, direct{Seq: have + 1, NextFor: f.table.prefix + "*"})
		if errors.Is(err, errNoMessage) || err == nil && m.Sequence > last {
			return nil // what was the last is gone
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(feedStep):
		}
	}
}

// hear takes in what the leader of the stream says that it has stored. It comes
// sooner than by the consumer, and also while that is missing; but not all of it
// need come.
func (f *feed) hear(m *nats.Msg) {
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err == nil {
		f.table.take(strings.TrimPrefix(m.Subject, f.table.bus.layout.told(f.table.short)), m.Data, seq)
	}
}

// detach ends following. Bus.mu is held.
func (t *Table) detach() {
	if t.feed != nil {
		t.feed.stop()
		t.feed = nil
	}
}

// stop ends the feed and waits until nothing comes any more.
func (f *feed) stop() {
	if f.told != nil {
		_ = f.told.Unsubscribe() // fails only on a closed connection
	}
	if f.consume != nil {
		f.consume.Stop()
		<-f.consume.Closed()
	}
}

// take takes one message.
func (f *feed) take(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		return // not a message of the stream
	}
	key := strings.TrimPrefix(m.Subject(), f.table.prefix)
	f.table.feedOn(key, m.Data(), meta.Sequence.Stream)
	f.mu.Lock()
	f.last = meta.Sequence.Stream
	if f.seen != nil {
		f.seen[key] = true
	}
	f.mu.Unlock()
	if meta.NumPending == 0 {
		f.end()
	}
}

// keys returns the keys of what was there, and notes no more of them.
func (f *feed) keys() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen
	f.seen = nil
	return seen
}

// end notes that all rows have come that were there.
func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.whole:
	default:
		close(f.whole)
	}
}

// forgetMissing takes rows away that the stream does not have any more: they were
// deleted while nobody followed, and the message that said so has had its time.
func (t *Table) forgetMissing(seen map[string]bool, last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, r := range t.rows {
		if seen[key] || r.seq > last {
			continue
		}
		delete(t.rows, key)
		if r.row != nil {
			t.tell(key, nil)
		}
	}
}
