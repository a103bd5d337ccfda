//go:build linux || darwin

package members

import (
	"sync"
	"syscall"
	"time"
)

// Busy returns what says, whenever it is called, how busy this process has been
// since it was called last: CPU time over time, so 1 is one CPU, wholly busy.
func Busy(now func() time.Time) func() float64 {
	var mu sync.Mutex
	at, used := now(), cpuTime()
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		was, had := at, used
		at, used = now(), cpuTime()
		if span := at.Sub(was); span > 0 {
			return float64(used-had) / float64(span)
		}
		return 0
	}
}

// cpuTime returns what this process has used in all.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // it cannot fail for the process itself
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
