package nodetest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// proxy stands between clients and a server, and is a bad line on command: slow,
// silent, cut.
type proxy struct {
	Addr string

	t        *testing.T
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu      sync.Mutex
	delay   time.Duration // of whatever passes
	swallow bool          // what passes is lost
	closed  bool
	conns   map[net.Conn]bool
}

// newProxy starts a proxy for a server's address. It ends with the test.
func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Addr: l.Addr().String(), t: t, listener: l, target: target, conns: make(map[net.Conn]bool)}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close() // it serves no more, whatever it says
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(near) })
	}
}

// serve joins a client to the server until one of them, or cut, ends it.
func (p *proxy) serve(near net.Conn) {
	defer near.Close()
	far, err := net.DialTimeout("tcp", p.target, 2*time.Second)
	if err != nil {
		return
	}
	defer far.Close()
	if !p.keep(near, far) {
		return
	}
	defer p.forget(near, far)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			p.pass(way[0], way[1])
			near.Close()
			far.Close()
		})
	}
	both.Wait()
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
	return !p.closed
}

func (p *proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// pass copies one way.
func (p *proxy) pass(from io.Reader, to io.Writer) {
	chunk := make([]byte, 64<<10)
	for {
		n, err := from.Read(chunk)
		p.mu.Lock()
		delay, swallow := p.delay, p.swallow
		p.mu.Unlock()
		if delay > 0 {
			<-time.After(delay)
		}
		if n > 0 && !swallow {
			if _, err := to.Write(chunk[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// slow delays what passes; 0 ends it.
func (p *proxy) slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// cut ends all connections at once, without a word.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset
		}
		_ = c.Close() // it is to be gone, and is
	}
}

// drop loses all that passes, until mend.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow = true
}

// mend ends a drop. Connections that have lost something must not go on.
func (p *proxy) mend() {
	p.cut()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow = false
}
