package api

import (
	"context"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Rooms are what the calls are about.
type Rooms struct {
	Apps   Apps
	Keys   Keys
	Events *Events // nil: nobody asks for events
}

// Apps knows the configured apps.
type Apps interface {
	Known(app string) bool
	MasterOf(app string) (wire.UserID, bool)
}

// Keys is the ring of API keys: *keys.Ring.
type Keys interface {
	Verify(presented string) (*keys.Key, error)
	Make(ctx context.Context, w keys.Wish, by *keys.Key) (key *keys.Key, presented string, err error)
	Revoke(ctx context.Context, id string) error
	Get(id string) *keys.Key
	List(app string, after keys.Key, limit int) []*keys.Key
	Used(id string) time.Time
}

// Calls returns the table of all calls of the HTTP interface. call.go says how
// to add one. Without rooms the table can be looked at, but not called.
func Calls(r Rooms) []Call {
	return slices.Concat(
		r.keyCalls(),
		r.Events.calls(),
	)
}
