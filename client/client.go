package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/lxzan/gws"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// State is what OnState is told.
type State int

// The states of a client. It begins Connected, and ends Closed.
const (
	Connected    State = iota + 1 // signed in
	Disconnected                  // connection lost; it tries again
	Closed                        // for good: by Close, or because trying again would not help
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Connected:
		return "connected"
	case Disconnected:
		return "disconnected"
	case Closed:
		return "closed"
	}
	return "unknown"
}

// Client is one user's session with Switchboard, kept up over lost connections.
// All methods may be called from any goroutine.
type Client struct {
	opts    Options
	inbox   chan arrival
	seen    *seen              // the handlers' goroutine's
	stop    context.CancelFunc // ends run
	abort   context.CancelFunc // ends the context of handlers
	closing <-chan struct{}    // closed when Close was called, or trying again would not help
	drain   chan struct{}      // closed when nothing more is put into inbox
	handled chan struct{}      // closed when the last handler has returned
	done    chan struct{}      // closed when all is over
	outbox  *outbox            // nil without a Producer

	mu      sync.Mutex
	link    *link                            // nil while there is no connection
	waiters map[string]chan error            // who waits for what becomes of a reference
	asked   map[string]chan wire.ServerFrame // who waits for the answer with a reference
	err     error                            // why it is closed
}

// Dial connects, signs in, and returns the client, whose handlers may have been
// called by then. It tries once: ctx limits the attempt, not the client. A
// sign-in that was refused fails with a *wire.Error of wire.KindAuthReply; with
// wire.CodeWrongDomain its Home is the URL to dial instead.
func Dial(ctx context.Context, o Options) (*Client, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	life := context.WithoutCancel(ctx)
	running, stop := context.WithCancel(life)
	handling, abort := context.WithCancel(life)
	c := &Client{
		opts: o, inbox: make(chan arrival, o.Inbox), seen: newSeen(o.Seen),
		stop: stop, abort: abort, closing: running.Done(),
		drain: make(chan struct{}), handled: make(chan struct{}), done: make(chan struct{}),
		waiters: make(map[string]chan error),
	}
	if o.Producer != "" {
		c.outbox = newOutbox(&c.opts, c.closing)
	}
	go c.handle(handling)
	l, err := c.connect(ctx)
	if err != nil {
		stop()
		abort()
		close(c.drain)
		<-c.handled
		return nil, err
	}
	go c.run(running, l)
	return c, nil
}

// Close signs off: it stops reading, lets handlers finish what has arrived (for
// DrainTimeout, then ends their context), acknowledges it, and closes the
// connection. It returns when all goroutines have ended, and may be called more
// than once. What had not been read stays with the server.
func (c *Client) Close() {
	c.stop()
	<-c.done
}

// Done is closed when the client is closed, by Close or for good.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns nil while the client is open, and then why it is closed:
// [ErrClosed] after Close, or what the server had against it.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// run keeps the connection up until the client is closed.
func (c *Client) run(ctx context.Context, l *link) {
	defer close(c.done)
	if c.outbox != nil {
		var writing sync.WaitGroup
		writing.Go(func() { c.outbox.run(ctx) })
		defer writing.Wait()
	}
	wait := backoff{Backoff: c.opts.Backoff, random: c.opts.Random}
	var why error
	for l != nil {
		c.tell(Connected, nil)
		why = c.serve(ctx, l)
		if ctx.Err() != nil {
			break
		}
		c.detach(l)
		wait.lasted(time.Since(l.began))
		if c.opts.NoReconnect || c.final(why) {
			l = nil
			break
		}
		c.tell(Disconnected, why)
		l, why = c.redial(ctx, &wait, errors.Is(why, errMoved))
	}
	if ctx.Err() != nil {
		why = ErrClosed
	}
	c.finish(l, why)
}

// serve returns why the link ended, and when ctx ends, with the link still open.
func (c *Client) serve(ctx context.Context, l *link) error {
	tick := time.NewTicker(c.opts.KeepAlive)
	defer tick.Stop()
	var leave <-chan time.Time
	for {
		select {
		case <-l.done:
			return l.why()
		case <-ctx.Done():
			return ctx.Err()
		case after := <-l.moved:
			leave = time.After(after)
		case <-leave:
			l.close(errMoved)
			return errMoved
		case <-tick.C:
			l.check(c.opts.KeepAlive)
		}
	}
}

