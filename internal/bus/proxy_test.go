package bus

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy passes connections on to an address, until it is cut.
type proxy struct {
	addr, to string
	l        net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	isCut bool
	conns map[net.Conn]bool
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), to: to, l: l, conns: make(map[net.Conn]bool)}
	p.wg.Go(p.run)
	t.Cleanup(func() {
		l.Close()
		p.cut(true)
		p.wg.Wait()
	})
	return p
}

func (p *proxy) run() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			in.Close()
			continue
		}
		if !p.keep(in, out) {
			continue
		}
		p.wg.Go(func() { p.pass(in, out) })
		p.wg.Go(func() { p.pass(out, in) })
	}
}

// keep notes two connections, or closes them while the proxy is cut.
func (p *proxy) keep(both ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range both {
		if p.isCut {
			c.Close()
		} else {
			p.conns[c] = true
		}
	}
	return !p.isCut
}

func (p *proxy) pass(from, to net.Conn) {
	_, _ = io.Copy(to, from) // ends when either is closed
	from.Close()
	to.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, from)
	delete(p.conns, to)
}

// cut closes what passes and lets nothing pass, or lets it again.
func (p *proxy) cut(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isCut = away
	if away {
		for c := range p.conns {
			c.Close()
		}
	}
}
