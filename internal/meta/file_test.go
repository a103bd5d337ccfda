package meta

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

func TestAChangedFileTakesEffect(t *testing.T) {
	o, path := described(t, 2)
	r := start(t, o)
	first := r.serves(2)
	write(t, path, describe(3))
	r.look()
	if second := r.serves(3); second <= first {
		t.Errorf("version %d comes after %d", second, first)
	}
	r.logged(2, "a new description is in effect")
}

func TestAFileIsLookedAtWithoutBeingToldTo(t *testing.T) {
	o, path := described(t, 2)
	o.Every, o.after = leastEvery, nil
	r := start(t, o)
	write(t, path, describe(3))
	r.eventually("the new file is served", func() bool { return len(r.network().Domains) == 3 })
}

// eventually waits for something that happens by itself.
func (r *running) eventually(what string, is func() bool) {
	r.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("not so: %s\n%s", what, r.log.String())
		}
	}
}

func TestABadFileIsRefusedOnceAndTheLastGoodOneStays(t *testing.T) {
	o, path := described(t, 2)
	r := start(t, o)
	version := r.serves(2)
	write(t, path, strings.Replace(describe(3), "n2: domain-3", "n2: domain-9", 1))
	for range 3 {
		r.look()
	}
	if v := r.serves(2); v != version {
		t.Errorf("the version went from %d to %d", version, v)
	}
	r.logged(1, "domainLinks[1].n2")
	r.logged(1, "place="+path+` err="line `)
	if v := r.metric("switchboard_meta_in_trouble"); v != "1" {
		t.Errorf("in_trouble is %s", v)
	}
	write(t, path, "domains: [")
	r.look()
	r.logged(1, "not YAML")

	write(t, path, describe(4))
	r.look()
	r.serves(4)
	r.logged(1, "the trouble with the description is over")
	if v := r.metric("switchboard_meta_in_trouble"); v != "0" {
		t.Errorf("in_trouble is %s", v)
	}
}

func TestOfADescriptionThatIsAllWrongTheLogSaysTheFirstProblems(t *testing.T) {
	o, path := described(t, 2)
	r := start(t, o)
	wrong := describe(2)
	for i := range 3 * mostSaid {
		wrong += fmt.Sprintf("nonsense%d: 1\n", i)
	}
	write(t, path, wrong)
	r.look()
	r.serves(2)
	r.logged(mostSaid, "the description is refused: the last good one stays")
	r.logged(1, fmt.Sprintf("more=%d", 2*mostSaid))
}

// YAML may say a thing once and refer to it a thousand times.
func TestWhatNoDomainWouldTakeIsNotServed(t *testing.T) {
	o, path := described(t, 2)
	r := start(t, o)
	var long strings.Builder
	fmt.Fprintf(&long, "domains:\n  - name: d0\n    urls: &u [\"ws://127.0.0.1/1%[1]s\", \"ws://127.0.0.1/2%[1]s\"]\n", strings.Repeat("x", 2000))
	for i := 1; i < domains.MaxDomains; i++ {
		fmt.Fprintf(&long, "  - {name: d%d, urls: *u}\n", i)
	}
	long.WriteString("domainLinks:\n")
	for i := 1; i < domains.MaxDomains; i++ {
		fmt.Fprintf(&long, "  - {n1: d0, n2: d%d}\n", i)
	}
	long.WriteString("clientApps:\n")
	for i := range domains.MaxApps {
		auth := "&a http://127.0.0.1/" + strings.Repeat("y", 2000)
		if i > 0 {
			auth = "*a"
		}
		fmt.Fprintf(&long, "  - {appName: A%d, appId: a%d, authUrl: %s}\n", i, i, auth)
	}
	write(t, path, long.String())
	if long.Len() > domains.MaxFile {
		t.Fatal("this test's file is too long itself")
	}
	r.look()
	r.serves(2)
	r.logged(1, "as JSON: at most")
}

func TestAFileThatMeansTheSameIsTheSameVersion(t *testing.T) {
	o, path := described(t, 3)
	r := start(t, o)
	version := r.serves(3)
	answer, _ := r.get(pathGraph)
	tag := answer.Header.Get("ETag")
	write(t, path, "# the same in other words\ndomainLinks: [{n2: domain-2, n1: domain-3}, {n1: domain-1, n2: domain-2, cost: 1}]\n"+
		strings.Split(describe(3), "domainLinks")[0])
	r.look()
	if v := r.serves(3); v != version {
		t.Errorf("the version went from %d to %d\n%s", version, v, r.log.String())
	}
	if answer, _ := r.get(pathGraph, "If-None-Match", tag); answer.StatusCode != http.StatusNotModified {
		t.Errorf("status %d", answer.StatusCode)
	}
	r.logged(0, "refused")
}

func TestAFileThatVanishesChangesNothing(t *testing.T) {
	o, path := described(t, 2)
	r := start(t, o)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.look()
	}
	r.serves(2)
	r.logged(1, "no such file or directory")
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	r.look()
	r.logged(1, "the trouble with the description is over")
}

// A bad description that comes and goes with its place is not said again in full.
func TestABadFileThatVanishesAndComesBackIsRefusedInOneLine(t *testing.T) {
	o, path := described(t, 2)
	r := start(t, o)
	write(t, path, "domains: [")
	r.look()
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	r.look()
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	r.look()
	r.logged(1, "not YAML")
	r.logged(1, "is the one that was refused")
}

