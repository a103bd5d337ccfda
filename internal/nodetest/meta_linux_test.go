package nodetest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/faultfs"
)

// metaServer is a meta server on a disk that fails on command.
type metaServer struct {
	t   *testing.T
	cmd *exec.Cmd

	mu  sync.Mutex
	out strings.Builder
}

// Write implements io.Writer.
func (m *metaServer) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.Write(p)
}

func (m *metaServer) output() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.String()
}

// startMeta starts one that looks at its file when it is told to.
func startMeta(t *testing.T, config, data string) *metaServer {
	t.Helper()
	m := &metaServer{t: t, cmd: exec.Command(Binary(t), "meta", "--config", config, "--data", data, "--listen", "127.0.0.1:0", "--every", "1h")}
	m.cmd.Stdout, m.cmd.Stderr = m, m
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if m.cmd.ProcessState == nil {
			_ = m.cmd.Process.Kill()
			_ = m.cmd.Wait() // it was killed
		}
	})
	Eventually(t, "the meta server is ready", func() bool { return strings.Contains(m.output(), "\nready\n") })
	return m
}

// graph returns what is served.
func (m *metaServer) graph() string {
	m.t.Helper()
	_, after, _ := strings.Cut(m.output(), "network   ")
	url, _, _ := strings.Cut(after, "\n")
	answer, err := http.Get(url)
	if err != nil {
		m.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(body)
}

// describeNetwork writes a description that has a number in its only domain's name.
func describeNetwork(t *testing.T, path string, number int) {
	t.Helper()
	text := fmt.Sprintf("domains: [{name: d%d, urls: ['ws://127.0.0.1:1']}]\n", number)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever the meta server has served is there after a power cut, under the same
// version; a description that was on its way is there whole or not at all.
func TestAPowerCutLeavesTheMetaServerItsLastGoodCopy(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	const rounds = 12
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	for _, rule := range []faultfs.Rule{faultfs.Strict, faultfs.Journaled} {
		d := newDisk(t, rule)
		folder := t.TempDir()
		good, bad := filepath.Join(folder, "good.yaml"), filepath.Join(folder, "bad.yaml")
		if err := os.WriteFile(bad, []byte("domains: []\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for round := range rounds {
			describeNetwork(t, good, 2*round)
			m := startMeta(t, good, d.data())
			served := m.graph()
			// The next one is on its way when the power goes.
			describeNetwork(t, good, 2*round+1)
			if err := m.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			// It is read twice, 100 ms apart, before it is written.
			<-time.After(90*time.Millisecond + time.Duration(chance.Int64N(int64(40*time.Millisecond))))
			late := m.graph()
			d.cut(m.cmd.Process, func() { _ = m.cmd.Wait() }, chance, faultfs.Survival(chance.IntN(3)))

			m = startMeta(t, bad, d.data()) // which leaves nothing but the copy to serve
			left := m.graph()
			next := strings.Contains(left, fmt.Sprintf(`"d%d"`, 2*round+1))
			if left != late && (late != served || !next) || strings.Contains(m.output(), "passed over") {
				t.Errorf("%v, round %d: served was\n%s\nand left is\n%s\n%s", rule, round, late, left, m.output())
			}
			if err := m.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = m.cmd.Wait() // it was killed
		}
		d.remove()
	}
}
