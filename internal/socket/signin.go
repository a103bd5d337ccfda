package socket

import (
	"bytes"
	"context"
	"errors"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// signIn takes an AUTH_CLIENT: the first one, or one that renews the session.
// It is dealt with in a goroutine of its own: pongs are read while the gate is
// asked, and the reader's stack, which every idle connection keeps, stays small.
func (s *session) signIn(f *wire.Frame) {
	ctx, ok := s.beginAuth()
	if !ok {
		s.refuse(general(wire.CodeBusy, "an earlier AUTH_CLIENT is not answered yet"), f.Reference)
		return
	}
	go s.authenticate(ctx, bytes.Clone(f.Data), bytes.Clone(f.Reference))
}

// beginAuth starts an attempt unless one is under way.
func (s *session) beginAuth() (context.Context, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signingIn || s.closing {
		return nil, false
	}
	ctx, stop := context.WithCancel(context.Background())
	s.signingIn, s.stopAuth = true, stop
	s.srv.work.Add(1)
	return ctx, true
}

// endAuth ends the attempt. The caller holds mu.
func (s *session) endAuth() {
	s.signingIn = false
	s.stopAuth()
	s.stopAuth = nil
}

func (s *session) authenticate(ctx context.Context, data, reference []byte) {
	defer s.srv.work.Done()
	defer func() {
		if r := recover(); r != nil {
			s.srv.panicked(r)
			s.close(aborting(wire.CloseInternal, ""))
		}
	}()
	renew := s.known()
	a, wrong := s.checkAuth(data, renew)
	switch {
	case wrong != nil && wrong.Kind == wire.KindAuthReply:
		s.rejected(&a, wrong, wire.CloseNotAuthentic)
		return
	case wrong != nil:
		s.mu.Lock()
		s.endAuth()
		s.mu.Unlock()
		s.refuse(wrong, reference)
		return
	}
	grant, err := s.srv.opts.Gate.Authenticate(ctx, a)
	switch {
	case err != nil:
		s.srv.opts.Logger.Debug("a sign-in was refused", "user", a.UserText, "err", err)
		s.rejected(&a, refusalOf(err), wire.CloseNotAuthentic)
	case renew:
		s.renew(&a, &grant)
	default:
		s.join(&a, &grant)
	}
}

// checkAuth reads an AUTH_CLIENT and checks what does not take the gate.
func (s *session) checkAuth(data []byte, renew bool) (wire.Auth, *wire.Error) {
	a, err := wire.ParseAuth(data)
	switch {
	case err != nil && err.Kind != wire.KindAuthReply:
		return a, err
	case renew && a.User != s.identity.user:
		return a, general(wire.CodeAlreadySignedIn, "this session is signed in as "+string(s.identity.user))
	case err == nil && len(a.Options.Presence) > s.srv.limits.Load().PresenceWatch:
		return a, general(wire.CodeTooMany, "one session may not watch so many users")
	}
	return a, err
}

// refusalOf returns what the client is told of the gate's error.
func refusalOf(err error) *wire.Error {
	var r *apps.Refusal
	if errors.As(err, &r) {
		return &wire.Error{Kind: wire.KindAuthReply, Code: r.Code, Reason: r.Reason}
	}
	return &wire.Error{Kind: wire.KindAuthReply, Code: wire.CodeHookFailed, Reason: "the sign-in could not be decided"}
}

// rejected answers that the sign-in failed, and closes.
func (s *session) rejected(a *wire.Auth, e *wire.Error, code uint16) {
	s.srv.metrics.refused(e)
	s.control(wire.AppendAuthReply(nil, a.AppID, a.UserText, false, e.Code, e.Reason))
	s.close(closing(code, ""))
}

// renew takes what the gate says now of a session that is signed in.
func (s *session) renew(a *wire.Auth, grant *apps.Grant) {
	s.mu.Lock()
	s.endAuth()
	s.master, s.expires = grant.Master, grant.Expires
	s.checkAt(0)
	s.mu.Unlock()
	s.control(wire.AppendAuthReply(nil, a.AppID, a.UserText, true, "", ""))
}

// join makes the session one of the user's. The reply is queued first, and held
// until hub and keeper know the session: so it comes before everything else,
// and who has read it misses nothing that is sent from then on.
func (s *session) join(a *wire.Auth, grant *apps.Grant) {
	id, err := s.srv.newID()
	if err != nil {
		s.srv.opts.Logger.Error("no randomness for a session's ID", "err", err)
		s.close(aborting(wire.CloseInternal, ""))
		return
	}
	s.identity = identity{id: id, user: grant.User, app: a.AppID, options: a.Options}
	back, ok := s.queueReply(a)
	if !ok {
		return
	}
	if err := s.srv.opts.Hub.Add(s); err != nil {
		s.takeBack(back)
		e := &wire.Error{Kind: wire.KindAuthReply, Code: wire.CodeTooManySessions, Reason: tooMany(err)}
		s.rejected(a, e, wire.CloseTooManySessions)
		return
	}
	_, denied := s.watchable(grant.User, a.Options.Presence)
	s.srv.opts.Keeper.Open(mailbox.Session{
		ID: id, User: grant.User, Master: grant.Master, TellMaster: grant.TellMaster,
		Ack: a.Options.Ack, Push: a.Options.Push, Outlet: s,
	})
	s.srv.metrics.sessions.Add(1)
	s.begun(grant)
	if len(denied) > 0 {
		e := general(wire.CodeForbidden, "users of your app may not watch these")
		e.To, e.Group = denied, true
		s.refuse(e, nil)
	}
}

// queueReply queues the reply that grants the sign-in and holds the queue. It
// returns where to go back to, and false when the session is closing.
func (s *session) queueReply(a *wire.Auth) (back queueMark, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return queueMark{}, false
	}
	s.hold()
	back = queueMark{len(s.queue.buf), s.queue.frames}
	start := s.begin()
	s.queue.buf = wire.AppendAuthReply(s.queue.buf, a.AppID, a.UserText, true, "", "")
	s.srv.metrics.frameOut(s.queue.buf[start+headerReserve:], featureNone)
	s.queued(start, finText)
	return back, true
}

// queueMark is a place in a queue.
type queueMark struct{ bytes, frames int }

// takeBack removes what was queued since back, and ends the hold.
func (s *session) takeBack(back queueMark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.srv.metrics.queued.Add(int64(back.bytes - len(s.queue.buf)))
		s.queue.buf, s.queue.frames = s.queue.buf[:back.bytes], back.frames
	}
	s.release()
}

// begun notes that hub and keeper know the session, and lets its frames go.
func (s *session) begun(grant *apps.Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endAuth()
	s.joined = true
	s.master, s.expires = grant.Master, grant.Expires
	s.proofs.progress = s.srv.mono()
	s.phase.Store(phaseJoined)
	if s.closing { // meanwhile: nobody has told hub and keeper
		s.depart()
	}
	s.checkAt(0)
	s.release()
}

// watchable divides the users that a session wants to watch into those whose
// presence it may know, and the others.
func (s *session) watchable(user wire.UserID, wanted []wire.UserID) (watch, denied []wire.UserID) {
	own := user.App()
	for _, u := range wanted {
		if app := u.App(); app == own || s.srv.opts.MayReach(own, app) {
			watch = append(watch, u)
		} else {
			denied = append(denied, u)
		}
	}
	return watch, denied
}

// tooMany returns the sentence in the hub's error.
func tooMany(err error) string {
	var e *wire.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return err.Error()
}
