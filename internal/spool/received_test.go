package spool

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

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
		s, err := OpenStore(dir, StoreOptions{Log: slog.New(slog.NewTextHandler(&said, nil))})
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
