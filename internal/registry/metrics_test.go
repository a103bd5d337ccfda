package registry

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
	if _, err := New(Options{Table: newShared(), Max: func() int { return 1 }, Metrics: r}); err == nil {
		t.Error("a room without a clock")
	}
	start(t, newShared(), func(o *Options) { o.Metrics = r })
	families, err := r.Gather()
	if err != nil || len(families) == 0 {
		t.Fatal(err, families)
	}
	for _, f := range families {
		if !strings.Contains(string(docs), "`"+f.GetName()+"`") {
			t.Errorf("docs/operations.md lacks %s", f.GetName())
		}
	}
}

func TestTheFileThatIsPrintedIsGood(t *testing.T) {
	docs, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(docs), "```yaml\nservices:")
	text, _, _ = strings.Cut(text, "```")
	if list, err := parse("printed.yaml", []byte("services:"+text), 10); err != nil || names(list) != "orders-1 archive-1" {
		t.Errorf("%v, %v", list, err)
	}
}
