//go:build !unix

package load

import "os/exec"

// detach does nothing where a command has no group of its own.
func detach(*exec.Cmd) {}
