package spool

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// renameAside renames, but never over something.
func renameAside(from int, name string, to int, newName string) error {
	return unix.Renameat2(from, name, to, newName, unix.RENAME_NOREPLACE)
}

// hold says whether somebody has a file open for writing. If not, nobody gets it open
// for that before release, or before f is closed, and who waits for it is somebody who
// has: the kernel gives no lease for reading on such a file. One who may not ask, or
// asks of a file system that has no leases, hears no, and holds nothing.
func hold(f *os.File) (written bool) {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	return errors.Is(err, unix.EAGAIN)
}

// release ends a hold. It ends with the descriptor at the latest.
func release(f *os.File) { _, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK) }

// Born returns when a file was made, or false where the file system does not tell.
func Born(f *os.File) (time.Time, bool) {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st)
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)), err == nil && st.Mask&unix.STATX_BTIME != 0
}
