package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
)

// said collects what a process says.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

// String returns all of it.
func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// relayDemo is the demo, run by the program itself.
type relayDemo struct {
	cmd  *exec.Cmd
	data string
	said said
}

func startDemo(t *testing.T, args ...string) *relayDemo {
	t.Helper()
	d := &relayDemo{data: filepath.Join(t.TempDir(), "demo")}
	d.cmd = exec.CommandContext(t.Context(), nodetest.Binary(t), append([]string{"demo", "relay", "--data", d.data, "--listen", "127.0.0.1:0"}, args...)...)
	d.cmd.Stdout, d.cmd.Stderr = &d.said, &d.said
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the demo said:\n%s", d.said.String())
		}
	})
	nodetest.Eventually(t, "the demo is ready", func() bool { return strings.Contains(d.said.String(), "\nready\n") })
	return d
}

// stop asks it to stop, and wants it to do so without a word of trouble.
func (d *relayDemo) stop(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("exit code %s", exitCode(err))
	}
}

// processes returns the newest process of each part.
func (d *relayDemo) processes(t *testing.T) map[string]int {
	t.Helper()
	of := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^(\S+) +(?:is started again: process )?(\d+) (?: |after)`).FindAllStringSubmatch(d.said.String(), -1) {
		pid, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		of[m[1]] = pid
	}
	return of
}

// last is the number that the sensor has given last.
func (d *relayDemo) last(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.data, "sensor", "journal"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(text, []byte("\n"))
}

// archived returns the names in the archive, sorted.
func (d *relayDemo) archived(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(d.data, "warehouse"), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, e.Name())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestTheDemoOfTheRelayLosesNothingWhateverIsKilled(t *testing.T) {
	for _, args := range [][]string{nil, {"--static"}} {
		t.Run(strings.Join(append([]string{"demo"}, args...), " "), func(t *testing.T) {
			t.Parallel()
			d := startDemo(t, args...)
			first := d.processes(t)
			if want := 11 - len(args); len(first) != want {
				t.Fatalf("%d parts, not %d: %v", len(first), want, first)
			}
			for _, pid := range first {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
			nodetest.Eventually(t, "all are started again", func() bool {
				now := d.processes(t)
				return !slices.ContainsFunc(slices.Collect(maps.Keys(first)), func(part string) bool { return now[part] == first[part] })
			})
			want := d.last(t) + 2
			nodetest.Eventually(t, "reports come after that", func() bool { return len(d.archived(t)) >= want })
			d.stop(t)
			names := d.archived(t)
			for i, name := range names {
				if want := fmt.Sprintf("report-%09d.json", i+1); name != want {
					t.Fatalf("%s is not %s: lost or doubled: %v", name, want, names)
				}
			}
		})
	}
}
