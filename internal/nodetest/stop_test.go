package nodetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestAGracefulStopTellsEveryClient(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	options := []string{
		`{"ack":true}`, `{"receipts":true}`, `{"push":true}`, `{"presence":["ANZ-1"]}`, `{"producer":"phone-1"}`,
		`{"ack":true,"receipts":true,"push":true}`,
	}
	plain := []*Peer{SignIn(t, s, "ANZ-1", ""), SignIn(t, s, "ANZ-2", `{}`), SignIn(t, s, "ANZ-3", `{"ack":false}`)}
	var asked []*Peer
	for i, o := range options {
		asked = append(asked, SignIn(t, s, fmt.Sprint("ANZ-", 10+i), o))
	}
	stranger := Dial(t, s)
	asked[3].Expect("USER_CONNECTED") // the watched user is there
	if code := s.Stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Output())
	}
	for i, p := range asked {
		var f Frame
		for f = p.Next(); f.Type == "USER_DISCONNECTED"; f = p.Next() {
		}
		after, err := strconv.Atoi(f.Field("afterMs"))
		if f.Type != "RECONNECT" || f.Field("reason") == "" || err != nil || after < 0 || after > 15_000 {
			t.Errorf("%s: got %s", options[i], f.Raw)
		}
		wantClosed(t, p, 1012)
	}
	for _, p := range append(plain, stranger) {
		wantClosed(t, p, 1012)
	}
}

// wantClosed fails unless the connection ends with a code, after notices of who
// left at most.
func wantClosed(t *testing.T, p *Peer, code int) {
	t.Helper()
	if got := p.CloseCode(); got != code {
		t.Errorf("closed with %d, want %d", got, code)
	}
	for _, f := range rest(p) {
		if f.Type != "USER_DISCONNECTED" {
			t.Errorf("before the end came %s", f.Raw)
		}
	}
}

// Stopped again and again under load, with everything that is on its way.
func TestStoppedGracefullyUnderLoadNothingStoredIsLost(t *testing.T) {
	t.Parallel()
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	chance := rand.New(rand.NewPCG(seed(t), 4))
	s := startWith(t, plainApp+"limits: {mailboxMessages: 1000000, mailboxBytes: 4GiB}\n")
	l := newLoad(t, s, chance.Uint64(), 4, "plain", "push", "ack", "late")
	for range rounds {
		var running sync.WaitGroup
		running.Go(func() { l.run(make(chan struct{})) })
		l.awaitStored(l.stored.Load()+1+chance.Int64N(2000), nil)
		if code := s.Stop(); code != 0 {
			t.Fatalf("exit code %d\n%s", code, s.Output())
		}
		running.Wait()
		s.Start()
	}
	l.drain()
	l.judge(rounds)
	l.wantNoneRefused()
}

// What waits in the mailboxes when the server stops is there when it is back,
// and so are confirmations.
func TestAGracefulStopKeepsWhatWaits(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	ann, bob := SignIn(t, s, "ANZ-1", `{"receipts":true}`), SignIn(t, s, "ANZ-3", "")
	post(t, ann, "ANZ-2", "m", 0, 500, 100)
	bob.Silence(true)
	post(t, ann, "ANZ-3", "unproved", 0, 50, 100)
	wantSeries(t, "unproved", take(bob, 50), "unproved", 0, 50)
	for range 3 {
		if code := s.Stop(); code != 0 {
			t.Fatalf("exit code %d\n%s", code, s.Output())
		}
		s.Start()
	}
	for user, series := range map[string]string{"ANZ-2": "m", "ANZ-3": "unproved"} {
		missed, left := SignIn(t, s, user, "").Fetch(1000)
		wantSeries(t, user, missed, series, 0, map[string]int{"m": 500, "unproved": 50}[series])
		if left != "0" {
			t.Errorf("%s left for %s", left, user)
		}
	}
	wantConfirmedInAnyOrder(t, SignIn(t, s, "ANZ-1", `{"push":true}`), 550)
}

// A client that does not read holds up a stop no longer than drainTimeout; the
// others are told at once, and no new one is let in.
func TestAClientThatDoesNotReadDoesNotHoldUpAStop(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonEnds)
	s := startWith(t, plainApp+"limits: {drainTimeout: 3s, proofTimeout: 5m}\n")
	ann, bob := SignIn(t, s, "ANZ-1", ""), SignIn(t, s, "ANZ-2", "")
	bob.Freeze()
	content := strings.Repeat("x", 60_000)
	Eventually(t, "the receiver's queue is full", func() bool {
		for range 20 {
			ann.Message("ANZ-2", content, `"feature":"FAST"`)
		}
		ann.Barrier()
		return s.Metric(`switchboard_fast_dropped_total{reason="queue_full"}`) > 0
	})
	began := time.Now()
	s.Signal(syscall.SIGTERM)
	wantClosed(t, ann, 1012)
	if conn, err := net.Dial("tcp", s.Addr); err == nil {
		conn.Close()
		t.Error("the server still takes connections")
	}
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Output())
	}
	t.Logf("it took %s", time.Since(began))
}

func TestASecondSignalEndsTheServerAtOnce(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonEnds)
	s := startWith(t, plainApp+"limits: {drainTimeout: 10m, proofTimeout: 5m}\n")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	post(t, ann, "ANZ-2", "m", 0, 100, 100)
	holdUp(t, s) // a graceful stop would now take its time
	s.Signal(syscall.SIGTERM)
	Eventually(t, "the server begins to stop", func() bool { return strings.Contains(s.Output(), "a second signal leaves at once") })
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != 1 {
		t.Errorf("exit code %d\n%s", code, s.Output())
	}
	s.Start()
	missed, _ := SignIn(t, s, "ANZ-2", "").Fetch(1000)
	wantSeries(t, "stored before", missed, "m", 0, 100)
}

