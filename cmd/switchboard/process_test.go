package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
)

// These run the program as operators do: a process, its signals, its exit code.

func TestAProcessServesAndStopsOnASignal(t *testing.T) {
	s := nodetest.Start(t)
	if out := s.Output(); !strings.Contains(out, "demo") || !strings.Contains(out, "app-id-343") {
		t.Errorf("it does not say that it serves the demo app:\n%s", out)
	}
	if code := s.Stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.Output())
	}
	if out := s.Output(); strings.Count(out, "stopping") != 1 || !strings.HasSuffix(out, "msg=stopped\n") {
		t.Errorf("it does not say once that it stops, and last that it has:\n%s", out)
	}
}

func TestAProcessReadsItsSettingsAgainOnHangup(t *testing.T) {
	file := settingsFile(t, "limits: {sessionsPerUser: 5}\n")
	s := nodetest.Start(t, "--config", file)
	rewrite(t, file, "limits: {sessionsPerUser: five}\n")
	s.Signal(syscall.SIGHUP)
	nodetest.Eventually(t, "the bad settings are refused", func() bool {
		return strings.Contains(s.Output(), `limits.sessionsPerUser: \"five\" is not a whole number`)
	})
	rewrite(t, file, "limits: {sessionsPerUser: 6}\n")
	s.Signal(syscall.SIGHUP)
	nodetest.Eventually(t, "the good settings are taken", func() bool {
		return strings.Contains(s.Output(), `msg="new settings are in effect" keys=[limits.sessionsPerUser]`)
	})
	if strings.Contains(s.Output(), "settings read again") {
		t.Errorf("it says twice that the settings are new:\n%s", s.Output())
	}
	if code := s.Stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.Output())
	}
}

func TestASecondProcessIsRefusedTheSameFolderAndTheSamePort(t *testing.T) {
	s := nodetest.Start(t)
	for say, args := range map[string][]string{
		s.Data:                       {"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", s.Data},
		"--listen another address\n": {"--listen", s.Addr, "--admin", "127.0.0.1:0", "--data", t.TempDir()},
	} {
		out, err := exec.CommandContext(t.Context(), nodetest.Binary(t), append([]string{"serve"}, args...)...).CombinedOutput()
		last := string(out[strings.LastIndexByte(strings.TrimSpace(string(out)), '\n')+1:])
		if exitCode(err) != "1" || !strings.HasPrefix(last, "switchboard: serve: ") || !strings.Contains(last, say) {
			t.Errorf("%s: exit code %s\n%s", say, exitCode(err), out)
		}
	}
	if code := s.Stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.Output())
	}
}
