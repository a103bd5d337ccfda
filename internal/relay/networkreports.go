package relay

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Bounds of the reports that are kept, of the newest of each program.
const (
	maxReports     = 10_000
	maxReportBytes = 32 << 20 // as they came, or as they are told where that is more
	reportAge      = 24 * time.Hour
)

// reportBook is what programs told last. They are kept in memory alone: the next
// reports bring them back.
type reportBook struct {
	last  map[reportKey]*lastReport
	bytes int
}

// reportKey names a program. The IDs of collectors are their cluster's.
type reportKey struct{ program, cluster, id string }

type lastReport struct {
	Report
	size int
	seen time.Time
}

func newReportBook() *reportBook { return &reportBook{last: map[reportKey]*lastReport{}} }

// take keeps a report in the place of that program's last one; others go if there are
// too many, those that were silent longest first.
func (s *reportBook) take(now time.Time, r Report, size int) {
	key := reportKey{r.Program, r.Cluster, r.ID}
	if r.Program != programCollector {
		key.cluster = ""
	}
	r.FullSince = time.Time{}
	if r.Full != "" {
		r.FullSince = now.UTC()
	}
	if old := s.last[key]; old != nil {
		s.bytes -= old.size
		if r.Full != "" && old.Full != "" {
			r.FullSince = old.FullSince
		}
	}
	s.last[key] = &lastReport{r, size, now}
	s.bytes += size
	if len(s.last) > maxReports || s.bytes > maxReportBytes {
		s.forgetOldest(key)
	}
}

// forgetOldest makes room, except by dropping the newest.
func (s *reportBook) forgetOldest(newest reportKey) {
	keys := slices.SortedFunc(maps.Keys(s.last), func(a, b reportKey) int { return s.last[a].seen.Compare(s.last[b].seen) })
	for _, key := range keys {
		if len(s.last) <= maxReports-maxReports/atOnce && s.bytes <= maxReportBytes-maxReportBytes/atOnce {
			return
		}
		if key != newest {
			s.bytes -= s.last[key].size
			delete(s.last, key)
		}
	}
}

// forgetSilent drops those that said nothing for a day, and at once those whose process
// goes on under another ID: it was told to use another folder.
func (s *reportBook) forgetSilent(now time.Time) {
	speaks := map[string]bool{}
	for _, r := range s.last {
		if r.Process != "" && !r.silent(now) {
			speaks[r.Process] = true
		}
	}
	for key, r := range s.last {
		if now.Sub(r.seen) > reportAge || speaks[r.Process] && r.silent(now) {
			s.bytes -= r.size
			delete(s.last, key)
		}
	}
}

// silent says whether a program missed three of its reports.
func (r *lastReport) silent(now time.Time) bool {
	every := min(max(time.Duration(r.Every)*time.Millisecond, time.Second), time.Hour)
	return now.Sub(r.seen) > 3*every
}

// told is a report as others are told of it.
func (r *lastReport) told() Report {
	out := r.Report
	out.Process = "" // whoever knows it could take the place of the program
	return out
}

// status returns the programs that report, and members with what they reported.
func (s *reportBook) status(now time.Time, g *roster) (clusters []ClusterStatus, programs []ReportStatus) {
	clusters, programs = []ClusterStatus{}, []ReportStatus{}
	for _, m := range g.sorted() {
		if m.left {
			continue
		}
		if n := len(clusters); n == 0 || clusters[n-1].Name != m.cluster {
			clusters = append(clusters, ClusterStatus{Name: m.cluster})
		}
		one := MemberStatus{ID: m.id, Address: m.address, Port: m.port, State: m.state(), Since: m.since.UTC(), Seen: m.seen.UTC()}
		if r := s.last[reportKey{programCollector, m.cluster, m.id}]; r != nil {
			told := r.told()
			one.Report = &told
		}
		last := &clusters[len(clusters)-1]
		last.Members = append(last.Members, one)
	}
	for key, r := range s.last {
		if key.program != programCollector {
			programs = append(programs, ReportStatus{Report: r.told(), Seen: r.seen.UTC(), Silent: r.silent(now)})
		}
	}
	slices.SortFunc(programs, func(a, b ReportStatus) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Spool, b.Spool), cmp.Compare(a.Program, b.Program), cmp.Compare(a.ID, b.ID))
	})
	return clusters, programs
}
