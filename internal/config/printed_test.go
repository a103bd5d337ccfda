package config

import (
	"os"
	"regexp"
	"testing"
)

// The settings files that docs/cluster.md prints are good, and those of one
// cluster go together.
func TestThePrintedSettingsOfAClusterAreGood(t *testing.T) {
	page, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	printed := regexp.MustCompile("(?s)<!-- file: (\\S+) -->\n```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(printed) != 3 {
		t.Fatalf("%d files", len(printed))
	}
	taken := map[string]bool{}
	for _, m := range printed {
		s := load(t, Sources{File: write(t, string(m[2]))})
		if string(m[1]) != s.Cluster.Node+".yaml" || s.Cluster.Name != "demo" || s.Copies() != 3 {
			t.Errorf("%s: %+v", m[1], s.Cluster)
		}
		for _, own := range []string{s.Listen, s.Admin, s.Data, s.Cluster.Listen} {
			if taken[own] {
				t.Errorf("%s: %s is another's", m[1], own)
			}
			taken[own] = true
		}
	}
}

// Those that docs/domains.md prints are good, too.
func TestThePrintedSettingsOfDomainsAreGood(t *testing.T) {
	page, err := os.ReadFile("../../docs/domains.md")
	if err != nil {
		t.Fatal(err)
	}
	printed := regexp.MustCompile("(?s)<!-- file: (\\S+) -->\n```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(printed) != 2 {
		t.Fatalf("%d files", len(printed))
	}
	for _, m := range printed {
		s := load(t, Sources{File: write(t, string(m[2]))})
		if string(m[1]) != s.Domain+".yaml" || len(s.Apps) != 0 || s.Links.Secret == "" {
			t.Errorf("%s: %+v", m[1], s)
		}
	}
}

// Those with which docs/journal.md lets other programs read are good as they stand there.
func TestThePrintedSettingsOfTheJournalAreGood(t *testing.T) {
	page, err := os.ReadFile("../../docs/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	printed := regexp.MustCompile("(?s)```yaml\n(nats:.*?)```").FindSubmatch(page)
	if printed == nil {
		t.Fatal("there are none")
	}
	if s := load(t, Sources{File: write(t, string(printed[1]))}); s.NATS.Listen != "127.0.0.1:4222" {
		t.Errorf("%+v", s.NATS)
	}
}
