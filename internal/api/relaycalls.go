package api

import (
	"context"
	"net/http"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/relay"
)

// Relay knows the network of a relay: *relay.Reader.
type Relay interface {
	Server() string // the network server, as it was set
	// Status says all that this knows; an error says, in words that follow its name, why
	// it could not be asked. It waits for nobody for long.
	Status(ctx context.Context) (relay.Status, error)
}

func (r Rooms) relayCalls() []Call {
	return []Call{{Method: "GET", Path: "/v1/relay", Scope: keys.StatsRead, Here: true, Handler: Handle(r.getRelay)}}
}

type getRelayRequest struct{}

// relayAnswer is the relay as the interface shows it.
type relayAnswer struct {
	Network  string         `json:"network"`
	Version  string         `json:"version"` // empty: a network server of another make
	Started  Time           `json:"started,omitzero"`
	Now      Time           `json:"now,omitzero"`
	Clusters []relayCluster `json:"clusters"`
	Programs []relayProgram `json:"programs"`
}

type relayCluster struct {
	Name    string        `json:"name"`
	Members []relayMember `json:"members"`
}

type relayMember struct {
	ID      string       `json:"id"`
	Address string       `json:"address"`
	Port    int          `json:"port"`
	State   string       `json:"state"`
	Since   Time         `json:"since,omitzero"`
	Seen    Time         `json:"seen,omitzero"`
	Report  *relayReport `json:"report,omitzero"`
}

type relayProgram struct {
	relayReport
	Seen   Time `json:"seen,omitzero"`
	Silent bool `json:"silent"`
}

type relayReport struct {
	Program   string         `json:"program"`
	ID        string         `json:"id"`
	Host      string         `json:"host"`
	Spool     string         `json:"spool"`
	Version   string         `json:"version"`
	Started   Time           `json:"started,omitzero"`
	Files     int64          `json:"files"`
	Bytes     int64          `json:"bytes"`
	FileRate  float64        `json:"filesPerSecond"`
	ByteRate  float64        `json:"bytesPerSecond"`
	Waiting   relayWaiting   `json:"waiting"`
	LeftAlone int64          `json:"leftAlone"`
	Targets   []relayTarget  `json:"targets"`
	Failures  []relayFailure `json:"failures"`
	Full      string         `json:"full,omitzero"`
	FullSince Time           `json:"fullSince,omitzero"`
}

type relayWaiting struct {
	Files  int64 `json:"files"`
	Bytes  int64 `json:"bytes"`
	Oldest int64 `json:"oldestSeconds"`
}

type relayTarget struct {
	Cluster  string       `json:"cluster"`
	ID       string       `json:"id"`
	Address  string       `json:"address"`
	State    string       `json:"state"`
	Reason   string       `json:"reason,omitzero"`
	Waiting  relayWaiting `json:"waiting"`
	Files    int64        `json:"files"`
	Bytes    int64        `json:"bytes"`
	ByteRate float64      `json:"bytesPerSecond"`
}

type relayFailure struct {
	At     Time   `json:"at,omitzero"`
	Name   string `json:"name"`
	Where  string `json:"where"`
	Reason string `json:"reason"`
	Final  bool   `json:"final"`
	Count  int64  `json:"count,omitzero"`
}

// getRelay asks the network server.
func (r Rooms) getRelay(ctx context.Context, _ Identity, _ getRelayRequest) (relayAnswer, error) {
	if r.Relay == nil {
		return relayAnswer{}, Refuse(http.StatusNotFound, CodeRelayOff, "this server knows no relay: the setting relay.network names the network server of one")
	}
	s, err := r.Relay.Status(ctx)
	if err != nil {
		refused := Refuse(http.StatusBadGateway, CodeRelayUnreachable, "the network server %s could not be asked: %s", r.Relay.Server(), err)
		refused.RetryAfter = soon
		return relayAnswer{}, refused
	}
	a := relayAnswer{
		Network: r.Relay.Server(), Version: s.Version, Started: Time(s.Started), Now: Time(s.Now),
		Clusters: make([]relayCluster, len(s.Clusters)), Programs: make([]relayProgram, len(s.Programs)),
	}
	for i, c := range s.Clusters {
		a.Clusters[i] = showRelayCluster(c)
	}
	for i, p := range s.Programs {
		a.Programs[i] = relayProgram{relayReport: showReport(p.Report), Seen: Time(p.Seen), Silent: p.Silent}
	}
	return a, nil
}

func showRelayCluster(c relay.ClusterStatus) relayCluster {
	a := relayCluster{Name: c.Name, Members: make([]relayMember, len(c.Members))}
	for i, m := range c.Members {
		a.Members[i] = relayMember{ID: m.ID, Address: m.Address, Port: m.Port, State: m.State, Since: Time(m.Since), Seen: Time(m.Seen)}
		if m.Report != nil {
			report := showReport(*m.Report)
			a.Members[i].Report = &report
		}
	}
	return a
}

func showReport(r relay.Report) relayReport {
	a := relayReport{
		Program: r.Program, ID: r.ID, Host: r.Host, Spool: r.Spool, Version: r.Version, Started: Time(r.Started), Files: r.Files, Bytes: r.Bytes,
		FileRate: r.FileRate, ByteRate: r.ByteRate, Waiting: relayWaiting(r.Waiting), LeftAlone: r.LeftAlone, Full: r.Full, FullSince: Time(r.FullSince),
		Targets: make([]relayTarget, len(r.Targets)), Failures: make([]relayFailure, len(r.Failures)),
	}
	for i, t := range r.Targets {
		a.Targets[i] = relayTarget{
			Cluster: t.Cluster, ID: t.ID, Address: t.Address, State: t.State, Reason: t.Reason, Waiting: relayWaiting(t.Waiting),
			Files: t.Files, Bytes: t.Bytes, ByteRate: t.ByteRate,
		}
	}
	for i, f := range r.Failures {
		a.Failures[i] = relayFailure{At: Time(f.At), Name: f.Name, Where: f.Where, Reason: f.Reason, Final: f.Final, Count: f.Count}
	}
	return a
}