// redial connects again. It returns nil when ctx ends, or when trying again
// would not help.
func (c *Client) redial(ctx context.Context, wait *backoff, now bool) (*link, error) {
	for {
		delay := wait.next()
		if now {
			delay, now = 0, false
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		l, err := c.connect(ctx)
		if err == nil || c.final(err) || ctx.Err() != nil {
			return l, err
		}
		c.opts.Logger.Debug("connecting again failed", "user", c.opts.UserID, "err", err)
	}
}

// finish ends what run began. l is the link that is open, or nil.
func (c *Client) finish(l *link, why error) {
	c.stop()
	if l != nil {
		l.leave(ErrClosed)
	}
	close(c.drain)
	timer := time.AfterFunc(c.opts.DrainTimeout, c.abort)
	<-c.handled
	timer.Stop()
	c.abort()
	if l != nil {
		l.close(ErrClosed)
		c.detach(l)
	}
	c.mu.Lock()
	c.err = why
	c.mu.Unlock()
	c.tell(Closed, why)
}

func (c *Client) tell(s State, why error) {
	if why != nil {
		c.opts.Logger.Info("the state of a switchboard client has changed", "state", s.String(), "user", c.opts.UserID, "err", why)
	} else {
		c.opts.Logger.Info("the state of a switchboard client has changed", "state", s.String(), "user", c.opts.UserID)
	}
	if c.opts.OnState != nil {
		c.opts.OnState(s, why)
	}
}

// attach makes a link that has signed in the one to send on.
func (c *Client) attach(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = l
	if c.outbox != nil {
		c.outbox.begin(l)
	}
}

func (c *Client) detach(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == l {
		c.link = nil
	}
	if c.outbox != nil {
		c.outbox.end(l)
	}
}

// connect makes a link and signs in.
func (c *Client) connect(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.ConnectTimeout)
	defer cancel()
	token, err := c.opts.token(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := c.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.opts.URL, err)
	}
	l := newLink(c, &netConn{Conn: raw, writeTimeout: c.opts.WriteTimeout})
	l.raw.hear()
	release := context.AfterFunc(ctx, func() { l.fail(ctx.Err()) })
	defer release()
	l.conn, _, err = gws.NewClientFromConn(events{link: l}, c.handshake(), l.raw)
	if err != nil {
		l.raw.abort()
		return nil, fmt.Errorf("websocket handshake with %s: %w", c.opts.URL, errors.Join(err, ctx.Err()))
	}
	go l.read()
	if err = c.signIn(ctx, l, token); err == nil && !release() {
		err = ctx.Err()
	}
	if err != nil {
		l.fail(err)
		<-l.done
		c.detach(l)
		return nil, fmt.Errorf("sign in as %s: %w", c.opts.UserID, err)
	}
	return l, nil
}

func (c *Client) signIn(ctx context.Context, l *link, token string) error {
	// If the frame does not leave, the link's end says more about it than this.
	if err := l.write(ctx, appendAuth(nil, &c.opts, token), nil); err != nil && !errors.Is(err, ErrNotConnected) {
		return err
	}
	select {
	case err := <-l.reply:
		return err
	case <-l.done:
		select {
		case err := <-l.reply: // it came before the end
			if err != nil {
				err = errors.Join(err, l.why())
			}
			return err // nil: there was a session, and it is for run to see that it has ended
		default:
			return l.why()
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dial opens the network connection, with TLS for wss.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	u, err := url.Parse(c.opts.URL)
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	}
	conn, err := c.opts.Dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil || u.Scheme == "ws" {
		return conn, err
	}
	config := new(tls.Config)
	if c.opts.TLS != nil {
		config = c.opts.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = u.Hostname()
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

func (c *Client) handshake() *gws.ClientOption {
	return &gws.ClientOption{
		Addr:                c.opts.URL,
		RequestHeader:       c.opts.Header.Clone(),
		HandshakeTimeout:    never,
		ReadMaxPayloadSize:  maxRead,
		WriteMaxPayloadSize: max(c.opts.MaxFrame, 1<<16),
		CheckUtf8Enabled:    true,
		PermessageDeflate:   gws.PermessageDeflate{Enabled: c.opts.Compress, Threshold: compressed},
	}
}

// newReference returns a reference that nobody else uses.
func newReference() (string, error) {
	id, err := wire.NewID(time.Now(), rand.Reader)
	if err != nil {
		return "", err
	}
	return "c-" + id.String(), nil
}
