package node

import (
	"context"
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
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/members"
	"github.com/seed-3d8c1042/switchboard/internal/shards"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// aloneFolder is where in the data folder a node that is alone has its store.
const aloneFolder = "jetstream"

// clusterFolder is where one of a cluster has its own.
const clusterFolder = "cluster"

// settleTime is how long a node that starts waits for every shard to have a
// keeper, and every stream its replicas, before it lets clients in: with all nodes up it takes a moment. What
// lasts longer is shown by /readyz.
const settleTime = 30 * time.Second

const (
	// While a leader is elected nobody can renew a lease: with electionsInLease as many
	// of the shortest elections fit into one; the longest takes about twice as long,
	// and who was asked before it began is asked once more. The engine takes 4 seconds
	// at least by itself, and is made to hurry if need be, down to minElection.
	electionsInLease = 8
	ownElection      = 4 * time.Second
	minElection      = 500 * time.Millisecond
)

// openCluster opens what this node shares with others, and prepares to meet them;
// join does the rest, when the rooms are built.
func (n *node) openCluster(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	n.stage.is("opening what the nodes share")
	nodes, err := n.bus.Table(ctx, "nodes")
	if err != nil {
		return nil, fmt.Errorf("open the table of nodes: %w", err)
	}
	seats, err := n.bus.Table(ctx, "shards")
	if err != nil {
		return nil, fmt.Errorf("open the table of shards: %w", err)
	}
	count, err := n.formed(ctx, seats)
	if err != nil {
		return nil, err
	}
	if err := n.openCopies(ctx, seats); err != nil {
		return nil, err
	}
	n.peerDoors = n.bus.Doors()
	if err := n.buildMembers(nodes); err != nil {
		return nil, err
	}
	if n.links, err = n.bus.OpenLinks(n.id, peers{n}); err != nil {
		return nil, fmt.Errorf("open the links to other nodes: %w", err)
	}
	n.office, err = shards.New(shards.Options{
		Self: n.id, Shards: count, Links: tagged{n.links, tagShards}, Logger: n.log, Metrics: n.metrics,
		Changed: n.shardsChanged,
	})
	if err != nil {
		n.links.Close()
		return nil, err
	}
	n.shardMetrics.kept = n.office.Kept
	n.leases = shards.NewLeases(shards.LeaseOptions{
		Office: n.office, Table: seatTable{seats}, Self: n.id, Peers: n.peers, Valid: n.members.Valid,
		Open: n.openKeeper, Recover: n.bus.Recover, Gather: 2 * n.opts.Settings.Cluster.Lease, Logger: n.log,
	})
	return n.links.Close, nil
}

// busOptions say which engine there is, and where.
func busOptions(s config.Settings) (o bus.Options, err error) {
	o.Folder = filepath.Join(s.Data, aloneFolder)
	switch {
	case s.NATS.URL != "":
		x := &bus.External{
			URL: s.NATS.URL, CredentialsFile: s.NATS.Credentials, Prefix: s.NATS.Prefix,
			Replicas: s.NATS.Replicas, AcceptUnsynced: s.NATS.AcceptUnsynced,
			SystemURL: s.NATS.SystemURL, SystemCredentialsFile: s.NATS.SystemCredentials,
		}
		x.TLS, err = s.NATS.TLS.Config()
		o.External = x
	case s.Clustered():
		// A server that is one of several deletes streams that the others do not know,
		// as those of a store that was alone: it never opens such a folder.
		o.Folder = filepath.Join(s.Data, clusterFolder, "jetstream")
		c := s.Cluster
		x := &bus.Cluster{
			Name: c.Name, Node: s.NodeName(), Listen: c.Listen, Advertise: c.Advertise, Peers: c.Peers, Sole: c.Sole(),
			Secret: string(c.Secret), Replicas: s.Copies(), NoStore: !s.Has(config.RoleProcessor), Grow: c.Replicas == 0,
		}
		if quick := max(c.Lease/electionsInLease, minElection); quick < ownElection {
			x.Election = quick
		}
		x.TLS, err = c.TLS.Config()
		o.Cluster = x
	}
	if err != nil {
		return o, fmt.Errorf("read the TLS files of other nodes: %w", err)
	}
	if n := s.NATS; n.Listen != "" {
		o.Readers = &bus.Readers{Listen: n.Listen, User: n.User, Password: string(n.Password)}
		if o.Readers.TLS, err = n.TLS.Config(); err != nil {
			return o, fmt.Errorf("read the TLS files of nats.listen: %w", err)
		}
	}
	return o, nil
}

// sharedName says with what this node shares its store.
func (n *node) sharedName() string {
	if c := n.opts.Settings.Cluster; c.Name != "" {
		return "cluster " + c.Name
	}
	return "those on the NATS that nats.url names"
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
	err = mailbox.ErrUnknown
	for errors.Is(err, mailbox.ErrUnknown) && ctx.Err() == nil { // what was written after all is found
		_, err = table.Update(ctx, key, row, 0)
	}
	if err != nil && !errors.Is(err, bus.ErrChanged) {
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

// shardsChanged is told that this node began or ended to keep shards.
func (n *node) shardsChanged() {
	n.webhooks.Moved()
	select {
	case n.moved <- struct{}{}:
	default: // it is known already
	}
	if n.abroad != nil {
		n.abroad.mover.stir()
	}
}

// settle waits for every shard to have a keeper, and every stream its replicas, for
// a while: so that where all nodes start side by side any one may be missing as soon
// as they say that they are ready. A node alone whose disk is full waits for nobody.
func (n *node) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !n.office.Ready() || len(n.bus.Lacking()) > 0 {
		if list := n.office.Unserved(); len(list) > 0 {
			n.stage.is(fmt.Sprintf("waiting for the shards %v to have keepers", list))
		} else {
			n.stage.is(fmt.Sprintf("waiting for the streams %v to have all their replicas", n.bus.Lacking()))
		}
		if err := n.bus.Full(); n.leases == nil && err != nil {
			n.log.Warn("nothing can be stored yet; messages are refused", "err", err)
			return
		}
		select {
		case <-tick.C:
		case <-n.refused:
			return
		case <-ctx.Done():
			if list := n.office.Unserved(); len(list) > 0 {
				n.log.Warn("not every shard has a keeper yet; messages to their users wait, or are refused", "shards", list)
			}
			if list := n.bus.Lacking(); len(list) > 0 {
				n.log.Warn("not every stream has all its replicas yet: what is stored is in fewer places, until more servers come", "streams", list)
			}
			return
		}
	}
}

// peers returns all nodes that are known, as the placing of shards sees them.
func (n *node) peers() (list []shards.Peer) {
	for _, m := range n.members.Judged() {
		p := shards.Peer{ID: m.ID, Leaving: m.Status == members.Leaving, Dead: m.Status == members.Unreachable}
		for _, role := range m.Roles {
			p.Processor = p.Processor || role == config.RoleProcessor
		}
		list = append(list, p)
	}
	return list
}

// joined is told of a node that has come.
func (n *node) joined(m members.Member) {
	n.exchange.PeerJoined(m.ID)
	n.links.Connect(m.ID)
	if n.peerDoors != nil {
		n.peerDoors.Find(m.Name)
	}
	n.stir()
}

// ended says whether the process of another node has ended, as far as its machine says.
// One that said so before it shut its door may be back in a moment.
func (n *node) ended(ctx context.Context, m members.Member) bool {
	return !n.links.Left(m.ID) && n.peerDoors.Shut(ctx, m.Name)
}

// died is told of a node that is gone.
func (n *node) died(id string) {
	n.links.Disconnect(id)
	n.stats.PeerGone(id)
	n.hub.PeerGone(id)
	n.office.Died(id)
	for _, d := range n.duties {
		d.Died(id)
	}
	n.exchange.PeerGone(id)
	n.webhooks.PeerGone(id)
	n.stir()
}

// lost is told that the others count this node as dead, or will in a moment: its
// clients are to go elsewhere, for their sessions are closed there, and so is who is
// signing in.
func (n *node) lost() {
	n.lapses.look(nil, false, time.Now()) // all shards are to be served again before it is ready
	const reason = "this server is cut off from its cluster; connect to another"
	n.hub.CloseAll(wire.CloseRestart, reason)
	n.sockets.CloseWaiting(wire.CloseRestart, reason)
	if n.matching.devices != nil {
		n.matching.devices.CloseAll(wire.CloseRestart, reason)
	}
	if n.abroad != nil {
		n.abroad.links.Stir()
	}
}

func (n *node) stir() { n.leases.Stir() }

// What links carry is for one of several: the first byte says for whom. Versions that
// do not know a tag pass over what is for it.
const (
	tagHub    = 1
	tagShards = 2
	tagLinks  = 3 // how links to other domains are, for people
	tagStats  = 4
	tagEvents = 5
	tagHooks  = 6

	tagAccounts = 7 // sessions of accounts that have ended
	tagChat     = 8 // news of rooms
	tagMatching = 9
	tagJournal  = 10
	tagNearby   = 11
)

// tagged is a part's own way to other nodes.
type tagged struct {
	links *bus.Links
	tag   byte
}

// Send implements delivery.Nodes, shards.Links, stats.Nodes and webhooks.Nodes.
func (t tagged) Send(node string, parts ...[]byte) bool {
	var few [4][]byte
	return t.links.Send(node, append(append(few[:0], []byte{t.tag}), parts...)...)
}

// peers is who hears what other nodes say.
type peers struct{ *node }

// Up implements bus.LinkHandler. Stats go first: so what a node counts once it is
// ready, for which it needs what comes next, is counted by all who were there.
func (p peers) Up(peer string) {
	p.stats.PeerUp(peer)
	p.hub.PeerUp(peer)
	p.office.Up(peer)
	for _, d := range p.duties {
		d.Up(peer)
	}
	p.exchange.PeerUp(peer)
	p.webhooks.PeerUp(peer)
	if p.chat.accounts != nil {
		p.chat.accounts.PeerUp(peer)
		p.chat.rooms.PeerUp(peer)
	}
}

// Down implements bus.LinkHandler.
func (p peers) Down(peer string) {
	p.stats.PeerDown(peer)
	p.hub.PeerDown(peer)
	p.office.Down(peer)
	for _, d := range p.duties {
		d.Down(peer)
	}
	p.exchange.PeerDown(peer)
	p.webhooks.PeerDown(peer)
	if p.chat.accounts != nil {
		p.chat.accounts.PeerDown(peer)
		p.chat.rooms.PeerDown(peer)
	}
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
	case tagLinks:
		if p.abroad != nil {
			p.abroad.told.hear(peer, body, time.Now())
		}
	case tagStats:
		p.stats.PeerReceive(peer, body)
	case tagEvents:
		p.exchange.PeerReceive(peer, body)
	case tagHooks:
		p.webhooks.PeerReceive(peer, body)
	case tagAccounts:
		if p.chat.accounts != nil {
			p.chat.accounts.PeerReceive(peer, body)
		}
	case tagChat:
		if p.chat.rooms != nil {
			p.chat.rooms.PeerReceive(peer, body)
		}
	default:
		for _, d := range p.duties {
			if d.tag == message[0] {
				d.Receive(peer, body)
			}
		}
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
// number. A keeper that comes later begins anew; one that is elsewhere by now has
// none here, or all nodes together would count twice what it has.
type shardMetrics struct {
	kept func() []int // shards that this node keeps
	mu   sync.Mutex
	of   map[int]*prometheus.Registry
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
	if m.kept != nil {
		for _, shard := range m.kept() {
			if r := m.of[shard]; r != nil {
				all = append(all, r)
			}
		}
	}
	m.mu.Unlock()
	return all.Gather()
}
