package nodetest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
)

// The environment of a receiver: a client in a process of its own.
const (
	receiverURL     = "NODETEST_RECEIVER_URL"
	receiverUser    = "NODETEST_RECEIVER_USER"
	receiverOptions = "NODETEST_RECEIVER_OPTIONS"
)

// receive is what the receiver's process does: it signs in, says so, and reads
// until the connection ends.
func receive(url, user, options string) int {
	ctx := context.Background()
	ws, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer ws.CloseNow()
	if err := ws.Write(ctx, websocket.MessageText, []byte(authFrame("app-id-343", user, options))); err != nil {
		fmt.Println(err)
		return 1
	}
	for {
		_, b, err := ws.Read(ctx)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		var f Frame
		if json.Unmarshal(b, &f) == nil && f.Type == "AUTH_CLIENT_REPLY" {
			fmt.Println("signed in", f.Field("isAuthenticated"))
		}
	}
}

// receiver is a client in a process of its own.
type receiver struct {
	t   *testing.T
	cmd *exec.Cmd
}

// startReceiver starts a receiver, which is signed in when this returns. It
// ends with the test.
func startReceiver(t *testing.T, s *Server, user, options string) *receiver {
	t.Helper()
	r := &receiver{t: t, cmd: exec.Command(os.Args[0])}
	r.cmd.Env = append(os.Environ(), receiverURL+"=ws://"+s.Addr+"/ws", receiverUser+"="+user, receiverOptions+"="+options)
	pipe, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill)
	line, err := bufio.NewReader(pipe).ReadString('\n')
	if err != nil || line != "signed in true\n" {
		t.Fatalf("the receiver said %q, %v", line, err)
	}
	return r
}

// stop halts the process (SIGSTOP): its connection stays, its kernel goes on
// taking bytes, and it answers nothing.
func (r *receiver) stop() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		r.t.Fatal(err)
	}
	Eventually(r.t, "the receiver is stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
		if err != nil {
			r.t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(rest, "T")
	})
}

// kill ends the process at once.
func (r *receiver) kill() {
	if r.cmd.ProcessState != nil {
		return
	}
	_ = r.cmd.Process.Kill() // it may have ended by itself
	_ = r.cmd.Wait()         // killed: always an error
}
