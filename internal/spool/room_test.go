package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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
