package postgres

import "syscall"

// endsWithUs has a process end when this one does: a test that is cut off leaves no
// server behind.
func endsWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
