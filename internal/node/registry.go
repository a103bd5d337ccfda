package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/members"
	"github.com/seed-3d8c1042/switchboard/internal/registry"
)

// openRegistry makes the room of services, on the table in which they are.
func (n *node) openRegistry(ctx context.Context) error {
	s := n.opts.Settings
	static, err := staticServices(s)
	if err != nil {
		return err
	}
	table, err := n.bus.Table(ctx, "services")
	if err != nil {
		return fmt.Errorf("open the table of services in %s: %w", s.Data, err)
	}
	n.registry, err = registry.New(registry.Options{
		Table: table, Now: time.Now, Valid: n.members.Valid, Log: n.log, Metrics: n.metrics,
		Max: func() int { return n.settings.Load().Registry.Instances },
	})
	if err != nil {
		return err
	}
	n.registry.SetStatic(static)
	return nil
}

// staticServices reads the file of static instances, if there is one.
func staticServices(s config.Settings) ([]registry.Instance, error) {
	if s.Registry.File == "" {
		return nil, nil
	}
	return registry.ReadFile(s.Registry.File, s.Registry.Instances)
}

// runRegistry keeps the services current until ctx ends.
func (n *node) runRegistry(ctx context.Context) error {
	defer n.registry.Close()
	defer n.members.Watch(func(list []members.Member) { n.registry.SetNodes(nodesAsService(list)) })()
	return n.registry.Run(ctx)
}

// nodesAsService returns the nodes that serve clients, as instances of one service.
func nodesAsService(list []members.Member) []registry.Instance {
	var nodes []registry.Instance
	for _, m := range list {
		if m.Status != members.Up || m.Address == "" {
			continue
		}
		url := m.Address
		if !strings.Contains(url, "://") { // it says so where it talks TLS
			url = "http://" + url
		}
		roles := slices.Clone(m.Roles)
		slices.Sort(roles)
		nodes = append(nodes, registry.Instance{
			Service: registry.Nodes, Name: m.Name, URL: url, Weight: 1, Since: m.Since,
			Meta: map[string]string{"version": m.Version, "roles": strings.Join(roles, ",")},
		})
	}
	return nodes
}

// reloadRegistry has the file of static instances count as it is now. One that is not good
// changes nothing.
func (n *node) reloadRegistry(s config.Settings) {
	static, err := staticServices(s)
	if err == nil {
		if changed := n.registry.SetStatic(static); len(changed) > 0 {
			n.log.Info("the static instances of services have changed", "services", changed)
		}
		return
	}
	const message = "the static instances stay as they are: their file is not good"
	var problems config.Problems
	if !errors.As(err, &problems) {
		n.log.Error(message, "err", err)
		return
	}
	for _, problem := range problems {
		n.log.Error(message, "err", problem)
	}
}
