package spool

import (
	"encoding/binary"
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
