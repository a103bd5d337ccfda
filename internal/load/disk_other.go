//go:build !linux

package load

import "os"

// dataSync has a file's content on the disk.
func dataSync(f *os.File) error { return f.Sync() }
