// Package socket is the WebSocket connector: the door at /ws.
//
// It shakes hands, reads and checks frames, signs clients in, passes what they
// send to the hub, and writes what hub and keeper have for them. It knows the
// connection; it decides nothing about messages.
//
// A door that speaks something else has sessions without a connection: see Pipe.
// What is said here holds for them too.
//
// # Promises
//
//   - What the keeper hands over is written in its order, and reported proved
//     only when the client has answered a ping that was written after it, or,
//     with "ack", has named it in a MESSAGE_ACK.
//   - AUTH_CLIENT_REPLY is the first frame of a session, and nothing that is
//     sent to the user after it, on whichever node, misses the session. While hub
//     or keeper take their time to know the session, the deadline of signing in
//     counts.
//   - While nobody can be signed in here (Options.Away) new connections are refused
//     before the upgrade, and who waits for the answer to a sign-in hears at once that
//     it comes to nothing (Server.CloseWaiting).
//   - Every refused frame is answered with an error, and counted. A broken
//     frame closes at worst its own session; so does a panic in handling one.
//   - A peer that is gone, or that no longer reads, is noticed within the proof
//     timeout. A link that moves 32 KiB in that time is slow, not gone.
//   - Whatever comes of a write, a close frame never goes into the middle of
//     another frame, and no goroutine waits for a peer without a deadline.
//
// # Links
//
// A session with the option link is another domain's, not a user's. It gets FORWARDs
// with their place in the keeper's log, and sends nothing but acknowledgements; ack
// and push hold for it whatever it asks for.
//
// # Limits
//
// Everything that a client can make grow is bounded: see Limits for what can be
// set, and the constants beside the queues for the rest. A connection costs one
// goroutine, which reads, and while it is silent no buffer. FAST messages are
// written by the reader of the session that sent them, as far as that takes no
// waiting; otherwise another goroutine writes, only while there is something to
// write. Deadlines hang on one timing wheel, turned by Server.Run.
//
// # Proof
//
// A ping's payload is a decimal number that rises by one from "1". It follows
// frames that need proof in the same write, and any other frames at the latest
// every 32 KiB. A pong with a number that was sent, above that of the last such
// pong, proves everything before that ping. Other pongs are counted and ignored.
package socket

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/audit"
	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/traffic"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Keeper is what the connector needs of whoever keeps RELIABLE messages. Its
// methods must not block and take effect in the order of the calls.
type Keeper interface {
	// Open registers a session. Its Outlet's Opened is called when it is known,
	// maybe before Open returns, and deliveries may begin.
	Open(mailbox.Session)
	// Close ends a session: what it did not prove goes back.
	Close(id wire.ID)
	// Prove says that every delivery up to n is proved.
	Prove(id wire.ID, n uint64)
	// Pass says that every delivery up to n has arrived, on a session where
	// that does not prove it.
	Pass(id wire.ID, n uint64)
	// Fetch asks for count missed messages; false when too many fetches of the
	// session wait already.
	Fetch(id wire.ID, count int) bool
	// Behind says that more messages come than are stored: senders should send
	// one at a time.
	Behind() bool
}

// Hub is what the connector needs of whoever routes messages. Its methods may
// be called from any goroutine.
type Hub interface {
	// Send delivers a message or has it kept. The bytes in it are copied before
	// Send returns; the Send itself belongs to the hub.
	Send(*delivery.Send)
	// Add puts a session among those that get messages, and tells it of users whom
	// it watches. known, if it is not nil, is closed when all nodes have heard of it,
	// in bounded time. The error is a *wire.Error with TOO_MANY when the user has
	// too many. It may wait for a moment.
	Add(r delivery.Receiver, watch []wire.UserID) (known <-chan struct{}, err error)
	// Surplus returns TOO_MANY if the session is one too many, now that all nodes know
	// of it: others may have been added elsewhere in the same moment.
	Surplus(r delivery.Receiver) error
	// Remove takes it out again. It is told of nobody any more.
	Remove(delivery.Receiver)
	// Dismiss closes all sessions of a user of the master user's app, wherever that
	// user lives; origin hears when it cannot.
	Dismiss(master, user wire.UserID, origin delivery.Origin)
}

