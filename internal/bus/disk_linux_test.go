package bus

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

// ownDisk runs the rest of the test in a process of its own that has a small
// file system of its own, and returns its folder there. In the test's first
// process it returns false when the other one is done.
func ownDisk(t *testing.T, size string) (dir string, here bool) {
	t.Helper()
	const inside = "SWITCHBOARD_BUS_TEST_DISK"
	if os.Getenv(inside) != "" {
		dir = t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		return dir, true
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), inside+"=1")
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in a process with a disk of its own: %v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
	return "", false
}

// ballast fills the disk of dir but for about free bytes; the returned function
// gives the room back.
func ballast(t *testing.T, dir string, free uint64) (release func()) {
	t.Helper()
	have, err := diskFree(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "ballast")
	if err := os.WriteFile(name, make([]byte, have-free), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskRefusesBatchesAndTakesThemAgainWhenThereIsRoom(t *testing.T) {
	dir, here := ownDisk(t, "64m")
	if !here {
		return
	}
	const size = 100_000
	b := open(t, dir)
	l := shardLog(t, b, 0)
	fill(t, l, 0, 20, size)
	release := ballast(t, dir, 20<<20)
	last := uint64(20)
	var err error
	for err == nil {
		if _, err = l.Append(t.Context(), last, batch(last+1, size)); err == nil {
			last++
		}
	}
	wantErr(t, err, mailbox.ErrFull)
	wantErr(t, b.Recover(t.Context()), mailbox.ErrFull)
	wantErr(t, b.Health(), mailbox.ErrFull)
	if last < 50 {
		t.Fatalf("only %d batches found room", last)
	}
	wantLog(t, l, 1, last, size) // reading goes on
	if err := l.Purge(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	release()
	if err := b.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, l, last, last+10, size)
	wantLog(t, l, 10, last+10, size)
}

// Without the reserve the server itself meets the full disk: it fails, and
// nothing that was acknowledged is lost.
func TestAServerThatMetAFullDiskComesBack(t *testing.T) {
	dir, here := ownDisk(t, "24m")
	if !here {
		return
	}
	const size = 70_001
	b := open(t, dir, func(o *Options) { o.Reserve = -1 })
	l := shardLog(t, b, 0)
	fill(t, l, 0, 20, size)
	last := uint64(20)
	for round, spare := range []uint64{1 << 20, 10_000, 0, 9 << 20} {
		release := ballast(t, dir, spare)
		var err error
		for err == nil {
			if _, err = l.Append(t.Context(), last, batch(last+1, size)); err == nil {
				last++
			}
		}
		t.Logf("round %d, after %d: %v", round, last, err)
		if !errors.Is(err, mailbox.ErrUnknown) || errors.Is(err, mailbox.ErrFull) {
			t.Fatalf("got %v", err)
		}
		_, err = l.Append(t.Context(), last, batch(last+1, size))
		t.Logf("then: %v", err)
		wantErr(t, err, mailbox.ErrFull)
		if err := b.Recover(t.Context()); err != nil {
			t.Logf("recovery on the full disk: %v", err)
		} else {
			_, err = l.Append(t.Context(), last, batch(last+1, size))
			t.Logf("append after a recovery on the full disk: %v", err)
			if err == nil {
				last++
			}
		}
		release()
		if err := b.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, end, _, err := l.Bounds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if end < last || end > last+1 {
			t.Fatalf("%d was acknowledged, the log ends at %d", last, end)
		}
		wantLog(t, l, 1, end, size)
		fill(t, l, end, end+3, size)
		last = end + 3
		wantLog(t, l, 1, last, size)
	}
	if err := l.Purge(t.Context(), last-5); err != nil {
		t.Fatal(err)
	}
	wantLog(t, l, last-5, last, size)
}

func TestALogIsNotMadeOnAFullDisk(t *testing.T) {
	dir, here := ownDisk(t, "64m")
	if !here {
		return
	}
	release := ballast(t, dir, 4<<20)
	b := open(t, dir)
	_, err := b.Log(t.Context(), 0)
	wantErr(t, err, mailbox.ErrFull)
	release()
	fill(t, shardLog(t, b, 0), 0, 10, 100)
}
