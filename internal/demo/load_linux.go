package demo

import (
	"fmt"
	"os"
)

// loadAverages returns those of the machine over one, five and fifteen minutes.
func loadAverages() (load [3]float64, err error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return load, err
	}
	if _, err := fmt.Sscan(string(text), &load[0], &load[1], &load[2]); err != nil {
		return load, fmt.Errorf("read /proc/loadavg: %w", err)
	}
	return load, nil
}
