package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/members"
	"github.com/seed-3d8c1042/switchboard/internal/shards"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// speaks is the protocol between nodes: of links, hub and shards together. A
	// version that changes what older nodes cannot pass over raises the maximum
	// first, and the minimum one version later, so that an upgrade goes node by
	// node.
	speaksMin, speaksMax = 1, 1
	// settleTime is how long a node that starts waits for every shard to have a
	// keeper before it lets clients in: with all nodes up it takes a moment. What
	// lasts longer is shown by /readyz.
	settleTime = 30 * time.Second
)

// cluster is what a node has that is one of several.
type cluster struct {
	id      string
	members *members.Room
	links   *bus.Links
	leases  *shards.Leases
	metrics shardMetrics
	// refused is closed when this node must not be a member any more.
	refused chan struct{}
}

// openCluster makes this node known to the tables, and prepares to meet the
// others. joinCluster does the rest, when the rooms are built.
func (n *node) openCluster(ctx context.Context) error {
	id, err := wire.NewID(time.Now(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the node's ID: %w", err)
	}
	c := &cluster{id: id.String()}
	nodes, err := n.bus.Table(ctx, "nodes")
	if err != nil {
		return fmt.Errorf("open the table of nodes: %w", err)
	}
	seats, err := n.bus.Table(ctx, "shards")
	if err != nil {
		return fmt.Errorf("open the table of shards: %w", err)
	}
	s := n.opts.Settings
	count, err := n.formed(ctx, seats)
	if err != nil {
		return err
	}
	if c.links, err = n.bus.OpenLinks(c.id, peers{n}); err != nil {
		return fmt.Errorf("open the links to other nodes: %w", err)
	}
	n.cluster = c
	n.office, err = shards.New(shards.Options{
		Self: c.id, Shards: count, Links: tagged{c.links, tagShards}, Logger: n.log, Metrics: n.metrics,
		Changed: func() { n.webhooks.Moved() },
	})
	if err != nil {
		return err
	}
	busy := members.Busy(time.Now)
	c.members, err = members.New(members.Options{
		Table: nodes, Speaks: members.Range{Min: speaksMin, Max: speaksMax}, Lease: s.Cluster.Lease, Now: time.Now,
		Self: members.Member{
			ID: c.id, Name: s.NodeName(), Address: s.Listen, Status: members.Joining, Roles: s.Roles,
			Version: n.opts.Version, Since: time.Now(),
		},
		Load:   func() (int, float64) { return n.sockets.Sessions(), busy() },
		Joined: n.joined, Died: n.died, Lost: n.lost, Found: n.stir,
		Log: n.log, Metrics: n.metrics,
	})
	if err != nil {
		return fmt.Errorf("become a member of the cluster: %w", err)
	}
	c.leases = shards.NewLeases(shards.LeaseOptions{
		Office: n.office, Table: seatTable{seats}, Self: c.id, Peers: n.peers, Valid: c.members.Valid,
		Open: n.openKeeper, Recover: n.bus.Recover, Gather: 2 * s.Cluster.Lease, Logger: n.log,
	})
	return nil
}

// refused is closed when this node must not be a member of its cluster any more;
// nil when it has none.
func (n *node) refused() <-chan struct{} {
	if n.cluster == nil {
		return nil
	}
	return n.cluster.refused
}

// busOptions say which engine there is, and where.
func busOptions(s config.Settings) (o bus.Options, err error) {
	o.Folder = filepath.Join(s.Data, "jetstream")
	switch {
	case s.NATS.URL != "":
		x := &bus.External{
			URL: s.NATS.URL, CredentialsFile: s.NATS.Credentials, Prefix: s.NATS.Prefix,
			Replicas: s.NATS.Replicas, AcceptUnsynced: s.NATS.AcceptUnsynced,
		}
		x.TLS, err = s.NATS.TLS.Config()
		o.External = x
	case s.Clustered():
		// A server that is one of several deletes streams that the others do not know,
		// as those of a store that was alone: it never opens such a folder.
		o.Folder = filepath.Join(s.Data, "cluster", "jetstream")
		c := s.Cluster
		x := &bus.Cluster{
			Name: c.Name, Node: s.NodeName(), Listen: c.Listen, Advertise: c.Advertise, Peers: c.Peers,
			Secret: string(c.Secret), Replicas: c.Copies(), NoStore: !s.Has(config.RoleProcessor),
		}
		x.TLS, err = c.TLS.Config()
		o.Cluster = x
	}
	if err != nil {
		return o, fmt.Errorf("read the TLS files of other nodes: %w", err)
	}
	return o, nil
}

// formation is what holds for a cluster from its first start on.
type formation struct {
	Shards int `json:"shards"`
}

// formed returns how many shards the cluster has: as the first of its nodes said.
func (n *node) formed(ctx context.Context, table *bus.Table) (int, error) {
	const key = "formed"
	want := formation{n.opts.Settings.Cluster.Shards}
	row, err := json.Marshal(want)
	if err != nil {
		return 0, err
	}
	if _, err := table.Update(ctx, key, row, 0); err != nil && !errors.Is(err, bus.ErrChanged) {
		return 0, fmt.Errorf("write how many shards the cluster has: %w", err)
	}
	have, _, _ := table.Get(key)
	var f formation
	if err := json.Unmarshal(have, &f); err != nil || f.Shards < 1 {
		return 0, fmt.Errorf("the table of shards does not say how many there are: %q", have)
	}
	if f != want {
		n.log.Warn("the cluster was formed with another number of shards, which stays", "shards", f.Shards, "setting", want.Shards)
	}
	return f.Shards, nil
}

// joinCluster makes this node a member, and keeps its part of the shards until
// stop is called.
func (n *node) joinCluster(ctx context.Context) (stop func() error, err error) {
	c := n.cluster
	being, leave := context.WithCancel(context.Background())
	keeping, release := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var ended error
	c.refused = make(chan struct{})
	wg.Go(func() {
		defer close(c.refused)
		ended = c.members.Run(being)
	})
	var keepers sync.WaitGroup
	stop = func() error {
		release()
		keepers.Wait()
		leave()
		wg.Wait()
		c.links.Close()
		return ended
	}
	select {
	case <-c.members.In():
	case <-c.refused:
		return nil, errors.Join(stop(), errors.New("this node is not a member of the cluster"))
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("become a member of the cluster: %w", ctx.Err()), stop())
	}
	keepers.Go(func() {
		if err := c.leases.Run(keeping); err != nil {
			n.log.Error("shards are not kept any more", "err", err)
		}
	})
	c.members.SetStatus(members.Up)
	n.settle(ctx)
	return stop, nil
}

