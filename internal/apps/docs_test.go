package apps_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const docs = "docs/auth.md"

func TestPageListsTheRefusals(t *testing.T) {
	var want []string
	for _, r := range apps.Refusals() {
		want = append(want, fmt.Sprintf("| `%s` | %s |", r.Code, r.Reason))
	}
	got := regexp.MustCompile("(?m)^\\| `[A-Z_]+` \\| .*\\.? \\|$").FindAllString(nodetest.ReadCheckout(t, docs), -1)
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("the page has\n%s\n\nthe package has\n%s", a, b)
	}
}

func TestPageNamesEveryMetricAndEveryLogLine(t *testing.T) {
	page := nodetest.ReadCheckout(t, docs)
	reg := prometheus.NewRegistry()
	r := start(t, apps.Options{Apps: []apps.App{hooked(serve(t, reply))}, Metrics: reg})
	signIn(t, r, auth(ann, "t"))
	_, _ = r.AuthenticateLink(auth(ann, "t"), "")
	nodetest.WantMetrics(t, page, reg, 5)
	nodetest.WantLogLines(t, page, `log\.(?:Warn|Info)\("([^"]+)"|newAlarm\(e, "([^"]+)", "([^"]+)"`, 8)
}

func TestHooksOfThePageWork(t *testing.T) {
	page := nodetest.ReadCheckout(t, docs)
	for name, program := range map[string]nodetest.Program{
		"Node": nodetest.NodeProgram(t, nodetest.Block(t, page, "js")),
		"Go":   nodetest.GoProgram(t, nodetest.Block(t, page, "go")),
	} {
		t.Run(name, func(t *testing.T) {
			lines := program.Start(t, "PORT=0")
			if !lines.Scan() {
				t.Fatalf("the hook did not start: %v", lines.Err())
			}
			r := start(t, apps.Options{Apps: []apps.App{hooked("http://127.0.0.1:" + lines.Text() + "/auth")}})
			for _, c := range []struct {
				user  wire.UserID
				token string
				want  string
			}{
				{"ANZ-123223", "token-12345", "OK"},
				{"ANZ-123223", "token-1234", "REFUSED"},
				{"ANZ-123223", "", "REFUSED"},
				{"ANZ-1", "token-12345", "REFUSED"},
				{"ANZ-1", "", "REFUSED"},
			} {
				if got := signIn(t, r, auth(c.user, c.token)); got != c.want {
					t.Errorf("%s with %q: got %s, want %s", c.user, c.token, got, c.want)
				}
			}
		})
	}
}
