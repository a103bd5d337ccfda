package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
)

// metaProcess is a meta server that runs as operators run it.
type metaProcess struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err text
}

// startMeta starts one, and waits until it serves.
func startMeta(t *testing.T, args ...string) *metaProcess {
	t.Helper()
	p := &metaProcess{t: t, cmd: exec.Command(nodetest.Binary(t), append([]string{"meta", "--listen", "127.0.0.1:0", "--every", "1h"}, args...)...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait() // it was killed
		}
	})
	p.out.await(t, "ready\n")
	return p
}

// graph returns what it serves.
func (p *metaProcess) graph() string {
	p.t.Helper()
	_, after, _ := strings.Cut(p.out.String(), "network   ")
	url, _, _ := strings.Cut(after, "\n")
	answer, err := http.Get(url)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(body)
}

// end sends a signal and returns the exit code.
func (p *metaProcess) end(sig os.Signal) string {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	return exitCode(p.cmd.Wait())
}

func TestAMetaServerLooksAgainOnHangupAndServesItsLastGoodCopyAfterAnyEnd(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "network.yaml")
	args := []string{"--config", file, "--data", filepath.Join(folder, "data")}
	rewrite(t, file, "domains: [{name: first, urls: ['ws://127.0.0.1:1']}]\n")
	p := startMeta(t, args...)

	rewrite(t, file, "domains: [{name: second, urls: ['ws://127.0.0.1:1']}]\n")
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	nodetest.Eventually(t, "the new description is served", func() bool { return strings.Contains(p.graph(), "second") })
	served := p.graph()
	rewrite(t, file, "domains: []\n")
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.err.await(t, "the description is refused: the last good one stays")
	if got := p.graph(); got != served {
		t.Errorf("it serves\n%s\nand before\n%s", got, served)
	}
	if code := p.end(syscall.SIGKILL); code != "-1" {
		t.Errorf("killed, its exit code is %s", code)
	}

	p = startMeta(t, args...)
	p.err.await(t, "the description is refused: the last good one stays")
	if got := p.graph(); got != served {
		t.Errorf("after the kill it serves\n%s\nand before\n%s", got, served)
	}
	if code := p.end(syscall.SIGTERM); code != "0" || !strings.Contains(p.err.String(), "msg=stopped") {
		t.Errorf("exit code %s\n%s", code, p.err.String())
	}
}
