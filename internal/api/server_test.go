package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// quick is a time-out in tests that is to pass, patience one that is not.
const (
	quick    = 100 * time.Millisecond
	patience = 20 * time.Second
)

// serve serves the public handler for the test's time; the returned function
// stops it and returns what Serve returned.
func serve(t *testing.T, o Options, change ...func(*Server)) (addr string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(NewPublic(o), quick, slog.New(slog.DiscardHandler))
	for _, f := range change {
		f(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return l.Addr().String(), stop
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// wantClosed checks that the server closes the connection, and returns what it
// said before.
func wantClosed(t *testing.T, c net.Conn) string {
	t.Helper()
	said, err := io.ReadAll(c)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		t.Fatal("the connection is still open")
	}
	return string(said)
}

func TestASlowHeaderIsCutOff(t *testing.T) {
	addr, _ := serve(t, options())
	silent, slow := dial(t, addr), dial(t, addr)
	send(t, slow, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ")
	wantClosed(t, silent)
	wantClosed(t, slow)
}

func TestASlowBodyIsCutOff(t *testing.T) {
	read := make(chan error, 1)
	o := options()
	o.Socket = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	})
	addr, _ := serve(t, o, func(s *Server) { s.http.ReadTimeout = 2 * quick })
	c := dial(t, addr)
	send(t, c, "GET /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf")
	if err := <-read; err == nil {
		t.Error("half a body was enough")
	}
	wantClosed(t, c)
}

func TestAnIdleConnectionIsClosed(t *testing.T) {
	addr, _ := serve(t, options(), func(s *Server) { s.http.IdleTimeout = quick })
	c := dial(t, addr)
	send(t, c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	if said := wantClosed(t, c); !strings.HasPrefix(said, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("it said %q", said)
	}
}

func TestALargeHeaderIsRefused(t *testing.T) {
	addr, _ := serve(t, options())
	c := dial(t, addr)
	send(t, c, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: "+strings.Repeat("a", 21<<10)+"\r\n\r\n")
	if said := wantClosed(t, c); !strings.HasPrefix(said, "HTTP/1.1 431 ") {
		t.Errorf("it said %q", said)
	}
}

func TestOneConnectionTooManyIsClosedAndCounted(t *testing.T) {
	o := options()
	addr, _ := serve(t, o, func(s *Server) { s.maxConnections = 1; s.http.ReadHeaderTimeout = patience })
	const request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	first := dial(t, addr)
	send(t, first, request[:10])
	if said := wantClosed(t, dial(t, addr)); said != "" {
		t.Errorf("it said %q", said)
	}
	answered := func(c net.Conn) {
		t.Helper()
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || answer.StatusCode != 200 {
			t.Fatalf("%v, %v", answer, err)
		}
	}
	send(t, first, request[10:])
	answered(first)
	c := newCounters(o.Metrics, "public")
	var second net.Conn
	for tries := 1; ; tries++ { // it is idle soon after its answer has come
		second = dial(t, addr)
		send(t, second, request)
		if answer, err := http.ReadResponse(bufio.NewReader(second), nil); err == nil && answer.StatusCode == 200 {
			break
		}
		if tries == 1000 {
			t.Fatal("one that has nothing to say keeps others out")
		}
	}
	wantClosed(t, first)
	if n := testutil.ToFloat64(c.refused.WithLabelValues("public", "IDLE_CONNECTION")); n != 1 {
		t.Errorf("%v were counted that made room", n)
	}
	if n := testutil.ToFloat64(c.refused.WithLabelValues("public", "TOO_MANY_CONNECTIONS")); n < 1 {
		t.Errorf("%v refusals were counted", n)
	}
	if n := testutil.ToFloat64(c.connections.WithLabelValues("public")); n != 1 {
		t.Errorf("%v connections are counted", n)
	}
}

func TestASocketTakesItsConnectionOverAndIsNotBoundByTheServer(t *testing.T) {
	o := options()
	o.Socket = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			defer conn.Close()
			fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			_ = rw.Flush()
			_, _ = io.Copy(conn, rw) // an echo, until the client leaves
		}()
	})
	addr, stop := serve(t, o, func(s *Server) {
		s.maxConnections = 1
		s.http.ReadTimeout, s.http.WriteTimeout, s.http.IdleTimeout = 2*quick, 2*quick, quick
	})
	c := dial(t, addr)
	in := bufio.NewReader(c)
	send(t, c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "101") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	// It leaves the place of an HTTP connection, and outlives time-outs and
	// the server's stop.
	other := dial(t, addr)
	send(t, other, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	if said := wantClosed(t, other); !strings.HasPrefix(said, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("it said %q", said)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	send(t, c, "still here\n")
	if line, err := in.ReadString('\n'); err != nil || line != "still here\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if n := testutil.ToFloat64(newCounters(o.Metrics, "public").requests.WithLabelValues("public", "101")); n != 1 {
		t.Errorf("%v handshakes are counted", n)
	}
}

func TestAStopWaitsForRequestsUnderWay(t *testing.T) {
	entered, leave := make(chan bool), make(chan bool)
	o := options()
	o.Socket = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entered <- true
		<-leave
		fmt.Fprint(w, "done")
	})
	addr, stop := serve(t, o)
	c := dial(t, addr)
	send(t, c, "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for { // until it takes no new connections
		other, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		_ = other.Close()
	}
	close(leave)
	if said := wantClosed(t, c); !strings.HasSuffix(said, "done") {
		t.Errorf("it said %q", said)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestAStopCutsOffWhatDoesNotEnd(t *testing.T) {
	entered := make(chan bool, 1)
	o := options()
	o.Socket = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		entered <- true
		<-r.Context().Done()
	})
	addr, stop := serve(t, o, func(s *Server) { s.shutdownTime = quick })
	c := dial(t, addr)
	send(t, c, "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	if err := stop(); err != nil {
		t.Error(err)
	}
	wantClosed(t, c)
}

func TestAListenerThatFailsIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := NewServer(NewPublic(options()), quick, slog.New(slog.DiscardHandler))
	if err := s.Serve(t.Context(), l); err == nil {
		t.Error("served a closed listener")
	}
}

func TestDoorsShareARegistry(t *testing.T) {
	o := options()
	admin, public := NewAdmin(o), NewPublic(o)
	ask(t, admin, "GET", "/healthz")
	ask(t, public, "GET", "/healthz")
	c := newCounters(o.Metrics, "")
	for _, door := range []string{"admin", "public"} {
		if n := testutil.ToFloat64(c.requests.WithLabelValues(door, "200")); n != 1 {
			t.Errorf("%s: %v", door, n)
		}
	}
}
