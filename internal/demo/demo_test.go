package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// The test's own program is every part of the demo: the first of these names it.
const (
	envPart = "DEMO_TEST_PART"
	envKill = "DEMO_TEST_KILL" // "moment 3": it kills itself at that moment, the third time
)

func TestMain(m *testing.M) {
	if os.Getenv(envPart) == "" {
		os.Exit(m.Run())
	}
	if err := bePart(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// bePart runs a part until its standard input ends.
func bePart() error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	args := os.Args[1:]
	flag := func(name string) string {
		if i := slices.Index(args, "--"+name); i >= 0 {
			return args[i+1]
		}
		return ""
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	o := ServiceOptions{In: flag("in"), Out: flag("out"), Log: log, at: killer()}
	switch args[0] {
	case "demo":
		return Run(ctx, Options{Data: flag("data"), Listen: "127.0.0.1:0", Static: true, Version: "test", Out: os.Stdout, Command: ownCommand})
	case "sensor":
		return RunSensor(ctx, SensorOptions{Folder: flag("folder"), Out: flag("out"), Log: log, every: 5 * time.Millisecond, at: killer()})
	case "gateway":
		return RunGateway(ctx, o)
	case "visualize":
		return RunVisualize(ctx, VisualizeOptions{ServiceOptions: o, Listen: flag("listen")})
	case "archive":
		return RunArchive(ctx, o)
	case "relay":
		return beRelay(ctx, flag("config"))
	}
	return fmt.Errorf("no part %q", args)
}

// ownCommand starts a part with the file by which the test sees that it lives.
func ownCommand(args []string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), envPart+"=1")
	cmd.ExtraFiles = []*os.File{os.NewFile(3, "alive")}
	return cmd
}

// beRelay stands for the programs of the relay, which have tests of their own: an
// uploader moves files, the others wait.
func beRelay(ctx context.Context, config string) error {
	from, uploader := strings.CutSuffix(filepath.Base(config), "-uploader.yaml")
	if !uploader {
		<-ctx.Done()
		return nil
	}
	data := filepath.Dir(filepath.Dir(config))
	next := hops()[slices.Index(services(), from)]
	l := layout{data: data}
	for ctx.Err() == nil {
		entries, err := os.ReadDir(l.out(from))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := os.Rename(filepath.Join(l.out(from), e.Name()), filepath.Join(l.in(next), e.Name())); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// killer returns what ends this process as a power cut would, where it is told to.
func killer() func(string) {
	moment, text, found := strings.Cut(os.Getenv(envKill), " ")
	if !found {
		return nil
	}
	left, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return func(m string) {
		if m != moment {
			return
		}
		if left--; left == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // it has not come to this process yet
		}
	}
}

// process is a part that a test runs by itself.
type process struct {
	cmd   *exec.Cmd
	input io.Closer
}

func start(t *testing.T, kill string, args ...string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), envPart+"=1", envKill+"="+kill)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &process{cmd, input}
}

