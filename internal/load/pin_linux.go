package load

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// PinSelf keeps this process to one processor.
func PinSelf(cpu int) error {
	set, err := only(cpu)
	if err != nil {
		return err
	}
	// Threads inherit it from the one that starts them; twice, for those that
	// were started meanwhile.
	for range 2 {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("keep to processor %d: %w", cpu, err)
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(task.Name())
			if err != nil {
				continue
			}
			if err := unix.SchedSetaffinity(tid, set); err != nil && !errors.Is(err, unix.ESRCH) {
				return pinError(cpu, err)
			}
		}
	}
	return nil
}

// startPinned starts a command that is kept to one processor from its
// beginning, or with cpu below 0 to none, even if this process is: a child inherits
// this from the thread that starts it.
func startPinned(cmd *exec.Cmd, cpu int) error {
	set := &unix.CPUSet{}
	if cpu < 0 {
		set.Fill() // the kernel takes those that there are
	} else {
		var err error
		if set, err = only(cpu); err != nil {
			return err
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("read the processors of this process: %w", err)
	}
	if err := unix.SchedSetaffinity(0, set); err != nil {
		return pinError(cpu, err)
	}
	return errors.Join(cmd.Start(), unix.SchedSetaffinity(0, &before))
}

func only(cpu int) (*unix.CPUSet, error) {
	var set unix.CPUSet
	set.Set(cpu)
	if set.Count() != 1 {
		return nil, pinError(cpu, unix.EINVAL)
	}
	return &set, nil
}

func pinError(cpu int, err error) error {
	return fmt.Errorf("keep a process to processor %d: %w; choose one of those that this machine has (nproc says how many, from 0)", cpu, err)
}
