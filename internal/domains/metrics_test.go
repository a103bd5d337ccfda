package domains_test

import (
	"os"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

func TestTheMetricsAreInTheOperatorsTable(t *testing.T) {
	docs, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, options(t, "http://127.0.0.1:1"))
	families, err := r.reg.Gather()
	if err != nil || len(families) == 0 {
		t.Fatal(err, families)
	}
	for _, f := range families {
		if !strings.Contains(string(docs), "`"+f.GetName()+"`") {
			t.Errorf("docs/operations.md lacks %s", f.GetName())
		}
	}
}

func TestThePageOfDomainsNamesEachKindOfTrouble(t *testing.T) {
	docs, err := os.ReadFile("../../docs/domains.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range domains.TroubleKinds() {
		if !strings.Contains(string(docs), "\n| `"+kind+"` | ") {
			t.Errorf("docs/domains.md does not explain %s", kind)
		}
	}
}

// The file that the page shows is the one that these tests read.
func TestTheFileOfThePage(t *testing.T) {
	docs, err := os.ReadFile("../../docs/domains.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(docs), "## The description")
	_, file, _ := strings.Cut(section, "```yaml\n")
	file, _, _ = strings.Cut(file, "```")
	n := parsed(t, file)
	r := n.Routes("domain-01")
	if path := strings.Join(r.Path("perth"), " "); path != "domain-01 domain-02 perth" || r.Cost("perth") != 3 {
		t.Errorf("the path is %s for %d", path, r.Cost("perth"))
	}
	for number, want := range map[int64]string{123223: "domain-01", 1_000_000: "domain-02", 2_000_000: "perth"} {
		if home, _ := n.Home("ANZ", number); home != want {
			t.Errorf("ANZ-%d lives in %s, want %s", number, home, want)
		}
	}
}
