package socket

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// drainGap is the time that draining takes for each session, if it has as
	// much: clients that come back elsewhere should not come all at once, nor
	// should a stop take long when there are few.
	drainGap = 10 * time.Millisecond
	// drainSpread is how long draining takes at least, if it has as much.
	drainSpread = 250 * time.Millisecond
	// drainWithout is how long it may take when ctx does not say.
	drainWithout = 15 * time.Second
)

// Drain closes all sessions gracefully and returns when the last connection is
// gone: no new ones are accepted; each session gets a random delay, those with
// options are told it by RECONNECT, and each is closed after its delay, with
// what waits to be written to it written first. The delays are spread over the
// time that ctx gives, or less when there are few sessions; a part of that time
// is kept for closing. When ctx ends earlier, the connections that are left are
// cut off, and the error says how many. Run must be running. Drain is for one
// call.
func (srv *Server) Drain(ctx context.Context, reason string) error {
	left := drainWithout
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline) // contexts have the operating system's time
	}
	list := srv.stop()
	spread := min(left*3/4, max(drainSpread, time.Duration(len(list))*drainGap))
	for _, s := range list {
		delay, err := srv.randomBelow(spread)
		if err != nil {
			srv.opts.Logger.Error("no randomness for draining; sessions are closed at once", "err", err)
		}
		s.drain(reason, delay)
	}
	select {
	case <-srv.empty:
		srv.work.Wait()
		return nil
	case <-ctx.Done():
	}
	n := srv.killAll()
	<-srv.empty
	srv.work.Wait()
	return fmt.Errorf("cut off %d connections that did not close: %w", n, ctx.Err())
}

// stop refuses connections from now on and returns those that there are.
func (srv *Server) stop() []*session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.stopping = true
	srv.checkEmpty()
	list := make([]*session, 0, len(srv.sessions))
	for s := range srv.sessions {
		list = append(list, s)
	}
	return list
}

// killAll cuts every connection off and returns how many there were.
func (srv *Server) killAll() int {
	list := srv.stop()
	for _, s := range list {
		s.kill()
	}
	return len(list)
}

// drain has the session closed after a delay.
func (s *session) drain(reason string, delay time.Duration) {
	if s.known() && s.identity.options.Any() {
		s.control(wire.AppendReconnect(nil, reason, delay))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeAt = s.srv.mono() + tick + delay // the time is up to a tick old
	s.checkAt(s.closeAt)
}

// randomBelow returns a random time below limit, which is above 0.
func (srv *Server) randomBelow(limit time.Duration) (time.Duration, error) {
	srv.randomMu.Lock()
	defer srv.randomMu.Unlock()
	var b [8]byte
	if _, err := io.ReadFull(srv.opts.Random, b[:]); err != nil {
		return 0, fmt.Errorf("read randomness: %w", err)
	}
	if limit <= 0 {
		return 0, nil
	}
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(limit)), nil
}
