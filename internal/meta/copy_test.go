package meta

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// victimVariable has this test program be the process that is killed: it names the
// data folder.
const victimVariable = "META_TEST_VICTIM"

// victimGraph is a description as it is kept.
func victimGraph(version uint64, count int) []byte {
	n, _, err := domains.Parse([]byte(describe(count)))
	if err != nil {
		panic(err)
	}
	graph, err := plainJSON(n.WithVersion(version))
	if err != nil {
		panic(err)
	}
	return graph
}

// beVictim keeps one description, then a second one of which the file is written
// and synced, but not renamed: there it waits to be killed.
func beVictim() {
	l := &lastGood{folder: os.Getenv(victimVariable), rename: os.Rename}
	if err := l.save(victimGraph(1, 2)); err != nil {
		fmt.Println(err)
		return
	}
	l.rename = func(string, string) error {
		fmt.Println("before the rename")
		select {}
	}
	if err := l.save(victimGraph(2, 3)); err != nil {
		fmt.Println(err)
	}
}

func TestAProcessKilledBetweenWriteAndRenameLeavesTheLastGoodCopyWhole(t *testing.T) {
	folder := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	victim := exec.CommandContext(t.Context(), self)
	victim.Env = append(os.Environ(), victimVariable+"="+folder)
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "before the rename\n" {
		t.Errorf("it says %q, %v", line, err)
	}
	if err := victim.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	_ = victim.Wait() // it was killed
	if _, err := os.Stat(filepath.Join(folder, copyName+".new")); err != nil {
		t.Errorf("it was not killed between write and rename: %v", err)
	}

	l := &lastGood{folder: folder, rename: os.Rename}
	n, graph, err := l.load()
	if err != nil || n == nil || n.Version != 1 || string(graph) != string(victimGraph(1, 2)) {
		t.Fatalf("the copy is %s, %v", graph, err)
	}
	// What it left behind is in nobody's way.
	if err := l.save(victimGraph(3, 4)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := l.load(); err != nil || n.Version != 3 {
		t.Errorf("the next copy is %+v, %v", n, err)
	}
	if _, err := os.Stat(filepath.Join(folder, copyName+".new")); err == nil {
		t.Error("something is left behind")
	}
}

func TestWithoutACopyThereIsNone(t *testing.T) {
	n, _, err := (&lastGood{folder: t.TempDir()}).load()
	if n != nil || err != nil {
		t.Errorf("there is %+v, %v", n, err)
	}
}
