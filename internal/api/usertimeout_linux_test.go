package api

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAClientWhoseNetworkIsGoneIsNoticed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	noticeLoss(conn, 7*time.Second)
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	if err := raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); err != nil {
		t.Fatal(err)
	}
	if err != nil || got != 7000 {
		t.Errorf("after %d ms without an answer, %v", got, err)
	}
	near, far := net.Pipe() // has no such thing
	noticeLoss(near, time.Second)
	near.Close()
	far.Close()
}
