//go:build !linux

package postgres

import "syscall"

// endsWithUs does nothing: only Linux can do that.
func endsWithUs(*syscall.SysProcAttr) {}
