//go:build unix

package load

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spareDescriptors is what the process needs besides its connections.
const spareDescriptors = 64

// reserveDescriptors raises the limit on open files as far as it may, and says
// when that is not enough.
func reserveDescriptors(connections int) error {
	need := uint64(connections + spareDescriptors)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit on open files: %w", err)
	}
	if have := uint64(limit.Cur); have < need {
		limit.Cur = limit.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) // whether it helped is read below
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return fmt.Errorf("read the limit on open files: %w", err)
		}
	}
	if have := uint64(limit.Cur); have < need {
		return fmt.Errorf("%s need %d open files, and this process may have %d: raise it first (ulimit -n %d), or give fewer --connections",
			plural(connections, "connection"), need, have, need)
	}
	return nil
}
