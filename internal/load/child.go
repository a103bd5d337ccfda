package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// readyPatience is how long a server may take to be ready.
	readyPatience = 60 * time.Second
	// stopPatience is how long it may take to stop before it is killed.
	stopPatience = 30 * time.Second
)

// Child is how servers are started to be measured.
type Child struct {
	Program   string // of ours; empty: the one that runs
	ServerCPU int    // processor that it is kept to; below 0: any
	Procs     int    // its GOMAXPROCS; 0: as it chooses
}

// server is a process that we started.
type server struct {
	url   string
	admin string        // URL of its admin listener
	key   string        // the demo's API key
	ready time.Duration // from its start
	cmd   *exec.Cmd
	done  chan struct{} // closed when it has ended

	mu  sync.Mutex
	out []string // the last lines that it printed
}

// start starts the program and waits until it says that it is ready.
func (c Child) start(ctx context.Context, args ...string) (*server, error) {
	program := c.Program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
	}
	s := &server{cmd: exec.Command(program, args...), done: make(chan struct{})}
	s.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SWITCHBOARD_") })
	if c.Procs > 0 {
		s.cmd.Env = append(s.cmd.Env, fmt.Sprintf("GOMAXPROCS=%d", c.Procs))
	}
	pipe, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	s.cmd.Stderr = s.cmd.Stdout
	detach(s.cmd)
	began := time.Now()
	if err := startPinned(s.cmd, c.ServerCPU); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	ready := make(chan struct{})
	go s.read(pipe, ready)
	select {
	case <-ready:
		s.ready = time.Since(began)
		return s, nil
	case <-s.done:
		return nil, fmt.Errorf("%s ended before it was ready; it printed: %s", strings.Join(args, " "), s.printed())
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(readyPatience):
		err = fmt.Errorf("%s was not ready in %s; it printed: %s", strings.Join(args, " "), readyPatience, s.printed())
	}
	s.kill()
	return nil, err
}

// read keeps the last lines, and learns the address.
func (s *server) read(pipe io.Reader, ready chan struct{}) {
	defer close(s.done)
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		line := lines.Text()
		if name, value, ok := strings.Cut(line, " "); ok {
			s.learn(name, strings.TrimSpace(value))
		}
		s.mu.Lock()
		if s.out = append(s.out, line); len(s.out) > 20 {
			s.out = s.out[1:]
		}
		s.mu.Unlock()
		if line == "ready" && ready != nil {
			close(ready)
			ready = nil
		}
	}
	_ = s.cmd.Wait() // how it ended is in what it printed
}

// learn keeps what a server says of itself when it starts.
func (s *server) learn(name, value string) {
	switch name {
	case "socket":
		s.url = value
	case "admin":
		s.admin = value
	case "key":
		s.key = value
	}
}

func (s *server) printed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.out, "\n")
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// stop ends the process in good order; if it does not end, at once.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop process %d: %w", s.pid(), err)
	}
	select {
	case <-s.done:
		return nil
	case <-time.After(stopPatience):
		s.kill()
		return fmt.Errorf("process %d did not stop in %s and was killed; it printed: %s", s.pid(), stopPatience, s.printed())
	}
}

// kill ends the process at once.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may have ended by itself
	<-s.done
}
