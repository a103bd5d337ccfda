package relay

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// keyNow returns the key under which the file a would be sent now, and how it was
// found.
func keyNow(t *testing.T, box *spool.Outbox) (string, spool.Entry) {
	t.Helper()
	var found spool.Entry
	if err := box.Scan(t.Context(), func(e spool.Entry) error { found = e; return nil }); err != nil || found.Name != "a" {
		t.Fatalf("found is %+v, %v", found, err)
	}
	f, err := box.Open(found)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was read only
	c, l := &courier{spool: "x", digests: &digests{all: map[fileID]*known{}}}, &load{id: identify("next", found), entry: found, file: f}
	if out := c.prepare(t.Context(), l); out.fate != fateDelivered {
		t.Fatal(out)
	}
	return l.key, found
}

func TestAFileKeepsItsKeyWhateverChangesButItsContentUntilItIsDroppedAnew(t *testing.T) {
	date := time.Now().Add(-time.Hour)
	for what, c := range map[string]struct {
		do   func(path, other string, e spool.Entry, box *spool.Outbox) error
		same bool
	}{
		"another mode":     {func(path, _ string, _ spool.Entry, _ *spool.Outbox) error { return os.Chmod(path, 0o640) }, true},
		"another name":     {func(path, other string, _ spool.Entry, _ *spool.Outbox) error { return os.Link(path, other) }, true},
		"moved out and in": {func(path, other string, _ spool.Entry, _ *spool.Outbox) error { return moveTwice(path, other) }, true},
		"written in place": {func(path, _ string, _ spool.Entry, _ *spool.Outbox) error {
			return os.WriteFile(path, []byte("one"), 0o600)
		}, false},
		"other content":     {func(path, _ string, _ spool.Entry, _ *spool.Outbox) error { return dated(path, "two", date) }, false},
		"another one there": {func(path, other string, _ spool.Entry, _ *spool.Outbox) error { return renamedOver(path, other, date) }, false},
		"dropped anew": {func(path, _ string, e spool.Entry, box *spool.Outbox) error {
			if err := box.Remove(e); err != nil {
				return err
			}
			return dated(path, "one", date) // most likely with the same inode
		}, false},
	} {
		box, path := openWithOne(t, date)
		before, e := keyNow(t, box)
		if err := c.do(path, filepath.Join(t.TempDir(), "b"), e, box); err != nil {
			t.Fatal(err)
		}
		if after, _ := keyNow(t, box); (before == after) != c.same {
			t.Errorf("%s: the key is the same: %v", what, before == after)
		}
	}
}

// A file that has another name elsewhere lives on when it was sent. What is linked
// then is sent again, also by the next run.
func TestAFileThatIsLinkedAgainHasAnotherKey(t *testing.T) {
	box, path := openWithOne(t, time.Now().Add(-time.Hour))
	other := filepath.Join(t.TempDir(), "b")
	if err := os.Link(path, other); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for turn := range 3 {
		key, e := keyNow(t, box)
		if keys[key] {
			t.Errorf("in turn %d it has a key that it had before", turn)
		}
		keys[key] = true
		if err := box.Remove(e); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(other, path); err != nil {
			t.Fatal(err)
		}
		if err := box.Close(); err != nil {
			t.Fatal(err)
		}
		box = openBox(t, filepath.Dir(path))
	}
}

func openBox(t *testing.T, dir string) *spool.Outbox {
	t.Helper()
	box, err := spool.OpenOutbox(dir, spool.OutboxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() }) // it may be closed
	return box
}

func openWithOne(t *testing.T, date time.Time) (box *spool.Outbox, path string) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, "a")
	if err := dated(path, "one", date); err != nil {
		t.Fatal(err)
	}
	return openBox(t, dir), path
}

func dated(path, content string, date time.Time) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return os.Chtimes(path, date, date)
}

func moveTwice(path, other string) error {
	if err := os.Rename(path, other); err != nil {
		return err
	}
	return os.Rename(other, path)
}

func renamedOver(path, other string, date time.Time) error {
	if err := dated(other, "one", date); err != nil {
		return err
	}
	return os.Rename(other, path)
}

func TestAFileOfWhichTheModeChangesWhileItWaitsIsNotSentAgainToWhoHasIt(t *testing.T) {
	a, dead := newStub(t, nil), newStub(t, refusing(500))
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	drop(t, dir, "file", "content")
	newUpload(t, standardUpload(dir, next(map[string]*stub{"a": a, "dead": dead}))).start(quickUpload)
	eventually(t, "it is noted that one has it", func() bool { return noted(dir) })
	if err := errors.Join(os.Chmod(path, 0o640), os.Link(path, filepath.Join(t.TempDir(), "other"))); err != nil {
		t.Fatal(err)
	}
	tries := dead.tries()
	eventually(t, "the other one is asked again", func() bool { return dead.tries() > tries+3 })
	dead.do(nil)
	eventually(t, "it is gone", func() bool { return !there(dir, "file") })
	if !dead.has("file") || len(a.sent()) != 1 {
		t.Errorf("the first was sent it %d times", len(a.sent()))
	}
}

func TestAFileThatIsRemovedAndDroppedAnewBeforeAllHaveItIsSentToAll(t *testing.T) {
	a, dead := newStub(t, nil), newStub(t, refusing(500))
	dir := t.TempDir()
	path, date := filepath.Join(dir, "file"), time.Now().Add(-time.Hour)
	if err := dated(path, "content", date); err != nil {
		t.Fatal(err)
	}
	newUpload(t, standardUpload(dir, next(map[string]*stub{"a": a, "dead": dead}))).start(quickUpload)
	eventually(t, "it is noted that one has it", func() bool { return noted(dir) })
	if err := errors.Join(os.Remove(path), dated(path, "content", date)); err != nil { // most likely with the same inode
		t.Fatal(err)
	}
	eventually(t, "it is sent again", func() bool { return len(a.sent()) == 2 })
	dead.do(nil)
	eventually(t, "it is gone", func() bool { return !there(dir, "file") })
}

func TestAFileThatIsWrittenToIsSentAgainToWhoHasItAlthoughItsTimeWasSetBack(t *testing.T) {
	a, dead := newStub(t, nil), newStub(t, refusing(500))
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	drop(t, dir, "file", "content")
	newUpload(t, standardUpload(dir, next(map[string]*stub{"a": a, "dead": dead}))).start(quickUpload)
	eventually(t, "it is noted that one has it", func() bool { return noted(dir) })
	info, err := os.Stat(path)
	if err == nil {
		err = os.WriteFile(path, []byte("another"), 0o600)
	}
	if err = errors.Join(err, os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has what was written", func() bool { return a.content("file") == "another" })
	dead.do(nil)
	eventually(t, "it is gone", func() bool { return !there(dir, "file") })
	if got := dead.content("file"); got != "another" {
		t.Errorf("the other one has %q", got)
	}
}

// noted says whether the ledger has more than that there are two collectors.
func noted(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, ".switchboard", "uploader", "ledger"))
	return err == nil && info.Size() > int64(len(ledgerMagic)+2*recordSize)
}
