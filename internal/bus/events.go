package bus

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed-3d8c1042/switchboard/internal/journal"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

// sourcesHeader holds, beside a batch of the journal, which nodes' requests are in it.
const sourcesHeader = "Switchboard-Sources"

// Events is the journal of events of all shards: a journal.Log. It goes on working
// after Bus.Recover. Its methods may be called from any goroutine; appends of one shard
// must follow each other.
type Events struct {
	bus    *Bus
	name   string // of the stream
	limits EventLimits

	mark   atomic.Uint32 // 0: it was not asked for yet
	newest atomic.Int64  // number of the newest file whose name is safe

	mu      sync.Mutex
	told    *engine // on which news of what is stored are heard
	news    *nats.Subscription
	seen    uint64        // the newest that was heard of
	changed chan struct{} // closed when there is a newer one
}

// EventLimits bound the journal; past either, the oldest events go.
type EventLimits struct {
	Age   time.Duration
	Bytes int64
}

var _ journal.Log = (*Events)(nil)

// Events returns the journal, which is created when it never was. Every call returns
// the same one, with the limits of the first.
func (b *Bus) Events(ctx context.Context, l EventLimits) (*Events, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.events != nil {
		return b.events, nil
	}
	e, err := b.engine()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.openTimeout())
	defer cancel()
	config := b.layout.events(l)
	if err := b.ensure(ctx, e, config); err != nil {
		return nil, err
	}
	b.events = &Events{bus: b, name: config.Name, limits: l, changed: make(chan struct{})}
	return b.events, nil
}

func (v *Events) subject(shard int) string {
	return v.bus.layout.subject(eventsPrefix) + strconv.Itoa(shard)
}

// Append implements journal.Log.
func (v *Events) Append(ctx context.Context, shard int, last uint64, head string, batch []byte) (uint64, error) {
	seq, err := v.append(ctx, shard, last, head, batch)
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", v.name, journalError(err))
	}
	return seq, nil
}

func (v *Events) append(ctx context.Context, shard int, last uint64, head string, batch []byte) (seq uint64, err error) {
	e, err := v.bus.engine()
	if err == nil {
		err = v.bus.room(len(batch))
	}
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, v.bus.opts.CallTimeout)
	defer cancel()
	msg := &nats.Msg{Subject: v.subject(shard), Data: batch}
	if head != "" {
		msg.Header = nats.Header{sourcesHeader: {head}}
	}
	seq, err = publish(ctx, e, v.name, true, msg, last)
	if err == nil && !v.bus.opts.shared() {
		if err = v.keepNewName(); err != nil {
			e.fail(err)
			err = unknown(err)
		}
	}
	return seq, err
}

// keepNewName makes the name of a new file safe, if there is one; see Log.keepNewName.
func (v *Events) keepNewName() error {
	folder := v.bus.messages(v.name)
	newest := v.newest.Load()
	if newest > 0 {
		_, err := os.Lstat(filepath.Join(folder, fmt.Sprintf("%d.blk", newest+1)))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	n, err := keepNames(folder)
	v.newest.Store(int64(n))
	return err
}

// journalError says in the journal's words what went wrong.
func journalError(err error) error {
	switch {
	case errors.Is(err, ErrExists):
		return fmt.Errorf("%w: %w", journal.ErrChanged, err)
	case errors.Is(err, mailbox.ErrUnknown):
		return fmt.Errorf("%w: %w", journal.ErrUnknown, err)
	case errors.Is(err, mailbox.ErrFull):
		return fmt.Errorf("%w: %w", journal.ErrFull, err)
	}
	return err
}

// Last implements journal.Log.
func (v *Events) Last(ctx context.Context, shard int) (uint64, error) {
	m, err := v.bus.lastOf(ctx, v.name, v.subject(shard))
	if err != nil {
		return 0, fmt.Errorf("look for the end of %s: %w", v.name, err)
	}
	return m.Sequence, nil
}

// lastOf asks for the last message of a subject, whose sequence is 0 when there is none.
func (b *Bus) lastOf(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	e, err := b.engine()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.opts.CallTimeout)
	defer cancel()
	m, err := e.read(ctx, stream, direct{LastFor: subject})
	if errors.Is(err, errNoMessage) {
		return &jetstream.RawStreamMsg{}, nil
	}
	return m, err
}

// Replay implements journal.Log. In a cluster what does not come is asked for again:
// another server may have it.
func (v *Events) Replay(ctx context.Context, shard int, after, last uint64, f func(pos uint64, head string, batch []byte) error) error {
	progress := time.Now()
	for after < last {
		list, err := v.fetch(ctx, rangeOf{Seq: after + 1, NextFor: v.subject(shard), Batch: replayBatch, MaxBytes: replayBytes})
		if err != nil {
			return fmt.Errorf("replay %s: %w", v.name, err)
		}
		for _, m := range list {
			if m.seq > last {
				return nil
			}
			if err := f(m.seq, m.head, m.data); err != nil {
				return err
			}
			after, progress = m.seq, time.Now()
		}
		if len(list) > 0 {
			continue
		}
		e, err := v.bus.engine()
		if err == nil && time.Since(progress) > v.bus.opts.CallTimeout {
			err = errors.New("what is to be there does not come")
		}
		if err == nil {
			err = pause(ctx, e)
		}
		if err != nil {
			return fmt.Errorf("replay %s, after %d: %w", v.name, after, err)
		}
	}
	return nil
}

