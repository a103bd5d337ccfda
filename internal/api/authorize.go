package api

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// authorize finds out who asks, and whether the call is for them.
func (v *V1) authorize(w http.ResponseWriter, r *http.Request, c *Call) (Identity, *Refusal) {
	who, refused := v.identify(w, r)
	if refused != nil {
		if r.ContentLength != 0 {
			endSoon(w)
		}
		return who, refused
	}
	if refused := v.paces.take(w.Header(), who.Key.ID); refused != nil {
		return who, refused
	}
	if refused := v.withoutApp(who); refused != nil {
		return who, refused
	}
	scope := cmp.Or(c.Scope, c.Also)
	if c.Named && who.May(scope.Of(r.PathValue("name"))) {
		return who, nil
	}
	if scope != "" && !who.May(scope) {
		refused := Refuse(http.StatusForbidden, CodeScopeMissing, "the key lacks the scope %s", scope)
		refused.More = map[string]any{"scope": scope}
		return who, refused
	}
	return who, nil
}

// stillAdmitted finds out whether who was authorized still is: a key's scopes never
// change, but it may have been revoked, or its time be over, or its app be gone.
func (v *V1) stillAdmitted(w http.ResponseWriter, r *http.Request, who Identity) *Refusal {
	if who.Account.User != "" && r.ContentLength != 0 {
		_, refused := v.holder(w, r)
		return refused
	}
	if who.Key == nil {
		return nil
	}
	who, refused := v.identify(w, r)
	if refused != nil {
		return refused
	}
	return v.withoutApp(who)
}

// managed says whether a request that a user could make comes from who manages the
// accounts: with an API key, or from the operator with nothing.
func managed(r *http.Request, operator bool) bool {
	presented, given, _ := bearer(r)
	return operator && !given || strings.HasPrefix(presented, keys.Prefix)
}

// anybody is who asks without saying who that is. Where a key would be another thing, what
// was meant as one and is none is refused: whoever mistypes it is not to be taken for
// anybody. A token of a session, good or not, may be there, and counts for nothing.
func (v *V1) anybody(w http.ResponseWriter, r *http.Request, c *Call) (Identity, *Refusal) {
	if refused := v.opts.Rooms.chat(); refused != nil {
		return Identity{}, refused
	}
	if presented, given, ok := bearer(r); given && c.Also != "" {
		if app, _ := accounts.Peek(presented); !ok || app == "" {
			_, refused := v.identify(w, r)
			if r.ContentLength != 0 {
				endSoon(w)
			}
			return Identity{}, refused
		}
	}
	return Identity{address: r.RemoteAddr}, nil
}

// manager finds out who manages the accounts.
func (v *V1) manager(w http.ResponseWriter, r *http.Request, c *Call, operator bool) (Identity, *Refusal) {
	if refused := v.opts.Rooms.chat(); refused != nil {
		return Identity{}, refused
	}
	if operator {
		return Identity{Admin: true}, nil
	}
	who, refused := v.authorize(w, r, c)
	if refused != nil {
		return who, refused
	}
	return who, who.checkApp("", v.opts.Rooms.Accounts.App())
}

// account finds out whose access token a request carries.
func (v *V1) account(w http.ResponseWriter, r *http.Request) (Identity, *Refusal) {
	if refused := v.opts.Rooms.chat(); refused != nil {
		return Identity{}, refused
	}
	who, refused := v.holder(w, r)
	if refused != nil {
		if r.ContentLength != 0 {
			endSoon(w)
		}
		return who, refused
	}
	return who, v.paces.take(w.Header(), string(who.Account.User))
}

// user finds out which user makes a request, or which API key where one may.
func (v *V1) user(w http.ResponseWriter, r *http.Request, c *Call, operator bool) (who Identity, refused *Refusal) {
	query := r.URL.Query()
	presented, given, _ := bearer(r)
	asUser := query.Has("appId") || query.Has("userId")
	switch {
	case keys.Looks(presented) && c.Also == "":
		return who, v.asksWho(w, r, c, "keys are not for this call")
	case keys.Looks(presented) && asUser:
		return who, Invalid("appId", "and userId say which user asks, and the header has an API key: leave one of them out")
	case c.Also != "" && managed(r, operator):
		if operator {
			return Identity{Admin: true}, nil
		}
		return v.authorize(w, r, c)
	case asUser:
		who, refused = v.signedIn(r, query)
	case !given:
		return who, v.asksWho(w, r, c, "this call has to be told who asks")
	case v.opts.Rooms.chat() != nil:
		return who, v.asksWho(w, r, c, "the header alone does not say who asks")
	default:
		if who, refused = v.account(w, r); refused == nil {
			who.User = who.Account.User
		}
		return who, refused
	}
	if refused != nil {
		if refused.Status == http.StatusUnauthorized {
			askBearer(w)
		}
		if r.ContentLength != 0 {
			endSoon(w)
		}
		return who, refused
	}
	return who, v.paces.take(w.Header(), string(who.User))
}

