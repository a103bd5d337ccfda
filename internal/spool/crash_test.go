package spool

import (
	"bufio"
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// victimVariable has this test program be the process that is killed: it names the
// spool and the step before which that happens.
const victimVariable = "SPOOL_TEST_VICTIM"

func TestMain(m *testing.M) {
	if dir, at, victim := strings.Cut(os.Getenv(victimVariable), "\n"); victim {
		fmt.Println(beVictim(dir, at))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// beVictim receives a file, which is there already if the step is one of that
// road, and waits to be killed before a step.
func beVictim(dir, at string) error {
	s, err := OpenStore(dir, StoreOptions{step: func(what string) {
		if what == at {
			fmt.Println("here")
			select {}
		}
	}})
	if err != nil {
		return err
	}
	u := Upload{Name: "a", Key: keyOf(1), Digest: sha256.Sum256([]byte("one")), Size: 3}
	_, err = upload(s, u, "one")
	return fmt.Errorf("it is not killed: %w", err)
}

func TestAKilledProcessHasAFileInTheSpoolOnceOrNotYet(t *testing.T) {
	for _, c := range []struct {
		step  string
		there bool // a file of the same name and content, at the time
		once  bool // killed, it has delivered
	}{
		{"sync the part", false, false},
		{"sync the parts' folder", false, false},
		{"write the log", false, false},
		{"name a file", false, true},
		{"sync the spool", false, true},
		{"sync the spool for what is there", true, false},
		{"remove a part that is there already", true, true},
	} {
		dir := t.TempDir()
		if c.there {
			put(t, dir, "a", "one")
		}
		victim := exec.CommandContext(t.Context(), os.Args[0])
		victim.Env = append(os.Environ(), victimVariable+"="+dir+"\n"+c.step)
		out, err := victim.StdoutPipe()
		if err == nil {
			err = victim.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "here\n" {
			t.Fatalf("%s: it says %q, %v", c.step, line, err)
		}
		if err := victim.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = victim.Wait() // it was killed

		s := openStore(t, dir, StoreOptions{})
		u := Upload{Name: "a", Key: keyOf(1), Digest: sha256.Sum256([]byte("one")), Size: 3}
		if c.once {
			wantFiles(t, dir, map[string]string{"a": "one"}) // whether somebody asks or not
		}
		if _, stored := s.Look(u.Name, u.Key, u.Digest); stored != c.once {
			t.Errorf("killed before %q it is stored: %v", c.step, stored)
		}
		if c.once {
			if err := os.Remove(filepath.Join(dir, "a")); err != nil { // the next service takes it
				t.Fatal(err)
			}
		}
		mustUpload(t, s, u, "one")
		if left := partsIn(t, dir); len(left) > 0 || (len(inSpool(t, dir)) == 0) != c.once {
			t.Errorf("killed before %q there are %q, and parts %q", c.step, inSpool(t, dir), left)
		}
	}
}

// spoolModel sends files by a Store that is killed now and then, until each was
// acknowledged, while the next service takes what it finds.
type spoolModel struct {
	dir   string
	s     *Store
	count map[string]int // of each content, that the next service has taken
	done  map[int]bool   // acknowledged
	steps int            // until it is killed
}

// killed is what a step panics with.
type killed struct{}

func (m *spoolModel) open(t *rapid.T) {
	s, err := OpenStore(m.dir, StoreOptions{step: func(string) {
		if m.steps--; m.steps == 0 {
			panic(killed{})
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	m.s = s
}

// kill lets the Store be as a killed process leaves it, but for its lock.
func (m *spoolModel) kill(t *rapid.T) {
	if err := m.s.ground.close(); err != nil {
		t.Fatal(err)
	}
	m.steps = 0
	m.open(t)
}

// send tries to send the nth file, in two pieces; it may break off between.
func (m *spoolModel) send(t *rapid.T, n int, goOn, breaks bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ours := r.(killed); !ours {
				panic(r)
			}
			m.kill(t)
		}
	}()
	content := fmt.Sprintf("content %d", n)
	u := Upload{Name: fmt.Sprint("name", n%3), Key: keyOf(n), Digest: sha256.Sum256([]byte(content)), Size: int64(len(content))}
	if goOn {
		held, stored := m.s.Look(u.Name, u.Key, u.Digest)
		if m.done[n] && !stored {
			t.Fatalf("%d was acknowledged and is not known", n)
		}
		u.Offset = held
	}
	p, err := m.s.Begin(u)
	if err != nil {
		t.Fatal(err)
	}
	half := max(int(u.Offset), len(content)/2)
	if !breaks {
		half = len(content)
	}
	if _, err := p.Write([]byte(content)[u.Offset:half]); err != nil {
		t.Fatal(err)
	}
	if breaks {
		p.Break()
		return
	}
	if _, err := p.Commit(noContext); err != nil {
		t.Fatal(err)
	}
	m.done[n] = true
}

// take is the next service: it takes one file, or all.
func (m *spoolModel) take(t *rapid.T, all bool) {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(m.dir, e.Name())
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil {
			t.Fatal(err)
		}
		m.count[string(b)]++
		if !all {
			return
		}
	}
}

func TestEachKeyEndsAsOneFileWheneverTheProcessIsKilled(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		t.Cleanup(func() { _ = f.Value.Set(f.DefValue) })
		if err := f.Value.Set("25"); err != nil { // the disk is synced in each
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		m := &spoolModel{dir: dir, count: map[string]int{}, done: map[int]bool{}}
		m.open(t)
		defer func() { _ = m.s.ground.close() }() // as a killed process leaves it
		const files = 6
		file := rapid.IntRange(0, files-1)
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				m.send(t, file.Draw(t, "file"), rapid.Bool().Draw(t, "goes on"), rapid.IntRange(0, 3).Draw(t, "breaks") == 0)
			},
			"send until killed": func(t *rapid.T) {
				m.steps = rapid.IntRange(1, 6).Draw(t, "steps")
				m.send(t, file.Draw(t, "file"), rapid.Bool().Draw(t, "goes on"), false)
				m.steps = 0
			},
			"take": func(t *rapid.T) { m.take(t, rapid.Bool().Draw(t, "all")) },
			"kill": func(t *rapid.T) { m.kill(t) },
		})
		for n := range files {
			m.send(t, n, n%2 == 0, false)
		}
		m.take(t, true)
		for n := range files {
			if c := m.count[fmt.Sprintf("content %d", n)]; c != 1 {
				t.Errorf("file %d was delivered %d times", n, c)
			}
		}
		if len(m.count) != files {
			t.Errorf("there was %q", slices.Collect(maps.Keys(m.count)))
		}
	})
}
