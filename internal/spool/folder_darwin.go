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

// hold says whether somebody has a file open for writing, and keeps others from it,
// where the system can; this one cannot.
func hold(*os.File) (written bool) { return false }

// release ends a hold.
func release(*os.File) {}

// Born returns when a file was made, or false where the file system does not tell.
func Born(f *os.File) (time.Time, bool) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return time.Unix(st.Btim.Unix()), err == nil && st.Btim.Nano() > 0
}
