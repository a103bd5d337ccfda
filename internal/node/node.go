// Package node is the hall of the house: it builds every room, door and pipe
// from the settings, hands each what it needs of the others, starts them in
// order and stops them in the reverse order. It is the only package that sees
// all others, and holds no rule of its own.
package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/audit"
	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/events"
	"github.com/seed-3d8c1042/switchboard/internal/gateway"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
	"github.com/seed-3d8c1042/switchboard/internal/members"
	"github.com/seed-3d8c1042/switchboard/internal/registry"
	"github.com/seed-3d8c1042/switchboard/internal/relay"
	"github.com/seed-3d8c1042/switchboard/internal/settings"
	"github.com/seed-3d8c1042/switchboard/internal/shards"
	"github.com/seed-3d8c1042/switchboard/internal/socket"
	"github.com/seed-3d8c1042/switchboard/internal/stats"
	"github.com/seed-3d8c1042/switchboard/internal/webhooks"
)

// startTime bounds opening the store and reading the log.
const startTime = 10 * time.Minute

// Options say what to run.
type Options struct {
	Settings config.Settings
	Version  string
	Out      io.Writer // start-up lines, for people
	Log      *slog.Logger
	// Reload brings new settings while the node runs; what needs a restart in
	// them is ignored here. Nil for none.
	Reload <-chan config.Settings
	// Book is where these settings come from, which the node runs; nil: they are all that
	// there is.
	Book *settings.Book
	// Hangup has certificates looked at now, and logs opened anew. Nil for never.
	Hangup <-chan struct{}
}

// Run starts a node, serves until ctx ends, and stops it. It returns nil after
// a clean stop, also when ctx ended before the node was ready.
func Run(ctx context.Context, opts Options) error {
	n := &node{opts: opts, log: opts.Log, since: time.Now(), metrics: prometheus.NewRegistry(), process: prometheus.NewRegistry(), moved: make(chan struct{}, 1)}
	n.settings.Store(&opts.Settings)
	if n.opts.Book == nil {
		n.opts.Book = settings.Fixed(opts.Settings)
	}
	n.process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	release, err := lifecycle.LockFolder(opts.Settings.Data)
	if err != nil {
		return err
	}
	err = n.run(ctx)
	if ctx.Err() != nil && !n.served && errors.Is(err, context.Canceled) {
		n.log.Info("stopped before it was ready", "err", err)
		err = nil
	}
	return errors.Join(err, release())
}

// node is one running process.
type node struct {
	opts     Options
	log      *slog.Logger
	metrics  *prometheus.Registry // our own, which the stats are read from
	process  *prometheus.Registry // of Go and the process, which cost more to gather
	settings atomic.Pointer[config.Settings]

	bus     *bus.Bus
	office  *shards.Office // all keepers
	apps    *apps.Registry
	keys    *keys.Ring
	hub     *delivery.Hub
	sockets *socket.Server
	stats   *stats.Sampler
	events  *api.Events
	relay   *relay.Reader // nil: none is shown

	registry *registry.Room   // of services
	gateway  *gateway.Gateway // nil: clients connect to other nodes

	exchange *events.Exchange // of events whose session and client are at two nodes
	members  *members.Room
	v1       *api.V1

	webhooks *webhooks.Room
	chat     chat
	journal  journalPart
	traffic  trafficPart
	matching matching
	around   around
	serving  atomic.Bool
	abroad   *abroad    // nil: there are no other domains
	applying sync.Mutex // held while apps are replaced
	served   bool       // it was ready once; the starting goroutine\'s

	doors    doors
	entrance entrance
	stage    stage                        // what the start waits for
	room     atomic.Pointer[members.Room] // members, once there are
	since    time.Time                    // when this process began
	address  string                       // where clients reach this node; empty: nowhere
	lapses   lapses                       // of shards without a keeper

	id           string         // of this process, among the nodes of its cluster
	refused      chan struct{}  // closed when it must not be a member any more
	links        *bus.Links     // nil: this node is alone
	peerDoors    *bus.Doors     // of the other nodes; nil: they have none that are known
	leases       *shards.Leases // nil likewise
	duties       []duty         // what is done for each shard beside its mailboxes
	shardMetrics shardMetrics
	moved        chan struct{} // this node keeps more shards, or fewer
	copies       *copies       // nil: no processor of this cluster has any of its own
	names        *bus.Table    // of processors, with copies

	demoKey string // ID of the key that the demo prints; empty for none
}

