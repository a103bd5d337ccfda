package nodetest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// natsProgram builds the NATS server of the version that is embedded, as a program
// of its own.
var natsProgram = sync.OnceValues(func() (string, error) {
	return buildProgram("nats-server", "github.com/nats-io/nats-server/v2")
})

// NATS is a NATS server that is there before the nodes, and none of theirs. It
// stores in a folder, and syncs whatever it stores before it says so.
type NATS struct {
	URL    string
	System string // URL of a user of its system account

	t    testing.TB
	file string // its settings
	addr string
	cmd  *exec.Cmd
	out  string // where it prints to
}

// StartNATS starts one, which ends with the test.
func StartNATS(t testing.TB) *NATS { return startNATS(t, "sync_interval: always") }

// startNATS starts one whose streams are set up so.
func startNATS(t testing.TB, streams string) *NATS {
	t.Helper()
	dir := t.TempDir()
	addr := freeAddress(t)
	n := &NATS{t: t, URL: "nats://" + addr, System: "nats://system:sesame@" + addr, addr: addr, file: filepath.Join(dir, "nats.conf"), out: filepath.Join(dir, "nats.log")}
	text := fmt.Sprintf("listen: %q\nserver_name: outside\nmax_payload: 8MB\njetstream {store_dir: %q, %s}\n", addr, filepath.Join(dir, "store"), streams) +
		"accounts {$SYS {users: [{user: system, password: sesame}]}, ours {jetstream: enabled, users: [{user: us, password: us}]}}\nno_auth_user: us\n"
	if err := os.WriteFile(n.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.Start()
	t.Cleanup(n.Kill)
	return n
}

// Start runs it, also again, and waits until it takes connections.
func (n *NATS) Start() {
	n.t.Helper()
	path, err := natsProgram()
	if err != nil {
		n.t.Fatal(err)
	}
	out, err := os.OpenFile(n.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer out.Close()
	n.cmd = exec.Command(path, "-c", n.file)
	n.cmd.Stdout, n.cmd.Stderr = out, out
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	Eventually(n.t, "the NATS server takes connections", func() bool {
		c, err := net.DialTimeout("tcp", n.addr, time.Second)
		if err != nil {
			return false
		}
		_ = c.Close() // it was only to be seen
		return true
	})
}

// Kill ends it at once.
func (n *NATS) Kill() {
	if n.cmd.ProcessState != nil {
		return
	}
	_ = n.cmd.Process.Kill() // it may have ended by itself
	_ = n.cmd.Wait()         // killed: always an error
}
