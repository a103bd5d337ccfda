package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	nodes "github.com/seed-3d8c1042/switchboard/internal/members"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Cluster knows the nodes: *members.Room.
type Cluster interface {
	Self() string // ID of this node
	List() []nodes.Member
	// Watch calls f with the members before it returns, and then when they change.
	Watch(f func([]nodes.Member)) (stop func())
}

func (r Rooms) clusterCalls() []Call {
	return []Call{
		{Method: "GET", Path: "/v1/cluster", Scope: keys.StatsRead, Here: true, Handler: Handle(r.getCluster)},
		{Method: "GET", Path: "/v1/cluster/stream", Scope: keys.StatsRead, Stream: true, Here: true, Handler: Serve(r.watchCluster)},
	}
}

// clusterAnswer is the cluster as the interface shows it.
type clusterAnswer struct {
	Members []memberAnswer `json:"members"`
}

// memberAnswer is one node.
type memberAnswer struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Address  string       `json:"address"`
	Status   nodes.Status `json:"status"`
	Roles    []string     `json:"roles"`
	Version  string       `json:"version"`
	Sessions int          `json:"sessions"`
	Load     float64      `json:"load"`
	Since    Time         `json:"since"`
	Reason   string       `json:"reason,omitzero"`
	Self     bool         `json:"self,omitzero"`
}

// showCluster returns the list of nodes, in which this one is marked.
func showCluster(self string, list []nodes.Member) clusterAnswer {
	a := clusterAnswer{Members: make([]memberAnswer, len(list))}
	for i, m := range list {
		a.Members[i] = memberAnswer{
			ID: m.ID, Name: m.Name, Address: m.Address, Status: m.Status, Roles: m.Roles, Version: m.Version,
			Sessions: m.Sessions, Load: m.Load, Since: Time(m.Since), Reason: m.Reason, Self: m.ID == self,
		}
	}
	return a
}

type getClusterRequest struct{}

func (r Rooms) getCluster(context.Context, Identity, getClusterRequest) (clusterAnswer, error) {
	return showCluster(r.Cluster.Self(), r.Cluster.List()), nil
}

// clusterPage answers /cluster, for whoever may ask without a key.
func clusterPage(c Cluster) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(clusterJSON(c.Self(), c.List()), '\n')) // whoever asked may have gone
	})
}

func clusterJSON(self string, list []nodes.Member) []byte {
	body, err := json.Marshal(showCluster(self, list), jsonOptions())
	if err != nil {
		panic(fmt.Sprintf("cluster: %v", err)) // our own values marshal
	}
	return body
}

type watchClusterRequest struct{}

// clusterSilence is how long the stream may be silent before a comment shows that
// it lives.
const clusterSilence = 15 * time.Second

// watchCluster streams the list of nodes whenever it changes, until the client
// leaves, its key is not good any more, or the node stops. The samples of the
// stats, one a second, are the clock by which keys are looked at.
func (r Rooms) watchCluster(w http.ResponseWriter, q *http.Request, who Identity, _ watchClusterRequest) error {
	leave, ok := r.Stats.Watch()
	if !ok {
		refused := Refuse(http.StatusServiceUnavailable, wire.CodeBusy, "as many watch the stats or the cluster as limits.statsStreams allows")
		refused.RetryAfter = soon
		return refused
	}
	defer leave()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // some proxies would collect events otherwise
	w.WriteHeader(http.StatusOK)
	sink := http.NewResponseController(w)
	_ = sink.SetReadDeadline(time.Time{}) // what has no deadlines, as in tests, does without: here and below
	changed := make(chan []nodes.Member, 1)
	stop := r.Cluster.Watch(func(list []nodes.Member) { // only the last one matters
		select {
		case <-changed:
		default:
		}
		changed <- list
	})
	defer stop()
	latest := r.Stats.Latest()
	spoke := latest.Uptime
	for {
		samples, more := r.Stats.After(latest.Number, 1)
		if len(samples) > 0 {
			latest = samples[0]
		}
		if !r.stillGood(who, latest.At) || more == nil {
			return nil
		}
		text := ""
		select {
		case <-q.Context().Done():
			return nil
		case list := <-changed:
			text = fmt.Sprintf("event: cluster\ndata: %s\n\n", clusterJSON(r.Cluster.Self(), list))
		case <-more:
			if latest.Uptime-spoke >= clusterSilence {
				text = ":\n\n"
			}
		}
		if text == "" {
			continue
		}
		spoke = latest.Uptime
		_ = sink.SetWriteDeadline(time.Now().Add(statsWriteTime))
		if _, err := io.WriteString(w, text); err != nil {
			return nil // it is gone
		}
		if err := sink.Flush(); err != nil {
			return nil
		}
	}
}
