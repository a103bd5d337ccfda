package nodetest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// answering is a listener that hands every connection to serve, until the test
// ends.
func answering(t *testing.T, serve func(*net.TCPConn)) (addr string, end func()) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			serve(c)
		}
	}()
	end = func() {
		_ = l.Close() // it may be closed already
		<-done
	}
	t.Cleanup(end)
	return l.Addr().String(), end
}

// naming answers each connection with a line and ends it.
func naming(t *testing.T, name string) (addr string, end func()) {
	return answering(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, name+"\n") // whoever has left does not want it
		_ = c.Close()
	})
}

func TestTheFrontTakesTheServersInTurnAndPassesOverThoseThatAreGone(t *testing.T) {
	t.Parallel()
	one, _ := naming(t, "one")
	two, end := naming(t, "two")
	three, _ := naming(t, "three")
	f := StartFront(t, one, two, three)
	come := func(n int) map[string]int {
		seen := make(map[string]int)
		for range n {
			p := dialTCP(t, f.Addr)
			line, err := p.r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			seen[line[:len(line)-1]]++
			p.conn.Close()
		}
		return seen
	}
	if seen := come(9); seen["one"] != 3 || seen["two"] != 3 || seen["three"] != 3 {
		t.Errorf("nine connections came to %v", seen)
	}
	end()
	if seen := come(9); seen["one"]+seen["three"] != 9 || seen["one"] == 0 || seen["three"] == 0 {
		t.Errorf("nine connections came to %v, and two is gone", seen)
	}
}

// Whoever has said all may still listen.
func TestTheFrontPassesOnThatOneSideHasSaidAll(t *testing.T) {
	t.Parallel()
	addr, _ := answering(t, func(c *net.TCPConn) {
		text, _ := io.ReadAll(c) // what there was is compared
		_, _ = c.Write(text)
		_ = c.Close()
	})
	p := dialTCP(t, StartFront(t, addr).Addr)
	p.write([]byte("all of it"))
	if err := p.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(p.r); err != nil || string(text) != "all of it" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestTheFrontPassesOnAReset(t *testing.T) {
	t.Parallel()
	addr, _ := answering(t, func(c *net.TCPConn) {
		_, _ = bufio.NewReader(c).ReadString('\n')
		reset(c)
	})
	for what, cut := range map[string]func(f *Front, p *rawPeer){
		"by the server": func(_ *Front, p *rawPeer) { p.write([]byte("go\n")) },
		"by the front": func(f *Front, _ *rawPeer) {
			Eventually(t, "the front has the connection", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.conns) > 0 })
			f.Cut()
		},
	} {
		f := StartFront(t, addr) // of its own: the last one's connections may not be forgotten yet
		p := dialTCP(t, f.Addr)
		cut(f, p)
		if _, err := io.ReadAll(p.r); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAFrontWithoutServersResets(t *testing.T) {
	t.Parallel()
	f := StartFront(t)
	c, err := net.Dial("tcp", f.Addr)
	if err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(Patience)) // or the read below would tell
		_, err = io.ReadAll(c)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
}
