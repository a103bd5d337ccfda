package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// link is one connection, from its handshake to its end.
type link struct {
	client *Client
	conn   *gws.Conn
	raw    *netConn
	began  time.Time

	reply   chan error         // the answer to the sign-in: nil or why not
	moved   chan time.Duration // RECONNECT: in how long to leave
	leaving chan struct{}      // closed when this side has given the link up; nothing is taken from it any more
	done    chan struct{}      // closed when its reader has ended
	writing chan struct{}      // holds one token while someone writes

	signedIn bool        // the reader's
	blocked  atomic.Bool // the reader waits for a handler
	refused  bool        // the handlers' goroutine's: a handler failed; what has an ID comes again

	once  sync.Once
	cause error // why this side gave it up; set before leaving is closed
	ended error // why the reader ended; set before done is closed

	mu      sync.Mutex
	fetches []chan int    // who waits for the ends of fetches, oldest first
	pings   uint64        // that were sent by Ping
	ponged  chan struct{} // closed when the last of them is answered; nil: nobody waits
}

func newLink(c *Client, raw *netConn) *link {
	return &link{
		client: c, raw: raw, began: time.Now(),
		reply: make(chan error, 1), moved: make(chan time.Duration, 1),
		leaving: make(chan struct{}), done: make(chan struct{}), writing: make(chan struct{}, 1),
	}
}

// write sends a frame. It waits for those before it, at most as long as ctx
// allows; once begun, a write is not cut short. When its turn has come it calls
// first, unless that is nil, and gives up if that fails.
func (l *link) write(ctx context.Context, frame []byte, first func() error) error {
	select {
	case l.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return ErrNotConnected
	}
	defer func() { <-l.writing }()
	if first != nil {
		if err := first(); err != nil {
			return err
		}
	}
	if err := l.conn.WriteMessage(gws.OpcodeText, frame); err != nil {
		return fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	return nil
}

// leave stops taking frames from the link: those that come are dropped, and no
// pong proves them, so the server still has them. The first cause counts.
func (l *link) leave(cause error) {
	l.once.Do(func() {
		l.cause = cause
		close(l.leaving)
	})
}

func (l *link) left() bool {
	select {
	case <-l.leaving:
		return true
	default:
		return false
	}
}

// close ends the link by a close frame and waits for its reader.
func (l *link) close(cause error) {
	l.leave(cause)
	_ = l.conn.WriteClose(wire.CloseNormal, nil)
	<-l.done
}

// fail ends the link at once. It does not wait for the reader.
func (l *link) fail(cause error) {
	l.leave(cause)
	l.raw.abort()
}

// why returns why the link ended. It may be called after done.
func (l *link) why() error {
	if l.left() {
		return l.cause
	}
	return l.ended
}

// check pings a server that is silent, and gives up one that stays silent.
func (l *link) check(keepAlive time.Duration) {
	switch silence := l.raw.silence(); {
	case l.blocked.Load():
	case silence >= 2*keepAlive:
		l.fail(errSilent)
	case silence >= keepAlive:
		_ = l.conn.WritePing(nil)
	}
}

// read runs until the connection has ended.
func (l *link) read() {
	defer close(l.done)
	l.conn.ReadLoop()
	l.raw.abort()
}

// events is what gws calls while it reads.
type events struct {
	gws.BuiltinEventHandler
	*link
}

// OnPing answers with the ping's own payload: it is a number that proves, to the
// server, that all before it has arrived.
func (e events) OnPing(conn *gws.Conn, payload []byte) {
	if !e.left() && !e.client.opts.mute {
		_ = conn.WritePong(payload)
	}
}

func (e events) OnPong(_ *gws.Conn, payload []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ponged != nil && string(payload) == pingText(e.pings) {
		close(e.ponged)
		e.ponged = nil
	}
}

// pingText is the payload of the n-th ping that waits for its answer.
func pingText(n uint64) string { return "p" + strconv.FormatUint(n, 10) }

func (e events) OnClose(_ *gws.Conn, err error) {
	e.ended = fmt.Errorf("the connection was lost: %w", err)
	var closed *gws.CloseError
	if errors.As(err, &closed) {
		e.ended = &CloseError{Code: closed.Code, Reason: string(closed.Reason)}
	}
}

func (e events) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	if e.left() {
		return
	}
	raw := bytes.Clone(m.Bytes())
	f, err := wire.ParseServerFrame(raw)
	switch {
	case err != nil && e.client.opts.Link && e.signedIn:
		// To pass it over would acknowledge it with what follows.
		e.take(wire.ServerFrame{}, raw)
	case err != nil:
		e.client.opts.Logger.Warn("a frame of the server cannot be read", "err", err)
	case e.signedIn:
		e.take(f, raw)
	default:
		e.answer(f)
	}
}

// answer takes the answer to the sign-in.
func (l *link) answer(f wire.ServerFrame) {
	var err error
	switch f.Type {
	case wire.TypeAuthReply:
		err = readAuthReply(f.Data)
	case wire.TypeInvalidMessage, wire.TypeGeneralError:
		err, _ = readError(f)
	default:
		return // nothing else says anything before
	}
	if err == nil {
		l.signedIn = true
		l.client.attach(l)
	}
	select {
	case l.reply <- err:
	default:
	}
}

// take passes a frame on to whom it concerns. It waits while the inbox is full.
func (l *link) take(f wire.ServerFrame, raw []byte) {
	if f.Type == wire.TypeReconnect {
		select {
		case l.moved <- readReconnect(f.Data):
		default: // told once is enough
		}
		return
	}
	if l.client.answered(f) {
		return
	}
	a := arrival{link: l, frame: f, taken: l.client.settle(f)}
	if l.client.opts.Link {
		a.raw, a.broken = raw, f.TypeName == nil
	}
	select {
	case l.client.inbox <- a:
		return
	default:
	}
	l.blocked.Store(true)
	defer l.blocked.Store(false)
	defer l.raw.hear()
	select {
	case l.client.inbox <- a:
	case <-l.leaving:
	}
}
