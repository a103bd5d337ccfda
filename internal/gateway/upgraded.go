package gateway

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// farewellTime is how long a client may take to hear that its WebSocket is closed.
const farewellTime = time.Second

// upgraded is the client's end of a WebSocket: it may be silent as long as it lives, and
// has to take what it is sent. One that is ended from here ends with a close frame, if
// what the service sends is not in the middle of another frame.
type upgraded struct {
	net.Conn
	early *bufio.Reader // has what came before the answer
	why   func() error  // says why it is ended; nil: the service or the client ended it

	mu     sync.Mutex
	client deadline
	sent   frames
	closed bool
}

func (u *upgraded) Read(p []byte) (int, error) {
	if n := u.early.Buffered(); n > 0 {
		return u.early.Read(p[:min(n, len(p))])
	}
	return u.Conn.Read(p)
}

func (u *upgraded) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return 0, net.ErrClosed
	}
	u.client.move()
	n, err := u.Conn.Write(p)
	u.sent.pass(p[:n])
	return n, err
}

// Close implements net.Conn.
func (u *upgraded) Close() error {
	if why := u.why(); why != nil && u.mu.TryLock() { // else the client takes nothing
		if !u.closed && u.sent.whole() {
			u.farewell(why)
		}
		u.closed = true
		u.mu.Unlock()
	}
	return u.Conn.Close()
}

// farewell tells the client why its WebSocket ends, and waits a moment until it has heard:
// a connection that is closed with something unread in it takes along what was sent last.
func (u *upgraded) farewell(why error) {
	_ = u.SetDeadline(time.Now().Add(farewellTime)) // fails only on a closed connection
	if _, err := u.Conn.Write(closeFrame(why)); err != nil {
		return
	}
	if half, ok := u.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, u.Conn) // until it leaves, or time is over
	}
}

// closeFrame is how a WebSocket is closed: RFC 6455, sections 5.5.1 and 7.4.
func closeFrame(why error) []byte {
	code, reason := wire.ClosePolicy, "the token has ended"
	if errors.Is(why, errLeaves) {
		code, reason = wire.CloseRestart, "the server is stopping"
	}
	frame := []byte{0x88, byte(2 + len(reason))}
	return append(binary.BigEndian.AppendUint16(frame, uint16(code)), reason...)
}

// frames tells where frames end in what passes: RFC 6455, section 5.2.
type frames struct {
	header [14]byte
	n      int    // bytes of the header that have passed
	left   uint64 // bytes of the payload that have not
}

// pass takes what passes.
func (f *frames) pass(p []byte) {
	for len(p) > 0 {
		if n := min(f.left, uint64(len(p))); n > 0 {
			f.left -= n
			p = p[n:]
			continue
		}
		f.header[f.n] = p[0]
		f.n++
		p = p[1:]
		f.begin()
	}
}

// begin begins the payload, if the header has passed whole.
func (f *frames) begin() {
	if f.n < 2 {
		return
	}
	size, length := 2, uint64(f.header[1]&0x7f)
	switch length {
	case 126:
		size += 2
		length = uint64(binary.BigEndian.Uint16(f.header[2:]))
	case 127:
		size += 8
		length = binary.BigEndian.Uint64(f.header[2:])
	}
	if f.header[1]&0x80 != 0 {
		size += 4
	}
	if f.n == size {
		f.n, f.left = 0, length
	}
}

// whole says whether all frames that have begun have ended.
func (f *frames) whole() bool { return f.n == 0 && f.left == 0 }
