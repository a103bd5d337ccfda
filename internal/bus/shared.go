package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

// What several servers keep, one of them leads, and only it knows where a stream
// ends; for seconds at a time there may be none. What the others have of it is
// right, since they take in what is stored for good and nothing else, but its end
// may lack. So whatever asks where a stream ends asks the leader, and whatever is
// missing below that is asked for again.

const (
	// retryPause is between two attempts to get an answer from a cluster.
	retryPause = 50 * time.Millisecond
	// leaderGrace is how long an append waits for a leader: one that stops in good
	// order hands over in less. One that died is missing for an election, and who
	// appends had better hear of it.
	leaderGrace = 2 * time.Second
	// askAgain is how long an answer to a write may take before it is sent again:
	// the one who was to answer may have died.
	askAgain = time.Second
	// readStep is how long an answer about one message may take before it is asked for
	// again.
	readStep = waitStep / 8
	// writeHeader names a write, so that who has sent it more than once, or was not
	// answered, can tell whether it is the one that is stored.
	writeHeader = "Switchboard-Write"
	// afterHeader says, of a write to a stream that keeps the last message of a subject
	// only, which one it has replaced.
	afterHeader = "Switchboard-After"
)

var (
	errNoLeader  = errors.New("the stream has no leader")
	errNoMessage = errors.New("there is no such message")
)

// Numbers of the server's errors.
const (
	codeNoPeers           = 10005 // not as many servers as replicas
	codeNotAvailable      = 10008 // no leader
	codeNotLeader         = 10009
	codeNoMessage         = 10037
	codeNotEnabled        = 10039 // for the account: no server with streams is known yet
	codeNoStorage         = 10047 // a limit of the server or account is reached
	codeNameInUse         = 10058 // with other settings
	codeWrongLastSequence = 10071
	codeNoReplicas        = 10074 // no cluster
	codeNoStream          = 10059
	codeNotEnabledAtAll   = 10076
	codeStoreFailed       = 10077
	codeOffline           = 10118
	codeInFlight          = 10164 // another message of the subject is being stored
)

// passing says whether an error of a cluster may be gone in a moment. That a stream
// is not there is one, too: nobody asks who has not made sure of it, and who has just
// begun to lead all streams may not know them yet.
func passing(err error) bool {
	for _, known := range []error{
		errNoLeader, context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected,
		nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, jetstream.ErrNoStreamResponse, jetstream.ErrConsumerNotFound,
		jetstream.ErrJetStreamNotEnabled, jetstream.ErrStreamNotFound,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	var refused *jetstream.APIError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.ErrorCode {
	case codeNotAvailable, codeNotLeader, codeNoStream, codeNotEnabled, codeNotEnabledAtAll, codeOffline:
		return true
	}
	return false
}

// patiently calls ask until it succeeds, fails for good, or ctx ends; each time
// with a part of the time. Where there is one server alone it calls once.
func (e *engine) patiently(ctx context.Context, ask func(context.Context) error) error {
	if !e.opts.shared() {
		return ask(ctx)
	}
	for {
		step, cancel := context.WithTimeout(ctx, waitStep)
		err := ask(step)
		cancel()
		if err == nil || !passing(err) {
			return err
		}
		if pause(ctx, e) != nil {
			return fmt.Errorf("%w (for a while)", err)
		}
	}
}

// promptly is patiently for what may be asked often: who was to answer may have died,
// and nobody says so, so it is asked again soon, and then less and less soon. What was
// asked before still counts: an answer that is large, or slow, comes nevertheless.
func promptly[T any](ctx context.Context, e *engine, ask func(context.Context) (T, error)) (what T, err error) {
	if !e.opts.shared() {
		return ask(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		what T
		err  error
	}
	answers := make(chan answer)
	call := func() {
		what, err := ask(ctx)
		select {
		case answers <- answer{what, err}:
		case <-ctx.Done():
		}
	}
	passed := context.DeadlineExceeded // what the last that was answered says, or that none was
	wait := readStep
	go call()
	for again := time.NewTimer(wait); ; {
		select {
		case a := <-answers:
			if a.err == nil || !passing(a.err) {
				return a.what, a.err
			}
			passed = a.err
		case <-again.C:
			go call()
			wait = min(2*wait, waitStep)
			again.Reset(wait)
		case <-e.failed:
			return what, fmt.Errorf("%w: %w", passed, e.failure())
		case <-ctx.Done():
			return what, fmt.Errorf("%w (for a while)", passed)
		}
	}
}

// other is what is known of another write.
type other int

const (
	nothingKnown  other = iota
	standsInstead       // it was stored where this one was to be, which so never was
	standsSince         // it was stored there or later, and this one may have been before it
)

// insist sends a write until it is answered for, or ctx ends. The write expects
// something of what is stored, so of all that were sent one is stored at most; try
// fails with taken when that is not so any more, which a server that was the leader
// may say wrongly. look says whether the write is stored, by its sequence, or what is
// known of another one.
func (e *engine) insist(ctx context.Context, taken error, try func(context.Context) (uint64, error), look func(context.Context) (seq uint64, other other, err error)) (uint64, error) {
	doubt := false // one that was sent may be stored, or be yet
	grace := time.Now().Add(leaderGrace)
	for {
		step, cancel := context.WithTimeout(ctx, askAgain)
		seq, err := try(step)
		cancel()
		switch {
		case err == nil:
			return seq, nil
		case errors.Is(err, mailbox.ErrUnknown):
			doubt = true
		case errors.Is(err, taken):
		case !doubt && (!passing(err) || time.Now().After(grace)):
			return 0, err
		case !passing(err):
			return 0, unknown(err)
		}
		if doubt || errors.Is(err, taken) {
			step, cancel := context.WithTimeout(ctx, askAgain)
			seq, other, _ := look(step)
			cancel()
			switch {
			case seq > 0:
				return seq, nil
			case other == standsSince && doubt:
				return 0, unknown(taken)
			case other != nothingKnown:
				return 0, taken
			}
		}
		if pause(ctx, e) != nil {
			if doubt {
				err = unknown(err)
			}
			return 0, err
		}
	}
}

// pause waits before another attempt; an error when there is to be none.
func pause(ctx context.Context, e *engine) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-e.failed:
		return e.failure()
	case <-time.After(retryPause):
		return nil
	}
}

