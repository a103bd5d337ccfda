package meta

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// page returns docs/meta.md.
func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/meta.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// example returns the code block behind a line of the page.
func example(t *testing.T, behind string) string {
	t.Helper()
	_, after, ok := strings.Cut(page(t), behind)
	if !ok {
		t.Fatalf("docs/meta.md lacks %s", behind)
	}
	m := regexp.MustCompile("(?s)```[a-z]*\n(.*?)```").FindStringSubmatch(after)
	if m == nil {
		t.Fatalf("docs/meta.md has no code behind %s", behind)
	}
	return m[1]
}

func TestTheExamplesOfThePageAreWhatIsServed(t *testing.T) {
	text := example(t, "<!-- file: network.yaml -->")
	if _, notices, err := domains.Parse([]byte(text)); err != nil || len(notices) > 0 {
		t.Fatal(err, notices)
	}
	r := serving(t, text, func(o *Options) {
		o.Now = func() time.Time { return time.UnixMilli(1795675323515) }
	})
	for _, path := range []string{pathDomains, pathLinks, pathApps} {
		if _, body := r.get(path); body+"\n" != example(t, "`GET "+path+"`\n") {
			t.Errorf("GET %s serves\n%s", path, body)
		}
	}
	f := r.follow()
	said := "$ curl -N http://127.0.0.1:9000/events\n" + f.next() + "\n\n" + f.next() + "\n\n"
	if said != example(t, "`GET /events`") {
		t.Errorf("GET /events says\n%s", said)
	}
	for _, line := range strings.Split(r.out.String(), "\n") {
		if strings.HasPrefix(line, "version ") && !strings.Contains(page(t), "\n"+line+"\n") {
			t.Errorf("the page does not print the start as it is: %s", line)
		}
	}
}

func TestThePageHasWhatThereIs(t *testing.T) {
	text := page(t)
	want := []string{EnvUsername, EnvPassword, EnvSSHKey, EnvSSHPassphrase, "`" + DefaultListen + "`", "`" + DefaultData + "`", "`" + DefaultBranch + "`",
		"`" + DefaultEvery.String() + "`", "`" + DefaultEveryHere.String() + "`", "256 KiB", "16 MiB", "1000 files", "`" + leastEvery.String() + "`", "64 MiB", "at least 16 bytes", "a minute",
		"every 15 s", "1000; 2000", "30 s; 10 s", "| 5 s |", "2 min", "16 KiB", "20 at most", "100 ms apart"}
	if largestPack != 64<<20 || leastSecret != 16 || lookTime != time.Minute || keepAlive != 15*time.Second || maxStreams != 1000 || maxConnections != 2000 ||
		answerTime != 30*time.Second || streamWrite != 10*time.Second || headerTime != 5*time.Second || idleTime != 2*time.Minute || maxHeaderBytes != 16<<10 || mostSaid != 20 || settleTime != 100*time.Millisecond {
		t.Error("a limit is not what this test and the page say")
	}
	for _, path := range (&door{network: &network{}, settings: &settings{}}).paths() {
		want = append(want, "`GET "+path+"`")
	}
	for _, kind := range troubleKinds() {
		want = append(want, "| `"+kind+"` |")
	}
	for code, status := range map[string]int{
		codeNotFound: http.StatusNotFound, codeWrongMethod: http.StatusMethodNotAllowed, codeKeyInvalid: http.StatusUnauthorized,
		codeWrongHost: http.StatusMisdirectedRequest, codeTooManyStreams: http.StatusServiceUnavailable, codeInternal: http.StatusInternalServerError,
	} {
		want = append(want, fmt.Sprintf("`%s` | %d |", code, status))
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("docs/meta.md lacks %s", w)
		}
	}
}

func TestTheMetricsAreOnThePage(t *testing.T) {
	r := prometheus.NewRegistry()
	m, err := newMetrics(r)
	if err != nil {
		t.Fatal(err)
	}
	m.refuse("x")
	m.requests.WithLabelValues("200")
	families, err := r.Gather()
	if err != nil || len(families) == 0 {
		t.Fatal(err, families)
	}
	_, table, _ := strings.Cut(page(t), "## Metrics")
	for _, f := range families {
		name := f.GetName()
		label := ""
		if len(f.GetMetric()[0].GetLabel()) > 0 {
			label = "{" + f.GetMetric()[0].GetLabel()[0].GetName() + "}"
		}
		if !strings.Contains(table, "`"+name+label+"`") && !strings.Contains(table, "`_"+strings.TrimPrefix(name, "switchboard_meta_")+label+"`") {
			t.Errorf("docs/meta.md lacks %s%s", name, label)
		}
	}
}
