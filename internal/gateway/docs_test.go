package gateway

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
)

// page returns docs/gateway.md.
func page(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTheDocumentationHasTheCodesOfTheGateway(t *testing.T) {
	var there, documented []string
	for _, c := range Codes() {
		there = append(there, fmt.Sprint(c.Code, " ", c.Status))
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (\\d+) \\|").FindAllSubmatch(page(t), -1) {
		documented = append(documented, string(m[1])+" "+string(m[2]))
	}
	slices.Sort(there)
	slices.Sort(documented)
	if !slices.Equal(there, documented) {
		t.Errorf("there: %v\ndocumented: %v", there, documented)
	}
}

func TestTheDocumentationHasTheMetricsOfTheGateway(t *testing.T) {
	w := begin(t, openTo("s"))
	w.start("s", "a", says("a"))
	w.dead("s", "b")
	for range 4 {
		w.ask("GET", "/", "")
	}
	w.ask("GET", "//", "")
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var there, documented []string
	for _, f := range families {
		there = append(there, f.GetName())
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(switchboard_gateway_[a-z_]+)` \\|").FindAllSubmatch(page(t), -1) {
		documented = append(documented, string(m[1]))
	}
	slices.Sort(documented)
	if !slices.Equal(there, documented) {
		t.Errorf("there: %v\ndocumented: %v", there, documented)
	}
}
