package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/members"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// copiesFresh is how old what is shown of copies may be; while nobody asks, nobody looks.
	copiesFresh = time.Second
	// copiesWait is how long whoever asks waits for a look where there is an earlier one;
	// copiesOld is how long that is shown when the next fails.
	copiesWait, copiesOld = time.Second, 15 * time.Second
	// copiesTime bounds a look: one goes on for seconds when a stream has no leader.
	copiesTime = 8 * time.Second
	// goneEvery is how often the node that leads looks who is gone; after goneAfter the log
	// says so, and again after goneAgain.
	goneEvery, goneAfter, goneAgain = 30 * time.Second, 3 * time.Minute, 15 * time.Minute
	// removeTime bounds a removal, which answers within the time of a request.
	removeTime = 25 * time.Second
	// namedAs begins the keys under which the table of shards has the names of
	// processors: the engine knows them by hashes.
	namedAs = "server-"
)

// copies is what this node knows of where what is stored is.
type copies struct {
	wanted chan struct{} // rung when somebody asks

	gone map[string]gone // by name; tendCopies' own

	mu   sync.Mutex // guards what follows
	last *api.Copies
	at   time.Time
	next chan struct{} // closed when there is another look
}

// gone is since when a processor is seen not to be there, and when the log said so.
type gone struct{ since, said time.Time }

// openCopies prepares to know where copies are, and makes this node's name known. names is
// the table of shards.
func (n *node) openCopies(ctx context.Context, names *bus.Table) error {
	s := n.opts.Settings
	if !s.Clustered() {
		return nil // the NATS that there is has its own tools
	}
	n.copies = &copies{wanted: make(chan struct{}, 1), next: make(chan struct{}), gone: make(map[string]gone)}
	n.names = names
	if !s.Has(config.RoleProcessor) {
		return nil
	}
	n.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "switchboard_store_streams_short",
		Help: "Streams that this node leads with fewer complete copies than they should have.",
	}, func() float64 { return float64(n.bus.Short()) }))
	key := namedAs + bus.ServerID(s.NodeName())
	if have, _, ok := names.Get(key); ok && string(have) == s.NodeName() {
		return nil
	}
	if err := names.Put(ctx, key, []byte(s.NodeName())); err != nil {
		return fmt.Errorf("make this node's name known: %w", err)
	}
	return nil
}

// tendCopies looks where copies are when somebody asks, and, where this node leads the
// cluster, now and then who is gone.
func (n *node) tendCopies(ctx context.Context) error {
	if n.copies == nil {
		return nil
	}
	tick := time.NewTicker(goneEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.copies.wanted:
			n.lookForCopies(ctx)
		case <-tick.C:
			if !n.bus.LeadsCluster() {
				clear(n.copies.gone)
			} else if c := n.lookForCopies(ctx); c != nil {
				n.warnOfGone(time.Now(), c.Gone)
			}
		}
	}
}

// lookForCopies looks once; nil when it cannot be found out.
func (n *node) lookForCopies(ctx context.Context) *api.Copies {
	ctx, cancel := context.WithTimeout(ctx, copiesTime)
	defer cancel()
	p, err := n.bus.Placement(ctx)
	if err != nil || p == nil {
		return nil
	}
	c := n.shown(p, time.Now())
	n.copies.mu.Lock()
	defer n.copies.mu.Unlock()
	n.copies.last, n.copies.at = c, time.Now()
	close(n.copies.next)
	n.copies.next = make(chan struct{})
	return c
}

// shown is a placement, as it is now, by the names of nodes.
func (n *node) shown(p *bus.Placement, now time.Time) *api.Copies {
	c := &api.Copies{Streams: p.Streams, Short: p.Short, Due: p.Due, Nodes: make(map[string]api.Share)}
	for _, s := range p.Servers {
		if s.Name == "" {
			name, _, _ := n.names.Get(namedAs + s.ID)
			s.Name = string(name)
		}
		if s.Name == "" {
			s.Name = s.ID
		}
		share := api.Share{Streams: s.Streams, Behind: s.Behind}
		c.Nodes[s.Name] = share
		if s.Offline && !n.alive(s.Name) {
			g := api.Gone{Name: s.Name, Share: share}
			if s.Away > 0 {
				g.Since = api.Time(now.Add(-s.Away))
			}
			c.Gone = append(c.Gone, g)
		}
	}
	return c
}

// alive says whether there is a node of that name, as far as the members know.
func (n *node) alive(name string) bool {
	return slices.ContainsFunc(n.members.List(), func(m members.Member) bool { return m.Name == name && m.Status != members.Unreachable })
}

