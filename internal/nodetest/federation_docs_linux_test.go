package nodetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// freePorts returns three digits: the ports that begin with them, go on with 0 or 1, and
// end with 0 to 3 are free.
func freePorts(t *testing.T) string {
	t.Helper()
	for range 100 {
		digits, free := fmt.Sprint(200+rand.IntN(100)), true
		for i := range 8 {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%s%d%d", digits, i/4, i%4))
			if err != nil {
				free = false
				continue
			}
			l.Close()
		}
		if free {
			return digits
		}
	}
	t.Fatal("no ports are free")
	return ""
}

// The recipe runs as printed, but for its ports.
func TestThreeDomainsComeUpOnOneMachineAsThePageSays(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	page := ReadCheckout(t, "docs/domains.md")
	_, script, found := strings.Cut(page, "<!-- example: three -->\n```bash\n")
	script, rest, ended := strings.Cut(script, "```\n")
	_, said, shown := strings.Cut(rest, "```\n")
	said, _, closed := strings.Cut(said, "```")
	if !found || !ended || !shown || !closed {
		t.Fatal("docs/domains.md has no example, or does not say what it prints")
	}
	digits := freePorts(t)
	script = strings.NewReplacer("127.0.0.1:810", "127.0.0.1:"+digits+"0", "127.0.0.1:820", "127.0.0.1:"+digits+"1").Replace(script)

	path := t.TempDir()
	if err := os.Symlink(Binary(t), filepath.Join(path, "switchboard")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	run := exec.CommandContext(ctx, "bash", "-e", "-c", "trap 'kill $(jobs -p); wait' EXIT\n"+script)
	run.Dir, run.Env = t.TempDir(), append(environment(), "PATH="+path+":"+os.Getenv("PATH"))
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run.Cancel = func() error { return syscall.Kill(-run.Process.Pid, syscall.SIGKILL) }
	printed, err := run.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	changing := regexp.MustCompile(`version \d+|since \S+,`)
	if want := changing.ReplaceAllString(said, "*"); !strings.Contains(changing.ReplaceAllString(string(printed), "*"), want) {
		t.Errorf("it printed\n%s\nand the page says\n%s", printed, said)
	}
}
