package lifecycle

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// holderDir names the folder of the helper process.
const holderDir = "SWITCHBOARD_LIFECYCLE_TEST_HOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holderDir); dir != "" {
		os.Exit(hold(dir)) // this process is a helper that is to be killed
	}
	os.Exit(m.Run())
}

// hold locks the folder, says so, and keeps it until its input ends.
func hold(dir string) int {
	release, err := LockFolder(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("locked")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := release(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// other starts a second process that holds the folder.
func other(t *testing.T, dir string) (child *exec.Cmd, leave io.Closer) {
	t.Helper()
	child = exec.Command(os.Args[0])
	child.Env = append(os.Environ(), holderDir+"="+dir)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	return child, in
}

func mustLock(t *testing.T, dir string) {
	t.Helper()
	release, err := LockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
}

func TestASecondProcessIsRefusedAndTheFirstIsNamed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deep", "data")
	child, leave := other(t, dir)
	_, err := LockFolder(dir)
	if err == nil {
		t.Fatal("two processes have the folder")
	}
	for _, part := range []string{dir, fmt.Sprintf("process %d", child.Process.Pid)} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
	if err := leave.Close(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	mustLock(t, dir)
}

func TestALockEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	child, _ := other(t, dir)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the other process was not killed")
	}
	mustLock(t, dir)
}

func TestTheFolderIsItsOwnersOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	release, err := LockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("the folder has mode %v, %v", info.Mode(), err)
	}
	if _, err := LockFolder(dir); err == nil {
		t.Fatal("locked twice by one process")
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	mustLock(t, dir)
}

func TestAFolderThatCannotBeIsAnError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LockFolder(file); err == nil {
		t.Fatal("locked a file")
	}
	if err := os.Mkdir(file+".d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(file+".d", lockName), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := LockFolder(file + ".d"); err == nil {
		t.Fatal("locked a folder whose lock is no file")
	}
}