func (n *node) limits() config.Limits { return n.settings.Load().Limits }

// run builds from the pipes up to the doors, and takes down in reverse.
func (n *node) run(ctx context.Context) (err error) {
	if err := n.identify(); err != nil {
		return err
	}
	if err := n.openRelay(); err != nil {
		return err
	}
	defer n.closeRelay()
	if err := n.openDoors(); err != nil {
		return err
	}
	defer n.tendEntrance()()
	defer func() { err = errors.Join(err, n.doors.close()) }()
	if err := n.openDatabase(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.closeDatabase()) }()
	if err := n.openStore(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.bus.Close()) }()
	if err := n.openAbroad(); err != nil {
		return err
	}
	stopKeeping, err := n.openKeepers(ctx)
	if err != nil {
		return err
	}
	defer stopKeeping()
	if err := n.openJournal(ctx); err != nil {
		return err
	}
	if err := n.buildRooms(ctx); err != nil {
		return err
	}
	defer n.apps.Close()
	defer n.keys.Close()
	defer n.runMatching()() // when the shards are given up, which it waits for
	defer n.runNearby()()
	leave, err := n.join(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	if stopped, err := n.importAlone(ctx); stopped || err != nil {
		return err
	}
	posting, stopPosting := context.WithCancel(context.Background())
	var poster errgroup.Group
	poster.Go(func() error { return n.webhooks.Run(posting) })
	if n.abroad != nil {
		poster.Go(func() error { return n.abroad.run(posting) })
	}
	defer func() {
		stopPosting()
		err = errors.Join(err, poster.Wait())
	}()
	if err := n.awaitDatabase(ctx); err != nil {
		return err
	}
	if n.abroad != nil && !n.awaitNetwork(ctx) {
		return ctx.Err()
	}
	return n.serve(ctx)
}

// buildRooms makes what stands between the store and the doors.
func (n *node) buildRooms(ctx context.Context) (err error) {
	if err := n.opts.Book.Register(n.metrics); err != nil {
		return fmt.Errorf("register the metrics of the settings: %w", err)
	}
	if err := n.openKeys(ctx); err != nil {
		return err
	}
	if err := n.buildAccounts(); err != nil {
		return err
	}
	if err := n.openServices(ctx); err != nil {
		return err
	}
	limits := n.limits()
	list, _ := n.allApps(n.opts.Settings)
	who := apps.Options{
		Apps: list, HookTimeout: limits.HookTimeout, HookConcurrency: limits.HookConcurrency,
		Metrics: n.metrics, Log: n.log,
	}
	if n.abroad != nil {
		who.Home, who.Link = n.abroad.home, n.abroad.link
	}
	n.apps, err = apps.New(who)
	if err != nil {
		return fmt.Errorf("set up the apps: %w", err)
	}
	so := stats.Options{Metrics: prometheus.Gatherers{n.metrics, &n.shardMetrics}, Now: time.Now, Log: n.log, Register: n.metrics}
	if n.links != nil {
		so.Nodes = tagged{n.links, tagStats}
	}
	if n.stats, err = stats.New(so); err != nil {
		return err
	}
	o := delivery.Options{
		Keeper: reliable{n.office}, Access: access{n.apps},
		Sessions: func() int { return n.limits().SessionsPerUser }, Group: func() int { return n.limits().GroupReceivers },
		Metrics: n.metrics,
	}
	if n.links != nil {
		o.Nodes = tagged{n.links, tagHub}
	}
	if n.abroad != nil {
		o.Domain, o.Domains = n.abroad.self, n.abroad
	}
	n.hub = delivery.New(o)
	if n.abroad != nil {
		n.abroad.hub.Store(n.hub)
	}
	if err := n.openWebhooks(ctx); err != nil {
		return err
	}
	if err := n.openMatching(); err != nil {
		return err
	}
	if err := n.openNearby(); err != nil {
		return err
	}
	if n.sockets, err = socket.New(n.socketOptions()); err != nil {
		return err
	}
	if err := n.buildEvents(); err != nil {
		return err
	}
	n.v1, err = api.NewV1(n.v1Options())
	return err
}