// Gate decides who may sign in. Each call has its own goroutine, and may take
// as long as ctx allows.
type Gate interface {
	// Authenticate returns what the user gets, or an *apps.Refusal.
	Authenticate(ctx context.Context, a wire.Auth) (apps.Grant, error)
	// AuthenticateLink does so for the link from another domain, which comes from an
	// address, and has shown a certificate with these names, or none.
	AuthenticateLink(a wire.Auth, address string, names ...string) (apps.Grant, error)
}

// Options configure a Server. Keeper, Hub and Gate are needed; the zero value
// of the others means what is said beside them.
type Options struct {
	Keeper Keeper
	Hub    Hub
	Gate   Gate
	// Rooms serves frames about rooms. Nil: nobody does, for the reason that RoomsOff is.
	Rooms    Rooms
	RoomsOff string
	// Matches matches devices. Nil: nobody does, for the reason that MatchesOff is.
	Matches    Matches
	MatchesOff string
	// Nearby keeps positions. Nil: nobody does, for the reason that NearbyOff is.
	Nearby    Nearby
	NearbyOff string
	// Names returns the names of those of some users that have one; false: they are not
	// all known yet, and will be in a moment. It must not block. Nil: nobody has one.
	Names func(users []wire.UserID) (names map[wire.UserID]string, known bool)
	// Note is told what devices do, for the journal; it must not block. Nil: nobody is.
	Note func(DeviceEvent)
	Node string // this node's ID, for the keeper; empty where there is only one
	// HomeURL returns where clients of a domain connect; empty when that is not known.
	// Nil: it never is.
	HomeURL func(domain string) string
	// Elsewhere says whether a user lives in another domain, whose presence is not
	// known here. Nil: nobody does.
	Elsewhere func(user wire.UserID) bool

	// Count returns what counts the messages that a session of a user, or of the link to a
	// domain, is given. Nil: nobody counts them.
	Count func(user wire.UserID, domain string) *traffic.Counter
	// LinkLost is told why the link from a neighbour is not there: it may not sign in
	// here, or is over. It must not block. Nil for nobody.
	LinkLost func(domain, why string)
	// Shown returns what is asked for with a token that a client shows with its handshake,
	// as ?auth= or as a bearer: an AUTH_CLIENT with that token, without a user where it is
	// none. It decides nothing. Nil: such tokens are passed over.
	Shown func(token string) wire.Auth

	// Limits returns the limits; it is asked ten times a second, so they may
	// change at run time. Fields that are zero or less get their default. Nil:
	// DefaultLimits.
	Limits func() Limits
	// AllowOrigin says whether a handshake may come from its web origin. Nil:
	// those without an Origin header, and those from the server's own host.
	AllowOrigin func(*http.Request) bool
	// Away returns why nobody can be signed in here at present, whoever asks; nil while
	// it is possible. It is asked for each new connection. Nil: it always is.
	Away func() error
	// MayReach says whether users of one app may watch the presence of users of
	// another. It is not asked about one and the same app. Nil: they may not.
	MayReach func(from, to string) bool
	// Shunned returns who does not want to hear from a user; the set is not changed. Nil:
	// there is nobody like that.
	Shunned func(user wire.UserID) map[wire.UserID]struct{}

	// SignIns bounds the sign-ins that fail from one address. Nil: nobody does.
	SignIns SignIns
	// Audit is told who signs in, is refused, and leaves. Nil: nobody is.
	Audit *audit.Log

	Now     func() time.Time                                     // nil: time.Now
	Ticks   func(every time.Duration) (<-chan time.Time, func()) // nil: time.NewTicker; the second result stops it
	Random  io.Reader                                            // of IDs and delays; nil: crypto/rand.Reader
	Logger  *slog.Logger                                         // nil: nothing is logged
	Metrics prometheus.Registerer                                // nil: nothing is registered
}

