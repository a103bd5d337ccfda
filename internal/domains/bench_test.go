package domains_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// large is a description as large as one may be in domains: 1000, of which each
// has ten links, and an app of 1000 ranges among 100 apps.
func large(tb testing.TB) *domains.Network {
	var file strings.Builder
	file.WriteString("domains:\n")
	for i := range domains.MaxDomains {
		fmt.Fprintf(&file, "  - {name: domain-%d, urls: [ws://d%d]}\n", i, i)
	}
	file.WriteString("domainLinks:\n")
	for i := range domains.MaxDomains {
		for _, step := range []int{1, 7, 31, 127, 311} {
			fmt.Fprintf(&file, "  - {n1: domain-%d, n2: domain-%d, cost: %d}\n", i, (i+step)%domains.MaxDomains, 1+(i*step)%9)
		}
	}
	file.WriteString("clientApps:\n")
	for i := range 100 {
		fmt.Fprintf(&file, "  - {appName: APP%d, appId: x}\n", i)
	}
	file.WriteString("  - appName: HOME\n    appId: x\n    userDistributions:\n")
	for i := range domains.MaxRanges {
		fmt.Fprintf(&file, "      - {domainName: domain-%d, from: %d, to: %d}\n", i, i*1000, i*1000+999)
	}
	return parsed(tb, file.String())
}

func TestFindingTheWayAllocatesNothing(t *testing.T) {
	n := large(t)
	r := n.Routes("domain-0")
	if c := testing.AllocsPerRun(100, func() { n.Home("HOME", 500_500) }); c != 0 {
		t.Errorf("Home: %v allocations", c)
	}
	if c := testing.AllocsPerRun(100, func() { r.Next("domain-999") }); c != 0 {
		t.Errorf("Next: %v allocations", c)
	}
}

func BenchmarkHome(b *testing.B) {
	n := large(b)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		if home, ok := n.Home("HOME", i%1_000_000); home == "" || !ok {
			b.Fatal("no home")
		}
	}
}

func BenchmarkNext(b *testing.B) {
	n := large(b)
	r := n.Routes("domain-0")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok := r.Next(n.Domains[i%domains.MaxDomains].Name); !ok && n.Domains[i%domains.MaxDomains].Name != "domain-0" {
			b.Fatal("no way")
		}
	}
}

func BenchmarkRoutes(b *testing.B) {
	n := large(b)
	b.ReportAllocs()
	for b.Loop() {
		n.Routes("domain-0")
	}
}

func BenchmarkParseJSON(b *testing.B) {
	text := encoded(b, large(b))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := domains.ParseJSON(text); err != nil {
			b.Fatal(err)
		}
	}
}
