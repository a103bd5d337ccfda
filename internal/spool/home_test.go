package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestTheSpoolHasOneCollector(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, StoreOptions{})
	_, err := OpenStore(dir, StoreOptions{})
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("a second one: %v", err)
	}
	b := openOutbox(t, dir, OutboxOptions{}) // of another kind
	if b.ID() == s.ID() || len(b.ID()) != 32 {
		t.Errorf("they are %s and %s", b.ID(), s.ID())
	}
	if _, err := OpenOutbox(dir, OutboxOptions{}); err == nil || !strings.Contains(err.Error(), "uploader") {
		t.Errorf("a second uploader: %v", err)
	}
}

func TestAFolderThatIsGoneIsSaidSoAndUsedAgainWhenItIsBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := openStore(t, dir, StoreOptions{})
	id := s.ID()
	mustUpload(t, s, Upload{Name: "a", Key: keyOf(1), Size: 3}, "one")
	p, err := s.Begin(Upload{Name: "b", Key: keyOf(2), Size: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Begin(Upload{Name: "c", Size: 1}); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), dir) {
		t.Errorf("without the folder: %v", err)
	}
	if _, err := p.Write([]byte("two")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Commit(noContext); !errors.Is(err, ErrGone) {
		t.Errorf("on its way: %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mustUpload(t, s, Upload{Name: "b", Key: keyOf(2), Size: 3}, "two")
	if stored := mustUpload(t, s, Upload{Name: "a", Key: keyOf(1), Size: 3}, "one"); !stored.Again {
		t.Error("a key is forgotten with the folder")
	}
	// Ours alone is gone, or a part of it.
	for i, ours := range []string{ownFolder, filepath.Join(ownFolder, "collector", "parts")} {
		if err := os.RemoveAll(filepath.Join(dir, ours)); err != nil {
			t.Fatal(err)
		}
		mustUpload(t, s, Upload{Name: "c", Key: keyOf(3 + i), Size: 5}, "three")
	}
	wantFiles(t, dir, map[string]string{"b": "two", "c": "three"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, StoreOptions{})
	for i := range 3 {
		if _, stored := s.Look("a", keyOf(i+1), Digest{}); !stored {
			t.Errorf("key %d is forgotten", i+1)
		}
	}
	if s.ID() != id {
		t.Error("it has another ID")
	}
}

func TestAFolderThatMayNotBeWrittenIsSaidSo(t *testing.T) {
	if os.Getuid() == 0 {
		// The superuser may write everywhere, so the kinds of errors alone are
		// looked at.
		for _, err := range []error{syscall.EACCES, syscall.EROFS, syscall.ESTALE, syscall.ENOENT} {
			if err := told("/spool", err); !errors.Is(err, ErrGone) {
				t.Error(err)
			}
		}
		for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT} {
			if err := told("/spool", err); !errors.Is(err, ErrFull) {
				t.Error(err)
			}
		}
		return
	}
	dir := t.TempDir()
	s := openStore(t, dir, StoreOptions{})
	parts := filepath.Join(dir, ownFolder, "collector", "parts")
	if err := os.Chmod(parts, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Begin(Upload{Name: "a", Size: 1}); !errors.Is(err, ErrGone) {
		t.Errorf("it begins: %v", err)
	}
	if err := os.Chmod(parts, 0o700); err != nil {
		t.Fatal(err)
	}
	mustUpload(t, s, Upload{Name: "a", Size: 1}, "1")
}

func TestNothingOfOursIsLookedForWhereALinkLeads(t *testing.T) {
	above := t.TempDir()
	dir, other := filepath.Join(above, "spool"), filepath.Join(above, "other")
	s := openStore(t, dir, StoreOptions{})
	mustUpload(t, s, Upload{Name: "a", Key: keyOf(1), Size: 3}, "one")
	for i, ours := range []string{ownFolder, filepath.Join(ownFolder, "collector"), filepath.Join(ownFolder, "collector", "parts")} {
		// What lies there has every name of ours.
		for _, like := range []string{"", "collector", "parts", filepath.Join("collector", "parts")} {
			if err := os.MkdirAll(filepath.Join(other, like), 0o755); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(other, like), "precious", "x")
		}
		before := walked(t, other)
		ours = filepath.Join(dir, ours)
		if err := errors.Join(os.Rename(ours, ours+".aside"), os.Symlink(other, ours)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Begin(Upload{Name: "b", Size: 3}); !errors.Is(err, ErrGone) {
			t.Errorf("%s leads elsewhere, and an upload begins: %v", ours, err)
		}
		if after := walked(t, other); after != before {
			t.Errorf("%s leads elsewhere, and there is %s now, and was %s", ours, after, before)
		}
		if err := errors.Join(os.Remove(ours), os.Rename(ours+".aside", ours)); err != nil {
			t.Fatal(err)
		}
		mustUpload(t, s, Upload{Name: "b", Key: keyOf(2 + i), Size: 3}, "two")
	}
	// Nor is a file of ours written where a link leads.
	b := openOutbox(t, dir, OutboxOptions{})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	lock, precious := filepath.Join(b.State(), "switchboard.lock"), filepath.Join(other, "precious")
	if err := errors.Join(os.Remove(lock), os.Symlink(precious, lock)); err != nil {
		t.Fatal(err)
	}
	if b, err := OpenOutbox(dir, OutboxOptions{}); err == nil {
		t.Error("a lock that is a link is had", b.Close())
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "x" {
		t.Errorf("there is %q, %v", text, err)
	}
}

// walked are all names below a folder.
func walked(t *testing.T, dir string) (names string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names += " " + path
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
