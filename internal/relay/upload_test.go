package relay

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAFileGoesWhenEveryCollectorHasIt(t *testing.T) {
	let := make(chan struct{})
	a, slow := newStub(t, nil), newStub(t, func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-let:
		case <-r.Context().Done():
		}
		return false
	})
	dir := t.TempDir()
	drop(t, dir, "ä b%2f?#.log", "content")
	drop(t, dir, "empty", "")
	newUpload(t, standardUpload(dir, next(map[string]*stub{"a": a, "slow": slow}))).start(quickUpload)
	eventually(t, "the quick one has them", func() bool { return a.count() == 2 })
	if !there(dir, "empty") || !there(dir, "ä b%2f?#.log") {
		t.Error("a file is gone that one collector lacks")
	}
	close(let)
	eventually(t, "they are removed", func() bool { return !there(dir, "empty") && !there(dir, "ä b%2f?#.log") })
	if a.content("ä b%2f?#.log") != "content" || slow.content("ä b%2f?#.log") != "content" || !slow.has("empty") {
		t.Errorf("they have %v and %v", a.files, slow.files)
	}
}

func TestOnlyASuccessRemovesAFile(t *testing.T) {
	for name, behave := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"error":    refusing(500),
		"redirect": refusing(307, "Location", "/elsewhere"),
		"refusal":  refusing(413),
		"secret":   refusing(401),
		"lie": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set(headerDigest, Digest{1}.header())
			return true
		},
		"drop": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"half": func(_ http.ResponseWriter, r *http.Request) bool {
			_, _ = r.Body.Read(make([]byte, 2))
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newStub(t, behave)
			dir := t.TempDir()
			drop(t, dir, "file", "content")
			newUpload(t, standardUpload(dir, next(map[string]*stub{"c": c}))).start(quickUpload)
			eventually(t, "it is tried again", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.asked > 3
			})
			if !there(dir, "file") {
				t.Fatal("the file is gone")
			}
			c.do(nil)
			eventually(t, "it goes in the end", func() bool { return !there(dir, "file") })
			if c.content("file") != "content" {
				t.Error("what arrived is something else")
			}
		})
	}
}

func TestASuccessBeforeAllWasSentIsNoneUnlessItNamesTheContent(t *testing.T) {
	content := strings.Repeat("x", expectAbove+1)
	early := func(http.ResponseWriter, *http.Request) bool { return true } // the body was not read
	knows := func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set(headerDigest, r.Header.Get(headerDigest))
		return true
	}
	hasty, ours := newStub(t, early), newStub(t, knows)
	dir := t.TempDir()
	drop(t, dir, "file", content)
	newUpload(t, standardUpload(dir, next(map[string]*stub{"hasty": hasty, "ours": ours}))).start(quickUpload)
	eventually(t, "it is tried again", func() bool { return hasty.tries() > 2 })
	if !there(dir, "file") {
		t.Fatal("it is gone, and nobody was sent it")
	}
	hasty.do(nil)
	eventually(t, "it is gone", func() bool { return !there(dir, "file") })
	if hasty.content("file") != content || ours.tries() != 1 {
		t.Errorf("one has %d bytes, the other was asked %d times", len(hasty.content("file")), ours.tries())
	}
}

func TestAnAnswerWithoutAnEndIsNotWaitedFor(t *testing.T) {
	endless := func(status int) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "so far")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return true
		}
	}
	takes, refuses := newStub(t, endless(http.StatusOK)), newStub(t, endless(http.StatusForbidden))
	s := standardUpload(t.TempDir(), next(map[string]*stub{"takes": takes}))
	s.Static["other"] = map[string]Member{"refuses": refuses.member}
	s.NextHop = []Rule{{"other*", "other"}, {"*", "next"}}
	drop(t, s.Spool, "a", "content")
	drop(t, s.Spool, "other", "content")
	tuning := quickUpload
	tuning.said = 5 * time.Millisecond
	said := &heard{}
	u := newUpload(t, s)
	u.log = said.log()
	u.start(tuning)
	eventually(t, "the file that was taken goes", func() bool { return !there(s.Spool, "a") })
	eventually(t, "a refusal is told", func() bool { return len(said.lines("other/refuses", "403 Forbidden: so far")) > 0 })
}

func TestACollectorThatAsksForASecretIsShownIt(t *testing.T) {
	const secret = "a-secret-of-one-word"
	c := newStub(t, nil)
	c.do(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer "+secret {
			return false
		}
		return refusing(401)(w, r)
	})
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	drop(t, dir, "small", "content")
	drop(t, dir, "large", strings.Repeat("x", askFrom))
	s := standardUpload(dir, next(map[string]*stub{"c": c}))
	s.SecretFile = file
	newUpload(t, s).start(quickUpload)
	eventually(t, "they are gone", func() bool { return len(visible(t, dir)) == 0 })
	if c.count() != 2 {
		t.Errorf("it has %d files", c.count())
	}
}

