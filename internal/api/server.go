package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	maxHeaderBytes = 16 << 10
	idleTimeout    = 2 * time.Minute
	// shutdownTime is how long requests under way may take when the server
	// stops. Sockets are not among them: they are drained by their own door.
	shutdownTime = 5 * time.Second
)

// Server serves one handler on one listener.
type Server struct {
	http *http.Server
}

// NewServer makes a server. headerTime bounds how long a client may take to
// send a request's header.
func NewServer(h http.Handler, headerTime time.Duration, log *slog.Logger) *Server {
	return &Server{http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// Serve serves until ctx ends, then stops accepting and waits for the requests
// under way.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	err := s.http.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-failed
	return err
}