// SignIns bounds what may be tried from one address (host:port).
type SignIns interface {
	// Blocked returns how long an address has to wait before it may try; 0: it need not.
	Blocked(address string) time.Duration
	// Failed notes that a sign-in from there has failed.
	Failed(address string)
	// Exempt says that no limits of rates hold for who comes from there.
	Exempt(address string) bool
}

// Limits bound connections and sessions.
type Limits struct {
	Connections      int           // connections at once, signed in or not
	HandshakeTimeout time.Duration // for writing the handshake's answer; what the client sends is the HTTP server's to limit
	SignInDeadline   time.Duration // from the handshake to AUTH_CLIENT_REPLY

	// Frame is how many bytes a client's message may have, also after
	// decompression. A connection keeps the limit that it began with.
	Frame int
	// SignInFrame is how many it may have before the client has signed in, when
	// nobody knows yet for whom memory is kept. At most Frame counts.
	SignInFrame int

	PingInterval time.Duration // a session that proved nothing for so long is asked
	ProofTimeout time.Duration // an asked session that makes no progress for so long is dead
	AckTimeout   time.Duration // a session with "ack" that acknowledges nothing for so long is closed

	Heartbeat     time.Duration // as PingInterval, for Pipes; the shorter of the two counts
	ResumeTimeout time.Duration // a Pipe's session ends when its client is away for so long

	GroupReceivers int // of one GROUP_MESSAGE
	PresenceWatch  int // users that one session may watch

	QueueBytes  int // frames that wait to be written, of one session: past either of
	QueueFrames int // them FAST messages are dropped, past twice as much it is closed

	CompressAbove int // frames with more bytes are compressed, if the client can

	// Session, User and App bound what clients send; see Rates. A session begins anew with
	// what it may send when it signs in.
	Session, User, App Rates

	// LinkWindow is how many bytes of RELIABLE frames may be on their way to another
	// domain. A link keeps the limit that it began with.
	LinkWindow int
}

// DefaultLimits returns the limits that hold when nothing else is said.
func DefaultLimits() Limits {
	return Limits{
		Connections:      100_000,
		HandshakeTimeout: 5 * time.Second,
		SignInDeadline:   15 * time.Second,
		Frame:            64 << 10,
		SignInFrame:      16 << 10,
		PingInterval:     25 * time.Second,
		ProofTimeout:     10 * time.Second,
		AckTimeout:       30 * time.Second,
		Heartbeat:        15 * time.Second,
		ResumeTimeout:    30 * time.Second,
		GroupReceivers:   10_000,
		PresenceWatch:    100,
		QueueBytes:       1 << 20,
		QueueFrames:      1000,
		CompressAbove:    1 << 10,
		LinkWindow:       1 << 20,
	}
}

// filled returns the limits with defaults where there is none.
func (l Limits) filled() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ value, fallback *int }{
		{&l.Connections, &d.Connections}, {&l.Frame, &d.Frame}, {&l.SignInFrame, &d.SignInFrame},
		{&l.GroupReceivers, &d.GroupReceivers}, {&l.PresenceWatch, &d.PresenceWatch},
		{&l.QueueBytes, &d.QueueBytes}, {&l.QueueFrames, &d.QueueFrames},
		{&l.CompressAbove, &d.CompressAbove}, {&l.LinkWindow, &d.LinkWindow},
	} {
		if *f.value <= 0 {
			*f.value = *f.fallback
		}
	}
	for _, f := range []struct{ value, fallback *time.Duration }{
		{&l.HandshakeTimeout, &d.HandshakeTimeout}, {&l.SignInDeadline, &d.SignInDeadline},
		{&l.PingInterval, &d.PingInterval}, {&l.ProofTimeout, &d.ProofTimeout}, {&l.AckTimeout, &d.AckTimeout},
		{&l.Heartbeat, &d.Heartbeat}, {&l.ResumeTimeout, &d.ResumeTimeout},
	} {
		if *f.value <= 0 {
			*f.value = *f.fallback
		}
	}
	return l
}
