package settings

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The kinds of trouble.
const (
	kindUnreachable = "unreachable" // the meta server cannot be reached, or broke off
	kindStatus      = "status"      // it answers with another status than it should
	kindAnswer      = "answer"      // its answer is none of settings
	kindStream      = "stream"      // its streams of changes do not come through
	kindRepository  = "repository"  // it has newer settings that it cannot read, or refuses
	kindBad         = "bad"         // settings that are not good: of a commit, or of this node
	kindEffect      = "effect"      // good settings that the node could not put into effect
	kindDisk        = "disk"        // the last good copy cannot be written
	kindCopy        = "copy"        // it could not be used at the start
)

// Kinds returns the kinds of trouble that there are.
func Kinds() []string {
	return []string{kindUnreachable, kindStatus, kindAnswer, kindStream, kindRepository, kindBad, kindEffect, kindDisk, kindCopy}
}

// What a trouble is about. Each part has one at a time.
const (
	partFetch  = "fetch"
	partStream = "stream"
	partMeta   = "meta"
	partCommit = "commit"
	partFile   = "file"
	partEffect = "effect"
	partCopy   = "copy"
)

// mostSaid is how many problems of one commit are said.
const mostSaid = 20

// mostText is how much of one problem is said, in bytes.
const mostText = 500

// clip shortens what a stranger may have written, between two characters.
func clip(text string) string {
	if len(text) <= mostText {
		return strings.ToValidUTF8(text, "�")
	}
	return strings.ToValidUTF8(text[:mostText], "") + "…"
}

// messages are what the log says of a trouble of a part.
func message(part string) string {
	switch part {
	case partFetch:
		return "the settings of the repository are not refreshed; those in force stay"
	case partStream:
		return "changes of the settings are not told; they are asked for"
	case partMeta:
		return "the meta server has no newer settings than these, for it has a trouble with its repository"
	case partCommit, partFile:
		return "settings stay as they are: the new ones are not good"
	case partEffect:
		return "the new settings are not in effect"
	}
	return "no current copy of the settings is on disk"
}

// Trouble is something that goes wrong, and is not over.
type Trouble struct {
	Kind   string    // see Kinds
	Commit string    // that is bad; empty for another trouble
	Since  time.Time // when it began
	Text   []string  // sentences
}

// raise notes a trouble of a part, and logs it unless the part has had it since.
func (b *Book) raise(part string, t Trouble) {
	b.metrics.troubles.WithLabelValues(t.Kind).Inc()
	for i, text := range t.Text {
		t.Text[i] = clip(text)
	}
	text := message(part)
	b.mu.Lock()
	if part == partFetch && b.bare {
		text = "this node has no settings of the repository yet, nor a copy of them, and goes on asking before it gives up"
	}
	before, had := b.troubles[part]
	again := had && before.same(t)
	t.Since = b.o.Now()
	if again {
		t.Since = before.Since
	}
	b.troubles[part] = t
	b.show()
	b.mu.Unlock()
	if again {
		return
	}
	for _, why := range t.Text {
		switch part {
		case partCommit, partFile, partEffect:
			b.o.Log.Error(text, "err", why)
		default:
			b.o.Log.Warn(text, "err", why)
		}
	}
}

// clear notes that a part has no trouble.
func (b *Book) clear(part string) {
	b.mu.Lock()
	_, had := b.troubles[part]
	delete(b.troubles, part)
	b.show()
	b.mu.Unlock()
	if had && (part == partFetch || part == partStream || part == partMeta || part == partCopy) {
		b.o.Log.Info("a trouble with the settings is over", "about", part)
	}
}

// show sets the gauges. The caller has the lock mu.
func (b *Book) show() {
	for _, kind := range Kinds() {
		b.metrics.inTrouble.WithLabelValues(kind).Set(0)
	}
	for _, t := range b.troubles {
		b.metrics.inTrouble.WithLabelValues(t.Kind).Set(1)
	}
}

// metrics count.
type metrics struct {
	changes                   prometheus.Counter
	pending, following, since prometheus.Gauge
	inTrouble                 *prometheus.GaugeVec   // kind
	troubles                  *prometheus.CounterVec // kind
}

func newMetrics() *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "switchboard_settings_" + name, Help: help})
	}
	m := &metrics{
		changes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_settings_changes_total", Help: "Commits of settings that were taken since the start."}),
		pending:   gauge("pending_restart", "Settings that take effect at the next start."),
		following: gauge("following", "1 while the meta server tells of changes at once."),
		since:     gauge("since_timestamp_seconds", "When the settings of the repository that are in force were taken; 0 for none."),
		inTrouble: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "switchboard_settings_in_trouble", Help: "1 while there is a trouble of the kind with the settings, 0 otherwise."}, []string{"kind"}),
		troubles:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "switchboard_settings_troubles_total", Help: "What went wrong with the settings, by kind, each attempt counted."}, []string{"kind"}),
	}
	for _, kind := range Kinds() {
		m.inTrouble.WithLabelValues(kind)
		m.troubles.WithLabelValues(kind)
	}
	return m
}

func (m *metrics) register(to prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.changes, m.pending, m.following, m.since, m.inTrouble, m.troubles} {
		if err := to.Register(c); err != nil {
			return err
		}
	}
	return nil
}
