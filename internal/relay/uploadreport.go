package relay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// report says how the uploader is doing.
func (u *uploader) report() Report {
	left := u.left()
	r := Report{Program: programUploader, ID: u.box.ID(), Host: hostName(), Spool: u.folder, Version: u.o.Version}
	u.tally.fill(&r)
	for reason, n := range left {
		switch spool.Reason(reason) {
		case spool.Hidden, spool.Temporary, spool.NotQuiet:
			// They are nobody's business, or will be sent.
		default:
			r.LeftAlone += n
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	r.Waiting = u.counts.all
	if c := u.counting; c != nil && c.all.Files > r.Waiting.Files {
		r.Waiting = c.all // the first pass takes long
	}
	r.Targets = make([]Target, 0, len(u.lanes))
	for _, l := range u.lanes {
		t := l.target()
		if c := u.counting; c != nil && c.lanes[l] != nil && c.lanes[l].Files > t.Waiting.Files {
			t.Waiting = *c.lanes[l]
		}
		r.Targets = append(r.Targets, t)
	}
	r.Targets = append(r.Targets, u.deserted()...)
	return r
}

// deserted returns the clusters that have no collector. mu is held.
func (u *uploader) deserted() (all []Target) {
	if !u.listed {
		return nil // nobody said so yet
	}
	for _, cluster := range slices.Sorted(maps.Keys(u.plan.clusters)) {
		if len(u.byName[cluster]) > 0 {
			continue
		}
		t := Target{Cluster: cluster, State: stateNone, Reason: fmt.Sprintf("the cluster has no collector; %s names it", u.plan.keyOf(cluster))}
		if w := u.counts.nobody[cluster]; w != nil {
			t.Waiting = *w
		}
		if c := u.counting; c != nil && c.nobody[cluster] != nil && c.nobody[cluster].Files > t.Waiting.Files {
			t.Waiting = *c.nobody[cluster]
		}
		all = append(all, t)
	}
	return all
}

// left says how many files the last pass left alone, by reason.
func (u *uploader) left() map[string]int64 {
	all := map[string]int64{}
	for reason, n := range u.box.LeftAlone() {
		all[string(reason)] = int64(n)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.Copy(all, u.counts.left)
	return all
}

// leftMetrics shows what was left alone, and what waits for a collector to come.
type leftMetrics struct{ u *uploader }

var (
	descLeft   = prometheus.NewDesc("switchboard_relay_left_alone", "What the last pass left alone in the folder.", []string{"reason"}, nil)
	descNobody = prometheus.NewDesc("switchboard_relay_waiting_without_collector_files", "Files of clusters that have no collector.", nil, nil)
	descLedger = prometheus.NewDesc("switchboard_relay_ledger_files", "Files that some collectors have and others lack.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m *leftMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- descLeft
	to <- descNobody
	to <- descLedger
}

// Collect implements prometheus.Collector.
func (m *leftMetrics) Collect(to chan<- prometheus.Metric) {
	for reason, n := range m.u.left() {
		to <- prometheus.MustNewConstMetric(descLeft, prometheus.GaugeValue, float64(n), reason)
	}
	m.u.mu.Lock()
	nobody := int64(0)
	for _, w := range m.u.counts.nobody {
		nobody += w.Files
	}
	m.u.mu.Unlock()
	to <- prometheus.MustNewConstMetric(descNobody, prometheus.GaugeValue, float64(nobody))
	to <- prometheus.MustNewConstMetric(descLedger, prometheus.GaugeValue, float64(m.u.ledger.size()))
}

// reporting has a reporter run for the plan of now. One goroutine uses it.
type reporting struct {
	u    *uploader
	ctx  context.Context // of the run that it belongs to
	stop context.CancelFunc
	done sync.WaitGroup
}

func newReporting(ctx context.Context, u *uploader) *reporting {
	return &reporting{u: u, ctx: ctx, stop: func() {}}
}

// restart reports by a plan.
func (r *reporting) restart(p *plan) {
	r.end()
	if p.network == "" {
		return
	}
	ctx, stop := context.WithCancel(r.ctx)
	r.stop = stop
	to := &reporter{
		log: r.u.o.Log, creds: p.creds, client: p.client, base: p.network,
		every: p.settings.Network.Heartbeat, report: r.u.report, process: r.u.o.process,
	}
	r.done.Go(func() { to.run(ctx) })
}

// end reports no more.
func (r *reporting) end() {
	r.stop()
	r.done.Wait()
}
