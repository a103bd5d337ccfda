package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrNoServer says that no server of that name counts as one of the cluster.
	ErrNoServer = errors.New("it is none of those that keep what is stored")
	// ErrThere says that a server is alive, as the others see it.
	ErrThere = errors.New("it is alive")
	// ErrLoses says that what is acknowledged would be lost with a server.
	ErrLoses = errors.New("it may have what no other has")
)

const (
	codeChanging  = 10202 // other servers come or go just now
	codeNotMember = 10044
	// removeWait is how long the others may take to agree on a removal.
	removeWait = 10 * time.Second
)

// RemoveServer takes a server that is gone for good out of the cluster, by its name or
// its ID: it counts no longer for a majority, and its copies are made anew on the
// others, which goes on after RemoveServer has returned; Placement shows how far it is.
// It refuses a server that is alive, and one without which streams would have lost what
// they acknowledged.
//
// A process that still has the server's folder is not let in for some minutes; later
// it would be a new server to the others, so its folder has to go.
func (b *Bus) RemoveServer(ctx context.Context, name string) error {
	e, err := b.engine()
	if err != nil {
		return err
	}
	var p *Placement
	var gone Server
	for look := range 2 { // who is not heard at this very moment may be so at the next
		if look > 0 {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(2 * hbInterval):
			}
		}
		if p, err = b.Placement(ctx); err != nil {
			return err
		}
		if gone, err = p.named(name); err != nil {
			return err
		}
		if !gone.Offline {
			return ErrThere
		}
	}
	if lost := e.lostWith(ctx, p, gone.ID); len(lost) > 0 {
		return fmt.Errorf("%w: %s: more than half of those that have copies of it are gone", ErrLoses, strings.Join(lost, ", "))
	}
	ctx, cancel := context.WithTimeout(ctx, removeWait)
	defer cancel()
	return e.patiently(ctx, func(ctx context.Context) error { return e.removeOnce(ctx, gone.ID) })
}

// named returns a server by its name or ID.
func (p *Placement) named(name string) (Server, error) {
	if p == nil {
		return Server{}, ErrNoServer
	}
	for _, s := range p.Servers {
		if s.Name == name || s.ID == name || s.ID == ServerID(name) {
			return s, nil
		}
	}
	return Server{}, ErrNoServer
}

func (e *engine) removeOnce(ctx context.Context, id string) error {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Success bool                `json:"success"`
	}
	err := ask(ctx, e.system, server.JSApiRemoveServer, server.JSApiMetaServerRemoveRequest{Peer: id}, &answer)
	switch {
	case err != nil:
		return err
	case answer.Error != nil && answer.Error.ErrorCode == codeNotMember:
		return nil // it was asked before, and the answer was lost
	case answer.Error != nil && answer.Error.ErrorCode == codeChanging:
		return fmt.Errorf("%w: %w", errNoLeader, answer.Error) // which passes
	case answer.Error != nil:
		return answer.Error
	case !answer.Success:
		return errors.New("the cluster did not say that the server is removed")
	}
	return nil
}

// lostWith returns the streams that nobody else could go on with: those that have no
// leader now because of more than one server. Whoever leads has all that was
// acknowledged; and of two copies each has it.
func (e *engine) lostWith(ctx context.Context, p *Placement, id string) (names []string) {
	for name, g := range p.groups {
		if g.led {
			continue
		}
		if s, err := e.js.Stream(ctx, name); err == nil {
			g = groupOf(s.CachedInfo())
		}
		if g.led {
			continue // it was only slow to answer
		}
		others := 0
		for _, m := range g.members {
			at := slices.IndexFunc(p.Servers, func(s Server) bool { return s.ID == m && !s.Offline })
			if m != id && at >= 0 {
				others++
			}
		}
		if g.want != 2 || others != 1 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
