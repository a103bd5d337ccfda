package check

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	const start = "ExecStart=/usr/local/bin/switchboard "
	if !strings.Contains(string(text), start) {
		t.Fatalf("there is no %s", start)
	}
	here := strings.Replace(string(text), start, "ExecStart="+binary(t)+" ", 1)
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

// installed is what docs/deploy.md says to do, and what is to be seen then.
const installed = `
say() { printf '%s=%s\n' "$1" "$2"; }
healthy() {
	for _ in $(seq 300); do switchboard health --data /var/lib/switchboard >/dev/null 2>&1 && break; sleep 0.1; done
	switchboard health --data /var/lib/switchboard 2>&1
}
ip link set lo up
systemd-sysusers >/dev/null 2>&1
install -d -m 750 -g switchboard /etc/switchboard
switchboard config init /etc/switchboard/switchboard.yaml >/dev/null && chgrp switchboard /etc/switchboard/switchboard.yaml && chmod 640 /etc/switchboard/switchboard.yaml
install -m 600 /dev/null /etc/switchboard/environment
echo SWITCHBOARD_LIMITS_FRAME=96KiB >/etc/switchboard/environment
systemctl daemon-reload && systemctl start switchboard
say started "$(healthy)"
pid=$(systemctl show -p MainPID --value switchboard)
for key in Uid CapEff CapBnd NoNewPrivs Seccomp; do say $key "$(grep "^$key:" /proc/$pid/status | cut -f2)"; done
say user "$(id -u switchboard)"
say files "$(systemctl show -p LimitNOFILE --value switchboard)"
say folder "$(stat -c '%U %a' /var/lib/switchboard)"
say environment "$(tr '\0' '\n' </proc/$pid/environ | grep FRAME)"
say reload "$(systemctl reload switchboard 2>&1 && healthy)"
kill -9 $pid
for _ in $(seq 300); do [ "$(systemctl show -p NRestarts --value switchboard)" = 1 ] && break; sleep 0.1; done
say restarted "$(healthy)"
systemctl stop switchboard
say stopped "$(systemctl show -p Result,ExecMainStatus --value switchboard | tr '\n' ' ')"
say time "$(systemctl show -p TimeoutStopUSec --value switchboard)"

# What a drop-in gives back: a port below 1024, and a secret that settings name.
printf 'listen: 127.0.0.1:80\napps: [{appName: SHOP, appId: shop-1, jwt: {secret: {secret: SHOP_JWT}}}]\n' >/etc/switchboard/switchboard.yaml
install -m 600 /dev/null /etc/switchboard/SHOP_JWT
echo jjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjj >/etc/switchboard/SHOP_JWT
mkdir /etc/systemd/system/switchboard.service.d
printf '[Service]\n%s' "$DROP_IN" >/etc/systemd/system/switchboard.service.d/override.conf
systemctl daemon-reload && systemctl start switchboard
say dropped "$(healthy)"
say low "$(switchboard health --url http://127.0.0.1:80 2>&1)"
systemctl stop switchboard
`

// A systemd of the test's own runs the unit, installed and changed as docs/deploy.md says.
func TestTheUnitRunsUnderSystemd(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	var dropIn strings.Builder
	for _, row := range []string{"| a port below 1024 | ", "| `{secret: SHOP_JWT}` in the settings | "} {
		_, rest, found := strings.Cut(string(page), row)
		lines := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(strings.SplitN(rest, "\n", 2)[0], -1)
		if !found || len(lines) == 0 {
			t.Fatalf("docs/deploy.md has no drop-in for %s", row)
		}
		for _, line := range lines {
			dropIn.WriteString(line[1] + "\n")
		}
	}
	folder := t.TempDir()
	for from, to := range map[string]string{
		binary(t): "/usr/local/bin/switchboard", unit: "/etc/systemd/system/switchboard.service", "../systemd/switchboard.sysusers": "/usr/lib/sysusers.d/switchboard.conf",
	} {
		copyFile(t, from, filepath.Join(folder, "files", to))
	}
	if err := errors.Join(os.Chmod(filepath.Join(folder, "files/usr/local/bin/switchboard"), 0o755), os.Mkdir(filepath.Join(folder, "machine"), 0o755)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "try.sh"), "DROP_IN='"+dropIn.String()+"'\n"+installed)
	cmd := exec.Command("bash", "systemd.sh", folder)
	cmd.SysProcAttr = endsWithUs()
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	is := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		is[key] = value
	}
	for key, want := range map[string]string{
		"started": "ready", "Uid": is["user"], "CapEff": strings.Repeat("0", 16), "CapBnd": strings.Repeat("0", 16), "NoNewPrivs": "1", "Seccomp": "2",
		"files": "1048576", "folder": "switchboard 700", "environment": "SWITCHBOARD_LIMITS_FRAME=96KiB", "reload": "ready", "restarted": "ready",
		"stopped": "success 0", "time": "45s", "dropped": "ready", "low": "ready",
	} {
		if got := strings.TrimSpace(is[key]); got != want || want == "0" {
			t.Errorf("%s is %q, not %q", key, got, want)
		}
	}
	if t.Failed() {
		t.Logf("%s", text)
	}
}
