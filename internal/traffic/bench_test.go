package traffic

import (
	"fmt"
	"testing"
	"time"
)

// batches are what the journal stores together, of a second's events each.
func batches(n, size, devices int) [][]Event {
	list := make([][]Event, n)
	for i := range list {
		for j := range size {
			k := (i*size + j) * 7919
			e := sent(0, 0, fmt.Sprint("device-", k%devices), uint64(20+k%3000))
			e.App, e.Capability = fmt.Sprint("app-", k%5), "match"
			list[i] = append(list[i], e)
		}
	}
	return list
}

// BenchmarkFold folds events of a thousand devices, at 500 000 a second of their own
// time. One operation is one event.
func BenchmarkFold(b *testing.B) {
	w := newWorld(1, began)
	list := batches(50, 1000, 1000)
	all := func(int) bool { return true }
	at := began
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += 1000 {
		batch := list[i/1000%len(list)]
		at += 2
		for j := range batch {
			batch[j].At, batch[j].Stored = at, at
		}
		w.shards[0].shard.Fold(batch, all)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkQuery asks for an hour of minutes by app.
func BenchmarkQuery(b *testing.B) {
	w := newWorld(3, began)
	for i, batch := range batches(3600, 20, 1000) {
		w.now = began + int64(i)*1000
		for j := range batch {
			batch[j].At, batch[j].Stored = w.now, w.now
		}
		w.shards[i%3].append(batch)
	}
	q := tumbling(minute)
	q.From, q.By = time.UnixMilli(w.now).Add(-time.Hour), []string{"app"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.room.Query(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
}
