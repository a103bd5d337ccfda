package bus

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

// MaxBatch is the largest batch that Log.Append takes, in bytes.
const MaxBatch = maxPayload - 64<<10

// Log is the log of one shard: a mailbox.Log. It goes on working after
// Bus.Recover. Its methods may be called from any goroutine; appends wait for
// each other.
type Log struct {
	bus     *Bus
	shard   int
	name    string
	subject string

	stored atomic.Uint64 // the last sequence that was acknowledged to this process

	mu      sync.Mutex // one append at a time; guards what follows
	engine  *engine    // to which replies belongs
	inbox   string
	replies chan *nats.Msg
	calls   uint64
	newest  int // number of the newest file whose name is safe
}

var _ mailbox.Log = (*Log)(nil)

// Log returns the log of a shard, which is created when it never was. Two calls
// for one shard return the same Log.
func (b *Bus) Log(ctx context.Context, shard int) (*Log, error) {
	if shard < 0 {
		return nil, fmt.Errorf("bus: there is no shard %d", shard)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.logs[shard]; l != nil {
		return l, nil
	}
	e, err := b.engine()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.openTimeout())
	defer cancel()
	config := b.layout.log(shard)
	if err := b.ensure(ctx, e, config); err != nil {
		return nil, err
	}
	l := &Log{bus: b, shard: shard, name: config.Name, subject: config.Subjects[0]}
	b.logs[shard] = l
	return l, nil
}

