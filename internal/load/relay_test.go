package load

import (
	"strings"
	"testing"
)

func TestTheRelaysBenchmarkSaysOfWhichSizesThereWereTooFewFiles(t *testing.T) {
	var b strings.Builder
	r := Relay{Sizes: []RelaySize{
		{Bytes: 1 << 10, Files: 10, Rate: 400, Bare: 4000},
		{Bytes: 1 << 20, Files: 300, Rate: 300, Bare: 400},
	}}
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	few, enough, _ := strings.Cut(b.String(), "300 files")
	if !strings.Contains(few, "too few to tell: they took 3ms") || !strings.Contains(few, "at least 2001") {
		t.Errorf("of few it says %q", few)
	}
	if strings.Contains(enough, "too few") {
		t.Errorf("of enough it says %q", enough)
	}
}
