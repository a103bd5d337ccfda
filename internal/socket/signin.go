package socket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/audit"
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
	data, reference := bytes.Clone(f.Data), bytes.Clone(f.Reference)
	go s.attempt(func() { s.authenticate(ctx, data, reference) })
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

// attempt has an attempt that beginAuth began come to its end. A panic ends the session
// only.
func (s *session) attempt(f func()) {
	defer s.srv.work.Done()
	defer func() {
		if r := recover(); r != nil {
			s.srv.panicked(r)
			s.close(aborting(wire.CloseInternal, ""))
		}
	}()
	f()
}

func (s *session) authenticate(ctx context.Context, data, reference []byte) {
	renew := s.known()
	a, wrong := s.checkAuth(data, renew)
	switch {
	case wrong != nil && wrong.Kind == wire.KindAuthReply:
		s.failedSignIn(&a, wrong.Code)
		s.rejected(&a, wrong, wire.CloseNotAuthentic)
	case wrong != nil:
		s.mu.Lock()
		s.endAuth()
		s.mu.Unlock()
		s.refuse(wrong, reference)
	default:
		s.decide(ctx, &a, renew)
	}
}

// present signs a client in that has shown its token with the handshake, and is told
// what comes of it unasked.
func (s *session) present(ctx context.Context, a *wire.Auth) {
	if a.User == "" {
		s.failedSignIn(a, wire.CodeBadToken)
		s.rejected(a, &wire.Error{Kind: wire.KindAuthReply, Code: wire.CodeBadToken, Reason: "The token is not one of this server."}, wire.CloseNotAuthentic)
		return
	}
	s.decide(ctx, a, false)
}

// decide asks the gate, and does as it says.
func (s *session) decide(ctx context.Context, a *wire.Auth, renew bool) {
	if e := s.blocked(); e != nil {
		s.srv.opts.Audit.Note(s.refusedSignIn(a, e.Code))
		s.rejected(a, e, wire.CloseNotAuthentic)
		return
	}
	var grant apps.Grant
	var err error
	if a.Options.Link {
		grant, err = s.srv.opts.Gate.AuthenticateLink(*a, s.Address(), certificateNames(s.conn)...)
	} else {
		grant, err = s.srv.opts.Gate.Authenticate(ctx, *a)
	}
	switch {
	case err != nil:
		s.failedSignIn(a, s.srv.refusalOf(err).Code)
		s.srv.logRefused(a, err)
		s.denied(a, err)
	case !s.grip(ctx, a, &grant):
	case renew:
		s.renew(a, &grant)
	default:
		s.join(ctx, a, &grant)
	}
}

// grip takes hold of what a sign-in rests on, so that the session ends with it, and
// lets go of what an earlier one rested on. It returns false when that is gone by now.
func (s *session) grip(ctx context.Context, a *wire.Auth, grant *apps.Grant) bool {
	if grant.Ground == nil {
		s.letGo(nil)
		return true
	}
	release, err := grant.Ground.Hold(ctx, func() { s.close(closing(wire.CloseNotAuthentic, revoked)) })
	if err != nil {
		s.srv.opts.Audit.Note(s.refusedSignIn(a, s.srv.refusalOf(err).Code))
		s.srv.logRefused(a, err)
		s.denied(a, err)
		return false
	}
	s.letGo(release)
	return true
}

// revoked is the reason with which a session is closed whose basis is gone.
const revoked = "what this session was signed in with was revoked"

// letGo ends the hold that there is, and has another one take its place; nil for none.
// A session that is closing has none any more.
func (s *session) letGo(next func()) {
	s.mu.Lock()
	before := s.drop
	s.drop = next
	if s.closing {
		s.drop = nil
	} else {
		next = nil
	}
	s.mu.Unlock()
	for _, release := range []func(){before, next} {
		if release != nil {
			release()
		}
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
	case renew && a.Options.Link != s.identity.options.Link:
		return a, general(wire.CodeAlreadySignedIn, "a session is that of a link from its beginning on, or never")
	case err == nil && a.Options.Link && s.pipe != nil:
		return a, &wire.Error{Kind: wire.KindAuthReply, Code: wire.CodeRefused, Reason: "a link takes a WebSocket"}
	case err == nil && a.Options.Link:
		a.Options = wire.Options{Link: true, Ack: true, Push: true}
	case err == nil && len(a.Options.Presence) > s.srv.limits.Load().PresenceWatch:
		return a, general(wire.CodeTooMany, "one session may not watch so many users")
	}
	return a, err
}