// openKeys makes the ring of API keys, on the table in which they are.
func (n *node) openKeys(ctx context.Context) error {
	table, err := n.bus.Table(ctx, "keys")
	if err != nil {
		return fmt.Errorf("open the table of API keys in %s: %w", n.opts.Settings.Data, err)
	}
	n.keys, err = keys.New(keys.Options{
		Store: table, Now: time.Now, Random: rand.Reader, Log: n.log, Metrics: n.metrics,
		Max: func() int { return n.limits().APIKeys }, MaxOfApp: func() int { return n.limits().APIKeysPerApp },
	})
	return err
}

// serve has the doors, which are open, lead to the rooms until ctx ends, then closes
// them in order.
func (n *node) serve(ctx context.Context) error {
	stopping, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var rooms errgroup.Group
	rooms.Go(func() error { return n.sockets.Run(stopping) })
	rooms.Go(func() error { return tendMemory(stopping) })
	rooms.Go(func() error { return n.opts.Book.Run(stopping) })
	rooms.Go(func() error { return n.stats.Run(stopping) })
	rooms.Go(func() error { return n.journal.room.Run(stopping) })
	rooms.Go(func() error { return n.traffic.meters.Run(stopping, n.noteTraffic) })
	rooms.Go(func() error { return n.watchShards(stopping) })
	rooms.Go(func() error { return n.tendCopies(stopping) })
	rooms.Go(func() error { return n.runRegistry(stopping) })
	rooms.Go(func() error { return n.runGateway(stopping) })
	if n.matching.devices != nil {
		rooms.Go(func() error { return n.matching.devices.Run(stopping) })
	}
	if n.chat.db != nil {
		rooms.Go(func() error { return n.runChat(stopping) })
		rooms.Go(func() error { return n.chat.rooms.Run(stopping) })
	}
	demoKey, err := n.lendDemoKey()
	n.served = true
	n.serving.Store(true)
	n.members.SetStatus(members.Up)
	n.doors.lead(n)
	linked, unlink := context.WithCancel(stopping)
	defer unlink()
	if n.abroad != nil {
		rooms.Go(func() error { return n.abroad.links.Run(linked) })
	}
	if err == nil {
		n.greet(demoKey)
		rooms.Go(func() error { return n.reload(stopping) }) // not before greet: it ends the demo's key with the demo
		select {
		case <-ctx.Done():
		case <-n.refused: // why is said by what join returned
		}
	}
	n.serving.Store(false)
	unlink()
	n.members.SetStatus(members.Leaving) // its shards go to others while its clients do
	n.stats.LetGo()                      // or the doors would wait for streams of stats
	n.journal.letGo()
	n.leaveGateway()
	n.doors.closePublic()
	n.exchange.Leave()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.limits().DrainTimeout)
	n.drain(drain)
	cancel()
	n.events.Wait()
	n.exchange.Close()
	n.noteTraffic(n.traffic.meters.Take()) // while the journal still takes something
	stop()
	return errors.Join(err, n.doors.close(), rooms.Wait())
}

// drain has all clients leave, in the time that ctx gives.
func (n *node) drain(ctx context.Context) {
	const reason = "the server is stopping"
	n.entrance.audit.Note(audit.Event{Event: "stopping", By: "operator"})
	var left sync.WaitGroup
	if n.matching.devices != nil {
		left.Go(func() {
			if err := n.matching.devices.Drain(ctx, reason); err != nil {
				n.log.Warn("not every device left in time", "err", err)
			}
		})
	}
	if err := n.sockets.Drain(ctx, reason); err != nil {
		n.log.Warn("not every client left in time", "err", err)
	}
	left.Wait()
}

