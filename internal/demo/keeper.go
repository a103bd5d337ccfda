package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Times of a process that is kept going.
const (
	startAgain   = time.Second     // after it ended
	healthy      = 5 * time.Second // it ran, then it did not fail again and again
	manyFailures = 3               // one after the other, then the end of its log is shown
	slowest      = 10 * time.Second
	stopPatience = 15 * time.Second // then it is killed
	lastLines    = 5                // of its log
)

// keeper keeps one part going.
type keeper struct {
	part
	command func(args []string) *exec.Cmd // the program with the arguments of a part
	log     string                        // file
	say     func(format string, args ...any)

	running *running
	first   int // process ID of the first one
	failed  int // starts after which it did not run for long, one after the other
}

// running is a process.
type running struct {
	cmd   *exec.Cmd
	alive io.Closer // the writing end of its standard input: it ends when that closes
	since time.Time
	ended chan error // of one
}

// start starts the process. It has a group of its own: Ctrl-C at a terminal is for
// the demo alone, which then stops it in order.
func (k *keeper) start() error {
	out, err := os.OpenFile(k.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd := k.command(k.args)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	alive, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("start %s: %w", k.name, err)
	}
	k.running = &running{cmd: cmd, alive: alive, since: time.Now(), ended: make(chan error, 1)}
	if k.first == 0 {
		k.first = cmd.Process.Pid
	}
	go func(r *running) { r.ended <- r.cmd.Wait() }(k.running) // stop waits for it, or ended does
	return nil
}

// keep starts the process again whenever it ends, until ctx does; then it stops it.
func (k *keeper) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			k.stop()
			return
		case err := <-k.running.ended:
			k.ended(err)
		}
		for again := false; !again; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(startAgain<<max(0, k.failed-1), slowest)):
			}
			before := k.running.cmd.Process.Pid
			if err := k.start(); err != nil {
				k.say("%s: %v", k.name, err)
				k.failed++
				continue
			}
			again = true
			k.say("%s is started again: process %d after %d", k.name, k.running.cmd.Process.Pid, before)
		}
	}
}

// ended says how the process came to its end.
func (k *keeper) ended(err error) {
	how := "ended by itself"
	if err != nil {
		how = "ended: " + err.Error()
	}
	if time.Since(k.running.since) >= healthy {
		k.failed = 0
	}
	k.failed++
	k.say("%s (process %d) %s", k.name, k.running.cmd.Process.Pid, how)
	if k.failed >= manyFailures {
		k.say("%s fails again and again; the end of %s:\n%s", k.name, k.log, tail(k.log))
	}
}

// stop asks the process to end, and does not ask for ever.
func (k *keeper) stop() {
	_ = k.running.alive.Close() // that is the asking
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	select {
	case <-k.running.ended:
	case <-patience.C:
		k.say("%s (process %d) does not stop and is killed", k.name, k.running.cmd.Process.Pid)
		_ = k.running.cmd.Process.Kill()
		<-k.running.ended
	}
}

// tail returns the last lines of a file.
func tail(path string) string {
	const most = 4 << 10
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }() // it was read only
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd) // else all of it is read
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-lastLines):], "\n  ")
}
