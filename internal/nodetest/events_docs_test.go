package nodetest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The example with curl in docs/events.md runs as printed, but for the server's
// address. The one for a browser does in console/e2e.
func TestTheCurlExampleOfThePageOfEvents(t *testing.T) {
	t.Parallel()
	s := Start(t)
	code, prints := printedExample(t, "docs/events.md", "events-curl", s)
	run := exec.CommandContext(t.Context(), "sh", "-e", "-c", code)
	run.Dir = t.TempDir()
	out, err := run.Output()
	if err != nil {
		t.Fatalf("the example ended with %v\n%s", err, out)
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, prints) {
		t.Errorf("the example printed %q, the page says %q", got, prints)
	}
	awaitSessions(t, s, 0)
}
