package domains

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The kinds of trouble that a source may have, as its metrics and State name
// them.
const (
	kindUnreachable = "unreachable" // no connection, or it broke; a file that cannot be read
	kindTimeout     = "timeout"     // no answer in time
	kindStatus      = "status"      // an HTTP status that is none of a meta server's good ones
	kindType        = "type"        // another content type
	kindSize        = "size"        // more than is read
	kindCut         = "cut"         // the answer broke off
	kindContent     = "content"     // not a good description
	kindSelf        = "self"        // a description without this domain
	kindVersion     = "version"     // it went back, or is not what was announced
	kindStream      = "stream"      // the stream of changes ends at once, falls silent, or is none
	kindDisk        = "disk"        // the last good copy cannot be written
	kindCopy        = "copy"        // the last good copy could not be used at the start
)

// TroubleKinds returns the kinds of trouble that a source may have.
func TroubleKinds() []string {
	return []string{kindUnreachable, kindTimeout, kindStatus, kindType, kindSize, kindCut, kindContent, kindSelf, kindVersion, kindStream, kindDisk, kindCopy}
}

// trouble is something that goes wrong from outside.
type trouble struct {
	kind string
	err  error // a sentence
}

func newTrouble(kind, format string, args ...any) *trouble {
	return &trouble{kind, fmt.Errorf(format, args...)}
}

// part is what a trouble is about. Each part has one at a time.
type part int

const (
	fetching part = iota
	following
	saving
	parts
)

// says returns what is logged of a part's trouble, and of its end. first says that
// there has been no description yet.
func (p part) says(first bool) (bad, good string) {
	switch {
	case p == fetching && first:
		return "the description of the network cannot be had, and there is none of before; it is tried again", "the description of the network can be had"
	case p == fetching:
		return "the description of the network is not refreshed; the last good one stays", "the description of the network is refreshed again"
	case p == following:
		return "changes of the network are not told; it is asked for them", "changes of the network are told again"
	}
	return "no current copy of the network is on disk", "a current copy of the network is on disk again"
}

// ongoing is a trouble that is not over.
type ongoing struct {
	*trouble
	since time.Time
	first bool // there was no description when it began
	said  bool // it was logged
}

// ledger keeps the troubles of a source, logs each new one once, and counts them.
type ledger struct {
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	known   func() bool // there is a description

	mu   sync.Mutex
	open map[part]ongoing
}

// raise notes a trouble of a part. It is logged, if aloud, unless the part has
// had the same since. One that a server has with everything that it is asked is
// logged once, not of its stream, too.
func (l *ledger) raise(p part, t *trouble, aloud bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.metrics.troubles.WithLabelValues(t.kind).Inc()
	before, had := l.open[p]
	now := ongoing{trouble: t, since: l.now(), first: !l.known()}
	if had && same(before.trouble, t) {
		now.since, now.first, now.said = before.since, before.first, before.said
	}
	again := now.said || p == following && l.explains(t)
	now.said = now.said || aloud && !again
	l.open[p] = now
	l.show()
	if aloud && !again {
		bad, _ := p.says(now.first)
		l.log.Warn(bad, "kind", t.kind, "err", t.err)
	}
}

// same says whether a trouble is another one's repetition. What the network says
// differs each time, by port numbers if nothing else.
func same(a, b *trouble) bool {
	return a.kind == b.kind && (a.kind == kindUnreachable || a.kind == kindCut || a.err.Error() == b.err.Error())
}

// explains says whether the trouble of fetching is that of the stream, too: the server
// is away, or does the same with both. The caller has the lock.
func (l *ledger) explains(t *trouble) bool {
	whole, failing := l.open[fetching]
	return failing && (whole.kind == t.kind || whole.kind == kindUnreachable || whole.kind == kindTimeout)
}

// clear notes that a part has no trouble.
func (l *ledger) clear(p part) { l.clearUnless(p, "") }

// clearUnless does so unless its trouble is of a kind.
func (l *ledger) clearUnless(p part, kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, had := l.open[p]
	if !had || t.kind == kind {
		return
	}
	delete(l.open, p)
	l.show()
	if t.said {
		_, good := p.says(t.first)
		l.log.Info(good)
	}
}

// show sets the gauges. The caller has the lock.
func (l *ledger) show() {
	for _, kind := range TroubleKinds() {
		l.metrics.trouble.WithLabelValues(kind).Set(0)
	}
	for _, t := range l.open {
		l.metrics.trouble.WithLabelValues(t.kind).Set(1)
	}
}

// worst returns the trouble that matters most: the parts are in that order.
func (l *ledger) worst() (text, kind string, since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range parts {
		if t, had := l.open[p]; had {
			return t.err.Error(), t.kind, t.since
		}
	}
	return "", "", time.Time{}
}

// metrics count what a source does.
type metrics struct {
	version  prometheus.Gauge
	changes  prometheus.Counter
	trouble  *prometheus.GaugeVec   // kind
	troubles *prometheus.CounterVec // kind
}

// newMetrics registers with reg, which may be nil.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const space, sub = "switchboard", "domains"
	m := &metrics{
		version: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: space, Subsystem: sub, Name: "network_version",
			Help: "Version of the description of the network that this domain goes by; 0 for one from a file, or none.",
		}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "network_changes_total",
			Help: "Descriptions of the network that were taken since the start.",
		}),
		trouble: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: space, Subsystem: sub, Name: "source_trouble",
			Help: "1 while the source of the network's description has a trouble of the kind, 0 otherwise.",
		}, []string{"kind"}),
		troubles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: sub, Name: "source_troubles_total",
			Help: "Attempts to refresh the network's description, to follow its changes or to keep a copy that failed, by kind.",
		}, []string{"kind"}),
	}
	for _, kind := range TroubleKinds() {
		m.trouble.WithLabelValues(kind)
		m.troubles.WithLabelValues(kind)
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.version, m.changes, m.trouble, m.troubles} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) taken(version uint64) {
	m.version.Set(float64(version))
	m.changes.Inc()
}