// Append stores the batch after last; see mailbox.Log. Errors other than
// ErrUnknown mean that it was not stored. It waits at most Options.CallTimeout.
//
// In a cluster a batch that is not answered for is sent again: the expected
// sequence sees to it that it is stored once. A stream without a leader is an error
// after a moment; one whose leader has lost the majority is ErrUnknown when the
// time is up.
func (l *Log) Append(ctx context.Context, last uint64, batch []byte) (seq uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := l.ready(ctx, len(batch))
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", l.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.bus.opts.CallTimeout)
	defer cancel()
	msg := &nats.Msg{
		Subject: l.subject,
		Header:  nats.Header{jetstream.ExpectedLastSeqHeader: {strconv.FormatUint(last, 10)}},
		Data:    batch,
	}
	if l.bus.opts.shared() {
		seq, err = l.appendShared(ctx, e, last, msg)
	} else {
		seq, err = l.append(ctx, e, last, msg, l.calls+1)
	}
	if err == nil && !l.bus.opts.shared() { // else its files may be elsewhere, and others have it
		if err = l.keepNewName(); err != nil {
			e.fail(err)
			err = unknown(err)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("append to %s after %d: %w", l.name, last, err)
	}
	l.stored.Store(seq)
	return seq, nil
}

// appendShared appends to a log of a cluster. mu is held.
func (l *Log) appendShared(ctx context.Context, e *engine, last uint64, msg *nats.Msg) (uint64, error) {
	first := l.calls + 1
	for len(l.replies) > 0 {
		<-l.replies // answers that nobody waited for
	}
	id := rand.Text()
	msg.Header.Set(writeHeader, id)
	return e.insist(ctx, mailbox.ErrFenced, func(ctx context.Context) (uint64, error) {
		return l.append(ctx, e, last, msg, first)
	}, func(ctx context.Context) (seq uint64, there other, err error) {
		m, err := e.reads.RequestWithContext(ctx, l.direct(), fmt.Appendf(nil, `{"seq":%d}`, last+1))
		switch {
		case err != nil:
			return 0, nothingKnown, err
		case m.Header.Get("Status") == "" && m.Header.Get(writeHeader) == id:
			return last + 1, nothingKnown, nil
		case m.Header.Get("Status") == "":
			return 0, standsInstead, nil
		}
		// It is not there, as whoever answered knows, who may lag behind: a node that was
		// frozen has its own server answer, which for a moment may also take itself for
		// the leader. So nothing is known.
		return 0, nothingKnown, nil
	})
}

// append sends a batch and waits for the answer to it, or to what was sent since the
// call first. mu is held.
func (l *Log) append(ctx context.Context, e *engine, last uint64, msg *nats.Msg, first uint64) (seq uint64, err error) {
	l.calls++
	msg.Reply = l.inbox + "." + strconv.FormatUint(l.calls, 10)
	if err := e.writes.PublishMsg(msg); err != nil {
		if notSent(err) {
			return 0, err
		}
		return 0, unknown(err)
	}
	reply, err := l.wait(ctx, e, first)
	if err != nil {
		return 0, unknown(err)
	}
	return verdict(reply, last, l.bus.opts.shared())
}

// unknown makes the error of what may have been stored. The cause is
// in its text only: a full disk that ended the server is not ErrFull here.
func unknown(cause error) error {
	return fmt.Errorf("%w: %v", mailbox.ErrUnknown, cause)
}

// ready returns the engine to append with, when there is room for n bytes. mu
// is held.
func (l *Log) ready(ctx context.Context, n int) (*engine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if n > MaxBatch {
		return nil, fmt.Errorf("a batch of %d bytes is larger than %d", n, MaxBatch)
	}
	e, err := l.bus.engine()
	if err != nil {
		return nil, err
	}
	if err := l.bus.room(n); err != nil {
		return nil, err
	}
	if e != l.engine {
		if !l.bus.opts.shared() {
			if err := l.keepNames(); err != nil {
				return nil, err
			}
		}
		// Of two servers that both take themselves for the leader both answer.
		inbox, replies := e.writes.NewRespInbox(), make(chan *nats.Msg, 64)
		if _, err := e.writes.ChanSubscribe(inbox+".*", replies); err != nil {
			return nil, err
		}
		l.engine, l.inbox, l.replies = e, inbox, replies
	}
	return e, nil
}

// notSent says that an error of publishing means that nothing left.
func notSent(err error) bool {
	for _, known := range []error{
		nats.ErrConnectionClosed, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded,
		nats.ErrMaxPayload, nats.ErrConnectionDraining, nats.ErrInvalidConnection,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// wait returns the answer that comes to one of the calls since first; answers to
// earlier ones are dropped. mu is held.
func (l *Log) wait(ctx context.Context, e *engine, first uint64) (*nats.Msg, error) {
	for {
		select {
		case m := <-l.replies:
			call, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 10, 64)
			if err == nil && call >= first {
				return m, nil
			}
		case <-e.failed:
			return nil, e.failure()
		case <-ctx.Done():
			e.suspect()
			return nil, context.Cause(ctx)
		}
	}
}

// noRoom holds the numbers of errors that say that some limit is reached: of
// the server, of the account, of the store.
func noRoom(code jetstream.ErrorCode) bool {
	return code == 10002 || code == 10023 || code == codeNoStorage || code == codeStoreFailed
}

// verdict reads the server's answer to an append after last. shared says whether
// other servers may have stored what the one that answers has not.
func verdict(m *nats.Msg, last uint64, shared bool) (seq uint64, err error) {
	if m.Header.Get("Status") == "503" {
		return 0, fmt.Errorf("%w: it is not served", errNoLeader)
	}
	var answer struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return 0, fmt.Errorf("%w: the answer is no JSON: %v", mailbox.ErrUnknown, err)
	}
	switch {
	case answer.Error == nil && answer.Sequence == last+1:
		return answer.Sequence, nil
	case answer.Error == nil:
		return 0, fmt.Errorf("%w: it got the sequence %d", mailbox.ErrUnknown, answer.Sequence)
	case answer.Error.ErrorCode == codeWrongLastSequence:
		return 0, fmt.Errorf("%w: %w", mailbox.ErrFenced, answer.Error)
	case answer.Error.ErrorCode == codeStoreFailed && shared:
		return 0, fmt.Errorf("%w: %v", mailbox.ErrUnknown, answer.Error)
	case noRoom(answer.Error.ErrorCode):
		return 0, fmt.Errorf("%w: %w", mailbox.ErrFull, answer.Error)
	}
	return 0, answer.Error
}

// Read returns the batch at seq; see mailbox.Log. A batch that should be there
// and cannot be read is an error other than ErrGone.
func (l *Log) Read(ctx context.Context, seq uint64) ([]byte, error) {
	e, err := l.bus.engine()
	if err != nil {
		return nil, fmt.Errorf("read batch %d of %s: %w", seq, l.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.bus.opts.CallTimeout)
	defer cancel()
	batch, err := l.get(ctx, e, seq)
	if err != nil {
		return nil, fmt.Errorf("read batch %d of %s: %w", seq, l.name, err)
	}
	return batch, nil
}

func (l *Log) get(ctx context.Context, e *engine, seq uint64) (batch []byte, err error) {
	if seq == 0 {
		return nil, mailbox.ErrGone // the server takes 0 for a malformed request
	}
	for {
		err = e.patiently(ctx, func(ctx context.Context) error {
			batch, err = l.getOnce(ctx, e, seq)
			return err
		})
		// A server that follows may not have it yet.
		if !errors.Is(err, errDamaged) || !l.bus.opts.shared() || pause(ctx, e) != nil {
			return batch, err
		}
	}
}

func (l *Log) getOnce(ctx context.Context, e *engine, seq uint64) ([]byte, error) {
	m, err := e.reads.RequestWithContext(ctx, l.direct(), fmt.Appendf(nil, `{"seq":%d,"no_hdr":true}`, seq))
	if err != nil {
		return nil, err
	}
	switch status := m.Header.Get("Status"); status {
	case "":
		return m.Data, nil
	case "404":
		// The server says the same of what was purged and what is damaged.
		first, last, _, err := l.bounds(ctx, e)
		if err != nil {
			return nil, err
		}
		if seq < first || seq > last {
			return nil, mailbox.ErrGone
		}
		return nil, errDamaged
	default:
		return nil, fmt.Errorf("the server answers %s %s", status, m.Header.Get("Description"))
	}
}

var errDamaged = errors.New("it is missing or damaged on disk")

// direct is the subject on which the stream's messages are read.
func (l *Log) direct() string { return "$JS.API.DIRECT.GET." + l.name }

// Bounds returns the log's ends; see mailbox.Log. bytes counts what the server
// stores for them, some 80 bytes a batch included. A log that ends before what
// this process has stored is an error: ErrDamaged.
func (l *Log) Bounds(ctx context.Context) (first, last, bytes uint64, err error) {
	e, err := l.bus.engine()
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, l.bus.opts.CallTimeout)
		defer cancel()
		first, last, bytes, err = l.bounds(ctx, e)
	}
	if err != nil {
		return 0, 0, 0, fmt.Errorf("look at the bounds of %s: %w", l.name, err)
	}
	return first, last, bytes, nil
}

