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
	// Copies says where what is stored is, as of a moment ago; nil when that is not
	// known, or is not these nodes' concern. It waits for nobody for long.
	Copies(ctx context.Context) *Copies
	// Remove takes a node that is gone for good out; a *Refusal says why not. Its copies
	// are made anew on others after that, as Copies shows.
	Remove(ctx context.Context, name string) error
}

// Copies say where what is stored is. It lies in streams, each of which some nodes have a
// copy of.
type Copies struct {
	Streams int              // how many there are
	Short   []string         // those with fewer complete copies than they should have
	Due     []string         // those of them that the nodes that are there could have more of, and will
	Nodes   map[string]Share // by name
	Gone    []Gone           // that are not there, and count as processors until they are removed
}

// Share is what one node has copies of.
type Share struct {
	Streams int `json:"streams"`
	Behind  int `json:"behind"`
}

// Gone is a node that is not there, and counts.
type Gone struct {
	Name string `json:"name"` // or the engine's ID of it, where nobody knows its name
	Share
	Since Time `json:"since,omitzero"` // it has not been heard of; zero: not known
}

func (r Rooms) clusterCalls() []Call {
	return []Call{
		{Method: "GET", Path: "/v1/cluster", Scope: keys.StatsRead, Here: true, Handler: Handle(r.getCluster)},
		{Method: "GET", Path: "/v1/cluster/stream", Scope: keys.StatsRead, Stream: true, Here: true, Handler: Serve(r.watchCluster)},
		{Method: "DELETE", Path: "/v1/cluster/nodes/{name}", Scope: keys.KeysManage, Once: true, Handler: Handle(r.removeNode)},
	}
}

// clusterAnswer is the cluster as the interface shows it.
type clusterAnswer struct {
	Members []memberAnswer `json:"members"`
	Store   *storeAnswer   `json:"store,omitzero"`
}

// storeAnswer is where what is stored is.
type storeAnswer struct {
	Streams int      `json:"streams"`
	Short   []string `json:"short"`
	Due     []string `json:"due"`
	Gone    []Gone   `json:"gone"`
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
	Copies   *Share       `json:"copies,omitzero"`
}

// showCluster returns the list of nodes, in which this one is marked.
func showCluster(self string, list []nodes.Member, copies *Copies) clusterAnswer {
	a := clusterAnswer{Members: make([]memberAnswer, len(list))}
	for i, m := range list {
		a.Members[i] = memberAnswer{
			ID: m.ID, Name: m.Name, Address: m.Address, Status: m.Status, Roles: m.Roles, Version: m.Version,
			Sessions: m.Sessions, Load: m.Load, Since: Time(m.Since), Reason: m.Reason, Self: m.ID == self,
		}
		if copies == nil {
			continue
		}
		if share, has := copies.Nodes[m.Name]; has {
			a.Members[i].Copies = &share
		}
	}
	if copies != nil {
		a.Store = &storeAnswer{Streams: copies.Streams, Short: some(copies.Short), Due: some(copies.Due), Gone: some(copies.Gone)}
	}
	return a
}

// some returns a list that is shown as one when it is empty, too.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

type getClusterRequest struct{}

func (r Rooms) getCluster(ctx context.Context, _ Identity, _ getClusterRequest) (clusterAnswer, error) {
	return showCluster(r.Cluster.Self(), r.Cluster.List(), r.Cluster.Copies(ctx)), nil
}

type removeNodeRequest struct {
	Name string `path:"name"`
}

// removedNodeAnswer is what is to be done when a node is out.
type removedNodeAnswer struct {
	Removed string `json:"removed"`
}

// removeNode takes a node that is gone for good out of the cluster.
func (r Rooms) removeNode(ctx context.Context, who Identity, q removeNodeRequest) (removedNodeAnswer, error) {
	if !who.Admin {
		return removedNodeAnswer{}, Forbidden("only an admin key takes a node out of the cluster")
	}
	if err := r.Cluster.Remove(ctx, q.Name); err != nil {
		return removedNodeAnswer{}, err
	}
	r.note(who, "nodeRemoved", "", "", q.Name)
	return removedNodeAnswer{Removed: q.Name}, nil
}

// clusterPage answers /cluster, for whoever may ask without a key.
func clusterPage(c Cluster) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(clusterJSON(q.Context(), c, c.List()), '\n')) // whoever asked may have gone
	})
}

func clusterJSON(ctx context.Context, c Cluster, list []nodes.Member) []byte {
	body, err := json.Marshal(showCluster(c.Self(), list, c.Copies(ctx)), jsonOptions())
	if err != nil {
		panic(fmt.Sprintf("cluster: %v", err)) // our own values marshal
	}
	return body
}

type watchClusterRequest struct{}

// clusterSilence is how long the stream may be silent before a comment shows that
// it lives; clusterPrompt is how long an event waits to know where copies are.
const clusterSilence, clusterPrompt = 15 * time.Second, time.Second

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
			ctx, cancel := context.WithTimeout(q.Context(), clusterPrompt)
			text = fmt.Sprintf("event: cluster\ndata: %s\n\n", clusterJSON(ctx, r.Cluster, list))
			cancel()
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
