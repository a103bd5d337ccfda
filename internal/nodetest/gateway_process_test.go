package nodetest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// serviceLetter, in the environment, makes this test binary an instance of a service of
// the load, to be frozen and killed as a process.
const serviceLetter = "NODETEST_SERVICE"

// serveInstance is what such a process does: it says where it listens, and serves until it
// is killed.
func serveInstance(letter string) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("http://" + l.Addr().String())
	fmt.Println(http.Serve(l, answersOK(letter)))
	return 1
}

// startInstance starts one, as a stand-in whose server is elsewhere. It ends with the test.
func startInstance(t *testing.T, service, name string) (*standIn, *os.Process) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serviceLetter+"="+service[:1])
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()         // it was killed
	})
	line, err := bufio.NewReader(pipe).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "http://") {
		t.Fatalf("the instance says %q, %v", line, err)
	}
	return &standIn{name: name, url: strings.TrimSpace(line)}, cmd.Process
}

// signal sends a signal to processes.
func signal(t *testing.T, s syscall.Signal, all []*os.Process) {
	t.Helper()
	for _, p := range all {
		if err := p.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
}
