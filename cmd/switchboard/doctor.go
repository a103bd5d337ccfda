package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// doctorCommand looks at a server from outside, as its clients reach it.
type doctorCommand struct {
	URL     string        `required:"" help:"The server's endpoint as clients reach it, such as wss://example.org/ws." placeholder:"URL"`
	AppID   string        `name:"app-id" default:"app-id-343" help:"The appId to sign in with."`
	User    string        `default:"ANZ-123224" help:"The user to sign in as; one that nobody else uses."`
	Token   string        `env:"SWITCHBOARD_DOCTOR_TOKEN" help:"The user's token; better in the environment than here."`
	Timeout time.Duration `default:"1m" help:"How long to wait: longer than the server's proofTimeout."`
}

// Validate checks the flags; what it says is a matter of usage.
func (c doctorCommand) Validate() error {
	if c.URL == "" {
		return errors.New("--url is required: the server's endpoint as clients reach it, such as wss://example.org/ws")
	}
	if strings.HasPrefix(c.URL, "ws://") || strings.HasPrefix(c.URL, "wss://") {
		return nil
	}
	if scheme, _, ok := strings.Cut(c.URL, "://"); ok {
		return fmt.Errorf("--url %s: write ws:// or wss:// instead of %s://", c.URL, scheme)
	}
	return fmt.Errorf("--url %s: write ws:// or wss:// before it", c.URL)
}

// Run implements the command.
func (c doctorCommand) Run(p *program) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	fmt.Fprintf(p.out, "connecting to %s as %s, leaving its pings unanswered\n", c.URL, c.User)
	err := client.CheckPath(ctx, client.Options{URL: c.URL, AppID: c.AppID, UserID: wire.UserID(c.User), Token: c.Token})
	switch {
	case err == nil:
		fmt.Fprintln(p.out, "good: nobody on the way answers pings; the server gave the silent client up")
		return nil
	case errors.Is(err, client.ErrPingsAnswered):
		return fmt.Errorf("%w; let the proxy pass WebSocket frames through, or have clients use the option ack", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("cannot find out in %s: %w; give --timeout more than the server's proofTimeout", c.Timeout, err)
	}
	return fmt.Errorf("cannot find out: %w", err)
}
