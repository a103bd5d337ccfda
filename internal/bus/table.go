package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

// ErrExists says that a row cannot be made, since there is one under its key.
var ErrExists = errors.New("there is a row under this key")

// ErrChanged says that a row is not as the one who would change it knows it.
var ErrChanged = errors.New("the row is another one by now")

const (
	// goneTime is how long the message stays that says that a row is gone: a node
	// that was away for longer reads the whole table anyway.
	goneTime = 24 * time.Hour
	// maxRow is the largest row, in bytes. Tables are small: all of it is in
	// memory, on every node.
	maxRow = 64 << 10
)

// Table is a small table of rows under keys, shared by all nodes. Every node has
// it in memory; changes are synced before the call that makes them returns, and
// seen by this process from then on, by others a moment later. Its methods may be
// called from any goroutine. It goes on working after Bus.Recover.
type Table struct {
	bus    *Bus
	name   string // of the stream
	short  string // the table's own
	prefix string // of the subjects

	mu       sync.Mutex // held while watchers are told, so that they are told in order
	rows     map[string]record
	fed      uint64 // the last sequence that the feed brought
	watchers map[int]func(key string, row []byte)
	watched  int // how many watchers there ever were

	feed *feed // guarded by Bus.mu; nil when detached
}

// record is one row.
type record struct {
	row []byte // nil for one that is gone: kept until the feed has brought that, too
	seq uint64
}

// Table returns the table of a name, of letters and digits, which is created when
// it never was. Two calls for one name return the same Table.
func (b *Bus) Table(ctx context.Context, name string) (*Table, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.tables[name]; t != nil {
		return t, nil
	}
	t, err := b.newTable(ctx, name)
	if err != nil {
		return nil, err
	}
	b.tables[name] = t
	return t, nil
}

// newTable makes a table that follows its stream. mu is held.
func (b *Bus) newTable(ctx context.Context, name string) (*Table, error) {
	if !isToken(name) {
		return nil, fmt.Errorf("bus: a table cannot be named %q", name)
	}
	e, err := b.engine()
	if err != nil {
		return nil, err
	}
	config := b.layout.table(name)
	t := &Table{
		bus: b, name: config.Name, short: name, prefix: strings.TrimSuffix(config.Subjects[0], "*"),
		rows: make(map[string]record), watchers: make(map[int]func(string, []byte)),
	}
	if err := t.attach(ctx, e); err != nil {
		return nil, err
	}
	return t, nil
}

// isToken says whether a text can be one part of a subject.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// Create adds a row; ErrExists when there is one under its key. After an error
// that is mailbox.ErrUnknown it may have been added.
func (t *Table) Create(ctx context.Context, key string, row []byte) error {
	if err := t.create(ctx, key, row, 0); !errors.Is(err, ErrExists) {
		return err
	}
	// What stands there may only say that there is nothing any more.
	last, err := t.last(ctx, key)
	if err != nil {
		return fmt.Errorf("create a row of %s: %w", t.name, err)
	}
	if len(last.Data) > 0 {
		return fmt.Errorf("create a row of %s: %w", t.name, ErrExists)
	}
	return t.create(ctx, key, row, last.Sequence)
}

func (t *Table) create(ctx context.Context, key string, row []byte, after uint64) error {
	_, err := t.write(ctx, "create", key, row, after)
	return err
}

// Update replaces the row that Get returned with revision, 0 for none: ErrChanged
// when it is another one by now, however it became so; then Get returns that
// one. It returns the new revision. After an error that is mailbox.ErrUnknown it
// may have been replaced: whoever tries again and gets ErrChanged must look
// whether the row is its own.
func (t *Table) Update(ctx context.Context, key string, row []byte, revision uint64) (uint64, error) {
	after := revision
	if revision == 0 { // what stands there may only say that there is nothing any more
		last, err := t.last(ctx, key)
		if err != nil {
			return 0, fmt.Errorf("update a row of %s: %w", t.name, err)
		}
		if len(last.Data) > 0 {
			t.take(key, last.Data, last.Sequence)
			return 0, fmt.Errorf("update a row of %s: %w", t.name, ErrChanged)
		}
		after = last.Sequence
	}
	seq, err := t.write(ctx, "update", key, row, after)
	if !errors.Is(err, ErrExists) {
		return seq, err
	}
	return 0, t.changed(ctx, "update", key)
}

// changed takes in the row that is there in place of the one that was expected.
func (t *Table) changed(ctx context.Context, what, key string) error {
	last, err := t.last(ctx, key)
	if err != nil {
		return fmt.Errorf("%s a row of %s, which is another one by now: %w", what, t.name, err)
	}
	if last.Sequence > 0 {
		t.take(key, last.Data, last.Sequence)
	}
	return fmt.Errorf("%s a row of %s: %w", what, t.name, ErrChanged)
}

