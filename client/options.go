package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Options says where to connect, as whom, and what to do with what comes.
// URL, AppID, UserID and OnMessage are required; with Link, OnForward instead of the
// last.
type Options struct {
	URL    string      // the server's endpoint, for example "wss://example.org/ws"
	AppID  string      // the ID that belongs to the app of UserID
	UserID wire.UserID // who signs in

	// Token proves that the client is UserID. TokenSource, if set, is asked
	// instead, before every sign-in, so that it can hand out fresh tokens; its
	// failure counts as a failed attempt to connect.
	Token       string
	TokenSource func(ctx context.Context) (string, error)

	Ack      bool          // acknowledge each message after its handler returned
	Receipts bool          // be told when a message is on the server's disk: OnStored
	Push     bool          // get missed messages by themselves after every sign-in
	Presence []wire.UserID // whose coming and going to be told of: OnPresence

	// Producer names the outbox of this client: 1 to wire.MaxProducer of
	// A-Z a-z 0-9 . _ -. With it, RELIABLE messages are numbered, kept until the server
	// has stored them, and sent again after a lost connection, in order, and are
	// stored once all the same. It implies Receipts. Two clients of one user at a
	// time must not have the same.
	//
	// The outbox is in memory. An application whose messages are to outlive the
	// process stores each, with its number, before it sends it with WithSeq and a
	// reference, and deletes it when OnStored or OnError tells of that reference.
	// When it starts anew it first sends what it has stored, by rising numbers, under
	// the numbers that they had.
	Producer string
	// NextSeq is the number of the first message that has none by WithSeq: above all
	// that were ever used with this Producer, or the server takes the message for one
	// that it has. Default: the time in microseconds, which is that unless the clock
	// is put back.
	NextSeq uint64

	// Link signs in as the link from another domain: UserID is the link user of this
	// client's own domain, Token the secret of the link. Ack and Push are implied.
	// It is for servers, not for users.
	Link bool
	// OnForward handles a FORWARD, which is all that a link gets; frame belongs to it,
	// and wire.ParseForward reads it. What a neighbour must not send comes here, too, and
	// ParseForward says so: a MESSAGE, anything else that has an ID, and what cannot be
	// read. Nothing is acknowledged by itself, see [Client.Acknowledge], and nothing
	// that comes again is passed over. An error ends the connection.
	OnForward func(ctx context.Context, frame []byte) error

	// OnMessage handles a message. ctx ends when the client is closed and the
	// handler has had DrainTimeout to finish.
	//
	// With Ack, an error means that the message was not handled: it is not
	// acknowledged, the connection is given up, and on the next one the message
	// comes again (by itself with Push). A handler that always fails so keeps
	// the client from all later messages, at growing intervals. Without Ack, and
	// for FAST messages, there is nobody to give it back to: the error is
	// logged.
	//
	// A handler must not call Close, which waits for it, nor FetchMissing, which
	// waits for handlers. It may Send, and SendAndWait if ctx has a deadline.
	//
	// It is required, since a message that is handed to nobody would be gone: the server
	// counts it as delivered. A program that only looks on, as one of rooms or of who is
	// nearby, signs in as a user to whom nobody writes, and has one that returns nil.
	OnMessage func(ctx context.Context, m Message) error

	OnConfirmation func(reference string)                // the receiver has the message
	OnStored       func(reference string)                // the message is on disk
	OnPresence     func(user wire.UserID, online bool)   // a user came or went
	OnError        func(e *wire.Error, reference string) // the server reports an error; reference "" for none
	// OnFrame is told every other frame that answers nothing: news of rooms, of matches and
	// of who is nearby, such as wire.TypeRoomMessage, wire.TypeMatched, wire.TypeMatchMessage
	// and wire.TypeNearbyMove, and types that this package does not know; and the answer of
	// [Client.WatchNearby], wire.TypeNearby. Its Data is for json.Unmarshal.
	OnFrame func(f wire.ServerFrame)

	// OnState is told when the connection is there, lost, and gone for good. It
	// may use the client, FetchMissing included, but must not call Close. While
	// it runs the client neither watches the connection nor makes a new one.
	OnState func(s State, why error)

	Logger *slog.Logger // default: none

	Backoff     Backoff
	NoReconnect bool // a lost connection is the end

	Seen     int // IDs that are remembered, to recognise what comes again; default 4096
	Inbox    int // frames that may wait for a handler; default 256
	AckEvery int // handled messages after which an acknowledgement is sent, if not before; default 32
	MaxFrame int // bytes of the largest frame to send; default 65536, as the server's

	ConnectTimeout time.Duration // to connect and sign in; default 20 s
	WriteTimeout   time.Duration // for one frame to be taken by the network; default 10 s
	DrainTimeout   time.Duration // for handlers to finish in Close; default 5 s
	KeepAlive      time.Duration // silence after which the server is pinged, and after twice of which it is given up; default 30 s

	Compress bool           // offer compression
	Header   http.Header    // more headers for the handshake
	TLS      *tls.Config    // for wss
	Dialer   Dialer         // default: a net.Dialer
	Random   func() float64 // in [0, 1), for any goroutine; default: math/rand/v2

	mute bool // leave pings unanswered, see CheckPath
}

