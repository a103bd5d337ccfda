package nodetest

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// mover is one program of the relay: a process with its settings.
type mover struct {
	t      *testing.T
	kind   string // uploader, collector, network, maker
	config string

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended

	mu  sync.Mutex
	out strings.Builder
}

// startMover starts a program of the relay with settings, and waits until it is
// ready. It ends with the test.
func startMover(t *testing.T, kind, settings string) *mover {
	t.Helper()
	m := &mover{t: t, kind: kind, config: filepath.Join(t.TempDir(), kind+".yaml")}
	if err := os.WriteFile(m.config, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(func() {
		m.kill()
		if t.Failed() {
			t.Logf("%s:\n%s", kind, m.output())
		}
	})
	return m
}

// start runs the process, again after kill or stop, and waits until it is ready.
func (m *mover) start() {
	m.t.Helper()
	select {
	case <-m.launch():
	case <-m.done:
		m.t.Fatalf("%s ended before it was ready\n%s", m.kind, m.output())
	case <-time.After(Patience):
		m.t.Fatalf("%s was not ready in %s\n%s", m.kind, Patience, m.output())
	}
}

// launch runs the process. What it returns is closed when it is ready.
func (m *mover) launch() <-chan struct{} {
	m.t.Helper()
	m.cmd = exec.Command(Binary(m.t), "relay", m.kind, "--config", m.config)
	m.cmd.Env = append(environment(), "GORACE="+raceOptions)
	pipe, err := m.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	m.cmd.Stderr = m.cmd.Stdout
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	ready, done, cmd := make(chan struct{}), make(chan struct{}), m.cmd
	m.done = done
	go func() {
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			m.mu.Lock()
			m.out.WriteString(lines.Text() + "\n")
			m.mu.Unlock()
			if lines.Text() == "ready" {
				close(ready)
			}
		}
		_ = cmd.Wait() // its exit code is in its state
		close(done)
	}()
	return ready
}

func (m *mover) output() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.String()
}

// says returns what the process said last after a word at a line's beginning.
func (m *mover) says(word string) (value string) {
	for line := range strings.Lines(m.output()) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == word {
			value = fields[1]
		}
	}
	return value
}

// addr is the host:port at which the process listens.
func (m *mover) addr() string { return address(m.says("listen")) }

func (m *mover) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		m.t.Fatal(err)
	}
}

// kill ends the process as kill -9 does.
func (m *mover) kill() {
	m.t.Helper()
	m.signal(syscall.SIGKILL)
	<-m.done
}

// stop asks the process to stop and returns its exit code.
func (m *mover) stop() int {
	m.t.Helper()
	m.signal(syscall.SIGTERM)
	select {
	case <-m.done:
	case <-time.After(Patience):
		m.t.Fatalf("%s did not stop in %s\n%s", m.kind, Patience, m.output())
	}
	return m.cmd.ProcessState.ExitCode()
}

// drop puts a file into a folder as a service does: whole at once.
func drop(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	scratch := filepath.Join(dir, name+".tmp")
	err := os.WriteFile(scratch, content, 0o600)
	if err == nil {
		err = os.Rename(scratch, filepath.Join(dir, name))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lying returns the digests of the files in a folder by their names, hidden ones and
// folders left out.
func lying(t testing.TB, dir string) map[string][32]byte {
	t.Helper()
	files := map[string][32]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // taken meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = sha256.Sum256(content)
	}
	return files
}

// filesIn is how many files lie in a folder, without a look into them.
func filesIn(t testing.TB, dir string) (n int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			n++
		}
	}
	return n
}

// wantFiles fails unless a folder holds those files and no others.
func wantFiles(t testing.TB, where, dir string, want map[string][32]byte) {
	t.Helper()
	got := lying(t, dir)
	lost, torn, more := 0, 0, 0
	for name, sum := range want {
		if have, ok := got[name]; !ok {
			lost++
		} else if have != sum {
			torn++
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			more++
			t.Logf("%s: %s is one too many", where, name)
		}
	}
	if lost+torn+more > 0 {
		t.Errorf("%s: of %d files %d are lost, %d are not what was sent, %d are too many", where, len(want), lost, torn, more)
	}
}

// portsFor returns addresses' ports that are free now.
func portsFor(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// startNetwork starts a network server on a port that stays when it is started anew.
func startNetwork(t *testing.T, more string) (m *mover, at string) {
	t.Helper()
	ports := portsFor(t, 1)
	m = startMover(t, "network", fmt.Sprintf("server: {address: 127.0.0.1, port: %d}\ndata: %s\n%s", ports[0], t.TempDir(), more))
	return m, fmt.Sprintf("127.0.0.1:%d", ports[0])
}

// putFile sends a file as any HTTP client does.
func putFile(t testing.TB, client *http.Client, addr, name, content string) (status int, err error) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+addr+"/"+name, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	_ = answer.Body.Close() // its status is what counts
	return answer.StatusCode, nil
}
