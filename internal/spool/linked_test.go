package spool

import (
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWhatIsLinkedAgainIsAnotherTurnWhateverBecomesOfTheNotes(t *testing.T) {
	above := t.TempDir()
	dir, other := filepath.Join(above, "spool"), filepath.Join(above, "other")
	b := openOutbox(t, dir, OutboxOptions{})
	put(t, dir, "a", "one")
	if err := os.Link(filepath.Join(dir, "a"), other); err != nil {
		t.Fatal(err)
	}
	seen := map[int64]bool{}
	turn := func(known bool) {
		t.Helper()
		e := ready(t, b)["a"]
		if e.Name == "" || seen[e.Turn] != known {
			t.Errorf("found is %+v, and such a turn was seen: %v", e, !known)
		}
		seen[e.Turn] = true
	}
	again := func() {
		t.Helper()
		if err := b.Remove(ready(t, b)["a"]); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(other, filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
	}
	turn(false)
	again()
	turn(false)
	again()
	turn(false)
	// The folder is made anew while the uploader runs.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(other, filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	turn(true)
	again()
	turn(false)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	// The last note is torn: what it spoke of was not removed then.
	notes := filepath.Join(b.State(), linkedName)
	info, err := os.Stat(notes)
	if err == nil {
		err = os.Truncate(notes, info.Size()-5)
	}
	if err != nil {
		t.Fatal(err)
	}
	b = openOutbox(t, dir, OutboxOptions{})
	turn(true)
	again()
	turn(false)
}

func TestOnlyTheNewestLinkedFilesAreRemembered(t *testing.T) {
	l := &linked{turns: map[linkedID]int64{}}
	numbered := func(n int) (id linkedID) {
		binary.BigEndian.PutUint64(id[:], uint64(n))
		return id
	}
	for n := range 2*mostLinked + 1 {
		l.note(numbered(n%(2*mostLinked)), time.Unix(int64(n), 0).UnixNano())
	}
	if len(l.turns) != mostLinked || len(l.order) != mostLinked {
		t.Fatalf("it remembers %d, and %d in order", len(l.turns), len(l.order))
	}
	for n, want := range map[int]bool{0: true, 1: false, mostLinked: false, mostLinked + 1: true, 2*mostLinked - 1: true} {
		if _, known := l.turns[numbered(n)]; known != want {
			t.Errorf("it knows %d: %v", n, known)
		}
	}
}

func TestANoteAfterOneThatTheDiskTookHalfIsRead(t *testing.T) {
	own, err := openFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer own.close()
	l := &linked{turns: map[linkedID]int64{}, f: own}
	notes := filepath.Join(own.path, linkedName)
	for turn := range int64(3) {
		if err := l.keep("a", identity{inode: uint64(turn)}, turn+1); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(notes, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = f.WriteString("half of a note") // which is all that there was room for
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	again := &linked{}
	if err := again.move(own); err != nil || !maps.Equal(again.turns, l.turns) {
		t.Errorf("it knows %v of %v, %v", again.turns, l.turns, err)
	}
}

func TestTheNotesDoNotGrowForEver(t *testing.T) {
	own, err := openFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer own.close()
	l := &linked{turns: map[linkedID]int64{}}
	for n := range 2 * mostLinked {
		l.note(linkedAs("a", identity{inode: uint64(n)}), 1)
	}
	l.f = own
	if err := errors.Join(l.rewrite(), l.keep("a", identity{inode: 2 * mostLinked}, 1)); err != nil {
		t.Fatal(err)
	}
	if about, err := os.Stat(filepath.Join(own.path, linkedName)); err != nil || about.Size() != mostLinked*linkedRecord {
		t.Errorf("there are %d bytes, %v", about.Size(), err)
	}
}

// To move a file aside and back is news for whoever watches the folder: done for each
// pass that it has come of, it would never end.
func TestALinkedFileOfWhichNothingCanBeWrittenDownIsLeftInPeaceForAWhile(t *testing.T) {
	dir, moved, now := t.TempDir(), 0, time.Now()
	b := openOutbox(t, dir, OutboxOptions{Now: func() time.Time { return now }, step: func(what string) {
		if what == "move aside" {
			moved++
		}
	}})
	notes := filepath.Join(b.State(), linkedName)
	put(t, dir, "a", "one")
	put(t, dir, "b", "two")
	if err := errors.Join(os.Link(filepath.Join(dir, "a"), filepath.Join(dir, ".other")), os.Mkdir(notes, 0o700)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := b.Remove(ready(t, b)["a"]); err == nil || errors.Is(err, ErrChanged) {
			t.Error(err)
		}
	}
	if err := b.Remove(ready(t, b)["b"]); err != nil {
		t.Error("one that has one name:", err)
	}
	if moved != 2 {
		t.Errorf("they were moved %d times", moved)
	}
	now = now.Add(unkeptRest)
	if err := b.Remove(ready(t, b)["a"]); err == nil || moved != 3 {
		t.Errorf("%v, moved %d times", err, moved)
	}
	now = now.Add(unkeptRest)
	if err := errors.Join(os.Remove(notes), b.Remove(ready(t, b)["a"])); err != nil {
		t.Error(err)
	}
}
