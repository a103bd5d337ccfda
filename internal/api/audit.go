package api

import (
	"net/http"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/internal/audit"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// blocked refuses who has failed too often from one address, before anything is tried.
func (v *V1) blocked(r *http.Request) *Refusal {
	if v.opts.SignIns == nil {
		return nil
	}
	wait := v.opts.SignIns.Blocked(r.RemoteAddr)
	if wait <= 0 {
		return nil
	}
	refused := Refuse(http.StatusTooManyRequests, CodeRateLimited, "too many sign-ins from this address have failed")
	refused.RetryAfter = wait
	return refused
}

// failed notes that a sign-in was refused for what was shown: one that could not be
// decided, or came too late, is nobody's guess.
func (v *V1) failed(r *http.Request, refused *Refusal) {
	if v.opts.SignIns != nil && refused.Status == http.StatusUnauthorized && refused.Code != wire.CodeTokenExpired {
		v.opts.SignIns.Failed(r.RemoteAddr)
	}
}

// guessed notes a key or token that is none. Those cannot be guessed, so a good one is let
// in whatever else came from its address; past the limit a bad one is told to wait.
func (v *V1) guessed(r *http.Request, refused *Refusal) *Refusal {
	if blocked := v.blocked(r); blocked != nil && refused.Status == http.StatusUnauthorized {
		return blocked
	}
	v.failed(r, refused)
	return refused
}

// noteRefusal tells the audit log of a request from an address that was refused for who
// makes it. That of a sign-in with a password has been told by then.
func (v *V1) noteRefusal(address string, c *Call, refused *Refusal) {
	if c.name() == passwordSignIn {
		return
	}
	switch refused.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		v.opts.Rooms.Audit.Note(audit.Event{Event: "requestRefused", Address: address, Code: refused.Code, What: c.name(), Refusal: true})
	}
}

// passwordSignIn is the call of which noteSignIn tells.
const passwordSignIn = "POST /v1/sessions"

// note tells the audit log what somebody has done: of which app, to which user, and to
// what. The last three may be empty.
func (r Rooms) note(who Identity, event, app, user, what string) {
	e := audit.Event{Event: event, App: app, User: user, Address: who.address, What: what}
	switch {
	case who.Key != nil:
		e.By = "key " + who.Key.ID
	case who.Account.User != "":
		e.By = string(who.Account.User)
	case who.User != "":
		e.By = string(who.User)
	case who.Admin:
		e.By = "operator"
	}
	r.Audit.Note(e)
}

// noteDone is note of what may have failed: then nothing is told.
func (r Rooms) noteDone(err error, who Identity, event, app, user, what string) {
	if err == nil {
		r.note(who, event, app, user, what)
	}
}

// noteSignIn tells the audit log of a sign-in with a password. Who fails is not named: what
// was typed for a name may be a password. It returns what came of it.
func (r Rooms) noteSignIn(who Identity, t accounts.Tokens, err error) (accounts.Tokens, error) {
	if err == nil {
		r.Audit.Note(audit.Event{Event: "accountSignIn", App: t.User.App(), User: string(t.User), Address: who.address})
		return t, nil
	}
	refused, _ := refusalOf(err)
	r.Audit.Note(audit.Event{Event: "accountSignInRefused", App: r.Accounts.App(), Address: who.address, Code: refused.Code, Refusal: true})
	return t, err
}
