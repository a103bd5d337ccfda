package webhooks

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func readPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// example returns the page's program in that language.
func example(t *testing.T, language string) string {
	t.Helper()
	_, rest, found := strings.Cut(readPage(t), "```"+language+"\n")
	program, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatalf("the page has no program in %s", language)
	}
	return program
}

// lines starts a program of the page on a free port, and returns what it prints.
// It ends with the test.
func lines(t *testing.T, cmd *exec.Cmd, secret string) *bufio.Scanner {
	t.Helper()
	cmd.Env = append(os.Environ(), "PORT=0", "WEBHOOK_SECRET="+secret)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return bufio.NewScanner(out)
}

func TestTheReceiversOfThePageWork(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program := filepath.Join(dir, "receiver")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, write("main.go", example(t, "go")))
	build.Dir = dir
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the receiver in Go: %v\n%s", err, text)
	}
	script := write("receiver.mjs", example(t, "js"))
	for name, command := range map[string][]string{"Node": {"node", script}, "Go": {program}} {
		for kind, given := range map[string]string{"text": string(secret), "base64": "whsec_" + base64.StdEncoding.EncodeToString(secret)} {
			t.Run(name+" with "+kind, func(t *testing.T) {
				tryReceiver(t, lines(t, exec.CommandContext(t.Context(), command[0], command[1:]...), given))
			})
		}
	}
}

// tryReceiver posts to a receiver what it must take, and what it must not. It
// prints its port and then each event that is new.
func tryReceiver(t *testing.T, out *bufio.Scanner) {
	if !out.Scan() {
		t.Fatalf("the receiver did not start: %v", out.Err())
	}
	url := "http://127.0.0.1:" + out.Text() + "/hook"
	post := func(n int, text string, at time.Time, keys ...[]byte) int {
		p := newPoster("1.2", func() time.Time { return at }, nil)
		defer p.close()
		to := Webhook{Of: billing, URL: url, Keys: keys, AllowPrivate: true}
		o, _ := p.post(t.Context(), attempt{to, &event{id: numbered(n), body: []byte(text)}, 20 * time.Second})
		return o.status
	}
	now := time.Now()
	connected := fmt.Sprintf(`{"type":"connected","timestamp":%q,"data":{"app":"ANZ","userId":"ANZ-7","sessionId":%q}}`, now.UTC().Format(timeFormat), wire.ID{}.String())
	delivered := strings.NewReplacer("connected", "delivered", `"userId":"ANZ-7"`, `"from":"ANZ-1","to":"ANZ-Ä"`).Replace(connected)
	for what, got := range map[string][2]int{
		"an event":                      {post(1, connected, now, secret), 204},
		"the same again":                {post(1, connected, now.Add(time.Minute), secret), 204},
		"another":                       {post(2, delivered, now, secret), 204},
		"one with two signatures":       {post(3, connected, now, second, secret), 204},
		"one with another secret":       {post(4, connected, now, second), 401},
		"an old one":                    {post(5, connected, now.Add(-10*time.Minute), secret), 401},
		"one from the future":           {post(6, connected, now.Add(10*time.Minute), secret), 401},
		"one without any signature":     {post(7, connected, now), 401},
		"the last, with a proper place": {post(8, strings.ReplaceAll(connected, "ANZ-7", "ANZ-8"), now, secret), 204},
	} {
		if got[0] != got[1] {
			t.Errorf("%s is answered with %d, want %d", what, got[0], got[1])
		}
	}
	for _, want := range []string{"connected ANZ-7", "delivered ANZ-Ä", "connected ANZ-7", "connected ANZ-8"} {
		if !out.Scan() || out.Text() != want {
			t.Errorf("it printed %q, want %q", out.Text(), want)
		}
	}
}

func TestThePageNamesEveryMetricAndEveryLogLine(t *testing.T) {
	page := readPage(t)
	reg := prometheus.NewRegistry()
	s := newStage(t, "http://receiver.example")
	s.options.Metrics = reg
	room, err := New(s.options)
	if err != nil {
		t.Fatal(err)
	}
	room.metrics.attempt(billing, resultOK)
	room.metrics.end(billing, Delivered)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.Contains(page, "`"+f.GetName()+"`") {
			t.Errorf("the page lacks %s", f.GetName())
		}
	}
	if len(families) != 8 {
		t.Errorf("there are %d metrics: does this test still make them all?", len(families))
	}
	for _, result := range []string{resultOK, resultStatus, resultRedirect, resultTimeout, resultAddress, resultAnswer, resultConnect} {
		if !strings.Contains(page, "`"+result+"`") {
			t.Errorf("the page lacks the result %s", result)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`log\.(?:Error|Warn|Info)\("([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			found++
			if !strings.Contains(page, "| `"+m[1]+"` |") {
				t.Errorf("the page lacks the log line %q", m[1])
			}
		}
	}
	if found != 7 {
		t.Errorf("found %d log lines in the source: does this test still read it?", found)
	}
}
