package relay

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// metricsOfAll returns the metrics of the four programs, with their labels.
func metricsOfAll(t *testing.T) []string {
	t.Helper()
	o := &UploaderOptions{}
	o.fill()
	u, err := startUploader(o, standardUpload(t.TempDir(), Clusters{"next": {"a": {Address: "127.0.0.1", Port: 1}}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.box.Close() }) // nothing was sent
	u.errs.WithLabelValues("DOWN")
	u.counts.left = map[string]int64{leftRule: 1}
	u.settle()
	u.lanes = []*lane{u.newLane("next", "a", false)}
	t.Cleanup(u.lanes[0].cut)
	network, err := newNetworkMetrics(&networkServer{roster: testRoster(), reports: newReportBook()})
	if err != nil {
		t.Fatal(err)
	}
	network.refused.WithLabelValues("x") // of the collector, too
	maker := prometheus.NewRegistry()
	maker.MustRegister(newMakerNumbers().records)
	found := map[string]bool{}
	for _, r := range []*prometheus.Registry{u.metrics, network.registry, maker} {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			var labels []string
			for _, l := range f.GetMetric()[0].GetLabel() {
				labels = append(labels, l.GetName())
			}
			name, ours := strings.CutPrefix(f.GetName(), "switchboard_relay_")
			if ours && labels != nil {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			if ours {
				found[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func TestTheTableOfMetricsHasAllOfThemAndTheirLabels(t *testing.T) {
	_, after, _ := strings.Cut(page(t), "### Metrics\n")
	table, _, _ := strings.Cut(after, "\n#")
	found := map[string]bool{}
	for _, m := range regexp.MustCompile("`(?:switchboard_relay)?_([a-z_]+(?:{[a-z,]+})?)`").FindAllStringSubmatch(table, -1) {
		found[m[1]] = true
	}
	if got, want := slices.Sorted(maps.Keys(found)), metricsOfAll(t); !slices.Equal(got, want) {
		t.Errorf("docs/relay.md has\n%q, not\n%q", got, want)
	}
	for _, reason := range []spool.Reason{
		leftFilter, leftRule, spool.Hidden, spool.Temporary, spool.NotQuiet, spool.BadName, spool.Symlink, spool.Folder, spool.OtherKind, spool.Denied,
	} {
		if !strings.Contains(page(t), "`"+string(reason)+"`") {
			t.Errorf("docs/relay.md lacks the reason %s", reason)
		}
	}
}

// A new user copies the files of the page as they are.
func TestTheFilesOfTheQuickStartAreGoodAndFitTogether(t *testing.T) {
	file := func(name string) string {
		found := regexp.MustCompile("(?s)`" + name + "`[^\n]*:\n\n```yaml\n(.*?)```").FindStringSubmatch(page(t))
		if found == nil {
			t.Fatalf("docs/relay.md has no %s", name)
		}
		return fileWith(t, found[1])
	}
	network, err := ReadNetwork(file("network[.]yaml"))
	if err != nil {
		t.Fatal(err)
	}
	collector, err := ReadCollector(file("collector[.]yaml"))
	if err != nil {
		t.Fatal(err)
	}
	uploader, err := ReadUploader(file("uploader[.]yaml"), "")
	if err != nil {
		t.Fatal(err)
	}
	maker, err := ReadMaker(file("maker[.]yaml"))
	if err != nil {
		t.Fatal(err)
	}
	at := "127.0.0.1:9200"
	if network.Port != 9200 || collector.Network.Server != at || uploader.Network.Server != at {
		t.Errorf("they do not meet: %d, %s, %s", network.Port, collector.Network.Server, uploader.Network.Server)
	}
	p, err := newPlan(uploader, uploadTuning{}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for _, name := range []string{"report.csv", maker.Prefix + "20784.3069" + maker.Suffix} {
		if cluster, _ := p.route(name); cluster != collector.Network.Cluster {
			t.Errorf("%s goes to %q", name, cluster)
		}
	}
	if maker.Spool != uploader.Spool || maker.Unit > 6*time.Second {
		t.Error("what the maker makes does not go on, or not soon")
	}
}