// Dialer opens network connections; *net.Dialer is one.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Backoff says how long to wait between attempts to connect: the n-th wait is
// drawn evenly between 0 and the lesser of Max and Min·2ⁿ⁻¹ ("full jitter"), so
// that clients that were cut off together do not come back together. A
// connection that lasted at least Max starts the count anew.
type Backoff struct {
	Min time.Duration // default 500 ms
	Max time.Duration // default 30 s
}

// Limits on what a server may ask of a client.
const (
	maxRead    = 4 << 20          // bytes of a frame from the server
	maxLeave   = 5 * time.Minute  // that RECONNECT may ask to wait
	maxFetches = 16               // that wait for their end on one connection
	linger     = time.Second      // for the server's end of a connection after ours
	ackAtLeast = time.Second      // an acknowledgement does not wait longer, if handlers return
	compressed = 1 << 10          // bytes from which frames are compressed
	never      = 10 * time.Minute // for gws, whose own deadlines are not used
)

func (o Options) check() error {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return fmt.Errorf("client: URL: %w", err)
	case u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "":
		return fmt.Errorf("client: URL: %q is not ws://… or wss://…", o.URL)
	case o.AppID == "":
		return errors.New("client: AppID is missing")
	case o.Link && o.OnForward == nil:
		return errors.New("client: Link is set and OnForward is missing")
	case o.OnMessage == nil && !o.Link:
		return errors.New("client: OnMessage is missing")
	case o.Token != "" && o.TokenSource != nil:
		return errors.New("client: both Token and TokenSource are set")
	case o.Producer != "" && !wire.ValidProducer(o.Producer):
		return fmt.Errorf("client: Producer: %q is not 1 to %d of A-Z a-z 0-9 . _ -", o.Producer, wire.MaxProducer)
	case o.NextSeq > wire.MaxSeq || o.NextSeq > 0 && o.Producer == "":
		return errors.New("client: NextSeq is above wire.MaxSeq, or there is no Producer")
	case o.Backoff.Min > 0 && o.Backoff.Max > 0 && o.Backoff.Min > o.Backoff.Max:
		return errors.New("client: Backoff.Min is above Backoff.Max")
	}
	for _, n := range []int64{int64(o.Seen), int64(o.Inbox), int64(o.AckEvery), int64(o.MaxFrame), int64(o.ConnectTimeout),
		int64(o.WriteTimeout), int64(o.DrainTimeout), int64(o.KeepAlive), int64(o.Backoff.Min), int64(o.Backoff.Max)} {
		if n < 0 {
			return errors.New("client: a limit is negative")
		}
	}
	for _, user := range append([]wire.UserID{o.UserID}, o.Presence...) {
		if _, err := wire.ParseUserID(user); err != nil {
			return fmt.Errorf("client: user %q: %w", user, err)
		}
	}
	return nil
}

func (o Options) withDefaults() Options {
	def(&o.Backoff.Max, max(30*time.Second, o.Backoff.Min))
	def(&o.Backoff.Min, min(500*time.Millisecond, o.Backoff.Max))
	def(&o.Seen, 4096)
	def(&o.Inbox, 256)
	def(&o.AckEvery, 32)
	def(&o.MaxFrame, 64<<10)
	def(&o.ConnectTimeout, 20*time.Second)
	def(&o.WriteTimeout, 10*time.Second)
	def(&o.DrainTimeout, 5*time.Second)
	def(&o.KeepAlive, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Dialer == nil {
		o.Dialer = new(net.Dialer)
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Producer != "" {
		o.Receipts = true
		def(&o.NextSeq, uint64(time.Now().UnixMicro()))
	}
	o.Presence = slices.Clone(o.Presence)
	o.Header = o.Header.Clone()
	return o
}

func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// token returns the token for a sign-in.
func (o Options) token(ctx context.Context) (string, error) {
	if o.TokenSource == nil {
		return o.Token, nil
	}
	token, err := o.TokenSource(ctx)
	if err != nil {
		return "", fmt.Errorf("get a token: %w", err)
	}
	return token, nil
}
