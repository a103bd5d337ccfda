package node

import (
	"context"
	"sync"

	"github.com/seed-3d8c1042/switchboard/internal/shards"
)

// duty is what is done for each shard by the node that keeps it, beside its mailboxes,
// and the tag by which nodes speak of it.
type duty struct {
	*shards.Owners
	tag byte
}

// addDuty has this node do its part of a duty, from join on.
func (n *node) addDuty(name string, tag byte, d shards.Duty) (*shards.Owners, error) {
	o := shards.OwnersOptions{
		Name: name, Self: n.id, Shards: n.office.Shards(), Duty: d, Logger: n.log, Metrics: n.metrics,
	}
	if n.links != nil {
		o.Links = tagged{n.links, tag}
	}
	owners, err := shards.NewOwners(o)
	if err != nil {
		return nil, err
	}
	if n.leases != nil {
		n.leases.Do(owners)
	}
	n.duties = append(n.duties, duty{owners, tag})
	return owners, nil
}

// doAlone does all duties of a node that is alone, until ctx ends.
func (n *node) doAlone(ctx context.Context) {
	var wg sync.WaitGroup
	for _, d := range n.duties {
		wg.Go(func() { d.Alone(ctx) })
	}
	wg.Wait()
}
