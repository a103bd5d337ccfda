package settings

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

func TestThePageHasWhatThereIs(t *testing.T) {
	b, err := os.ReadFile("../../docs/runtime-settings.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	want := []string{"`" + copyName + "`", config.EnvSecrets, "it asks for 30 s"}
	if o := newBook(Options{}, config.Placed{Settings: config.Defaults()}).o; o.FirstWait != 30*time.Second || o.RetryMax != 30*time.Second {
		t.Error("a time is not what this test and the page say")
	}
	for _, kind := range Kinds() {
		want = append(want, "| `"+kind+"` |")
	}
	registry := prometheus.NewRegistry()
	if err := newMetrics().register(registry); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil || len(families) == 0 {
		t.Fatal(err, families)
	}
	for _, f := range families {
		label := ""
		if len(f.GetMetric()[0].GetLabel()) > 0 {
			label = "{" + f.GetMetric()[0].GetLabel()[0].GetName() + "}"
		}
		want = append(want, "| `"+f.GetName()+label+"` |")
	}
	for _, w := range want {
		if !strings.Contains(page, w) {
			t.Errorf("docs/runtime-settings.md lacks %s", w)
		}
	}
	// The files that it prints are good together, and alone.
	environ := []string{"SHOP_JWT=" + strings.Repeat("s", 32), "CLUSTER_SECRET=" + strings.Repeat("c", 32)}
	printed := regexp.MustCompile("(?s)<!-- file: (\\S+) -->\n```yaml\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(printed) != 2 {
		t.Fatalf("%d files", len(printed))
	}
	for _, p := range printed {
		file := filepath.Join(t.TempDir(), filepath.Base(p[1]))
		if err := os.WriteFile(file, []byte(p[2]), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(config.Sources{File: file, Environ: environ}); err != nil {
			t.Error(err)
		}
	}
}
