package arch

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestMakeHelpListsTheTargets(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):[^#\n]*## (.+)$`).FindAllSubmatch(makefile, -1) {
		want = append(want, string(m[1])+" "+string(m[2]))
	}
	out, err := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-C", "../..", "help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		target, text, _ := strings.Cut(line, " ")
		got = append(got, target+" "+strings.TrimSpace(text))
	}
	if len(want) < 10 || !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
