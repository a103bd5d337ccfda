//go:build !unix

package load

import "time"

// ownCPU returns the CPU time that this process has used; 0 where it is not
// known.
func ownCPU() time.Duration { return 0 }
