package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed-3d8c1042/switchboard/internal/webhooks"
)

// Trail is the history of all webhooks: a webhooks.Archive. It goes on working
// after Bus.Recover. Its methods may be called from any goroutine.
type Trail struct {
	bus  *Bus
	name string // of the stream

	limits TrailLimits // guarded by Bus.mu
}

// TrailLimits bound the history; past either, the oldest records go.
type TrailLimits struct {
	Age   time.Duration
	Bytes int64 // of all webhooks together
}

var _ webhooks.Archive = (*Trail)(nil)

// Trail returns the history of webhooks, which is created when it never was.
// Every call returns the same Trail, with the limits of the last.
func (b *Bus) Trail(ctx context.Context, l TrailLimits) (*Trail, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, err := b.engine()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.openTimeout())
	defer cancel()
	config := b.layout.trail(l)
	if err := b.ensure(ctx, e, config); err != nil {
		return nil, err
	}
	if b.trail == nil {
		b.trail = &Trail{bus: b, name: config.Name}
	}
	b.trail.limits = l
	return b.trail, nil
}

// subject is the subject of one webhook's records. Names of apps and
// webhooks have nothing in them that would make a subject another one.
func (t *Trail) subject(of webhooks.Name) (string, error) {
	if !isToken(of.App) || !isToken(of.Name) {
		return "", fmt.Errorf("bus: webhook %q of app %q can have no history", of.Name, of.App)
	}
	return t.bus.layout.subject(trailPrefix) + of.App + "." + of.Name, nil
}

// Append stores a record; see webhooks.Archive. After an error that is not
// webhooks.ErrFollowed it may have been stored.
func (t *Trail) Append(ctx context.Context, of webhooks.Name, last uint64, record []byte) (uint64, error) {
	seq, err := t.append(ctx, of, last, record)
	if errors.Is(err, ErrExists) {
		err = webhooks.ErrFollowed
	}
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", t.name, err)
	}
	return seq, nil
}

func (t *Trail) append(ctx context.Context, of webhooks.Name, last uint64, record []byte) (seq uint64, err error) {
	subject, err := t.subject(of)
	if err != nil {
		return 0, err
	}
	e, err := t.bus.engine()
	if err != nil {
		return 0, err
	}
	if err := t.bus.room(len(record)); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.bus.opts.CallTimeout)
	defer cancel()
	seq, err = publish(ctx, e, t.name, true, &nats.Msg{Subject: subject, Data: record}, last)
	if err != nil {
		return 0, err
	}
	// What is proved because it stands here must stand here after a power cut.
	return seq, t.bus.keepNames(t.name)
}

// Last returns a webhook's newest record; see webhooks.Archive.
func (t *Trail) Last(ctx context.Context, of webhooks.Name) (uint64, []byte, error) {
	seq, record, err := t.find(ctx, of, direct{})
	if errors.Is(err, webhooks.ErrGone) {
		return 0, nil, nil
	}
	return seq, record, err
}

// From returns a webhook's first record at number or later; see
// webhooks.Archive.
func (t *Trail) From(ctx context.Context, of webhooks.Name, number uint64) (uint64, []byte, error) {
	return t.find(ctx, of, direct{Seq: max(number, 1)})
}

// Since returns a webhook's first record stored at a time or later; see
// webhooks.Archive.
func (t *Trail) Since(ctx context.Context, of webhooks.Name, at time.Time) (uint64, []byte, error) {
	return t.find(ctx, of, direct{StartTime: &at})
}

// find reads the last record of a webhook, or the next one from a place on.
func (t *Trail) find(ctx context.Context, of webhooks.Name, where direct) (uint64, []byte, error) {
	subject, err := t.subject(of)
	if err != nil {
		return 0, nil, err
	}
	if where == (direct{}) {
		where.LastFor = subject
	} else {
		where.NextFor = subject
	}
	return t.get(ctx, where)
}

// Read returns a record by its number; see webhooks.Archive.
func (t *Trail) Read(ctx context.Context, number uint64) ([]byte, error) {
	if number == 0 {
		return nil, webhooks.ErrGone // the server takes 0 for a malformed request
	}
	_, record, err := t.get(ctx, direct{Seq: number})
	return record, err
}

// direct asks for one message of a stream, without a consumer.
type direct struct {
	Seq       uint64     `json:"seq,omitempty"`
	LastFor   string     `json:"last_by_subj,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
}

func (t *Trail) get(ctx context.Context, what direct) (seq uint64, record []byte, err error) {
	fail := func(err error) (uint64, []byte, error) {
		return 0, nil, fmt.Errorf("read from %s: %w", t.name, err)
	}
	e, err := t.bus.engine()
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, t.bus.opts.CallTimeout)
	defer cancel()
	if t.bus.opts.shared() { // the newest may not be everywhere yet
		m, err := e.read(ctx, t.name, what)
		if errors.Is(err, errNoMessage) {
			err = webhooks.ErrGone
		}
		if err != nil {
			return fail(err)
		}
		return m.Sequence, m.Data, nil
	}
	ask, err := json.Marshal(what)
	if err != nil {
		return fail(err)
	}
	m, err := e.reads.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+t.name, ask)
	if err != nil {
		return fail(err)
	}
	switch status := m.Header.Get("Status"); status {
	case "":
	case "404":
		return fail(webhooks.ErrGone)
	default:
		return fail(fmt.Errorf("the server answers %s %s", status, m.Header.Get("Description")))
	}
	if seq, err = strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64); err != nil {
		return fail(fmt.Errorf("the server's sequence: %w", err))
	}
	return seq, m.Data, nil
}
