package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestADraftIsSeenWhenItIsPublishedAndOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDrafts(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := func() (names []string) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if e.Name() != ownFolder {
				names = append(names, e.Name())
			}
		}
		return names
	}
	var got []string
	for range 6 {
		draft, err := d.Open("x.bucket")
		if err != nil || draft.Append([]byte("same\n")) != nil {
			t.Fatal(err)
		}
		if slices.Contains(seen(), "x.bucket") != (len(got) > 0) {
			t.Error("there are", seen())
		}
		name, err := draft.Publish()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, name)
	}
	slices.Sort(got)
	if want := seen(); !slices.Equal(got, want) || len(slices.Compact(got)) != 6 || !slices.Contains(got, "x.a6328afc.bucket") {
		t.Errorf("%q, and there are %q", got, want)
	}
	if _, err := OpenDrafts(dir); err == nil {
		t.Error("two make files in one spool")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestADraftGoesOnBehindItsLastWholeRecord(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDrafts(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	own := filepath.Join(dir, ownFolder, "maker")
	for name, text := range map[string]string{"a": "one\ntwo\nhal", "b": "half", "c": ""} {
		if err := os.WriteFile(filepath.Join(own, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := d.Names(); err != nil || !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Fatal(names, err)
	}
	for _, name := range []string{"a", "b", "c"} {
		draft, err := d.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "a" && draft.Append([]byte("three\n")) != nil {
			t.Error("it does not go on")
		}
		if _, err := draft.Publish(); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "a")); string(b) != "one\ntwo\nthree\n" {
		t.Errorf("%q %v", b, err)
	}
	entries, err := os.ReadDir(dir)
	if left, _ := d.Names(); len(left) > 0 || err != nil || len(entries) != 2 {
		t.Error("left are", left, entries, err)
	}
}

func TestADraftInAFolderThatIsGoneSaysSoAndTheNextIsWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	d, err := OpenDrafts(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	draft, err := d.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := draft.Append([]byte("lost\n")); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if _, err := d.Open("a"); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	_ = draft.Close()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if draft, err = d.Open("a"); err != nil || draft.Append([]byte("kept\n")) != nil {
		t.Fatal(err)
	}
	if name, err := draft.Publish(); name != "a" || err != nil {
		t.Error(name, err)
	}
}