// warnOfGone has the log say who has been gone for so long that somebody should see to it.
func (n *node) warnOfGone(now time.Time, list []api.Gone) {
	known := n.copies.gone
	n.copies.gone = make(map[string]gone)
	for _, g := range list {
		seen := known[g.Name]
		if seen.since.IsZero() {
			seen.since = now
		}
		if now.Sub(seen.since) >= goneAfter && (seen.said.IsZero() || now.Sub(seen.said) >= goneAgain) {
			seen.said = now
			n.log.Warn("a node is unreachable, and counts for a majority: start it again, or, if it is gone for good, take it out with: switchboard cluster remove NODE",
				"node", g.Name, "for", now.Sub(seen.since).Round(time.Second), "copies", g.Streams)
		}
		n.copies.gone[g.Name] = seen
	}
}

// clusterView is what the doors show of the cluster.
type clusterView struct {
	*members.Room
	n *node
}

func (n *node) clusterView() clusterView { return clusterView{n.members, n} }

// Copies implements api.Cluster. It waits for cluster.askTimeout at most, and for nobody
// where this node has lost touch: then nobody is there who could say.
func (v clusterView) Copies(ctx context.Context) *api.Copies {
	c := v.n.copies
	if c == nil {
		return nil
	}
	c.mu.Lock()
	last, at, next := c.last, c.at, c.next
	c.mu.Unlock()
	age, most := time.Since(at), v.n.opts.Settings.Cluster.AskTimeout
	if age < copiesFresh {
		return last
	}
	select {
	case c.wanted <- struct{}{}:
	default:
	}
	if age < copiesOld {
		most = min(most, copiesWait)
	}
	if !v.n.members.Valid() {
		most = 0
	}
	wait := time.NewTimer(most)
	defer wait.Stop()
	select {
	case <-next:
	case <-wait.C:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) > copiesOld {
		return nil
	}
	return c.last
}

// Remove implements api.Cluster.
func (v clusterView) Remove(ctx context.Context, name string) error {
	n := v.n
	refuse := func(format string, args ...any) error {
		return api.Refuse(http.StatusConflict, api.CodeNodeNeeded, format, args...)
	}
	var away bool
	for _, m := range n.members.Judged() {
		if m.Name == name && m.Status != members.Unreachable {
			return refuse("%s is alive (%s): only a node that is gone for good is taken out, one that is to go is stopped first, and one that died counts as alive until cluster.lease is over", name, m.Status)
		}
		away = away || m.Name == name
	}
	if n.opts.Settings.NATS.URL != "" {
		return api.Refuse(http.StatusBadRequest, api.CodeInvalidRequest, "the nodes meet on a NATS of its own (nats.url), whose servers keep what is stored: they are taken out with that NATS's own tools, such as nats server cluster peer-remove; of Switchboard's nodes none has to be")
	}
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	err := bus.ErrNoServer
	if n.copies != nil {
		err = n.bus.RemoveServer(ctx, name)
	}
	switch {
	case errors.Is(err, bus.ErrNoServer) && away: // it stored nothing
	case errors.Is(err, bus.ErrNoServer):
		return api.NotFound("there is no processor %q: it never was one, or has been taken out; there are %s", name, v.processors(ctx))
	case errors.Is(err, bus.ErrThere):
		return refuse("the others heard of %s a moment ago: if it is really gone, say so again in some seconds", name)
	case errors.Is(err, bus.ErrLoses):
		return refuse("%s may have what no other node has; start it, or one of the others that are away, with its data folder (%s)", name, err)
	case err != nil:
		return api.Refuse(http.StatusServiceUnavailable, wire.CodeStoreDown, "%s cannot be taken out now: %s", name, err)
	}
	n.log.Info("a node was taken out of the cluster; others get copies of what it had", "node", name)
	n.members.Forget(name)
	v.forget(ctx, name)
	return nil
}

// forget forgets a name, and what was known of copies before.
func (v clusterView) forget(ctx context.Context, name string) {
	if v.n.copies == nil {
		return
	}
	v.n.copies.mu.Lock()
	v.n.copies.at = time.Time{}
	v.n.copies.mu.Unlock()
	for _, id := range []string{name, bus.ServerID(name)} {
		if _, _, known := v.n.names.Get(namedAs + id); !known {
			continue
		}
		if err := v.n.names.Delete(ctx, namedAs+id); err != nil {
			v.n.log.Debug("the name of a node that was taken out could not be removed", "node", name, "err", err)
		}
	}
}

// processors lists the names of those that count, for a sentence.
func (v clusterView) processors(ctx context.Context) string {
	c := v.Copies(ctx)
	if c == nil || len(c.Nodes) == 0 {
		return "none here"
	}
	var names []string
	for name := range c.Nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
