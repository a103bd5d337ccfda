//go:build !linux

package load

import (
	"errors"
	"os/exec"
)

var errPin = errors.New("processes are kept to one processor on Linux only: leave --server-cpu and --load-cpu out")

// PinSelf keeps this process to one processor.
func PinSelf(int) error { return errPin }

// startPinned starts a command that is kept to one processor; with cpu below 0 to
// none.
func startPinned(cmd *exec.Cmd, cpu int) error {
	if cpu >= 0 {
		return errPin
	}
	return cmd.Start()
}