// Put adds or replaces a row. Of two nodes that put one at the same time, the
// later one wins. Errors are as for Create.
func (t *Table) Put(ctx context.Context, key string, row []byte) error {
	_, err := t.write(ctx, "put", key, row, anyLast)
	return err
}

// Delete removes a row; one that is not there is no error. Errors are as for
// Create.
func (t *Table) Delete(ctx context.Context, key string) error {
	_, err := t.write(ctx, "delete", key, nil, anyLast, jetstream.WithMsgTTL(goneTime))
	return err
}

// Remove removes the row that Get returned with revision: ErrChanged when it is another
// one by now, or gone; then Get says which. Other errors are as for Create.
func (t *Table) Remove(ctx context.Context, key string, revision uint64) error {
	_, err := t.write(ctx, "delete", key, nil, revision, jetstream.WithMsgTTL(goneTime))
	if !errors.Is(err, ErrExists) {
		return err
	}
	return t.changed(ctx, "delete", key)
}

// write stores a row, nil for one that is gone, in place of the one with the
// sequence after, takes it in, and returns its sequence.
func (t *Table) write(ctx context.Context, what, key string, row []byte, after uint64, opts ...jetstream.PublishOpt) (seq uint64, err error) {
	if !isToken(key) || len(row) > maxRow || len(row) == 0 && what != "delete" {
		return 0, fmt.Errorf("%s a row of %s: %q with %d bytes cannot be one", what, t.name, key, len(row))
	}
	e, err := t.bus.engine()
	if err == nil {
		err = t.bus.room(len(row))
	}
	if err != nil {
		return 0, fmt.Errorf("%s a row of %s: %w", what, t.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, t.bus.opts.CallTimeout)
	defer cancel()
	seq, err = publish(ctx, e, t.name, false, &nats.Msg{Subject: t.prefix + key, Data: row}, after, opts...)
	if err == nil {
		err = t.bus.keepNames(t.name)
	}
	if err != nil {
		return 0, fmt.Errorf("%s a row of %s: %w", what, t.name, err)
	}
	t.take(key, row, seq)
	return seq, nil
}

// anyLast is in place of a sequence when nothing is expected of what is stored.
const anyLast = math.MaxUint64

// publish stores a message after the one of its subject with the sequence after, 0
// for none, and returns its sequence: ErrExists when there is another one. kept says
// that the stream keeps more than the last message of a subject.
func publish(ctx context.Context, e *engine, stream string, kept bool, msg *nats.Msg, after uint64, opts ...jetstream.PublishOpt) (seq uint64, err error) {
	if after != anyLast {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(after))
	}
	if !e.opts.shared() {
		return publishOnce(ctx, e, msg, after, opts)
	}
	w := written{stream: stream, kept: kept, subject: msg.Subject, after: after, id: rand.Text()}
	return e.insist(ctx, ErrExists, func(ctx context.Context) (uint64, error) {
		m := &nats.Msg{Subject: msg.Subject, Data: msg.Data, Header: nats.Header{writeHeader: {w.id}}} // which publishing changes
		if !kept && after != anyLast {
			m.Header.Set(afterHeader, strconv.FormatUint(after, 10))
		}
		maps.Copy(m.Header, msg.Header)
		return publishOnce(ctx, e, m, after, opts)
	}, func(ctx context.Context) (uint64, other, error) { return w.look(ctx, e) })
}

// written is a write of which nobody knows whether it is stored.
type written struct {
	stream  string
	kept    bool // the stream keeps more than the last message of a subject
	subject string
	after   uint64 // what it was to follow, or anyLast
	id      string // stands in its header
}

// look finds out whether a write is stored, or what is in its place.
func (w *written) look(ctx context.Context, e *engine) (seq uint64, there other, err error) {
	where := direct{Seq: w.after + 1, NextFor: w.subject}
	if w.after == anyLast {
		where = direct{LastFor: w.subject}
	}
	m, err := e.read(ctx, w.stream, where)
	if errors.Is(err, errNoMessage) && w.after != 0 && w.after != anyLast {
		if _, err = e.read(ctx, w.stream, direct{Seq: w.after}); err == nil {
			return 0, nothingKnown, nil
		}
		if gone := err; errors.Is(err, errNoMessage) { // replaced since the first look, or gone by itself
			if m, err = e.read(ctx, w.stream, where); errors.Is(err, errNoMessage) {
				return 0, standsSince, gone
			}
		}
	}
	switch {
	case err == nil && m.Header.Get(writeHeader) == w.id:
		return m.Sequence, nothingKnown, nil
	case err == nil && w.after == anyLast:
		return 0, nothingKnown, nil
	case err == nil && (w.kept || m.Header.Get(afterHeader) == strconv.FormatUint(w.after, 10)):
		return 0, standsInstead, nil
	case err == nil:
		return 0, standsSince, nil
	}
	return 0, nothingKnown, err
}

