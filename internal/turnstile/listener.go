package turnstile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// mostReading is how many connections may be about to say where they come from.
const mostReading = 4096

// tooMany is what a client in clear is told that has too many connections: whatever it
// has sent, it is an answer to it.
const tooMany = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nConnection: close\r\nContent-Type: application/problem+json\r\nContent-Length: 105\r\n\r\n" +
	`{"type":"about:blank","title":"Too Many Requests","status":429,"code":"TOO_MANY_CONNECTIONS","detail":""}`

// Listener returns a listener with what of another's connections may come in, each with
// its client's address. clear says that they speak HTTP without TLS: then those that may
// not are answered.
func (t *Turnstile) Listener(l net.Listener, clear bool) net.Listener {
	if len(t.o.ProtocolFrom) == 0 {
		return &listener{Listener: l, t: t, clear: clear}
	}
	p := &proxied{listener: listener{Listener: l, t: t, clear: clear}, ready: make(chan net.Conn), closed: make(chan struct{}), reading: make(chan struct{}, mostReading)}
	p.work.Go(p.accept)
	return p
}

// Beside is Listener for one in clear to which no proxy says where its clients are: what
// comes there is counted together with the rest.
func (t *Turnstile) Beside(l net.Listener) net.Listener {
	return &listener{Listener: l, t: t, clear: true}
}

type listener struct {
	net.Listener
	t     *Turnstile
	clear bool
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip := addressOf(c.RemoteAddr().String())
		if within(l.t.o.Trusted, ip) {
			return c, nil // its clients are counted one by one
		}
		if in := l.admit(c, ip, nil); in != nil {
			return in, nil
		}
	}
}

// admit takes a place for a connection, or closes it and returns nil. remote is where its
// client is; nil: where it comes from.
func (l *listener) admit(c net.Conn, ip netip.Addr, remote net.Addr) net.Conn {
	leave, ok := l.t.enter(ip)
	if !ok {
		if l.clear {
			_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // a socket without anything in it takes so much at once
			_, _ = io.WriteString(c, tooMany)                   // it may be gone
		}
		_ = c.Close()
		return nil
	}
	return placed(c, leave, remote)
}

// conn is a connection over TCP that holds a place. What it is under it, all that is done
// with connections over TCP is done as fast.
type conn struct {
	*net.TCPConn
	leave  func()
	remote net.Addr
}

// held is any other.
type held struct {
	net.Conn
	leave  func()
	remote net.Addr
}

// placed returns a connection that gives its place back when it is closed.
func placed(c net.Conn, leave func(), remote net.Addr) net.Conn {
	if remote == nil {
		remote = c.RemoteAddr()
	}
	switch c := c.(type) {
	case *net.TCPConn:
		return &conn{c, leave, remote}
	case *conn:
		first := c.leave
		return &conn{c.TCPConn, func() { first(); leave() }, remote}
	}
	return &held{c, leave, remote}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	defer c.leave()
	return c.TCPConn.Close()
}

// RemoteAddr returns where the client is.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// Close implements net.Conn.
func (c *held) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// RemoteAddr returns where the client is.
func (c *held) RemoteAddr() net.Addr { return c.remote }

// NetConn returns what it is around, as that of a *tls.Conn does.
func (c *held) NetConn() net.Conn { return c.Conn }

// CloseWrite implements what closing one direction takes, where what it is around does.
func (c *held) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// proxied is a listener some of whose connections begin with a header of the PROXY
// protocol, which may be slow to come: it is waited for beside.
type proxied struct {
	listener
	ready   chan net.Conn
	closed  chan struct{}
	closing sync.Once
	reading chan struct{} // one for each that is waited for
	work    sync.WaitGroup

	mu  sync.Mutex
	err error // of accepting
}

// Accept implements net.Listener.
func (p *proxied) Accept() (net.Conn, error) {
	select {
	case c := <-p.ready:
		return c, nil
	case <-p.closed:
		p.mu.Lock()
		defer p.mu.Unlock()
		return nil, p.err
	}
}

// Close implements net.Listener. It waits for what is under way.
func (p *proxied) Close() error {
	err := p.Listener.Close()
	p.end(net.ErrClosed)
	p.work.Wait()
	return err
}

func (p *proxied) end(err error) {
	p.closing.Do(func() {
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(p.closed)
	})
}