// refusalOf returns what the client is told of the gate's error.
func (srv *Server) refusalOf(err error) *wire.Error {
	var r *apps.Refusal
	if errors.As(err, &r) {
		e := &wire.Error{Kind: wire.KindAuthReply, Code: r.Code, Reason: r.Reason}
		if r.Home != "" {
			e.Home = srv.opts.HomeURL(r.Home)
		}
		return e
	}
	return &wire.Error{Kind: wire.KindAuthReply, Code: wire.CodeHookFailed, Reason: "the sign-in could not be decided"}
}

// denied answers with the gate's error, and closes: for good, or with the code that has
// clients come again while the database does not answer.
func (s *session) denied(a *wire.Auth, err error) {
	e, code := s.srv.refusalOf(err), uint16(wire.CloseNotAuthentic)
	if e.Code == wire.CodeStoreDown {
		code = wire.CloseRestart
	}
	s.rejected(a, e, code)
}

// rejected answers that the sign-in failed, and closes.
func (s *session) rejected(a *wire.Auth, e *wire.Error, code uint16) {
	s.srv.metrics.refused(e)
	s.control(wire.AppendAuthRefusal(nil, a.AppID, a.UserText, e))
	s.close(closing(code, ""))
}

// logRefused notes a sign-in that was refused. That of a link is for the operator,
// since somebody has set the two domains up to be linked: now and then, for it tries
// again, and anybody may say that he is one.
func (srv *Server) logRefused(a *wire.Auth, err error) {
	if a.Options.Link {
		neighbour := slog.String("user", a.UserText) // who is none has no other name
		if r, ok := errors.AsType[*apps.Refusal](err); ok && r.Domain != "" {
			neighbour = slog.String("domain", r.Domain)
			srv.opts.LinkLost(r.Domain, fmt.Sprintf("this domain does not let %s in: %s", r.Domain, r))
		}
		if srv.seldom(&srv.linkLogged, 10*time.Second) {
			srv.opts.Logger.Warn("the link from another domain may not sign in", neighbour, "err", err)
			return
		}
	}
	srv.opts.Logger.Debug("a sign-in was refused", "user", a.UserText, "err", err)
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
// until keeper and hub know the session, the hubs of other nodes too: so it comes
// before everything else, and who has read it misses nothing that is sent from
// then on.
func (s *session) join(ctx context.Context, a *wire.Auth, grant *apps.Grant) {
	id, err := s.srv.newID()
	if err != nil {
		s.srv.opts.Logger.Error("no randomness for a session's ID", "err", err)
		s.close(aborting(wire.CloseInternal, ""))
		return
	}
	s.identity = identity{id: id, user: grant.User, app: grant.User.App(), options: a.Options, domain: grant.Domain}
	if count := s.srv.opts.Count; count != nil {
		s.identity.traffic = count(grant.User, grant.Domain)
	}
	if a.Options.Link {
		s.mu.Lock()
		s.window = s.srv.limits.Load().LinkWindow
		s.mu.Unlock()
		s.srv.supersede(s)
	}
	if !s.queueReply(a) {
		return
	}
	watch, denied, elsewhere := s.watchable(grant.User, a.Options.Presence)
	known, err := s.srv.opts.Hub.Add(s, watch)
	if err != nil {
		s.takeBack()
		e := &wire.Error{Kind: wire.KindAuthReply, Code: wire.CodeTooManySessions, Reason: tooMany(err)}
		s.srv.opts.Audit.Note(s.refusedSignIn(a, e.Code))
		s.rejected(a, e, wire.CloseTooManySessions)
		return
	}
	s.srv.opts.Keeper.Open(mailbox.Session{
		ID: id, User: grant.User, Master: grant.Master, TellMaster: grant.TellMaster,
		Ack: a.Options.Ack, Push: a.Options.Push, Node: s.srv.opts.Node, Outlet: s,
		Link: a.Options.Link, Window: s.window,
	})
	s.srv.metrics.sessionsOf(&s.identity).Add(1)
	s.bound()
	s.srv.opts.Audit.Note(audit.Event{Event: "signIn", App: s.identity.app, User: string(grant.User), Address: s.Address(), What: s.Transport()})
	s.attach(ctx) // before it is told: whoever ends the session from then on detaches it
	s.told(grant)
	if a.Options.Link {
		s.srv.opts.Logger.Info("the link from another domain is up", "domain", grant.Domain, "addr", s.Address())
	}
	s.notWatched(denied, "users of your app may not watch these")
	s.notWatched(elsewhere, "these live in another domain, and who is there is not known here")
	if known != nil {
		select {
		case <-known:
		case <-ctx.Done():
		}
	}
	if known != nil && ctx.Err() == nil {
		if err := s.srv.opts.Hub.Surplus(s); err != nil {
			s.takeBack()
			s.rejected(a, &wire.Error{Kind: wire.KindAuthReply, Code: wire.CodeTooManySessions, Reason: tooMany(err)}, wire.CloseTooManySessions)
			return
		}
	}
	s.progress(func(o *opening) { o.known = true })
}

// supersede ends the other sessions of a link: its domain has connected anew, and
// what is on its way over a connection that nobody has any more would hold up all
// that follows until that is noticed.
func (srv *Server) supersede(s *session) {
	srv.mu.Lock()
	var old []*session
	for other := range srv.sessions {
		if other != s && other.known() && other.identity.options.Link && other.identity.user == s.identity.user {
			old = append(old, other)
		}
	}
	srv.mu.Unlock()
	for _, other := range old {
		other.close(aborting(wire.CloseRestart, "this domain has connected anew"))
	}
}

// opening is a session whose reply waits.
type opening struct {
	back  queueMark // what was queued before it
	told  bool      // hub and keeper were told of the session
	kept  bool      // the keeper has it
	known bool      // all nodes know of it
}

// queueMark is what a queue held at some time.
type queueMark struct {
	bytes, frames, fast int
	own                 share
}

// queueReply queues the reply that grants the sign-in, and holds the queue. It
// returns false when the session is closing.
func (s *session) queueReply(a *wire.Auth) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.hold()
	q := &s.queue
	s.opening = &opening{back: queueMark{len(q.buf), q.frames, q.fast, q.own}}
	start := s.begin()
	q.buf = wire.AppendAuthReply(q.buf, a.AppID, a.UserText, true, "", "")
	s.srv.metrics.frameOut(q.buf[start+headerReserve:], featureNone)
	s.queued(start, finText)
	return true
}