func TestARestartWithTheSameContentHasTheSameVersion(t *testing.T) {
	o, _ := described(t, 3)
	first := start(t, o)
	answer, body := first.get(pathGraph)
	second := first.again()
	again, same := second.get(pathGraph)
	if same != body || again.Header.Get("ETag") != answer.Header.Get("ETag") {
		t.Errorf("before\n%s %s\nafter\n%s %s", answer.Header.Get("ETag"), body, again.Header.Get("ETag"), same)
	}
}

func TestAVersionRisesAlsoWhenTheClockGoesBack(t *testing.T) {
	o, path := described(t, 2)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o.Now = func() time.Time { return now }
	r := start(t, o)
	first := r.serves(2)
	if want := uint64(now.UnixMilli()); first != want {
		t.Errorf("the first version is %d, not the time %d", first, want)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	now = now.AddDate(-1, 0, 0)
	write(t, path, describe(3))
	r = r.again()
	if v := r.serves(3); v != first+1 {
		t.Errorf("version %d, want %d", v, first+1)
	}
}

func TestARestartWithABadOrMissingFileServesTheLastGoodCopy(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"bad":     func(path string) error { return os.WriteFile(path, []byte("domains: ["), 0o600) },
		"missing": os.Remove,
		"empty":   func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a folder": func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, path := described(t, 2)
			r := start(t, o)
			version := r.serves(2)
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			r = r.again()
			if v := r.serves(2); v != version {
				t.Errorf("version %d, want %d", v, version)
			}
			r.logged(1, "the last good one stays")
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			write(t, path, describe(3))
			r.look()
			r.serves(3)
		})
	}
}

func TestAFirstStartWithNothingToServeFailsAndSaysWhy(t *testing.T) {
	o, path := described(t, 2)
	for what, c := range map[string]struct{ text, want string }{
		"bad":     {"domains: [", "network.yaml: line 1: not YAML"},
		"missing": {"", "network.yaml: no such file or directory"},
	} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if c.text != "" {
			write(t, path, c.text)
		}
		r := begin(t, o)
		select {
		case <-r.ended:
		case <-time.After(patience):
			t.Fatal("it does not end")
		}
		if r.err == nil || !strings.Contains(r.err.Error(), c.want) {
			t.Errorf("%s: %v", what, r.err)
		}
		if r.log.String() != "" {
			t.Errorf("%s: it is logged as well as returned:\n%s", what, r.log.String())
		}
	}
}

func TestADamagedCopyIsPassedOverAndSaidSo(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"half":      func(b []byte) []byte { return b[:len(b)/2] },
		"a bit":     func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"empty":     func([]byte) []byte { return nil },
		"not ours":  func([]byte) []byte { return []byte(`{"sha256":"x","network":{}}`) },
		"no object": func([]byte) []byte { return []byte("7\n") },
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := described(t, 2)
			r := start(t, o)
			before := r.serves(2)
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(o.Data, copyName)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			r = r.again()
			r.logged(1, "the last good copy is passed over")
			if v := r.serves(2); v < before {
				t.Errorf("the version went back from %d to %d", before, v)
			}
		})
	}
}

func TestWhatCannotBeKeptDoesNotTakeEffect(t *testing.T) {
	o, path := described(t, 2)
	r := start(t, o)
	version := r.serves(2)
	// A folder where the new copy is to be written.
	block := filepath.Join(o.Data, copyName+".new")
	if err := os.Mkdir(block, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, describe(3))
	r.look()
	if v := r.serves(2); v != version {
		t.Errorf("version %d, want %d", v, version)
	}
	r.logged(1, "does not take effect")
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	r.look()
	r.serves(3)
	r.logged(1, "the trouble with the description is over")
}

// What is on disk when half is written may be good in itself.
func TestAFileThatIsBeingWrittenIsReadWhenItIsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "network.yaml")
	write(t, path, describe(2))
	written := false
	f := &file{path: path, after: func(time.Duration) <-chan time.Time {
		if !written {
			written = true
			write(t, path, describe(3))
		}
		passed := make(chan time.Time)
		close(passed)
		return passed
	}}
	found, err := f.look(t.Context())
	if err != nil || string(found.text) != describe(3) {
		t.Errorf("it read: %v\n%s", err, found.text)
	}
}

func TestWhatIsNoFileIsATrouble(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, t.TempDir()} {
		o := quiet(t)
		o.Config = path
		if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), path+" is not a file") {
			t.Errorf("it says: %v", err)
		}
	}
}

func TestAFileThatIsWrittenAllTheTimeIsATrouble(t *testing.T) {
	path := filepath.Join(t.TempDir(), "network.yaml")
	n := 1
	f := &file{path: path, after: func(time.Duration) <-chan time.Time {
		n++
		write(t, path, describe(n))
		passed := make(chan time.Time)
		close(passed)
		return passed
	}}
	write(t, path, describe(n))
	if _, err := f.look(t.Context()); err == nil || !strings.Contains(err.Error(), "being written all the time") {
		t.Errorf("it says: %v", err)
	}
}

func TestASecondServerIsRefusedTheSameFolder(t *testing.T) {
	o, _ := described(t, 2)
	start(t, o)
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "in use by") {
		t.Errorf("it says: %v", err)
	}
}
