package apps_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// own is an app's own authority.
type own func(a wire.Auth) (apps.Basis, error)

func (o own) Check(_ context.Context, a wire.Auth) (apps.Basis, error) { return o(a) }

// firm is a ground whose hold fails with an error, if there is one.
type firm struct{ err error }

func (f firm) Hold(context.Context, func()) (func(), error) { return func() {}, f.err }

func TestAnAppMayBringItsOwnAuthority(t *testing.T) {
	until := time.Date(2026, 11, 20, 13, 0, 0, 0, time.UTC)
	app := open()
	app.Authority = own(func(a wire.Auth) (apps.Basis, error) {
		switch a.Token {
		case "good":
			return apps.Basis{Expires: until}, nil
		case "held":
			return apps.Basis{Ground: firm{}}, nil
		case "gone":
			return apps.Basis{Ground: firm{errors.New("boom")}}, nil
		case "revoked":
			return apps.Basis{Ground: firm{apps.Refuse(wire.CodeTokenExpired, "The session of this token has ended.", nil)}}, nil
		case "bad":
			return apps.Basis{}, apps.Refuse(wire.CodeBadToken, "The token is not one of this server.", nil)
		}
		return apps.Basis{}, errors.New("boom")
	})
	r := start(t, apps.Options{Apps: []apps.App{app}})
	if g, err := r.Authenticate(t.Context(), auth(ann, "good")); err != nil || !g.Expires.Equal(until) || g.Ground != nil || g.TellMaster != app.Master {
		t.Errorf("got %+v, %v", g, err)
	}
	for token, want := range map[string]string{"bad": wire.CodeBadToken, "": wire.CodeHookFailed} {
		_, err := r.Authenticate(t.Context(), auth(ann, token))
		wantCode(t, err, want)
	}
	for token, want := range map[string]string{"held": "", "gone": wire.CodeHookFailed, "revoked": wire.CodeTokenExpired} {
		g, err := r.Authenticate(t.Context(), auth(ann, token))
		if err != nil || g.Ground == nil {
			t.Fatalf("%s: got %+v, %v", token, g, err)
		}
		if _, err = g.Ground.Hold(t.Context(), func() {}); want != "" {
			wantCode(t, err, want)
		} else if err != nil {
			t.Errorf("%s: %v", token, err)
		}
	}
	if _, err := r.Authenticate(t.Context(), wire.Auth{AppID: "wrong", User: ann, Token: "good"}); code(t, err) != wire.CodeWrongAppID {
		t.Errorf("got %v", err)
	}
	app.AuthURL = "http://127.0.0.1:1/"
	if err := apps.Check([]apps.App{app}); err == nil {
		t.Error("two authorities are taken")
	}
}
