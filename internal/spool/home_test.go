package spool

import (
	"crypto/sha256"
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

func TestASpoolThatCouldNotBeUsedForAWhileIsLockedAsBefore(t *testing.T) {
	dir := t.TempDir()
	s, b := openStore(t, dir, StoreOptions{}), openOutbox(t, dir, OutboxOptions{})
	ours := filepath.Join(dir, ownFolder)
	if err := errors.Join(os.Rename(ours, ours+".away"), os.WriteFile(ours, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	scan := func() error { return b.Scan(t.Context(), func(Entry) error { return nil }) }
	if _, err := upload(s, Upload{Name: "a", Size: 1}, "a"); !errors.Is(err, ErrGone) || !errors.Is(scan(), ErrGone) {
		t.Error("it is used while it cannot be:", err)
	}
	if err := errors.Join(os.Remove(ours), os.Rename(ours+".away", ours)); err != nil {
		t.Fatal(err)
	}
	mustUpload(t, s, Upload{Name: "a", Size: 1}, "a")
	if err := scan(); err != nil {
		t.Error(err)
	}
	if _, err := OpenStore(dir, StoreOptions{}); err == nil {
		t.Error("it has two collectors")
	}
	if _, err := OpenOutbox(dir, OutboxOptions{}); err == nil {
		t.Error("it has two uploaders")
	}
}

// What was answered for in the one folder or the other is not stored again.
func TestInAnotherFolderThatIsASpoolTheKeysOfBothAreKnown(t *testing.T) {
	above := t.TempDir()
	dir, other := filepath.Join(above, "spool"), filepath.Join(above, "other")
	was := openStore(t, other, StoreOptions{})
	for _, key := range []int{1, 2} {
		mustUpload(t, was, Upload{Name: "old", Key: keyOf(key), Size: 3}, "old")
	}
	own := filepath.Join(was.State(), receivedName)
	if err := was.Close(); err != nil {
		t.Fatal(err)
	}
	// Killed before two files got their names: of one the part is there still.
	whole := intent{name: "whole", digest: sha256.Sum256([]byte("whole")), size: 5, at: 1}
	log, err := os.ReadFile(own)
	log = intent{name: "taken", digest: whole.digest, size: 5, at: 1}.append(whole.append(log, identify(keyOf(3))), identify(keyOf(4)))
	part := filepath.Join(was.State(), "parts", identify(keyOf(3)).partName())
	if err := errors.Join(err, os.WriteFile(own, log, 0o600), os.WriteFile(part, []byte("whole"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir, StoreOptions{})
	for _, key := range []int{1, 5} {
		mustUpload(t, s, Upload{Name: "new", Key: keyOf(key), Size: 3}, "new")
	}
	if err := errors.Join(os.Rename(dir, dir+".away"), os.Rename(other, dir), os.Remove(filepath.Join(dir, "old"))); err != nil {
		t.Fatal(err)
	}
	known := func(when string) {
		t.Helper()
		for key := 1; key <= 5; key++ {
			if _, stored := s.Look("x", keyOf(key), Digest{}); !stored {
				t.Errorf("%s: key %d is forgotten", when, key)
			}
		}
	}
	known("in the other folder")
	wantFiles(t, dir, map[string]string{"whole": "whole"})
	mustUpload(t, s, Upload{Name: "last", Key: keyOf(6), Size: 4}, "last")
	if got := len(s.known.order); got != 6 || len(s.known.delivered) != 6 {
		t.Errorf("%d keys are in order, %d are known", got, len(s.known.delivered))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, StoreOptions{})
	known("after a restart")
}

// Whoever is killed before the next file comes has read nothing but what is there.
func TestTheKeysAreWrittenInAnotherFolderAsSoonAsItIsUsed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := openStore(t, dir, StoreOptions{})
	mustUpload(t, s, Upload{Name: "a", Key: keyOf(1), Size: 3}, "one")
	if err := errors.Join(os.Rename(dir, dir+".away"), os.Mkdir(dir, 0o755), s.recount(t.Context())); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(s.State(), receivedName))
	written := newRemembered()
	if err != nil || written.read(log) != len(log) || len(written.delivered) != 1 {
		t.Errorf("the log has %d keys, %v", len(written.delivered), err)
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