// publishOnce sends it once. Of two servers that both take themselves for the leader both
// get it, and one may store what the other refuses: so the word of one that lacks what the
// write is to stand after, or has another under way, is none.
func publishOnce(ctx context.Context, e *engine, msg *nats.Msg, after uint64, opts []jetstream.PublishOpt) (seq uint64, err error) {
	future, err := e.js.PublishMsgAsync(msg, opts...)
	if err != nil {
		return 0, err
	}
	var refused *jetstream.APIError
	select {
	case ack := <-future.Ok():
		return ack.Sequence, nil
	case err = <-future.Err():
	case <-e.failed:
		err = e.failure()
	case <-ctx.Done():
		e.suspect()
		err = context.Cause(ctx)
	}
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return 0, fmt.Errorf("%w: it is not served", errNoLeader)
	case !errors.As(err, &refused):
		return 0, unknown(err)
	case e.opts.shared() && (refused.ErrorCode == codeInFlight || refused.ErrorCode == codeWrongLastSequence && lagsBehind(refused, after)):
		return 0, unknown(err)
	case refused.ErrorCode == codeWrongLastSequence, refused.ErrorCode == codeInFlight:
		return 0, ErrExists
	case refused.ErrorCode == codeStoreFailed && e.opts.shared():
		return 0, unknown(err) // others may have stored it
	case noRoom(refused.ErrorCode):
		return 0, fmt.Errorf("%w: %w", mailbox.ErrFull, err)
	}
	return 0, err
}

// lagsBehind says whether a server that found another last sequence than after has not
// come as far yet.
func lagsBehind(refused *jetstream.APIError, after uint64) bool {
	_, last, _ := strings.Cut(refused.Description, ": ")
	n, err := strconv.ParseUint(last, 10, 64)
	return err == nil && n < after
}

// last returns what is stored under a key.
func (t *Table) last(ctx context.Context, key string) (*jetstream.RawStreamMsg, error) {
	e, err := t.bus.engine()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.bus.opts.CallTimeout)
	defer cancel()
	m, err := e.read(ctx, t.name, direct{LastFor: t.prefix + key})
	if errors.Is(err, errNoMessage) {
		return &jetstream.RawStreamMsg{}, nil // or its time was up in between
	}
	return m, err
}

// Get returns a row, which is not to be changed, and its revision, for Update;
// false when there is none. It is as this process knows it.
func (t *Table) Get(key string) (row []byte, revision uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rows[key]
	if r.row == nil {
		return nil, 0, false
	}
	return r.row, r.seq, true
}

// Watch calls f for every row there is, before it returns, and then for every
// change, in order and one call at a time: row is nil when it is gone. A change is
// told before the call that made it returns. f must be quick, must not call the
// Table, and must not change the row.
func (t *Table) Watch(f func(key string, row []byte)) (stop func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(t.rows)) {
		if r := t.rows[key]; r.row != nil {
			f(key, r.row)
		}
	}
	id := t.watched
	t.watched++
	t.watchers[id] = f
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.watchers, id)
	}
}

// take takes in what a write has stored under a key, unless the feed was faster.
func (t *Table) take(key string, row []byte, seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq > t.fed {
		t.set(key, row, seq)
	}
}

// feedOn takes in what the feed brings, in the order of the stream.
func (t *Table) feedOn(key string, row []byte, seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fed = max(t.fed, seq)
	t.set(key, row, seq)
	if r := t.rows[key]; r.row == nil && r.seq <= t.fed {
		delete(t.rows, key) // nothing older can come any more
	}
}

// set makes row the one under key, unless a later one is there. mu is held.
func (t *Table) set(key string, row []byte, seq uint64) {
	known := t.rows[key]
	if seq <= known.seq {
		return
	}
	if len(row) == 0 {
		row = nil
	}
	t.rows[key] = record{row: row, seq: seq}
	if known.row != nil || row != nil {
		t.tell(key, row)
	}
}

// tell tells the watchers. mu is held.
func (t *Table) tell(key string, row []byte) {
	for _, id := range slices.Sorted(maps.Keys(t.watchers)) {
		t.watchers[id](key, row)
	}
}
