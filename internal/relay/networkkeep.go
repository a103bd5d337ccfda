package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of writing. A change that comes alone is written at once; of many that come
// one after the other, those of a pause are written together, so that neither how many
// nor how large they are says how much is written in a second.
const (
	keepPause = 50 * time.Millisecond
	keepRate  = 16 << 20 // bytes a second, when the file is large
)

// keep writes what changed until ctx ends, and what is left then. While one file is
// written and synced, and for a while after that, the next changes gather.
func (n *networkServer) keep(ctx context.Context) {
	defer n.keepOnce()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		}
		size := n.keepOnce()
		n.tellNews(false)
		select {
		case <-ctx.Done():
			return
		case <-n.pause(max(keepPause, time.Duration(size)*time.Second/keepRate)):
		}
	}
}

// keepOnce writes all that is not kept yet, and says how many bytes that took.
func (n *networkServer) keepOnce() int {
	n.mu.Lock()
	change := n.roster.changes
	if change == n.kept {
		n.mu.Unlock()
		return 0
	}
	state := n.roster.state()
	n.mu.Unlock()
	file := state.file()
	err := n.write(n.folder, file)
	n.mu.Lock()
	before := n.keepErr
	n.keepErr = err
	if err == nil {
		n.kept = change
	}
	close(n.tried)
	n.tried = make(chan struct{})
	n.mu.Unlock()
	if err != nil {
		n.metrics.unkept.Inc()
	}
	switch {
	case err != nil && before == nil:
		n.log.Error("members cannot be kept, and no new ones join: make room, or put the data folder right", "data", n.folder, "err", err)
	case err == nil && before != nil:
		n.log.Info("members can be kept again", "data", n.folder)
	}
	return len(file)
}

func (n *networkServer) wakeKeeper() {
	select {
	case n.wake <- struct{}{}:
	default: // it is awake
	}
}

// settled waits until a change is on disk.
func (n *networkServer) settled(ctx context.Context, change uint64) error {
	for {
		n.mu.Lock()
		kept, tried := n.kept, n.tried
		n.mu.Unlock()
		if kept >= change {
			return nil
		}
		n.wakeKeeper()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tried:
		}
		n.mu.Lock()
		err := n.keepErr
		n.mu.Unlock()
		if err != nil {
			return fmt.Errorf("keep the members: %w", err)
		}
	}
}

// join has a collector join or renews it. It returns when that is kept.
func (n *networkServer) join(ctx context.Context, a asking) (Registered, error) {
	n.mu.Lock()
	m, err := n.roster.register(n.now(), a)
	if err != nil {
		n.mu.Unlock()
		return Registered{}, err
	}
	out, change := Registered{ID: m.id, Port: Port(m.port)}, m.change
	n.mu.Unlock()
	return out, n.settled(ctx, change)
}

// leave has the collectors of an ID leave, as somebody asks. It returns when that is
// kept.
func (n *networkServer) leave(ctx context.Context, id, by string) error {
	n.mu.Lock()
	for _, m := range n.roster.remove(n.now(), id) {
		n.news.remove(m, by)
	}
	change := n.roster.changes
	n.mu.Unlock()
	return n.settled(ctx, change)
}

// madeList is a list as it is answered, after a change. It is made once for all who ask.
type madeList struct {
	change uint64
	text   []byte // nil before the first
}

// listed returns the members that are there, or also those that were lost, as JSON
// that is not to be changed.
func (n *networkServer) listed(lost bool) []byte {
	made := &n.lists[0]
	if lost {
		made = &n.lists[1]
	}
	n.mu.Lock()
	n.roster.expire(n.now())
	change := n.roster.changes
	if made.text != nil && made.change == change {
		defer n.mu.Unlock()
		return made.text
	}
	list := n.roster.list(lost)
	n.mu.Unlock()
	text := encode(list)
	n.mu.Lock()
	defer n.mu.Unlock()
	if made.text == nil || made.change < change {
		*made = madeList{change, text}
	}
	return text
}

func (n *networkServer) status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	n.roster.expire(now)
	s := Status{Version: n.version, Started: n.started.UTC(), Now: now.UTC()}
	s.Clusters, s.Programs = n.reports.status(now, n.roster)
	return s
}

// trouble says why the server is not ready.
func (n *networkServer) trouble() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.keepErr != nil {
		return errors.New("members cannot be kept; the log says why")
	}
	return nil
}

// networkMetrics count what a network server does.
type networkMetrics struct {
	registry        *prometheus.Registry
	refused         *prometheus.CounterVec
	dropped, unkept prometheus.Counter
}

func newNetworkMetrics(n *networkServer) (*networkMetrics, error) {
	count := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_relay_" + name, Help: help})
	}
	gauge := func(name, help string, read func() int) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "switchboard_relay_" + name, Help: help}, func() float64 {
			n.mu.Lock()
			defer n.mu.Unlock()
			return float64(read())
		})
	}
	m := &networkMetrics{
		refused: newRefused(),
		dropped: count("members_dropped_total", "Collectors that missed their heartbeats."),
		unkept:  count("members_unkept_total", "Times that the members could not be written to the data folder."),
	}
	var err error
	m.registry, err = newRegistry(m.refused, m.dropped, m.unkept,
		gauge("members", "Collectors that are there.", func() int { return n.roster.up }),
		gauge("members_known", "Collectors that have an ID and a port, those that are gone included.", func() int { return len(n.roster.members) }),
		gauge("reports", "Programs that report.", func() int { return len(n.reports.last) }))
	return m, err
}
