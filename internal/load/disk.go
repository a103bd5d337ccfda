package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// syncs is how often the disk is asked.
const syncs = 300

// syncTime measures how long it takes to append 1 kB to a file in a folder and
// to have it synced.
func syncTime(ctx context.Context, folder string) (_ *Latency, err error) {
	f, err := os.CreateTemp(folder, "bench-sync-")
	if err != nil {
		return nil, fmt.Errorf("measure the disk in %s: %w", folder, err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	h, block := newHistogram(), make([]byte, 1000)
	for range syncs {
		if ctx.Err() != nil {
			break
		}
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, fmt.Errorf("measure the disk: %w", err)
		}
		if err := dataSync(f); err != nil {
			return nil, fmt.Errorf("measure the disk: %w", err)
		}
		_ = h.RecordValue(min(time.Since(began).Nanoseconds(), h.HighestTrackableValue()))
	}
	return latencyOf(h), nil
}
