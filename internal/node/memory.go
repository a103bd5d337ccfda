package node

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// memoryTick is how often memory is looked at.
	memoryTick = time.Second
	// calmTicks is after how many ticks without traffic a node counts as calm;
	// what is kept for a moment has been let go by then.
	calmTicks = 4
	// headroom is how much garbage may come together before it is collected,
	// where little memory is in use: Go's own measure, as much as is in use, has a
	// small server collect several times a second, and each time costs those who
	// wait some milliseconds. GOGC in the environment says otherwise.
	headroom = 192 << 20
	// mostPercent bounds what headroom makes of GOGC.
	mostPercent = 1000
	// calmBytes is how much a node may allocate in a tick and be calm.
	calmBytes = 1 << 20
	// worthwhile is how much must have been allocated since memory was given back
	// last; also a quarter of what is in use, so that its cost stays in
	// proportion.
	worthwhile = 32 << 20
)

// tendMemory sets the pace of the collector, and returns memory to the operating
// system whenever traffic has ebbed, until ctx ends. Go's runtime would do the
// latter in the end, but only after a collection, which without traffic comes
// every two minutes, and then slowly: what a burst needed would count as used
// until then.
func tendMemory(ctx context.Context) error {
	tick := time.NewTicker(memoryTick)
	defer tick.Stop()
	m := memory{percent: 100, paced: os.Getenv("GOGC") == ""}
	if m.paced {
		defer debug.SetGCPercent(debug.SetGCPercent(mostPercent)) // little is in use yet
		m.percent = mostPercent
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			m.tend()
		}
	}
}

// memory is what tendMemory remembers.
type memory struct {
	paced     bool // the collector's pace is ours to set
	percent   int
	calm      int    // ticks without traffic
	allocated uint64 // in all, at the last tick
	given     uint64 // in all, when memory was given back last
}

func (m *memory) tend() {
	sample := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(sample)
	allocated, used := sample[0].Value.Uint64(), sample[1].Value.Uint64()+sample[2].Value.Uint64()
	m.calm++
	if allocated-m.allocated > calmBytes {
		m.calm = 0
	}
	m.allocated = allocated
	if m.calm >= calmTicks && allocated-m.given >= max(worthwhile, used/4) {
		debug.FreeOSMemory()
		m.given = allocated
	}
	percent := int(min(max(100*headroom/max(used, 1), 100), mostPercent))
	if m.paced && (percent > m.percent*5/4 || percent < m.percent*4/5) { // each change stops the world for a moment
		debug.SetGCPercent(percent)
		m.percent = percent
	}
}
