//go:build unix

package load

import (
	"os/exec"
	"syscall"
)

// detach keeps Ctrl-C on the terminal from a command: it is ended by us, when
// what it is needed for has been measured.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
