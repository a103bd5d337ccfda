package nodetest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// What stands in the documentation runs, and names what there is.

// ReadCheckout returns a file of this repository, by its path. The test's package
// stands two folders deep in it.
func ReadCheckout(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Block returns a page's only block of code in that language.
func Block(t testing.TB, page, language string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(found) != 1 {
		t.Fatalf("the page has %d blocks of %s", len(found), language)
	}
	return found[0][1]
}

// Program is the command line of a program.
type Program []string

// GoProgram builds a program that needs the standard library only.
func GoProgram(t testing.TB, code string) Program {
	t.Helper()
	source := writeProgram(t, "main.go", code)
	program := strings.TrimSuffix(source, ".go")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("build the page's program: %v\n%s", err, out)
	}
	return Program{program}
}

// NodeProgram is a module that Node runs.
func NodeProgram(t testing.TB, code string) Program {
	t.Helper()
	return Program{"node", writeProgram(t, "main.mjs", code)}
}

func writeProgram(t testing.TB, name, code string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Start starts it, with so much more in its environment, and returns the lines
// that it prints. It ends with the test.
func (p Program) Start(t testing.TB, environment ...string) *bufio.Scanner {
	t.Helper()
	cmd := exec.Command(p[0], p[1:]...)
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()         // it was killed
	})
	return bufio.NewScanner(out)
}

// WantMetrics wants a page to name all metrics that there are, so many.
func WantMetrics(t testing.TB, page string, from prometheus.Gatherer, count int) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.Contains(page, "`"+f.GetName()+"`") {
			t.Errorf("the page lacks %s", f.GetName())
		}
	}
	if len(families) != count {
		t.Errorf("there are %d metrics, not %d: does this test still make them all?", len(families), count)
	}
}

// WantLogLines wants a page's tables to have what the source of the test's
// package logs, so many lines: what the groups of an expression find.
func WantLogLines(t testing.TB, page, expression string, count int) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, groups := range regexp.MustCompile(expression).FindAllStringSubmatch(string(text), -1) {
			for _, line := range groups[1:] {
				if line == "" {
					continue
				}
				found++
				if !strings.Contains(page, "| `"+line+"` |") {
					t.Errorf("the page lacks the log line %q", line)
				}
			}
		}
	}
	if found != count {
		t.Errorf("found %d log lines in the source, not %d: does this test still read it?", found, count)
	}
}
