package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/node"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// exitCode returns the exit code that an exec error stands for.
func exitCode(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "0"
	case errors.As(err, &exit):
		return strconv.Itoa(exit.ExitCode())
	}
	return err.Error()
}

// text is a buffer that several goroutines may write to.
type text struct {
	mu      sync.Mutex
	b       bytes.Buffer
	written chan struct{} // nil, or closed with the next write
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.written != nil {
		close(t.written)
		t.written = nil
	}
	return t.b.Write(p)
}

// await returns when the text holds what is wanted.
func (t *text) await(tb testing.TB, want string) {
	tb.Helper()
	deadline := time.After(time.Minute)
	for {
		t.mu.Lock()
		if strings.Contains(t.b.String(), want) {
			t.mu.Unlock()
			return
		}
		if t.written == nil {
			t.written = make(chan struct{})
		}
		written := t.written
		t.mu.Unlock()
		select {
		case <-written:
		case <-deadline:
			tb.Fatalf("not written: %s\nbut:\n%s", want, t)
		}
	}
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// running is a serve whose node is played by the test.
type running struct {
	t        *testing.T
	started  chan node.Options
	ctx      chan context.Context
	end      chan error // what the node returns
	signals  chan<- os.Signal
	exited   chan int // codes that exit was called with
	code     chan int // what run returned
	out, err text
}

// serve runs the command and returns when its node has been started.
func serve(t *testing.T, args ...string) (*running, node.Options, context.Context) {
	t.Helper()
	r := &running{t: t, started: make(chan node.Options, 1), ctx: make(chan context.Context, 1),
		end: make(chan error, 1), exited: make(chan int, 1), code: make(chan int, 1)}
	p := &program{
		out: &r.out, err: &r.err, version: "v1",
		serve: func(ctx context.Context, o node.Options) error {
			r.ctx <- ctx
			r.started <- o
			return <-r.end
		},
		listen: func(c chan<- os.Signal, _ ...os.Signal) func() {
			r.signals = c
			return func() {}
		},
		exit: func(code int) { r.exited <- code },
	}
	go func() { r.code <- p.run(append([]string{"serve"}, args...)) }()
	select {
	case o := <-r.started:
		return r, o, <-r.ctx
	case code := <-r.code:
		t.Fatalf("serve ended with %d: %s", code, r.err.String())
		return nil, node.Options{}, nil
	}
}

// settingsFile writes a settings file and returns its path.
func settingsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.yaml")
	rewrite(t, path, text)
	return path
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestServeHandsTheSettingsToTheNode(t *testing.T) {
	file := settingsFile(t, "data: /srv/sb\nlog: {level: debug}\n")
	r, o, _ := serve(t, "--config", file, "--listen", "127.0.0.1:1", "--set", "limits.frame=2KiB", "--set", "origins=https://a.example,https://b.example")
	s := o.Settings
	if s.Listen != "127.0.0.1:1" || s.Data != "/srv/sb" || s.Limits.Frame != 2*config.KiB || len(s.Origins) != 2 || !s.Demo {
		t.Errorf("got %+v", s)
	}
	if o.Version != "v1" || o.Out != &r.out || !o.Log.Enabled(t.Context(), -4) {
		t.Errorf("got %+v", o)
	}
	r.end <- nil
	if code := <-r.code; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestTheFirstSignalStopsGracefully(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		r, _, ctx := serve(t)
		r.signals <- sig
		<-ctx.Done()
		r.end <- nil
		if code := <-r.code; code != exitOK {
			t.Errorf("%v: exit code %d", sig, code)
		}
		first, last := strings.Index(r.err.String(), `msg="stopping: clients are told to reconnect; a second signal leaves at once"`),
			strings.Index(r.err.String(), "msg=stopped\n")
		if first < 0 || last < first {
			t.Errorf("%v: logged:\n%s", sig, r.err.String())
		}
	}
}

func TestTheSecondSignalLeavesAtOnce(t *testing.T) {
	r, _, ctx := serve(t)
	r.signals <- syscall.SIGTERM
	<-ctx.Done()
	r.signals <- syscall.SIGHUP // means nothing any more
	r.signals <- syscall.SIGINT
	if code := <-r.exited; code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	r.end <- nil // exit does not end the process in this test
	<-r.code
}

func TestASignalToStopIsHeardWhileTheNodeIsBusy(t *testing.T) {
	file := settingsFile(t, "")
	r, _, ctx := serve(t, "--config", file)
	rewrite(t, file, "limits: {frame: 2KiB}")
	r.signals <- syscall.SIGHUP // the node does not take it
	r.signals <- syscall.SIGTERM
	<-ctx.Done()
	r.end <- nil
	<-r.code
}

func TestAFailedNodeIsReported(t *testing.T) {
	r, _, _ := serve(t)
	r.end <- errors.New("no disk")
	if code := <-r.code; code != exitFailed || r.err.String() != "switchboard: serve: no disk\n" {
		t.Errorf("exit code %d: %s", code, r.err.String())
	}
}

func TestHangupReadsTheSettingsAgain(t *testing.T) {
	file := settingsFile(t, "")
	r, o, _ := serve(t, "--config", file, "--set", "limits.queueFrames=50")
	rewrite(t, file, "listen: 127.0.0.1:1\nlog: {level: debug}\nlimits: {frame: 2KiB, queueFrames: 60}\n")
	r.signals <- syscall.SIGHUP
	got := <-o.Reload
	if got.Limits.Frame != 2*config.KiB || got.Listen != o.Settings.Listen || got.Limits.QueueFrames != 50 {
		t.Errorf("got %+v", got)
	}
	if !o.Log.Enabled(t.Context(), -4) {
		t.Error("the log level has not changed")
	}
	if text := r.err.String(); !strings.Contains(text, `msg="these settings take effect at the next start" keys=[listen]`) ||
		!strings.Contains(text, `level=DEBUG msg="settings read again" keys="[limits.frame log.level]"`) {
		t.Errorf("logged:\n%s", text)
	}

	// Back again: what was adopted is what the next change is measured against.
	rewrite(t, file, "")
	r.signals <- syscall.SIGHUP
	if got := <-o.Reload; got.Limits.Frame != 64*config.KiB {
		t.Errorf("got %+v", got)
	}
	r.end <- nil
	<-r.code
}

// What the settings name may have changed though they did not: the description of all
// domains, where it is a file.
func TestHangupHasTheDescriptionOfDomainsReadAgain(t *testing.T) {
	file := settingsFile(t, "")
	rewrite(t, file, "domain: perth\nmeta: http://127.0.0.1:1\n")
	r, o, _ := serve(t, "--config", file)
	r.signals <- syscall.SIGHUP
	if got := <-o.Reload; got.Meta != "http://127.0.0.1:1" {
		t.Errorf("got %+v", got)
	}
	r.end <- nil
	<-r.code
}

func TestBadNewSettingsLeaveTheOldOnes(t *testing.T) {
	file := settingsFile(t, "")
	r, o, _ := serve(t, "--config", file)
	rewrite(t, file, "limits: {frame: 1, frme: 2}")
	r.signals <- syscall.SIGHUP
	r.err.await(t, `level=ERROR msg="settings stay as they are: the new ones are not good" err="`+file+`:1: limits.frame: 1 is too little`)
	r.err.await(t, `:1: limits.frme: unknown key`)

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGHUP
	r.err.await(t, "no such file or directory")

	rewrite(t, file, "data: /elsewhere")
	r.signals <- syscall.SIGHUP
	r.err.await(t, "nothing to change now")

	rewrite(t, file, "limits: {frame: 4KiB}")
	r.signals <- syscall.SIGHUP
	if got := <-o.Reload; got.Limits.Frame != 4*config.KiB {
		t.Errorf("got %+v", got)
	}
	r.end <- nil
	<-r.code
}

func TestOpenAppsAreWarnedOf(t *testing.T) {
	const app = "apps: [{appName: SHOP, appId: x, authEnabled: false}]\n"
	for listen, warned := range map[string]bool{"0.0.0.0:8088": true, "127.0.0.1:8088": false} {
		r, _, _ := serve(t, "--config", settingsFile(t, app), "--listen", listen)
		r.end <- nil
		<-r.code
		if got := strings.Contains(r.err.String(), "level=WARN") && strings.Contains(r.err.String(), "app=SHOP listen="+listen); got != warned {
			t.Errorf("%s: logged:\n%s", listen, r.err.String())
		}
	}
}

func TestLogLinesMayBeJSON(t *testing.T) {
	r, o, _ := serve(t, "--log-format", "json")
	o.Log.Info("hello")
	r.end <- nil
	<-r.code
	if !strings.HasPrefix(r.err.String(), "{") {
		t.Errorf("logged: %s", r.err.String())
	}
}

// What a user ID is, wire says; config, which knows nothing of wire, checks
// the same rule for masterUserId.
func TestMasterUserIDsAreCheckedAsUserIDsAre(t *testing.T) {
	for _, id := range []string{
		"A-0", "A-1", "A-9223372036854775807", "A-9223372036854775808", "A-01", "A--1", "A-+1", "A-", "A", "-1", "A-1-2", "A-1 ", "A-0x1", "B-1",
		"a_Z9-5", "ä-1", "A.B-1", "-", "",
	} {
		user, err := wire.ParseUserID(id)
		app, _, _ := strings.Cut(id, "-")
		s := config.Defaults()
		s.Apps = []config.App{{Name: app, ID: "x", Master: id}}
		if id == "" {
			s.Apps[0].Master = "none"
		}
		if got := s.Check(); (got == nil) != (err == nil) {
			t.Errorf("%q: wire says %v (%v), config %v", id, user, err, got)
		}
	}
	for length := 63; length <= 66; length++ {
		name := strings.Repeat("x", length)
		_, err := wire.ParseUserID(name + "-1")
		s := config.Defaults()
		s.Apps = []config.App{{Name: name, ID: "x"}}
		if got := s.Check(); (got == nil) != (err == nil) {
			t.Errorf("%d letters: wire says %v, config %v", length, err, got)
		}
	}
}
