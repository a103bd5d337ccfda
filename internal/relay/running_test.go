package relay

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what goes on by itself.
const patience = time.Minute

// soon waits until something holds.
func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not happen", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// lines is where a program writes the lines of its start.
type lines struct {
	mu    sync.Mutex
	text  string
	ready chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(b)
	if strings.HasSuffix(l.text, "ready\n") {
		close(l.ready)
	}
	return len(b), nil
}

// says returns the last word of a line.
func (l *lines) says(key string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == key {
			return strings.TrimPrefix(fields[len(fields)-1], "http://")
		}
	}
	return ""
}

// program is one of ours that runs in the test.
type program struct {
	*lines
	t      testing.TB
	cancel context.CancelFunc
	ended  chan error
	reload chan struct{}
}

func startProgram(t testing.TB, run func(ctx context.Context, out io.Writer, reload <-chan struct{}) error) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{lines: &lines{ready: make(chan struct{})}, t: t, cancel: cancel, ended: make(chan error, 1), reload: make(chan struct{})}
	go func() { p.ended <- run(ctx, p.lines, p.reload) }()
	t.Cleanup(p.stop)
	return p
}

func (p *program) wait() *program {
	p.t.Helper()
	select {
	case <-p.ready:
	case err := <-p.ended:
		p.ended <- err
		p.t.Fatalf("it ends: %v", err)
	case <-time.After(patience):
		p.t.Fatal("it is not ready")
	}
	return p
}

// stop ends the program, once.
func (p *program) stop() {
	p.cancel()
	if err := <-p.ended; err != nil {
		p.t.Errorf("it ends with %v", err)
	}
	p.ended <- nil
}

// testCollector is a collector of which the settings can be changed.
type testCollector struct {
	*program
	mu       sync.Mutex
	settings CollectorSettings
	bad      error
	heard    heard
}

func startCollector(t testing.TB, change func(*CollectorSettings)) *testCollector {
	t.Helper()
	c := newTestCollector(t, change)
	c.wait()
	return c
}

func newTestCollector(t testing.TB, change func(*CollectorSettings)) *testCollector {
	t.Helper()
	c := &testCollector{settings: DefaultCollector()}
	c.settings.Address, c.settings.Spool, c.settings.Limits.FreeBytes = "127.0.0.1", t.TempDir(), 0
	if change != nil {
		change(&c.settings)
	}
	c.program = startProgram(t, func(ctx context.Context, out io.Writer, reload <-chan struct{}) error {
		return RunCollector(ctx, CollectorOptions{Out: out, Reload: reload, Log: c.heard.log(), Version: "test", Load: func() (CollectorSettings, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.settings, c.bad
		}})
	})
	return c
}

// change changes the settings and has them read.
func (c *testCollector) change(do func(*CollectorSettings)) {
	c.mu.Lock()
	do(&c.settings)
	c.mu.Unlock()
	c.reload <- struct{}{}
}

func (c *testCollector) files() map[string]string {
	c.t.Helper()
	entries, err := os.ReadDir(c.settings.Spool)
	if err != nil {
		c.t.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range entries {
		if e.Type().IsRegular() {
			b, err := os.ReadFile(filepath.Join(c.settings.Spool, e.Name()))
			if err != nil {
				c.t.Fatal(err)
			}
			found[e.Name()] = string(b)
		}
	}
	return found
}

func startTestNetwork(t *testing.T, folder string, port, first int) *program {
	t.Helper()
	return startProgram(t, func(ctx context.Context, out io.Writer, reload <-chan struct{}) error {
		return RunNetwork(ctx, NetworkOptions{Out: out, Reload: reload, Log: quiet(), Version: "test", Load: func() (NetworkSettings, error) {
			s := DefaultNetwork()
			s.Data, s.Port, s.FirstPort = folder, port, first
			return s, nil
		}})
	}).wait()
}
