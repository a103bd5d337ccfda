package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is who PostgreSQL runs as, which refuses to be root.
const nobody = 65534

// patience is how long something asynchronous may take on a machine that is busy.
const patience = 90 * time.Second

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "enter" {
		fmt.Fprintln(os.Stderr, enter(os.Args[2]))
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(shipped.root); err != nil && shipped.root != "" {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// engine runs boxes in one network.
type engine struct {
	t     *testing.T
	name  string // of the network
	names map[string][]net.IP
	made  int
}

// newEngine makes a network that no other machine, and not even this one, is in.
func newEngine(t *testing.T) *engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes namespaces, mounts and users: run it as root")
	}
	e := &engine{t: t, name: fmt.Sprintf("sbd%d-%d", os.Getpid(), time.Now().UnixNano()%1e6), names: map[string][]net.IP{}}
	e.ip("netns add %s", e.name)
	t.Cleanup(func() { e.ip("netns del %s", e.name) })
	e.ip("-n %s link add lan type bridge", e.name)
	e.ip("-n %s link set lan up", e.name)
	return e
}

func (e *engine) ip(format string, args ...any) {
	e.t.Helper()
	line := fmt.Sprintf(format, args...)
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		e.t.Fatalf("ip %s: %v\n%s", line, err, out)
	}
}

// host makes a host of the network, which the others find by these names, and returns its
// network namespace.
func (e *engine) host(names ...string) string {
	e.t.Helper()
	e.made++
	address := net.IPv4(10, 88, 0, byte(e.made))
	space := fmt.Sprintf("%s-%d", e.name, e.made)
	e.ip("netns add %s", space)
	e.t.Cleanup(func() { e.ip("netns del %s", space) })
	e.ip("-n %s link add port%d type veth peer name eth0 netns %s", e.name, e.made, space)
	e.ip("-n %s link set port%d master lan up", e.name, e.made)
	e.ip("-n %s addr add %s/24 dev eth0", space, address)
	e.ip("-n %s link set eth0 up", space)
	e.ip("-n %s link set lo up", space)
	for _, name := range names {
		e.names[name] = append(e.names[name], address)
	}
	return space
}

// hosts writes the file of hosts of all that are there.
func (e *engine) hosts() string {
	return write(e.t, filepath.Join(e.t.TempDir(), "hosts"), addresses(e.names))
}

// write writes a file that everybody may read.
func write(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// process is a box that runs.
type process struct {
	box
	t    *testing.T
	cmd  *exec.Cmd
	said *bytes.Buffer
	done chan struct{}
}

// command makes a command of a box.
func (b box) command(t *testing.T) *exec.Cmd {
	t.Helper()
	spec, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "enter", string(spec))
	cmd.SysProcAttr = endsWithUs()
	return cmd
}

// endsWithUs has a process end when the tests do, however that comes.
func endsWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// start starts a box, which is killed when the test ends.
func (b box) start(t *testing.T) *process {
	t.Helper()
	p := &process{box: b, t: t, cmd: b.command(t), said: &bytes.Buffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // stop looks at how it ended
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s:\n%s", b.Host, p.said)
		}
	})
	return p
}

// exec runs another command in the box.
func (b box) exec(t *testing.T, args ...string) (string, error) {
	t.Helper()
	b.Args = args
	out, err := b.command(t).CombinedOutput()
	return string(out), err
}

// wantSettings wants of the settings that a node in the box would get that they are good.
func (b box) wantSettings(t *testing.T) {
	t.Helper()
	file := b.Args[slices.Index(b.Args, "--config")+1]
	if out, err := b.exec(t, "/bin/switchboard", "config", "check", file); err != nil || !strings.Contains(out, ": good: ") {
		t.Errorf("%s: config check %s: %v\n%s", b.Host, file, err, out)
	}
}

// healthy waits until a command in the box succeeds.
func (p *process) healthy(args ...string) {
	p.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		out, err := p.exec(p.t, args...)
		if err == nil {
			return
		}
		select {
		case <-p.done:
			p.t.Fatalf("%s has ended", p.Host)
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is not healthy: %v\n%s", p.Host, err, out)
		}
	}
}

// stop stops all as engines do, and wants that they end by themselves, and well.
func stop(t *testing.T, all ...*process) {
	t.Helper()
	for _, p := range all {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("%s: %v", p.Host, err)
		}
	}
	for _, p := range all {
		select {
		case <-p.done:
		case <-time.After(patience):
			t.Fatalf("%s does not end", p.Host)
		}
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s ended with %d", p.Host, code)
		}
	}
}
