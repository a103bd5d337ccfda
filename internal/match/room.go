package match

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Owners reaches the owners of shards, and other nodes.
type Owners interface {
	// Ask has the owner of a shard take a request, wherever that is: its Room.Serve,
	// and Room.Moved of this node when the answer is not to be relied on. An error
	// means that it may or may not have been taken.
	Ask(ctx context.Context, shard int, request []byte) (reply []byte, err error)
	// Tell has Room.Told of a node hear a message, in order, unless it is lost: then
	// Room.Moved is called there for all shards that this node keeps. It does not
	// block. The message is not changed any more by either.
	Tell(node string, message []byte)
}

// Limits bound what is taken.
type Limits struct {
	Tickets    int           // waiting in one shard (200 000)
	Matches    int           // live in one shard (200 000)
	PerSession int           // tickets and matches of one session (16)
	Timeout    time.Duration // the longest that a ticket waits, and how long it does unless it says (10 m)
	Patience   time.Duration // see Request (2 s)
	// GestureWindow is how far two gestures may be apart (2 s).
	GestureWindow time.Duration
}

// Options configure a Room. Node, Shards, Logs, Now, Random and Logger are needed.
type Options struct {
	Node   string // this node's ID
	Shards int    // the same on all nodes
	// Logs opens the log of a shard; called by whoever owns it, again after it failed.
	Logs func(ctx context.Context, shard int) (Log, error)
	// Nodes returns the IDs of all nodes that are alive, this one's included. A new
	// owner waits for a moment for their tickets before it matches anybody, and what
	// the log has of others is over. Nil: this node is alone.
	Nodes func() []string
	Now   func() time.Time // with a monotonic clock
	// Random is for IDs, and is used by several goroutines.
	Random  io.Reader
	Limits  Limits // what is 0 gets the default in brackets there
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil for none
}

// Room is one node's part in matching: a duty of package shards for the pools that it
// owns, and the sessions of devices that are connected to it. Its methods may be
// called from any goroutine and do not wait for anything but memory.
type Room struct {
	opts   Options
	owners Owners
}

// New makes a room. Attach, then Run, make it work.
func New(o Options) (*Room, error) {
	if o.Node == "" || o.Shards < 1 || o.Logs == nil || o.Now == nil || o.Random == nil || o.Logger == nil {
		return nil, errors.New("match: Options.Node, Shards, Logs, Now, Random and Logger are needed")
	}
	return &Room{opts: o}, nil
}

// Attach says how owners and nodes are reached. It is called once, before Run and
// before any other method.
func (r *Room) Attach(o Owners) { r.owners = o }

// Run does what is to be done by time and by the conversations with owners, until ctx
// ends; then it waits for all that Begin began.
func (r *Room) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Begin has this node own the pools of a shard until ctx ends, for the term'th time.
// It returns at once.
func (r *Room) Begin(ctx context.Context, shard int, term uint64) {}

// Serve takes a request of a node to the owner of a shard, and has answer called once,
// soon or right away. The request is not changed any more.
func (r *Room) Serve(shard int, from string, request []byte, answer func(reply []byte, err error)) {}

// Told takes what a node told this one, which is not changed any more.
func (r *Room) Told(from string, message []byte) {}

// Moved says that another node owns a shard, or that the conversation with its owner
// began anew; also for the first owner, and when it is this node.
func (r *Room) Moved(shard int) {}

// Lost says that a node is dead or gone: what its sessions had is over.
func (r *Room) Lost(node string) {}

// Ready says whether this node's owners have read their logs; of a node that owns
// nothing it is true.
func (r *Room) Ready() bool { return true }

// SetLimits changes the limits for what is asked for from now on.
func (r *Room) SetLimits(l Limits) {}

// Outlet is a device's end of a Session. Its methods are called one at a time for the
// pools of one shard, from whatever goroutine; they must not block. They may call
// the session's methods.
type Outlet interface {
	// Waiting: the ticket waits in its pool. It comes at most once for a ticket, and
	// before anything else but Refused.
	Waiting(t Ticket)
	// Refused: the request was not taken after all, and the ticket is gone; or Cancel
	// came too late, and nothing has changed (then Reference is that of Cancel).
	Refused(t Ticket, r *Refusal)
	// Matched: the ticket is used up, and its device is in a match.
	Matched(t Ticket, m Match)
	// TimedOut: the ticket is gone, nobody was found in time.
	TimedOut(t Ticket)
	// Canceled: the ticket is gone. reference is that of Cancel, if Asked.
	Canceled(t Ticket, reference []byte, why Reason)
	// PeerLeft: a member of the match is gone. If ended, no other one is left, and
	// the match is over.
	PeerLeft(m Match, device string, ended bool)
	// Left: the device is in the match no longer. reference is that of Leave, if Asked.
	Left(m Match, reference []byte, why Reason)
	// Message: a peer sent this. content is not changed any more.
	Message(m Match, from string, content []byte)
}

// Session is a device that is connected to this node. What it has in pools ends with
// it.
type Session struct {
	room   *Room
	device string
	outlet Outlet
}

// Open makes a session of a device, whose name has 1 to MaxName bytes. Several
// sessions may be of one device.
func (r *Room) Open(device string, o Outlet) *Session {
	return &Session{room: r, device: device, outlet: o}
}

// Request asks to take part. It checks what can be known here and returns a *Refusal
// or the ticket's ID, of which Outlet may have heard before this returns.
func (s *Session) Request(q Request) (wire.ID, error) {
	return wire.ID{}, errors.New("not built yet")
}

// Cancel takes a ticket back: Canceled or Refused follows, or what comes of the ticket
// on its way. The error is a *Refusal with NOT_FOUND when the session has no such
// ticket that waits.
func (s *Session) Cancel(ticket wire.ID, reference []byte) error { return nil }

// Leave leaves a match: Left follows when that is stored, and no Message meanwhile.
// The error is a *Refusal with NOT_FOUND when the session is not in it.
func (s *Session) Leave(match wire.ID, reference []byte) error { return nil }

// Send sends content, which is not to be changed any more, to the members to, or to
// all others when to is empty. The error is a *Refusal: NOT_FOUND when the session is
// not in the match, BAD_FIELD when one of to is no other member.
func (s *Session) Send(match wire.ID, to []string, content []byte) error { return nil }

// Match returns a match that the session is in, as it is now.
func (s *Session) Match(match wire.ID) (Match, bool) { return Match{}, false }

// Close ends the session: its tickets and its part in matches. Outlet hears nothing
// more after Close has returned, except from within a call under way.
func (s *Session) Close() {}
