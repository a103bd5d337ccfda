package api

import (
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout is TCP_USER_TIMEOUT: see tcp(7).
func setUserTimeout(fd int, d time.Duration) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
}