// accept accepts until there is nothing to accept.
func (p *proxied) accept() {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			if transient(err) {
				select {
				case <-time.After(50 * time.Millisecond): // as net/http does: files may be freed
					continue
				case <-p.closed:
				}
			}
			p.end(err)
			return
		}
		ip := addressOf(c.RemoteAddr().String())
		if !within(p.t.o.ProtocolFrom, ip) {
			if !within(p.t.o.Trusted, ip) {
				c = p.admit(c, ip, nil)
			}
			p.hand(c)
			continue
		}
		select {
		case p.reading <- struct{}{}:
			p.work.Go(func() {
				defer func() { <-p.reading }()
				p.hand(p.read(c))
			})
		default:
			p.t.metrics.refused.WithLabelValues("protocol").Inc()
			_ = c.Close()
		}
	}
}

// transient says whether accepting may go on.
func transient(err error) bool {
	temporary, ok := err.(interface{ Temporary() bool }) // which is what is left of that in package net
	return ok && temporary.Temporary()
}

// hand hands a connection over; nil is none.
func (p *proxied) hand(c net.Conn) {
	if c == nil {
		return
	}
	select {
	case p.ready <- c:
	case <-p.closed:
		_ = c.Close()
	}
}

// read reads the header of a connection, and takes a place for its client.
func (p *proxied) read(c net.Conn) net.Conn {
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-p.closed:
			_ = c.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
		case <-stop:
		}
	})
	remote, err := readHeader(c, p.t.o.HeaderTime)
	close(stop)
	watching.Wait()
	if err != nil {
		p.t.metrics.refused.WithLabelValues("protocol").Inc()
		p.t.o.Log.Debug("a connection of a proxy is refused: it does not begin with a header of the PROXY protocol", "addr", c.RemoteAddr(), "err", err)
		_ = c.Close()
		return nil
	}
	ip := addressOf(c.RemoteAddr().String())
	if remote != nil {
		ip = addressOf(remote.String())
	} else if within(p.t.o.Trusted, ip) {
		return c
	}
	return p.admit(c, ip, remote)
}

// readHeader reads the header of the PROXY protocol, and nothing that follows it. It
// returns nil where the proxy speaks for itself, as it does to see whether the server is
// there.
func readHeader(c net.Conn, patience time.Duration) (net.Addr, error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	raw, err := takeHeader(c)
	if err != nil {
		return nil, err
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(raw), len(raw)))
	if err != nil {
		return nil, err
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	if h.Command.IsLocal() || h.TransportProtocol == proxyproto.UNSPEC {
		return nil, nil
	}
	if at, ok := h.SourceAddr.(*net.TCPAddr); ok && addressOf(at.String()).IsValid() {
		return at, nil
	}
	return nil, fmt.Errorf("it names no client over TCP")
}

const (
	longestV1 = 107     // of the text, its end included
	longestV2 = 4 << 10 // what proxies add to it included
)

// takeHeader reads the bytes of a header, and not one that follows it.
func takeHeader(c io.Reader) ([]byte, error) {
	raw := make([]byte, len(proxyproto.SIGV2), longestV1+1) // no header is shorter
	if _, err := io.ReadFull(c, raw); err != nil {
		return nil, err
	}
	switch {
	case bytes.Equal(raw, proxyproto.SIGV2):
		raw = raw[:len(raw)+4]
		if _, err := io.ReadFull(c, raw[len(raw)-4:]); err != nil {
			return nil, err
		}
		rest := int(binary.BigEndian.Uint16(raw[len(raw)-2:]))
		if rest > longestV2 {
			return nil, fmt.Errorf("a header of %d bytes is too long", rest)
		}
		raw = append(raw, make([]byte, rest)...)
		_, err := io.ReadFull(c, raw[len(raw)-rest:])
		return raw, err
	case !bytes.HasPrefix(raw, proxyproto.SIGV1):
		return nil, proxyproto.ErrNoProxyProtocol
	}
	for raw[len(raw)-1] != '\n' {
		if len(raw) == longestV1 {
			return nil, errors.New("the header has no end")
		}
		raw = raw[:len(raw)+1]
		if _, err := io.ReadFull(c, raw[len(raw)-1:]); err != nil {
			return nil, err
		}
	}
	return raw, nil
}
