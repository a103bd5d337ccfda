package check

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Neither the folder that it is built in nor the time is in the program. What is compiled comes from
// the cache, to which they make no difference either; make test-large-deploy does without.
func TestTheProgramIsTheSameWhereverItIsBuilt(t *testing.T) {
	t.Parallel()
	built := binary(t)
	out, err := exec.Command(built, "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	version := strings.Fields(string(out))[1]
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "console/dist"), os.DirFS("../../console/dist")); err != nil {
		t.Fatal(err)
	}
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "go.mod", "go.sum", "Makefile", "*.go", "*.sql", "*.json", "*.md", "*.html", "*.js", "*.css", "*.yaml")
	list.Dir = "../.."
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.Trim(string(names), "\x00"), "\x00") {
		copyFile(t, filepath.Join("../..", name), filepath.Join(folder, name))
	}
	again := exec.Command("make", "--no-print-directory", "binary", "VERSION="+version)
	again.Dir = folder
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	first, err := os.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	// Where the system has no authorities, as the image has none.
	if !bytes.Contains(first, []byte("golang.org/x/crypto/x509roots/fallback.init")) {
		t.Error("the program does not bring the certificates of public authorities along")
	}
	second, err := os.ReadFile(filepath.Join(folder, "bin/switchboard"))
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("built again elsewhere it is another program (%v)", err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
