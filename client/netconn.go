package client

import (
	"net"
	"sync/atomic"
	"time"
)

// netConn is the network connection under a websocket. Every write has a
// deadline, and a close lets the other side finish: what was written last must
// not be lost to a reset because something was left unread here.
type netConn struct {
	net.Conn
	writeTimeout time.Duration
	heard        atomic.Int64 // when something was read last, in Unix nanoseconds
}

func (c *netConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.hear()
	}
	return n, err
}

func (c *netConn) hear() { c.heard.Store(time.Now().UnixNano()) }

// silence returns how long nothing was read.
func (c *netConn) silence() time.Duration {
	return time.Since(time.Unix(0, c.heard.Load()))
}

func (c *netConn) Write(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close ends this side only. The reader sees the other side's end, or its time
// runs out, and aborts.
func (c *netConn) Close() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return c.Conn.Close()
	}
	if err := c.Conn.SetReadDeadline(time.Now().Add(linger)); err != nil {
		return c.Conn.Close()
	}
	return half.CloseWrite()
}

// abort ends both sides at once.
func (c *netConn) abort() { _ = c.Conn.Close() }
