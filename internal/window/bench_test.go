package window

import (
	"math/rand/v2"
	"testing"
)

func values() []uint64 {
	random := rand.New(rand.NewPCG(1, 2))
	list := make([]uint64, 4096)
	for i := range list {
		list[i] = uint64(random.ExpFloat64() * 1000)
	}
	return list
}

func BenchmarkAdd(b *testing.B) {
	var a Aggregate
	list := values()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		a.Add(int64(i), list[i%len(list)])
	}
}

// BenchmarkMerge adds what a hundred values are to a sum.
func BenchmarkMerge(b *testing.B) {
	var a, sum Aggregate
	for i, v := range values()[:100] {
		a.Add(int64(i), v)
	}
	b.ReportAllocs()
	for b.Loop() {
		sum.Merge(&a)
	}
}

func BenchmarkCodec(b *testing.B) {
	var a Aggregate
	for i, v := range values()[:100] {
		a.Add(int64(i), v)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = a.Append(buf[:0])
		if _, _, err := Decode(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(buf)), "bytes")
}
