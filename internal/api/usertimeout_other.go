//go:build !linux

package api

import "time"

// setUserTimeout does nothing: there is no such option.
func setUserTimeout(int, time.Duration) error { return nil }
