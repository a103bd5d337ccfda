package nodetest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Front takes connections and hands each to one of several servers, in turn, as a
// load balancer does that knows nothing of what it carries. A server that takes no
// connection is passed over. What one side ends, ends on the other side in the
// same way: in order, half, or by a reset.
type Front struct {
	Addr string

	listener *net.TCPListener
	running  sync.WaitGroup

	mu      sync.Mutex
	targets []string
	next    int // index of the next target
	conns   map[*net.TCPConn]bool
	closed  bool
}

// frontPatience is how long a server may take to accept, before the next one is
// tried.
const frontPatience = 2 * time.Second

// StartFront starts a front for the servers' addresses. It ends with the test.
func StartFront(t testing.TB, targets ...string) *Front {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f := &Front{Addr: l.Addr().String(), listener: l, targets: targets, conns: make(map[*net.TCPConn]bool)}
	f.running.Go(f.accept)
	t.Cleanup(f.close)
	return f
}

func (f *Front) close() {
	_ = f.listener.Close() // it serves no more, whatever it says
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.Cut()
	f.running.Wait()
}

// Cut resets all connections, on both sides.
func (f *Front) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		reset(c)
	}
}

func (f *Front) accept() {
	for {
		near, err := f.listener.AcceptTCP()
		if err != nil {
			return
		}
		f.running.Go(func() { f.serve(near) })
	}
}

// serve joins a client to a server until both have ended.
func (f *Front) serve(near *net.TCPConn) {
	defer near.Close()
	far := f.dial()
	if far == nil {
		reset(near)
		return
	}
	defer far.Close()
	if !f.keep(near, far) {
		return
	}
	defer f.forget(near, far)
	var both sync.WaitGroup
	both.Go(func() { pour(near, far) })
	both.Go(func() { pour(far, near) })
	both.Wait()
}

// pour hands over what comes from one side to the other, and how it ends.
func pour(from, to *net.TCPConn) {
	_, err := io.Copy(to, from)
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		reset(from)
		reset(to)
	}
}

// reset ends a connection without a word, which also ends whoever reads or writes
// there.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close() // it is to be gone, and is
}

// dial connects to the next server that takes a connection, or returns nil.
func (f *Front) dial() *net.TCPConn {
	f.mu.Lock()
	targets, first := f.targets, f.next
	f.next++
	f.mu.Unlock()
	for i := range targets {
		c, err := net.DialTimeout("tcp", targets[(first+i)%len(targets)], frontPatience)
		if err == nil {
			return c.(*net.TCPConn)
		}
	}
	return nil
}

// keep notes connections, to be cut. It is false when the front has ended.
func (f *Front) keep(conns ...*net.TCPConn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		f.conns[c] = true
	}
	return !f.closed
}

func (f *Front) forget(conns ...*net.TCPConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		delete(f.conns, c)
	}
}
