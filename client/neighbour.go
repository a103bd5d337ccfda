package client

import (
	"context"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What the link from another domain needs besides what users do.

// Acknowledge says that everything up to the message of an ID, in the order in which
// they came on this connection, is in good hands. It is for clients with
// [Options.Link], which nothing is acknowledged for by itself.
func (c *Client) Acknowledge(ctx context.Context, id wire.ID) error {
	l, err := c.current()
	if err != nil {
		return err
	}
	return l.write(ctx, appendAck(nil, id), nil)
}

// Ping returns how long the server took to answer a ping. Of several at once the
// last is answered.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	l, err := c.current()
	if err != nil {
		return 0, err
	}
	answered := make(chan struct{})
	l.mu.Lock()
	l.pings++
	text := pingText(l.pings)
	l.ponged = answered
	l.mu.Unlock()
	began := time.Now()
	if err := l.conn.WritePing([]byte(text)); err != nil {
		return 0, ErrNotConnected
	}
	select {
	case <-answered:
		return time.Since(began), nil
	case <-l.done:
		return 0, ErrNotConnected
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// End closes the connection with a code and a reason of the caller's. It does not
// wait, and handlers may call it; nothing that comes is handled any more. Unless
// NoReconnect is set the client comes back.
func (c *Client) End(code uint16, reason string) {
	l, err := c.current()
	if err != nil {
		return
	}
	l.leave(&CloseError{Code: code, Reason: reason})
	_ = l.conn.WriteClose(code, []byte(reason[:min(len(reason), maxReason)]))
}

// maxReason is how long the reason in a close frame may be, RFC 6455 section 5.5.
const maxReason = 123
