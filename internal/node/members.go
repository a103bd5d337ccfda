package node

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/members"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// speaks are the versions of the protocol between nodes that this program speaks.
// What a change of it takes stands in docs/cluster.md.
var speaks = members.Range{Min: 1, Max: 1}

// buildMembers makes what knows the nodes: of a node alone, itself.
func (n *node) buildMembers() error {
	id, err := wire.NewID(time.Now(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make an ID for this node: %w", err)
	}
	s, busy := n.opts.Settings, members.Busy(time.Now)
	n.members, err = members.New(members.Options{
		Self:   members.Member{ID: id.String(), Name: s.NodeName(), Address: s.Listen, Roles: s.Roles, Version: n.opts.Version},
		Speaks: speaks, Lease: s.Cluster.Lease, Now: time.Now, Log: n.log, Metrics: n.metrics,
		Load: func() (int, float64) { return int(n.stats.Latest().Sessions), busy() },
	})
	return err
}

// clusterReady returns why the cluster keeps this node from serving, or nil.
func (n *node) clusterReady() error { return n.members.Check() }

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
