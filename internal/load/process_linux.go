package load

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// clockTick is the unit of CPU time in /proc; the kernel's interface fixes it
// at 100 a second.
const clockTick = 10 * time.Millisecond

// usage reads the CPU time that a process has used and its resident memory.
func usage(pid int) (cpu time.Duration, rss int64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, fmt.Errorf("no process has the ID %d: give --pid of the server on this machine, or leave it out", pid)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("look at the server's process: %w", err)
	}
	// The second field is the program's name in parentheses, which may hold
	// anything; the others are counted from its end.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return 0, 0, fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	var v [3]int64
	for i, at := range [3]int{11, 12, 21} { // utime, stime, rss
		if v[i], err = strconv.ParseInt(string(fields[at]), 10, 64); err != nil {
			return 0, 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
	}
	return time.Duration(v[0]+v[1]) * clockTick, exactRSS(pid, v[2]*int64(os.Getpagesize())), nil
}

// exactRSS returns the resident memory as the kernel adds it up; stat's own
// number, given as or, lags by some pages a processor.
func exactRSS(pid int, or int64) int64 {
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return or // another user's process, or an old kernel
	}
	for line := range bytes.Lines(rollup) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "Rss: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return or
}

// watchable returns servers' process IDs for Options.PIDs.
func watchable(servers ...*server) (pids []int) {
	for _, s := range servers {
		pids = append(pids, s.pid())
	}
	return pids
}
