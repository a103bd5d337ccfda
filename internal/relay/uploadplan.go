package relay

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Reasons for which a file is left alone.
const (
	leftFilter = "FILTER"  // the filter leaves it out
	leftRule   = "NO_RULE" // no rule matches
)

// plan is what an uploader does now: settings that were read and found good. It does
// not change; a reload makes another one.
type plan struct {
	settings UploaderSettings
	creds    *credentials
	filter   filter
	rules    []rule
	clusters map[string]bool // those of the rules
	every    schedule
	network  string // URL of the network server; empty for static clusters
	client   *http.Client
	courier  *courier
}

type rule struct {
	pattern
	cluster string
}

// newPlan reads settings for the folder with an ID. A plan that is made has to be
// closed.
func newPlan(s UploaderSettings, t uploadTuning, id string) (*plan, error) {
	p, err := readPlan(s)
	if err != nil {
		return nil, err
	}
	p.equip(t, id)
	return p, nil
}

// readPlan reads settings. The plan cannot call anybody yet.
func readPlan(s UploaderSettings) (p *plan, err error) {
	p = &plan{settings: s, clusters: map[string]bool{}}
	if s.Spool == "" {
		return nil, errors.New("spool: which folder?")
	}
	if s.MaxConn < 1 {
		return nil, errors.New("maxConn: must be at least 1")
	}
	if s.KeepFor <= 0 {
		return nil, errors.New("keepFor: must be more than 0")
	}
	if p.creds, err = s.Access.read(); err != nil {
		return nil, err
	}
	if p.filter, err = parseFilter(s.Filter); err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	if len(s.NextHop) == 0 {
		return nil, errors.New("nexthop: at least one rule is needed")
	}
	for _, r := range s.NextHop {
		match, err := parsePattern(r.Pattern)
		if err != nil {
			return nil, fmt.Errorf("nexthop: %w", err)
		}
		if r.Cluster == "" {
			return nil, fmt.Errorf("nexthop: the rule for %s has no cluster", r.Pattern)
		}
		p.rules = append(p.rules, rule{pattern: match, cluster: r.Cluster})
		p.clusters[r.Cluster] = true
	}
	if p.every, err = parseSchedule(s.Every); err != nil {
		return nil, fmt.Errorf("every: %w", err)
	}
	switch {
	case s.Network.Server != "" && s.Static == nil:
		if p.network, err = p.creds.base(s.Network.Server); err != nil {
			return nil, fmt.Errorf("network.server: %w", err)
		}
		if s.Network.Heartbeat <= 0 {
			return nil, errors.New("network.heartbeat: must be more than 0")
		}
	case s.Static == nil:
		return nil, errors.New("network.server, or clusters: who takes the files?")
	}
	return p, nil
}

// equip has a plan call others, for the folder with an ID.
func (p *plan) equip(t uploadTuning, id string) {
	p.client = p.creds.caller(1)
	p.courier = newCourier(p.creds, p.settings.MaxConn, t, id)
}

// route says which cluster a file goes to, or why it is left alone.
func (p *plan) route(name string) (cluster, left string) {
	if !p.filter.takes(name) {
		return "", leftFilter
	}
	for _, r := range p.rules {
		if r.matches(name) {
			return r.cluster, ""
		}
	}
	return "", leftRule
}

// keyOf returns the key of the setting that names a cluster first.
func (p *plan) keyOf(cluster string) string {
	i := slices.IndexFunc(p.rules, func(r rule) bool { return r.cluster == cluster })
	return fmt.Sprintf("nexthop[%d].cluster", i)
}

// close lets go of connections that nobody uses.
func (p *plan) close() {
	p.client.CloseIdleConnections()
	p.courier.client.CloseIdleConnections()
}

// clock tells ages by two clocks: the one of now, and the one of the start carried on
// by what does not jump. The lower age counts, so that a clock which jumps ages
// nothing; one that was wrong at the start does.
type clock struct {
	now   func() time.Time
	start time.Time
	since func() time.Duration // how long the program runs; it does not jump
}

func newClock(now func() time.Time) clock {
	start := now()
	return clock{now: now, start: start.Round(0), since: func() time.Duration { return now().Sub(start) }}
}

// age says how long ago a time was.
func (c clock) age(t time.Time) time.Duration {
	return min(c.now().Round(0).Sub(t), c.start.Add(c.since()).Sub(t))
}
