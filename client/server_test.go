package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"
	"github.com/seed-3d8c1042/switchboard/client"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const id = "0199a3e2-7c1b-7f00-8a2b-00000000000"

// server is the other end: a test reads what the client sent, frame by frame,
// and says what it gets. It is also the client's dialer, over pipes, so that a
// test may run in a bubble with a clock of its own.
type server struct {
	t     *testing.T
	peers chan *peer // connections, as they are made
	mute  bool       // answers no pings

	mu    sync.Mutex
	dials []time.Time
	down  bool // connections are refused
}

func newServer(t *testing.T) *server { return &server{t: t, peers: make(chan *peer, 100)} }

func (s *server) DialContext(context.Context, string, string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials = append(s.dials, time.Now())
	if s.down {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	go s.serve(far)
	return near, nil
}

func (s *server) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// attempts returns when the client dialled.
func (s *server) attempts() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.dials...)
}

func (s *server) serve(conn net.Conn) {
	br := bufio.NewReader(conn)
	r, err := http.ReadRequest(br)
	if err != nil {
		_ = conn.Close()
		return
	}
	p := &peer{t: s.t, mute: s.mute, raw: conn, header: r.Header, frames: make(chan string, 1000), pongs: make(chan string, 1000), closed: make(chan error, 1)}
	if p.Conn, err = gws.NewUpgrader(p, nil).UpgradeFromConn(conn, br, r); err != nil {
		return
	}
	s.peers <- p
	p.ReadLoop()
	_ = conn.Close()
}

// peer is the server's end of one connection.
type peer struct {
	gws.BuiltinEventHandler
	*gws.Conn
	t      *testing.T
	raw    net.Conn
	mute   bool
	header http.Header
	frames chan string
	pongs  chan string
	closed chan error
}

func (p *peer) OnMessage(_ *gws.Conn, m *gws.Message) {
	p.frames <- string(m.Bytes())
	_ = m.Close()
}

func (p *peer) OnPong(_ *gws.Conn, payload []byte) { p.pongs <- string(payload) }

func (p *peer) OnPing(c *gws.Conn, payload []byte) {
	if !p.mute {
		_ = c.WritePong(payload)
	}
}

func (p *peer) OnClose(_ *gws.Conn, err error) { p.closed <- err }

// send sends frames to the client.
func (p *peer) send(frames ...string) {
	for _, f := range frames {
		_ = p.WriteString(f) // a client that is gone is seen elsewhere
	}
}

// expect returns the next frame of the client, which must contain text.
func (p *peer) expect(text string) string {
	p.t.Helper()
	select {
	case f := <-p.frames:
		if !strings.Contains(f, text) {
			p.t.Fatalf("the client sent %s, want %s", f, text)
		}
		return f
	case <-time.After(time.Minute):
		p.t.Fatalf("the client did not send %s", text)
	}
	return ""
}

// expectClose waits for the end of the connection and returns the code of the
// client's close frame, 0 if there was none.
func (p *peer) expectClose() uint16 {
	p.t.Helper()
	select {
	case err := <-p.closed:
		var closed *gws.CloseError
		if errors.As(err, &closed) {
			return closed.Code
		}
	case <-time.After(time.Minute):
		p.t.Fatal("the connection was not closed")
	}
	return 0
}

// end closes the connection with a code.
func (p *peer) end(code uint16) { _ = p.WriteClose(code, []byte("because")) }

// next waits for the next connection.
func (s *server) next() *peer {
	s.t.Helper()
	select {
	case p := <-s.peers:
		return p
	case <-time.After(time.Hour):
		s.t.Fatal("the client did not connect")
	}
	return nil
}

// welcome waits for the next connection and lets it sign in.
func (s *server) welcome() *peer {
	s.t.Helper()
	p := s.next()
	p.expect(`"AUTH_CLIENT"`)
	p.send(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"ANZ-1","isAuthenticated":true}}`)
	return p
}

// refuse waits for the next connection and refuses its sign-in.
func (s *server) refuse(code string) {
	s.t.Helper()
	p := s.next()
	p.expect(`"AUTH_CLIENT"`)
	p.send(fmt.Sprintf(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"ANZ-1","isAuthenticated":false,"code":%q,"reason":"no"}}`, code))
	p.end(4002)
}

// log gathers what a client's handlers are told, in order.
type log struct {
	lines chan string
}

func newLog() *log { return &log{lines: make(chan string, 10_000)} }

func (l *log) add(format string, args ...any) { l.lines <- fmt.Sprintf(format, args...) }

// options returns options that report every call of a handler to the log.
func (s *server) options(l *log) client.Options {
	return client.Options{
		URL: "ws://test/ws", AppID: "app-id-343", UserID: "ANZ-1", Token: "token-12345", Dialer: s,
		Random: func() float64 { return 0.5 },
		OnMessage: func(_ context.Context, m client.Message) error {
			l.add("message %s %s %s", m.From, m.Content, m.Reference)
			return nil
		},
	}
}

// expect returns the next line of the log, which must be one of those given, in
// this order.
func (l *log) expect(t *testing.T, lines ...string) {
	t.Helper()
	for _, want := range lines {
		select {
		case got := <-l.lines:
			if got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nothing came, want %q", want)
		}
	}
}

// empty checks that nothing more was logged.
func (l *log) empty(t *testing.T) {
	t.Helper()
	select {
	case got := <-l.lines:
		t.Fatalf("got %q, want nothing", got)
	default:
	}
}

// dial connects a client, which the test closes at its end.
func dial(t *testing.T, s *server, o client.Options) (*client.Client, *peer) {
	t.Helper()
	peers := make(chan *peer, 1)
	go func() { peers <- s.welcome() }()
	c, err := client.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, <-peers
}

func message(n int, id string) string {
	f := fmt.Sprintf(`{"type":"MESSAGE","data":{"from":"ANZ-2","content":%d}`, n)
	if id != "" {
		f += fmt.Sprintf(`,"id":%q`, id)
	}
	return f + "}"
}
