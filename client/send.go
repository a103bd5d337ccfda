package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// frameRoom is what the envelope needs besides content, receivers and reference.
const frameRoom = 160

type sendOptions struct {
	reference string // "" for none
	fast      bool
	silent    bool
	ttl       time.Duration
	seq       uint64 // 0: the outbox gives one
	numbered  bool   // seq was given
}

// SendOption says how a message is sent.
type SendOption func(*sendOptions)

// WithReference gives the message the sender's own word for it: it comes back in
// confirmations and errors, and reaches the receiver. Without one, or with an
// empty one, there are no confirmations.
func WithReference(reference string) SendOption {
	return func(o *sendOptions) { o.reference = reference }
}

// Fast sends the message without keeping it on the way: it reaches who is there
// now, and is lost in a crash.
func Fast() SendOption { return func(o *sendOptions) { o.fast = true } }

// WithTTL limits how long a RELIABLE message may wait for its receiver, in
// seconds, rounded up. It must be above 0.
func WithTTL(ttl time.Duration) SendOption {
	return func(o *sendOptions) { o.ttl = max(ttl, 1) }
}

// WithSeq gives a RELIABLE message its number in the outbox, for an application
// that keeps its outbox itself: see [Options.Producer]. It must be above those of
// all messages that this client has sent, or the send fails with [ErrSeq].
func WithSeq(seq uint64) SendOption { return func(o *sendOptions) { o.seq, o.numbered = seq, true } }

// NoConfirmation asks for no confirmation, though there is a reference.
func NoConfirmation() SendOption { return func(o *sendOptions) { o.silent = true } }

// Send sends a message to one user. content is a json.RawMessage, which arrives
// byte for byte, or any other value that encoding/json can encode; it must not
// be null.
//
// nil means that the message has left this process, not that it has arrived.
// Without a connection Send fails with ErrNotConnected; nothing is kept for
// later. ctx limits how long it waits for others who send.
//
// With Options.Producer, nil means that a RELIABLE message is in the outbox, from
// where it is sent, now or on the next connection, until it is stored. ctx limits
// how long Send waits for room there.
func (c *Client) Send(ctx context.Context, to wire.UserID, content any, opts ...SendOption) error {
	o := apply(opts)
	return c.send(ctx, []wire.UserID{to}, false, content, &o)
}

// SendGroup sends a message to several users. The server confirms nothing; those
// receivers that it could not accept it for come to OnError.
func (c *Client) SendGroup(ctx context.Context, to []wire.UserID, content any, opts ...SendOption) error {
	if len(to) == 0 {
		return errors.New("client: the group has no receivers")
	}
	o := apply(opts)
	return c.send(ctx, to, true, content, &o)
}

// SendAndWait sends a message to one user and waits until the server confirms
// that it was delivered, or fails with the *wire.Error that the server reports.
// Without WithReference the message gets a reference of its own. Its
// confirmation and error come here, not to OnConfirmation and OnError.
//
// The wait goes on over lost connections, since the confirmation is RELIABLE:
// it comes on a later connection with Push, or when missed messages are
// fetched. It may last as long as the receiver is away, or, for a FAST message,
// for ever: ctx should have a deadline. When ctx ends, the message may have been
// delivered or may yet be.
func (c *Client) SendAndWait(ctx context.Context, to wire.UserID, content any, opts ...SendOption) error {
	o := apply(opts)
	o.silent = false
	if o.reference == "" {
		reference, err := newReference()
		if err != nil {
			return err
		}
		o.reference = reference
	}
	outcome, err := c.await(o.reference)
	if err != nil {
		return err
	}
	defer c.forget(o.reference)
	if err := c.send(ctx, []wire.UserID{to}, false, content, &o); err != nil {
		return err
	}
	select {
	case err := <-outcome:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closing:
		return ErrClosed
	}
}

// FetchMissing asks for missed messages, at most count of them (0 for
// wire.DefaultFetch; more than wire.MaxFetch counts as that), and waits until
// their handlers have returned. left is how many a further call would get. It
// must not be called by a handler, other than OnState. If the connection is lost
// meanwhile it fails with ErrNotConnected, and what was not handled is still
// there.
func (c *Client) FetchMissing(ctx context.Context, count int) (left int, err error) {
	if count < 0 {
		return 0, errors.New("client: fetch a negative number of messages")
	}
	if count == 0 {
		count = wire.DefaultFetch
	}
	reference, err := newReference()
	if err != nil {
		return 0, err
	}
	refused, err := c.await(reference)
	if err != nil {
		return 0, err
	}
	defer c.forget(reference)
	l, err := c.current()
	if err != nil {
		return 0, err
	}
	complete, err := l.fetch(ctx, appendFetch(nil, count, reference))
	if err != nil {
		return 0, err
	}
	select {
	case left := <-complete:
		return left, nil
	case err := <-refused:
		l.dropFetch(complete)
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-c.closing:
		return 0, ErrClosed
	case <-l.done:
	}
	select {
	case left := <-complete:
		return left, nil
	default:
		return 0, ErrNotConnected
	}
}

// CloseConnection closes all sessions of a user of the same app. Only the app's
// master user may: for others, FORBIDDEN comes to OnError.
func (c *Client) CloseConnection(ctx context.Context, user wire.UserID) error {
	if _, err := wire.ParseUserID(user); err != nil {
		return fmt.Errorf("client: user %q: %w", user, err)
	}
	l, err := c.current()
	if err != nil {
		return err
	}
	return l.write(ctx, appendClose(nil, user), nil)
}

func apply(opts []SendOption) (o sendOptions) {
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

func (c *Client) send(ctx context.Context, to []wire.UserID, group bool, content any, o *sendOptions) error {
	for _, user := range to {
		if _, err := wire.ParseUserID(user); err != nil {
			return fmt.Errorf("client: receiver %q: %w", user, err)
		}
	}
	raw, err := encode(content)
	if err != nil {
		return fmt.Errorf("client: encode the content: %w", err)
	}
	if !o.fast && (c.outbox != nil || o.numbered) {
		return c.post(ctx, to, group, raw, o)
	}
	frame, err := c.frame(to, group, raw, o)
	if err != nil {
		return err
	}
	l, err := c.current()
	if err != nil {
		return err
	}
	return l.write(ctx, frame, nil)
}

// frame makes the frame of a message.
func (c *Client) frame(to []wire.UserID, group bool, raw []byte, o *sendOptions) ([]byte, error) {
	frame := appendSend(make([]byte, 0, len(raw)+24*len(to)+len(o.reference)+frameRoom), to, group, raw, o)
	if len(frame) > c.opts.MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(frame), c.opts.MaxFrame)
	}
	return frame, nil
}

var errNoContent = errors.New("it is null, which counts as absent")

// encode returns the content as JSON, raw JSON as it is.
func encode(content any) ([]byte, error) {
	raw, ok := content.(json.RawMessage)
	if !ok {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(content); err != nil {
			return nil, err
		}
		raw = b.Bytes()[:b.Len()-1] // without the newline
	}
	switch {
	case !json.Valid(raw) || !utf8.Valid(raw):
		return nil, errors.New("it is no JSON in UTF-8")
	case string(bytes.TrimSpace(raw)) == "null":
		return nil, errNoContent
	}
	return raw, nil
}

// current returns the link to send on.
func (c *Client) current() (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.link != nil:
		return c.link, nil
	case c.err != nil:
		return nil, ErrClosed
	}
	return nil, ErrNotConnected
}
