package mailbox

import (
	"context"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Carried is one message that waits in a mailbox and is to go elsewhere.
type Carried struct {
	Ord                     uint64 // its place
	ID                      wire.ID
	From                    wire.UserID
	Group, Notice, Presence bool
	Quiet, Confirm          bool
	Reference               []byte
	Expires                 time.Time // zero: never
	Frame                   []byte
}

// Mailboxes returns the users behind after in whose mailboxes something waits, in
// order, at most limit.
func (k *Keeper) Mailboxes(ctx context.Context, after wire.UserID, limit int) ([]wire.UserID, error) {
	return nil, nil
}

// Carry returns what is stored for a user behind the place after and is on its way
// to no session, in order, at most limit, and whether there is more.
func (k *Keeper) Carry(ctx context.Context, user wire.UserID, after uint64, limit int) (list []Carried, more bool, err error) {
	return nil, false, nil
}

// Carried says that messages are elsewhere now: they are removed, and nobody is
// told. Those that are on their way to a session by now stay. It returns when that
// is on disk.
func (k *Keeper) Carried(ctx context.Context, user wire.UserID, ords []uint64) error {
	return nil
}
