package api

import (
	"context"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
)

func (r Rooms) whoamiCalls() []Call {
	return []Call{
		{Method: "GET", Path: "/v1/whoami", Auth: ByAnyKey, Here: true, Handler: Handle(r.whoami)},
	}
}

// whoamiAnswer is the key that the request was made with; without ID and times
// for the operator at the control socket, who has none.
type whoamiAnswer struct {
	ID        string       `json:"id,omitzero"`
	Name      string       `json:"name,omitzero"`
	App       string       `json:"app,omitzero"`
	Admin     bool         `json:"admin"`
	Scopes    []keys.Scope `json:"scopes"`
	CreatedAt Time         `json:"createdAt,omitzero"`
	ExpiresAt Time         `json:"expiresAt,omitzero"`
	Passing   bool         `json:"untilRestart,omitzero"`
	Apps      []string     `json:"apps"` // those that it is good for
}

type whoamiRequest struct{}

// whoami tells who asks what it may do, so that a program that is given a key
// need not find out by trying.
func (r Rooms) whoami(_ context.Context, who Identity, _ whoamiRequest) (whoamiAnswer, error) {
	a := whoamiAnswer{App: who.App, Admin: who.Admin, Scopes: keys.Scopes(), Apps: []string{who.App}}
	if who.Admin {
		a.Apps = r.Apps.Names()
	}
	if k := who.Key; k != nil {
		a.ID, a.Name, a.Scopes, a.CreatedAt, a.ExpiresAt, a.Passing = k.ID, k.Name, k.Scopes, Time(k.Created), Time(k.Expires), k.Passing
	}
	return a, nil
}
