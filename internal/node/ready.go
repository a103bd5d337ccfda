package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/shards"
)

// away returns why this node cannot do its work, whoever asks: it has lost touch with
// its cluster. Nil while it can.
func (n *node) away() error {
	if n.members.Valid() {
		return nil
	}
	return n.members.Check()
}

// lapses remember since when shards have no keeper that serves. When a node dies,
// that is so for seconds on all others, and what is sent meanwhile waits: no reason
// to call any of them unready, or no node would be left. It is one when it lasts for
// as long as anything waits, and at the start, and for a node that was cut off: what it
// knows of keepers is old.
type lapses struct {
	mu    sync.Mutex
	since map[int]time.Time
	ready bool // they do not make the node unready
}

// look takes in which shards have no keeper at a time, and whether this node is in
// touch with the others then. It says whether that leaves the node ready: one that is
// not becomes so only when all shards are served.
func (l *lapses) look(unserved []int, touch bool, now time.Time) (ready bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = touch && (l.ready || len(unserved) == 0)
	since := make(map[int]time.Time, len(unserved))
	for _, shard := range unserved {
		began, known := l.since[shard]
		if !known {
			began = now
		}
		since[shard] = began
		l.ready = l.ready && now.Sub(began) < shards.Patience
	}
	l.since = since
	return l.ready
}

// look has lapses look, and returns which shards have no keeper.
func (n *node) look() (unserved []int, ready bool) {
	unserved = n.office.Unserved()
	return unserved, n.lapses.look(unserved, n.members.Valid(), time.Now())
}

// watchEvery is how often it is looked which shards have keepers, so that it is known
// since when, whether or not somebody asks.
const watchEvery = time.Second

// watchShards looks until ctx ends.
func (n *node) watchShards(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		n.look()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// checkStore is the part store of readiness: whether what this node keeps is stored.
func (n *node) checkStore() error {
	if n.leases == nil {
		if n.office.Ready() {
			return nil
		}
		return errors.New("the message store does not answer")
	}
	return unready(n.failing())
}

// noteStore is what is to be known of the part store while it works.
func (n *node) noteStore() string {
	var notes []string
	if n.leases != nil {
		notes = brief(n.failing())
	}
	if _, synced := n.bus.Synced(); !synced {
		notes = append(notes, "what is acknowledged may not survive a power cut: this NATS is not known to sync what it stores")
	}
	return strings.Join(notes, "; ")
}

// checkCluster is the part cluster of readiness: whether this node is a member, and
// whether all users have a keeper.
func (n *node) checkCluster() error {
	if err := n.members.Check(); err != nil {
		return err
	}
	return unready(n.unkept())
}

// noteCluster is what is to be known of the part cluster while it works.
func (n *node) noteCluster() string { return strings.Join(brief(n.unkept()), "; ") }

// failing says which shards this node keeps and cannot store for, and whether it is
// ready all the same.
func (n *node) failing() (what string, ready bool) {
	here := n.office.Failing()
	return n.lapse("the message log does not answer, of the shards", func(shard int) bool { return slices.Contains(here, shard) })
}

// unkept says which shards have no keeper, as far as this node knows, and whether it
// is ready all the same.
func (n *node) unkept() (what string, ready bool) {
	here := n.office.Failing()
	return n.lapse("no keeper is known of the shards", func(shard int) bool { return !slices.Contains(here, shard) })
}

// lapse says what is so of which shards without a keeper that serves; empty for none.
func (n *node) lapse(what string, of func(shard int) bool) (sentence string, ready bool) {
	unserved, ready := n.look()
	list := slices.DeleteFunc(unserved, func(shard int) bool { return !of(shard) })
	if len(list) == 0 {
		return "", ready
	}
	return fmt.Sprintf("%s %v", what, list), ready
}

// unready returns what is so as an error, if it makes the node unready.
func unready(what string, ready bool) error {
	if what == "" || ready {
		return nil
	}
	return errors.New(what)
}

// brief returns what is so as a note, if the node is ready all the same.
func brief(what string, ready bool) []string {
	if what == "" || !ready {
		return nil
	}
	return []string{fmt.Sprintf("%s; what is sent to their users waits for %s", what, shards.Patience)}
}
