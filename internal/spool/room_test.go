package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// begun begins an upload and writes what has come of it.
func begun(t *testing.T, s *Store, u Upload, came string) *Part {
	t.Helper()
	p, err := s.Begin(u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Break)
	if _, err := p.Write([]byte(came)); err != nil {
		t.Fatal(err)
	}
	return p
}

// refused wants an upload to be refused for want of room when it begins.
func refused(t *testing.T, s *Store, u Upload, why string) {
	t.Helper()
	p, err := s.Begin(u)
	if err == nil {
		p.Break()
	}
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), why) {
		t.Errorf("over the limit: %v", err)
	}
}

func TestALimitHoldsUntilTheNextServiceHasTakenSomething(t *testing.T) {
	for what, o := range map[string]StoreOptions{"2 is the most": {MaxFiles: 2}, "too little of the 10": {MaxBytes: 10}} {
		dir := t.TempDir()
		s := openStore(t, dir, o)
		mustUpload(t, s, Upload{Name: "a", Size: 5}, "12345")
		if _, err := begun(t, s, Upload{Name: "b", Size: 5}, "12345").Commit(noContext); err != nil {
			t.Fatal(err)
		}
		refused(t, s, Upload{Name: "c", Size: 1}, what)
		if err := os.Remove(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		if err := s.recount(noContext); err != nil {
			t.Fatal(err)
		}
		mustUpload(t, s, Upload{Name: "c", Size: 5}, "12345")
	}
	s := openStore(t, t.TempDir(), StoreOptions{MinFree: 1 << 60})
	refused(t, s, Upload{Name: "a", Size: 1}, "the disk lacks")
}

// Of a thousand connections that say much and send nothing, none takes a place.
func TestWhatIsOnlyAnnouncedTakesNoRoomFromOthers(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, StoreOptions{MaxFiles: 2, MaxBytes: 10})
	for range 300 {
		begun(t, s, Upload{Name: "silent", Size: 10}, "")
	}
	first, second := begun(t, s, Upload{Name: "first", Key: keyOf(1), Size: 8}, ""), begun(t, s, Upload{Name: "second", Key: keyOf(2), Size: 8}, "")
	for _, p := range []*Part{first, second} {
		if _, err := p.Write([]byte("1234")); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, s, Upload{Name: "third", Size: 3}, "too little of the 10")
	if _, err := first.Write([]byte("5678")); !errors.Is(err, ErrFull) {
		t.Errorf("more comes than there is room for: %v", err)
	}
	// What it left makes way for the one that goes on.
	if _, err := second.Write([]byte("5678")); err != nil {
		t.Fatal(err)
	}
	third := begun(t, s, Upload{Name: "third", Size: 1}, "1")
	mustUpload(t, s, Upload{Name: "fourth", Size: 0}, "")
	if _, err := second.Commit(noContext); err != nil {
		t.Fatal(err)
	}
	if _, err := third.Commit(noContext); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "2 is the most") {
		t.Errorf("there are more files than may be: %v", err)
	}
	wantFiles(t, dir, map[string]string{"second": "12345678", "fourth": ""})
	if len(partsIn(t, dir)) != 300 || s.coming != 0 || s.committing != 0 {
		t.Errorf("%d parts are there, and %d bytes and %d files are counted", len(partsIn(t, dir)), s.coming, s.committing)
	}
}