// takeBack takes the reply back, if it still waits.
func (s *session) takeBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening != nil {
		s.giveUp()
	}
}

// giveUp takes the reply back with all that was queued behind it, and ends the
// hold. The caller holds mu.
func (s *session) giveUp() {
	q, back := &s.queue, s.opening.back
	s.opening = nil
	if !q.broken && len(q.buf) > back.bytes {
		s.srv.metrics.queued.Add(int64(back.bytes - len(q.buf)))
		s.srv.metrics.droppedClosed.Add(float64(q.fast - back.fast))
		q.buf, q.frames, q.fast, q.own = q.buf[:back.bytes], back.frames, back.fast, back.own
	}
	s.proofs.wanted = false // what wanted it is gone
	s.release()
}

// told notes that hub and keeper were told of the session.
func (s *session) told(grant *apps.Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined = true
	s.master, s.expires = grant.Master, grant.Expires
	if s.closing { // meanwhile: nobody has told them of the end
		s.depart()
		return
	}
	s.opening.told = true
	s.begun()
}

// progress notes that one more knows the session.
func (s *session) progress(note func(*opening)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening != nil {
		note(s.opening)
		s.begun()
	}
}

// begun lets the session's frames go when all know it. The caller holds mu.
func (s *session) begun() {
	if o := s.opening; !o.told || !o.kept || !o.known {
		return
	}
	s.opening = nil
	s.endAuth()
	s.proofs.progress = s.srv.mono()
	s.phase.Store(phaseJoined)
	s.checkAt(0)
	s.release()
}

// watchable divides the users that a session wants to watch into those whose
// presence it may know, those whose it may not, and those of other domains.
func (s *session) watchable(user wire.UserID, wanted []wire.UserID) (watch, denied, elsewhere []wire.UserID) {
	own := user.App()
	for _, u := range wanted {
		switch app := u.App(); {
		case app != own && !s.srv.opts.MayReach(own, app):
			denied = append(denied, u)
		case s.srv.opts.Elsewhere != nil && s.srv.opts.Elsewhere(u):
			elsewhere = append(elsewhere, u)
		default:
			watch = append(watch, u)
		}
	}
	return watch, denied, elsewhere
}

// notWatched tells a session of users whom it wanted to watch in vain.
func (s *session) notWatched(users []wire.UserID, why string) {
	if len(users) > 0 {
		e := general(wire.CodeForbidden, why)
		e.To, e.Group = users, true
		s.refuse(e, nil)
	}
}

// tooMany returns the sentence in the hub's error.
func tooMany(err error) string {
	var e *wire.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return err.Error()
}
