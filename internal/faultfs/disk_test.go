package faultfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

// A script drives the disk as a program would, without a mount.
type script struct {
	t    *testing.T
	disk *Disk
}

func (s script) ok(errno syscall.Errno) {
	s.t.Helper()
	if errno != 0 {
		s.t.Fatal(errno)
	}
}

// file makes a file in a folder and writes to it.
func (s script) file(dir *node, name, text string) *node {
	s.t.Helper()
	n, errno := s.disk.create(dir, name, false, 0o600)
	s.ok(errno)
	s.ok(s.disk.write(n, []byte(text), 0))
	return n
}

// find returns what is in a file, or why it is not there.
func find(d *Disk, path ...string) string {
	n := d.root
	for _, name := range path {
		if n = n.entries[name]; n == nil {
			return "no " + name
		}
	}
	return string(n.content)
}

func TestACutForgetsWhatWasNotSynced(t *testing.T) {
	for _, c := range []struct {
		name   string
		do     func(s script)
		path   string
		strict string
		ext4   string // and the others
	}{
		{"nothing is synced", func(s script) { s.file(s.disk.root, "a", "text") }, "a", "no a", "no a"},
		{"the file alone is synced", func(s script) {
			s.ok(s.disk.sync(s.file(s.disk.root, "a", "text")))
		}, "a", "no a", "text"},
		{"the folder alone is synced", func(s script) {
			s.file(s.disk.root, "a", "text")
			s.ok(s.disk.sync(s.disk.root))
		}, "a", "", ""},
		{"both are synced", func(s script) {
			s.ok(s.disk.sync(s.file(s.disk.root, "a", "text")))
			s.ok(s.disk.sync(s.disk.root))
		}, "a", "text", "text"},
		{"written after the sync", func(s script) {
			n := s.file(s.disk.root, "a", "text")
			s.ok(s.disk.sync(n))
			s.ok(s.disk.sync(s.disk.root))
			s.ok(s.disk.write(n, []byte("more"), 2))
		}, "a", "text", "text"},
		{"cut short after the sync", func(s script) {
			n := s.file(s.disk.root, "a", "text")
			s.ok(s.disk.sync(n))
			s.ok(s.disk.sync(s.disk.root))
			s.ok(s.disk.truncate(n, 0))
		}, "a", "text", "text"},
		{"removed after the sync", func(s script) {
			s.ok(s.disk.sync(s.file(s.disk.root, "a", "text")))
			s.ok(s.disk.sync(s.disk.root))
			s.ok(s.disk.remove(s.disk.root, "a", false))
		}, "a", "text", "text"},
		{"removed, and the folder synced", func(s script) {
			s.ok(s.disk.sync(s.file(s.disk.root, "a", "text")))
			s.ok(s.disk.remove(s.disk.root, "a", false))
			s.ok(s.disk.sync(s.disk.root))
		}, "a", "no a", "no a"},
		{"replaced by a rename, the folder not synced", func(s script) {
			s.ok(s.disk.sync(s.file(s.disk.root, "a", "old")))
			s.ok(s.disk.sync(s.disk.root))
			s.ok(s.disk.sync(s.file(s.disk.root, "b", "new")))
			s.ok(s.disk.rename(s.disk.root, "b", s.disk.root, "a"))
		}, "a", "old", "old"},
		{"replaced by a rename, the folder synced", func(s script) {
			s.ok(s.disk.sync(s.file(s.disk.root, "a", "old")))
			s.ok(s.disk.sync(s.disk.root))
			s.ok(s.disk.sync(s.file(s.disk.root, "b", "new")))
			s.ok(s.disk.rename(s.disk.root, "b", s.disk.root, "a"))
			s.ok(s.disk.sync(s.disk.root))
		}, "a", "new", "new"},
		{"made, removed, made again", func(s script) {
			s.file(s.disk.root, "a", "old")
			s.ok(s.disk.remove(s.disk.root, "a", false))
			s.ok(s.disk.sync(s.file(s.disk.root, "a", "new")))
			s.file(s.disk.root, "b", "")
			s.ok(s.disk.sync(s.disk.root))
		}, "a", "new", "new"},
		{"moved to another folder, which is synced", func(s script) {
			sub, errno := s.disk.create(s.disk.root, "sub", true, 0)
			s.ok(errno)
			s.ok(s.disk.sync(s.file(s.disk.root, "b", "text")))
			s.ok(s.disk.rename(s.disk.root, "b", sub, "a"))
			s.ok(s.disk.sync(sub))
			s.ok(s.disk.sync(s.disk.root))
		}, "sub/a", "text", "text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for rule, want := range map[Rule]string{Strict: c.strict, Journaled: c.ext4} {
				s := script{t, New(rule, 1<<20)}
				c.do(s)
				after := s.disk.PowerCut(nil, Nothing)
				if got := find(after, strings.Split(c.path, "/")...); got != want {
					t.Errorf("%s: found %q, want %q", rule, got, want)
				}
			}
		})
	}
}