// Uploads with ever new keys, each of which sends a byte and breaks off.
func TestOnlySoManyPartsAreHeldAndTheOldestGoFirst(t *testing.T) {
	dir := t.TempDir()
	for _, restarted := range []bool{false, true} {
		s := openStore(t, dir, StoreOptions{MaxParts: 3})
		for i := range 20 {
			begun(t, s, Upload{Name: "a", Key: keyOf(i), Size: 10}, "1").Break()
			if n := len(partsIn(t, dir)); n > 3 {
				t.Fatalf("%d parts are held", n)
			}
		}
		for i, want := range map[int]int64{16: 0, 17: 1, 18: 1, 19: 1} {
			if held, _ := s.Look("a", keyOf(i), Digest{}); held != want {
				t.Errorf("of upload %d, %d bytes are held (restarted: %v)", i, held, restarted)
			}
		}
		if s.ground.held.bytes != 3*blockSize {
			t.Errorf("%d bytes are counted as held", s.ground.held.bytes)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnUploadThatCannotFitRemovesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, StoreOptions{MaxBytes: 4 * blockSize})
	for i := range 4 {
		begun(t, s, Upload{Name: "a", Key: keyOf(i), Size: 10}, "1").Break()
	}
	if _, err := s.Begin(Upload{Name: "b", Size: 4*blockSize + 1}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than may ever wait: %v", err)
	}
	s.Adjust(StoreOptions{})
	refused(t, s, Upload{Name: "b", Size: mostSize}, "a small file is taken")
	s.Adjust(StoreOptions{MinFree: 1 << 50})
	refused(t, s, Upload{Name: "b", Size: 1}, "the disk lacks")
	s.Adjust(StoreOptions{MaxBytes: 4 * blockSize})
	// One that only says that it fits does not either.
	p := begun(t, s, Upload{Name: "b", Size: 4 * blockSize}, "")
	if n := len(partsIn(t, dir)); n != 5 {
		t.Errorf("%d parts are there, and its own", n)
	}
	// What comes does, one after the other.
	if _, err := p.Write(make([]byte, blockSize)); err != nil || len(partsIn(t, dir)) != 4 {
		t.Errorf("%d parts are there, %v", len(partsIn(t, dir)), err)
	}
	if held, _ := s.Look("a", keyOf(3), Digest{}); held != 1 {
		t.Error("the newest went first")
	}
}

// A look at the disk may be old, and what is being written may be in it or not.
func TestTheDiskIsAskedBeforeMoreIsGivenOutThanIsFree(t *testing.T) {
	now := time.Now()
	s := openStore(t, t.TempDir(), StoreOptions{MinFree: 1, Now: func() time.Time { return now }})
	p := begun(t, s, Upload{Name: "a", Size: -1}, "1")
	d := &s.ground.disk
	d.bytes = 2 * blockSize
	write := func(n int) (asked bool) {
		was := d.asked
		if _, err := p.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		return d.asked != was
	}
	if write(blockSize) || d.bytes != blockSize || d.writing != 0 {
		t.Errorf("it is asked while there is room, and %d bytes are left", d.bytes)
	}
	if !write(blockSize) || d.bytes <= blockSize {
		t.Errorf("it is not asked when there is none, and %d bytes are left", d.bytes)
	}
	given := 0
	for ; !write(1 << 20); given++ {
	}
	if given != askEvery>>20 {
		t.Errorf("it is asked after %d MiB", given)
	}
	now = now.Add(askAfter)
	if write(1); d.at != now {
		t.Error("it is not asked after a while")
	}
	d.writing = 1 << 40
	if err := s.ask(s.ground); err != nil || d.bytes >= 0 {
		t.Errorf("with a tebibyte on its way, %d bytes are left, %v", d.bytes, err)
	}
	d.writing = 0
}

// Many parts of a byte use up the files of a disk, and not its bytes; and a quota is
// seen by its errors alone.
func TestADiskThatTakesNoMoreFilesIsRelievedOfParts(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, StoreOptions{})
	for i := range 3 {
		begun(t, s, Upload{Name: "a", Key: keyOf(i), Size: 10}, "1").Break()
	}
	g := s.ground
	for free, want := range map[int64]shortage{leastFiles + 1: {}, leastFiles: {files: 1}, leastFiles - 3: {files: 4}} {
		g.disk.files = free
		l := s.lack(g, 0, true)
		if l.any() != (want.files > 0) || l.any() && l.files != want.files || (s.hopeless(g, l) != nil) != (want.files > 3) {
			t.Errorf("with %d files it lacks %+v: %v", free, l, s.hopeless(g, l))
		}
	}
	if s.relieved(g, syscall.EIO, 1) || len(partsIn(t, dir)) != 3 {
		t.Error("a disk that fails has parts removed")
	}
	for i, err := range []error{&os.PathError{Err: syscall.ENOSPC}, syscall.EDQUOT, syscall.ENOSPC} {
		if !s.relieved(g, err, 1) || len(partsIn(t, dir)) != 2-i {
			t.Errorf("after %v there are %q", err, partsIn(t, dir))
		}
	}
	if s.relieved(g, syscall.ENOSPC, 1) {
		t.Error("it is tried again for ever")
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
	s.Adjust(StoreOptions{MaxBytes: 10})
	mustUpload(t, s, Upload{Name: "a", Key: keyOf(3), Size: 10}, "1234567890")
	if left := partsIn(t, dir); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
}
