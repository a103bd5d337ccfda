package apps_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func readPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/auth.md")
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

func TestPageListsTheRefusals(t *testing.T) {
	var want []string
	for _, r := range apps.Refusals() {
		want = append(want, fmt.Sprintf("| `%s` | %s |", r.Code, r.Reason))
	}
	got := regexp.MustCompile("(?m)^\\| `[A-Z_]+` \\| .*\\.? \\|$").FindAllString(readPage(t), -1)
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("the page has\n%s\n\nthe package has\n%s", a, b)
	}
}

func TestPageNamesEveryMetricAndEveryLogLine(t *testing.T) {
	page := readPage(t)
	reg := prometheus.NewRegistry()
	r := start(t, apps.Options{Apps: []apps.App{hooked(serve(t, reply))}, Metrics: reg})
	signIn(t, r, auth(ann, "t"))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.Contains(page, "`"+f.GetName()+"`") {
			t.Errorf("the page lacks %s", f.GetName())
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?:log\.(?:Warn|Info)\(|newAlarm\(e, )("[^"]+")(?:, ("[^"]+"))?`)
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(text), -1) {
			said := m[1:2]
			if strings.HasPrefix(m[0], "newAlarm") {
				said = m[1:3]
			}
			for _, s := range said {
				found++
				if !strings.Contains(page, "| `"+strings.Trim(s, `"`)+"` |") {
					t.Errorf("the page lacks the log line %s", s)
				}
			}
		}
	}
	if found != 7 {
		t.Errorf("found %d log lines in the source: does this test still read it?", found)
	}
}

func TestHooksOfThePageWork(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program := filepath.Join(dir, "hook")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, write("main.go", example(t, "go")))
	build.Dir = dir
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the hook in Go: %v\n%s", err, text)
	}
	for name, cmd := range map[string]*exec.Cmd{
		"Node": exec.CommandContext(t.Context(), "node", write("hook.mjs", example(t, "js"))),
		"Go":   exec.CommandContext(t.Context(), program),
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, apps.Options{Apps: []apps.App{hooked("http://127.0.0.1:" + run(t, cmd) + "/auth")}})
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

// run starts a program of the page on a free port, which it prints, and ends it
// with the test.
func run(t *testing.T, cmd *exec.Cmd) (port string) {
	t.Helper()
	cmd.Env = append(os.Environ(), "PORT=0")
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
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the hook did not start: %v", lines.Err())
	}
	return lines.Text()
}