func TestADeadCollectorHoldsUpNoOtherAndGetsAllWhenItIsBack(t *testing.T) {
	dead, a := newStub(t, refusing(500)), newStub(t, nil)
	dir := t.TempDir()
	const files = laneQueue + 200 // more than a lane remembers
	for i := range files {
		drop(t, dir, fmt.Sprintf("%05d", i), fmt.Sprint(i))
	}
	u := newUpload(t, standardUpload(dir, next(map[string]*stub{"dead": dead, "a": a}))).start(quickUpload)
	eventually(t, "the living one has all", func() bool { return a.count() == files })
	if dead.count() > 0 || !there(dir, "00000") {
		t.Fatal("the dead one has something")
	}
	u.stop()
	dead.do(nil)
	u.start(quickUpload)
	eventually(t, "the folder is empty", func() bool { return len(visible(t, dir)) == 0 })
	if dead.count() != files || len(a.sent()) != files {
		t.Errorf("the one that was dead has %d, and the other was sent %d", dead.count(), len(a.sent()))
	}
}

func visible(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if !strings.HasPrefix(e.Name(), ".") && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestACollectorThatHangsHoldsOnlyItsShareOfTheConnections(t *testing.T) {
	var hanging sync.WaitGroup
	release := make(chan struct{})
	var mu sync.Mutex
	held := 0
	hangs := newStub(t, func(http.ResponseWriter, *http.Request) bool {
		mu.Lock()
		held++
		mu.Unlock()
		hanging.Add(1)
		defer hanging.Done()
		<-release
		return false
	})
	a := newStub(t, nil)
	dir := t.TempDir()
	for i := range 50 {
		drop(t, dir, fmt.Sprint(i), "x")
	}
	s := standardUpload(dir, next(map[string]*stub{"hangs": hangs, "a": a}))
	s.MaxConn = 4
	newUpload(t, s).start(quickUpload)
	eventually(t, "the other one has all", func() bool { return a.count() == 50 })
	mu.Lock()
	if held > 2 {
		t.Errorf("%d of 4 connections hang", held)
	}
	mu.Unlock()
	close(release)
	eventually(t, "all are gone", func() bool { return len(visible(t, dir)) == 0 })
	hanging.Wait()
}

func TestAFileThatNobodyTakesForTooLongIsMovedToFailedWithWhatEachSaid(t *testing.T) {
	bad, a := newStub(t, refusing(500)), newStub(t, nil)
	dir := t.TempDir()
	drop(t, dir, "file", "content")
	u := newUpload(t, standardUpload(dir, next(map[string]*stub{"bad": bad, "a": a}))).start(quickUpload)
	eventually(t, "one has it", func() bool { return a.has("file") })
	if !there(dir, "file") {
		t.Fatal("it is gone too soon")
	}
	u.forward(61 * time.Minute)
	eventually(t, "it is moved", func() bool { return there(dir, "failed", "file") })
	reason, err := os.ReadFile(filepath.Join(dir, "failed", "file.reason"))
	if text := string(reason); err != nil || !strings.Contains(text, "next/bad") || !strings.Contains(text, "500") || strings.Contains(text, "next/a") {
		t.Errorf("the reason is %q, %v", reason, err)
	}
	// What comes now is sent.
	drop(t, dir, "new", "content")
	eventually(t, "a has the next one", func() bool { return a.has("new") })
}

func TestAClockThatJumpsAgesNoFile(t *testing.T) {
	wall := &handClock{time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)}
	runs := time.Duration(0)
	c := newClock(wall.now)
	c.since = func() time.Duration { return runs }
	dropped := wall.now().Add(-time.Minute)
	for _, jump := range []time.Duration{10 * 365 * 24 * time.Hour, -20 * 365 * 24 * time.Hour} {
		wall.forward(jump)
		runs += time.Second
		if age := c.age(dropped); age > time.Minute+runs {
			t.Errorf("after a jump of %s it is %s old", jump, age)
		}
	}
	c = newClock(wall.now)
	dropped = wall.now()
	wall.forward(time.Hour)
	if age := c.age(dropped); age != time.Hour {
		t.Errorf("after an hour it is %s old", age)
	}
}

