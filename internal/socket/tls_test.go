package socket

import (
	"bufio"
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// tlsRig is a rig whose server speaks TLS, and a way to connect to it.
func tlsRig(t *testing.T) (r *rig, dial func() *peer) {
	t.Helper()
	r = newRig(t)
	r.stop()
	var err error
	if r.srv, err = New(Options{Keeper: r.keeper, Hub: r.hub, Gate: r.gate, Limits: r.currentLimits, Now: r.clock.Now, Ticks: r.clock.Ticks}); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(r.srv)
	web.StartTLS()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = r.srv.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		done.Wait()
		web.Close()
	})
	t.Cleanup(r.stop)
	config := web.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	return r, func() *peer {
		conn, err := tls.Dial("tcp", web.Listener.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		p := &peer{t: t, conn: conn, br: bufio.NewReader(conn)}
		p.write([]byte("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
		p.deadline()
		for line := ""; line != "\r\n"; {
			if line, err = p.br.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		return p
	}
}

func TestSessionsOverTLS(t *testing.T) {
	r, dial := tlsRig(t)
	p := dial()
	p.signIn("ANZ-7", "")
	r.expect("open ANZ-7")
	r.deliver(1, message(50_000))
	p.text(string(message(50_000)))
	p.next(finPing)
	p.pong("1")
	r.expect("prove 1")
	p.write(frame(finText, make([]byte, 200<<10)))
	p.closed(wire.CloseTooBig)
	r.expect("close ANZ-7")
}

func TestPeerThatDoesNotReadOverTLSIsCutOff(t *testing.T) {
	r, dial := tlsRig(t)
	r.limit(func(l *Limits) { l.QueueBytes = 64 << 20 })
	p := dial()
	p.signIn("ANZ-7", "")
	s := r.session()
	for s.Fast(message(60_000), nil) && !stuck(s) {
	}
	r.hangs(s)
	begin := time.Now()
	r.clock.advance(11 * time.Second)
	r.expect("open ANZ-7")
	r.expect("close ANZ-7")
	r.stop()
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("closing took %v", took)
	}
}
