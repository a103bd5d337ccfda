package spool

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func openStore(t *testing.T, dir string, o StoreOptions) *Store {
	t.Helper()
	s, err := OpenStore(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func keyOf(n int) string {
	sum := sha256.Sum256(fmt.Append(nil, "key ", n))
	return hex.EncodeToString(sum[:])
}

// upload sends a file whole.
func upload(s *Store, u Upload, content string) (Stored, error) {
	p, err := s.Begin(u)
	if err != nil {
		return Stored{}, err
	}
	defer p.Break()
	if _, err := p.Write([]byte(content)[u.Offset:]); err != nil {
		return Stored{}, err
	}
	return p.Commit(noContext)
}

func mustUpload(t *testing.T, s *Store, u Upload, content string) Stored {
	t.Helper()
	stored, err := upload(s, u, content)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// inSpool returns the files of a folder with their contents, but ours.
func inSpool(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = string(b)
	}
	return found
}

func wantFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if got := inSpool(t, dir); !maps.Equal(got, want) {
		t.Errorf("there is %q, and not %q", got, want)
	}
}

func partsIn(t *testing.T, dir string) []string {
	t.Helper()
	return slices.Collect(maps.Keys(inSpool(t, filepath.Join(dir, ownFolder, "collector", "parts"))))
}

func prefixOf(content string, digits int) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])[:digits]
}

func TestOtherContentOfANameIsKeptBesideAndTheSameIsOneFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "spool")
	s := openStore(t, dir, StoreOptions{})
	for i, u := range []struct {
		name, content, as string
		again             bool
	}{
		{"a.tar.gz", "one", "a.tar.gz", false},
		{"a.tar.gz", "one", "a.tar.gz", true},
		{"a.tar.gz", "two", "a.tar." + prefixOf("two", 8) + ".gz", false},
		{"a.tar.gz", "two", "a.tar." + prefixOf("two", 8) + ".gz", true},
		{"no extension", "", "no extension", false},
		{"no extension", "x", "no extension." + prefixOf("x", 8), false},
	} {
		for _, key := range []string{"", keyOf(i)} {
			stored := mustUpload(t, s, Upload{Name: u.name, Key: key, Size: -1}, u.content)
			if stored.Name != u.as || stored.Again != (u.again || key != "") || stored.Digest != sha256.Sum256([]byte(u.content)) {
				t.Errorf("%+v with key %q is stored as %+v", u, key, stored)
			}
		}
	}
	// The name with eight digits is another's, and a folder has a name too.
	if err := os.WriteFile(filepath.Join(dir, "a.tar."+prefixOf("three", 8)+".gz"), []byte("mine!"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "failed"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, as := range map[string]string{
		"a.tar.gz": "a.tar." + prefixOf("three", 16) + ".gz",
		"failed":   "failed." + prefixOf("three", 8),
		"link":     "link." + prefixOf("three", 8),
	} {
		if stored := mustUpload(t, s, Upload{Name: name, Size: 5}, "three"); stored.Name != as {
			t.Errorf("%s is stored as %s and not %s", name, stored.Name, as)
		}
	}
	if left := partsIn(t, dir); len(left) > 0 {
		t.Errorf("left in parts: %q", left)
	}
	if st := s.Stats(); st.Files != 7 || st.Stored != 7 || st.Again != 17-7-2 || st.Uploads != 0 {
		t.Logf("%q", inSpool(t, dir))
		t.Errorf("it counts %+v", st)
	}
}

func TestAKeyIsStoredOnceWhoeverTookTheFileMeanwhile(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, StoreOptions{})
	u := Upload{Name: "a", Key: keyOf(1), Digest: sha256.Sum256([]byte("one")), Size: 3}
	mustUpload(t, s, u, "one")
	for range 2 {
		if err := os.Remove(filepath.Join(dir, "a")); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if _, stored := s.Look("a", u.Key, u.Digest); !stored {
			t.Error("it is not known any more")
		}
		p, err := s.Begin(u)
		if err != nil || !p.Again() {
			t.Fatalf("it begins again: %v", err)
		}
		if stored, err := p.Commit(noContext); err != nil || !stored.Again {
			t.Errorf("it is %+v, %v", stored, err)
		}
		if _, err := s.Begin(Upload{Name: "a", Key: u.Key, Digest: sha256.Sum256([]byte("two")), Size: 3}); !errors.Is(err, ErrDigest) {
			t.Errorf("other content with the key: %v", err)
		}
		wantFiles(t, dir, nil)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, dir, StoreOptions{})
	}
	// Dropped anew it has another key.
	mustUpload(t, s, Upload{Name: "a", Key: keyOf(2), Size: 3}, "one")
	wantFiles(t, dir, map[string]string{"a": "one"})
}

