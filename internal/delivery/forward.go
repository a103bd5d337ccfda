package delivery

import "github.com/seed-3d8c1042/switchboard/wire"

// Forward takes what came over a link. It is called when this domain's version of
// the network's description is at least f's, for one message after the other of
// a neighbour; f and its bytes belong to the hub.
//
// done is called once, maybe before Forward returns or from a keeper's goroutine,
// and must not block: with nil when all of it is stored here, or refused, which is
// stored as a notice to the sender or counted as dropped; with an error when
// this domain cannot store it at present: then it must not be acknowledged, and
// comes again. Of a FAST one it says nothing.
func (h *Hub) Forward(f *wire.Forward, from Neighbour, done func(error)) { done(nil) }

// Wrap returns a notice as what waits for a link, and in whose mailbox; not ok: its
// user lives here, or nobody knows where. It may be called by a keeper: it
// neither blocks nor calls back.
func (h *Hub) Wrap(n Notice) (link wire.UserID, frame []byte, ok bool) { return "", nil, false }

// Carry sends a message that waits in a mailbox on its way, if that is another one
// now: a FORWARD in the mailbox of a link, or what waits for a user who lives
// elsewhere now. done is as that of Forward; moved says whether the message is
// elsewhere now, stored, or refused as Forward does, so that it is to be removed
// where it was. What is carried again, because that was not done in time, has
// the same ID.
func (h *Hub) Carry(c *Carried, done func(moved bool, err error)) { done(false, nil) }

// Dismiss closes all sessions of a user of the master user's app, wherever that
// user lives. Elsewhere that takes its time; origin hears if it cannot be passed on,
// and may be nil.
func (h *Hub) Dismiss(master, user wire.UserID, origin Origin) {}
