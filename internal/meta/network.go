package meta

import (
	"log/slog"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// network is the description that is served. It is a subject.
type network struct {
	lastGood *lastGood
	log      *slog.Logger
	now      func() time.Time
	metrics  *metrics

	mu      sync.Mutex
	view    *view         // nil before there was a good description
	changed chan struct{} // closed with the next view
}

// newNetwork takes the last good copy, if there is one.
func newNetwork(last *lastGood, log *slog.Logger, now func() time.Time, m *metrics) (*network, error) {
	n := &network{lastGood: last, log: log, now: now, metrics: m, changed: make(chan struct{})}
	of, graph, err := last.load()
	if err != nil {
		log.Warn("the last good copy is passed over", "err", err)
	}
	if of != nil {
		v, err := newView(of, graph)
		if err != nil {
			return nil, err
		}
		n.put(v)
	}
	return n, nil
}

// current returns what is served, and what will be closed when that changes.
func (n *network) current() (*view, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.view, n.changed
}

func (n *network) put(v *view) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.view = v
	close(n.changed)
	n.changed = make(chan struct{})
	n.metrics.serving(v.network)
}

func (n *network) serves() bool {
	v, _ := n.current()
	return v != nil
}

// troubled is nothing to those that follow a network: the metrics and the log tell it.
func (n *network) troubled(*standing) {}

func (n *network) words() *words {
	return &words{
		over:    "the trouble with the description is over",
		unread:  "the description cannot be read: the last good one stays",
		unkept:  "the new description cannot be kept, so it does not take effect: the last good one stays",
		refused: "the description is refused: the last good one stays",
		more:    "the description has more problems: switchboard meta check names them",
		again:   "the description can be read again, and is the one that was refused: the last good one stays",
	}
}

// take checks a description and has it served if its meaning is another one.
func (n *network) take(found content) error {
	of, notices, err := domains.Parse(found.text, appRule)
	if err != nil {
		return &Bad{found.place, err}
	}
	before, _ := n.current()
	if before != nil && before.network.Hash() == of.Hash() {
		return nil
	}
	of = of.WithVersion(n.nextVersion(before))
	v, err := newView(of, nil)
	if err != nil {
		return &Bad{found.place, err}
	}
	// First on disk: what is served has to be there after a restart, under the
	// same version.
	if err := n.lastGood.save(v.graph()); err != nil {
		return &trouble{troubleDisk, err}
	}
	for _, notice := range notices {
		n.log.Warn("passed over in the description", "place", found.place, "notice", notice)
	}
	n.put(v)
	n.metrics.changes.Inc()
	n.log.Info("a new description is in effect", "place", found.place, "version", of.Version,
		"domains", len(of.Domains), "links", len(of.Links), "apps", len(of.Apps))
	return nil
}

// nextVersion returns the version of what comes after what is served.
func (n *network) nextVersion(before *view) uint64 {
	version := uint64(max(n.now().UnixMilli(), 1))
	if before != nil {
		version = max(version, before.network.Version+1)
	}
	return version
}
