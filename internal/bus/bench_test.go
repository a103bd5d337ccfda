package bus

import (
	"fmt"
	"testing"
)

var sizes = []int{200, 1000, 64_000, 256_000}

func BenchmarkAppend(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := shardLog(b, open(b, b.TempDir()), 0)
			data := batch(1, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var last uint64
			var err error
			for b.Loop() {
				if last, err = l.Append(b.Context(), last, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := shardLog(b, open(b, b.TempDir()), 0)
			const last = 100
			fill(b, l, 0, last, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			seq := uint64(0)
			for b.Loop() {
				seq = seq%last + 1
				if _, err := l.Read(b.Context(), seq); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One round replays 64 MB; after a start, so that the server reads its files.
func BenchmarkReplay(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			dir := b.TempDir()
			bus := open(b, dir)
			last := uint64(min(64_000_000/size, 20_000))
			fill(b, shardLog(b, bus, 0), 0, last, size)
			shut(b, bus)
			l := shardLog(b, open(b, dir), 0)
			b.SetBytes(int64(last) * int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := l.Replay(b.Context(), 1, last, func(uint64, []byte) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One round appends 4 MB in batches of 64 kB and purges them: the time is the
// purge's alone.
func BenchmarkPurge(b *testing.B) {
	l := shardLog(b, open(b, b.TempDir()), 0)
	const count, size = 64, 64_000
	last := uint64(0)
	b.StopTimer()
	for range b.N {
		fill(b, l, last, last+count, size)
		last += count
		b.StartTimer()
		if err := l.Purge(b.Context(), last); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
	}
}

// What a start costs before the server gets the files: one round reads 128 MB.
func BenchmarkInspect(b *testing.B) {
	dir := b.TempDir()
	bus := open(b, dir)
	const last, size = 2000, 64_000
	fill(b, shardLog(b, bus, 0), 0, last, size)
	shut(b, bus)
	b.SetBytes(last * size)
	for b.Loop() {
		if err := inspectStore(b.Context(), bus.streamsDir(), false, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// Three servers in this process, on one disk: the CPU is that of all three.
func BenchmarkAppendInACluster(b *testing.B) {
	c := formed(b, 3, nil)
	for shard, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := shardLog(b, c.bus[c.leader(shard)], shard)
			data := batch(1, size)
			b.SetBytes(int64(size))
			_, last, _, err := l.Bounds(b.Context())
			must(b, err)
			before := cpuTime(b)
			for b.Loop() {
				if last, err = l.Append(b.Context(), last, data); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// A lease that is renewed by a node that does not lead the table.
func BenchmarkUpdateInACluster(b *testing.B) {
	c := formed(b, 3, nil)
	t := openTable(b, c.bus[0])
	row := batch(1, 200)
	before := cpuTime(b)
	var rev uint64
	var err error
	for b.Loop() {
		if rev, err = t.Update(b.Context(), "lease", row, rev); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}
