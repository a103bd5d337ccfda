package spool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var noContext = context.Background()

func openOutbox(t *testing.T, dir string, o OutboxOptions) *Outbox {
	t.Helper()
	b, err := OpenOutbox(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() }) // it may be closed
	return b
}

// put writes a file that nobody has written to for a minute.
func put(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	age(t, path, -time.Minute)
}

func age(t *testing.T, path string, by time.Duration) {
	t.Helper()
	at := time.Now().Add(by)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// ready returns what a scan finds, by name.
func ready(t *testing.T, b *Outbox) map[string]Entry {
	t.Helper()
	found := map[string]Entry{}
	err := b.Scan(t.Context(), func(e Entry) error {
		if _, twice := found[e.Name]; twice {
			t.Errorf("%s is found twice", e.Name)
		}
		found[e.Name] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAScanGivesWholeFilesAndCountsWhatItLeavesAlone(t *testing.T) {
	dir := t.TempDir()
	b := openOutbox(t, dir, OutboxOptions{Quiet: time.Second})
	for _, name := range []string{"a", "ü", ".hidden", "a.tmp", "bad\x01", "back\\slash", "future"} {
		put(t, dir, name, name)
	}
	put(t, dir, "empty", "")
	age(t, filepath.Join(dir, "future"), time.Hour) // set a moment ago
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(
		os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "linked")),
		os.Symlink("a", filepath.Join(dir, "link")),
		os.Mkdir(filepath.Join(dir, "folder"), 0o700),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	want := map[Reason]int{Hidden: 1, Temporary: 1, BadName: 2, NotQuiet: 2, Symlink: 1, Folder: 1, OtherKind: 1}
	names := []string{"a", "empty", "linked", "ü"}
	if runtime.GOOS == "linux" {
		put(t, dir, "open", "")
		f, err := os.OpenFile(filepath.Join(dir, "open"), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		want[NotQuiet]++
	}
	found := ready(t, b)
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, names) {
		t.Errorf("it finds %q", got)
	}
	if got := b.LeftAlone(); !maps.Equal(got, want) {
		t.Errorf("it leaves alone %v and not %v", got, want)
	}
	if e := found["ü"]; e.Size != 2 || e.Inode == 0 || time.Since(e.Modified) < 50*time.Second || time.Since(e.Changed) > 50*time.Second {
		t.Errorf("it says %+v", e)
	}
}

func TestManyFilesAreFoundOnceEachWhileTheyAreTakenAway(t *testing.T) {
	dir := t.TempDir()
	b := openOutbox(t, dir, OutboxOptions{Quiet: 1})
	for i := range portion + 100 {
		put(t, dir, fmt.Sprint(i), "")
	}
	found := map[string]bool{}
	err := b.Scan(t.Context(), func(e Entry) error {
		if found[e.Name] {
			t.Errorf("%s is found twice", e.Name)
		}
		found[e.Name] = true
		return b.Remove(e)
	})
	if err != nil || len(found) != portion+100 {
		t.Errorf("%d are found, %v", len(found), err)
	}
	wantFiles(t, dir, nil)
}

func TestAFileIsTakenAwayOnlyIfItIsTheOneThatWasFound(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	interfere := map[string]func(){}
	b := openOutbox(t, dir, OutboxOptions{step: func(what string) {
		if do := interfere[what]; do != nil {
			do()
		}
	}})
	another := func() {
		put(t, dir, "b.tmp", "two")
		if err := os.Rename(filepath.Join(dir, "b.tmp"), path); err != nil {
			t.Fatal(err)
		}
	}
	var writer *os.File
	for what, c := range map[string]struct {
		when string
		do   func()
		want map[string]string
		kept bool
	}{
		"it is":                           {"", nil, nil, false},
		"another comes before":            {"move aside", another, map[string]string{"a": "two"}, true},
		"another comes after":             {"look", another, map[string]string{"a": "two"}, false},
		"it was removed":                  {"move aside", func() { _ = os.Remove(path) }, nil, true},
		"another comes before, and after": {"both", nil, map[string]string{"a": "two", "a.2": "two"}, true},
		"somebody writes, and sets its time back": {"move aside", func() {
			// Without O_NONBLOCK he would wait until it is decided.
			var err error
			if writer, err = os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0); errors.Is(err, unix.EAGAIN) {
				return
			}
			st, _ := writer.Stat()
			_, wrote := writer.WriteString("new")
			if err = errors.Join(err, wrote, os.Chtimes(path, st.ModTime(), st.ModTime()), writer.Close()); err != nil {
				t.Fatal(err)
			}
		}, map[string]string{"a": "one"}, true},
	} {
		if writer = nil; strings.HasPrefix(what, "somebody") && runtime.GOOS != "linux" {
			continue
		}
		put(t, dir, "a", "one")
		e := ready(t, b)["a"]
		clear(interfere)
		interfere[c.when] = c.do
		if c.when == "both" {
			interfere["move aside"], interfere["look"] = another, another
		}
		if err := b.Remove(e); errors.Is(err, ErrChanged) != c.kept || (err != nil) != c.kept {
			t.Errorf("%s: %v", what, err)
		}
		wantFiles(t, dir, c.want)
		if left, _ := os.ReadDir(filepath.Join(b.State(), "trash")); len(left) > 0 {
			t.Errorf("%s: left in the trash: %v", what, left)
		}
		for name := range inSpool(t, dir) {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
}

func TestWhatAKilledUploaderMovedAsideIsLookedAt(t *testing.T) {
	for _, name := range []string{"a_b", strings.Repeat("x", longestName)} {
		for _, swapped := range []bool{false, true} {
			for _, at := range []string{"move aside", "look", "remove"} {
				killedWhileRemoving(t, name, swapped, at)
			}
		}
	}
}

func killedWhileRemoving(t *testing.T, name string, swapped bool, at string) {
	dir := t.TempDir()
	put(t, dir, name, "one")
	b := openOutbox(t, dir, OutboxOptions{step: func(what string) {
		if swapped && what == "move aside" {
			_ = os.Remove(filepath.Join(dir, name))
			put(t, dir, name, "two")
		}
		if what == at {
			panic("killed")
		}
	}})
	e := ready(t, b)[name]
	func() {
		defer func() { _ = recover() }()
		_ = b.Remove(e)
	}()
	if err := b.ground.close(); err != nil {
		t.Fatal(err)
	}
	b = openOutbox(t, dir, OutboxOptions{})
	want := map[string]string{}
	if at == "move aside" && !swapped {
		want[name] = "one"
	}
	if swapped {
		want[name] = "two"
	}
	wantFiles(t, dir, want)
	if left, _ := os.ReadDir(filepath.Join(b.State(), "trash")); len(left) > 0 {
		t.Errorf("left in the trash: %v", left)
	}
}

func TestOpeningAnotherFileThanWasFoundIsRefused(t *testing.T) {
	dir := t.TempDir()
	b := openOutbox(t, dir, OutboxOptions{})
	put(t, dir, "a", "one")
	e := ready(t, b)["a"]
	f, err := b.Open(e)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	path := filepath.Join(dir, "a")
	for what, do := range map[string]func() error{
		"rewritten":      func() error { return os.WriteFile(path, []byte("two"), 0o600) },
		"a pipe":         func() error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"a link":         func() error { return errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path)) },
		"not there":      func() error { return os.Remove(path) },
		"a folder there": func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		_ = os.Remove(path)
		put(t, dir, "a", "one")
		e := ready(t, b)["a"]
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Open(e); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", what, err)
		}
		if err := b.Remove(e); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := b.Open(Entry{Name: "../a"}); err == nil {
		t.Error("it leaves the folder")
	}
}

func TestAFileThatCannotBeDeliveredIsKeptWithItsReason(t *testing.T) {
	dir := t.TempDir()
	b := openOutbox(t, dir, OutboxOptions{})
	long := strings.Repeat("ü", 125) + ".txt"
	for i := range 3 {
		for _, name := range []string{"a.txt", long} {
			put(t, dir, name, fmt.Sprint(i))
			if err := b.Fail(ready(t, b)[name], "no room for "+fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := inSpool(t, filepath.Join(dir, "failed"))
	if len(got) != 12 || got["a.txt"] != "0" || got["a.2.txt"] != "1" || got["a.3.txt.reason"] != "no room for 2\n" {
		t.Errorf("in failed there is %q", got)
	}
	put(t, dir, "a.txt", "new")
	e := ready(t, b)["a.txt"]
	b.o.step = func(string) {
		_ = os.Remove(filepath.Join(dir, "a.txt"))
		put(t, dir, "a.txt", "another")
	}
	if err := b.Fail(e, "x"); !errors.Is(err, ErrChanged) || len(inSpool(t, filepath.Join(dir, "failed"))) != 12 {
		t.Errorf("another is failed: %v", err)
	}
	wantFiles(t, dir, map[string]string{"a.txt": "another"})
}

func TestTheWatchTellsOfNewFilesInAFolderThatWasMadeAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	b := openOutbox(t, dir, OutboxOptions{Quiet: 10 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	hints, err := b.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		path := filepath.Join(dir, fmt.Sprint("file", i))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for deadline := time.After(30 * time.Second); len(ready(t, b)) == 0; {
			select {
			case <-hints: // the last comes when the file is quiet
			case <-deadline:
				t.Fatal("nothing is told")
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := b.Scan(ctx, nil); !errors.Is(err, ErrGone) {
			t.Errorf("without the folder: %v", err)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		ready(t, b)
	}
	cancel()
	for range hints { // until it is closed
	}
}

func TestAFileThatWasWrittenToStaysAlthoughItsTimeWasSetBack(t *testing.T) {
	dir := t.TempDir()
	b := openOutbox(t, dir, OutboxOptions{Quiet: 1})
	path := filepath.Join(dir, "a")
	if err := os.WriteFile(path, []byte("old content"), 0o600); err != nil {
		t.Fatal(err)
	}
	var found Entry
	if err := b.Scan(t.Context(), func(e Entry) error { found = e; return nil }); err != nil || found.Name != "a" {
		t.Fatalf("found is %+v, %v", found, err)
	}
	// The clock by which a change is noted ticks some hundred times a second.
	for same := true; same; {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			_, err = f.WriteAt([]byte("new content"), 0)
		}
		if err := errors.Join(err, os.Chtimes(path, found.Modified, found.Modified)); err != nil {
			t.Fatal(err)
		}
		same = found.Is(f)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Open(found); !errors.Is(err, ErrChanged) {
		t.Errorf("it is opened: %v", err)
	}
	if err := b.Remove(found); !errors.Is(err, ErrChanged) {
		t.Errorf("it is removed: %v", err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "new content" {
		t.Errorf("there is %q, %v", content, err)
	}
}

func TestAScanOpensOnlyWhatChangedLately(t *testing.T) {
	dir, now, opened := t.TempDir(), time.Now(), 0
	b := openOutbox(t, dir, OutboxOptions{
		Now: func() time.Time { return now },
		step: func(what string) {
			if what == "open what is found" {
				opened++
			}
		},
	})
	for i := range 100 {
		put(t, dir, fmt.Sprint("old", i), "")
	}
	writer, err := os.Create(filepath.Join(dir, "slow"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = writer.Close() }()
	for range 3 { // a scan each
		now = now.Add(time.Hour)
		found := ready(t, b)
		if len(found) != 101 || opened > 0 {
			t.Fatalf("%d files were found, and %d opened", len(found), opened)
		}
		// One that is still being written is found, but not to be had.
		f, err := b.Open(found["slow"])
		if runtime.GOOS == "linux" && !errors.Is(err, ErrChanged) {
			t.Errorf("what is being written to is opened: %v", err)
		}
		if f != nil {
			_ = f.Close()
		}
	}
	now = time.Now().Add(2 * time.Second)
	if ready(t, b); opened < 100 {
		t.Errorf("of those that changed lately %d are opened", opened)
	}
}

func TestAFileThatHasTheNameOfTheFolderOfFailedIsOneAsAnyOther(t *testing.T) {
	dir := t.TempDir()
	b := openOutbox(t, dir, OutboxOptions{})
	put(t, dir, failedFolder, "one")
	e, found := ready(t, b)[failedFolder]
	if !found {
		t.Fatal("it is not found")
	}
	if err := b.Remove(e); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "a", "two")
	if err := b.Fail(ready(t, b)["a"], "x"); err != nil {
		t.Fatal(err)
	}
	if got := ready(t, b); len(got) > 0 || len(b.LeftAlone()) > 0 {
		t.Errorf("there is %v, and left alone is %v", got, b.LeftAlone())
	}
}
