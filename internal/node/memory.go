package node

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// calmFor is how long a node is watched before it counts as calm, calmBytes
	// how much it may allocate meanwhile.
	calmFor   = 2 * time.Second
	calmBytes = 1 << 20
	// worthwhile is how much must have been allocated since memory was given back
	// last; also a quarter of what is in use, so that its cost stays in
	// proportion.
	worthwhile = 32 << 20
)

// giveBack returns memory to the operating system whenever traffic has ebbed,
// until ctx ends. Go's runtime would do so in the end, but only after a
// collection, which without traffic comes every two minutes, and then slowly:
// what a burst needed would count as used until then.
func giveBack(ctx context.Context) error {
	tick := time.NewTicker(calmFor)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	var last, given uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		metrics.Read(sample)
		allocated, used := sample[0].Value.Uint64(), sample[1].Value.Uint64()
		calm := allocated-last < calmBytes
		last = allocated
		if calm && allocated-given >= max(worthwhile, used/4) {
			debug.FreeOSMemory()
			given = allocated
		}
	}
}
