package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// keepAlive is how long a neighbour may be silent before it is pinged; twice as
// long, and it is given up. The measuring of the round trip has it answer more often.
const keepAlive = 10 * time.Second

// dial is the dialer by package client.
func dial(ctx context.Context, w where, take func(context.Context, []byte) error) (session, error) {
	c, err := client.Dial(ctx, client.Options{
		URL: w.url, AppID: apps.LinkAppID, UserID: w.user, Token: w.secret,
		Link: true, OnForward: take, NoReconnect: true,
		ConnectTimeout: connectTime, KeepAlive: keepAlive, DrainTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, said(err)
	}
	return connection{c}, nil
}

// connection is a session by package client.
type connection struct{ *client.Client }

// Ack implements session.
func (c connection) Ack(id wire.ID) error { return said(c.Acknowledge(context.Background(), id)) }

// Ping implements session.
func (c connection) Ping(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, pingEvery)
	defer cancel()
	return c.Client.Ping(ctx)
}

// Err implements session.
func (c connection) Err() error { return said(c.Client.Err()) }

// said makes a sentence for the operator of what the client says.
func said(err error) error {
	if refused, ok := errors.AsType[*wire.Error](err); ok {
		return fmt.Errorf("the neighbour does not let this domain in: %s (%s)", refused.Reason, refused.Code)
	}
	if closed, ok := errors.AsType[*client.CloseError](err); ok {
		return fmt.Errorf("the neighbour closed the link: %d %s", closed.Code, closed.Reason)
	}
	return err
}