func TestKeysThatDifferOnlyAtTheirEndsAreTwo(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, StoreOptions{})
	want := map[string]string{}
	for _, end := range []string{"1", "2", "a", "A"} {
		u := Upload{Name: "f" + end + end, Key: strings.Repeat("0", 63) + end, Digest: sha256.Sum256([]byte("one")), Size: 3}
		mustUpload(t, s, u, "one")
		want[u.Name] = "one"
	}
	wantFiles(t, dir, want)
}

func TestAnUploadGoesOnWhereItBrokeOff(t *testing.T) {
	content := strings.Repeat("0123456789", 100_000)
	for _, restarted := range []bool{false, true} {
		dir := t.TempDir()
		s := openStore(t, dir, StoreOptions{})
		u := Upload{Name: "a", Key: keyOf(1), Digest: sha256.Sum256([]byte(content)), Size: int64(len(content))}
		p, err := s.Begin(u)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte(content[:700_000])); err != nil {
			t.Fatal(err)
		}
		p.Break()
		if restarted {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, dir, StoreOptions{})
		}
		if held, stored := s.Look(u.Name, u.Key, u.Digest); held != 700_000 || stored {
			t.Fatalf("%d are held, stored %v", held, stored)
		}
		u.Offset = 600_000
		if _, err := s.Begin(u); err == nil || err.(*OffsetError).Held != 700_000 {
			t.Errorf("at another offset: %v", err)
		}
		u.Offset = 700_000
		mustUpload(t, s, u, content)
		wantFiles(t, dir, map[string]string{"a": content})
	}
}

func TestWhatIsNotWhatWasAnnouncedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, StoreOptions{MaxFile: 10})
	for _, u := range []struct {
		Upload
		content string
		want    error
	}{
		{Upload{Name: "a", Key: keyOf(1), Digest: sha256.Sum256([]byte("one")), Size: 3}, "two", ErrDigest},
		{Upload{Name: "a", Digest: sha256.Sum256([]byte("one")), Size: -1}, "two", ErrDigest},
		{Upload{Name: "a", Key: keyOf(1), Size: 3}, "three", ErrTooLarge},
		{Upload{Name: "a", Size: 4}, "two", ErrShort},
		{Upload{Name: "a", Size: 11}, "", ErrTooLarge},
		{Upload{Name: "a", Key: keyOf(2), Size: -1}, "more than ten", ErrTooLarge},
		{Upload{Name: "../a", Size: 3}, "", &NameError{}},
	} {
		_, err := upload(s, u.Upload, u.content)
		if name := (*NameError)(nil); !errors.Is(err, u.want) && !errors.As(err, &name) {
			t.Errorf("%+v: %v", u, err)
		}
	}
	if left := partsIn(t, dir); len(left) > 0 {
		t.Errorf("left in parts: %q", left)
	}
	wantFiles(t, dir, nil)
	if st := s.Stats(); st.Refused != 7 || st.Uploads != 0 {
		t.Errorf("it counts %+v", st)
	}
}

func TestANewerUploadTakesThePartOfADeadOneOver(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, StoreOptions{})
	replaced := 0
	u := Upload{Name: "a", Key: keyOf(1), Size: 6, Replaced: func() { replaced++ }}
	older, err := s.Begin(u)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := older.Write([]byte("one")); err != nil {
		t.Fatal(err)
	}
	u.Offset = 3
	newer, err := s.Begin(u)
	if err != nil || replaced != 1 {
		t.Fatalf("%v, replaced %d", err, replaced)
	}
	if _, err := older.Write([]byte("xxx")); !errors.Is(err, ErrBusy) {
		t.Errorf("the older one writes: %v", err)
	}
	if _, err := older.Commit(noContext); !errors.Is(err, ErrBusy) {
		t.Errorf("the older one commits: %v", err)
	}
	older.Break()
	if _, err := newer.Write([]byte("two")); err != nil {
		t.Fatal(err)
	}
	if _, err := newer.Commit(noContext); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string]string{"a": "onetwo"})
}

func TestManyAtOnceOfOneNameAreOneFileForEachContent(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, StoreOptions{})
	var wg sync.WaitGroup
	want := map[string]bool{}
	for i := range 48 {
		content := strings.Repeat(fmt.Sprint(i%6), 1000)
		want[content] = true
		wg.Go(func() {
			u := Upload{Name: "a.txt", Size: 1000}
			if i%3 > 0 {
				u.Key = keyOf(i)
			}
			if _, err := upload(s, u, content); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := map[string]bool{}
	files := inSpool(t, dir)
	for _, content := range files {
		got[content] = true
	}
	if len(files) != 6 || !maps.Equal(got, want) || len(partsIn(t, dir)) > 0 {
		t.Errorf("there are %d files, and %d parts", len(files), len(partsIn(t, dir)))
	}
}
