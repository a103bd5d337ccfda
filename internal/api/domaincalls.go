package api

import (
	"context"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Domains knows the other domains, and the way there.
type Domains interface {
	Domains(ctx context.Context) (DomainsAnswer, error)
	Trace(ctx context.Context, user wire.UserID) (TraceAnswer, error)
	// Home says whether a user lives here, and otherwise where. It is quick.
	Home(user wire.UserID) (home Home, here bool)
}

// Home is the domain where a user lives.
type Home struct {
	Domain string // empty: in none
	URL    string // where its clients connect
}

// DomainsAnswer is the network as this domain sees it.
type DomainsAnswer struct {
	Domain     string            `json:"domain,omitzero"` // this one; empty if it has no name
	Version    int64             `json:"version"`         // of the description; 0: there is none, or it is from a file
	Source     *DomainSource     `json:"source,omitzero"` // nil: there are no other domains
	Neighbours []DomainNeighbour `json:"neighbours"`
	Domains    []OtherDomain     `json:"domains"`
	Links      []DomainLink      `json:"links"` // all of the network, as described
}

// DomainSource says where the description comes from, and how that is.
type DomainSource struct {
	From      string `json:"from"`
	Following bool   `json:"following"`           // it is told of changes
	Stored    bool   `json:"stored"`              // it is the last good copy, not confirmed since the start
	Since     Time   `json:"since,omitzero"`      // in effect
	Confirmed Time   `json:"confirmed,omitzero"`  // as current
	Trouble   string `json:"trouble,omitzero"`    // as a sentence
	Kind      string `json:"kind,omitzero"`       // of the trouble
	Troubled  Time   `json:"troubledAt,omitzero"` // since when
}

// DomainNeighbour is a domain to which there is a link.
type DomainNeighbour struct {
	Domain string `json:"domain"`
	Cost   int    `json:"cost"`
	// Receiving is the connection that this domain has made: it brings what the
	// neighbour has for it. Sending is the one that the neighbour has made.
	Receiving LinkState     `json:"receiving"`
	Sending   LinkState     `json:"sending"`
	RoundTrip float64       `json:"roundTripMs,omitzero"`
	Waiting   mailboxAnswer `json:"waiting"`
}

// LinkState is how one direction of a link is.
type LinkState struct {
	State string `json:"state"` // up, down or waiting
	Since Time   `json:"since,omitzero"`
	Why   string `json:"why,omitzero"` // it is not up
	URL   string `json:"url,omitzero"`
	Node  string `json:"node,omitzero"` // which has it; empty: this one, or there is one only
}

// What LinkState.State says.
const (
	LinkUp      = "up"
	LinkDown    = "down"
	LinkWaiting = "waiting" // for a newer description of the network
)

// DomainLink is a link between two domains. How it is only those two know.
type DomainLink struct {
	N1   string `json:"n1"`
	N2   string `json:"n2"`
	Cost int    `json:"cost"`
}

// OtherDomain is a domain and the way to it.
type OtherDomain struct {
	Domain string   `json:"domain"`
	URLs   []string `json:"urls"`
	Next   string   `json:"next"`
	Path   []string `json:"path"`
	Cost   int      `json:"cost"`
}

// TraceAnswer is the path that a message to a user would take.
type TraceAnswer struct {
	User    wire.UserID    `json:"userId"`
	Domain  string         `json:"domain,omitzero"` // where the user lives; empty: nobody knows, or here and that has no name
	Local   bool           `json:"local"`
	Version int64          `json:"version"`
	Path    []string       `json:"path"` // with both ends; empty: there is no way
	Next    string         `json:"next,omitzero"`
	Cost    int            `json:"cost"`
	Sending *LinkState     `json:"sending,omitzero"` // to the next domain
	Waiting *mailboxAnswer `json:"waiting,omitzero"` // for it
}

// SetWaiting notes what waits for the next domain.
func (a *TraceAnswer) SetWaiting(n *DomainNeighbour) {
	a.Sending, a.Waiting = &n.Sending, &n.Waiting
}

// SetWaiting notes what waits for the neighbour.
func (n *DomainNeighbour) SetWaiting(messages int, bytes int64, oldest Time) {
	n.Waiting = mailboxAnswer{messages, bytes, oldest}
}

func (r Rooms) domainCalls() []Call {
	return []Call{
		{Method: "GET", Path: "/v1/domains", Scope: keys.StatsRead, Handler: Handle(r.getDomains)},
		{Method: "GET", Path: "/v1/domains/trace", Scope: keys.StatsRead, Handler: Handle(r.trace)},
	}
}

type getDomainsRequest struct{}

// forAdmin refuses a key of one app: the network is everybody's.
func forAdmin(who Identity) error {
	if !who.Admin {
		return Forbidden("the network is shown to admin keys only, this key is of app %s", who.App)
	}
	return nil
}

func (r Rooms) getDomains(ctx context.Context, who Identity, _ getDomainsRequest) (DomainsAnswer, error) {
	if err := forAdmin(who); err != nil {
		return DomainsAnswer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Messages().Wait)
	defer cancel()
	return r.Domains.Domains(ctx)
}

type traceRequest struct {
	User string `query:"user"`
}

func (r Rooms) trace(ctx context.Context, who Identity, q traceRequest) (TraceAnswer, error) {
	if err := forAdmin(who); err != nil {
		return TraceAnswer{}, err
	}
	if q.User == "" {
		return TraceAnswer{}, Invalid("user", "is needed: the user to whom a message would go")
	}
	user, err := wire.ParseUserID(q.User)
	if err != nil {
		return TraceAnswer{}, Invalid("user", "is no user ID: %s", err)
	}
	if refused := who.checkApp("user", user.App()); refused != nil {
		return TraceAnswer{}, refused
	}
	ctx, cancel := context.WithTimeout(ctx, r.Messages().Wait)
	defer cancel()
	return r.Domains.Trace(ctx, user)
}
