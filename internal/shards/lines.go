package shards

import (
	"slices"
	"sync"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// What comes over a link comes again until it is known to be stored, in order, over one
// connection after the other. A desk tells the keeper of each message what the same
// connection brought for that keeper right before it, see mailbox.Message. And what
// waits of a connection that has ended is let go: the next one brings it, and it would
// have to wait behind it, or would find no room.

// lines are the connections over which messages come to one desk.
type lines struct {
	mu   sync.Mutex
	last map[mailbox.Line]mailbox.Before // what each brought last
}

// enter notes a message that came over its Line as the last, and in it the one before.
func (l *lines) enter(m *mailbox.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, there := l.last[m.Line]
	if !there {
		for line := range l.last {
			if line.Over() {
				delete(l.last, line)
			}
		}
		if l.last == nil {
			l.last = make(map[mailbox.Line]mailbox.Before)
		}
	}
	m.Before = before
	now := mailbox.Before{Via: m.Via, Place: m.Place}
	if len(m.To) == 1 {
		now.To = m.To[0]
	}
	l.last[m.Line] = now
}

// line returns the connection over which a request came, nil for none.
func (r *request) line() mailbox.Line {
	if len(r.messages) != 1 {
		return nil
	}
	return r.messages[0].Line
}

// begins says whether it is the first that its connection brought here: others may have
// ended.
func (r *request) begins() bool { return r.line() != nil && r.messages[0].Before.Place == 0 }

// forsake lets go what waits of connections that have ended. mu is held.
func (d *desk) forsake() {
	d.waiting = slices.DeleteFunc(d.waiting, func(r *request) bool {
		line := r.line()
		if line == nil || !line.Over() {
			return false
		}
		d.cost.Add(-r.cost)
		r.refuse(&wire.Error{
			Kind: wire.KindDeliverFailed, Code: wire.CodeStoreDown, MayYetArrive: r.unsure,
			Reason: "the link over which it came is down; it comes again",
		})
		return true
	})
}