func TestAFileInNewFoldersIsSafeWhenTheyAre(t *testing.T) {
	for _, rule := range []Rule{Strict, Journaled} {
		for synced := range 4 { // of the three folders, the innermost first
			s := script{t, New(rule, 1<<20)}
			dirs := []*node{s.disk.root}
			for _, name := range []string{"x", "y"} {
				n, errno := s.disk.create(dirs[0], name, true, 0o700)
				s.ok(errno)
				dirs = append([]*node{n}, dirs...)
			}
			s.ok(s.disk.sync(s.file(dirs[0], "a", "text")))
			for _, dir := range dirs[:synced] {
				s.ok(s.disk.sync(dir))
			}
			got := find(s.disk.PowerCut(nil, Nothing), "x", "y", "a")
			if want := rule == Journaled || synced == 3; want != (got == "text") {
				t.Errorf("%s, %d folders synced: %q", rule, synced, got)
			}
		}
	}
}

// What survives by chance is always something that the writes could have made:
// what was synced, then zeros, old or new bytes in the rest.
func TestWhatSurvivesByChanceContainsWhatWasSynced(t *testing.T) {
	found := make(map[Survival]map[string]bool)
	for seed := range uint64(200) {
		for _, leaves := range []Survival{Nothing, Prefix, Scattered} {
			chance := rand.New(rand.NewPCG(seed, 1))
			s := script{t, New(Journaled, 1<<20)}
			n := s.file(s.disk.root, "a", "safe")
			s.ok(s.disk.sync(n))
			for i := range int64(3) {
				s.ok(s.disk.write(n, bytes.Repeat([]byte{'1' + byte(i)}, 5000), 4+5000*i))
			}
			text := find(s.disk.PowerCut(chance, leaves), "a")
			if len(text) > 15004 || text[:4] != "safe" {
				t.Fatalf("%s: %.20q", leaves, text)
			}
			for i, b := range []byte(text[4:]) {
				if b != 0 && b != '1'+byte(i/5000) {
					t.Fatalf("%s: byte %d is %q", leaves, i+4, b)
				}
				if b == 0 && leaves == Prefix {
					t.Fatalf("a prefix with a hole at %d", i+4)
				}
			}
			if found[leaves] == nil {
				found[leaves] = make(map[string]bool)
			}
			found[leaves][fmt.Sprint(len(text), bytes.Count([]byte(text), []byte{0}))] = true
		}
	}
	if len(found[Nothing]) != 1 || len(found[Prefix]) < 50 || len(found[Scattered]) < 50 {
		t.Errorf("different outcomes: %d, %d, %d", len(found[Nothing]), len(found[Prefix]), len(found[Scattered]))
	}
}

func TestAFullDiskTakesNothingMore(t *testing.T) {
	s := script{t, New(Strict, 10)}
	n := s.file(s.disk.root, "a", "12345678")
	if errno := s.disk.write(n, []byte("xyz"), 8); errno != syscall.ENOSPC {
		t.Errorf("beyond the size: %v", errno)
	}
	s.ok(s.disk.write(n, []byte("xyz"), 5))
	s.disk.Fill(false)
	if errno := s.disk.write(n, []byte("9"), 8); errno != syscall.ENOSPC || s.disk.free() != 0 {
		t.Errorf("full: %v, %d free", errno, s.disk.free())
	}
	s.disk.Fill(true)
	if _, errno := s.disk.create(s.disk.root, "b", false, 0); errno != syscall.ENOSPC || s.disk.free() != 2 {
		t.Errorf("full and lying: %v, %d free", errno, s.disk.free())
	}
	s.disk.Room()
	s.ok(s.disk.write(n, []byte("90"), 8))
	s.ok(s.disk.remove(s.disk.root, "a", false))
	if s.disk.free() != 10 {
		t.Errorf("%d free in the end", s.disk.free())
	}
}
