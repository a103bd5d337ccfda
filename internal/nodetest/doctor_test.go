package nodetest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// A proxy that passes bytes on keeps the proof; one that speaks WebSocket
// itself answers pings, and doctor says so.
func TestDoctorFindsAProxyThatAnswersPings(t *testing.T) {
	t.Parallel()
	s := Start(t, "--set", "limits.proofTimeout=1s")
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		relay(w, r, "ws://"+s.Addr+"/ws")
	}))
	defer proxy.Close()

	out, err := exec.Command(Binary(t), "doctor", "--url", "ws://"+s.Addr+"/ws").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "good: nobody on the way answers pings") {
		t.Fatalf("straight to the server: %v\n%s", err, out)
	}
	impatient := exec.Command(Binary(t), "doctor", "--url", "ws://"+s.Addr+"/ws", "--timeout", "300ms")
	out, err = impatient.CombinedOutput()
	if code := impatient.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "give --timeout more than the server's proofTimeout") {
		t.Fatalf("without the time that it needs: %v, exit code %d\n%s", err, code, out)
	}
	cmd := exec.Command(Binary(t), "doctor", "--url", "ws"+strings.TrimPrefix(proxy.URL, "http")+"/ws")
	out, err = cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "answers its pings") {
		t.Fatalf("through a proxy that answers pings: %v, exit code %d\n%s", err, code, out)
	}
}

// relay ends the client's WebSocket here and has one of its own to the server.
func relay(w http.ResponseWriter, r *http.Request, to string) {
	near, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer near.CloseNow()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	far, _, err := websocket.Dial(ctx, to, nil)
	if err != nil {
		return
	}
	defer far.CloseNow()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		pass(ctx, near, far)
	}()
	pass(ctx, far, near)
	cancel()
	<-done
}

func pass(ctx context.Context, from, to *websocket.Conn) {
	for {
		kind, b, err := from.Read(ctx)
		if err != nil || to.Write(ctx, kind, b) != nil {
			return
		}
	}
}
