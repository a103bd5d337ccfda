package spool

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameAside renames, but never over something.
func renameAside(from int, name string, to int, newName string) error {
	return unix.Renameat2(from, name, to, newName, unix.RENAME_NOREPLACE)
}

// written says whether somebody has a file open for writing. The kernel gives no
// lease for reading on such a file. One who may not ask, or asks of a file system
// that has no leases, hears no.
func written(f *os.File) bool {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		// At once: one who opens the file for writing waits for this.
		// The lease ends with the descriptor at the latest.
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
		return false
	}
	return errors.Is(err, unix.EAGAIN)
}
