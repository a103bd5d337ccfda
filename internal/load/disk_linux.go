package load

import (
	"os"

	"golang.org/x/sys/unix"
)

// dataSync has a file's content on the disk.
func dataSync(f *os.File) error { return os.NewSyscallError("fdatasync", unix.Fdatasync(int(f.Fd()))) }
