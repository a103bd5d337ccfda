package stats

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Nodes are the ways to other nodes, on which nothing overtakes anything: *bus.Links.
type Nodes interface {
	// Send sends one message, the parts joined. False: it does not go.
	Send(node string, parts ...[]byte) bool
}

// missed is how many samples of another node may be missing before it is taken for
// away, however the members count it: what it has now is not known any more.
const missed = 5

// shared is what a Sampler knows of others. Sampler.mu guards it.
type shared struct {
	keepers ledger              // those that this node has or had, by the numbers of their shards
	others  ledger              // other nodes, by ID
	up      map[string]struct{} // nodes that hear what this one says
	own     report              // newest of this node by itself
	unread  prometheus.Counter
}

// share prepares to share with other nodes, if there may be some.
func (s *Sampler) share() error {
	if s.opts.Nodes == nil {
		return nil
	}
	s.up = make(map[string]struct{})
	s.unread = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "switchboard_stats_unread_total", Help: "Reports of other nodes, for the stats of all together, that could not be read.",
	})
	if s.opts.Register == nil {
		return nil
	}
	if err := s.opts.Register.Register(s.unread); err != nil {
		return fmt.Errorf("register the metrics of stats: %w", err)
	}
	return nil
}

// together returns what the metrics say, and other nodes have said; these hear it.
func (s *Sampler) together(f families, now time.Time) (Counts, buckets) {
	if s.opts.Nodes == nil {
		c, syncs := f.counts()
		s.own.counts, c.Nodes = c, 1
		return c, syncs
	}
	s.own = s.byItself(f, now)
	body := s.own.append(nil)
	for node := range s.up {
		s.opts.Nodes.Send(node, body) // what does not go is old in a second
	}
	c, syncs, n := s.others.sum(now.Add(-missed * s.opts.Every))
	c.add(&s.own.counts, true)
	c.add(&s.own.counts, false)
	c.Nodes, c.Users = uint64(n)+1, s.own.counts.Users // every node knows the users of all
	return c, s.own.syncs.plus(syncs)
}

// byItself returns what this node says of itself. The metrics of a keeper leave with
// it; what it counted here stays.
func (s *Sampler) byItself(f families, now time.Time) report {
	rest, shards := f.apart("shard")
	for shard := range s.keepers.parts {
		if shards[shard] == nil {
			s.keepers.forget(shard)
		}
	}
	own := report{age: now.Sub(s.began)}
	for shard, f := range shards {
		c, syncs := f.counts()
		s.keepers.hear(shard, report{c, syncs, own.age}, now, true)
	}
	c, syncs := rest.counts()
	kept, keptSyncs, _ := s.keepers.sum(time.Time{})
	own.counts, own.syncs = c, syncs.plus(keptSyncs)
	own.counts.add(&kept, true)
	own.counts.add(&kept, false)
	return own
}

// Sessions returns how many sessions this node has by itself, as of the newest
// sample.
func (s *Sampler) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.own.counts.Sessions)
}

// PeerUp begins to tell a node, at once: it counts from there.
func (s *Sampler) PeerUp(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up[node] = struct{}{}
	said := s.own
	said.age = s.opts.Now().Sub(s.began)
	s.opts.Nodes.Send(node, said.append(nil))
}

// PeerDown ends that: the node hears nothing until the next PeerUp.
func (s *Sampler) PeerDown(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.up, node)
}

// PeerGone is told of a node that has left, or is dead. What it counted stays.
func (s *Sampler) PeerGone(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.up, node)
	s.others.leave(node)
}

// PeerReceive takes what a node says. What cannot be read is passed over: a later
// version may say it in another way.
func (s *Sampler) PeerReceive(node string, body []byte) {
	r, err := readReport(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.unread.Inc()
		return
	}
	now := s.opts.Now()
	// One that began later than this node has all that it counted since then, by
	// whatever clock.
	s.others.hear(node, r, now, r.age <= now.Sub(s.began))
}
