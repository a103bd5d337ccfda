// Package nodetest runs the real binary for tests: a Server is one process on
// loopback with its own data folder, a Peer one plain WebSocket client.
//
// It ends only processes that it started. Its waits have deadlines, after which
// the test fails with what the process had printed.
package nodetest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long anything in a test may take before it counts as failed.
// It is long because machines under test are slow, not because anything should
// take so long.
const Patience = 2 * time.Minute

// binaryVariable names the program to test, instead of building it. Where a test
// runs under the race detector so should the program; the one as it ships is built
// all the same.
const binaryVariable = "NODETEST_BINARY"

// program builds the program once in a test process. A test that runs under the
// race detector gets a program that does, too.
var program = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(binaryVariable); path != "" {
		_, err := os.Stat(path)
		return path, err
	}
	return build(raceEnabled)
})

// shipped builds the program as it ships, without the race detector.
var shipped = sync.OnceValues(func() (string, error) {
	if !raceEnabled {
		return program()
	}
	return build(false)
})

// upgraded builds the program as another version, for tests of versions side by side.
func upgraded(t testing.TB, version string) string {
	t.Helper()
	path, err := build(false, "-ldflags", "-X main.version="+version)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func build(race bool, flags ...string) (string, error) {
	if err := lookAtSource(); err != nil {
		return "", err
	}
	args := []string{"github.com/seed-3d8c1042/switchboard/cmd/switchboard"}
	if race {
		flags = append(flags, "-race")
	}
	return buildProgram("switchboard", append(flags, args...)...)
}

// lookAtSource lists the folders of what the program is built from. The go command
// notes that, and takes no result of a test from its cache when any file there has
// changed since; that the program is one of the test's inputs it cannot know.
func lookAtSource() error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	for _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil; _, err = os.Stat(filepath.Join(root, "go.mod")) {
		if root == filepath.Dir(root) {
			return nil // the test does not run in the checkout
		}
		root = filepath.Dir(root)
	}
	for _, dir := range []string{"cmd", "internal", "wire", "console/dist"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			return err
		}
	}
	return nil
}

// buildProgram builds a program with arguments for go build, the package last.
func buildProgram(name string, args ...string) (string, error) {
	dir, err := os.MkdirTemp("", "switchboard-test-")
	if err != nil {
		return "", err
	}
	built.Lock()
	built.dirs = append(built.dirs, dir)
	built.Unlock()
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", append([]string{"build", "-o", path}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// built is where build put programs.
var built struct {
	sync.Mutex
	dirs []string
}

// raceOptions are for programs that run under the race detector: the first race
// ends them. They are gone soon after they end, and not a second later as without
// this: tests start hundreds.
const raceOptions = "halt_on_error=1 exitcode=66 atexit_sleep_ms=50"

// Run runs the tests of a package and removes the programs that they built: for
// TestMain.
func Run(m interface{ Run() int }) int {
	// For whatever the tests start; it cannot fail with this name and value.
	_ = os.Setenv("GORACE", raceOptions)
	code := m.Run()
	built.Lock()
	defer built.Unlock()
	for _, dir := range built.dirs {
		// What is left behind is only a file in the temporary folder.
		_ = os.RemoveAll(dir)
	}
	return code
}

// Binary returns the path of the program, built when it is first asked for.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Server is one running process.
type Server struct {
	Addr  string // host:port for clients
	Admin string // host:port for operators
	Data  string // data folder
	Key   string // the demo's admin key of this start; empty for none
	Args  []string

	// nodes are the processes behind Addr when there are several: see topology.go.
	// This one is none then.
	nodes []*Server
	// A node of several has a settings file of its own, config; extra is what the
	// harness has put behind the test's settings there.
	config, extra string
	roles         []string

	t      testing.TB
	before []string // words that start the program, such as those that put it into another network
	path   string   // of the program
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process ended; then err is set
	err    error

	mu  sync.Mutex
	out strings.Builder
}

// Start runs `switchboard serve` with extra arguments on free ports, and waits
// until it is ready. The process ends with the test. NODETEST_TOPOLOGY may make
// it several processes: see Topology.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if topology := topologyOf(t); topology != One {
		return startTopology(t, topology, args)
	}
	return StartIn(t, filepath.Join(t.TempDir(), "data"), args...)
}

