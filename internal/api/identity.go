package api

import (
	"net/http"
	"unicode/utf8"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Identity is who makes a request of /v1. It is not changed once made.
type Identity struct {
	// Key is what the request was made with; nil for the operator at the control
	// socket, who needs none.
	Key *keys.Key
	// App is the app that the key is of; empty with Admin.
	App string
	// Admin says that it is of all apps and has all scopes.
	Admin bool
	// Account is whose access token it was made with, of a call that is ByAccount.
	Account accounts.Holder
	// User is who makes it, of a call that is ByUser; empty where an API key does.
	User wire.UserID

	address string                              // where it came from; empty for the operator
	known   func(app string) bool               // whether an app is in the settings
	home    func(user wire.UserID) (Home, bool) // see Domains; nil: everybody lives here
}

// May says whether it has a scope.
func (who Identity) May(s keys.Scope) bool {
	return who.Admin || who.Key != nil && who.Key.May(s)
}

// means is what says who it is.
func (who Identity) means() string {
	switch {
	case who.Account.User != "":
		return "the token"
	case who.User != "":
		return "the user"
	}
	return "the key"
}

// checkApp refuses what is about another app, or about one that is not
// configured. field is what names it in the request. Whoever may not ask about
// an app does not learn whether there is one.
func (who Identity) checkApp(field, app string) *Refusal {
	switch {
	case !who.Admin && app != who.App:
		return Forbidden("%s is of app %s, this is about app %s", who.means(), who.App, clip(app))
	case who.known != nil && !who.known(app):
		refused := Refuse(http.StatusNotFound, wire.CodeUnknownApp, "no app %q is configured here", clip(app))
		refused.Field = field
		return refused
	}
	return nil
}

// checkHome refuses what is about a user who lives in another domain: whether he is
// connected, and what waits for him, is known there alone. field names him.
func (who Identity) checkHome(field string, user wire.UserID) *Refusal {
	if who.home == nil {
		return nil
	}
	home, here := who.home(user)
	if here {
		return nil
	}
	refused := Refuse(http.StatusMisdirectedRequest, wire.CodeWrongDomain, "%s lives in no domain: the number is in none of its app's ranges", user)
	if home.Domain != "" {
		refused.Detail = string(user) + " lives in " + home.Domain + ": ask there"
		refused.More = map[string]any{"domain": home.Domain, "home": home.URL}
	}
	refused.Field = field
	return refused
}

// space is the space of names in which its Idempotency-Keys for a call are: the
// app, or what no app can be called. A secret is given again to nobody but the key
// that got it: another may have less, and could not have asked for it.
func (who Identity) space(c *Call) string {
	space := who.App
	switch {
	case who.Account.User != "":
		return "@" + string(who.Account.User)
	case who.Key == nil:
		return "!" // the operator
	case who.Admin:
		space = "*"
	}
	if c.Secret {
		space += "\x00" + who.Key.ID
	}
	return space
}

// clip shortens what a stranger wrote, for a sentence, between two characters.
func clip(s string) string {
	const longest = 80
	if len(s) <= longest {
		return s
	}
	end := longest
	for end > longest-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
