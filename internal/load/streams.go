package load

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// errClosed is why a connection ended that its server closed.
var errClosed = errors.New("the server closed the connection")

// dialTimeout is how long connecting may take.
const dialTimeout = 15 * time.Second

// streams is the network where there is no epoll, and for TLS: two goroutines a
// connection, one that reads and one that writes.
type streams struct {
	at     places
	on     events
	conns  []*stream // by connection; nil for none
	news   chan news
	ctx    context.Context // ends the dialling, with stop
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// news is what a goroutine of a connection has to tell.
type news struct {
	s    *stream
	data []byte // what was read; the reader waits for s.taken before it uses the buffer again
	err  error  // the connection ended
}

type stream struct {
	id    int
	out   chan []byte   // at most one write waits
	taken chan struct{} // the last data was handled
	end   context.CancelFunc
	ctx   context.Context

	mu      sync.Mutex
	refused bool // a write was, so room is to be told
	writing bool // out holds something, or the writer does
}

func newStreams(at places, on events, connections int) *streams {
	ctx, cancel := context.WithCancel(context.Background())
	return &streams{at: at, on: on, conns: make([]*stream, connections), news: make(chan news, 64), ctx: ctx, cancel: cancel}
}

func (n *streams) open(id int) error {
	ctx, cancel := context.WithCancel(n.ctx)
	s := &stream{id: id, out: make(chan []byte, 1), taken: make(chan struct{}, 1), ctx: ctx, end: cancel}
	n.conns[id] = s
	n.work.Go(func() {
		conn, err := n.dial(s)
		if err != nil {
			n.tell(news{s: s, err: err})
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		defer stop()
		n.tell(news{s: s})
		var writer sync.WaitGroup
		writer.Go(func() { n.writeLoop(s, conn) })
		n.readLoop(s, conn)
		writer.Wait()
	})
	return nil
}

func (n *streams) dial(s *stream) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, dialTimeout)
	defer cancel()
	dialer := &net.Dialer{}
	at := n.at.of(s.id)
	if from := at.source(s.id); from.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: from.AsSlice()}
	}
	conn, err := dialer.DialContext(ctx, "tcp", at.addr.String())
	if err != nil || at.url.Scheme != "wss" {
		return conn, err
	}
	secure := tls.Client(conn, &tls.Config{ServerName: at.url.Hostname(), MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// tell hands news over, unless the connection was given up.
func (n *streams) tell(what news) bool {
	select {
	case n.news <- what:
		return true
	case <-what.s.ctx.Done():
		return false
	}
}

func (n *streams) readLoop(s *stream, conn net.Conn) {
	buffer := make([]byte, 16<<10)
	for {
		count, err := conn.Read(buffer)
		if count > 0 {
			if !n.tell(news{s: s, data: buffer[:count]}) {
				return
			}
			select {
			case <-s.taken:
			case <-s.ctx.Done():
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errClosed
			}
			n.tell(news{s: s, err: err})
			return
		}
	}
}

func (n *streams) writeLoop(s *stream, conn net.Conn) {
	for {
		select {
		case <-s.ctx.Done():
			return
		case b := <-s.out:
			if _, err := conn.Write(b); err != nil {
				n.tell(news{s: s, err: err})
				return
			}
			s.mu.Lock()
			refused := s.refused
			s.refused, s.writing = false, false
			s.mu.Unlock()
			if refused && !n.tell(news{s: s}) {
				return
			}
		}
	}
}

func (n *streams) write(id int, b []byte) (int, error) {
	s := n.conns[id]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing {
		s.refused = true
		return 0, nil
	}
	s.writing = true
	s.out <- append([]byte(nil), b...)
	return len(b), nil
}

func (n *streams) wait(d time.Duration) error {
	var what news
	if d <= 0 {
		select {
		case what = <-n.news:
		default:
			return nil
		}
	} else {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case what = <-n.news:
		case <-timer.C:
			return nil
		}
	}
	n.handle(what)
	for range cap(n.news) { // what else is there, but not for ever
		select {
		case what = <-n.news:
			n.handle(what)
		default:
			return nil
		}
	}
	return nil
}

func (n *streams) handle(what news) {
	s := what.s
	if n.conns[s.id] != s {
		return // given up meanwhile
	}
	switch {
	case what.err != nil:
		n.close(s.id)
		n.on.lost(s.id, what.err)
	case what.data == nil:
		n.on.writable(s.id)
	default:
		n.on.arrived(s.id, what.data)
		s.taken <- struct{}{}
	}
}

func (n *streams) close(id int) {
	if s := n.conns[id]; s != nil {
		s.end()
		n.conns[id] = nil
	}
}

func (n *streams) stop() {
	n.cancel()
	n.work.Wait()
}
