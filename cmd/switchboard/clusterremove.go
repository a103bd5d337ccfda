package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// clusterRemoveCommand takes out a node that is gone for good.
type clusterRemoveCommand struct {
	Node string `arg:"" help:"Its name (cluster.node), as switchboard cluster status shows it."`
	nodeFlags
}

// Validate checks what needs no node; what it says is a matter of usage.
func (c clusterRemoveCommand) Validate() error {
	if c.Node == "" {
		return errors.New("NODE is empty: give the name of the node that is gone")
	}
	return c.nodeFlags.Validate()
}

// Run implements the command.
func (c clusterRemoveCommand) Run(p *program) error {
	n, err := c.node(p)
	if err != nil {
		return fmt.Errorf("cluster remove: %w", err)
	}
	ctx := context.Background()
	raw, err := n.call(ctx, "DELETE", "/v1/cluster/nodes/"+url.PathEscape(c.Node), nil, nil)
	if err != nil {
		return fmt.Errorf("cluster remove: %w", err)
	}
	say := func(format string, args ...any) {
		if !c.JSON {
			fmt.Fprintf(p.out, format+"\n", args...)
		}
	}
	say("%s is out of the cluster; its copies are made anew on the others, also if this command ends", c.Node)
	if err := awaitCopies(ctx, n, say); err != nil {
		return fmt.Errorf("cluster remove: %s is out, but it cannot be seen how far its copies are: %w", c.Node, err)
	}
	if c.JSON {
		_, err = p.out.Write(raw)
	}
	return err
}

const (
	// copiesEvery is how often the node is asked how far copies are.
	copiesEvery = time.Second
	// copiesPatience is how often in a row it may not know, as while a leader is elected.
	copiesPatience = 60
)

// awaitCopies waits until each stream had all the copies that the nodes that are there can
// give it, and says how far it is.
func awaitCopies(ctx context.Context, n *nodeClient, say func(format string, args ...any)) error {
	var left []string // nil: not known yet
	tick := time.NewTicker(copiesEvery)
	defer tick.Stop()
	for unknown := 0; ; <-tick.C {
		var answer clusterAnswer
		_, err := n.call(ctx, "GET", "/v1/cluster", nil, &answer)
		if err != nil || answer.Store == nil {
			if unknown++; unknown < copiesPatience {
				continue
			}
			return errors.Join(err, errors.New("the nodes do not know where the copies are"))
		}
		unknown = 0
		s, before := answer.Store, len(left)
		if left == nil {
			left, before = append([]string{}, s.Due...), -1
		}
		// A copy that was complete once counts: for moments each of them may lag.
		left = slices.DeleteFunc(left, func(stream string) bool { return !slices.Contains(s.Due, stream) })
		if len(left) != before {
			say("%d of %d streams have their copies", s.Streams-len(left), s.Streams)
		}
		if len(left) == 0 {
			if short := len(s.Short) - len(s.Due); short > 0 {
				say("%d streams have fewer copies than they should, for want of processors: add one, or set cluster.replicas to what there are", short)
			}
			return nil
		}
	}
}
