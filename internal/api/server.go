package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxHeaderBytes = 16 << 10
	idleTimeout    = 2 * time.Minute
	// bodyTime bounds reading a request, its body included, once its header
	// was in time. WebSockets are not bound by it.
	bodyTime = 30 * time.Second
	// answerTime bounds a request from its header to the end of its answer: a
	// profile may take a while.
	answerTime = 3 * time.Minute
	// shutdownTime is how long requests under way may take when the server
	// stops. Sockets are not among them: they are drained by their own door.
	shutdownTime = 5 * time.Second
	// maxConnections is how many connections may be open that are no
	// WebSocket. For one more one that waits for its next request is closed, and
	// where there is none, itself.
	maxConnections = 10_000
	// maxStreams is how many requests of one HTTP/2 connection may be under way.
	maxStreams = 128
)

// Server serves one handler on one listener.
type Server struct {
	http           *http.Server
	handler        atomic.Pointer[http.Handler] // what serves at present
	log            *slog.Logger
	counters       *counters // nil for nowhere
	shutdownTime   time.Duration
	maxConnections int

	mu   sync.Mutex
	open map[net.Conn]struct{} // connections that are no WebSocket
	idle map[net.Conn]struct{} // those of them that wait for their next request
}

// NewServer makes a server. headerTime bounds how long a client may take to
// send a request's header. A handler of this package counts the connections.
// What is around it is called first, whichever handler serves.
func NewServer(h http.Handler, headerTime time.Duration, log *slog.Logger, around ...func(http.Handler) http.Handler) *Server {
	s := &Server{log: log, shutdownTime: shutdownTime, maxConnections: maxConnections, open: make(map[net.Conn]struct{}), idle: make(map[net.Conn]struct{})}
	if d, ok := h.(*door); ok {
		s.counters = d.counters
	}
	s.handler.Store(&h)
	var all http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*s.handler.Load()).ServeHTTP(w, r) })
	for _, wrap := range around {
		all = wrap(all)
	}
	s.http = &http.Server{
		Handler:           all,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       headerTime + bodyTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.track,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s
}

// Switch has another handler serve from now on, of the same name if it is one of
// this package: connections stay, and requests under way end as they began.
func (s *Server) Switch(h http.Handler) { s.handler.Store(&h) }

// Serve serves until ctx ends, then stops accepting and waits for the requests
// under way; those that take too long are cut off. It returns nil then.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.shutdownTime)
	defer cancel()
	err := s.http.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests did not end in time and are cut off", "addr", l.Addr().String())
		err = s.http.Close()
	}
	<-served
	return err
}

// track counts connections, and closes those that are too many.
func (s *Server) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		if len(s.open) >= s.maxConnections && !s.makeRoom() {
			s.refuse("TOO_MANY_CONNECTIONS")
			_ = c.Close() // net/http finds it closed at its first read
			return
		}
		s.open[c] = struct{}{}
	case http.StateIdle:
		s.idle[c] = struct{}{}
	case http.StateActive:
		delete(s.idle, c)
	case http.StateHijacked, http.StateClosed:
		delete(s.idle, c)
		delete(s.open, c)
	}
	if s.counters != nil {
		s.counters.connected(len(s.open))
	}
}

// makeRoom closes some connection that waits for its next request, if there is one: who
// comes has something to say. mu is held.
func (s *Server) makeRoom() bool {
	for c := range s.idle {
		delete(s.idle, c)
		delete(s.open, c)
		s.refuse("IDLE_CONNECTION")
		if secured, ok := c.(*tls.Conn); ok {
			c = secured.NetConn() // which is closed without a word that might have to wait
		}
		_ = c.Close() // net/http finds it closed
		return true
	}
	return false
}

func (s *Server) refuse(reason string) {
	if s.counters != nil {
		s.counters.refuse(reason)
	}
}
