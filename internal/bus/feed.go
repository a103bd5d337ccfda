package bus

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// feed follows the stream of a table, on one run of the embedded server.
type feed struct {
	table   *Table
	consume jetstream.ConsumeContext

	mu    sync.Mutex
	seen  map[string]bool // keys of the rows that were there; nil once all came
	whole chan struct{}   // closed then
}

// attach makes the table follow its stream, and returns when it has every row.
// Bus.mu is held.
func (t *Table) attach(ctx context.Context, e *engine) error {
	name := strings.TrimPrefix(t.name, "SB_TABLE_")
	ctx, cancel := context.WithTimeout(ctx, t.bus.opts.CallTimeout)
	defer cancel()
	if err := t.bus.ensure(ctx, e, tableStream(name)); err != nil {
		return err
	}
	stream, err := e.js.Stream(ctx, t.name)
	if err != nil {
		return fmt.Errorf("look for stream %s: %w", t.name, err)
	}
	state := stream.CachedInfo().State
	f := &feed{table: t, seen: make(map[string]bool), whole: make(chan struct{})}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy})
	if err == nil {
		f.consume, err = consumer.Consume(f.take, jetstream.ConsumeErrHandler(func(jetstream.ConsumeContext, error) { e.suspect() }))
	}
	if err != nil {
		return fmt.Errorf("follow stream %s: %w", t.name, err)
	}
	if state.Msgs == 0 {
		f.end()
	}
	select {
	case <-f.whole:
	case <-ctx.Done():
		f.stop()
		return fmt.Errorf("read stream %s: %w", t.name, context.Cause(ctx))
	}
	t.forgetMissing(f.keys(), state.LastSeq)
	t.feed = f
	return nil
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
	f.consume.Stop()
	<-f.consume.Closed()
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
