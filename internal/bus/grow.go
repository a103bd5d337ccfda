package bus

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// mostCopies is how many copies streams get by themselves where servers come: with
	// three any one may be missing, and more only cost.
	mostCopies = 3
	// growEvery is how often a server looks whether the streams that it leads have their
	// copies. It asks nobody: what it leads it knows.
	growEvery = 2 * time.Second
	// shortGrace is how long copies may be missing before the log says so: a server that
	// is started anew is back before that.
	shortGrace = time.Minute
	// shortAgain is how often the log says so while that lasts.
	shortAgain = 15 * time.Minute
	// restFor is how long no copy is asked for after there was no place for one.
	restFor = 10 * time.Second
	// slack is how many writes a copy may be behind that counts as one: what is under way.
	slack = 64
)

// shortage is since when streams that this server leads lack copies, when the log said so
// last, and until when no more copies are asked for, because there was no place for one.
type shortage struct{ since, said, rest time.Time }

// grow sees to it that the streams that this server leads get the copies that they
// should have, until the engine stops: each stream is one server's concern, and of its
// streams one at a time gets another copy.
func (e *engine) grow() {
	defer e.wg.Done()
	tick := time.NewTicker(growEvery)
	defer tick.Stop()
	var s shortage
	for {
		select {
		case <-e.quit:
			return
		case now := <-tick.C:
			e.growOnce(now, &s)
		}
	}
}

func (e *engine) growOnce(now time.Time, s *shortage) {
	there, leads := e.leads()
	var short []string
	var next string // the stream that is raised
	want, moving := 0, false
	gone := map[string]bool{}
	for _, l := range leads {
		should := e.opts.Cluster.copies(l.Config.Replicas, there)
		has := 1
		for _, r := range l.Cluster.Replicas {
			switch {
			case !r.Pending && (r.Current || r.Lag > 0 && r.Lag <= slack && !away(r)):
				has++
			case away(r):
				gone[nameOr(r)] = true
			default:
				moving = true
			}
		}
		if has < should {
			short = append(short, l.Name)
		}
		if to := min(should, there); l.Config.Replicas < to && (next == "" || l.Name < next) {
			next, want = l.Name, to
		}
	}
	e.mu.Lock()
	e.short = len(short)
	e.mu.Unlock()
	e.sayShort(now, s, short, slices.Sorted(maps.Keys(gone)))
	if next == "" || moving || now.Before(s.rest) {
		return
	}
	if err := e.raise(next, want); err != nil {
		s.rest = now.Add(restFor)
		e.opts.Logger.Debug("a stream could not get another copy yet", "stream", next, "want", want, "err", err)
	}
}

func nameOr(r *server.PeerInfo) string {
	if name := known(r.Name); name != "" {
		return name
	}
	return r.Peer
}

// leads returns the streams that this server leads, and how many servers that keep
// streams are there.
func (e *engine) leads() (there int, list []server.StreamDetail) {
	z, err := e.srv.Jsz(&server.JSzOptions{Account: account, Accounts: true, Streams: true, Config: true, StreamLeaderOnly: true})
	if err != nil || z.Disabled || z.Meta == nil || z.Meta.Leader == "" {
		return 0, nil
	}
	there = 1 // who leads is not among the others
	for _, r := range z.Meta.Replicas {
		// Only who leads the cluster knows better.
		if !r.Offline && (z.Meta.Leader != e.srv.Name() || !away(r)) {
			there++
		}
	}
	for _, a := range z.AccountDetails {
		for _, s := range a.Streams {
			if s.Config != nil && s.Cluster != nil && s.Cluster.Leader == e.srv.Name() {
				list = append(list, s)
			}
		}
	}
	return there, list
}

// sayShort has the log say what lacks copies, when it has lasted, and when it is over.
func (e *engine) sayShort(now time.Time, s *shortage, short, gone []string) {
	switch {
	case len(short) == 0:
		if !s.said.IsZero() {
			e.opts.Logger.Info("every stream that this node leads has its copies again")
		}
		s.since, s.said = time.Time{}, time.Time{}
	case s.since.IsZero():
		s.since = now
	case now.Sub(s.since) >= shortGrace && (s.said.IsZero() || now.Sub(s.said) >= shortAgain):
		s.said = now
		e.opts.Logger.Warn("what is stored has fewer copies than it should: one more node that fails may stop everything",
			"streams", len(short), "first", short[0], "away", strings.Join(gone, " "))
	}
}

// raise gives a stream more replicas, unless it has them.
func (e *engine) raise(name string, replicas int) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitStep)
	defer cancel()
	stream, err := e.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	config := stream.CachedInfo().Config
	if config.Replicas >= replicas {
		return nil
	}
	config.Replicas = replicas
	if _, err := e.js.UpdateStream(ctx, config); err != nil {
		return err
	}
	e.opts.Logger.Info("a stream gets another copy", "stream", name, "copies", replicas)
	return nil
}

// Short returns how many streams this server leads that have fewer copies than they
// should have.
func (b *Bus) Short() int {
	e, err := b.engine()
	if err != nil {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.short
}

// LeadsCluster says whether this server leads the cluster: one of them does, as a rule,
// and has to say what all need to hear once.
func (b *Bus) LeadsCluster() bool {
	e, err := b.engine()
	return err == nil && e.srv != nil && b.opts.Cluster != nil && e.srv.JetStreamIsLeader()
}
