package node

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	rooms "github.com/seed-3d8c1042/switchboard/internal/chat"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// frameRoom is what a frame has beside the content of a message to a room, at most.
const frameRoom = 1 << 10

// buildChat makes the room of rooms, on the database. It is asked by accounts, and asks
// them.
func (n *node) buildChat() (err error) {
	s := n.opts.Settings
	o := rooms.Options{
		Store: n.chat.db.Chat(), People: chatUsers{n}, App: s.Chat.AppName, Domain: s.Domain,
		Limits: func() rooms.Limits {
			l := n.limits()
			return rooms.Limits{
				Content: int(min(l.RoomContent, max(l.Frame-frameRoom, 1))),
				Members: l.RoomMembers, Rooms: l.RoomsPerUser, Owned: l.RoomsOwned,
			}
		},
		Now: time.Now, Random: rand.Reader, Logger: n.log, Metrics: n.metrics,
	}
	if n.links != nil {
		o.Nodes, o.Apart = tagged{n.links, tagChat}, n.links.Apart
	}
	if n.abroad != nil {
		o.HomeURL = n.abroad.homeURL
	}
	n.chat.rooms, err = rooms.New(o)
	return err
}

// chatUsers is who the users of rooms are.
type chatUsers struct{ *node }

// Known implements chat.People.
func (p chatUsers) Known(ctx context.Context, user wire.UserID) (bool, error) {
	_, err := p.chat.accounts.Profile(ctx, user)
	var refused *accounts.Refusal
	if errors.As(err, &refused) && refused.Code == accounts.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}

// Blocked implements chat.People.
func (p chatUsers) Blocked(ctx context.Context, by, whom wire.UserID) (bool, error) {
	return p.chat.accounts.Blocked(ctx, by, whom)
}
