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
		TLS: w.tls, Link: true, OnForward: take, NoReconnect: true,
		ConnectTimeout: connectTime, KeepAlive: keepAlive, DrainTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, w.advise(err)
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

// advise makes a sentence for the operator of why this domain was not let in, and says
// where a secret is missing.
func (w where) advise(err error) error {
	refused, ok := errors.AsType[*wire.Error](err)
	if !ok {
		return said(err)
	}
	own := "this domain has none for it: put that of " + w.neighbour + " into the setting links.secret here, or into links.secrets under its name"
	switch {
	case refused.Code == wire.CodeBadToken && w.secret == "":
		return fmt.Errorf("%w; %s", said(err), own)
	case refused.Code == wire.CodeBadToken:
		return fmt.Errorf("%w; the setting links.secret, or links.secrets under the name of the other, has to be the same in both domains", said(err))
	case refused.Code == wire.CodeRefused && w.secret == "":
		return fmt.Errorf("%w; put the same secret into the setting links.secret of both domains", said(err))
	}
	return said(err)
}

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
