package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/shards"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// openKeepers prepares to keep shards: alone the one that there is, which is kept
// until stop is called, else those that join has this node keep.
func (n *node) openKeepers(ctx context.Context) (stop func(), err error) {
	if n.opts.Settings.Shared() {
		return n.openCluster(ctx)
	}
	if err := n.buildMembers(nil); err != nil {
		return nil, err
	}
	return n.keepAlone(ctx)
}

// identify gives this process the ID by which others know it.
func (n *node) identify() error {
	id, err := wire.NewID(time.Now(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make an ID for this node: %w", err)
	}
	n.id, n.refused = id.String(), make(chan struct{})
	return nil
}

// keepAlone keeps the one shard that there is.
func (n *node) keepAlone(ctx context.Context) (stop func(), err error) {
	if n.office, err = shards.New(shards.Options{Shards: 1, Logger: n.log, Metrics: n.metrics}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	keeper, err := n.openKeeper(ctx, 0, nil, n.bus.Recover)
	if err != nil {
		return nil, fmt.Errorf("open the message log in %s: %w", n.opts.Settings.Data, err)
	}
	keeping, end := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := keeper.Run(keeping); err != nil {
			n.log.Error("the keeper ended with an error", "err", err)
		}
	})
	n.office.Serve(0, 1, keeper)
	return func() {
		end()
		wg.Wait()
	}, nil
}

// openKeeper reads the log of a shard. gather are the nodes whose sessions the
// keeper expects, see mailbox.Options.
func (n *node) openKeeper(ctx context.Context, shard int, gather []string, recover func(context.Context) error) (*mailbox.Keeper, error) {
	log, err := n.bus.Log(ctx, shard)
	if err != nil {
		return nil, err
	}
	s := n.settings.Load()
	o := mailbox.Options{
		Log: counted{log, &n.stage}, Limits: mailboxLimits(s.Limits, len(n.office.Kept())+1), Subscriptions: subscriptionsOf(hookApps(*s)), Now: time.Now, Random: rand.Reader, Logger: n.log,
		Metrics: n.metrics, Free: n.bus.Free, MinFree: uint64(s.Limits.MinDiskFree), Recover: recover,
		Shard: shard, Gather: gather, Returned: n.office.Returned,
	}
	if n.leases != nil {
		o.ShardOf, o.Node, o.Valid = n.office.ShardOf, n.id, n.members.Valid
		o.Logger, o.Metrics = n.log.With("shard", shard), n.shardMetrics.next(shard)
	}
	if a := n.abroad; a != nil {
		if o.LogName, err = log.Name(ctx); err != nil {
			return nil, err
		}
		o.Link, o.Abroad = a.isLink, a.wrap
	}
	return mailbox.Open(ctx, o)
}
