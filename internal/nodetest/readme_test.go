package nodetest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The examples of the README run as printed, but for the server's address, and
// print what it says.

// readmeAddress is the server's address in the examples.
const readmeAddress = "127.0.0.1:8088"

// readmeExample is printedExample for the README.
func readmeExample(t *testing.T, name string, s *Server) (code string, prints []string) {
	t.Helper()
	return printedExample(t, "README.md", name, s)
}

// printedExample returns the code of an example of a page, for this server, and
// the lines that it prints according to the sentence behind it.
func printedExample(t *testing.T, page, name string, s *Server) (code string, prints []string) {
	t.Helper()
	_, rest, found := strings.Cut(ReadCheckout(t, page), "<!-- example: "+name+" -->\n```")
	if !found {
		t.Fatalf("%s has no example %q", page, name)
	}
	_, rest, _ = strings.Cut(rest, "\n") // the language
	code, rest, found = strings.Cut(rest, "\n```\n")
	if !found {
		t.Fatalf("the example %q has no end", name)
	}
	sentence, _, _ := strings.Cut(strings.TrimSpace(rest), "\n\n")
	if !strings.HasPrefix(sentence, "It prints `") && !strings.HasPrefix(sentence, "It logs `") {
		t.Fatalf("behind the example %q does not stand what it prints: %s", name, sentence)
	}
	for _, quoted := range regexp.MustCompile("`[^`]*`").FindAllString(sentence, -1) {
		prints = append(prints, strings.Trim(quoted, "`"))
	}
	if n := strings.Count(code, readmeAddress); n != 1 {
		t.Fatalf("the example %q names the address %d times", name, n)
	}
	return strings.Replace(code, readmeAddress, s.Addr, 1), prints
}

func TestTheGoExampleOfTheReadme(t *testing.T) {
	t.Parallel()
	s := Start(t)
	code, prints := readmeExample(t, "go", s)
	dir := t.TempDir()
	for name, text := range map[string]string{"main.go": code, "go.mod": exampleModule(t), "go.sum": ReadCheckout(t, "go.sum")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "example")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = dir
	// What this repository needs is in the module cache; nothing is fetched.
	build.Env = append(os.Environ(), "GOFLAGS=-mod=mod -buildvcs=false", "GOPROXY=off", "GOWORK=off", "GOTOOLCHAIN=local")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the example: %v\n%s", err, out)
	}
	run := exec.Command(program)
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("the example ended with %v\n%s", err, out)
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, prints) {
		t.Errorf("the example printed %q, the README says %q", got, prints)
	}
}

// exampleModule is the go.mod of somebody who uses this checkout.
func exampleModule(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	const self = "github.com/seed-3d8c1042/switchboard"
	var b strings.Builder
	b.WriteString("module example\n")
	inside := false
	for line := range strings.Lines(ReadCheckout(t, "go.mod")) {
		switch {
		case strings.HasPrefix(line, "go "), strings.HasPrefix(line, "require "):
			b.WriteString(line)
			inside = strings.HasPrefix(line, "require (")
		case inside:
			b.WriteString(line)
			inside = !strings.HasPrefix(line, ")")
		}
	}
	b.WriteString("require " + self + " v0.0.0\nreplace " + self + " => " + root + "\n")
	return b.String()
}

// The browser's example runs in Node here, whose WebSocket is the browser's API;
// in a browser it runs in console/e2e.
func TestTheBrowserExampleOfTheReadme(t *testing.T) {
	t.Parallel()
	s := Start(t)
	code, prints := readmeExample(t, "browser", s)
	file := filepath.Join(t.TempDir(), "example.js")
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	node := exec.Command("node", append(nodeFlags(t), file)...)
	pipe, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var problems strings.Builder
	node.Stderr = &problems
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	// It does not end by itself: its connection stays.
	end := func() {
		_ = node.Process.Kill()
		_ = node.Wait()
	}
	tooLate := time.AfterFunc(Patience, func() { _ = node.Process.Kill() })
	defer tooLate.Stop()
	var got []string
	for lines := bufio.NewScanner(pipe); len(got) < len(prints) && lines.Scan(); {
		got = append(got, lines.Text())
	}
	end()
	if len(got) != len(prints) {
		t.Fatalf("the example printed %q, the README says %q\n%s", got, prints, problems.String())
	}
	for i, want := range prints {
		// The README leaves some data out.
		if got[i] != want && !(strings.HasPrefix(got[i], want+" {") && !strings.Contains(want, " ")) {
			t.Errorf("the example printed %q, the README says %q", got[i], want)
		}
	}
}

// nodeFlags are what this Node needs to have WebSocket, if anything.
func nodeFlags(t *testing.T) []string {
	t.Helper()
	for _, flags := range [][]string{nil, {"--experimental-websocket"}} {
		out, err := exec.Command("node", append(flags, "-p", "typeof WebSocket")...).CombinedOutput()
		if err == nil && strings.TrimSpace(string(out)) == "function" {
			return flags
		}
	}
	t.Fatal("this Node has no WebSocket")
	return nil
}
