package delivery

import (
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Carried is a message that waits in a mailbox.
type Carried struct {
	User wire.UserID // whose mailbox
	ID   wire.ID
	From wire.UserID

	Group, Notice, Presence, Quiet, Confirm bool

	Reference []byte
	Expires   time.Time
	Frame     []byte
}

// Part is what takes the place of a Carried one, or of some of its receivers: under
// the same ID, with the same sender, reference and end.
type Part struct {
	To      []wire.UserID // users who live here, or one link
	Group   bool
	Confirm bool
	Frame   []byte
}

// Carry says where a message that waits is to go instead, when the routes have
// changed: a FORWARD in the mailbox of a link that leads to none of its receivers any
// more, or what waits for a user who lives elsewhere now. Not ok: it stays. No parts:
// it goes nowhere, and its sender is told, as Forward does.
//
// A FORWARD stays as long as the link still leads to some of its receivers: the
// next domain sends it on to the others, and to nobody anything comes out of order.
func (h *Hub) Carry(c *Carried) (parts []Part, ok bool, err error) {
	if h.opts.Domains == nil {
		return nil, false, nil
	}
	f, w := h.carried(c), ways{}
	if wire.IsForward(c.Frame) {
		if *f, err = wire.ParseForward(c.Frame); err != nil {
			return nil, false, fmt.Errorf("read what waits in the mailbox of %s: %w", c.User, err)
		}
		w = h.waysOf(f.To)
		for _, p := range w.far {
			if p.Link == c.User {
				return nil, false, nil
			}
		}
	} else if wire.CheckUserID([]byte(c.User)) == nil { // others are the server's own
		w = h.waysOf(f.To)
		if len(w.far) == 0 { // without a way it waits for one
			return nil, false, nil
		}
	} else {
		return nil, false, nil
	}
	in := &incoming{h: h, f: f, hops: max(f.Hops, 1), id: c.ID, left: 1, done: func(error) {}}
	local, far := in.admit(w.local), in.sift(&w)
	if len(local) > 0 {
		parts = append(parts, Part{To: local, Group: f.Group, Confirm: f.Confirm, Frame: f.Frame})
	}
	for i := range far {
		parts = append(parts, Part{To: []wire.UserID{far[i].Link}, Group: f.Group, Frame: in.onward(&far[i])})
	}
	in.settle()
	return parts, true, nil
}

// carried returns what waits for a user as what crosses a link.
func (h *Hub) carried(c *Carried) *wire.Forward {
	return &wire.Forward{
		Origin: h.opts.Domain, From: c.From, To: []wire.UserID{c.User}, SentAt: c.ID.Time(),
		Group: c.Group, Notice: c.Notice, Presence: c.Presence, Quiet: c.Quiet, Confirm: c.Confirm,
		Reference: c.Reference, Expires: c.Expires, Frame: c.Frame,
	}
}
