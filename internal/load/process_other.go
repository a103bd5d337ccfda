//go:build !linux

package load

import (
	"errors"
	"time"
)

// usage reads the CPU time that a process has used and its resident memory.
func usage(int) (cpu time.Duration, rss int64, err error) {
	return 0, 0, errors.New("the CPU and memory of the server are read from /proc, which only Linux has: leave --pid out")
}

// watchable returns servers' process IDs for Options.PIDs: none, as usage knows
// nothing here.
func watchable(...*server) []int { return nil }