// killed waits until it has killed itself.
func (p *process) killed(t *testing.T) {
	t.Helper()
	err := p.cmd.Wait()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("it was not killed: %v", err)
	}
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.input.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for late := time.Now().Add(patience); !is(); <-look.C {
		if time.Now().After(late) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// numbersIn returns the numbers of all reports below some folders, sorted.
func numbersIn(t *testing.T, folders ...string) (list []int64) {
	t.Helper()
	for _, folder := range folders {
		for _, pattern := range []string{"*", "*/*"} {
			paths, err := filepath.Glob(filepath.Join(folder, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				if n := numberOf(filepath.Base(path)); n > 0 {
					list = append(list, n)
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

// once fails unless these are 1, 2, 3 … with none missing and none twice.
func once(t *testing.T, list []int64) {
	t.Helper()
	for i, n := range list {
		if n != int64(i+1) {
			t.Fatalf("lost or doubled: %v", list)
		}
	}
}

// put writes a report as the sensor does.
func put(t *testing.T, folder string, r report) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(folder, r.name(), text); err != nil {
		t.Fatal(err)
	}
}

func TestASensorLosesAndDoublesNoNumberWhereverItIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder, out := filepath.Join(dir, "sensor"), filepath.Join(dir, "out")
	args := []string{"sensor", "--folder", folder, "--out", out}
	for _, moment := range []string{momentReady, momentJournaled, momentSpooled} {
		start(t, moment+" 3", args...).killed(t)
	}
	// What a power cut may leave: half a line, and half a report.
	journal, err := os.OpenFile(filepath.Join(folder, "journal"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = journal.WriteString("99")
	}
	if err == nil {
		err = journal.Close()
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "ready", reportName(99)+unfinished), []byte("{"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	last := start(t, "", args...)
	eventually(t, "20 reports", func() bool { return len(numbersIn(t, out)) >= 20 })
	last.stop(t)
	once(t, numbersIn(t, filepath.Join(folder, "ready"), out))
	text, err := os.ReadFile(filepath.Join(folder, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	var noted []int64
	for _, line := range strings.Fields(string(text)) {
		n, err := strconv.ParseInt(line, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		noted = append(noted, n)
	}
	once(t, noted)
	if len(noted) != len(numbersIn(t, out)) {
		t.Errorf("%d numbers are noted, %d reports are there", len(noted), len(numbersIn(t, out)))
	}
}

func TestAServiceLosesAndDoublesNoReportWhereverItIsKilled(t *testing.T) {
	t.Parallel()
	for _, service := range hops() {
		dir := t.TempDir()
		in, out := filepath.Join(dir, "x", "in"), filepath.Join(dir, "y")
		for n := range int64(12) {
			put(t, in, report{Number: n + 1, At: time.Now().UTC()})
		}
		args := []string{service, "--in", in, "--out", out, "--listen", "127.0.0.1:0"}
		start(t, momentTaken+" 3", args...).killed(t)
		once(t, numbersIn(t, in, out))
		start(t, momentMoved+" 3", args...).killed(t)
		once(t, numbersIn(t, in, out))
		last := start(t, "", args...)
		eventually(t, service+" is through", func() bool { return len(numbersIn(t, out)) == 12 })
		last.stop(t)
		once(t, numbersIn(t, out))
	}
}

func TestTheArchiveHasAFolderForTheDayThatTheReportSays(t *testing.T) {
	in, out := filepath.Join(t.TempDir(), "a", "in"), t.TempDir()
	late := time.Date(2026, 11, 26, 23, 59, 59, 0, time.FixedZone("", -3600)) // the day after in UTC
	put(t, in, report{Number: 1, At: late})
	put(t, in, report{Number: 2, At: late})
	day := filepath.Join(out, "2026-11-27")
	put(t, day, report{Number: 2, At: late}) // it came before
	if err := os.WriteFile(filepath.Join(in, "no report"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- RunArchive(ctx, ServiceOptions{In: in, Out: out, Log: slog.New(slog.DiscardHandler)}) }()
	eventually(t, "all are taken", func() bool {
		left, err := os.ReadDir(in)
		return err == nil && len(left) == 0
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	once(t, numbersIn(t, day))
	if _, err := os.Stat(filepath.Join(filepath.Dir(in), "odd", "no report")); err != nil {
		t.Error(err)
	}
}

func TestAReportIsNeverMovedOverAnother(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for path, text := range map[string]string{from: "one", to: "another"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := move(from, to); err == nil || !strings.Contains(err.Error(), "move one of them away") {
		t.Error(err)
	}
	for path, want := range map[string]string{from: "one", to: "another"} {
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("%s: %s %v", path, text, err)
		}
	}
}

// All parts are started, one is killed, and then the demo itself.
func TestADemoStartsAPartAgainAndLeavesNoneBehind(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	alive, held, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "demo", "--data", data)
	cmd.Env = append(os.Environ(), envPart+"=1")
	cmd.ExtraFiles = []*os.File{held}
	if _, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = held.Close() // the demo and its parts have it, and the pipe ends with the last of them
	lines := bufio.NewScanner(out)
	until := func(what string) []string {
		pattern := regexp.MustCompile(what)
		for lines.Scan() {
			if m := pattern.FindStringSubmatch(lines.Text()); m != nil {
				return m
			}
		}
		t.Fatalf("it did not say %s", what)
		return nil
	}
	chart := strings.TrimSuffix(until(`^chart +(\S+)$`)[1], "/")
	pid, err := strconv.Atoi(until(`^gateway +(\d+)  `)[1])
	if err != nil {
		t.Fatal(err)
	}
	until("^ready$")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(fmt.Sprintf(`^gateway \(process %d\) ended: signal: killed$`, pid))
	until(fmt.Sprintf(`^gateway is started again: process \d+ after %d$`, pid))
	if err := Run(t.Context(), Options{Data: data, Listen: "127.0.0.1:0", Out: io.Discard}); err == nil || !strings.Contains(err.Error(), "is in use by process") {
		t.Errorf("a second one on the folder: %v", err)
	}
	chart = strings.TrimPrefix(chart, "http://")
	if err := Run(t.Context(), Options{Data: data, Listen: chart, Out: io.Discard}); err == nil || !strings.Contains(err.Error(), "is in use by process") {
		t.Errorf("a second one on the folder and the address: %v", err)
	}
	other := filepath.Join(t.TempDir(), "above", "other")
	if err := Run(t.Context(), Options{Data: other, Listen: chart, Out: io.Discard}); err == nil || !strings.Contains(err.Error(), "give --listen another address") {
		t.Errorf("a second one on the address: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(other)); err == nil {
		t.Error("one that was refused leaves its folder behind")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = alive.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(alive); err != nil {
		t.Errorf("parts outlive the demo: %v", err)
	}
	_ = cmd.Wait() // killed
}

func TestTheChartIsForThisMachineAlone(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:8070", ":8070", "example.com:80", "127.0.0.1"} {
		if _, err := layOut(t.TempDir(), listen, false); err == nil || !strings.Contains(err.Error(), "a host and port of this machine alone") {
			t.Errorf("%s: %v", listen, err)
		}
	}
	l, err := layOut("x", "localhost:0", false)
	if err != nil || strings.HasSuffix(l.chart, ":0") || !strings.HasPrefix(l.chart, "localhost:") || !filepath.IsAbs(l.data) {
		t.Errorf("%+v, %v", l, err)
	}
}
