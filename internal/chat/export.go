package chat

import (
	"context"
	"io"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Export writes all that is kept of a user, as JSON: the rooms that the user is in, and
// what the user has said, also in rooms that the user has left. What somebody else has
// made of a message of the user's is not the user's: what it was before is written. It
// holds a page of messages in memory, and no transaction while it writes.
func (c *Chat) Export(ctx context.Context, user wire.UserID, w io.Writer) error {
	who, e := c.actor(user)
	if e != nil {
		return e
	}
	list, err := c.membershipsOf(ctx, who.n)
	if err != nil {
		return err
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
		page, more, err = c.authored(ctx, who.n, at)
		if err != nil {
			return err
		}
		for i := range page {
			m := &page[i]
			at = Mark{m.Room, m.Seq}
			if m.Content == nil {
				continue
			}
			if !first {
				out = append(out, ',')
			}
			first = false
			out = (&wire.RoomMessage{Room: m.RoomID, ID: m.ID, Seq: uint64(m.Seq), From: user, Content: m.Content, At: moment(m.At)}).AppendData(out)
		}
		if _, err := w.Write(out); err != nil {
			return err
		}
		out = out[:0]
	}
	_, err = w.Write(append(out, `]}`...))
	return err
}

// authored reads a page of what a user has said, behind a place, as the user has left it.
func (c *Chat) authored(ctx context.Context, user int64, at Mark) (page []Authored, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	err = c.opts.Store.Read(ctx, func(v View) (err error) {
		if page, more, err = v.AuthoredBy(user, at, wire.MaxRoomPage, pageBytes); err != nil {
			return err
		}
		for i := range page {
			m := &page[i]
			if m.Content == nil || m.EditedBy == 0 || m.EditedBy == user {
				continue
			}
			versions, err := v.Versions(m.Room, m.Seq)
			if err != nil {
				return err
			}
			m.Content = lastOf(user, versions)
		}
		return nil
	})
	return page, more, err
}

// lastOf returns the last content that a message's author gave it, of its earlier ones.
func lastOf(author int64, versions []Version) (content []byte) {
	by := author // who wrote a version is whoever ended the one before it
	for _, v := range versions {
		if by == author {
			content = v.Content
		}
		by = v.By
	}
	return content
}
