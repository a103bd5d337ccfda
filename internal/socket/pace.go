package socket

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Rates bound what clients send, on average; of each, paceBurst's worth may come at once.
type Rates struct {
	Frames int // a second; 0: any number
	Bytes  int // of frames, a second; 0: any number
}

// paceBurst is how much may come at once: a client that was away sends what it has kept.
const paceBurst = 10 * time.Second

// gauge is how far a sender is ahead of its rate: the time up to which what it has sent
// lasts (the generic cell rate algorithm of ITU-T I.371). It takes no lock, and no timer.
type gauge struct{ until atomic.Int64 }

// take takes what lasts for so long, or returns false when too much is ahead.
func (g *gauge) take(now, cost time.Duration) bool {
	for {
		until := g.until.Load()
		from := max(until, int64(now))
		if from > int64(now) && from+int64(cost)-int64(now) > int64(paceBurst) {
			return false
		}
		if g.until.CompareAndSwap(until, from+int64(cost)) {
			return true
		}
	}
}

// meter is what one session, user or app sends.
type meter struct {
	frames, bytes gauge
	sessions      int // that send by it; guarded by meters.mu
}

// take takes a frame of so many bytes.
func (m *meter) take(r Rates, now time.Duration, bytes int) bool {
	if r.Frames > 0 && !m.frames.take(now, time.Second/time.Duration(r.Frames)) {
		return false
	}
	return r.Bytes <= 0 || m.bytes.take(now, time.Duration(float64(bytes)/float64(r.Bytes)*float64(time.Second)))
}

// pace is by what a session's frames are counted.
type pace struct {
	own       meter
	user, app *meter
}

// meters are those that sessions share. There are no more than sessions.
type meters struct {
	mu    sync.Mutex
	users map[wire.UserID]*meter
	apps  map[string]*meter
}

// join returns by what the frames of a session are counted; leave ends that.
func (x *meters) join(user wire.UserID, app string) *pace {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.users == nil {
		x.users, x.apps = make(map[wire.UserID]*meter), make(map[string]*meter)
	}
	u, a := x.users[user], x.apps[app]
	if u == nil {
		u = new(meter)
		x.users[user] = u
	}
	if a == nil {
		a = new(meter)
		x.apps[app] = a
	}
	u.sessions++
	a.sessions++
	return &pace{user: u, app: a}
}

// leave forgets what was counted for nobody else. A user who comes again begins anew.
func (x *meters) leave(p *pace, user wire.UserID, app string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p.user.sessions--; p.user.sessions == 0 {
		delete(x.users, user)
	}
	if p.app.sessions--; p.app.sessions == 0 {
		delete(x.apps, app)
	}
}

// bound has what the session sends counted, unless it is a link, which only acknowledges,
// or comes from where no limits hold. It is called once, before the session is joined.
func (s *session) bound() {
	if in := s.srv.opts.SignIns; in == nil || s.identity.options.Link || in.Exempt(s.Address()) {
		return
	}
	s.pace = s.srv.meters.join(s.identity.user, s.identity.app)
}

// unbound ends that. It is called once, when the session has left.
func (s *session) unbound() {
	if s.pace != nil {
		s.srv.meters.leave(s.pace, s.identity.user, s.identity.app)
	}
}

// paced takes a frame of so many bytes, or says which limit it is past.
func (s *session) paced(bytes int) *wire.Error {
	l, now := s.srv.limits.Load(), s.srv.mono()
	switch {
	case !s.pace.own.take(l.Session, now, bytes):
		return general(wire.CodeRateLimited, "this session sends more than it may in a second")
	case !s.pace.user.take(l.User, now, bytes):
		return general(wire.CodeRateLimited, "the sessions of this user send more than they may in a second")
	case !s.pace.app.take(l.App, now, bytes):
		return general(wire.CodeRateLimited, "the users of this app send more than they may in a second")
	}
	return nil
}

// blocked returns why nobody may try to sign in from where the client is; nil: he may.
func (s *session) blocked() *wire.Error {
	in := s.srv.opts.SignIns
	if in == nil {
		return nil
	}
	wait := in.Blocked(s.Address())
	if wait <= 0 {
		return nil
	}
	return &wire.Error{
		Kind: wire.KindAuthReply, Code: wire.CodeRateLimited,
		Reason: fmt.Sprintf("Too many sign-ins from this address have failed; try again in %d s.", int(math.Ceil(wait.Seconds()))),
	}
}

// failedSignIn notes a sign-in that was refused. One that could not be decided, or was
// right but for its time or place, is nobody's guess.
func (s *session) failedSignIn(code string) {
	switch code {
	case wire.CodeBusy, wire.CodeHookFailed, wire.CodeStoreDown, wire.CodeTokenExpired, wire.CodeWrongDomain:
		return
	}
	if in := s.srv.opts.SignIns; in != nil {
		in.Failed(s.Address())
	}
}