// info asks the leader about a stream.
func (e *engine) info(ctx context.Context, name string) (info *jetstream.StreamInfo, err error) {
	err = e.patiently(ctx, func(ctx context.Context) error {
		stream, err := e.js.Stream(ctx, name)
		if err != nil {
			return err
		}
		info = stream.CachedInfo()
		return led(info.Cluster)
	})
	return info, err
}

// led says whether who answered leads the stream, and more than half of its
// servers follow. Without a leader any of them answers; and one that was cut off
// takes itself for the leader until it has noticed.
func led(c *jetstream.ClusterInfo) error {
	if c == nil {
		return nil // no cluster
	}
	if c.Leader == "" {
		return errNoLeader
	}
	here := 1
	for _, r := range c.Replicas {
		if !r.Offline && r.Active < minElectionTimeout*3/4 {
			here++
		}
	}
	if all := len(c.Replicas) + 1; here <= all/2 {
		return fmt.Errorf("%w: %d of its %d servers hear %s", errNoLeader, here, all, c.Leader)
	}
	return nil
}

// read asks the leader of a stream for a message: errNoMessage when there is none.
func (e *engine) read(ctx context.Context, stream string, what direct) (*jetstream.RawStreamMsg, error) {
	ask, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	return promptly(ctx, e, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		reply, err := e.reads.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, ask)
		if err != nil {
			return nil, err
		}
		return messageOf(reply.Data)
	})
}

// messageOf reads an answer about a message.
func messageOf(reply []byte) (*jetstream.RawStreamMsg, error) {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject  string `json:"subject"`
			Sequence uint64 `json:"seq"`
			Header   []byte `json:"hdrs"`
			Data     []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply, &answer); err != nil {
		return nil, fmt.Errorf("the answer is no JSON: %w", err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == codeNoMessage:
		return nil, errNoMessage
	case answer.Error != nil:
		return nil, answer.Error
	case answer.Message == nil:
		return nil, errors.New("the answer has no message")
	}
	m := &jetstream.RawStreamMsg{Subject: answer.Message.Subject, Sequence: answer.Message.Sequence, Data: answer.Message.Data}
	if len(answer.Message.Header) > 0 {
		var err error
		if m.Header, err = nats.DecodeHeadersMsg(answer.Message.Header); err != nil {
			return nil, fmt.Errorf("the headers of the message: %w", err)
		}
	}
	return m, nil
}

// openTimeout bounds how long a log or table may take to be opened: in a cluster a
// leader may have to be elected first.
func (b *Bus) openTimeout() time.Duration {
	if b.opts.shared() {
		return 3 * b.opts.CallTimeout
	}
	return b.opts.CallTimeout
}