// StartShipped is Start with the program as it ships, also in a test that runs
// under the race detector: to measure its memory.
func StartShipped(t testing.TB, args ...string) *Server {
	t.Helper()
	Alone(t, ReasonMemory)
	path, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	return start(t, path, filepath.Join(t.TempDir(), "data"), args)
}

// StartIn is Start with a data folder of the caller's, and one node.
func StartIn(t testing.TB, data string, args ...string) *Server {
	t.Helper()
	Alone(t, ReasonFolder)
	return start(t, Binary(t), data, args)
}

func start(t testing.TB, path, data string, args []string) *Server {
	t.Helper()
	s := &Server{t: t, path: path, Addr: "127.0.0.1:0", Admin: "127.0.0.1:0", Data: data, Args: args}
	s.Start()
	t.Cleanup(s.Kill)
	return s
}

// Start runs the process again after Kill or Stop: same addresses, same data. Of
// several nodes all are started, side by side.
func (s *Server) Start() {
	s.t.Helper()
	if s.nodes != nil {
		launchAll(s.t, s.nodes)
		return
	}
	if !s.Starts() {
		s.t.Fatalf("switchboard ended before it was ready: %v\n%s", s.err, s.Output())
	}
}

// Starts is Start, and says whether the process was ready or ended before.
func (s *Server) Starts() bool {
	s.t.Helper()
	return s.becomesReady(s.launch())
}

// launch runs the process. ready is closed when it says that it is ready.
func (s *Server) launch() (ready <-chan struct{}) {
	s.t.Helper()
	s.one("Start")
	s.cmd = s.command()
	pipe, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd.Stderr = s.cmd.Stdout
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	said := make(chan struct{})
	s.done = make(chan struct{})
	go s.read(pipe, said)
	return said
}

// becomesReady waits until the process that was launched is ready, or has ended.
func (s *Server) becomesReady(ready <-chan struct{}) bool {
	s.t.Helper()
	select {
	case <-ready:
		return true
	case <-s.done:
	case <-time.After(Patience):
		s.Kill()
		s.t.Fatalf("switchboard was not ready in %s\n%s", Patience, s.Output())
	}
	return false
}

// command is the program with its arguments.
func (s *Server) command() *exec.Cmd {
	words := slices.Concat(s.before, []string{s.path, "serve", "--listen", s.Addr, "--admin", s.Admin, "--data", s.Data}, s.Args)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(environment(), "GORACE="+raceOptions)
	return cmd
}

// environment returns this process's environment without the program's
// settings: a test says itself what holds.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SWITCHBOARD_") })
}

// read collects what the process prints, learns its addresses, and waits for
// its end.
func (s *Server) read(pipe io.Reader, ready chan struct{}) {
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		line := lines.Text()
		s.mu.Lock()
		s.out.WriteString(line + "\n")
		s.mu.Unlock()
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "console":
			s.Addr = address(fields[1])
		case len(fields) == 2 && fields[0] == "admin":
			s.Admin = address(fields[1])
		case len(fields) == 2 && fields[0] == "key":
			s.Key = fields[1]
		case line == "ready":
			close(ready)
		}
	}
	s.err = s.cmd.Wait()
	close(s.done)
}

// address takes the host and port out of a URL.
func address(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	return strings.TrimSuffix(rest, "/")
}