func TestACollectorThatAsksToWaitIsLeftInPeaceAndTheOthersAreNot(t *testing.T) {
	full, a := newStub(t, refusing(503, "Retry-After", "3600")), newStub(t, nil)
	dir := t.TempDir()
	drop(t, dir, "0", "x")
	s := standardUpload(dir, next(map[string]*stub{"full": full, "a": a}))
	s.MaxConn, s.Admin = 2, "127.0.0.1:0"
	u := newUpload(t, s).start(quickUpload)
	eventually(t, "it was asked", func() bool {
		full.mu.Lock()
		defer full.mu.Unlock()
		return full.asked == 1
	})
	for i := range 30 {
		drop(t, dir, fmt.Sprint(i+1), "x")
		eventually(t, "the other one gets more", func() bool { return a.has(fmt.Sprint(i + 1)) })
	}
	full.mu.Lock()
	if full.asked != 1 {
		t.Errorf("it was asked %d times", full.asked)
	}
	full.mu.Unlock()
	// At another place it may be another.
	moved := newStub(t, nil)
	u.change(func(s *UploaderSettings) { s.Static = next(map[string]*stub{"full": moved, "a": a}) })
	eventually(t, "all are gone", func() bool { return len(visible(t, dir)) == 0 })
	if moved.count() != 31 || len(a.sent()) != 31 {
		t.Errorf("%d and %d were sent", moved.count(), len(a.sent()))
	}
}

