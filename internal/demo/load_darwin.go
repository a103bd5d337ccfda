package demo

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// loadAverages returns those of the machine over one, five and fifteen minutes.
func loadAverages() (load [3]float64, err error) {
	// struct loadavg: three 32-bit numbers, and after four bytes of nothing what they
	// are to be divided by.
	b, err := unix.SysctlRaw("vm.loadavg")
	if err != nil {
		return load, fmt.Errorf("read vm.loadavg: %w", err)
	}
	if len(b) != 24 {
		return load, fmt.Errorf("read vm.loadavg: %d bytes, not 24", len(b))
	}
	scale := float64(binary.LittleEndian.Uint64(b[16:]))
	for i := range load {
		load[i] = float64(binary.LittleEndian.Uint32(b[4*i:])) / scale
	}
	return load, nil
}
