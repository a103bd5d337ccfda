package api

import (
	"context"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/audit"
	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Rooms are what the calls are about.
type Rooms struct {
	Apps      Apps
	Keys      Keys
	Hub       Hub
	Mailboxes Mailboxes
	Messages  func() MessageLimits
	Stats     Stats
	Traffic   Traffic
	Cluster   Cluster
	Domains   Domains // nil: there are no others
	Relay     Relay   // nil: none is known
	Settings  Settings
	Version   string // of this program
	Webhooks  Webhooks
	Events    *Events // nil: nobody asks for events
	// Accounts are those of the chat app; nil: there are none, and ChatOff says why.
	Accounts Accounts
	Chat     Chat // nil where Accounts is
	ChatOff  string
	Journal  Journal
	// Nearby keeps positions; nil: nobody does.
	Nearby Nearby
	// Services are those of the product, beside this server.
	Services Services
	// ServiceHealth says how an instance of a service is, as this node's gateway sees it;
	// false: it does not look at it. Nil: there is no gateway. It must be quick.
	ServiceHealth func(service, instance string) (ServiceHealth, bool)
	// Names returns the names of those of some users that have one. Nil: nobody has.
	Names func(ctx context.Context, users []wire.UserID) map[wire.UserID]string
	// Audit is told who changes what; nil: nobody is.
	Audit *audit.Log
	// SignIn says who somebody is that shows the token of an app without accounts here:
	// a user, or a *Refusal.
	SignIn func(ctx context.Context, a wire.Auth) (wire.UserID, error)
}

// MessageLimits bound what is sent.
type MessageLimits struct {
	Frame     int           // bytes of the frame that receivers get
	Receivers int           // of one message
	Batch     int           // messages, or events, of one request
	Page      int           // events of one page of the journal
	Wait      time.Duration // for the store
}

// Hub sends messages and knows who is connected: *delivery.Hub.
type Hub interface {
	SendAll(list []*delivery.Send, once *delivery.Once)
	Broadcast(ctx context.Context, s *delivery.Send, once *delivery.Once) (delivery.Reached, error)
	Users(app string, after wire.UserID, limit int) (list []delivery.Online, more bool)
	Online(user wire.UserID) delivery.Online
	Sessions(user wire.UserID) []delivery.Session
	SessionsOf(app string, after delivery.Place, limit int) (list []delivery.Session, more bool)
	Kick(user wire.UserID, code uint16, reason string) int
	Close(user wire.UserID, id wire.ID, code uint16, reason string) bool
}

// Mailboxes looks into mailboxes: *mailbox.Keeper.
type Mailboxes interface {
	Mailbox(ctx context.Context, user wire.UserID) (mailbox.Mailbox, error)
	Peek(ctx context.Context, user wire.UserID, after uint64, limit int) (list []mailbox.Waiting, more bool, err error)
	Clear(ctx context.Context, user wire.UserID) (removed int, err error)
}

// Apps knows the configured apps.
type Apps interface {
	Names() []string // in alphabetical order
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
		r.messageCalls(),
		r.userCalls(),
		r.mailboxCalls(),
		r.webhookCalls(),
		r.keyCalls(),
		r.whoamiCalls(),
		r.statsCalls(),
		r.trafficCalls(),
		r.clusterCalls(),
		r.domainCalls(),
		r.relayCalls(),
		r.settingsCalls(),
		r.Events.calls(),
		r.accountCalls(),
		r.roomCalls(),
		r.journalCalls(),
		r.nearbyCalls(),
		r.serviceCalls(),
	)
}
