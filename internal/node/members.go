package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/members"
)

// speaks are the versions of the protocol between nodes that this program speaks.
// What a change of it takes stands in docs/cluster.md.
var speaks = members.Range{Min: 1, Max: 1}

// buildMembers makes what knows the nodes: of a node alone, itself. table is nil
// there.
func (n *node) buildMembers(table members.Store) (err error) {
	s, busy := n.opts.Settings, members.Busy(time.Now)
	o := members.Options{
		Table:   table,
		Self:    n.self(),
		Waiting: n.stage.String,
		Speaks:  speaks, Lease: s.Cluster.Lease, Now: time.Now, Log: n.log, Metrics: n.metrics,
		Load: func() (int, float64) { return n.stats.Sessions(), busy() },
	}
	if table != nil {
		o.Joined, o.Died, o.Lost, o.Found = n.joined, n.died, n.lost, n.stir
	}
	if n.peerDoors != nil {
		o.Ended = n.ended
	}
	n.members, err = members.New(o)
	n.room.Store(n.members)
	return err
}

// self is this node as the others see it at first.
func (n *node) self() members.Member {
	s := n.opts.Settings
	return members.Member{ID: n.id, Name: s.NodeName(), Address: n.address, Roles: s.Roles, Version: n.opts.Version}
}

// join makes this node a member, and has it keep its part of the shards, until
// leave is called.
func (n *node) join(ctx context.Context) (leave func() error, err error) {
	being, end := context.WithCancel(context.Background())
	keeping, release := context.WithCancel(context.Background())
	var member, keeper sync.WaitGroup
	var ended error // read when member is done
	member.Go(func() {
		defer close(n.refused)
		ended = n.members.Run(being)
	})
	leave = func() error {
		release()
		keeper.Wait()
		end()
		member.Wait()
		return ended
	}
	if n.peerDoors != nil {
		keeper.Go(func() { n.peerDoors.Run(keeping) })
	}
	n.stage.is("waiting to become a member of " + n.sharedName())
	select {
	case <-n.members.In():
	case <-n.refused:
		return nil, leave()
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("become a member of the cluster: %w", ctx.Err()), leave())
	}
	if n.leases != nil {
		keeper.Go(func() { n.leases.Run(keeping) })
	} else {
		keeper.Go(func() { n.doAlone(keeping) })
	}
	n.settle(ctx)
	return leave, nil
}

// reachedAt returns where clients reach this node that listens at an address: on
// all interfaces it is by its name.
func (n *node) reachedAt(listening net.Addr) string {
	host, port, err := net.SplitHostPort(listening.String())
	if ip, bad := netip.ParseAddr(host); err != nil || bad != nil || !ip.IsUnspecified() {
		return listening.String()
	}
	s := n.opts.Settings
	if h, _, err := net.SplitHostPort(s.Cluster.Advertise); err == nil && h != "" {
		return net.JoinHostPort(h, port)
	}
	return net.JoinHostPort(s.NodeName(), port)
}
