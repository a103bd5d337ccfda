package nodetest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Settings writes a settings file for a test and returns its path, for
// `--config`.
func Settings(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "switchboard.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Reload writes the settings file anew and has the process read it (SIGHUP). It
// does not wait for the effect. Of several nodes each has a file of its own with
// the same text, whatever path says.
func (s *Server) Reload(path, text string) {
	s.t.Helper()
	if s.nodes != nil {
		for _, n := range s.nodes {
			n.Reload(n.config, text+n.extra)
		}
		return
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.Signal(syscall.SIGHUP)
}