// Read implements journal.Log.
func (v *Events) Read(ctx context.Context, shard int, from uint64, since time.Time, most int) ([]journal.Batch, error) {
	ask := rangeOf{Seq: max(from, 1), NextFor: v.bus.layout.subject(eventsPrefix) + "*", Batch: readBatch, MaxBytes: most}
	if shard >= 0 {
		ask.NextFor = v.subject(shard)
	}
	if !since.IsZero() {
		// Whichever is later: there is no asking for both.
		first, err := v.fetch(ctx, rangeOf{StartTime: &since, NextFor: ask.NextFor, Batch: 1})
		if err != nil || len(first) == 0 {
			return nil, err
		}
		ask.Seq = max(ask.Seq, first[0].seq)
	}
	list, err := v.fetch(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("read from %s: %w", v.name, err)
	}
	batches := make([]journal.Batch, len(list))
	for i, m := range list {
		batches[i] = journal.Batch{Pos: m.seq, Data: m.data}
	}
	return batches, nil
}

// readBatch is how many batches are read at once.
const readBatch = 1000

// rangeOf asks for messages of a stream, in order.
type rangeOf struct {
	Seq       uint64     `json:"seq,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	NextFor   string     `json:"next_by_subj"`
	Batch     int        `json:"batch"`
	MaxBytes  int        `json:"max_bytes,omitempty"`
}

type eventBatch struct {
	seq  uint64
	head string
	data []byte
}

// fetch returns the messages of a range that one answer brings; none when there are none
// as far as who answers knows.
func (v *Events) fetch(ctx context.Context, ask rangeOf) (list []eventBatch, err error) {
	e, err := v.bus.engine()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, v.bus.opts.CallTimeout)
	defer cancel()
	err = e.patiently(ctx, func(ctx context.Context) error {
		list, err = v.fetchOnce(ctx, e, ask)
		return err
	})
	return list, err
}

func (v *Events) fetchOnce(ctx context.Context, e *engine, ask rangeOf) (list []eventBatch, err error) {
	body, err := marshal(ask)
	if err != nil {
		return nil, err
	}
	inbox, err := e.reads.SubscribeSync(e.reads.NewRespInbox())
	if err != nil {
		return nil, err
	}
	defer func() { _ = inbox.Unsubscribe() }() // fails only on a closed connection
	if err := inbox.SetPendingLimits(-1, -1); err != nil {
		return nil, err // what was asked for bounds it
	}
	if err := e.reads.PublishRequest("$JS.API.DIRECT.GET."+v.name, inbox.Subject, body); err != nil {
		return nil, err
	}
	for {
		m, err := inbox.NextMsgWithContext(ctx)
		if err != nil {
			return nil, err
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "204", "404":
			return list, nil
		case "503":
			return nil, errNoLeader
		default:
			return nil, fmt.Errorf("the server answers %s %s", status, m.Header.Get("Description"))
		}
		seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the server's sequence: %w", err)
		}
		list = append(list, eventBatch{seq, m.Header.Get(sourcesHeader), m.Data})
		if len(list) == ask.Batch && ask.MaxBytes == 0 {
			return list, nil
		}
	}
}

// End implements journal.Log.
func (v *Events) End(ctx context.Context) (uint64, error) {
	e, err := v.bus.engine()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, v.bus.opts.CallTimeout)
	defer cancel()
	info, err := e.info(ctx, v.name)
	if err != nil {
		return 0, fmt.Errorf("look for the end of %s: %w", v.name, err)
	}
	return info.State.LastSeq, nil
}

// Mark implements journal.Log: it comes from when the stream was made.
func (v *Events) Mark(ctx context.Context) (uint32, error) {
	if mark := v.mark.Load(); mark != 0 {
		return mark, nil
	}
	e, err := v.bus.engine()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, v.bus.opts.CallTimeout)
	defer cancel()
	info, err := e.info(ctx, v.name)
	if err != nil {
		return 0, fmt.Errorf("look for %s: %w", v.name, err)
	}
	sum := sha256.Sum256([]byte(v.name + " " + info.Created.UTC().Format(time.RFC3339Nano)))
	mark := max(1, binary.BigEndian.Uint32(sum[:]))
	v.mark.Store(mark)
	return mark, nil
}

// lookAnew is how often Wait asks where the journal ends, in case news were lost.
const lookAnew = 5 * time.Second

// Wait implements journal.Log. The server says on a subject what it has stored.
func (v *Events) Wait(ctx context.Context, after uint64) error {
	for {
		e, err := v.bus.engine()
		if err != nil {
			return err
		}
		changed, err := v.listen(ctx, e, after)
		if changed == nil {
			return err
		}
		select {
		case <-changed:
		case <-e.failed:
			return e.failure()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookAnew):
			v.look(ctx, e) // what that cannot find out comes later
		}
	}
}

// listen returns what is closed when more is stored; nil when there is more than after
// already.
func (v *Events) listen(ctx context.Context, e *engine, after uint64) (<-chan struct{}, error) {
	v.mu.Lock()
	anew := v.told != e
	if anew {
		news, err := e.reads.Subscribe(v.bus.layout.subject(eventsTold)+"*", v.hear)
		if err != nil {
			v.mu.Unlock()
			return nil, err
		}
		v.told, v.news = e, news
	}
	v.mu.Unlock()
	if anew {
		v.look(ctx, e)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen > after {
		return nil, nil
	}
	return v.changed, nil
}

// look finds out where the journal ends.
func (v *Events) look(ctx context.Context, e *engine) {
	ctx, cancel := context.WithTimeout(ctx, v.bus.opts.CallTimeout)
	defer cancel()
	if info, err := e.info(ctx, v.name); err == nil {
		v.saw(info.State.LastSeq)
	}
}

func (v *Events) hear(m *nats.Msg) {
	if seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64); err == nil {
		v.saw(seq)
	}
}

func (v *Events) saw(seq uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if seq > v.seen {
		v.seen = seq
		close(v.changed)
		v.changed = make(chan struct{})
	}
}