func TestAnUploadThatBrokeOffGoesOnWhereItStopped(t *testing.T) {
	const size = 6 << 20
	c := newStub(t, nil)
	c.ours = true
	var once sync.Once
	c.do(func(w http.ResponseWriter, r *http.Request) (answered bool) {
		if r.Method != http.MethodPut {
			return false
		}
		once.Do(func() {
			answered = true
			half := make([]byte, size/2)
			n, _ := readFull(&counting{r.Body, c}, half)
			c.mu.Lock()
			c.parts[r.Header.Get(headerKey)] = half[:n]
			c.mu.Unlock()
		})
		if answered {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	dir := t.TempDir()
	content := strings.Repeat("0123456789abcdef", size/16)
	drop(t, dir, "large", content)
	newUpload(t, standardUpload(dir, next(map[string]*stub{"c": c}))).start(quickUpload)
	eventually(t, "it is gone", func() bool { return !there(dir, "large") })
	if c.content("large") != content {
		t.Error("it has other content")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes != size {
		t.Errorf("%d bytes were sent of a file of %d", c.bytes, size)
	}
}

func readFull(from *counting, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = from.Read(b[n:])
		n += m
	}
	return n, err
}

func TestAFileThatChangesWhileItIsSentIsSentAgainAsItIs(t *testing.T) {
	dir := t.TempDir()
	c := newStub(t, nil)
	var once sync.Once
	c.do(func(http.ResponseWriter, *http.Request) bool {
		once.Do(func() {
			f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = f.WriteString("two\n")
			_ = f.Close() // the content is compared below
		})
		return false
	})
	drop(t, dir, "log", "one\n")
	newUpload(t, standardUpload(dir, next(map[string]*stub{"c": c}))).start(quickUpload)
	eventually(t, "it is gone", func() bool { return !there(dir, "log") })
	if got := c.content("log"); got != "one\ntwo\n" || len(c.sent()) != 2 {
		t.Errorf("it has %q after %d times", got, len(c.sent()))
	}
}

func TestTheFirstRuleThatMatchesCountsAndOtherFilesStay(t *testing.T) {
	a, b := newStub(t, nil), newStub(t, nil)
	dir := t.TempDir()
	s := standardUpload(dir, Clusters{"a": {"a": a.member}, "b": {"b": b.member}})
	s.NextHop = []Rule{{"x*.csv", "a"}, {"/[.]csv$/", "b"}, {"lonely", "nobody"}}
	s.Filter = []string{"*.csv", "*.txt", "lonely"}
	for _, name := range []string{"x1.csv", "y.csv", "x.txt", "x.bin", "lonely", "busy.csv.tmp"} {
		drop(t, dir, name, name)
	}
	u := newUpload(t, s).start(quickUpload)
	eventually(t, "those of rules are gone", func() bool { return !there(dir, "x1.csv") && !there(dir, "y.csv") })
	if !slices.Equal(a.sent(), []string{"x1.csv"}) || !slices.Equal(b.sent(), []string{"y.csv"}) {
		t.Errorf("a has %v, and b %v", a.sent(), b.sent())
	}
	if got := visible(t, dir); !slices.Equal(got, []string{"busy.csv.tmp", "lonely", "x.bin", "x.txt"}) {
		t.Errorf("there are %v", got)
	}
	// Other rules, and a reload that is refused.
	u.change(func(s *UploaderSettings) { s.NextHop = []Rule{{"[", "a"}} })
	u.change(func(s *UploaderSettings) { s.NextHop = []Rule{{"x.*", "a"}} })
	eventually(t, "the one that a rule matches now", func() bool { return a.has("x.txt") && !there(dir, "x.txt") })
	if !there(dir, "x.bin") {
		t.Error("the filter has no say any more")
	}
}

func TestACollectorThatJoinsGetsWhatIsThereAndOneThatLeftIsOwedNothing(t *testing.T) {
	a, dead, late := newStub(t, nil), newStub(t, refusing(500)), newStub(t, nil)
	dir := t.TempDir()
	drop(t, dir, "file", "content")
	u := newUpload(t, standardUpload(dir, next(map[string]*stub{"a": a, "dead": dead}))).start(quickUpload)
	eventually(t, "one has it", func() bool { return a.has("file") })
	u.change(func(s *UploaderSettings) {
		s.Static = next(map[string]*stub{"a": a, "dead": dead, "late": late})
	})
	eventually(t, "the new one has it", func() bool { return late.has("file") })
	if !there(dir, "file") {
		t.Error("it is gone too soon")
	}
	u.change(func(s *UploaderSettings) { s.Static = next(map[string]*stub{"a": a, "late": late}) })
	eventually(t, "it is gone", func() bool { return !there(dir, "file") })
	if len(a.sent()) != 1 {
		t.Errorf("it was sent %d times to the first", len(a.sent()))
	}
}

func TestAReloadLeavesWhatIsOnItsWay(t *testing.T) {
	arrived, let := make(chan struct{}), make(chan struct{})
	var once sync.Once
	c := newStub(t, func(http.ResponseWriter, *http.Request) bool {
		once.Do(func() { close(arrived) })
		<-let
		return false
	})
	dir := t.TempDir()
	drop(t, dir, "file", "content")
	u := newUpload(t, standardUpload(dir, next(map[string]*stub{"c": c}))).start(quickUpload)
	<-arrived
	u.change(func(s *UploaderSettings) { s.MaxConn = 3 })
	close(let)
	eventually(t, "it is gone", func() bool { return !there(dir, "file") })
	if len(c.sent()) != 1 {
		t.Errorf("it was sent %d times", len(c.sent()))
	}
	// In another folder the uploader begins anew, and if there is none, in the old one.
	none := filepath.Join(dir, "sub.tmp")
	if err := os.WriteFile(none, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	u.change(func(s *UploaderSettings) { s.Spool = none })
	drop(t, dir, "file", "again")
	eventually(t, "the old folder is sent", func() bool { return c.content("file") == "again" && !there(dir, "file") })
	other := t.TempDir()
	drop(t, other, "next", "content")
	u.change(func(s *UploaderSettings) { s.Spool = other })
	eventually(t, "the other folder is sent", func() bool { return c.has("next") && !there(other, "next") })
}

func TestAFolderThatVanishesAndComesBackIsSentFromAgain(t *testing.T) {
	c := newStub(t, nil)
	dir := filepath.Join(t.TempDir(), "spool")
	drop(t, dir, "one", "1")
	newUpload(t, standardUpload(dir, next(map[string]*stub{"c": c}))).start(quickUpload)
	eventually(t, "the first is gone", func() bool { return c.has("one") && !there(dir, "one") })
	// The uploader may write there meanwhile.
	eventually(t, "the folder is removed", func() bool { return os.RemoveAll(dir) == nil })
	drop(t, dir, "two", "2")
	eventually(t, "the second is gone", func() bool { return c.has("two") && !there(dir, "two") })
}

// Its schedule would find what comes tomorrow only.
func TestAFolderThatIsMovedAwayAndBackIsWatchedAsBefore(t *testing.T) {
	c, heard := newStub(t, nil), &heard{}
	dir := filepath.Join(t.TempDir(), "spool")
	s := standardUpload(dir, next(map[string]*stub{"c": c}))
	s.Every = "24h"
	drop(t, dir, "first", "1")
	u := newUpload(t, s)
	u.log = heard.log()
	u.start(quickUpload)
	for i, name := range []string{"first", "second", "third"} {
		eventually(t, name+" is gone", func() bool { return c.has(name) && !there(dir, name) })
		var missed int
		eventually(t, "all is well", func() bool {
			missed = len(heard.lines(troubleScan.bad))
			return len(heard.lines(troubleScan.good)) == missed
		})
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			eventually(t, "it is missed", func() bool { return len(heard.lines(troubleScan.bad)) > missed })
		}
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		drop(t, dir, []string{"second", "third", "last"}[i], "2")
	}
	eventually(t, "the last is gone", func() bool { return c.has("last") && !there(dir, "last") })
}
