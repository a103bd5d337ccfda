package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func openStore(t *testing.T, dir string, o StoreOptions) *Store {
	t.Helper()
	if o.MinFree == 0 {
		o.MinFree = -1
	}
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

func TestALimitHoldsUntilTheNextServiceHasTakenSomething(t *testing.T) {
	for what, o := range map[string]StoreOptions{"2 is the most": {MaxFiles: 2}, "too little of the 10": {MaxBytes: 10}} {
		dir := t.TempDir()
		s := openStore(t, dir, o)
		mustUpload(t, s, Upload{Name: "a", Size: 5}, "12345")
		onItsWay, err := s.Begin(Upload{Name: "b", Size: 5})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Begin(Upload{Name: "c", Size: 1})
		if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), what) {
			t.Errorf("over the limit: %v", err)
		}
		onItsWay.Break()
		if err := os.Remove(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		if err := s.recount(noContext); err != nil {
			t.Fatal(err)
		}
		mustUpload(t, s, Upload{Name: "c", Size: 9}, "123456789")
	}
	s := openStore(t, t.TempDir(), StoreOptions{MinFree: 1 << 60})
	if _, err := s.Begin(Upload{Name: "a", Size: 1}); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "the disk lacks") {
		t.Errorf("without room on the disk: %v", err)
	}
}

func TestWhatAnUploadLeftGoesWithItsAgeOrForWantOfRoom(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	s := openStore(t, dir, StoreOptions{Now: func() time.Time { return now }})
	leave := func(n int) {
		p, err := s.Begin(Upload{Name: "a", Key: keyOf(n), Size: 10})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte("12345")); err != nil {
			t.Fatal(err)
		}
		p.Break()
	}
	leave(1)
	for _, c := range []struct {
		older time.Duration
		left  int
	}{{time.Hour, 1}, {-time.Hour, 0}} {
		if err := s.clean(now.Add(-c.older)); err != nil || len(partsIn(t, dir)) != c.left {
			t.Errorf("%q are left, %v", partsIn(t, dir), err)
		}
	}
	leave(2)
	s.Adjust(StoreOptions{MinFree: 1 << 60})
	if _, err := s.Begin(Upload{Name: "a", Key: keyOf(3), Size: 10}); !errors.Is(err, ErrFull) || len(partsIn(t, dir)) != 0 {
		t.Errorf("%q are left, %v", partsIn(t, dir), err)
	}
}

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

func TestOldKeysAreForgottenAndTheLogStaysSmall(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1_800_000_000, 0)
	s := openStore(t, dir, StoreOptions{RememberKeys: 3, Now: func() time.Time { return now }})
	know := func() (known []int) {
		for i := range 50 {
			if _, stored := s.Look("a", keyOf(i), Digest{}); stored {
				known = append(known, i)
			}
		}
		return known
	}
	for i := range 10 {
		mustUpload(t, s, Upload{Name: "a", Key: keyOf(i), Size: 1}, "1")
	}
	if got := know(); len(got) != 10 {
		t.Errorf("it knows %d", got)
	}
	now = now.Add(25 * time.Hour)
	mustUpload(t, s, Upload{Name: "a", Key: keyOf(10), Size: 1}, "1")
	if got := know(); !slices.Equal(got, []int{8, 9, 10}) {
		t.Errorf("a day later it knows %d", got)
	}
	for i := range 39 {
		mustUpload(t, s, Upload{Name: "a", Key: keyOf(11 + i), Size: 1}, "1")
	}
	if got := know(); len(got) != 30 {
		t.Errorf("of many it knows %d", got)
	}
	b := batchOf{s: s, g: s.ground, o: s.o}
	s.ground.log.length, s.ground.log.live = 100<<20, 1
	b.forget()
	if s.ground.log.length > 30*64+int64(len(receivedMagic)) {
		t.Errorf("the log has %d bytes", s.ground.log.length)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, StoreOptions{})
	if got := know(); len(got) != 30 {
		t.Errorf("after a restart it knows %d", got)
	}
}

func TestALogThatIsCutAnywhereIsReadUpToThere(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, StoreOptions{})
	for i := range 3 {
		mustUpload(t, s, Upload{Name: fmt.Sprint("file", i), Key: keyOf(i), Size: 1}, "1")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, ownFolder, "collector", receivedName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	known := -1
	for cut := 0; cut <= len(whole); cut += 19 {
		if err := os.WriteFile(path, slices.Concat(whole[:cut], bytes.Repeat([]byte{0}, 20)), 0o600); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		s, err := OpenStore(dir, StoreOptions{MinFree: -1, Log: slog.New(slog.NewTextHandler(&said, nil))})
		if cut < len(receivedMagic) && cut > 1 {
			if err == nil {
				t.Fatalf("%d bytes of the log are read", cut)
			}
			continue
		}
		if err != nil {
			t.Fatal(cut, err)
		}
		n := 0
		for i := range 3 {
			if _, stored := s.Look("x", keyOf(i), Digest{}); stored {
				n++
			}
		}
		if n < known || said.Len() == 0 {
			t.Errorf("%d bytes of the log tell of %d keys, and it says %q", cut, n, &said)
		}
		known = n
		mustUpload(t, s, Upload{Name: "new", Key: keyOf(9), Size: 1}, "1")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, dir, StoreOptions{})
		if _, stored := s.Look("x", keyOf(9), Digest{}); !stored {
			t.Errorf("what came after the cut at %d is lost", cut)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