// reload puts new settings into effect as they come.
func (n *node) reload(ctx context.Context) error {
	commit := n.opts.Book.State().Commit
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.moved:
			n.limitKeepers()
		case s := <-n.opts.Reload:
			before := *n.settings.Load()
			n.applying.Lock()
			err := n.replaceApps(s)
			if err == nil {
				n.settings.Store(&s)
			}
			n.applying.Unlock()
			n.opts.Book.Refused(err) // it logs why
			if err != nil {
				continue
			}
			if !s.Demo && n.demoKey != "" {
				// It was for the demo. That fails only for a key that is gone already.
				_ = n.keys.Revoke(ctx, n.demoKey)
			}
			changed := config.Diff(before, s).Live
			n.apps.SetHookLimits(s.Limits.HookTimeout, s.Limits.HookConcurrency)
			n.limitKeepers()
			if n.matching.room != nil {
				n.matching.room.SetLimits(matchLimits(s.Matching))
			}
			n.reloadWebhooks(ctx, s)
			n.reloadAbroad()
			n.reloadRegistry(s)
			n.reloadGateway(s)
			if len(changed) > 0 {
				n.entrance.audit.Note(audit.Event{Event: "settingsChanged", By: n.changedBy(&commit), What: strings.Join(changed, ",")})
				n.log.Info("new settings are in effect", "keys", changed)
			}
		}
	}
}

// changedBy says who has changed settings, for the audit log: a commit, if another one is
// in force than before.
func (n *node) changedBy(commit *string) string {
	before, now := *commit, n.opts.Book.State().Commit
	*commit = now
	if now == "" || now == before {
		return "operator"
	}
	return "commit " + now
}

// limitKeepers gives each keeper of this node its part of the limits in force.
func (n *node) limitKeepers() {
	l := n.limits()
	n.office.SetLimits(mailboxLimits(l, len(n.office.Kept())), uint64(l.MinDiskFree))
}

// say prints one of the start-up lines.
func (n *node) say(key, value string) { fmt.Fprintf(n.opts.Out, "%-9s %s\n", key, value) }

// welcome says where everything is: as soon as it is open, for a start may take long.
func (n *node) welcome() {
	s := n.opts.Settings
	fmt.Fprintf(n.opts.Out, "Switchboard %s\n", n.opts.Version)
	if public := n.doors.public; public != nil {
		web, ws := s.PublicScheme()
		n.say("console", web+"://"+public.addr()+"/")
		n.say("socket", ws+"://"+public.addr()+"/ws")
		if s.Matching.Enabled && s.Matching.Simple.Enabled {
			n.say("devices", web+"://"+public.addr()+"/devices, and the simple door "+ws+"://"+public.addr()+"/device/connect")
		}
	}
	n.say("admin", s.AdminScheme()+"://"+n.doors.admin.addr()+"/")
	n.say("data", s.Data)
	if s.Shared() {
		n.say("node", fmt.Sprintf("%s of %s", s.NodeName(), n.sharedName()))
	}
}

// lendDemoKey makes the key of the demo, if this is one, and returns what its user is to
// present. It is there before anybody can ask which keys there are.
func (n *node) lendDemoKey() (presented string, err error) {
	if !n.opts.Settings.Demo {
		return "", nil
	}
	key, presented, err := n.keys.Lend("of the demo, until it stops")
	if err != nil {
		return "", err
	}
	n.demoKey = key.ID
	return presented, nil
}

// greet says who may come in, and with which key the demo, and that all is ready.
func (n *node) greet(demoKey string) {
	s := n.opts.Settings
	if s.Demo {
		n.say("key", demoKey)
		n.say("demo", fmt.Sprintf("app %s (appId %s) lets anyone in, from this machine only; give --config for your own apps", s.Apps[0].Name, s.Apps[0].ID))
	}
	if n.abroad != nil {
		n.say("domain", fmt.Sprintf("%s of the network that %s describes", s.Domain, n.abroad.source.State().From))
	}
	for _, app := range s.Apps {
		if public := n.doors.public; !s.Demo && !app.AuthEnabled && public != nil {
			n.say("open", fmt.Sprintf("app %s (appId %s) lets anyone in who reaches %s", app.Name, app.ID, public.addr()))
		}
	}
	n.sayChat()
	fmt.Fprintln(n.opts.Out, "ready")
}
