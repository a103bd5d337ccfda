package nodetest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/faultfs"
)

// worldVariable is set in a test's second process, see ownWorld.
const worldVariable = "NODETEST_OWN_WORLD"

// ownWorld runs the rest of the test in a process that has its own mounts, its
// own network and its own process IDs, so that whatever the test mounts,
// connects and starts goes with it, however it ends, and nothing of the machine
// is touched. In the first process here is false when that is done. Who is not
// root does it in a user namespace.
func ownWorld(t *testing.T) (here bool) {
	t.Helper()
	Alone(t, ReasonWorld)
	if os.Getenv(worldVariable) != "" {
		furnishWorld(t)
		return true
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v"}
	for _, arg := range os.Args[1:] {
		if strings.HasPrefix(arg, "-fault.") || strings.HasPrefix(arg, "-test.short") {
			args = append(args, arg)
		}
	}
	child := exec.Command(os.Args[0], args...)
	child.Env = append(os.Environ(), worldVariable+"=1", binaryVariable+"="+Binary(t))
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Getuid() != 0 {
		child.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		child.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	child.Stderr = child.Stdout
	// The child is killed when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := child.Start(); err != nil {
		t.Fatalf("start a process with mounts and a network of its own, which needs root or user namespaces: %v", err)
	}
	passed := echo(t, out)
	if err := child.Wait(); err != nil || !passed {
		t.Fatalf("in a world of its own: %v", err)
	}
	return false
}

// echo logs what the test's second process prints, as it comes, and says whether
// the test passed there.
func echo(t *testing.T, out io.Reader) (passed bool) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		passed = passed || strings.HasPrefix(line, "--- PASS: "+t.Name()+" ")
		if strings.TrimSpace(line) != "" {
			t.Log("| " + line)
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	return passed
}

// furnishWorld makes a new world fit to live in.
func furnishWorld(t *testing.T) {
	t.Helper()
	// What is mounted here is not to be seen outside.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatalf("make the mounts private: %v", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		t.Fatalf("mount /proc: %v", err)
	}
	command(t, "ip", "link", "set", "lo", "up")
}

// command runs a program of the system, which must succeed.
func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// disk is a faultfs.Disk in the place where a server keeps its data, and what
// replaces it after a power cut.
type disk struct {
	*faultfs.Disk
	t       *testing.T
	dir     string
	unmount func() error // nil when nothing is mounted
}

const diskSize = 4 << 30

// newDisk mounts an empty disk, until the test ends.
func newDisk(t *testing.T, rule faultfs.Rule) *disk {
	t.Helper()
	d := &disk{t: t, dir: t.TempDir()}
	d.mount(faultfs.New(rule, diskSize))
	t.Cleanup(d.remove)
	return d
}

// data is the folder for the server.
func (d *disk) data() string { return filepath.Join(d.dir, "data") }

func (d *disk) mount(f *faultfs.Disk) {
	d.t.Helper()
	unmount, err := f.Mount(d.dir)
	if err != nil {
		d.t.Fatalf("%v: a disk that fails on command needs /dev/fuse, and root where only root may open it", err)
	}
	d.Disk, d.unmount = f, unmount
}

func (d *disk) remove() {
	d.t.Helper()
	if d.unmount == nil {
		return
	}
	if err := d.unmount(); err != nil {
		d.t.Error(err)
	}
	d.unmount = nil
}

// cable is a virtual one: the servers are at its far end, in a network of
// their own.
type cable struct {
	t      *testing.T
	holder *exec.Cmd // keeps the far network
}

const (
	nearEnd, nearAddress = "sb0", "10.77.0.1"
	farEnd, farAddress   = "sb1", "10.77.0.2"
)

// newCable lays the cable, in the test's own world. It goes with the test.
func newCable(t *testing.T) *cable {
	t.Helper()
	c := &cable{t: t, holder: exec.Command("sleep", "infinity")}
	c.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := c.holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.holder.Process.Kill() // it does not end by itself
		_ = c.holder.Wait()         // killed: always an error
	})
	command(t, "ip", "link", "add", nearEnd, "type", "veth", "peer", "name", farEnd, "netns", fmt.Sprint(c.holder.Process.Pid))
	command(t, "ip", "addr", "add", nearAddress+"/24", "dev", nearEnd)
	t.Cleanup(func() { command(t, "ip", "link", "del", nearEnd) }) // by itself it goes only some time later
	c.set("up")
	for _, args := range []string{"addr add " + farAddress + "/24 dev " + farEnd, "link set " + farEnd + " up", "link set lo up"} {
		words := append(c.inside(), "ip")
		words = append(words, strings.Fields(args)...)
		command(t, words[0], words[1:]...)
	}
	return c
}

// inside are the words before a command that runs at the far end.
func (c *cable) inside() []string {
	return []string{"nsenter", "--net=/proc/" + fmt.Sprint(c.holder.Process.Pid) + "/ns/net", "--"}
}

// set cuts the cable ("down") or mends it ("up").
func (c *cable) set(state string) {
	c.t.Helper()
	command(c.t, "ip", "link", "set", nearEnd, state)
}
