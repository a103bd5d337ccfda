//go:build linux || darwin

package bus

import "golang.org/x/sys/unix"

// diskFree returns the bytes that an unprivileged process may still write on
// the file system of dir.
func diskFree(dir string) (uint64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			return uint64(st.Bavail) * uint64(st.Bsize), nil
		}
		if err != unix.EINTR {
			return 0, err
		}
	}
}
