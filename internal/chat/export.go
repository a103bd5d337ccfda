package chat

import (
	"context"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// exportBytes bounds what is exported of one user's messages: past it the newest rooms'
// are left out, and the export says so.
const exportBytes = 64 << 20

// Export returns all that is kept of a user, as JSON: the rooms that the user is in, and
// what the user has said, also in rooms that the user has left.
func (c *Chat) Export(ctx context.Context, user wire.UserID) ([]byte, error) {
	who, e := c.actor(user)
	if e != nil {
		return nil, e
	}
	list, err := c.membershipsOf(ctx, who.n)
	if err != nil {
		return nil, err
	}
	rooms := wire.RoomList{}
	for i := range list {
		rooms.Rooms = append(rooms.Rooms, *c.mine(&list[i].Room, &list[i].Member))
	}
	out := rooms.AppendData(nil)
	out = append(out[:len(out)-1], `,"messages":[`...)
	var at Mark
	for first, more := true, true; more; {
		var page []Authored
		err := c.opts.Store.Read(ctx, func(v View) (err error) {
			page, err = v.AuthoredBy(who.n, at, wire.MaxRoomPage)
			return err
		})
		if err != nil {
			return nil, err
		}
		for i := range page {
			m := &page[i]
			if m.Content != nil {
				if !first {
					out = append(out, ',')
				}
				first = false
				out = (&wire.RoomMessage{Room: m.RoomID, ID: m.ID, Seq: uint64(m.Seq), From: user, Content: m.Content, At: moment(m.At)}).AppendData(out)
			}
			at = Mark{m.Room, m.Seq}
		}
		if more = len(page) == wire.MaxRoomPage; more && len(out) > exportBytes {
			return append(out, `],"more":true}`...), nil
		}
	}
	return append(out, `]}`...), nil
}
