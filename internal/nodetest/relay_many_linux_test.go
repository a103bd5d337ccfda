package nodetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// rss returns how much memory a program has.
func (m *mover) rss() int64 {
	m.t.Helper()
	return (&Server{t: m.t, cmd: m.cmd}).RSS()
}

// fill makes files of one line each, all at once for whoever looks.
func fill(t *testing.T, dir string, files, size int) {
	t.Helper()
	content := make([]byte, size)
	for i := range files {
		copy(content, fmt.Sprintf("%012d", i))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%07d", i)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Many small files lie there at once. All arrive, and neither end needs memory for
// them. RELAY_SMALL says how many.
func TestManySmallFilesGoAtOnce(t *testing.T) {
	t.Parallel()
	files := numberFromEnvironment(t, "RELAY_SMALL", 2000)
	out, spool := t.TempDir(), t.TempDir()
	fill(t, out, files, 1000)
	port := portsFor(t, 1)[0]
	c := startMover(t, "collector", fmt.Sprintf("address: 127.0.0.1\nport: %d\nspool: %s\n", port, spool))
	began := time.Now()
	u := startMover(t, "uploader", fmt.Sprintf("spool: %s\nquiet: 0s\nnexthop: [{pattern: '*', cluster: all}]\nclusters: {all: [{id: one, address: 127.0.0.1, port: %d}]}\n", out, port))
	awaitEmpty(t, out, time.Hour)
	t.Logf("%d files in %s; the uploader has %d MiB, the collector %d", files, time.Since(began).Round(time.Millisecond), u.rss()>>20, c.rss()>>20)
	if n := filesIn(t, spool); n != files {
		t.Errorf("%d of %d files are in the spool", n, files)
	}
	for i := range files {
		content, err := os.ReadFile(filepath.Join(spool, fmt.Sprintf("%07d", i)))
		if err != nil || len(content) != 1000 || string(content[:12]) != fmt.Sprintf("%012d", i) {
			t.Fatalf("file %d is not what was sent: %v", i, err)
		}
	}
}

// A folder has very many names, and of two collectors one is dead: the uploader works
// through it for the living one, and what it remembers for the dead one is bounded.
// RELAY_NAMES says how many.
func TestAFolderOfManyNamesIsWorkedThroughInBoundedMemory(t *testing.T) {
	t.Parallel()
	names := numberFromEnvironment(t, "RELAY_NAMES", 4000)
	out, living, late := t.TempDir(), t.TempDir(), t.TempDir()
	fill(t, out, names, 12)
	ports := portsFor(t, 2)
	const settings = "address: 127.0.0.1\nport: %d\nspool: %s\n"
	startMover(t, "collector", fmt.Sprintf(settings, ports[0], living))
	u := startMover(t, "uploader", fmt.Sprintf("spool: %s\nquiet: 0s\nnexthop: [{pattern: '*', cluster: all}]\nclusters: {all: [{id: living, address: 127.0.0.1, port: %d}, {id: late, address: 127.0.0.1, port: %d}]}\n", out, ports[0], ports[1]))
	most, began := int64(0), time.Now()
	watch := func() { most = max(most, u.rss()) }
	for filesIn(t, living) < names {
		watch()
		<-time.After(time.Duration(names/20_000+1) * 100 * time.Millisecond) // to count costs, too
		if time.Since(began) > time.Hour {
			t.Fatalf("the living one has %d after an hour", filesIn(t, living))
		}
	}
	if n := filesIn(t, out); n != names {
		t.Errorf("%d of %d files wait for the one that is late", n, names)
	}
	startMover(t, "collector", fmt.Sprintf(settings, ports[1], late))
	for began := time.Now(); holdsAny(t, out); watch() {
		<-time.After(100 * time.Millisecond)
		if time.Since(began) > time.Hour {
			t.Fatal("not all have left after an hour")
		}
	}
	if a, b := filesIn(t, living), filesIn(t, late); a != names || b != names {
		t.Errorf("of %d files one has %d, the other %d", names, a, b)
	}
	t.Logf("%d names in %s with at most %d MiB", names, time.Since(began).Round(time.Millisecond), most>>20)
	// A name and what is remembered of it: a list of the folder would need more.
	if bound := int64(96<<20) + int64(names)*80; most > bound && !raceEnabled {
		t.Errorf("the uploader took %d MiB, more than %d", most>>20, bound>>20)
	}
}

// awaitEmpty waits until no files are in a folder.
func awaitEmpty(t *testing.T, dir string, patience time.Duration) {
	t.Helper()
	for began := time.Now(); holdsAny(t, dir); <-time.After(20 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("after %s %d files are left", patience, filesIn(t, dir))
		}
	}
}

// holdsAny says whether files are in a folder, and lists no more than it must.
func holdsAny(t *testing.T, dir string) bool {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(16)
		for _, e := range entries {
			if e.Type().IsRegular() && e.Name()[0] != '.' {
				return true
			}
		}
		if err != nil {
			return false // the end
		}
	}
}
