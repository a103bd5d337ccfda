package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/nearby"
	"github.com/seed-3d8c1042/switchboard/internal/shards"
	"github.com/seed-3d8c1042/switchboard/internal/socket"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// around is who keeps where users are, and tells others.
type around struct {
	room  *nearby.Room // nil: nobody does
	names *names       // nil: nobody has one
	gone  chan departed
}

// departed is a user who has signed out.
type departed struct {
	user wire.UserID
	at   time.Time
}

const (
	// hideTime bounds how long a sign-out waits until the user is off the map.
	hideTime = 2 * time.Second
	// hideRetry is how long it waits before it tries again who may say nothing now.
	hideRetry = 50 * time.Millisecond
	// hideAgain is how long after it the user is taken off once more: what a socket on
	// another node was reading in that moment may have come in behind.
	hideAgain = time.Second
	// mostGone is how many wait for that; more are not taken off a second time.
	mostGone = 1000
)

// openNearby makes what keeps positions.
func (n *node) openNearby() error {
	s := n.opts.Settings
	if !s.Nearby.Enabled {
		return nil
	}
	room, err := nearby.New(nearby.Options{
		Node: n.id, Shards: n.office.Shards(), Now: time.Now, Limits: nearbyLimits(s.Nearby), Logger: n.log, Metrics: n.metrics,
		Logs: func(ctx context.Context, shard int) (nearby.Log, error) {
			log, err := n.bus.Positions(ctx, shard, s.Nearby.TTL)
			if err != nil {
				return nil, err
			}
			return log, nil
		},
	})
	if err != nil {
		return err
	}
	owners, err := n.addDuty("nearby", tagNearby, nearbyDuty{room})
	if err != nil {
		return err
	}
	room.Attach(nearbyOwners{owners})
	n.around.room, n.around.gone = room, make(chan departed, mostGone)
	if n.chat.accounts != nil {
		n.around.names = newNames(n.chat.accounts.Profiles, n.opts.Settings.Chat.AppName)
	}
	return nil
}

// mapOptions are what the console's map has to know; nil: there is nothing to show.
func (n *node) mapOptions() *api.Map {
	s := n.opts.Settings.Nearby
	if n.around.room == nil {
		return nil
	}
	return &api.Map{TTL: s.TTL.Seconds(), Tiles: s.Tiles, Attribution: s.Attribution}
}

func nearbyLimits(s config.Nearby) nearby.Limits {
	return nearby.Limits{
		TTL: s.TTL, Precision: float64(s.Precision), MaxRadius: float64(s.MaxRadius),
		Watches: s.Watches, Rate: s.Rate, Positions: s.Positions, Users: s.Crowd,
	}
}

// runNearby has users seen, until stop is called.
func (n *node) runNearby() (stop func()) {
	if n.around.room == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all errgroup.Group
	all.Go(func() error { return n.around.room.Run(ctx) })
	all.Go(func() error { return n.hideGone(ctx) })
	if n.around.names != nil {
		all.Go(func() error { return n.around.names.run(ctx) })
	}
	return func() {
		cancel()
		if err := all.Wait(); err != nil {
			n.log.Error("positions ended with an error", "err", err)
		}
	}
}

// signedOut takes a user off the map who is signed in nowhere any more.
func (n *node) signedOut(ctx context.Context, user wire.UserID) {
	if n.around.room == nil {
		return
	}
	n.hide(ctx, user)
	select {
	case n.around.gone <- departed{user, time.Now()}:
	default:
	}
}

func (n *node) hide(ctx context.Context, user wire.UserID) {
	ctx, cancel := context.WithTimeout(ctx, hideTime)
	defer cancel()
	err := n.hideOnce(ctx, user)
	// Who has just said as often where he is as he may is hidden all the same, a moment later.
	for r := (*nearby.Refusal)(nil); errors.As(err, &r) && r.Code == wire.CodeTooMany && ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-time.After(hideRetry):
			err = n.hideOnce(ctx, user)
		}
	}
	if err != nil {
		n.log.Warn("a user who has signed out stays on the map until the position expires", "user", user, "err", err)
	}
}

func (n *node) hideOnce(ctx context.Context, user wire.UserID) error {
	done := make(chan error, 1)
	n.around.room.Hide(user.App(), string(user), func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hideGone takes users off the map once more, unless they are signed in again.
func (n *node) hideGone(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case g := <-n.around.gone:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Until(g.at.Add(hideAgain))):
			}
			if out, err := n.chat.accounts.Out(ctx, g.user); err == nil && out {
				n.hide(ctx, g.user)
			}
		}
	}
}

// signInUser says who shows a token of an app, for a call.
func (n *node) signInUser(ctx context.Context, a wire.Auth) (wire.UserID, error) {
	ctx, cancel := context.WithTimeout(ctx, n.limits().SignInDeadline)
	defer cancel()
	grant, err := n.apps.Authenticate(ctx, a)
	var refused *apps.Refusal
	switch {
	case err == nil:
		return grant.User, nil
	case !errors.As(err, &refused):
		return "", fmt.Errorf("sign a user in: %w", err)
	}
	r := api.FromWire(&wire.Error{Code: refused.Code, Reason: refused.Reason})
	if refused.Code == wire.CodeUnknownApp {
		r.Status = http.StatusUnauthorized // of whose app there is none, nobody can say more
	}
	return "", r
}

// nearbyDuty is keeping positions as what is done for each shard.
type nearbyDuty struct{ room *nearby.Room }

// Begin implements shards.Duty.
func (d nearbyDuty) Begin(ctx context.Context, shard int, term uint64) error {
	return d.room.Begin(ctx, shard, term)
}

// End implements shards.Duty.
func (d nearbyDuty) End(shard int) { d.room.End(shard) }

// Serve implements shards.Duty.
func (d nearbyDuty) Serve(shard int, from string, request []byte, answer func(reply []byte, err error)) {
	d.room.Serve(shard, from, request, answer)
}

// Told implements shards.Duty.
func (d nearbyDuty) Told(from string, message []byte) { d.room.Told(from, message) }

// Moved implements shards.Duty: the room says again what is wanted, in its own order.
func (d nearbyDuty) Moved(shard int, _ func([]byte, func([]byte, error))) { d.room.Moved(shard) }

// Lost implements shards.Duty.
func (d nearbyDuty) Lost(node string) { d.room.Lost(node) }

// nearbyOwners is how positions reach those who keep them.
type nearbyOwners struct{ *shards.Owners }

// Request implements nearby.Owners.
func (o nearbyOwners) Request(shard int, request []byte, answer func(reply []byte, err error)) {
	o.Owners.Request(shard, request, func(reply []byte, err error) {
		if errors.Is(err, shards.ErrUnknown) {
			err = nearby.ErrNoAnswer
		}
		answer(reply, err)
	})
}

// Tell implements nearby.Owners. What does not go is missed at the other end, which is
// told so.
func (o nearbyOwners) Tell(node string, message []byte) { o.Owners.Tell(node, message) }

// nearbyDoor is the room as the connector needs it.
type nearbyDoor struct{ *nearby.Room }

// Watch implements socket.Nearby.
func (d nearbyDoor) Watch(app, _ string, o nearby.Outlet) socket.NearbyWatches {
	return d.Open(app, o)
}
