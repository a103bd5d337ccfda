package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const unit = "../systemd/switchboard.service"

// exposure is the most of ten that systemd may find the unit exposed. What remains is the network, and that it shares the
// machine's processes and files to read.
const exposure = "1.5"

// analyze runs systemd-analyze, which needs no systemd that runs.
func analyze(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze %v (Debian's package systemd): %v\n%s", args, err, out)
	}
	return string(out)
}

func TestTheUnitIsGoodAndShutIn(t *testing.T) {
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	// It is to find the program where it is here.
	const installed = "ExecStart=/usr/local/bin/switchboard "
	if !strings.Contains(string(text), installed) {
		t.Fatalf("there is no %s", installed)
	}
	here := strings.Replace(string(text), installed, "ExecStart="+binary(t)+" ", 1)
	file := write(t, filepath.Join(t.TempDir(), "switchboard.service"), here)
	if said := analyze(t, "verify", "--man=no", file); strings.Contains(said, "switchboard") {
		t.Errorf("systemd says of the unit:\n%s", said)
	}
	bad := write(t, filepath.Join(t.TempDir(), "switchboard.service"), here+"\n[Service]\nProtectEverything=yes\n")
	if said := analyze(t, "verify", "--man=no", bad); !strings.Contains(said, "ProtectEverything") {
		t.Errorf("systemd says nothing of a key that it does not know:\n%s", said)
	}
	analyze(t, "security", "--offline=true", "--threshold="+strings.Replace(exposure, ".", "", 1), file)
}
