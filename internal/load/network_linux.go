package load

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// manyLoopbacks says whether every 127.x.y.z is an address of this machine.
const manyLoopbacks = true

// readSize is how much is read at once; what one connection has sent meanwhile
// is one read.
const readSize = 256 << 10

// poll is the network on Linux: non-blocking sockets and one epoll, without a
// goroutine or a buffer for a connection.
type poll struct {
	at     places
	on     events
	epoll  int
	timer  int   // wakes wait to the microsecond; epoll's own clock ticks in milliseconds
	fds    []int // by connection; -1 for none
	ready  []unix.EpollEvent
	buffer []byte
}

// fineBelow is which waits take the timer: setting it costs a system call.
const fineBelow = 5 * time.Millisecond

// timerID is what the timer's events carry instead of a connection.
const timerID = -1

// newNetwork returns the cheapest network there is for the server.
func newNetwork(at places, on events, connections int) (network, error) {
	if at[0].portable || at[0].url.Scheme == "wss" {
		return newStreams(at, on, connections), nil
	}
	p := &poll{at: at, on: on, fds: make([]int, connections), ready: make([]unix.EpollEvent, 256), buffer: make([]byte, readSize)}
	for i := range p.fds {
		p.fds[i] = -1
	}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err == nil {
		err = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, p.timer, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: timerID})
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	return p, nil
}

func (p *poll) open(id int) error {
	family := unix.AF_INET
	if p.at.of(id).addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := p.connect(id, fd); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	p.fds[id] = fd
	event := unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(id)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event))
}

func (p *poll) connect(id, fd int) error {
	at := p.at.of(id)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if at.buffer > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, at.buffer); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if from := at.source(id); from.IsValid() {
		// The port is chosen when the destination is known: each may be used
		// once for every destination instead of once.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()}); err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	var to unix.Sockaddr = &unix.SockaddrInet6{Port: int(at.addr.Port()), Addr: at.addr.Addr().As16()}
	if at.addr.Addr().Is4() {
		to = &unix.SockaddrInet4{Port: int(at.addr.Port()), Addr: at.addr.Addr().As4()}
	}
	if err := unix.Connect(fd, to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return os.NewSyscallError("connect", err)
	}
	return nil
}

func (p *poll) write(id int, b []byte) (int, error) {
	for {
		n, err := unix.Write(p.fds[id], b)
		switch {
		case err == nil && n == len(b):
			return n, nil
		case err == nil || errors.Is(err, unix.EAGAIN):
			return max(n, 0), p.interest(id, unix.EPOLLIN|unix.EPOLLOUT)
		case !errors.Is(err, unix.EINTR):
			return 0, os.NewSyscallError("write", err)
		}
	}
}

func (p *poll) interest(id int, in uint32) error {
	event := unix.EpollEvent{Events: in, Fd: int32(id)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, p.fds[id], &event))
}

func (p *poll) wait(d time.Duration) error {
	timeout := int(max(0, min(d, time.Hour)).Milliseconds())
	if d > 0 && d < fineBelow {
		timeout = -1
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
		if err := unix.TimerfdSettime(p.timer, 0, &spec, nil); err != nil {
			return os.NewSyscallError("timerfd_settime", err)
		}
	}
	n, err := unix.EpollWait(p.epoll, p.ready, timeout)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("epoll_wait", err)
	}
	for _, event := range p.ready[:n] {
		if id := int(event.Fd); id != timerID && p.fds[id] >= 0 {
			p.happened(id, event.Events)
		}
	}
	return nil
}

// happened handles what epoll says of a connection.
func (p *poll) happened(id int, what uint32) {
	if what&unix.EPOLLOUT != 0 {
		if err := p.socketError(id); err != nil {
			p.lose(id, err)
			return
		}
		if err := p.interest(id, unix.EPOLLIN); err != nil {
			p.lose(id, err)
			return
		}
		p.on.writable(id)
	}
	if what&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 && p.fds[id] >= 0 {
		p.read(id)
	}
}

// socketError returns why a connection could not be made.
func (p *poll) socketError(id int) error {
	code, err := unix.GetsockoptInt(p.fds[id], unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = os.NewSyscallError("connect", unix.Errno(code))
	}
	return err
}

func (p *poll) read(id int) {
	n, err := unix.Read(p.fds[id], p.buffer)
	switch {
	case n > 0:
		p.on.arrived(id, p.buffer[:n])
	case err == nil:
		p.lose(id, errClosed)
	case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
		p.lose(id, os.NewSyscallError("read", err))
	}
}

func (p *poll) lose(id int, err error) {
	p.close(id)
	p.on.lost(id, err)
}

func (p *poll) close(id int) {
	if p.fds[id] >= 0 {
		_ = unix.Close(p.fds[id]) // nothing is left to be said on it
		p.fds[id] = -1
	}
}

func (p *poll) stop() {
	for id := range p.fds {
		p.close(id)
	}
	_ = unix.Close(p.timer)
	_ = unix.Close(p.epoll)
}
