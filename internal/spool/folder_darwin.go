package spool

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// renameAside renames, but never over something.
func renameAside(from int, name string, to int, newName string) error {
	return unix.RenameatxNp(from, name, to, newName, unix.RENAME_EXCL)
}

// written says whether somebody has a file open for writing, where the system can
// tell; this one cannot.
func written(*os.File) bool { return false }

// Born returns when a file was made, or false where the file system does not tell.
func Born(f *os.File) (time.Time, bool) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return time.Unix(st.Btim.Unix()), err == nil && st.Btim.Nano() > 0
}