// asksWho refuses a request that does not say which user makes it, and names all ways
// to say so that there are.
func (v *V1) asksWho(w http.ResponseWriter, r *http.Request, c *Call, why string) *Refusal {
	askBearer(w)
	if r.ContentLength != 0 {
		endSoon(w)
	}
	ways := "appId and userId in the URL, with what the user signs in with as Authorization: Bearer <token>"
	if v.opts.Rooms.chat() == nil {
		ways = "the access token of an account as Authorization: Bearer <access token>; or " + ways
	}
	if c.Also != "" {
		ways += "; or an API key with the scope " + string(c.Also) + " as Authorization: Bearer sb_…"
	}
	return Refuse(http.StatusUnauthorized, CodeAuthRequired, "%s: send %s", why, ways)
}

// signedIn signs a user of an app in for one request, as a socket would.
func (v *V1) signedIn(r *http.Request, query url.Values) (Identity, *Refusal) {
	a := wire.Auth{AppID: query.Get("appId"), UserText: query.Get("userId")}
	if len(r.Header.Values("Authorization")) > 0 {
		presented, refused := token(r, "<token>")
		if refused != nil {
			return Identity{}, refused
		}
		a.Token = presented
	}
	user, err := wire.ParseUserID([]byte(a.UserText))
	switch {
	case a.AppID == "":
		return Identity{}, Invalid("appId", "is needed beside userId")
	case err != nil:
		return Identity{}, Invalid("userId", "is no user ID: %s", err)
	case v.opts.Rooms.SignIn == nil:
		return Identity{}, Refuse(http.StatusUnauthorized, wire.CodeRefused, "nobody signs in here")
	}
	a.User = user
	if refused := v.blocked(r); refused != nil {
		return Identity{}, refused
	}
	signed, err := v.opts.Rooms.SignIn(r.Context(), a)
	if err != nil {
		refused, known := refusalOf(err)
		v.failed(r, refused)
		if !known {
			v.opts.Log.Error("a user could not be signed in", "err", err)
		}
		return Identity{}, refused
	}
	return Identity{App: signed.App(), User: signed, address: r.RemoteAddr}, nil
}

// holder reads the access token of a request.
func (v *V1) holder(w http.ResponseWriter, r *http.Request) (Identity, *Refusal) {
	presented, refused := token(r, "<access token>")
	if refused != nil {
		askBearer(w)
		return Identity{}, refused
	}
	h, err := v.opts.Rooms.Accounts.Verify(r.Context(), presented)
	if err != nil {
		refused, known := refusalOf(err)
		refused = v.guessed(r, refused)
		if !known {
			v.opts.Log.Error("an access token could not be checked", "err", err)
		}
		if refused.Status == http.StatusUnauthorized {
			askBearer(w)
		}
		return Identity{}, refused
	}
	return Identity{App: v.opts.Rooms.Accounts.App(), Account: h, address: r.RemoteAddr}, nil
}

// withoutApp refuses a key whose app is gone; nil for any other.
func (v *V1) withoutApp(who Identity) *Refusal {
	if who.App != "" && !v.opts.Rooms.Apps.Known(who.App) {
		return Forbidden("the key is of app %s, which is not in the settings any more", who.App)
	}
	return nil
}

// strangersTime is how long a stranger's body is waited for, which nobody reads.
const strangersTime = time.Second

// endSoon ends the connection behind the answer, where otherwise the server would
// wait for the body's end.
func endSoon(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	// Where it cannot be set the server's own time-outs hold.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(strangersTime))
}

// bearer reads the header Authorization. given says that there is one; ok, that it
// is Bearer, once.
func bearer(r *http.Request) (presented string, given, ok bool) {
	sent := r.Header.Values("Authorization")
	if len(sent) == 0 {
		return "", false, false
	}
	scheme, presented, _ := strings.Cut(sent[0], " ")
	return strings.TrimSpace(presented), true, len(sent) == 1 && strings.EqualFold(scheme, "Bearer")
}

// askBearer says what would be an answer to a 401.
func askBearer(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="switchboard"`)
}

// identify reads the key of a request.
func (v *V1) identify(w http.ResponseWriter, r *http.Request) (Identity, *Refusal) {
	refuse := func(code, detail string) (Identity, *Refusal) {
		askBearer(w)
		return Identity{}, Refuse(http.StatusUnauthorized, code, "%s", detail)
	}
	presented, given, ok := bearer(r)
	switch {
	case !given:
		return refuse(CodeAuthRequired, "this call needs an API key: Authorization: Bearer sb_…")
	case !ok:
		return refuse(CodeKeyInvalid, "the header must be Authorization: Bearer sb_…, once")
	}
	key, err := v.opts.Rooms.Keys.Verify(presented)
	switch {
	case errors.Is(err, keys.ErrExpired):
		return refuse(CodeKeyExpired, "the key has expired")
	case errors.Is(err, keys.ErrMalformed):
		who, refused := refuse(CodeKeyInvalid, "what was sent is no API key: one is sb_, its ID, _ and its secret")
		return who, v.guessed(r, refused)
	case err != nil:
		who, refused := refuse(CodeKeyInvalid, "there is no such key, or it was revoked")
		return who, v.guessed(r, refused)
	}
	return Identity{Key: key, App: key.App, Admin: key.Admin, address: r.RemoteAddr}, nil
}
