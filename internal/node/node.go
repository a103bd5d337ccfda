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
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
	"github.com/seed-3d8c1042/switchboard/internal/members"
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
}

// Run starts a node, serves until ctx ends, and stops it. It returns nil after
// a clean stop, also when ctx ended before the node was ready.
func Run(ctx context.Context, opts Options) error {
	n := &node{opts: opts, log: opts.Log, metrics: prometheus.NewRegistry(), process: prometheus.NewRegistry()}
	n.settings.Store(&opts.Settings)
	n.process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	release, err := lifecycle.LockFolder(opts.Settings.Data)
	if err != nil {
		return err
	}
	err = n.run(ctx)
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
	members *members.Room
	v1      *api.V1

	webhooks *webhooks.Room
	serving  atomic.Bool

	id           string         // of this process, among the nodes of its cluster
	refused      chan struct{}  // closed when it must not be a member any more
	links        *bus.Links     // nil: this node is alone
	leases       *shards.Leases // nil likewise
	shardMetrics shardMetrics
	copies       *copies    // nil: no processor of this cluster has any of its own
	names        *bus.Table // of processors, with copies

	demoKey string // ID of the key that the demo prints; empty for none
}

func (n *node) limits() config.Limits { return n.settings.Load().Limits }

// run builds from the pipes up to the doors, and takes down in reverse.
func (n *node) run(ctx context.Context) (err error) {
	if err := n.openStore(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			n.log.Info("stopped before it was ready", "err", err)
			return nil
		}
		return err
	}
	defer func() { err = errors.Join(err, n.bus.Close()) }()
	stopKeeping, err := n.openKeepers(ctx)
	if err != nil {
		return err
	}
	defer stopKeeping()
	if err := n.buildRooms(ctx); err != nil {
		return err
	}
	defer n.apps.Close()
	defer n.keys.Close()
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
	defer func() {
		stopPosting()
		err = errors.Join(err, poster.Wait())
	}()
	return n.serve(ctx)
}

// openStore starts the engine and reads the log.
func (n *node) openStore(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	s := n.opts.Settings
	o, err := busOptions(s)
	if err != nil {
		return err
	}
	o.Logger = n.log
	if n.bus, err = bus.Open(ctx, o); err != nil {
		return fmt.Errorf("open the message store in %s: %w", s.Data, err)
	}
	return nil
}

// buildRooms makes what stands between the store and the doors.
func (n *node) buildRooms(ctx context.Context) (err error) {
	if err := n.openKeys(ctx); err != nil {
		return err
	}
	limits := n.limits()
	n.apps, err = apps.New(apps.Options{
		Apps: appsOf(n.opts.Settings.Apps), HookTimeout: limits.HookTimeout, HookConcurrency: limits.HookConcurrency,
		Metrics: n.metrics, Log: n.log,
	})
	if err != nil {
		return fmt.Errorf("set up the apps: %w", err)
	}
	n.stats, err = stats.New(stats.Options{Metrics: prometheus.Gatherers{n.metrics, &n.shardMetrics}, Now: time.Now, Log: n.log})
	if err != nil {
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
	n.hub = delivery.New(o)
	if err := n.openWebhooks(ctx); err != nil {
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

// serve opens the doors until ctx ends, then closes them in order.
func (n *node) serve(ctx context.Context) error {
	admin, err := listen("admin", n.opts.Settings.Admin)
	if err != nil {
		return err
	}
	var public net.Listener // nil: clients connect to other nodes
	if n.opts.Settings.Has(config.RoleConnector) {
		if public, err = listen("listen", n.opts.Settings.Listen); err != nil {
			return errors.Join(err, admin.Close())
		}
	}
	control := n.listenControl()
	stopping, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var doors errgroup.Group
	publicDone, closePublic := context.WithCancel(stopping)
	defer closePublic()
	doors.Go(func() error { return n.adminServer().Serve(stopping, admin) })
	if public != nil {
		doors.Go(func() error { return n.publicServer().Serve(publicDone, public) })
		n.members.SetAddress(n.reachedAt(public.Addr()))
	} else {
		n.members.SetAddress("")
	}
	if control != nil {
		doors.Go(func() error { return n.controlServer().Serve(stopping, control) })
	}
	doors.Go(func() error { return n.sockets.Run(stopping) })
	doors.Go(func() error { return tendMemory(stopping) })
	doors.Go(func() error { return n.tendCopies(stopping) })
	doors.Go(func() error { return n.stats.Run(publicDone) }) // streams end with it, or the doors would wait for them
	n.serving.Store(true)
	err = n.greet(public, admin.Addr())
	if err == nil {
		doors.Go(func() error { return n.reload(stopping) }) // not before greet: it ends the demo's key with the demo
		select {
		case <-ctx.Done():
		case <-n.refused: // why is said by what join returned
		}
	}
	n.serving.Store(false)
	n.members.SetStatus(members.Leaving) // its shards go to others while its clients do
	closePublic()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.limits().DrainTimeout)
	if err := n.sockets.Drain(drain, "the server is stopping"); err != nil {
		n.log.Warn("not every client left in time", "err", err)
	}
	cancel()
	n.events.Wait()
	stop()
	return errors.Join(err, doors.Wait())
}

// reload puts new settings into effect as they come.
func (n *node) reload(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-n.opts.Reload:
			if err := n.apps.Replace(appsOf(s.Apps)); err != nil {
				n.log.Error("the new settings are not in effect", "err", err)
				continue
			}
			if !s.Demo && n.demoKey != "" {
				// It was for the demo. That fails only for a key that is gone already.
				_ = n.keys.Revoke(ctx, n.demoKey)
			}
			changed := config.Diff(*n.settings.Load(), s).Live
			n.settings.Store(&s)
			n.apps.SetHookLimits(s.Limits.HookTimeout, s.Limits.HookConcurrency)
			n.office.SetLimits(mailboxLimits(s.Limits), uint64(s.Limits.MinDiskFree))
			n.reloadWebhooks(ctx, s)
			n.log.Info("new settings are in effect", "keys", changed)
		}
	}
}

// greet says where everything is, and lends the demo a key.
func (n *node) greet(public net.Listener, admin net.Addr) error {
	s := n.opts.Settings
	say := func(key, value string) { fmt.Fprintf(n.opts.Out, "%-9s %s\n", key, value) }
	fmt.Fprintf(n.opts.Out, "Switchboard %s\n", n.opts.Version)
	if public != nil {
		say("console", "http://"+public.Addr().String()+"/")
		say("socket", "ws://"+public.Addr().String()+"/ws")
	}
	say("admin", "http://"+admin.String()+"/")
	say("data", s.Data)
	if n.leases != nil {
		say("node", fmt.Sprintf("%s of %s", s.NodeName(), n.sharedName()))
	}
	if s.Demo {
		key, presented, err := n.keys.Lend("of the demo, until it stops")
		if err != nil {
			return err
		}
		n.demoKey = key.ID
		say("key", presented)
		say("demo", fmt.Sprintf("app %s (appId %s) lets anyone in, from this machine only; give --config for your own apps", s.Apps[0].Name, s.Apps[0].ID))
	}
	for _, app := range s.Apps {
		if !s.Demo && !app.AuthEnabled && public != nil {
			say("open", fmt.Sprintf("app %s (appId %s) lets anyone in who reaches %s", app.Name, app.ID, public.Addr()))
		}
	}
	fmt.Fprintln(n.opts.Out, "ready")
	return nil
}
