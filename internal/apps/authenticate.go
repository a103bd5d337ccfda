package apps

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Grant is what a user who may sign in gets.
type Grant struct {
	User       wire.UserID
	Expires    time.Time   // when the session ends unless renewed; zero: never
	Master     bool        // the user is its app's master user
	TellMaster wire.UserID // who is told of this session; empty: nobody
	Domain     string      // of a link: the neighbour that signs in
	Ground     Ground      // what it rests on, whose errors are a *[Refusal]; nil: nothing but Expires ends it
}

// authority is who decides for an app whether a user is who it says.
type authority interface {
	// check returns until when, zero for ever, or why not.
	check(ctx context.Context, a wire.Auth) (time.Time, *Refusal)
}

// foreign is the authority of an app that brings its own. What it says beyond until
// when goes into basis.
type foreign struct{ Authority }

func (f foreign) check(ctx context.Context, a wire.Auth) (time.Time, *Refusal) {
	b, refusal := f.basis(ctx, a)
	return b.Expires, refusal
}

// basis asks the app's authority.
func (f foreign) basis(ctx context.Context, a wire.Auth) (Basis, *Refusal) {
	b, err := f.Check(ctx, a)
	if err != nil {
		return Basis{}, asRefusal(err)
	}
	if b.Ground != nil {
		b.Ground = ground{b.Ground}
	}
	return b, nil
}

// ground is a Ground whose errors are refusals.
type ground struct{ Ground }

// Hold implements Ground.
func (g ground) Hold(ctx context.Context, end func()) (func(), error) {
	release, err := g.Ground.Hold(ctx, end)
	if err != nil {
		return nil, asRefusal(err)
	}
	return release, nil
}

// asRefusal returns an error of an app's own authority as a refusal.
func asRefusal(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return refuse(wire.CodeHookFailed, reasonUndecided, err)
}

// snapshot is one set of configured apps. It is never changed.
type snapshot struct {
	apps map[string]*entry // by name
}

// entry is one configured app, made ready.
type entry struct {
	app       App
	reach     map[string]struct{} // the apps in AllowApps
	authority authority           // nil: nobody is asked
}

// newEntry returns an entry that shares nothing with app.
func newEntry(app App) *entry {
	app.AllowApps = slices.Clone(app.AllowApps)
	if app.JWT != nil {
		j := *app.JWT
		app.JWT = &j
	}
	e := &entry{app: app, reach: make(map[string]struct{}, len(app.AllowApps))}
	for _, name := range app.AllowApps {
		e.reach[name] = struct{}{}
	}
	return e
}

// Authenticate says whether a user may sign in now; to renew a session is the
// same question. The error is always a *[Refusal]. It may take as long as ctx
// allows when the app's own server is asked; when ctx ends, so does the attempt.
func (r *Registry) Authenticate(ctx context.Context, a wire.Auth) (Grant, error) {
	g, refusal := r.decide(ctx, a)
	app := a.User.App()
	if !r.Known(app) {
		app = "" // strangers do not choose the labels of our metrics
	}
	r.metrics.signIn(app, refusal)
	if refusal != nil {
		return Grant{}, refusal
	}
	return g, nil
}

func (r *Registry) decide(ctx context.Context, a wire.Auth) (Grant, *Refusal) {
	e, refusal := r.admit(a)
	if refusal != nil {
		return Grant{}, refusal
	}
	var basis Basis
	if e.authority != nil {
		if own, ok := e.authority.(foreign); ok {
			basis, refusal = own.basis(ctx, a)
		} else {
			basis.Expires, refusal = e.authority.check(ctx, a)
		}
		if refusal != nil {
			return Grant{}, refusal
		}
		// The apps may have been replaced while the authority was asked.
		if e, refusal = r.admit(a); refusal != nil {
			return Grant{}, refusal
		}
	}
	g := Grant{User: a.User, Expires: basis.Expires, Ground: basis.Ground, Master: e.app.Master == a.User}
	if !g.Master {
		g.TellMaster = e.app.Master
	}
	return g, nil
}

// admit makes all checks but the authority's.
func (r *Registry) admit(a wire.Auth) (*entry, *Refusal) {
	name := a.User.App()
	e := r.current.Load().apps[name]
	if e == nil {
		return nil, refuse(wire.CodeUnknownApp, reasonUnknownApp, nil)
	}
	if e.app.ID != a.AppID {
		return nil, refuse(wire.CodeWrongAppID, reasonWrongAppID, nil)
	}
	if domain, local := r.home(name, a.User.Number()); !local {
		refusal := refuse(wire.CodeWrongDomain, reasonWrongDomain, nil)
		refusal.Home = domain
		return nil, refusal
	}
	return e, nil
}