func (l *Log) bounds(ctx context.Context, e *engine) (first, last, bytes uint64, err error) {
	for {
		first, last, bytes, err = l.boundsOnce(ctx, e)
		// A leader that was replaced and does not know it yet may have answered.
		if !errors.Is(err, ErrDamaged) || !l.bus.opts.shared() || pause(ctx, e) != nil {
			return first, last, bytes, err
		}
	}
}

func (l *Log) boundsOnce(ctx context.Context, e *engine) (first, last, bytes uint64, err error) {
	stored := l.stored.Load() // before asking: appends go on meanwhile
	info, err := e.info(ctx, l.name)
	if err != nil {
		return 0, 0, 0, err
	}
	state := info.State
	if state.LastSeq < stored {
		return 0, 0, 0, fmt.Errorf("%w: it ends at batch %d, though batch %d was stored", ErrDamaged, state.LastSeq, stored)
	}
	if state.Msgs == 0 {
		return state.LastSeq + 1, state.LastSeq, 0, nil
	}
	return state.FirstSeq, state.LastSeq, state.Bytes, nil
}

// Name returns a name of the log that no other one has, nor will have: it follows
// from when it was made.
func (l *Log) Name(ctx context.Context) (string, error) {
	e, err := l.bus.engine()
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", l.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.bus.opts.CallTimeout)
	defer cancel()
	info, err := e.info(ctx, l.name)
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", l.name, err)
	}
	sum := sha256.Sum256([]byte(l.name + " " + info.Created.UTC().Format(time.RFC3339Nano)))
	return hex.EncodeToString(sum[:12]), nil
}

// Purge removes everything before the sequence below, which may be one past the
// log's end at most. Appends wait meanwhile, for milliseconds.
func (l *Log) Purge(ctx context.Context, below uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := l.bus.engine()
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, l.bus.opts.CallTimeout)
		defer cancel()
		err = l.purge(ctx, e, below)
	}
	if err == nil && !l.bus.opts.shared() {
		err = l.keepNames() // the last file may be another one now
	}
	if err != nil {
		return fmt.Errorf("purge %s below %d: %w", l.name, below, err)
	}
	return nil
}

func (l *Log) purge(ctx context.Context, e *engine, below uint64) error {
	first, last, _, err := l.bounds(ctx, e)
	if err != nil {
		return err
	}
	if below <= first {
		return nil // and 0 would mean everything to the server
	}
	if below > last+1 {
		return fmt.Errorf("the log ends at %d", last) // the server would count on from there
	}
	return e.patiently(ctx, func(ctx context.Context) error {
		stream, err := e.js.Stream(ctx, l.name)
		if err != nil {
			return err
		}
		return stream.Purge(ctx, jetstream.WithPurgeSequence(below))
	})
}

// Leads says whether this process leads the log's stream: the keeper of its shard
// had better be here. It looks at what is known and is cheap.
func (l *Log) Leads() bool {
	e := l.bus.current.Load()
	return e != nil && e.srv != nil && (l.bus.opts.Cluster == nil || e.srv.JetStreamIsStreamLeader(account, l.name))
}
