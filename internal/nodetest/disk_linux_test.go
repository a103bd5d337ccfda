package nodetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// insideVariable is set in a test's second process, see ownDisk.
const insideVariable = "NODETEST_OWN_DISK"

// ownDisk returns a folder on a small file system of its own, which goes with
// the test. Who may not mount runs the rest of the test in a process that may,
// in a user namespace: in the first process here is false when that is done.
func ownDisk(t *testing.T, size string) (dir string, here bool) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size)
	if err == nil {
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		return dir, true
	}
	if !errors.Is(err, syscall.EPERM) || os.Getenv(insideVariable) != "" {
		t.Fatalf("mount a small file system: %v", err)
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", fmt.Sprintf("-test.short=%v", testing.Short()))
	child.Env = append(os.Environ(), insideVariable+"=1", binaryVariable+"="+Binary(t))
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("with a disk of its own, in a user namespace: %v\n%s", err, out)
	}
	t.Logf("in a user namespace:\n%s", out)
	return "", false
}

// freeBytes returns what is free on the disk of dir.
func freeBytes(t *testing.T, dir string) int64 {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// fillUp fills the disk of dir but for free bytes. The next call replaces it;
// a negative free empties it.
func fillUp(t *testing.T, dir string, free int64) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if free < 0 {
		return
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Others write meanwhile: what is there now counts, and no room is no error.
	chunk := make([]byte, mib)
	for have := freeBytes(t, dir); have > free; have = freeBytes(t, dir) {
		if _, err := f.Write(chunk[:min(mib, have-free)]); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// startOn starts a server whose data is on the small disk.
func startOn(t *testing.T, dir, settings string) *Server {
	t.Helper()
	return StartIn(t, filepath.Join(dir, "data"), "--config", Settings(t, settings))
}

// awaitRefused sends until a message is refused because the disk is full; the
// series goes on at next. It returns how many were stored before.
func awaitRefused(t *testing.T, p *Peer, to, series string, next, size int) int {
	t.Helper()
	codes := make(map[string]int)
	Eventually(t, "messages are refused: the disk is full", func() bool {
		p.Message(to, numbered(series, next, size), fmt.Sprintf(`"reference":"%s %d"`, series, next))
		switch f := p.Next(); {
		case f.Type == "MESSAGE_STORED":
			next++
			return false
		case f.Type == "DELIVER_FAILED" && strings.HasPrefix(f.Field("code"), "STORE_") && f.Field("mayYetArrive") == "":
			codes[f.Field("code")]++
			return codes["STORE_FULL"] > 0 || codes["STORE_DOWN"] > 100
		default:
			t.Fatalf("got %s", f.Raw)
			return false
		}
	})
	return next
}

// awaitAccepted sends until message next of the series is stored.
func awaitAccepted(t *testing.T, p *Peer, to, series string, next, size int) {
	t.Helper()
	Eventually(t, "messages are accepted again", func() bool {
		p.Message(to, numbered(series, next, size), fmt.Sprintf(`"reference":"%s %d"`, series, next))
		f := p.Next()
		if f.Type == "DELIVER_FAILED" && f.Field("mayYetArrive") != "" {
			t.Fatalf("got %s", f.Raw)
		}
		return f.Type == "MESSAGE_STORED"
	})
}

func TestANearlyFullDiskRefusesMessagesAndServesOn(t *testing.T) {
	t.Parallel()
	dir, here := ownDisk(t, "192m")
	if !here {
		return
	}
	s := startOn(t, dir, plainApp+"limits: {minDiskFree: 64MiB}\n")
	ann, bob := SignIn(t, s, "ANZ-1", `{"receipts":true}`), SignIn(t, s, "ANZ-3", "")
	post(t, ann, "ANZ-2", "m", 0, 500, 1000)
	fillUp(t, dir, 40*mib)
	n := awaitRefused(t, ann, "ANZ-2", "m", 500, 1000)
	t.Logf("%d messages stored before the disk was full", n)

	// Everything but storing new messages goes on.
	ann.Message("ANZ-3", "fast", `"feature":"FAST"`)
	bob.Expect("MESSAGE")
	if !ready(s) {
		t.Error("not ready, though it serves")
	}
	reader := SignIn(t, s, "ANZ-2", "")
	missed, left := reader.Fetch(300)
	wantSeries(t, "fetched on the full disk", missed, "m", 0, 300)
	if want := fmt.Sprint(n - 300); left != want {
		t.Errorf("%s left, want %s", left, want)
	}
	wantConfirmed(t, ann, "m", 0, 300)
	if got := s.Metric(`switchboard_socket_refused_total{code="STORE_FULL",kind="DELIVER_FAILED"}`); got < 1 {
		t.Errorf("%v refusals are counted", got)
	}
	if !strings.Contains(s.Output(), "level=WARN") {
		t.Error("the log does not warn")
	}

	fillUp(t, dir, -1)
	reader.Close()
	awaitSessions(t, s, 2)
	awaitAccepted(t, ann, "ANZ-2", "m", n, 1000)
	s.Kill()
	s.Start()
	missed, _ = SignIn(t, s, "ANZ-2", "").Fetch(2000)
	wantSeries(t, "in the end", missed, "m", 300, n+1)
}

func TestAStoreThatHitsTheWallComesBack(t *testing.T) {
	t.Parallel()
	dir, here := ownDisk(t, "128m")
	if !here {
		return
	}
	// Messages are taken until the store itself has no room.
	s := startOn(t, dir, plainApp+"limits: {minDiskFree: 1MiB}\n")
	ann, bob := SignIn(t, s, "ANZ-1", `{"receipts":true}`), SignIn(t, s, "ANZ-3", "")
	post(t, ann, "ANZ-2", "m", 0, 200, 1000)
	next := 200
	for _, free := range []int64{18 * mib, 5 * mib, 0} {
		fillUp(t, dir, free)
		next = awaitRefused(t, ann, "ANZ-2", "m", next, 30_000)
		Eventually(t, "the store is not ready", func() bool { return !ready(s) })
		ann.Message("ANZ-3", "fast", `"feature":"FAST"`)
		bob.Expect("MESSAGE")
		fillUp(t, dir, -1)
		awaitAccepted(t, ann, "ANZ-2", "m", next, 1000)
		next++
		Eventually(t, "the store is ready", func() bool { return ready(s) })
		t.Logf("down to %d MiB free: %d messages stored", free/mib, next)
	}
	if n := s.Metric("switchboard_log_failures_total"); n < 3 {
		t.Errorf("%v failures of the log are counted, want 3", n)
	}
	reader := SignIn(t, s, "ANZ-2", "")
	missed, _ := reader.Fetch(100)
	wantSeries(t, "fetched", missed, "m", 0, 100)
	wantConfirmed(t, ann, "m", 0, 100)
	reader.Close()
	s.Kill()
	s.Start()
	missed, _ = SignIn(t, s, "ANZ-2", "").Fetch(2000)
	wantSeries(t, "after a kill", missed, "m", 100, next)
}

// Another process takes the last bytes again and again while messages flow.
func TestADiskThatIsFullNowAndThenLosesNothing(t *testing.T) {
	t.Parallel()
	dir, here := ownDisk(t, "96m")
	if !here {
		return
	}
	faults := 8
	if testing.Short() || raceEnabled {
		faults = 4
	}
	chance := rand.New(rand.NewPCG(seed(t), 5))
	s := startOn(t, dir, plainApp+"limits: {minDiskFree: 1MiB, mailboxMessages: 1000000}\n")
	l := newLoad(t, s, chance.Uint64(), 4, "plain", "push", "ack", "late")
	quiet := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { l.run(quiet) })
	for range faults {
		l.awaitStored(l.stored.Load()+1+chance.Int64N(500), nil)
		fillUp(t, dir, 0)
		// Some faults are over before anybody noticed, some last for seconds.
		select {
		case <-time.After(time.Duration(chance.Int64N(int64(time.Second)))):
		case <-t.Context().Done():
		}
		fillUp(t, dir, -1)
	}
	l.awaitStored(l.stored.Load()+100, nil)
	if n := s.Metric("switchboard_mailbox_sessions"); n != 7 {
		t.Errorf("%v sessions are left of 7", n)
	}
	t.Logf("the log failed %v times", s.Metric("switchboard_log_failures_total"))
	close(quiet)
	s.Kill()
	running.Wait()
	s.Start()
	l.drain()
	l.judge(faults)
	t.Logf("refused: %v", l.refusals())
}

// The disk says that it has room, and yet the store's write fails: there are no
// files left to make. So the store itself meets ENOSPC, in the middle of its
// work.
func TestAStoreWhoseWritesFailComesBack(t *testing.T) {
	t.Parallel()
	dir, here := ownDisk(t, "256m,nr_inodes=200")
	if !here {
		return
	}
	s := startOn(t, dir, plainApp+"limits: {minDiskFree: 1MiB}\n")
	ann, bob := SignIn(t, s, "ANZ-1", `{"receipts":true}`), SignIn(t, s, "ANZ-3", "")
	next, unknown := 0, make(map[int]bool)
	for round := range 3 {
		restore := useUpFiles(t, dir)
		Eventually(t, "a write of the store fails", func() bool {
			ann.Message("ANZ-2", numbered("m", next, 60_000), fmt.Sprintf(`"reference":"m %d"`, next))
			f := ann.Next()
			if f.Field("mayYetArrive") == "true" {
				unknown[next] = true
			}
			if stored := f.Type == "MESSAGE_STORED"; stored || unknown[next] {
				next++
				return !stored
			}
			t.Logf("round %d: %s", round, f.Raw)
			return f.Type == "DELIVER_FAILED"
		})
		ann.Message("ANZ-3", "fast", `"feature":"FAST"`)
		bob.Expect("MESSAGE")
		restore()
		awaitAccepted(t, ann, "ANZ-2", "m", next, 1000)
		next++
		t.Logf("round %d: %d messages, with an unknown outcome %v", round, next, unknown)
	}
	s.Kill()
	s.Start()
	reader := SignIn(t, s, "ANZ-2", "")
	missed, left := reader.Fetch(2000)
	if left != "0" {
		t.Errorf("%s left", left)
	}
	at := 0
	for _, f := range missed {
		_, n := number(f)
		for ; at < n && unknown[at]; at++ {
		}
		if n != at {
			t.Fatalf("message %d comes where %d should", n, at)
		}
		at++
	}
	if at != next {
		t.Errorf("%d messages of %d", at, next)
	}
}

// useUpFiles makes files until no more can be made, and returns what removes
// them.
func useUpFiles(t *testing.T, dir string) (restore func()) {
	t.Helper()
	var names []string
	for {
		name := filepath.Join(dir, fmt.Sprint("file-", len(names)))
		f, err := os.Create(name)
		if errors.Is(err, syscall.ENOSPC) {
			return func() {
				for _, name := range names {
					if err := os.Remove(name); err != nil {
						t.Error(err)
					}
				}
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		names = append(names, name)
	}
}

func TestAServerStartsOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir, here := ownDisk(t, "96m")
	if !here {
		return
	}
	s := startOn(t, dir, plainApp+"limits: {minDiskFree: 1MiB}\n")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	post(t, ann, "ANZ-2", "m", 0, 100, 1000)
	s.Kill()
	for _, free := range []int64{10 * mib, 0} {
		fillUp(t, dir, free)
		s.Start()
		if ready(s) {
			t.Error("ready, though nothing can be stored")
		}
		ann = SignIn(t, s, "ANZ-1", `{"receipts":true}`)
		awaitRefused(t, ann, "ANZ-2", "m", 100, 1000)
		fillUp(t, dir, -1)
		Eventually(t, "the store is ready", func() bool { return ready(s) })
		awaitWaiting(t, s, 100)
		s.Kill()
	}
	s.Start()
	missed, _ := SignIn(t, s, "ANZ-2", "").Fetch(1000)
	wantSeries(t, "found", missed, "m", 0, 100)
}
