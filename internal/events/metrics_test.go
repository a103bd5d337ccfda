package events

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestTheMetricsAreInTheOperatorsTable(t *testing.T) {
	docs, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewRegistry()
	if _, err := newMetrics(r); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil || len(families) == 0 {
		t.Fatal(err, families)
	}
	var rows strings.Builder
	for line := range strings.Lines(string(docs)) {
		if strings.HasPrefix(line, "| `switchboard_events_") {
			rows.WriteString(line)
		}
	}
	for _, f := range families {
		name := f.GetName()
		short := "`_" + strings.TrimPrefix(name, "switchboard_events_") + "`"
		if !strings.Contains(rows.String(), "`"+name+"`") && !strings.Contains(rows.String(), short) {
			t.Errorf("docs/operations.md lacks %s", name)
		}
	}
}