// holdUp opens so many sessions that draining them is spread over several
// seconds.
func holdUp(t *testing.T, s *Server) {
	t.Helper()
	for range 1000 {
		Dial(t, s)
	}
}

// A stop that comes while the server is still starting is no failure either.
func TestAServerMayBeStoppedWhileItStarts(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonEnds)
	chance := rand.New(rand.NewPCG(seed(t), 6))
	s := startWith(t, plainApp)
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	post(t, ann, "ANZ-2", "m", 0, 1000, 1000) // something to read at the start
	s.Kill()
	outcomes := make(map[string]int)
	for range 20 {
		cmd := exec.Command(Binary(t), append([]string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", s.Data}, s.Args...)...)
		cmd.Env = environment()
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(chance.Int64N(int64(60 * time.Millisecond))))
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		// Before the program listens for signals this one ends it, as any other.
		err := cmd.Wait()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if err != nil && status.Signal() != syscall.SIGTERM {
			t.Errorf("it ended with %v:\n%s", err, out.String())
		}
		outcomes[fmt.Sprint(cmd.ProcessState, ", ready ", strings.Contains(out.String(), "ready\n"))]++
	}
	t.Log(outcomes)
	s.Start()
	missed, _ := SignIn(t, s, "ANZ-2", "").Fetch(2000)
	wantSeries(t, "stored before", missed, "m", 0, 1000)
}

// refusedStart runs the program once and returns its exit code and the last
// line of what it printed.
func refusedStart(t *testing.T, args ...string) (code int, last string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), Binary(t), append([]string{"serve"}, args...)...)
	cmd.Env = environment()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return cmd.ProcessState.ExitCode(), lines[len(lines)-1]
}

func TestWhatKeepsAServerFromStartingIsSaidInASentence(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOutput)
	s := Start(t)
	free := "127.0.0.1:0"
	file := filepath.Join(t.TempDir(), "a-file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	clustered := t.TempDir()
	if err := os.Mkdir(filepath.Join(clustered, "cluster"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		code  int
		words []string
		args  []string
	}{
		{"the data folder is in use", 1, []string{s.Data, "in use by process " + strconv.Itoa(s.PID())},
			[]string{"--listen", free, "--admin", free, "--data", s.Data}},
		{"the port of clients is in use", 1, []string{s.Addr, "in use"},
			[]string{"--listen", s.Addr, "--admin", free, "--data", t.TempDir()}},
		{"the port of operators is in use", 1, []string{s.Admin, "in use"},
			[]string{"--listen", free, "--admin", s.Admin, "--data", t.TempDir()}},
		{"the data folder is a file", 1, []string{file},
			[]string{"--listen", free, "--admin", free, "--data", file}},
		{"the data folder is that of one of a cluster", 1, []string{filepath.Join(clustered, "cluster"), "no cluster is set"},
			[]string{"--listen", free, "--admin", free, "--data", clustered}},
		{"there is no such settings file", 1, []string{"nowhere.yaml", "no such file"},
			[]string{"--config", "nowhere.yaml"}},
		{"a flag has a bad value", 2, []string{"1 problem"},
			[]string{"--listen", "somewhere"}},
	} {
		code, last := refusedStart(t, c.args...)
		if code != c.code || !strings.HasPrefix(last, "switchboard: ") {
			t.Errorf("%s: exit code %d, %s", c.name, code, last)
		}
		for _, word := range c.words {
			if !strings.Contains(last, word) {
				t.Errorf("%s: %q does not say %q", c.name, last, word)
			}
		}
		t.Log(last)
	}
	SignIn(t, s, "ANZ-1", "") // the first one serves on
}

func TestStartUpLines(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOutput)
	s := Start(t)
	want := regexp.MustCompile(`^Switchboard \S+
console   http://127\.0\.0\.1:\d+/
socket    ws://127\.0\.0\.1:\d+/ws
devices   http://127\.0\.0\.1:\d+/devices, and the simple door ws://127\.0\.0\.1:\d+/device/connect
admin     http://127\.0\.0\.1:\d+/
data      \S+
key       sb_\w+
demo      app ANZ \(appId app-id-343\) lets anyone in, from this machine only; .*
chat      app chat \(appId chat\), in \S+switchboard\.db
ready
$`)
	if out := plainLines(s.Output()); !want.MatchString(out) {
		t.Errorf("it prints:\n%s", out)
	}
	Eventually(t, "/readyz answers 200", func() bool { return ready(s) })
	own := startWith(t, plainApp)
	if out := own.Output(); strings.Contains(out, "demo") {
		t.Errorf("it speaks of the demo though it has apps:\n%s", out)
	}
	if out := own.Output(); strings.Contains(out, "/devices") {
		t.Errorf("it speaks of devices, which may not connect:\n%s", out)
	}
	open := regexp.MustCompile(`(?m)^open      app ANZ \(appId app-id-343\) lets anyone in who reaches 127\.0\.0\.1:\d+$`)
	if out := own.Output(); !open.MatchString(out) {
		t.Errorf("it does not say that its app lets anyone in:\n%s", out)
	}
}

// plainLines leaves out what is logged.
func plainLines(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "time=") {
			b.WriteString(line)
		}
	}
	return b.String()
}
