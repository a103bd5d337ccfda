package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// ErrPingsAnswered says that something between client and server answers the
// server's pings.
var ErrPingsAnswered = errors.New("something on the way to the server answers its pings: the server would take messages for delivered that no client has")

// CheckPath finds out whether the way to the server keeps the promise of
// delivery: a message counts as delivered when the client has answered the ping
// that follows it, so nobody else may answer pings. It signs in as o.UserID,
// sends itself one FAST message and leaves all pings unanswered.
//
// It returns nil when the server then takes the client for dead, which needs the
// server's proof timeout (10 s by default); ErrPingsAnswered when the message is
// confirmed; any other error when it could not find out. What else arrives for
// the user meanwhile stays unproved and comes again. o.OnMessage may be nil.
func CheckPath(ctx context.Context, o Options) error {
	o.OnMessage = func(context.Context, Message) error { return nil }
	o.NoReconnect, o.mute = true, true
	o.Ack, o.Push, o.KeepAlive = false, false, 10*time.Minute
	c, err := Dial(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.SendAndWait(ctx, o.UserID, "is anybody answering pings on the way?", Fast())
	if err == nil {
		return ErrPingsAnswered
	}
	select {
	case <-c.Done():
	case <-ctx.Done():
		return fmt.Errorf("the server neither confirmed the message nor gave the client up: %w", ctx.Err())
	}
	var closed *CloseError
	if errors.As(c.Err(), &closed) && closed.Code == wire.CloseNoProof {
		return nil
	}
	return c.Err()
}