// settle waits for every shard to have a keeper, for a while.
func (n *node) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !n.office.Ready() {
		select {
		case <-tick.C:
		case <-n.cluster.refused:
			return
		case <-ctx.Done():
			n.log.Warn("not every shard has a keeper yet; messages to their users wait, or are refused", "shards", n.office.Unserved())
			return
		}
	}
}

// peers returns all nodes that are alive, as the placing of shards sees them.
func (n *node) peers() (list []shards.Peer) {
	for _, m := range n.cluster.members.List() {
		if m.Status == members.Unreachable {
			continue
		}
		p := shards.Peer{ID: m.ID, Leaving: m.Status == members.Leaving}
		for _, role := range m.Roles {
			p.Processor = p.Processor || role == config.RoleProcessor
		}
		list = append(list, p)
	}
	return list
}

// joined is told of a node that has come.
func (n *node) joined(m members.Member) {
	n.cluster.links.Connect(m.ID)
	n.stir()
}

// died is told of a node that is gone.
func (n *node) died(id string) {
	n.cluster.links.Disconnect(id)
	n.hub.PeerGone(id)
	n.office.Died(id)
	n.stir()
}

// lost is told that the others count this node as dead, or will in a moment: its
// clients are to go elsewhere, for their sessions are closed there.
func (n *node) lost() {
	n.hub.CloseAll(wire.CloseRestart, "this server is cut off from its cluster; connect to another")
}

func (n *node) stir() { n.cluster.leases.Stir() }

// What links carry is for one of two: the first byte says for whom.
const (
	tagHub    = 1
	tagShards = 2
)

// tagged is a part's own way to other nodes.
type tagged struct {
	links *bus.Links
	tag   byte
}

// Send implements delivery.Nodes and shards.Links.
func (t tagged) Send(node string, parts ...[]byte) bool {
	var few [4][]byte
	return t.links.Send(node, append(append(few[:0], []byte{t.tag}), parts...)...)
}

// peers is who hears what other nodes say.
type peers struct{ *node }

// Up implements bus.LinkHandler.
func (p peers) Up(peer string) {
	p.hub.PeerUp(peer)
	p.office.Up(peer)
}

// Down implements bus.LinkHandler.
func (p peers) Down(peer string) {
	p.hub.PeerDown(peer)
	p.office.Down(peer)
}

// Receive implements bus.LinkHandler.
func (p peers) Receive(peer string, message []byte) {
	if len(message) == 0 {
		return
	}
	switch body := message[1:]; message[0] {
	case tagHub:
		p.hub.PeerReceive(peer, body)
	case tagShards:
		p.office.Receive(peer, body)
	}
}

// seatTable is the table of shards.
type seatTable struct{ *bus.Table }

// Get implements shards.Table.
func (t seatTable) Get(key string) ([]byte, uint64) {
	row, revision, _ := t.Table.Get(key)
	return row, revision
}

// Update implements shards.Table.
func (t seatTable) Update(ctx context.Context, key string, row []byte, revision uint64) (uint64, error) {
	revision, err := t.Table.Update(ctx, key, row, revision)
	if errors.Is(err, bus.ErrChanged) {
		return 0, fmt.Errorf("%w: %w", shards.ErrChanged, err)
	}
	return revision, err
}

// shardMetrics are the metrics of the keepers of this node, each with its shard's
// number. A keeper that comes later begins anew.
type shardMetrics struct {
	mu sync.Mutex
	of map[int]*prometheus.Registry
}

// next returns where the next keeper of a shard registers its metrics.
func (m *shardMetrics) next(shard int) prometheus.Registerer {
	r := prometheus.NewRegistry()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = make(map[int]*prometheus.Registry)
	}
	m.of[shard] = r
	return prometheus.WrapRegistererWith(prometheus.Labels{"shard": fmt.Sprint(shard)}, r)
}

// Gather implements prometheus.Gatherer.
func (m *shardMetrics) Gather() ([]*dto.MetricFamily, error) {
	m.mu.Lock()
	all := make(prometheus.Gatherers, 0, len(m.of))
	for _, r := range m.of {
		all = append(all, r)
	}
	m.mu.Unlock()
	return all.Gather()
}
