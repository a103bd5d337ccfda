package apps

import (
	"context"
	"errors"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Bearer says who shows a token without saying who he is: the user whom the token names
// ("sub") and whom his app's own key, or authority, vouches for. Apps that let anybody in,
// and those whose hook is asked, cannot say that: their tokens are bad ones here. Where the
// user lives makes no difference. The error is always a *[Refusal].
func (r *Registry) Bearer(ctx context.Context, token string) (Grant, error) {
	a := wire.Auth{Token: token}
	var refused *Refusal
	if a.User, refused = named(token); refused != nil {
		return Grant{}, refused
	}
	e := r.current.Load().apps[a.User.App()]
	if e == nil {
		_, refused = badToken(errors.New("it is of no app that is known"))
		return Grant{}, refused
	}
	a.AppID = e.app.ID
	g := Grant{User: a.User}
	switch authority := e.authority.(type) {
	case foreign:
		basis, refused := authority.basis(ctx, a)
		if refused != nil {
			return Grant{}, refused
		}
		g.Expires, g.Ground = basis.Expires, basis.Ground
	case *verifier:
		if g.Expires, refused = authority.check(ctx, a); refused != nil {
			return Grant{}, refused
		}
	default:
		_, refused = badToken(errors.New("its app has no keys"))
		return Grant{}, refused
	}
	return g, nil
}

// named returns the user whom a token names, without asking whether that is so.
func named(token string) (wire.UserID, *Refusal) {
	if len(token) > MaxToken {
		_, refused := badToken(errors.New("it is too long"))
		return "", refused
	}
	var claims jwt.MapClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		_, refused := badToken(err)
		return "", refused
	}
	sub, _ := claims["sub"].(string)
	user, err := wire.ParseUserID(sub)
	if err != nil {
		_, refused := badToken(errors.New("sub is no user ID"))
		return "", refused
	}
	return user, nil
}
