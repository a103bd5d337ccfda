package mailbox

import (
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Subscription says what the mailbox of a subscriber is sent of an app: of its
// users' sessions, and of the messages that its users, or its own server, send.
// An event is in the log together with what it tells of, or not at all; its ID
// follows from the session's or the message's, so there is one for each.
type Subscription struct {
	// To is the subscriber: a reserved name, which no client can have, see
	// Subscriber.
	To wire.UserID

	Connected    bool
	Disconnected bool
	Delivered    bool // proved, by each of its receivers
	Undelivered  bool // waits for longer than Limits.Undelivered
	Expired      bool
}

// Subscriber returns the reserved user in whose mailbox the events of one of an
// app's subscriptions wait.
func Subscriber(app, name string) wire.UserID { return wire.UserID(app + "-hook/" + name) }

// isSubscriber says whether a user is a reserved one. No user ID has a slash.
func isSubscriber(user wire.UserID) bool { return strings.IndexByte(string(user), '/') >= 0 }

// eventName is what an event tells of.
type eventName string

const (
	eventConnected    eventName = "connected"
	eventDisconnected eventName = "disconnected"
	eventDelivered    eventName = "delivered"
	eventUndelivered  eventName = "undelivered"
	eventExpired      eventName = "expired"
)

func (s *Subscription) wants(e eventName) bool {
	switch e {
	case eventConnected:
		return s.Connected
	case eventDisconnected:
		return s.Disconnected
	case eventDelivered:
		return s.Delivered
	case eventUndelivered:
		return s.Undelivered
	default:
		return s.Expired
	}
}

// interest returns the flags of a message that say what its sender's subscribers
// want to hear of it.
func (c *core) interest(m *Message) (flags messageFlags) {
	if m.Notice || len(c.subscriptions) == 0 {
		return 0
	}
	for _, s := range c.subscriptions[m.From.App()] {
		if s.Delivered {
			flags |= flagReport
		}
		if s.Undelivered && c.limits.Undelivered > 0 {
			flags |= flagLate
		}
	}
	return flags
}

// reportSession tells subscribers that a session was opened or closed.
func (c *core) reportSession(now time.Time, e eventName, id wire.ID, user wire.UserID) {
	if len(c.subscriptions) == 0 || isSubscriber(user) || c.isLink != nil && c.isLink(user) {
		return
	}
	for _, s := range c.subscriptions[user.App()] {
		if s.wants(e) {
			frame := appendEventStart(nil, e, now, user.App())
			frame = append(append(frame, `,"userId":"`...), user...)
			frame, _ = id.AppendText(append(frame, `","sessionId":"`...))
			c.report(now, e, s.To, id, user, append(frame, `"}}`...))
		}
	}
}

// reportMessage tells the sender's subscribers what became of a message for one
// of its receivers.
func (c *core) reportMessage(now time.Time, e eventName, m *messageRecord, to wire.UserID) {
	from := wire.UserID(m.from)
	for _, s := range c.subscriptions[from.App()] {
		if s.wants(e) {
			frame := appendEventStart(nil, e, now, from.App())
			frame, _ = m.id.AppendText(append(frame, `,"messageId":"`...))
			frame = append(append(frame, `","from":"`...), from...)
			frame = append(append(frame, `","to":"`...), to...)
			frame = append(frame, '"')
			if len(m.reference) > 0 {
				frame = append(append(frame, `,"reference":`...), m.reference...)
			}
			c.report(now, e, s.To, m.id, to, append(frame, `}}`...))
		}
	}
}

// appendEventStart appends an event's frame up to the app, the first member of
// its data.
func appendEventStart(b []byte, e eventName, now time.Time, app string) []byte {
	b = append(append(b, `{"type":"`...), e...)
	b = append(b, `","timestamp":"`...)
	b = now.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(append(b, `","data":{"app":"`...), app...)
	return append(b, '"')
}

func (c *core) report(now time.Time, e eventName, to wire.UserID, of wire.ID, about wire.UserID, frame []byte) {
	c.notify(now, notice{
		to: to, about: about, flags: flagEvent, frame: frame,
		id: of.Derive(string(e) + " " + string(about) + " " + string(to)),
	})
}

// noticeBytes is what a batch takes of what is told about one message, at most.
func (c *core) noticeBytes(m *messageRecord) int {
	one := noticeSize + len(m.reference)
	if c.abroad != nil {
		one += noticeSize // around it
	}
	if len(c.subscriptions) == 0 {
		return one
	}
	return one * (1 + len(c.subscriptions[wire.UserID(m.from).App()]))
}