// Output returns what the process printed so far, in all its lives.
func (s *Server) Output() string {
	if s.nodes != nil {
		return s.outputOfAll()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// PID returns the process ID.
func (s *Server) PID() int {
	s.t.Helper()
	s.one("PID")
	return s.cmd.Process.Pid
}

// Signal sends the process a signal. After SIGSTOP it is stopped, where that can be seen:
// on a busy machine threads go on for a moment.
func (s *Server) Signal(sig syscall.Signal) {
	s.t.Helper()
	s.one("Signal")
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatalf("signal %v: %v", sig, err)
	}
	if sig == syscall.SIGSTOP {
		Eventually(s.t, "the process is stopped", func() bool { return !runs(s.cmd.Process.Pid) })
	}
}

// runs says whether a thread of a process is not stopped; false where there is no /proc.
func runs(pid int) bool {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return err == nil && slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		name := bytes.LastIndexByte(text, ')') // which may have anything in it
		return err == nil && name >= 0 && !bytes.HasPrefix(text[name:], []byte(") T")) && !bytes.HasPrefix(text[name:], []byte(") Z"))
	})
}

// Kill ends the process at once (SIGKILL) and waits for its end. Of several nodes
// it ends all.
func (s *Server) Kill() {
	for _, n := range s.nodes {
		n.Kill()
	}
	if s.nodes != nil {
		return
	}
	select {
	case <-s.done:
		return
	default:
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("kill: %v", err)
	}
	<-s.done
}

// Stop ends the process gracefully (SIGTERM) and returns its exit code. Of several
// nodes it ends all at once, and returns the worst.
func (s *Server) Stop() int {
	s.t.Helper()
	worst := 0
	for _, n := range s.Nodes() {
		n.Signal(syscall.SIGTERM)
	}
	for _, n := range s.Nodes() {
		worst = max(worst, n.Wait())
	}
	return worst
}

// Wait waits for the process to end by itself and returns its exit code.
func (s *Server) Wait() int {
	s.t.Helper()
	s.one("Wait")
	select {
	case <-s.done:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(Patience):
		s.t.Fatalf("switchboard did not end in %s\n%s", Patience, s.Output())
		return -1
	}
}

// Get fetches a path of the admin listener.
func (s *Server) Get(path string) (status int, body string) {
	s.t.Helper()
	return get(s.t, "http://"+s.Admin+path)
}

// Metric returns a metric's value; name includes its labels as exposed. Of several
// nodes, and of the keepers of several shards, it is the sum.
func (s *Server) Metric(name string) float64 {
	s.t.Helper()
	sum := 0.0
	for _, n := range s.Nodes() {
		_, body := n.Get("/metrics")
		for line := range strings.Lines(body) {
			sum += valueOf(line, name)
		}
	}
	return sum
}

// shardLabel is what tells the metrics of one keeper from those of another.
var shardLabel = regexp.MustCompile(`\{shard="\d+"\}|,shard="\d+"|shard="\d+",`)

// valueOf returns the value in a line of metrics, if it is of that name.
func valueOf(line, name string) (v float64) {
	if base, _, _ := strings.Cut(name, "{"); !strings.HasPrefix(line, base) {
		return 0 // most lines: the rest takes its time, and tests look often
	}
	if rest, ours := strings.CutPrefix(shardLabel.ReplaceAllString(line, ""), name+" "); ours {
		if _, err := fmt.Sscan(rest, &v); err != nil {
			return 0
		}
	}
	return v
}

// RSS returns the resident memory of the process in bytes.
func (s *Server) RSS() int64 {
	s.t.Helper()
	if runtime.GOOS != "linux" {
		s.t.Fatal("RSS reads /proc, which only Linux has")
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	s.t.Fatal("no VmRSS in /proc status")
	return 0
}

// Eventually waits until cond holds, looking again and again: often at first, and
// less when it takes longer, since to look costs those that are looked at.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for pause := 2 * time.Millisecond; !cond(); pause = min(pause*5/4, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", Patience, what)
		}
		<-time.After(pause)
	}
}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}
