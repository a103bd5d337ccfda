//go:build linux || darwin

package members

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

const frozenLease = 500 * time.Millisecond

// TestMain is this program as the process that is frozen, when it is asked to be.
func TestMain(m *testing.M) {
	if os.Getenv("MEMBERS_FROZEN") == "" {
		os.Exit(m.Run())
	}
	if err := look(); err != nil {
		fmt.Println(err)
	}
}

// look looks at a room again and again. It says "valid" when that is so for the
// first time, and at the end what it saw at its first look after a long gap.
func look() error {
	r, err := New(Options{
		Table: side{newTable(), "a"}, Self: Member{ID: "a", Name: "a"}, Speaks: Range{1, 1}, Lease: frozenLease, Now: time.Now,
		Lost: func() { select {} }, // so that it is not back before anybody has looked
	})
	if err != nil {
		return err
	}
	go func() { _ = r.Run(context.Background()) }() // ends with the process
	for !r.Valid() {
		time.Sleep(time.Millisecond)
	}
	last := time.Now() // it may be frozen from the next line on
	fmt.Println("valid")
	for {
		now := time.Now()
		valid := r.Valid()
		if now.Sub(last) > 2*frozenLease {
			fmt.Println("after a gap:", valid)
			return nil
		}
		last = now
	}
}

func TestAFrozenProcessIsNotValidAtItsFirstLook(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "MEMBERS_FROZEN=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "valid" {
		t.Fatal(lines.Text())
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(4 * frozenLease) // for that long it is frozen: nothing else could be waited for
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || lines.Text() != "after a gap: false" {
		t.Error(lines.Text())
	}
	_ = cmd.Wait()
}
