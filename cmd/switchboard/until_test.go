package main

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
)

// slowly is a program that reads its settings from a pipe, so that the test knows when.
type slowly struct {
	t    *testing.T
	pipe string
	code chan int // what run returned
	out  text
	err  text

	mu      sync.Mutex
	which   []os.Signal // that are listened for
	signals chan<- os.Signal
}

// startSlowly starts one. The name of the pipe is the last argument.
func startSlowly(t *testing.T, args ...string) *slowly {
	t.Helper()
	s := &slowly{t: t, pipe: filepath.Join(t.TempDir(), "settings.yaml"), code: make(chan int, 1)}
	if err := syscall.Mkfifo(s.pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &program{out: &s.out, err: &s.err, listen: func(c chan<- os.Signal, which ...os.Signal) func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.signals, s.which = c, append(s.which, which...)
		return func() {}
	}}
	go func() { s.code <- p.run(append(args, s.pipe)) }()
	return s
}

// reads has it read a text, once it has begun to read and what is to be done is done.
func (s *slowly) reads(text string, do func()) {
	s.t.Helper()
	f, err := os.OpenFile(s.pipe, os.O_WRONLY, 0) // which waits for the reader
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it is all written
	do()
	if _, err := f.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// hears says whether a signal is listened for.
func (s *slowly) hears(sig os.Signal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.which, sig)
}

func TestAHangupWhileSettingsAreReadHasThemBeReadAgain(t *testing.T) {
	s := startSlowly(t, "relay", "network", "--config")
	settings := "{server: {address: 127.0.0.1, port: 0}, data: " + filepath.Join(t.TempDir(), "data") + "}"
	s.reads(settings, func() {
		if !s.hears(syscall.SIGHUP) {
			t.Fatal("a hangup would end it")
		}
		if err := os.Remove(s.pipe); err != nil { // it is open, and the next reading is of a file
			t.Fatal(err)
		}
		rewrite(t, s.pipe, settings)
		s.signals <- syscall.SIGHUP
	})
	s.err.await(t, "settings were read again")
	nodetest.Eventually(t, "it can be stopped", func() bool { return s.hears(syscall.SIGTERM) })
	s.signals <- syscall.SIGTERM
	if code := <-s.code; code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.err.String())
	}
}

func TestAHangupWhileSettingsAreReadEndsNoServer(t *testing.T) {
	for _, args := range [][]string{
		{"serve", "--config"},
		{"meta", "--config", "none.yaml", "--secret-file"},
		{"relay", "collector", "--config"},
	} {
		s := startSlowly(t, args...)
		s.reads("-", func() {
			if !s.hears(syscall.SIGHUP) || s.hears(syscall.SIGTERM) {
				t.Errorf("%q: it hears %v", args, s.which)
			}
		})
		if code := <-s.code; code == exitOK {
			t.Errorf("%q: exit code %d\n%s", args, code, s.err.String())
		}
	}
}
